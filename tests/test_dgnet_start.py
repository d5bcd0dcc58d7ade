"""The start of small DG-Nets: trained once, on other people, and put into a model all but its heads."""

import pytest
import torch

from reidlib import dgnet_start, models, training
from reidlib.dgnet_start import PARTS, start_elsewhere
from reidlib.models.dgnet import small


@pytest.fixture
def trunk(tmp_path, monkeypatch):
    """A build folder of its own, and a trunk from noise in place of the warm start."""
    monkeypatch.setenv("REIDLIB_BUILD", str(tmp_path / "build"))
    torch.manual_seed(5)
    file = tmp_path / "trunk.safetensors"
    models.save_trunk(models.build("resnet-small", weights=None), file)
    monkeypatch.setattr(dgnet_start, "warm_start", lambda *args, **options: file)


def tiny(seed, maps=32):
    torch.manual_seed(seed)
    return small(models.build("resnet-small", weights=None), 3, maps=maps)


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_every_model_gets_the_same_start_and_keeps_its_heads(trunk, monkeypatch):
    torch.manual_seed(7)
    expected = torch.rand(3)
    one, other, before = tiny(0), tiny(1), tiny(0)
    torch.manual_seed(7)
    assert start_elsewhere(one, steps=1, progress=False) is one
    assert torch.equal(torch.rand(3), expected)  # the global generator is left alone
    monkeypatch.setattr(dgnet_start.dgnet, "train", lambda *args, **options: pytest.fail("trained twice"))
    start_elsewhere(other, steps=1, progress=False)
    for name in PARTS:
        assert equal(getattr(one, name), getattr(other, name))
        assert not equal(getattr(one, name), getattr(before, name))
    assert equal(one.appearance.trunk, other.appearance.trunk)
    assert not equal(one.appearance.trunk, before.appearance.trunk)
    for head in ("prim", "fine"):
        assert equal(getattr(one.appearance, head), getattr(before.appearance, head))
        assert not equal(getattr(one.appearance, head), getattr(other.appearance, head))


def test_it_has_learned_from_people_of_no_chapter(trunk, monkeypatch):
    seen = {}

    def train(model, images, labels, reconstruction, **options):
        seen.update(options, images=images, labels=labels, reconstruction=reconstruction, classes=model.appearance.prim)
        return {}

    monkeypatch.setattr(dgnet_start.dgnet, "train", train)
    start_elsewhere(tiny(0), steps=9, seed=2, progress=False)
    assert seen["steps"] == 9
    assert seen["seed"] == training.stream_seed(2, "DG-Net start")
    assert seen["labels"].max() + 1 == seen["labels"].unique().numel() == seen["classes"][3].out_features
    assert seen["images"].shape[1:] == (3, 64, 32)
    assert seen["reconstruction"](torch.ones(1, 2), torch.zeros(1, 2)) == 1  # L1, with DG-Net's weights of the images
    assert (seen["weights"].image, seen["weights"].same_identity) == (5, 5)


def test_a_model_of_another_shape_and_no_step_are_refused(trunk):
    with pytest.raises(ValueError, match="leave it out"):
        start_elsewhere(tiny(0, maps=16), steps=1, progress=False)
    with pytest.raises(ValueError, match="steps must be 1 or more, got 0"):
        start_elsewhere(tiny(0), steps=0)
