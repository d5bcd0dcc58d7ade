"""Silhouettes: what the network learns from drawn people, what is kept, and overlaps by hand."""

import dataclasses
import doctest

import pytest
import torch

from reidlib import data, silhouettes, training
from reidlib.data import ImageStore
from reidlib.data.augment import denormalise, normalise
from reidlib.data.pedestrians import PRESETS, draw
from reidlib.silhouettes import Segmenter, foreground, overlap, segmenter

SIZE = (32, 16)


def drawn(preset, name):
    """Drawn people of a set of their own, who are nobody else: frame and store."""
    frame, images, parts = draw(dataclasses.replace(PRESETS[preset], name=name), size=SIZE)
    return frame, ImageStore(images, parts)


@pytest.fixture(scope="module")
def others():
    return drawn("viper-like", "silhouettes-test")[1]


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A build folder and training people of the test's own; load.calls are the sizes that were asked for."""
    frame, store = drawn("viper-like", "silhouettes-people")

    def loaded(name, size, device, progress):
        assert name == "warmstart"
        loaded.calls.append(size)
        return data.Data(name, frame, store.to(device), "x", None)

    loaded.calls = []
    monkeypatch.setenv("REIDLIB_BUILD", str(tmp_path))
    monkeypatch.setattr(silhouettes.data, "load", loaded)
    return loaded


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A segmenter of few steps on few people."""
    frame, store = drawn("cuhk03-like", "silhouettes-people")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REIDLIB_BUILD", str(tmp_path_factory.mktemp("build")))
        patch.setattr(silhouettes.data, "load", lambda *a, **k: data.Data("warmstart", frame, store, "x", None))
        return segmenter(SIZE, steps=400, progress=False)


# ---------------------------------------------------------------- what it learns


def test_people_it_never_saw_in_any_colour(trained, others):
    exact = others.parts > 0
    usual = overlap((exact.float().mean(0) > 0.5).expand_as(exact), exact).mean()
    odd, parts = silhouettes._disturbed(others.images, others.parts, training.stream(1, "test"))
    swapped = others.images[:, [1, 2, 0]]
    for images, silhouette in ((others.images, exact), (denormalise(odd), parts > 0), (swapped, exact)):
        reached = overlap(foreground(trained, images), silhouette).mean()
        assert reached > usual + 0.05, "the place where people usually stand is not enough"


def test_parts_of_any_number_are_the_person(others, load, monkeypatch):
    """The network sees as target where a part map is above 0, with the images that belong to it."""
    seen = []
    monkeypatch.setattr(silhouettes, "ODD", 0.0)
    monkeypatch.setattr(
        silhouettes.F, "binary_cross_entropy_with_logits", lambda found, exact: seen.append(exact) or found.mean()
    )
    asked, batch = [], ImageStore.batch
    monkeypatch.setattr(ImageStore, "batch", lambda store, rows: asked.append(batch(store, rows)) or asked[-1])
    segmenter(SIZE, steps=2, progress=False)
    for exact, (_, parts) in zip(seen, asked, strict=True):
        assert parts.max() > 1
        assert exact.dtype == torch.float32
        for one, part in zip(exact, parts, strict=True):
            assert torch.equal(one, (part > 0).float()) or torch.equal(one, (part.flip(-1) > 0).float())


def test_disturbed_images_keep_their_part_maps(others):
    images, parts = others.images, others.parts
    found, moved = silhouettes._disturbed(images, parts, training.stream(0, "test"))
    again, _ = silhouettes._disturbed(images, parts, training.stream(0, "test"))
    assert torch.equal(found, again)
    assert found.dtype == torch.float32
    plain = mirrored = 0
    for image, part, one, other in zip(normalise(images), parts, found, moved, strict=True):
        turned = not torch.equal(other, part)
        assert torch.equal(other, part.flip(-1) if turned else part)
        mirrored += turned
        plain += torch.equal(one, image.flip(-1) if turned else image)
    assert 0.3 < plain / len(images) < 0.7
    assert 0.3 < mirrored / len(images) < 0.7


# ---------------------------------------------------------------- what is kept


def test_trained_once(load, tmp_path, monkeypatch):
    one = segmenter(SIZE, steps=2, progress=False)
    assert load.calls == [SIZE]
    (file,) = (path for path in (tmp_path / "warm").iterdir() if path.suffix != ".lock")
    assert file.name.startswith("silhouettes-32x16-")
    other = segmenter(list(SIZE), steps=2, progress=False)
    assert load.calls == [SIZE]
    assert not one.training
    assert not other.training
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    for change in ({"seed": 1}, {"steps": 3}):
        segmenter(SIZE, **{"steps": 2, "progress": False, **change})
    assert len(load.calls) == 3
    monkeypatch.setattr(silhouettes.data, "fingerprint", lambda *a, **k: "other people")
    segmenter(SIZE, steps=2, progress=False)
    assert len(load.calls) == 4


def test_repeatable_and_the_global_stream_is_left(load, tmp_path, monkeypatch):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = segmenter(SIZE, steps=2, progress=False)
    assert torch.equal(before, torch.get_rng_state())
    segmenter(SIZE, steps=2, progress=False)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    monkeypatch.setenv("REIDLIB_BUILD", str(tmp_path / "other"))
    other = segmenter(SIZE, steps=2, progress=False)
    assert len(load.calls) == 2
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    different = segmenter(SIZE, seed=1, steps=2, progress=False)
    assert not torch.equal(one.out.weight, different.out.weight)


# ---------------------------------------------------------------- foreground and overlap


def test_foreground_is_the_sum_of_image_and_mirror_image(trained, others):
    images = others.images[:7]
    with torch.no_grad():
        logits = torch.cat([trained(normalise(one[None])) for one in images])
        mirrored = torch.cat([trained(normalise(one[None].flip(-1))) for one in images]).flip(-1)
    total = logits + mirrored
    found = foreground(trained, images, batch=3)
    assert found.dtype == torch.bool
    assert found.shape == (7, *SIZE)
    clear = total.abs() > 1e-3
    assert clear.float().mean() > 0.99
    assert torch.equal(found[clear], total[clear] > 0)
    assert torch.equal(found.flip(-1), foreground(trained, images.flip(-1), batch=3))
    assert foreground(trained, images[:0]).shape == (0, *SIZE)


def test_foreground_restores_the_mode_and_changes_no_statistics(others):
    model = Segmenter(SIZE).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = foreground(model, others.images[:4])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(found, foreground(model.eval(), others.images[:4]))


def test_every_pixel_has_its_own_logit():
    """Each of the 2x2 logits of a place of the first level stands at its own pixel."""
    model = Segmenter((16, 16)).eval()
    torch.nn.init.zeros_(model.out.weight)
    model.out.bias.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    found = model(torch.zeros(1, 3, 16, 16))
    assert found.shape == (1, 16, 16)
    assert found.dtype == torch.float32
    assert torch.equal(found[0], torch.tensor([[1.0, 2.0], [3.0, 4.0]]).repeat(8, 8))


def test_every_parameter_learns():
    model = Segmenter((32, 16))
    model(torch.randn(4, 3, 32, 16)).square().mean().backward()
    assert all(value.grad.abs().sum() > 0 for value in model.parameters())


def test_overlap_by_hand_and_by_a_loop():
    exact = torch.zeros(4, 2, 3, dtype=torch.bool)
    found = exact.clone()
    found[0, 0] = True  # 3 pixels, and of the 2 exact ones 1
    exact[0, :, 0] = True
    exact[1, 1] = True  # nothing found
    found[2] = exact[2] = True
    assert overlap(found, exact).tolist() == [0.25, 0.0, 1.0, 1.0]
    assert overlap(found, exact).dtype == torch.float32
    one, other = (torch.rand(9, 5, 4, generator=torch.Generator().manual_seed(seed)) < 0.5 for seed in (0, 1))
    expected = []
    for first, second in zip(one.flatten(1).tolist(), other.flatten(1).tolist(), strict=True):
        both = sum(a and b for a, b in zip(first, second, strict=True))
        expected.append(both / sum(a or b for a, b in zip(first, second, strict=True)))
    assert overlap(one, other).tolist() == pytest.approx(expected)
    assert torch.equal(overlap(one, other), overlap(other, one))
    assert overlap(one[:0], one[:0]).shape == (0,)


# ---------------------------------------------------------------- errors


def test_errors():
    for size in ((64, 24), (8, 16), (64,), (0, 16)):
        with pytest.raises(ValueError, match=r"must be multiples of 16, got \("):
            segmenter(size)
    with pytest.raises(ValueError, match="steps must be 1 or more, got 0"):
        segmenter(SIZE, steps=0)
    model = Segmenter(SIZE)
    good = torch.zeros(2, 3, *SIZE, dtype=torch.uint8)
    for wrong in (good.float(), good[0], good[:, :1], good.mT):
        with pytest.raises(ValueError, match=r"this segmenter takes images uint8 \(n, 3, 32, 16\), got"):
            foreground(model, wrong)
    with pytest.raises(ValueError, match=r"must be of shape \(b, 3, 32, 16\), got \(2, 3, 16, 32\)"):
        model(good.mT.float())
    with pytest.raises(ValueError, match="batch must be 1 or more, got 0"):
        foreground(model, good, batch=0)
    one = torch.zeros(2, 4, 3, dtype=torch.bool)
    for wrong in (one[0], one[:1], one.byte()):
        with pytest.raises(ValueError, match=r"overlap needs two silhouettes bool \(n, h, w\) of one shape"):
            overlap(one, wrong)
        with pytest.raises(ValueError, match="of a part map take parts > 0"):
            overlap(wrong, one)


def test_examples():
    failed, tried = doctest.testmod(silhouettes)
    assert tried > 0
    assert failed == 0
