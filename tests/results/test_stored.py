"""Where runs lie, and which of them a table is made of."""

import json

import numpy as np
import pytest

from reidlib.results import stored


def record(folder, arm, seed, experiment="e", map_=50.0, flat=False, **parameters):
    content = {
        "schema": 1, "experiment": experiment, "id": f"{arm}-{seed}", "parameters": parameters | {"seed": seed},
        "seed": seed, "metrics": {"mAP": map_}, "arm": arm,
    }  # fmt: skip
    path = folder / f"{arm}-{seed}-0123456789ab.json" if flat else folder / f"{arm}-{seed}" / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def plan(built):
    """Write the plan of a build that wanted every run in the folder `built`."""
    ids = [json.loads(path.read_text())["id"] for path in built.glob("*/record.json")]
    content = {"runs": [{"id": i} for i in ids[1:]], "pages": [{"own": i} for i in ids[:1]]}
    (built.parents[1] / "plan.json").write_text(json.dumps(content))


@pytest.fixture
def places(tmp_path, monkeypatch):
    """(recorded, built): the two folders that `available` reads for the experiment "e"."""
    monkeypatch.setenv("REIDLIB_BUILD", str(tmp_path / "build"))
    monkeypatch.setattr(stored, "recorded_dir", lambda experiment: tmp_path / "recorded" / experiment)
    monkeypatch.delenv("REIDLIB_RUNS", raising=False)
    monkeypatch.delenv("REIDLIB_PLAN", raising=False)
    return tmp_path / "recorded" / "e", tmp_path / "build" / "runs" / "e"


def test_sources_are_kept_apart_and_the_largest_is_taken(places):
    recorded, built = places
    for seed in range(3):
        record(recorded, "a", seed, flat=True)
    record(built, "a", 0)
    plan(built)
    record(built, "stale", 0)  # lies there, but the last build did not want it
    found = stored.available("e")
    assert {name: len(records) for name, records in found.items()} == {"recorded": 3, "this build": 1}
    assert len(stored.largest(found)) == 3


def test_nothing_is_there(places):
    assert stored.available("e") == {"recorded": [], "this build": []}
    assert stored.largest(stored.available("e")) == []


def test_a_readers_own_runs_stand_beside_until_they_cover_more(places, tmp_path, monkeypatch):
    recorded, _built = places
    record(recorded, "a", 0, flat=True)
    record(recorded, "a", 1, flat=True)
    record(tmp_path / "mine" / "e", None, 0)
    monkeypatch.setenv("REIDLIB_RUNS", str(tmp_path / "mine"))
    assert [r.arm for r in stored.available("e")["your runs"]] == [None]
    assert {r.arm for r in stored.largest(stored.available("e"))} == {"a"}
    for seed in range(3):
        record(tmp_path / "mine" / "e", "b", seed)
    assert {r.arm for r in stored.largest(stored.available("e"))} == {None, "b"}


def test_largest_counts_arms_and_seeds_not_files(places):
    recorded, built = places
    for note in range(3):  # the same arm and seed under three ids
        path = record(built, "a", 0, note=note)
        path.parent.rename(path.parent.with_name(f"copy-{note}"))
    record(recorded, "a", 0, flat=True)
    record(recorded, "a", 1, flat=True)
    plan(built)
    assert {r.seed for r in stored.largest(stored.available("e"))} == {0, 1}


def test_agreement_pairs_equal_parameters_only(places):
    recorded, built = places
    record(recorded, "a", 0, flat=True, map_=40.0, lr=0.1)
    record(recorded, "b", 0, flat=True, lr=0.1)
    record(built, "a", 0, map_=41.0, lr=0.1)
    record(built, "b", 0, lr=0.2)
    plan(built)
    pairs = stored.agreement("e")
    assert [(live.metrics["mAP"], other.metrics["mAP"]) for live, other in pairs] == [(41.0, 40.0)]


def test_orders_come_from_this_build_in_the_asked_order(places):
    _recorded, built = places
    for arm, first in (("a", 3), ("b", 5)):
        path = record(built, arm, 0)
        (path.parent / "order.npz").write_bytes(stored.as_npz(order=np.array([[first, 1]]), distances=np.zeros((1, 2))))
    record(built, "c", 0)  # has no order
    plan(built)
    found = stored.orders("e", ["b", "c", "a"])
    assert list(found) == ["b", "a"]
    assert found["b"].tolist() == [[5, 1]]


def test_largest_counts_data_sets_too(places):
    recorded, built = places
    for number, dataset in enumerate(("market-like", "duke-like", "msmt17-like")):
        path = record(built, "a", 0, dataset=dataset)
        content = json.loads(path.read_text()) | {"id": f"run-{number}"}
        path.write_text(json.dumps(content))
        path.parent.rename(path.parent.with_name(f"run-{number}"))
    for seed in (0, 1):
        record(recorded, "a", seed, flat=True, dataset="market-like")
    plan(built)
    assert len(stored.largest(stored.available("e"))) == 3


def test_orders_of_two_data_sets_are_not_mixed(places):
    _recorded, built = places
    for arm, dataset, first in (("a", "market-like", 3), ("b", "duke-like", 5)):
        path = record(built, arm, 0, dataset=dataset)
        (path.parent / "order.npz").write_bytes(stored.as_npz(order=np.array([[first, 1]])))
    plan(built)
    with pytest.raises(ValueError, match="e has ranked lists on duke-like, market-like; pass dataset="):
        stored.orders("e", ["a", "b"])
    assert {arm: order.tolist() for arm, order in stored.orders("e", ["a", "b"], dataset="duke-like").items()} == {
        "b": [[5, 1]]
    }
