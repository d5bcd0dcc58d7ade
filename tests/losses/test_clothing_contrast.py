"""Contrast of clothing features: hand values, slow loops, weights, gradients."""

import doctest
import math
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from reidlib.losses.clothing_contrast import clothing_contrast, supervised_contrast

# persons of 3, 4, 1 and 2 images, the third without a positive; person 2 in three outfits, of 9 one outfit is unknown
PIDS = torch.tensor([2, 9, 2, 5, 9, 7, 2, 9, 7, 2])
CLOTHES = torch.tensor([20, 90, 21, 50, -1, 70, 20, 91, 70, 22])
VALID = torch.tensor([1, 1, 1, 1, 1, 0, 1, 1, 1, 0], dtype=torch.bool)
LOSSES = [partial(clothing_contrast, clothes=CLOTHES), supervised_contrast]
losses = pytest.mark.parametrize("loss", LOSSES, ids=["clothing", "supervised"])


def unit_rows(n, d, seed=0, dtype=torch.float64):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=1)


def slow_loss(x, pids, clothes, temperature, T, rows, one_positive):
    """The printed sums; one_positive: Eq. 4, otherwise Khosla's denominator and no weights."""
    means = []
    for i in rows:
        others = [j for j in rows if j != i]
        positives = [j for j in others if pids[j] == pids[i]]
        if not positives:
            continue
        terms = []
        for p in positives:
            below = [p] + [j for j in others if pids[j] != pids[i]] if one_positive else others
            total = sum(math.exp(x[i] @ x[j] / temperature) for j in below)
            changed = clothes[p] != clothes[i] and clothes[p] >= 0 and clothes[i] >= 0
            weight = 1 / T if one_positive and changed else 1
            terms.append(weight * math.log(math.exp(x[i] @ x[p] / temperature) / total))
        means.append(sum(terms) / len(terms))
    return -sum(means) / len(means)


# ---------------------------------------------------------------- values

# Images 0, 1 and 2 are one person, 2 in another outfit, and 3 is another person; all products with 3 are 0.
HAND = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
HAND_PIDS, HAND_CLOTHES = torch.tensor([4, 4, 4, 6]), torch.tensor([1, 1, 2, 3])
EQUAL, RIGHT_ANGLE = math.log(1 + math.exp(-1)), math.log(2)  # losses of a pair with product 1 and with product 0


@pytest.mark.parametrize("T", [0.25, 0.5, 1.0, 2.0])
def test_clothing_contrast_by_hand(T):
    # anchors 0 and 1: one positive in the same outfit, one in another; anchor 2: two in another; anchor 3: none
    expected = (2 * (EQUAL + RIGHT_ANGLE / T) / 2 + RIGHT_ANGLE / T) / 3
    assert clothing_contrast(HAND, HAND_PIDS, HAND_CLOTHES, 1.0, T).item() == pytest.approx(expected, rel=1e-6)


def test_supervised_contrast_by_hand():
    # anchors 0 and 1: products 1, 0, 0, the denominator is e + 2; anchor 2: products 0, 0, 0
    log_e2, log_3 = math.log(math.e + 2), math.log(3)
    expected = (2 * ((log_e2 - 1) + log_e2) / 2 + log_3) / 3
    assert supervised_contrast(HAND, HAND_PIDS, 1.0).item() == pytest.approx(expected, rel=1e-6)


def test_the_temperature_divides_the_products():
    expected = (2 * (math.log(1 + math.exp(-16)) + 2 * math.log(2)) / 2 + 2 * math.log(2)) / 3
    assert clothing_contrast(HAND, HAND_PIDS, HAND_CLOTHES).item() == pytest.approx(expected, rel=1e-6)
    expected = (2 * (2 * math.log(math.exp(16) + 2) - 16) / 2 + math.log(3)) / 3
    assert supervised_contrast(HAND, HAND_PIDS).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("valid", [None, VALID], ids=["all", "valid"])
@pytest.mark.parametrize(("temperature", "T"), [(1 / 16, 0.5), (0.3, 0.25), (1.0, 1.0), (0.1, 2.0)])
def test_both_against_loops(temperature, T, valid):
    x, rows = unit_rows(10, 5, seed=3), range(10) if valid is None else VALID.nonzero()[:, 0].tolist()
    slow = partial(slow_loss, x, PIDS.tolist(), CLOTHES.tolist(), temperature, T, rows)
    fast = clothing_contrast(x, PIDS, CLOTHES, temperature, T, valid)
    assert fast.item() == pytest.approx(slow(True), rel=1e-10)
    assert supervised_contrast(x, PIDS, temperature, valid).item() == pytest.approx(slow(False), rel=1e-10)


@losses
def test_the_order_of_images_does_not_matter(loss):
    x, order = unit_rows(10, 5), torch.randperm(10, generator=torch.Generator().manual_seed(8))
    settings = {"clothes": CLOTHES[order]} if loss is LOSSES[0] else {}
    assert loss(x[order], PIDS[order], **settings).item() == pytest.approx(loss(x, PIDS).item(), rel=1e-12)


# ---------------------------------------------------------------- weights


def test_without_weights_outfits_do_not_matter():
    x = unit_rows(10, 5)
    alone = torch.arange(10)
    assert clothing_contrast(x, PIDS, CLOTHES, T=1) == clothing_contrast(x, PIDS, alone, T=1)
    assert clothing_contrast(x, PIDS, PIDS, T=0.25) == clothing_contrast(x, PIDS, PIDS, T=1), "one outfit each"
    weighted, plain = clothing_contrast(x, PIDS, alone, T=0.5), clothing_contrast(x, PIDS, alone, T=1)
    assert weighted.item() == pytest.approx(2 * plain.item(), rel=1e-12), "every pair changes"


@pytest.mark.parametrize("T", [0.25, 0.5, 2.0])
def test_the_gradient_of_a_pair_grows_with_its_weight(T):
    x, clothes = unit_rows(4, 3), torch.tensor([0, 1, 2, 2])

    def gradient(pids, T):
        y = x.clone().requires_grad_()
        clothing_contrast(y, torch.tensor(pids), clothes, T=T).backward()
        return y.grad

    assert gradient([0, 0, 3, 4], 1).abs().min() > 0
    assert torch.allclose(gradient([0, 0, 3, 4], T), gradient([0, 0, 3, 4], 1) / T, rtol=1e-12), "two outfits"
    assert torch.equal(gradient([3, 4, 0, 0], T), gradient([3, 4, 0, 0], 1)), "one outfit"


@pytest.mark.parametrize("clothes", [[-1, 5, 6], [5, -1, 6], [-1, -1, 6], [5, 5, 6]])
def test_a_pair_with_an_unknown_outfit_weighs_one(clothes):
    x, pids = unit_rows(3, 4), torch.tensor([0, 0, 1])
    assert clothing_contrast(x, pids, torch.tensor(clothes)) == clothing_contrast(x, pids, torch.tensor(clothes), T=1)
    assert clothing_contrast(x, pids, torch.tensor([5, 7, 6])) > clothing_contrast(x, pids, torch.tensor(clothes))


def test_outfits_are_compared_within_an_identity_only():
    x, pids = unit_rows(4, 4), torch.tensor([0, 0, 1, 1])
    shared = clothing_contrast(x, pids, torch.tensor([5, 6, 5, 6]))
    assert shared == clothing_contrast(x, pids, torch.tensor([5, 6, 7, 8]))


# ---------------------------------------------------------------- the two denominators


def test_with_one_positive_each_the_two_losses_agree():
    x, pids = unit_rows(12, 6), torch.arange(6).repeat(2)
    without = clothing_contrast(x, pids, torch.arange(12), T=1)
    assert without.item() == pytest.approx(supervised_contrast(x, pids).item(), rel=1e-12)


def test_positives_compete_in_supervised_contrast_only():
    x = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64), dim=1)
    pids = torch.tensor([0, 0, 0, 1])
    assert clothing_contrast(x, pids, pids, 0.01).item() == pytest.approx(0, abs=1e-80)
    assert supervised_contrast(x, pids, 0.01).item() == pytest.approx(math.log(2), rel=1e-12)
    x, pids = unit_rows(12, 6), torch.arange(3).repeat(4)
    assert supervised_contrast(x, pids, 1.0) > math.log(3), "log |P_i| is a floor"
    assert supervised_contrast(x, pids) > clothing_contrast(x, pids, pids, T=1)


# ---------------------------------------------------------------- what is left out


@losses
def test_rows_that_are_not_valid_have_no_part_and_no_gradient(loss):
    x = unit_rows(10, 5).requires_grad_()
    value = loss(x, PIDS, valid=VALID)
    value.backward()
    assert (x.grad[~VALID] == 0).all()
    assert (x.grad[VALID].abs().sum(1) > 0).all()
    settings = {"clothes": CLOTHES[VALID]} if loss is LOSSES[0] else {}
    assert value == loss(x[VALID], PIDS[VALID], **settings)
    broken = x.detach().masked_fill(~VALID[:, None], torch.nan)
    assert loss(broken, PIDS, valid=VALID) == value, "whatever stands there"


@losses
def test_anchors_without_a_positive_are_left_out_of_the_mean_and_remain_negatives(loss):
    x, single = unit_rows(4, 5), torch.tensor([0, 0, 1, 2])
    settings = {"clothes": torch.tensor([1, 1, 2, 3])} if loss is LOSSES[0] else {}
    y = x.clone().requires_grad_()
    value = loss(y, single, temperature=1.0, **settings)
    scores = (x @ x.T).exp()
    expected = -sum(math.log(scores[i, 1 - i] / (scores[i].sum() - scores[i, i])) for i in (0, 1)) / 2
    assert value.item() == pytest.approx(expected, rel=1e-12)
    value.backward()
    assert (y.grad.abs().sum(1) > 0).all(), "as negatives they are pushed away"


@losses
@pytest.mark.parametrize("pids", [[], [3], [0, 1, 2]], ids=["no image", "one image", "no pair"])
def test_without_an_anchor_the_loss_is_a_zero_with_a_graph(loss, pids):
    n = len(pids)
    x = unit_rows(n, 4).requires_grad_()
    settings = {"clothes": torch.arange(n)} if loss is LOSSES[0] else {}
    value = loss(x, torch.tensor(pids, dtype=torch.int64), **settings)
    value.backward()
    assert value.shape == ()
    assert value.item() == 0
    assert (x.grad == 0).all()
    y = unit_rows(10, 4).requires_grad_()
    value = loss(y, PIDS, valid=torch.zeros(10, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert (y.grad == 0).all()


def test_without_a_negative_eq4_is_zero_and_supervised_contrast_is_not():
    x, pids = unit_rows(5, 4).requires_grad_(), torch.full((5,), 3)
    value = clothing_contrast(x, pids, torch.arange(5))
    value.backward()
    assert value.item() == 0
    assert (x.grad == 0).all()
    slow = slow_loss(x.detach(), pids.tolist(), pids.tolist(), 1.0, 1.0, range(5), one_positive=False)
    assert supervised_contrast(x, pids, 1.0).item() == pytest.approx(slow, rel=1e-10)
    assert supervised_contrast(x[:2], pids[:2]).item() == pytest.approx(0, abs=1e-12), "one positive, no competitor"


# ---------------------------------------------------------------- numerics


@losses
@pytest.mark.parametrize("valid", [None, VALID], ids=["all", "valid"])
def test_gradcheck(loss, valid):
    x = torch.randn(10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: loss(F.normalize(y, dim=1), PIDS, temperature=0.3, valid=valid), (x,))


def test_gradcheck_without_a_negative_for_some_and_with_weights():
    pids, clothes = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, -1, 2])
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: clothing_contrast(y, pids, clothes, 0.5, 0.25), (x,))
    assert torch.autograd.gradcheck(lambda y: clothing_contrast(y[:3], pids[:3], clothes[:3], 0.5, 0.25), (x,))


@losses
def test_a_low_temperature_stays_finite_and_exact(loss):
    # the products lie in [-1, 1], their exponents in [-100, 100]: e^100 overflows float32
    near = unit_rows(10, 4, dtype=torch.float32)
    same = torch.ones(10, 4) / 2
    opposite = same * torch.tensor([1.0, -1.0]).repeat(5)[:, None]
    for x in (near, same, opposite):
        y, exact = x.clone().requires_grad_(), x.double().requires_grad_()
        value, reference = loss(y, PIDS, temperature=0.01), loss(exact, PIDS, temperature=0.01)
        value.backward()
        reference.backward()
        assert value.item() == pytest.approx(reference.item(), rel=1e-5)
        assert torch.isfinite(y.grad).all()
        assert torch.allclose(y.grad.double(), exact.grad, rtol=1e-4, atol=1e-4)


@losses
def test_half_precision_and_autocast_are_computed_in_float32(loss):
    x = unit_rows(10, 16, dtype=torch.float32).bfloat16().requires_grad_()
    value = loss(x, PIDS)
    assert value.dtype == torch.float32
    assert value == loss(x.float(), PIDS)
    value.backward()
    assert torch.isfinite(x.grad).all()
    y = unit_rows(10, 16, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(y, PIDS)
    assert inside == loss(y, PIDS)
    assert loss(y.double(), PIDS).dtype == torch.float64


def test_a_step_along_the_gradient_brings_two_outfits_together():
    x = unit_rows(8, 6).requires_grad_()
    pids, clothes = torch.arange(2).repeat_interleave(4), torch.arange(4).repeat_interleave(2)
    for _ in range(60):
        y = F.normalize(x, dim=1)
        (gradient,) = torch.autograd.grad(clothing_contrast(y, pids, clothes), x)
        x = (x - 0.2 * gradient).detach().requires_grad_()
    products = F.normalize(x, dim=1) @ F.normalize(x, dim=1).T
    same = pids[:, None] == pids[None, :]
    assert products[same].min() > products[~same].max() + 0.3


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize("temperature", [0, -0.1])
def test_settings_that_are_not_positive_are_refused(temperature):
    x = unit_rows(10, 4)
    for loss in LOSSES:
        with pytest.raises(ValueError, match=f"temperature must be positive, got {temperature}"):
            loss(x, PIDS, temperature=temperature)
    with pytest.raises(ValueError, match=f"T, which must be positive, got {temperature}"):
        clothing_contrast(x, PIDS, CLOTHES, T=temperature)


def test_shapes_that_do_not_fit_are_refused():
    x = unit_rows(10, 4)
    with pytest.raises(
        ValueError,
        match=r"clothing_contrast needs features \(b, d\), pids \(b,\), clothes \(b,\), got features \(10, 4\), "
        r"pids \(10,\), clothes \(9,\): give one number for each image",
    ):
        clothing_contrast(x, PIDS, CLOTHES[:9])
    with pytest.raises(ValueError, match=r"supervised_contrast needs .*, got features \(10, 4\), pids \(3,\)"):
        supervised_contrast(x, PIDS[:3])
    with pytest.raises(ValueError, match=r"got features \(10, 4\), pids \(10,\), valid \(1, 10\)"):
        supervised_contrast(x, PIDS, valid=VALID[None])
    for loss in LOSSES:
        with pytest.raises(ValueError, match=r"needs features \(b, d\), .*got features \(40,\)"):
            loss(x.flatten(), PIDS)
        with pytest.raises(ValueError, match=r"needs valid as bool, got torch.int64"):
            loss(x, PIDS, valid=VALID.long())


def test_examples_in_docstrings():
    results = doctest.testmod(sys.modules[clothing_contrast.__module__])
    assert results.attempted >= 3
    assert results.failed == 0
