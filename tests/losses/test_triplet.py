"""Losses of the triplet thesis: hand values, slow loops, gradients."""

import doctest
import math
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from reidlib.losses.triplet import (
    all_triplets,
    batch_all,
    batch_hard,
    lossless,
    paired_squared_distances,
    squared_distances,
    triplet,
    triplet_statistics,
)


def unit_rows(n, d, seed=0, dtype=torch.float64):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=1)


def slow_triplets(pids):
    n = range(len(pids))
    return [(a, p, q) for a in n for p in n for q in n if a != p and pids[a] == pids[p] and pids[a] != pids[q]]


def slow_losses(x, pids, loss):
    return [loss(((x[a] - x[p]) ** 2).sum(), ((x[a] - x[n]) ** 2).sum()).item() for a, p, n in slow_triplets(pids)]


# ---------------------------------------------------------------- distances


def test_squared_distances_by_hand():
    a = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    b = torch.tensor([[3.0, 4.0], [1.0, 2.0], [0.0, -1.0]])
    assert squared_distances(a, b).tolist() == [[25.0, 5.0, 1.0], [8.0, 0.0, 10.0]]
    assert paired_squared_distances(a, b[:2]).tolist() == [25.0, 0.0]


def test_squared_distances_are_never_negative_and_close_to_differences():
    x = unit_rows(200, 128, dtype=torch.float32)
    x = torch.cat((x, x + 1e-4 * torch.randn(200, 128, generator=torch.Generator().manual_seed(1))))
    distances = squared_distances(x, x)
    assert distances.min() >= 0
    exact = (x.double()[:, None] - x.double()[None]).square().sum(-1)
    assert (distances - exact).abs().max() < 2e-6


def test_squared_distances_work_in_float32_under_autocast_and_for_half_precision():
    x = unit_rows(8, 16, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = squared_distances(x, x)
    assert torch.equal(inside, squared_distances(x, x))
    assert squared_distances(x.half(), x.half()).dtype == torch.float32
    assert squared_distances(x.double(), x.double()).dtype == torch.float64


@pytest.mark.parametrize(("a", "b"), [((3, 4), (3, 5)), ((4,), (3, 4))])
def test_squared_distances_refuse_other_shapes(a, b):
    with pytest.raises(ValueError, match=r"\(n, d\) and \(m, d\)"):
        squared_distances(torch.zeros(a), torch.zeros(b))


def test_paired_distances_refuse_other_shapes():
    with pytest.raises(ValueError, match="equal shapes"):
        paired_squared_distances(torch.zeros(2, 3), torch.zeros(3, 3))


def test_equal_rows_have_finite_gradients():
    x = torch.ones(4, 3, requires_grad=True)
    (squared_distances(x, x).sum() + paired_squared_distances(x, x.flip(0)).sum()).backward()
    assert torch.isfinite(x.grad).all()


# ---------------------------------------------------------------- per-triplet losses


def test_triplet_by_hand():
    d_ap, d_an = torch.tensor([1.2, 1.0, 0.5, 0.0]), torch.tensor([2.4, 1.1, 0.25, 0.2])
    assert torch.allclose(triplet(d_ap, d_an), torch.tensor([0.0, 0.1, 0.45, 0.0]))
    assert torch.allclose(triplet(d_ap, d_an, margin=1.5), torch.tensor([0.3, 1.4, 1.75, 1.3]))


@pytest.mark.parametrize(
    ("d_ap", "d_an", "expected"),
    [(0, 4, 0.0), (2, 2, 1.3863), (0, 2, 0.6931), (4, 4, 18.42068), (1.2, 2.4, 0.3567 + 0.5108), (0, 0, 18.42068)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lossless_check_values(d_ap, d_an, expected, dtype):
    value = lossless(torch.tensor(d_ap, dtype=dtype), torch.tensor(d_an, dtype=dtype))
    assert value.item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("beta", [4.0, 8.0, 128.0])
def test_lossless_is_the_printed_formula(beta):
    for d_ap, d_an in [(0.0, 4.0), (0.3, 3.1), (1.2, 2.4), (3.9, 0.1)]:
        printed = -math.log(-d_ap / beta + 1 + 1e-8) - math.log(-(4 - d_an) / beta + 1 + 1e-8)
        value = lossless(torch.tensor(d_ap, dtype=torch.float64), torch.tensor(d_an, dtype=torch.float64), beta)
        assert value.item() == pytest.approx(printed, abs=1e-12)


def test_lossless_gradients_at_beta_4():
    d_ap = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    d_an = torch.tensor([4.0, 2.0, 0.5], dtype=torch.float64, requires_grad=True)
    lossless(d_ap, d_an).sum().backward()
    assert torch.allclose(d_ap.grad, 1 / (4 - d_ap.detach()))
    assert torch.allclose(d_an.grad, -1 / d_an.detach())


def test_lossless_is_almost_linear_for_a_large_beta():
    d_ap, d_an = torch.tensor([0.5, 3.0], requires_grad=True), torch.tensor([1.0, 3.5], requires_grad=True)
    lossless(d_ap, d_an, beta=128).sum().backward()
    assert torch.allclose(d_ap.grad * 128, torch.ones(2), atol=0.04)
    assert torch.allclose(d_an.grad * 128, -torch.ones(2), atol=0.04)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_lossless_clamps_the_logarithm_and_keeps_gradients_finite(beta):
    d_ap = torch.tensor([4.0, 4.000001, 4.5, 0.0], requires_grad=True)
    d_an = torch.tensor([0.0, -1e-6, 0.0, 0.0], requires_grad=True)
    values = lossless(d_ap, d_an, beta)
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert values.max() <= -2 * math.log(1e-8) + 1e-4
    assert torch.isfinite(d_ap.grad).all()
    assert torch.isfinite(d_an.grad).all()


def test_lossless_gradients_stay_finite_for_collapsed_and_near_equal_embeddings():
    for spread in (0.0, 1e-8, 1e-4):
        noise = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
        x = (torch.ones(8, 16) + spread * noise).requires_grad_()
        batch_all(F.normalize(x, dim=1), torch.arange(8) // 4, lossless, average="valid").backward()
        assert torch.isfinite(x.grad).all()


def test_lossless_survives_half_precision_inputs():
    assert lossless(torch.tensor(4.0).half(), torch.tensor(0.0).half()).item() == pytest.approx(36.84, abs=0.01)


@pytest.mark.parametrize("bad", [{"beta": 0.0}, {"beta": -4.0}, {"eps": 0.0}])
def test_lossless_refuses_bad_settings(bad):
    with pytest.raises(ValueError, match="beta > 0 and eps > 0"):
        lossless(torch.zeros(1), torch.zeros(1), **bad)


def test_gradcheck_of_losses_and_distances():
    d_ap = torch.tensor([0.3, 1.7, 2.5], dtype=torch.float64, requires_grad=True)
    d_an = torch.tensor([2.0, 1.6, 0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(triplet, (d_ap, d_an))
    for beta in (4.0, 8.0, 128.0):
        assert torch.autograd.gradcheck(partial(lossless, beta=beta), (d_ap, d_an))
    a, b = unit_rows(3, 4).requires_grad_(), unit_rows(5, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(squared_distances, (a, b))
    assert torch.autograd.gradcheck(paired_squared_distances, (a, b[:3]))


# ---------------------------------------------------------------- statistics


def test_statistics_by_hand():
    d_ap = torch.tensor([0.25, 0.25, 0.25, 0.25, 0.25, 0.5, 0.75, 0.0])
    d_an = torch.tensor([2.00, 0.50, 0.375, 0.25, 0.125, 0.25, 0.5, 0.3])
    # margin 0.25: easy, easy (just), semi-hard, semi-hard (equal), hard, hard, hard, easy
    assert triplet_statistics(d_ap, d_an, margin=0.25) == {"easy": 3 / 8, "semi_hard": 2 / 8, "hard": 3 / 8}


def test_statistics_agree_with_the_loss():
    generator = torch.Generator().manual_seed(3)
    d_ap, d_an = 4 * torch.rand(1000, generator=generator), 4 * torch.rand(1000, generator=generator)
    for margin in (0.0, 0.2, 1.0):
        shares = triplet_statistics(d_ap, d_an, margin)
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["easy"] == (triplet(d_ap, d_an, margin) == 0).double().mean().item()
        assert shares["hard"] == sum(n < p for p, n in zip(d_ap.tolist(), d_an.tolist(), strict=True)) / 1000


def test_statistics_need_triplets():
    with pytest.raises(ValueError, match="non-empty"):
        triplet_statistics(torch.zeros(0), torch.zeros(0))


# ---------------------------------------------------------------- batches


def test_all_triplets_of_8_by_8():
    pids = torch.arange(8).repeat_interleave(8)
    assert len(all_triplets(pids)[0]) == 25_088


@pytest.mark.parametrize("pids", [[0, 0, 1], [4, 7, 4, 4, 9, 7], [1, 2, 3], [5, 5, 5]])
def test_all_triplets_against_loops(pids):
    found = torch.stack(all_triplets(torch.tensor(pids)), 1).tolist()
    assert sorted(map(tuple, found)) == slow_triplets(pids)


@pytest.mark.parametrize("loss", [triplet, partial(triplet, margin=1.0), lossless, partial(lossless, beta=128.0)])
@pytest.mark.parametrize("pids", [[0, 0, 1, 1, 2, 2], [3, 1, 3, 2, 1, 3, 8]])
def test_batch_all_against_loops(loss, pids):
    x = unit_rows(len(pids), 5)
    values = slow_losses(x, pids, loss)
    active = [value for value in values if value > 0]
    assert active
    labels = torch.tensor(pids)
    assert batch_all(x, labels, loss, "valid").item() == pytest.approx(sum(values) / len(values), rel=1e-10)
    assert batch_all(x, labels, loss, "active").item() == pytest.approx(sum(active) / len(active), rel=1e-10)


def test_batch_all_by_hand():
    # Points 0, 1 of one identity and 3 of another on a line: squared distances 1, 9, 4; triplets (0,1,3), (1,0,3).
    x = torch.tensor([[0.0], [1.0], [3.0]])
    pids = torch.tensor([7, 7, 2])
    assert batch_all(x, pids, partial(triplet, margin=5.0), "active").item() == pytest.approx(2.0)  # 0 and 2
    assert batch_all(x, pids, partial(triplet, margin=5.0), "valid").item() == pytest.approx(1.0)
    assert batch_hard(x, pids, partial(triplet, margin=5.0)).item() == pytest.approx(1.0)


def test_batch_all_without_active_triplets_is_zero_and_differentiable():
    x = torch.tensor([[0.0], [0.1], [3.0]], requires_grad=True)
    loss = batch_all(x, torch.tensor([0, 0, 1]))
    loss.backward()
    assert loss.item() == 0
    assert x.grad.tolist() == [[0.0], [0.0], [0.0]]


@pytest.mark.parametrize("loss", [partial(triplet, margin=0.7), lossless])
@pytest.mark.parametrize("pids", [[0, 0, 1, 1, 2, 2], [3, 1, 3, 2, 1, 3, 8]])
def test_batch_hard_against_loops(loss, pids):
    x = unit_rows(len(pids), 5, seed=4)
    values = []
    for a, pid in enumerate(pids):
        d = [((x[a] - y) ** 2).sum() for y in x]
        positives = [d[i] for i, other in enumerate(pids) if other == pid and i != a]
        negatives = [d[i] for i, other in enumerate(pids) if other != pid]
        if positives:
            values.append(loss(max(positives), min(negatives)).item())
    assert batch_hard(x, torch.tensor(pids), loss).item() == pytest.approx(sum(values) / len(values), rel=1e-10)


@pytest.mark.parametrize("reduction", [batch_all, batch_hard])
@pytest.mark.parametrize("loss", [partial(triplet, margin=3.0), lossless])
def test_gradcheck_of_batches(reduction, loss):
    pids = torch.tensor([0, 0, 1, 1, 2])
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: reduction(F.normalize(y, dim=1), pids, loss), (x,))


@pytest.mark.parametrize("reduction", [batch_all, batch_hard])
def test_batches_do_not_depend_on_the_order_of_images(reduction):
    pids = torch.tensor([0, 0, 1, 1, 2, 2, 2])
    x, order = unit_rows(7, 4), torch.tensor([6, 0, 3, 5, 1, 2, 4])
    assert reduction(x, pids, lossless).item() == pytest.approx(reduction(x[order], pids[order], lossless).item())


@pytest.mark.parametrize("reduction", [batch_all, batch_hard])
@pytest.mark.parametrize("pids", [[1, 1, 1], [1, 2, 3]])
def test_batches_without_a_triplet_are_refused(reduction, pids):
    with pytest.raises(ValueError, match="holds no valid triplet"):
        reduction(unit_rows(3, 4), torch.tensor(pids))


def test_batches_refuse_an_unknown_average_and_other_lengths():
    with pytest.raises(ValueError, match="unknown average 'mean'"):
        batch_all(unit_rows(3, 4), torch.tensor([0, 0, 1]), average="mean")
    with pytest.raises(ValueError, match="3 embeddings but 4 pids"):
        batch_hard(unit_rows(3, 4), torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ValueError, match=r"shape \(n,\)"):
        all_triplets(torch.zeros(2, 2))


def test_docstring_examples():
    results = doctest.testmod(sys.modules[triplet.__module__])
    assert results.attempted >= 2
    assert results.failed == 0
