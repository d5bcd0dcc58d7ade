"""Swapped images: who meets whom, and whose person a generated image shows, against loops."""

import doctest

import pytest
import torch
import torch.nn.functional as F

from reidlib import swaps
from reidlib.swaps import same_person_first, swap_pairs


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# ---------------------------------------------------------------- pairs


@pytest.mark.parametrize(("n", "count"), [(2, 2), (3, 3), (7, 7), (7, 20), (50, 10), (2, 9)])
def test_appearances_in_order_and_structures_of_others(n, count):
    appearance, structure = swap_pairs(n, count, seed=3)
    assert appearance.tolist() == [row % n for row in range(count)]
    assert appearance.dtype == structure.dtype == torch.int64
    assert structure.shape == (count,)
    assert not (appearance == structure).any()
    assert structure.min() >= 0
    for start in range(0, count - n + 1, n):
        assert structure[start : start + n].sort().values.tolist() == list(range(n)), "each once in a full round"


def test_every_other_image_is_as_likely():
    """Of 4000 draws for 5 images each of the 4 others comes 1000 times, give or take 4 standard deviations."""
    found = torch.stack([swap_pairs(5, 5, seed)[1] for seed in range(4000)])
    for image in range(5):
        counts = torch.bincount(found[:, image], minlength=5)
        assert counts[image] == 0
        others = counts[torch.arange(5) != image]
        assert ((others - 1000).abs() < 4 * 750**0.5).all(), counts


def test_seeds_rounds_and_shorter_lists():
    structure = swap_pairs(40, 100, seed=1)[1]
    assert torch.equal(structure, swap_pairs(40, 100, seed=1)[1])
    assert torch.equal(structure[:55], swap_pairs(40, 55, seed=1)[1])
    assert not torch.equal(structure, swap_pairs(40, 100, seed=2)[1])
    assert not torch.equal(structure[:40], structure[40:80])
    torch.manual_seed(5)
    before = torch.get_rng_state()
    swap_pairs(40, 100, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_no_swaps():
    assert [rows.shape for rows in swap_pairs(2, 0, seed=0)] == [(0,), (0,)]
    for n in (1, 0, -1):
        with pytest.raises(ValueError, match=rf"another image for the structure, got n={n}: give 2 or more"):
            swap_pairs(n, 3, seed=0)
    with pytest.raises(ValueError, match="cannot list -1 swaps: give a count of 0 or more"):
        swap_pairs(5, -1, seed=0)


# ---------------------------------------------------------------- whose person


def reference(generated, sources, pids, features):
    found = []
    for made, source in zip(generated, sources.tolist(), strict=True):
        others = [row for row in range(len(features)) if row != source]
        if not any(pids[row] == pids[source] for row in others):
            continue
        best = max(others, key=lambda row: F.cosine_similarity(made, features[row], dim=0).item())
        found.append(bool(pids[best] == pids[source]))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_against_a_loop(seed, monkeypatch):
    monkeypatch.setattr(swaps, "BLOCK", 7)
    generator = torch.Generator().manual_seed(seed)
    pids = torch.randint(0, 19, (30,), generator=generator) * 10 - 1
    sources = torch.randint(0, 30, (50,), generator=generator)
    features = normal(30, 6, seed=seed) + 2 * normal(200, 6, seed=9)[pids]
    generated = 5 * (features[sources] + normal(50, 6, seed=seed + 20))
    expected = reference(generated, sources, pids, features)
    found = same_person_first(generated, sources, pids, features)
    assert found.tolist() == expected
    assert found.dtype == torch.bool
    assert 0 < sum(expected) < len(expected) < 50, "right, wrong and dropped rows"


REAL = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
PIDS = torch.tensor([5, 5, 6, 6])


def test_by_hand():
    made = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8], [0.0, 1.0]])
    found = same_person_first(made, torch.tensor([0, 0, 2, 2]), PIDS, REAL)
    assert found.tolist() == [True, False, False, True], "the third is a copy of its source, and next to it is another"


def test_the_ceiling_drops_the_same_rows():
    pids = torch.tensor([5, 5, 6, 7])  # 6 and 7 have one image each
    sources = torch.tensor([0, 2, 1, 3, 0])
    ceiling = same_person_first(REAL[sources], sources, pids, REAL)
    assert ceiling.shape == same_person_first(-REAL[sources], sources, pids, REAL).shape == (3,)
    assert ceiling.tolist() == [True, False, True], "the image at 37 degrees is nearer to 53 than to 0 degrees"


def test_lengths_do_not_matter_and_half_precision_is_taken():
    scale = torch.tensor([[1.0], [100.0], [0.01], [7.0]])
    sources = torch.arange(4)
    made = normal(4, 2, seed=2)
    expected = same_person_first(made, sources, PIDS, REAL)
    assert torch.equal(expected, same_person_first(made * scale, sources, PIDS, REAL / scale))
    assert torch.equal(expected, same_person_first(made.half(), sources.int(), PIDS.int(), REAL.double()))


def test_errors():
    made, sources = REAL.clone(), torch.arange(4)
    for other in (REAL[:, :1], REAL[0], REAL.long()):
        with pytest.raises(ValueError, match=r"must be float and of one width, got generated .* features \(4, 2\)"):
            same_person_first(other, sources, PIDS, REAL)
    with pytest.raises(ValueError, match="must be float and of one width"):
        same_person_first(made, sources, PIDS, REAL[0])
    for wrong in (sources[:3], sources.float(), sources.bool(), sources[:, None]):
        with pytest.raises(ValueError, match=r"sources must be one integer for each generated image, \(4,\), got"):
            same_person_first(made, wrong, PIDS, REAL)
        with pytest.raises(ValueError, match=r"pids must be one integer for each real image, \(4,\), got"):
            same_person_first(made, sources, wrong, REAL)
    for row in (-1, 4):
        with pytest.raises(ValueError, match=f"source {row} is no row of the real images, which are 0 to 3"):
            same_person_first(made, torch.tensor([0, row, 1, 2]), PIDS, REAL)
    for value in (torch.nan, torch.inf):
        bad = REAL.clone()
        bad[2, 1] = value
        with pytest.raises(ValueError, match=r"row 2 of generated holds NaN or infinity \(1 such rows\)"):
            same_person_first(bad, sources, PIDS, REAL)
        with pytest.raises(ValueError, match="row 2 of features holds NaN or infinity"):
            same_person_first(made, sources, PIDS, bad)
    for count in (4, 0):
        with pytest.raises(ValueError, match=f"none of the {count} generated images has an appearance whose person"):
            same_person_first(made[:count], sources[:count], torch.arange(4), REAL)


def test_examples():
    failed, tried = doctest.testmod(swaps)
    assert tried > 0
    assert failed == 0
