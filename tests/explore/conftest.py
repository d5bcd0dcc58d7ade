"""A small drawn data set, features of known quality, and pages of widgets."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from reidlib.data import pedestrians


@pytest.fixture(scope="session")
def people():
    """Drawn people of 20 test identities: frames, images, store rows, and noisy features of two qualities."""
    preset = dataclasses.replace(pedestrians.PRESETS["market-like"], train_ids=2, test_ids=20)
    frame, images, _ = pedestrians.draw(preset, size=(64, 32))
    query, gallery = (frame[frame["split"] == split] for split in ("query", "gallery"))
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(int(frame["pid"].max()) + 2, 16, generator=generator)

    def features(noise):
        made = centres[torch.tensor(frame["pid"]) + 1]
        made = made + noise * torch.randn(made.shape, generator=generator)
        return tuple(torch.nn.functional.normalize(made[torch.tensor(side.index)]) for side in (query, gallery))

    return SimpleNamespace(
        frame=frame, images=images, query=query, gallery=gallery, features={"good": features(1.1), "bad": features(1.9)}
    )


@pytest.fixture(scope="session")
def explorer(people):
    from reidlib.explore import RankingExplorer

    return RankingExplorer.from_features(
        people.features, people.query, people.gallery, people.images, queries=None, title="Good or bad", name="test"
    )
