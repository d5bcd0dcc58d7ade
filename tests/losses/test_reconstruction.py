"""Reconstruction losses: hand values, slow loops, gradients at equal inputs, printed formulas, sums and controls."""

import doctest
import math
import sys

import pytest
import torch

from reidlib.losses import reconstruction
from reidlib.losses.reconstruction import (
    NAMES,
    cosine,
    fused,
    huber,
    huber_as_printed,
    mae,
    mrae,
    mse,
    multiplicative,
    rmse,
    rmse_as_printed,
)

LOSSES = {
    "l1": mae,
    "huber": huber,
    "mse": mse,
    "mrae": mrae,
    "rmse": rmse,
    "cos": cosine,
    "ml": multiplicative,
    "rmse-printed": rmse_as_printed,
    "huber-printed": huber_as_printed,
}
DISTANCES = [name for name in NAMES if name not in ("ml", "huber-printed")]
X = torch.tensor([[0.5, -2.0], [3.0, 1.0]])
TARGET = torch.tensor([[0.25, 2.0], [3.0, -1.0]])  # d: 0.25, -4; 0, 2


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slow(name, x, target, flat=False):
    """The loss of (b, c, h, w) with Python numbers, from the formulas of the paper."""
    images = [
        (a.permute(1, 2, 0).flatten().tolist(), b.permute(1, 2, 0).flatten().tolist())
        for a, b in zip(x, target, strict=True)
    ]

    def mean(numbers):
        numbers = list(numbers)
        return math.fsum(numbers) / len(numbers)

    def angle(a, b):
        dot = math.fsum(p * q for p, q in zip(a, b, strict=True))
        return 1 - dot / math.hypot(*a) / math.hypot(*b)

    def smooth(p, d):
        return p**2 / 2 if abs(d) <= 1 else abs(p) - 0.5

    pairs = [(p, q) for a, b in images for p, q in zip(a, b, strict=True)]
    if name == "rmse":
        return mean(math.sqrt(mean((p - q) ** 2 for p, q in zip(a, b, strict=True))) for a, b in images)
    if name == "rmse-printed":
        return mean(math.sqrt(mean(math.sqrt(abs(p - q) ** 2) for p, q in zip(a, b, strict=True))) for a, b in images)
    if name == "cos" and flat:
        return mean(angle(a, b) for a, b in images)
    if name == "cos":
        c = x.shape[1]
        return mean(angle(a[i : i + c], b[i : i + c]) for a, b in images for i in range(0, len(a), c))
    element = {
        "l1": lambda p, q: abs(p - q),
        "mse": lambda p, q: (p - q) ** 2,
        "mrae": lambda p, q: math.sqrt(abs(p - q)),
        "ml": lambda p, q: (p * q) ** 2,
        "huber": lambda p, q: smooth(p - q, p - q),
        "huber-printed": lambda p, q: smooth(p * q, p - q),
    }[name]
    return mean(element(p, q) for p, q in pairs)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", 6.25 / 4),
        ("mse", (0.0625 + 16 + 4) / 4),
        ("mrae", (0.5 + 2 + math.sqrt(2)) / 4),
        ("rmse", (math.sqrt(16.0625 / 2) + math.sqrt(2)) / 2),
        ("rmse-printed", (math.sqrt(4.25 / 2) + 1) / 2),
        ("huber", (0.03125 + 3.5 + 1.5) / 4),
        ("ml", (0.015625 + 16 + 81 + 1) / 4),
        ("huber-printed", (0.0078125 + 3.5 + 40.5 + 0.5) / 4),
    ],
)
def test_by_hand(name, expected):
    assert LOSSES[name](X, TARGET).item() == pytest.approx(expected, abs=1e-4)


def test_cosine_by_hand():
    x = torch.tensor([[3.0, 4.0], [1.0, 0.0], [2.0, 0.0]])
    target = torch.tensor([[4.0, 3.0], [0.0, 7.0], [-1.0, 0.0]])  # cosines 24/25, 0 and -1
    assert cosine(x, target).item() == pytest.approx((0.04 + 1 + 2) / 3, rel=1e-6)


def test_cosine_is_along_the_channels_or_of_whole_images():
    # two pixels of two channels: one equal in direction, one opposite and three times as long
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 0.0]]]])
    target = torch.tensor([[[[2.0, -3.0]], [[0.0, 0.0]]]])
    assert cosine(x, target).item() == pytest.approx((0 + 2) / 2)
    assert cosine(x, target, flat=True).item() == pytest.approx(1 - (2 - 9) / math.sqrt(10 * 13), rel=1e-6)
    assert fused("cos", flat_cosine=True)(x, target) == cosine(x, target, flat=True)
    assert fused("cos")(x, target) == cosine(x, target)


@pytest.mark.parametrize("name", NAMES)
def test_against_loops(name):
    x, target = (1.5 * random(3, 4, 2, 5, seed=seed, dtype=torch.float64) for seed in (1, 2))
    assert LOSSES[name](x, target).item() == pytest.approx(slow(name, x, target), rel=1e-6)
    assert cosine(x, target, flat=True).item() == pytest.approx(slow("cos", x, target, flat=True), rel=1e-10)


def test_the_roots_are_of_each_image_and_not_of_the_batch():
    x, zeros = torch.tensor([[4.0] * 6, [0.0] * 6]), torch.zeros(2, 6)
    assert rmse(x, zeros).item() == pytest.approx(2, abs=1e-3)  # of the batch: sqrt(8)
    assert rmse_as_printed(x, zeros).item() == pytest.approx(1, abs=1e-3)  # of the batch: sqrt(2)


def test_rmse_as_printed_is_the_root_of_the_mean_absolute_error():
    x, target = random(1, 3, 4, 4, seed=3), random(1, 3, 4, 4, seed=4)
    assert rmse_as_printed(x, target).item() == pytest.approx(mae(x, target).item() ** 0.5, rel=1e-5)
    assert rmse(x, target).item() == pytest.approx(mse(x, target).item() ** 0.5, rel=1e-5)
    assert abs(rmse(x, target) - rmse_as_printed(x, target)) > 0.1


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_are_least_at_the_target(name):
    target = random(4, 3, 5, 5)
    at, near, far = (LOSSES[name](target + step * random(4, 3, 5, 5, seed=9), target) for step in (0, 0.1, 1))
    assert at.item() == pytest.approx(0, abs=2e-4)
    assert at < near < far


# ---------------------------------------------------------------- formulas as printed


def test_the_multiplicative_loss_is_least_for_a_black_reconstruction():
    target = random(2, 3, 4, 4)
    assert multiplicative(torch.zeros_like(target), target) == 0
    assert multiplicative(target, target) > 0.1


def test_huber_is_smooth_at_delta_and_the_printed_one_jumps():
    inside, outside, target = (torch.tensor([[value]]) for value in (2.0, 2.001, 1.0))
    assert huber(inside, target) == 0.5
    assert huber(outside, target).item() == pytest.approx(0.501, abs=1e-5)
    assert huber_as_printed(inside, target) == 2  # 2^2 / 2
    assert huber_as_printed(outside, target).item() == pytest.approx(1.501, abs=1e-5)
    assert huber_as_printed(target, target) == 0.5, "not 0 at the target"
    assert huber_as_printed(torch.zeros(1, 1), 3 * target) == -0.5, "below 0"


def test_huber_against_torch_and_its_limits():
    x, target = random(2, 3, 4, 4, seed=1), random(2, 3, 4, 4, seed=2)
    assert huber(x, target).item() == pytest.approx(torch.nn.functional.smooth_l1_loss(x, target).item(), rel=1e-6)
    for delta in (0.3, 2.5):
        expected = torch.nn.functional.huber_loss(x, target, delta=delta).item()
        assert huber(x, target, delta).item() == pytest.approx(expected, rel=1e-6)
    # the printed text has these two the other way round
    assert huber(x, target, 100.0).item() == pytest.approx(mse(x, target).item() / 2, rel=1e-6)
    assert huber(x, target, 1e-4).item() / 1e-4 == pytest.approx(mae(x, target).item(), rel=1e-3)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_where_inputs_are_equal_zero_or_tiny(name, detach):
    loss = fused(name, detach=detach)
    for base in (random(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 1e-30)):
        x = base.clone().requires_grad_()
        for target in (base, torch.zeros_like(base), random(2, 3, 4, 4, seed=5), x):
            x.grad = None
            value = loss(x, target)
            value.backward()
            assert torch.isfinite(value)
            assert torch.isfinite(x.grad).all()
            assert x.grad.abs().max() * x.numel() <= 1e6


@pytest.mark.parametrize("name", ["l1", "mse", "mrae", "rmse", "huber", "rmse-printed"])
def test_no_gradient_at_the_target(name):
    x = random(2, 3, 4, 4).requires_grad_()
    LOSSES[name](x, x.detach().clone()).backward()
    assert (x.grad == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_target_is_held_fixed_unless_asked(name):
    x, target = (random(2, 3, 4, 4, seed=seed).requires_grad_() for seed in (1, 2))
    for loss in (LOSSES[name], fused(name), fused(f"{name}+{name}")):
        target.grad = None
        value = loss(x, target)
        value.backward()
        assert target.grad is None
        assert x.grad.abs().sum() > 0
    free = fused(name, detach=False)(x, target)
    assert free == fused(name)(x, target)
    free.backward()
    assert target.grad.abs().sum() > 0
    target.grad = None
    LOSSES[name](x, target, detach=False).backward()
    assert target.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name):
    x, target = (random(2, 3, 2, 2, seed=seed, dtype=torch.float64).requires_grad_() for seed in (1, 2))
    assert torch.autograd.gradcheck(LOSSES[name], (x, target.detach()))
    assert torch.autograd.gradcheck(fused(name, detach=False, flat_cosine=True), (x, target))


def test_the_gradient_of_mrae_grows_towards_the_target():
    x = torch.tensor([[1.0, 1e-4]], requires_grad=True)
    mrae(x, torch.zeros(1, 2)).backward()
    assert x.grad[0, 0].item() == pytest.approx(0.25, rel=1e-5)
    assert x.grad[0, 1].item() == pytest.approx(25, rel=1e-3)


def test_cosine_of_short_vectors():
    zero, other = torch.zeros(1, 3, requires_grad=True), random(1, 3)
    assert cosine(zero, other) == 1
    assert cosine(zero, zero) == 1
    short = torch.tensor([[2e-5, 0.0]])
    assert cosine(short, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(1 - 0.2, rel=1e-5)
    assert cosine(10 * short, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0, abs=1e-6)


# ---------------------------------------------------------------- sums


def test_sums_by_hand():
    l1, squares = 6.25 / 4, 20.0625 / 4
    assert fused("l1+mse")(X, TARGET).item() == pytest.approx(l1 + squares, rel=1e-6)
    assert fused("l1+mse", [])(X, TARGET) == fused("l1+mse", (1, 1))(X, TARGET)
    assert fused(" l1 + mse ", [0.4, 0.6])(X, TARGET).item() == pytest.approx(0.4 * l1 + 0.6 * squares, rel=1e-6)
    assert fused("mse+l1", [0.4, 0.6], 3)(X, TARGET).item() == pytest.approx(3 * (0.4 * squares + 0.6 * l1), rel=1e-6)
    assert fused("l1+mse", [1, 0])(X, TARGET) == mae(X, TARGET)


def test_twice_l1_is_exactly_twice_l1():
    x, target = (random(4, 3, 8, 8, seed=seed) for seed in (1, 2))
    first, second = (x.clone().requires_grad_() for _ in range(2))
    twice, once = fused("l1", [2.0])(first, target), mae(second, target)
    assert twice == 2 * once
    twice.backward()
    once.backward()
    assert torch.equal(first.grad, 2 * second.grad)
    assert fused("l1", scale=2.0)(x, target) == twice


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_the_loss_of_that_name(name):
    x, target = (random(2, 3, 4, 4, seed=seed) for seed in (1, 2))
    assert fused(name)(x, target) == LOSSES[name](x, target)
    assert list(LOSSES) == list(NAMES)


# ---------------------------------------------------------------- shapes and precision


@pytest.mark.parametrize("name", NAMES)
def test_codes_and_one_image(name):
    x, target = (random(5, 12, seed=seed) for seed in (1, 2))
    assert LOSSES[name](x, target).shape == ()
    parts = [LOSSES[name](x[i : i + 1], target[i : i + 1]).item() for i in range(5)]
    assert LOSSES[name](x, target).item() == pytest.approx(sum(parts) / 5, rel=1e-5), "a mean over images"


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_autocast_are_computed_in_float32(name):
    loss, (x, target) = LOSSES[name], (random(2, 3, 4, 4, seed=seed) for seed in (1, 2))
    half = x.bfloat16().requires_grad_()
    value = loss(half, target)
    assert value.dtype == torch.float32
    assert value == loss(half.detach().float(), target)
    value.backward()
    assert torch.isfinite(half.grad).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(x, target)
    assert inside.dtype == torch.float32
    assert inside == loss(x, target)
    assert loss(x.double(), target.double()).dtype == torch.float64
    assert fused(name, [0.7])(x.double(), target.double()).dtype == torch.float64


def test_float64_keeps_digits_that_float32_has_not():
    target = torch.ones(1, 4, dtype=torch.float64)
    assert mae(target + 1e-12, target).item() == pytest.approx(1e-12, rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu():
    x, target = (random(2, 3, 4, 4, seed=seed) for seed in (1, 2))
    for name in NAMES:
        expected = LOSSES[name](x, target).item()
        with torch.autocast("cuda", dtype=torch.float16):
            value = LOSSES[name](x.cuda(), target.cuda())
        assert value.is_cuda
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: mae(X, TARGET[:1]), r"one shape \(b, \.\.\.\), not empty, got x \(2, 2\), target \(1, 2\)"),
        (lambda: rmse(X[0], TARGET[0]), r"one shape \(b, \.\.\.\), not empty, got x \(2,\), target \(2,\)"),
        (lambda: mse(X[:0], TARGET[:0]), r"not empty, got x \(0, 2\), target \(0, 2\)"),
        (lambda: cosine(X.byte(), TARGET), r"must be float, got torch.uint8 and torch.float32: normalise images first"),
        (lambda: fused("l1")(X, TARGET.long()), r"must be float, got torch.float32 and torch.int64"),
        (lambda: huber(X, TARGET, 0), r"delta is the distance .* above 0, got 0"),
        (lambda: huber_as_printed(X, TARGET, -1.0), r"delta is the distance .* above 0, got -1.0"),
        (
            lambda: fused("l1+rsme"),
            r"unknown loss 'rsme' in 'l1\+rsme': did you mean 'rmse'\? known are l1, huber, mse",
        ),
        (lambda: fused("l1+"), r"unknown loss '' in 'l1\+': known are l1, "),
        (lambda: fused(""), r"unknown loss '' in ''"),
        (lambda: fused("l1+cos", [1.0]), r"weights of 'l1\+cos' must be 2, one for each loss, or none, got 1"),
        (lambda: fused("l1", [1, 1]), r"weights of 'l1' must be 1, one for each loss, or none, got 2"),
        (lambda: fused("l1+cos", [1.0, -0.5]), r"finite numbers of 0 or more, got weights \[1.0, -0.5\], scale 1.0"),
        (lambda: fused("l1", [math.nan]), r"finite numbers of 0 or more, got weights \[nan\]"),
        (lambda: fused("l1", scale=-1), r"finite numbers of 0 or more, got weights \[1.0\], scale -1"),
        (lambda: fused("l1", scale=math.inf), r"finite numbers of 0 or more, .* scale inf"),
    ],
)
def test_wrong_arguments(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_examples_in_docstrings():
    results = doctest.testmod(sys.modules[reconstruction.__name__])
    assert results.attempted >= 2
    assert results.failed == 0
