"""Batches of persons in several outfits, and the split of a person's images over outfits."""

import doctest
import itertools
import sys
import time
from collections import Counter
from fractions import Fraction

import pytest
import torch

from reidlib.appearance_sampler import AppearanceSampler, split_budget


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# outfit: (pid, images); person 3 has four outfits, 7 three, 2 two, 9 one, 11 one of unknown number; -1 is nobody
OUTFITS = {
    30: (3, 16), 31: (3, 8), 32: (3, 3), 33: (3, 1),
    70: (7, 1), 71: (7, 20), 72: (7, 5),
    20: (2, 2), 21: (2, 2),
    90: (9, 3),
}  # fmt: skip
ORDER = torch.randperm(70, generator=rng(4))
CLOTHES = torch.tensor([outfit for outfit, (_, n) in OUTFITS.items() for _ in range(n)] + [-1] * 6 + [5] * 3)[ORDER]
PIDS = torch.tensor([pid for pid, n in OUTFITS.values() for _ in range(n)] + [11] * 6 + [-1] * 3)[ORDER]


def chi_square(counts, expected):
    return sum((count - expected) ** 2 / expected for count in counts)


def by_person(batch):
    """[(pid, [(outfit, [images]), ...]), ...] in the order of the batch."""
    persons = []
    for pid, rows in itertools.groupby(batch, key=lambda i: int(PIDS[i])):
        worn = [(outfit, list(part)) for outfit, part in itertools.groupby(rows, key=lambda i: int(CLOTHES[i]))]
        persons.append((pid, worn))
    return persons


# ---------------------------------------------------------------- the split of a budget


@pytest.mark.parametrize(
    ("counts", "budget", "expected"),
    [
        ([16, 8], 8, [5, 3]),  # 5.33 and 2.67
        ([1, 100], 8, [1, 7]),  # 0.08 and 7.92
        ([100, 1], 8, [7, 1]),
        ([7, 1], 8, [7, 1]),
        ([5], 8, [8]),
        ([4, 4], 8, [4, 4]),
        ([4, 4], 5, [3, 2]),  # a tie of equal counts: the earlier
        ([1, 3], 6, [1, 5]),  # 1.5 and 4.5: a tie: the one with more images
        ([10, 10, 10], 8, [3, 3, 2]),
        ([50, 30, 20], 7, [4, 2, 1]),  # 3.5, 2.1, 1.4
        ([1, 2, 97], 4, [1, 1, 2]),  # twice none, then what is left
        ([1, 1, 1, 1, 96], 8, [1, 1, 1, 1, 4]),
        ([1, 1, 13], 7, [1, 1, 5]),  # plain: 1, 0, 6; then 0, 6 of the 6 left: twice anew
        ([1, 3, 3, 5], 6, [1, 2, 1, 2]),  # 0.5, 1.5, 1.5, 2.5: plain 0, 2, 1, 3; the 5 left as 1.36, 1.36, 2.27
        ([1, 60, 40], 5, [1, 2, 2]),  # 0.05, 2.97, 1.98: plain rounding gives 0, 3, 2; 4 images as 2.4 and 1.6
        ([3, 5, 9], 3, [1, 1, 1]),
        ([1, 1], 8, [4, 4]),  # more than there are
    ],
)
def test_split_by_hand(counts, budget, expected):
    assert split_budget(counts, budget) == expected


@pytest.mark.parametrize(
    ("counts", "budget", "expected"),
    [
        ([16, 8], 8, [4, 4]),
        ([1, 100], 8, [4, 4]),
        ([2, 9, 5], 8, [2, 3, 3]),
        ([5, 5, 9], 7, [2, 2, 3]),
        ([5, 9, 9], 4, [1, 2, 1]),
        ([5], 8, [8]),
    ],
)
def test_equal_split_by_hand(counts, budget, expected):
    assert split_budget(counts, budget, proportional=False) == expected


@pytest.mark.parametrize("proportional", [True, False])
def test_every_split_is_whole_fair_and_leaves_no_outfit_out(proportional):
    for counts in itertools.product((1, 2, 5, 7, 30), repeat=3):
        for budget in (3, 4, 8, 11):
            parts = split_budget(list(counts), budget, proportional)
            assert sum(parts) == budget
            assert min(parts) >= 1
            for (a, x), (b, y) in itertools.permutations(zip(counts, parts, strict=True), 2):
                assert x >= y or a <= b, "who has more images never gets fewer"
            shares = [Fraction(n * budget, sum(counts)) if proportional else Fraction(budget, 3) for n in counts]
            if min(shares) >= 1:
                assert all(abs(part - share) < 1 for part, share in zip(parts, shares, strict=True))


def test_the_split_follows_whoever_has_more():
    for counts in itertools.permutations((4, 11, 29)):
        parts = split_budget(counts, 9)
        assert dict(zip(counts, parts, strict=True)) == {4: 1, 11: 2, 29: 6}  # 0.82, 2.25, 5.93


def test_impossible_splits_are_refused():
    with pytest.raises(ValueError, match="a budget of 2 leaves an outfit of 3 without an image"):
        split_budget([1, 1, 1], 2)
    with pytest.raises(ValueError, match=r"one image or more each, got counts \[3, 0\]"):
        split_budget([3, 0], 8)
    with pytest.raises(ValueError, match="one outfit or more"):
        split_budget([], 8)


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("proportional", [True, False])
@pytest.mark.parametrize(("persons", "appearances", "images"), [(3, 2, 8), (5, 2, 8), (5, 3, 7), (2, 5, 5), (1, 1, 1)])
def test_every_batch_holds_its_persons_in_outfits_that_share_the_budget(persons, appearances, images, proportional):
    sampler = AppearanceSampler(PIDS, CLOTHES, persons, appearances, images, proportional, 40, rng(persons))
    batches = list(sampler)
    assert len(batches) == len(sampler) == 40
    for batch in batches:
        assert len(batch) == persons * images
        groups = by_person(batch)
        assert len({pid for pid, _ in groups}) == len(groups) == persons, "one identity after the other"
        for pid, worn in groups:
            names = [outfit for outfit, _ in worn]
            available = set(CLOTHES[torch.eq(PIDS, pid)].tolist())
            assert names == sorted(set(names)), "outfit by outfit"
            assert len(names) == min(appearances, len(available))
            counts = [int(torch.eq(CLOTHES, name).sum()) for name in names]
            assert [len(rows) for _, rows in worn] == split_budget(counts, images, proportional)
            for count, (_, rows) in zip(counts, worn, strict=True):
                assert len(set(rows)) == min(count, len(rows)), "all different, or every image of a small outfit"


def test_the_pair_of_16_and_8_images_gives_5_and_3_or_4_and_4():
    clothes = torch.tensor([1] * 8 + [0] * 16)
    for proportional, expected in ((True, {0: 5, 1: 3}), (False, {0: 4, 1: 4})):
        sampler = AppearanceSampler(torch.zeros(24), clothes, persons=1, proportional=proportional, generator=rng())
        assert len(sampler) == 3
        for batch in sampler:
            assert Counter(clothes[batch].tolist()) == expected


def test_every_pair_of_outfits_is_equally_likely():
    sampler = AppearanceSampler(PIDS, CLOTHES, persons=5, images=2, batches_per_epoch=3000, generator=rng(1))
    pairs = Counter((pid, tuple(outfit for outfit, _ in worn)) for batch in sampler for pid, worn in by_person(batch))
    of_3 = {pair: count for (pid, pair), count in pairs.items() if pid == 3}
    of_7 = {pair: count for (pid, pair), count in pairs.items() if pid == 7}
    assert set(of_3) == set(itertools.combinations((30, 31, 32, 33), 2))
    assert chi_square(of_3.values(), 500) < 20.5, "5 degrees of freedom: 1 in 1000"
    assert set(of_7) == set(itertools.combinations((70, 71, 72), 2))
    assert chi_square(of_7.values(), 1000) < 13.8, "2 degrees of freedom: 1 in 1000"
    assert pairs[2, (20, 21)] == pairs[9, (90,)] == pairs[11, (-1,)] == 3000


def test_persons_are_equally_likely_however_many_images_they_have():
    sampler = AppearanceSampler(PIDS, CLOTHES, persons=2, batches_per_epoch=2500, generator=rng(2))
    persons = Counter(pid for batch in sampler for pid, _ in by_person(batch))
    assert set(persons) == {2, 3, 7, 9, 11}
    assert chi_square(persons.values(), 1000) < 18.5, "4 degrees of freedom: 1 in 1000"
    together = Counter(tuple(sorted(pid for pid, _ in by_person(batch))) for batch in sampler)
    assert len(together) == 10
    assert chi_square(together.values(), 250) < 27.9, "9 degrees of freedom: 1 in 1000"


def test_images_of_an_outfit_are_drawn_evenly():
    clothes = torch.tensor([0] * 16 + [1] * 8)
    images = Counter()
    for batch in AppearanceSampler(torch.zeros(24), clothes, persons=1, batches_per_epoch=3000, generator=rng(3)):
        images.update(batch)
    assert chi_square([images[i] for i in range(16)], 3000 * 5 / 16) < 37.7, "15 degrees of freedom: 1 in 1000"
    assert chi_square([images[i] for i in range(16, 24)], 3000 * 3 / 8) < 24.3, "7 degrees of freedom: 1 in 1000"


def test_a_small_outfit_gives_each_image_and_fills_up_evenly():
    clothes = torch.tensor([0] * 3 + [1] * 50)
    sampler = AppearanceSampler(
        torch.zeros(53), clothes, persons=1, proportional=False, batches_per_epoch=3000, generator=rng(4)
    )
    fills = Counter()
    for batch in sampler:
        times = Counter(i for i in batch if i < 3)
        assert len(times) == 3
        assert sum(times.values()) == 4
        fills.update(times - Counter(range(3)))
    assert chi_square(fills.values(), 1000) < 13.8, "2 degrees of freedom: 1 in 1000"


def test_a_person_in_one_outfit_gives_all_images_from_it():
    pids, clothes = torch.tensor([0] * 20 + [1]), torch.tensor([4] * 20 + [9])
    for batch in AppearanceSampler(pids, clothes, persons=2, batches_per_epoch=20, generator=rng()):
        groups = [list(rows) for _, rows in itertools.groupby(batch, key=lambda i: i == 20)]
        assert sorted(len(set(rows)) for rows in groups) == [1, 8]
        assert [len(rows) for rows in groups] == [8, 8]


def test_outfits_may_be_numbered_for_each_person():
    pids, clothes = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 0, 1, 1, -1])
    sampler = AppearanceSampler(pids, clothes, persons=3, images=2, batches_per_epoch=10, generator=rng())
    assert all(sorted(batch) == list(range(6)) for batch in sampler)


def test_epoch_length_and_negative_pids():
    pids = torch.cat((torch.arange(8).repeat_interleave(20), torch.full((40,), -1)))
    clothes = torch.arange(200) % 3
    sampler = AppearanceSampler(pids, clothes, persons=4, images=4, generator=rng())
    assert len(sampler) == 160 // 16
    assert max(i for _ in range(20) for batch in sampler for i in batch) < 160
    assert len(AppearanceSampler(torch.arange(8), torch.arange(8))) == 1
    assert len(AppearanceSampler(pids.tolist(), clothes.tolist(), batches_per_epoch=7)) == 7


def test_the_generator_decides():
    def draw(seed):
        return list(AppearanceSampler(PIDS, CLOTHES, 3, batches_per_epoch=5, generator=rng(seed)))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_a_restored_generator_continues_where_it_was():
    generator = rng(3)
    sampler = AppearanceSampler(PIDS, CLOTHES, 3, batches_per_epoch=5, generator=generator)
    first = list(sampler)
    state = generator.get_state()
    second = list(sampler)
    assert first != second, "another epoch, other batches"
    generator.set_state(state)
    assert list(sampler) == second


def test_an_epoch_of_17896_images_is_drawn_in_half_a_second():
    pids = torch.arange(17_896) % 150
    sampler = AppearanceSampler(pids, pids * 2 + torch.arange(17_896) % 7 // 4, generator=rng())
    assert len(sampler) == 279
    start = time.process_time()
    assert sum(len(batch) for batch in sampler) == 279 * 64
    assert time.process_time() - start < 0.5


def test_it_drives_a_data_loader():
    data = torch.utils.data.TensorDataset(PIDS)
    sampler = AppearanceSampler(PIDS, CLOTHES, 3, batches_per_epoch=2, generator=rng())
    loader = torch.utils.data.DataLoader(data, batch_sampler=sampler)
    assert [len(pids) for (pids,) in loader] == [24, 24]


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize("name", ["persons", "appearances", "images", "batches_per_epoch"])
@pytest.mark.parametrize("number", [0, -2])
def test_numbers_below_one_are_refused(name, number):
    with pytest.raises(ValueError, match=f"AppearanceSampler needs {name} of 1 or more, got {name}={number}"):
        AppearanceSampler(PIDS, CLOTHES, **{name: number})


def test_other_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="needs persons=6 identities but there are 5: choose fewer persons"):
        AppearanceSampler(PIDS, CLOTHES, persons=6)
    with pytest.raises(ValueError, match="needs persons=8 identities but there are 0"):
        AppearanceSampler(torch.full((5,), -1), torch.zeros(5))
    with pytest.raises(ValueError, match="images=2 of a person cannot show appearances=3 outfits"):
        AppearanceSampler(PIDS, CLOTHES, persons=2, appearances=3, images=2)
    with pytest.raises(ValueError, match=r"pids \(n,\) and clothes \(n,\), got \(70,\) and \(3,\): give one outfit"):
        AppearanceSampler(PIDS, CLOTHES[:3])
    with pytest.raises(ValueError, match=r"got \(1, 70\) and \(1, 70\)"):
        AppearanceSampler(PIDS[None], CLOTHES[None])


def test_examples_in_docstrings():
    results = doctest.testmod(sys.modules[AppearanceSampler.__module__])
    assert results.attempted >= 2
    assert results.failed == 0
