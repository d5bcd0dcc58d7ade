"""The queries and gallery of drawn data sets, without their training images."""

import dataclasses

import numpy as np
import pytest
import torch

from reidlib.data.drawn import draw_test
from reidlib.data.frame import validate
from reidlib.data.pedestrians import PRESETS, draw


def of_test(frame):
    return frame["split"].isin(["query", "gallery"]).to_numpy()


@pytest.mark.parametrize("preset", ["viper-like", "cuhk03-like", "prcc-like", "ltcc-like"])
def test_the_same_rows_and_pixels(preset):
    whole, images, parts = draw(preset, (16, 8), data_seed=1)
    chosen = of_test(whole)
    frame, found, maps = draw_test(preset, (16, 8), data_seed=1)
    assert frame.equals(whole[chosen].reset_index(drop=True))
    assert torch.equal(found, images[torch.tensor(chosen)])
    assert torch.equal(maps, parts[torch.tensor(chosen)])
    validate(frame)


def test_a_variant_is_that_of_the_whole_data_set():
    changed = dataclasses.replace(PRESETS["ltcc-like"], shared_looks=0.8, gap=0.0)
    whole, images, parts = draw(changed, (16, 8))
    chosen = of_test(whole)
    frame, found, maps = draw_test("ltcc-like", (16, 8), shared_looks=0.8, gap=0.0)
    assert frame.equals(whole[chosen].reset_index(drop=True))
    assert torch.equal(found, images[torch.tensor(chosen)])
    assert torch.equal(maps, parts[torch.tensor(chosen)])
    plain, _, _ = draw_test("ltcc-like", (16, 8))
    assert set(plain["pid"]) == set(frame["pid"])
    assert wearers(frame) > 2 * wearers(plain)


def wearers(frame):
    """Persons who share a design of their outfits with another person."""
    people = frame[frame["pid"] > 0].groupby("look")["pid"].nunique()
    return frame[frame["look"].isin(people.index[people > 1])]["pid"].nunique()


def test_training_images_are_not_painted(monkeypatch):
    import sys

    module = sys.modules["reidlib.data.pedestrians.draw"]
    seen = []
    render = module.render
    monkeypatch.setattr(module, "render", lambda whole, size, rows: seen.append(rows) or render(whole, size, rows))
    frame, images, _ = draw_test("viper-like", (16, 8))
    assert [len(rows) for rows in seen] == [len(frame)] == [len(images)] == [120]
    assert set(frame["split"]) == {"query", "gallery"}
    assert len(np.unique(seen[0])) == 120


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("market", (16, 8)), "unknown drawn data set 'market'; the presets are market-like"),
        (("warmstart", (16, 8)), "'warmstart' has no test images: it is for training only"),
        (("viper-like", (15, 8)), r"size \(15, 8\) is too small: .* at least \(16, 8\) pixels"),
        (("viper-like", (16,)), r"size \(16,\) is too small"),
        (("viper-like", (16, 8), -1), "data_seed is -1"),
    ],
)
def test_what_cannot_be_drawn(arguments, words):
    with pytest.raises(ValueError, match=words):
        draw_test(*arguments)


def test_changes_that_cannot_be():
    with pytest.raises(ValueError, match="has no setting 'looks' to change; it has train_ids, test_ids"):
        draw_test("viper-like", (16, 8), looks=0.5)
    with pytest.raises(ValueError, match="has no setting 'name' to change"):
        draw_test("viper-like", (16, 8), name="other")
    with pytest.raises(ValueError, match="gap is 2, must be in"):
        draw_test("viper-like", (16, 8), gap=2)
