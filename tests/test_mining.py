"""Offline triplets: validity, fallbacks, coverage, the pool of hard negatives, mixed batches."""

from collections import Counter

import numpy as np
import pytest
import torch

from reidlib.mining import NegativePool, hard_negative_pool, random_triplets, triplet_batches


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def random_data(seed, images=120, identities=30, cameras=4):
    generator = rng(seed)
    pids = torch.randint(3, 3 + identities, (images,), generator=generator)
    return pids, torch.randint(0, cameras, (images,), generator=generator)


def candidates(pids, camids, anchor):
    """Positives of an anchor by the rule, by loop."""
    others = [i for i, pid in enumerate(pids) if pid == pids[anchor] and i != anchor]
    return [i for i in others if camids[i] != camids[anchor]] or others


# ---------------------------------------------------------------- random triplets


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("positives", ["other_camera", "any"])
def test_every_triplet_is_valid_and_every_possible_anchor_comes_once(seed, positives):
    pids, camids = random_data(seed)
    pids[:4] = torch.arange(100, 104)  # identities with one image only
    camids[pids == pids[-1]] = 0  # and one seen by one camera only
    triplets = random_triplets(pids, camids, rng(seed), positives)
    assert triplets.dtype == torch.int64
    sizes = Counter(pids.tolist())
    assert sorted(triplets[:, 0].tolist()) == [i for i, pid in enumerate(pids.tolist()) if sizes[pid] > 1]
    pids, camids = pids.tolist(), camids.tolist()
    for a, p, n in triplets.tolist():
        assert pids[a] == pids[p]
        assert a != p
        assert pids[a] != pids[n]
        if positives == "other_camera":
            assert p in candidates(pids, camids, a)


def test_positive_falls_back_to_another_image_of_the_same_camera():
    # Identity 1 was seen by one camera only; identity 2 by two.
    pids, camids = torch.tensor([1, 1, 1, 2, 2, 2]), torch.tensor([0, 0, 0, 0, 0, 5])
    for seed in range(20):
        for a, p, _ in random_triplets(pids, camids, rng(seed)).tolist():
            assert p in candidates(pids.tolist(), camids.tolist(), a)
            assert a not in (3, 4) or p == 5


def test_draws_cover_all_positives_and_negatives_evenly():
    pids, camids = torch.tensor([5, 9, 5, 9, 5, 7, 9, 5]), torch.tensor([0, 1, 1, 0, 2, 0, 1, 0])
    generator, epochs = rng(), 4000
    positives, negatives, first = Counter(), Counter(), Counter()
    for _ in range(epochs):
        triplets = random_triplets(pids, camids, generator)
        first[triplets[0, 0].item()] += 1
        for a, p, n in triplets.tolist():
            positives[a, p] += 1
            negatives[a, n] += 1
    expected = {(a, p) for a in range(8) if a != 5 for p in candidates(pids.tolist(), camids.tolist(), a)}
    assert set(positives) == expected
    assert set(negatives) == {(a, n) for a in range(8) if a != 5 for n in range(8) if pids[a] != pids[n]}
    for counter in (positives, negatives):
        choices = Counter(a for a, _ in counter)
        for (a, _), count in counter.items():
            mean = epochs / choices[a]
            assert abs(count - mean) < 5 * np.sqrt(mean), "five standard deviations"
    assert set(first) == {0, 1, 2, 3, 4, 6, 7}


def test_any_positive_takes_images_of_the_same_camera_too():
    pids, camids = torch.tensor([1, 1, 1, 2]), torch.tensor([0, 0, 1, 0])
    seen = {tuple(row[:2]) for seed in range(40) for row in random_triplets(pids, camids, rng(seed), "any").tolist()}
    assert seen == {(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)}


def test_same_seed_same_triplets_and_another_seed_others():
    pids, camids = random_data(0)
    assert torch.equal(random_triplets(pids, camids, rng(1)), random_triplets(pids, camids, rng(1)))
    assert not torch.equal(random_triplets(pids, camids, rng(1)), random_triplets(pids, camids, rng(2)))


def test_numpy_columns_are_accepted():
    pids, camids = random_data(0)
    assert torch.equal(random_triplets(pids.numpy(), camids.numpy(), rng()), random_triplets(pids, camids, rng()))


@pytest.mark.parametrize(
    ("pids", "camids", "positives", "message"),
    [
        ([1, 2, 3], [0, 0, 0], "any", "none of the 3 identities has two images"),
        ([4, 4, 4], [0, 1, 2], "any", "all 3 images are of one identity"),
        ([1, 1, 2], [0, 1], "any", "of one length"),
        ([], [], "any", "non-empty"),
        ([1, 1, 2], [0, 1, 0], "othercam", "unknown positives 'othercam'"),
    ],
)
def test_impossible_triplets_are_refused(pids, camids, positives, message):
    with pytest.raises(ValueError, match=message):
        random_triplets(torch.tensor(pids), torch.tensor(camids), rng(), positives)


# ---------------------------------------------------------------- pool of hard negatives


def test_pool_by_hand():
    # On a line: identity 1 at 0 and 10, identity 2 at 1, identity 3 at 11 and 12, identity 4 far away, twice.
    x = torch.tensor([[0.0], [10.0], [1.0], [11.0], [12.0], [100.0], [101.0]])
    pids = torch.tensor([1, 1, 2, 3, 3, 4, 4])
    pool = hard_negative_pool(x, pids, nn=1)
    assert pool.pids.tolist() == [1, 2, 3, 4]
    assert [pool.of(pid).tolist() for pid in (1, 2, 3, 4)] == [[2, 3], [0], [1], []]
    with pytest.raises(KeyError, match="identity 5 is not in the pool"):
        pool.of(5)


@pytest.mark.parametrize("nn", [1, 4, 10, 500])
@pytest.mark.parametrize("block", [7, 1024])
def test_pool_against_loops(nn, block):
    pids, _ = random_data(1, images=60, identities=12)
    x = torch.randn(60, 8, generator=rng(2))
    pool = hard_negative_pool(x, pids, nn=nn, block=block)
    distances = (x[:, None] - x[None]).square().sum(-1).numpy()
    expected = {pid: set() for pid in pids.tolist()}
    for i, pid in enumerate(pids.tolist()):
        neighbours = [j for j in np.argsort(distances[i]) if j != i][:nn]
        expected[pid] |= {int(j) for j in neighbours if pids[j] != pid}
    assert {pid: set(pool.of(pid).tolist()) for pid in expected} == expected
    assert all(len(pool.of(pid)) == len(expected[pid]) for pid in expected), "each image once"


def test_pool_leaves_an_image_out_of_its_own_neighbours_even_among_copies():
    x = torch.zeros(4, 3)
    pool = hard_negative_pool(x, torch.tensor([1, 2, 3, 4]), nn=3)
    assert [pool.of(pid).tolist() for pid in (1, 2, 3, 4)] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_pool_refuses_other_lengths():
    with pytest.raises(ValueError, match="as many embeddings as pids"):
        hard_negative_pool(torch.zeros(3, 2), torch.tensor([1, 2]))


def test_hard_negatives_come_from_the_pool_and_an_empty_pool_keeps_a_random_one():
    pids = torch.tensor([1, 1, 2, 2, 3, 3, 4, 4])
    cams = torch.tensor([0, 1] * 4)
    pool = NegativePool(torch.tensor([1, 2, 3]), torch.tensor([0, 2, 2, 3]), torch.tensor([4, 7, 0]))  # 4 is not in it
    found = {pid: set() for pid in (1, 2, 3, 4)}
    for epoch in range(50):
        (mined,) = triplet_batches(pids, cams, rng(epoch), batch=8, hard_share=1.0, pool=pool)
        for anchor, _, negative in mined.tolist():
            found[int(pids[anchor])].add(negative)
    assert found == {1: {4, 7}, 2: {0, 1, 4, 5, 6, 7}, 3: {0}, 4: {0, 1, 2, 3, 4, 5}}


def test_a_pool_that_is_empty_altogether_leaves_the_random_negatives():
    pids, cams = torch.tensor([1, 1, 2, 2]), torch.tensor([0, 1] * 2)
    pool = NegativePool(torch.tensor([1, 2]), torch.tensor([0, 0, 0]), torch.tensor([], dtype=torch.int64))
    (mined,) = triplet_batches(pids, cams, rng(), batch=4, hard_share=1.0, pool=pool)
    assert (pids[mined[:, 0]] == pids[mined[:, 1]]).all()
    assert (pids[mined[:, 0]] != pids[mined[:, 2]]).all()


# ---------------------------------------------------------------- batches


@pytest.fixture
def confused():
    """Data whose pools hold one image each, which no other identity has: hard rows can be told from random ones."""
    pids = torch.arange(1, 41).repeat_interleave(5)
    camids = torch.arange(5).repeat(40)
    rows = torch.arange(200).view(40, 5)[:, 0].roll(-1)
    return pids, camids, NegativePool(torch.arange(1, 41), torch.arange(41), rows)


@pytest.mark.parametrize(("share", "hard"), [(0.0, 0), (0.3, 10), (0.5, 16), (0.6, 19), (1.0, 32)])
def test_batches_mix_random_and_hard_negatives(confused, share, hard):
    pids, camids, pool = confused
    batches = list(triplet_batches(pids, camids, rng(), hard_share=share, pool=pool))
    assert [tuple(batch.shape) for batch in batches] == [(32, 3)] * 6
    plain = list(triplet_batches(pids, camids, rng()))
    for batch, reference in zip(batches, plain, strict=True):
        assert torch.equal(batch[:, :2], reference[:, :2])
        assert torch.equal(batch[: 32 - hard], reference[: 32 - hard])
        anchors = pids[batch[32 - hard :, 0]]
        assert batch[32 - hard :, 2].tolist() == [pool.of(pid).item() for pid in anchors.tolist()]
        assert (pids[batch[:, 0]] != pids[batch[:, 2]]).all()
        assert (camids[batch[:, 0]] != camids[batch[:, 1]]).all()
    anchors = torch.cat(batches)[:, 0].tolist()
    assert len(set(anchors)) == len(anchors) == 192


def test_arms_with_and_without_hard_negatives_share_anchors_for_all_epochs(confused):
    pids, camids, pool = confused
    one, two = rng(), rng()
    for _ in range(3):
        plain = torch.cat(list(triplet_batches(pids, camids, one)))
        mixed = torch.cat(list(triplet_batches(pids, camids, two, hard_share=0.3, pool=pool)))
        assert torch.equal(plain[:, :2], mixed[:, :2])


def test_batches_of_any_positives_are_valid(confused):
    pids, camids, _ = confused
    triplets = torch.cat(list(triplet_batches(pids, camids, rng(), batch=16, positives="any")))
    assert len(triplets) == 192
    assert (pids[triplets[:, 0]] == pids[triplets[:, 1]]).all()


def test_batches_refuse_bad_settings_at_once(confused):
    pids, camids, pool = confused
    for settings, message in [
        ({"hard_share": 1.5, "pool": pool}, "between 0 and 1"),
        ({"hard_share": -0.1, "pool": pool}, "between 0 and 1"),
        ({"hard_share": 0.3}, "needs a pool"),
        ({"batch": 0}, "1 or more"),
        ({"batch": 201}, "200 anchors do not fill one batch of 201"),
    ]:
        with pytest.raises(ValueError, match=message):
            triplet_batches(pids, camids, rng(), **settings)


def test_the_second_iteration_from_embeddings_to_batches():
    pids, camids = random_data(5, images=200, identities=20)
    x = torch.randn(200, 6, generator=rng(6))
    pool = hard_negative_pool(x, pids)
    for batch in triplet_batches(pids, camids, rng(), hard_share=0.3, pool=pool):
        assert (pids[batch[:, 0]] != pids[batch[:, 2]]).all()
        for a, _, n in batch[22:].tolist():
            assert n in pool.of(pids[a].item())
