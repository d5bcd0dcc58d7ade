import pytest

from reidlib.results.records import Record


@pytest.fixture
def make():
    """A record with little to say: make(arm, seed, **metrics), extras as `extra={...}`."""

    def make(arm="triplet", seed=0, experiment="triplet", extra=None, **changes):
        metrics = {name: changes.pop(name) for name in ("mAP", "mAP_trap", "R1", "R5", "R10") if name in changes}
        fields = {
            "id": f"{experiment}-{arm}-{seed}-0123456789ab",
            "parameters": {"loss": "triplet", "images_seen": 350, "seed": seed},
            "data": {"dataset": "market-like", "fingerprint": "f"},
            "device": "cpu",
            "machine": "some CPU",
            "threads": 1,
            "created": "2026-01-01T00:00:00+00:00",
        }
        return Record(experiment, seed=seed, metrics=metrics, arm=arm, extra=extra or {}, **{**fields, **changes})

    return make
