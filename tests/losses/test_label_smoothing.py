"""Targets for real and generated images: hand values, sums, slow loops, gradients, the released code's loss."""

import doctest
import math
import sys

import pytest
import torch

from reidlib.losses.label_smoothing import (
    KINDS,
    generated_targets,
    one_hot,
    released_loss,
    smoothed,
    soft_cross_entropy,
    sparse,
    uniform,
)

# three clusters of five classes: one with two of them, one with one, one with all
SETS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
CLUSTERS = torch.tensor([2, 0, 1, 0])
PSEUDO = torch.tensor([4, 0, 3, 2])


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slow(logits, targets):
    """Mean over rows of -sum q log p, with Python numbers."""
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        below = math.log(math.fsum(math.exp(value) for value in row))
        total -= math.fsum(q * (value - below) for q, value in zip(target, row, strict=True))
    return total / len(logits)


def targets_of(kind):
    return generated_targets(kind, CLUSTERS, SETS, PSEUDO)


# ---------------------------------------------------------------- targets


def test_one_hot_and_smoothed_by_hand():
    labels = torch.tensor([1, 0])
    assert one_hot(labels, 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    rows = smoothed(labels, 4, 0.2)
    expected = [[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05]]
    assert torch.allclose(rows, torch.tensor(expected), atol=1e-7)
    assert torch.allclose(smoothed(labels, 4)[0, 1], torch.tensor(0.925)), "epsilon is 0.1"


def test_smoothed_runs_from_one_hot_to_uniform():
    labels = torch.tensor([3, 1, 1])
    assert torch.equal(smoothed(labels, 5, 0), one_hot(labels, 5))
    assert torch.equal(smoothed(labels, 5, 1), uniform(3, 5))


def test_the_printed_eq8_lacks_epsilon_over_k():
    epsilon, classes = 0.3, 6
    printed = torch.full((1, classes), epsilon / classes)
    printed[0, 2] = 1 - epsilon
    rows = smoothed(torch.tensor([2]), classes, epsilon)
    assert printed.sum().item() == pytest.approx(1 - epsilon / classes)
    assert rows.sum().item() == pytest.approx(1)
    difference = rows - printed
    assert difference[0, 2].item() == pytest.approx(epsilon / classes)
    assert difference.abs().sum().item() == pytest.approx(epsilon / classes)


def test_sparse_by_hand():
    expected = [[0.2] * 5, [0.5, 0, 0.5, 0, 0], [0, 0, 0, 1, 0], [0.5, 0, 0.5, 0, 0]]
    assert torch.equal(sparse(CLUSTERS, SETS), torch.tensor(expected))


def test_one_cluster_of_all_classes_is_uniform():
    assert torch.equal(sparse(torch.zeros(7, dtype=torch.int64), torch.ones(1, 11, dtype=torch.bool)), uniform(7, 11))


def test_kinds():
    assert torch.equal(targets_of("slsr"), sparse(CLUSTERS, SETS))
    assert torch.equal(targets_of("lsro"), torch.full((4, 5), 0.2))
    assert torch.equal(targets_of("as_released"), targets_of("lsro"))
    assert torch.equal(targets_of("onehot_cluster"), one_hot(PSEUDO, 5))
    assert torch.equal(targets_of("lsr"), smoothed(PSEUDO, 5, 0.1))
    assert torch.equal(generated_targets("lsr", CLUSTERS, SETS, PSEUDO, 0.4), smoothed(PSEUDO, 5, 0.4))
    assert torch.equal(generated_targets("slsr", CLUSTERS, SETS), targets_of("slsr")), "pseudo is not needed"


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_float32_distributions(kind):
    sets = random(6, 40) > 0.5
    sets[:, 0] = True
    clusters, pseudo = torch.arange(6).repeat(5), torch.arange(30)
    rows = generated_targets(kind, clusters, sets, pseudo)
    assert rows.dtype == torch.float32
    assert rows.shape == (30, 40)
    assert (rows >= 0).all()
    assert torch.allclose(rows.sum(1), torch.ones(30), atol=1e-6)
    if kind == "slsr":
        assert torch.equal(rows > 0, sets[clusters])
        assert all(len(row[row > 0].unique()) == 1 for row in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_no_image_and_other_integers(kind):
    none = torch.zeros(0, dtype=torch.int64)
    assert generated_targets(kind, none, SETS, none).shape == (0, 5)
    short = generated_targets(kind, CLUSTERS.to(torch.int32), SETS, PSEUDO.to(torch.uint8))
    assert torch.equal(short, targets_of(kind))


# ---------------------------------------------------------------- the loss


def test_soft_cross_entropy_by_hand():
    # softmax of (log 2, 0, 0) is (1/2, 1/4, 1/4)
    logits = torch.tensor([[math.log(2), 0.0, 0.0], [0.0, 0.0, 0.0]])
    targets = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    expected = ((math.log(2) + math.log(4)) / 2 + math.log(3)) / 2
    assert soft_cross_entropy(logits, targets).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_soft_cross_entropy_against_loops(kind):
    logits, targets = 3 * random(4, 5, dtype=torch.float64), targets_of(kind)
    assert soft_cross_entropy(logits, targets).item() == pytest.approx(slow(logits, targets), rel=1e-10)


def test_with_hard_targets_it_is_cross_entropy():
    logits, labels = random(9, 6), torch.arange(9) % 6
    expected = torch.nn.functional.cross_entropy(logits, labels)
    assert soft_cross_entropy(logits, one_hot(labels, 6)).item() == pytest.approx(expected.item(), rel=1e-6)
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.3)
    assert soft_cross_entropy(logits, smoothed(labels, 6, 0.3)).item() == pytest.approx(expected.item(), rel=1e-6)


def test_real_and_generated_images_weigh_the_same():
    logits, labels = random(4, 5), torch.tensor([0, 1])
    mixed = torch.cat([one_hot(labels, 5), sparse(torch.tensor([0, 2]), SETS)])
    parts = [soft_cross_entropy(logits[i : i + 1], mixed[i : i + 1]).item() for i in range(4)]
    assert soft_cross_entropy(logits, mixed).item() == pytest.approx(sum(parts) / 4, rel=1e-6)
    real, fake = soft_cross_entropy(logits[:2], mixed[:2]), soft_cross_entropy(logits[2:], mixed[2:])
    assert soft_cross_entropy(logits, mixed).item() == pytest.approx((real + fake).item() / 2, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_softmax_minus_target(kind):
    logits, targets = random(4, 5, dtype=torch.float64).requires_grad_(), targets_of(kind).double()
    soft_cross_entropy(logits, targets).backward()
    assert torch.allclose(logits.grad, (logits.detach().softmax(1) - targets) / 4, atol=1e-12)


def test_sparse_targets_ask_for_classes_of_the_cluster_only():
    targets = sparse(torch.tensor([0]), SETS)
    free = torch.zeros(1, 5, requires_grad=True)
    for _ in range(400):
        (gradient,) = torch.autograd.grad(soft_cross_entropy(free, targets), free)
        free = (free - 2.0 * gradient).detach().requires_grad_()
    found = free.detach().softmax(1)[0]
    assert torch.allclose(found, torch.tensor([0.5, 0, 0.5, 0, 0]), atol=0.01)


def test_gradcheck():
    logits, targets = random(4, 5, dtype=torch.float64).requires_grad_(), targets_of("slsr").double()
    assert torch.autograd.gradcheck(lambda x: soft_cross_entropy(x, targets), (logits,))
    generated = torch.tensor([True, False, False, True])
    assert torch.autograd.gradcheck(lambda x: released_loss(x, PSEUDO, generated), (logits,))


# ---------------------------------------------------------------- the released code


def test_the_released_loss_is_lsro():
    logits, labels = random(6, 5, dtype=torch.float64), torch.tensor([0, 4, 2, 1, 1, 3])
    generated = torch.tensor([False, True, True, False, True, False])
    targets = torch.where(generated[:, None], uniform(6, 5), one_hot(labels, 5)).double()
    targets[generated] = 0.2  # 1/5 in double precision
    value = released_loss(logits, labels, generated)
    assert value.item() == pytest.approx(slow(logits, targets), rel=1e-10)
    assert value.item() == pytest.approx(soft_cross_entropy(logits, targets).item(), rel=1e-10)
    first, second = (x.requires_grad_() for x in (logits.clone(), logits.clone()))
    released_loss(first, labels, generated).backward()
    soft_cross_entropy(second, targets).backward()
    assert torch.allclose(first.grad, second.grad, atol=1e-12)


def test_the_released_loss_is_not_the_sparse_one_and_does_not_read_labels_of_generated_images():
    logits, generated = random(4, 5), torch.tensor([True, True, False, True])
    value = released_loss(logits, PSEUDO, generated)
    assert released_loss(logits, torch.tensor([-1, 99, 3, -1]), generated) == value
    sparse_targets = torch.where(generated[:, None], sparse(CLUSTERS, SETS), one_hot(PSEUDO, 5))
    assert abs(value - soft_cross_entropy(logits, sparse_targets)) > 0.05
    assert released_loss(logits, torch.tensor([0, 0, 2, 0]), generated) != value


# ---------------------------------------------------------------- numerics


def test_large_logits_stay_finite():
    logits = torch.tensor([[1e4, 0.0, -1e4, 0.0, 0.0]]).requires_grad_()
    for loss in (
        lambda x: soft_cross_entropy(x, uniform(1, 5)),
        lambda x: released_loss(x, PSEUDO[:1], PSEUDO[:1] > 0),
    ):
        logits.grad = None
        value = loss(logits)
        value.backward()
        assert value.item() == pytest.approx(1e4, rel=1e-6)
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("loss", ["soft", "released"])
def test_half_precision_and_autocast_are_computed_in_float32(loss):
    def value(logits):
        if loss == "soft":
            return soft_cross_entropy(logits, targets_of("slsr"))
        return released_loss(logits, PSEUDO, PSEUDO > 2)

    logits = random(4, 5)
    half = logits.bfloat16().requires_grad_()
    assert value(half).dtype == torch.float32
    assert value(half) == value(half.detach().float())
    value(half).backward()
    assert torch.isfinite(half.grad).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = value(logits)
        assert targets_of("slsr").dtype == torch.float32
    assert inside == value(logits)
    assert value(logits.double()).dtype == torch.float64


def test_an_empty_batch_gives_zero_with_a_graph():
    none, logits = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 5, requires_grad=True)
    for value in (soft_cross_entropy(logits, uniform(0, 5)), released_loss(logits, none, none > 0)):
        value.backward()
        assert value.shape == ()
        assert value.item() == 0


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: one_hot(torch.tensor([0, 3]), 3), r"labels must lie in 0 to 2 for 3 classes, got 3"),
        (lambda: one_hot(torch.tensor([0, -1]), 3), r"labels must lie in 0 to 2 for 3 classes, got -1"),
        (lambda: one_hot(torch.tensor([0.0]), 3), r"labels must be integers of shape \(b,\), got torch.float32 \(1,\)"),
        (lambda: one_hot(torch.tensor([[0]]), 3), r"labels must be integers of shape \(b,\), got torch.int64 \(1, 1\)"),
        (lambda: one_hot(torch.tensor([], dtype=torch.int64), 0), r"number of classes must be 1 or more, got 0"),
        (lambda: smoothed(torch.tensor([0]), 3, 1.1), r"epsilon is .* 0 to 1, got 1.1"),
        (lambda: smoothed(torch.tensor([0]), 3, -0.1), r"epsilon is .* 0 to 1, got -0.1"),
        (lambda: uniform(-1, 3), r"count of images must be 0 or more, got -1"),
        (lambda: uniform(2, 0), r"number of classes must be 1 or more, got 0"),
        (lambda: sparse(torch.tensor([3]), SETS), r"clusters must lie in 0 to 2 for 3 clusters, got 3"),
        (lambda: sparse(CLUSTERS, SETS.long()), r"class_sets must be bool \(clusters, classes\), got torch.int64"),
        (lambda: sparse(CLUSTERS, SETS[0]), r"class_sets must be bool .*, got torch.bool \(5,\)"),
        (lambda: sparse(CLUSTERS, SETS & (torch.arange(5) != 3)), r"no class has an image in cluster 1, .* fewer"),
        (lambda: generated_targets("sls", CLUSTERS, SETS), r"unknown target 'sls' .*; one of slsr, lsro, lsr, onehot_"),
        (lambda: generated_targets("lsr", CLUSTERS, SETS), r"'lsr' needs pseudo, a class .* 4 images, got none"),
        (lambda: generated_targets("onehot_cluster", CLUSTERS, SETS, PSEUDO[:3]), r"needs pseudo, .*got shape \(3,\)"),
        (lambda: generated_targets("lsr", CLUSTERS, SETS, PSEUDO + 1), r"labels must lie in 0 to 4"),
        (lambda: generated_targets("lsro", CLUSTERS + 1, SETS), r"clusters must lie in 0 to 2"),
        (lambda: soft_cross_entropy(torch.zeros(2, 3), torch.zeros(3, 2)), r"of one shape .* \(2, 3\), targets"),
        (lambda: soft_cross_entropy(torch.zeros(3), torch.zeros(3)), r"one shape \(b, classes\), got logits \(3,\)"),
        (lambda: released_loss(torch.zeros(2, 3), PSEUDO, PSEUDO > 0), r"got \(2, 3\), \(4,\), \(4,\)"),
        (lambda: released_loss(torch.zeros(4, 5), PSEUDO, PSEUDO), r"generated must be bool, .*got torch.int64"),
        (lambda: released_loss(torch.zeros(4, 4), PSEUDO, PSEUDO < 4), r"labels must lie in 0 to 3 .*, got 4"),
    ],
)  # fmt: skip
def test_wrong_arguments(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu():
    for kind in KINDS:
        rows = generated_targets(kind, CLUSTERS.cuda(), SETS, PSEUDO)
        assert rows.is_cuda
        assert torch.equal(rows.cpu(), targets_of(kind))
    logits = random(4, 5)
    assert soft_cross_entropy(logits.cuda(), targets_of("slsr").cuda()).item() == pytest.approx(
        soft_cross_entropy(logits, targets_of("slsr")).item(), rel=1e-6
    )


def test_examples_in_docstrings():
    results = doctest.testmod(sys.modules[soft_cross_entropy.__module__])
    assert results.attempted >= 1
    assert results.failed == 0
