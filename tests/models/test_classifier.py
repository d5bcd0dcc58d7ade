"""The classifier of the label-smoothing chapter: sizes, both places of its extra layer, features, parameter groups."""

import math

import pytest
import torch
import torch.nn.functional as F

from reidlib import models
from reidlib.models.classifier import SmoothedClassifier


def images(n=6):
    return torch.randn(n, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def small(noise_layer="bottleneck", classes=5, backbone="resnet-small", **options):
    torch.manual_seed(0)
    return SmoothedClassifier(models.build(backbone), classes, noise_layer, **options)


def spread(model, factor=300):
    """Larger weights to the classes, so that logits and probabilities differ."""
    with torch.no_grad():
        model.head[-1].weight.mul_(factor)
    return model


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


# ---------------------------------------------------------------- the networks of the paper


@pytest.mark.parametrize(("backbone", "total"), [("resnet50", 24_943_407), ("densenet121", 7_864_943)])
def test_parameters_of_the_paper(backbone, total):
    with torch.device("meta"):
        model = SmoothedClassifier(models.build(backbone, weights=None), 751)
    trunk = {"resnet50": 23_508_032, "densenet121": 6_953_856}[backbone]
    assert count(model.parameters()) == total
    assert count(model.trunk_parameters()) == trunk
    assert count(model.head_parameters()) == total - trunk


def test_parameters_of_the_literal_reading():
    with torch.device("meta"):
        model = SmoothedClassifier(models.build("resnet50", weights=None), 751, "post_softmax")
    assert count(model.head_parameters()) == 2048 * 751 + 751 + 751**2


def test_a_resnet50_keeps_its_last_stride():
    model = SmoothedClassifier(models.build("resnet50", weights=None), 2).eval()
    maps = []
    model.trunk.layer4.register_forward_hook(lambda _, __, out: maps.append(out.shape[2:]))
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 256, 128)).shape == (1, 2)
    assert maps == [(8, 4)]


# ---------------------------------------------------------------- bottleneck


def test_the_bottleneck_is_what_its_weights_say():
    model = spread(small(width=16)).eval()
    first, norm, *_, last = model.head
    norm.running_mean.uniform_(-0.5, 0.5)
    norm.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        x = model.features(images()) @ first.weight.T + first.bias
        x = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        x = torch.where(x > 0, x, 0.1 * x) @ last.weight.T + last.bias
        assert torch.allclose(model(images()), x, atol=1e-5)
    assert model(images()).shape == (6, 5)


def test_initial_weights():
    model = small(classes=400)
    first, norm, _, _, last = model.head
    assert first.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.02)
    assert last.weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.005)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.15)
    assert all(layer.bias.eq(0).all() for layer in (first, norm, last))
    literal = small("post_softmax", classes=400)
    assert literal.head[-1].weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert literal.head[-1].bias.eq(0).all()
    assert torch.equal(literal.noise.weight, torch.eye(400))


def test_dropout_is_for_training_only():
    model = spread(small(dropout=0.5))
    kept = []
    model.head[3].register_forward_hook(lambda _, args, out: kept.append((out != 0).float().mean().item()))
    first, second = model(images()), model(images())
    assert kept[0] == pytest.approx(0.5, abs=0.1)
    assert not torch.equal(first, second)
    without = spread(small(dropout=0.0))
    assert torch.equal(without(images()), without(images()))
    model.eval()
    assert torch.equal(model(images()), model(images()))


# ---------------------------------------------------------------- the layer after the softmax


def test_the_identity_after_the_softmax_changes_nothing():
    model = spread(small("post_softmax", backbone="densenet-small")).eval()
    with torch.no_grad():
        inner = model.head(model.features(images()))
        logits = model(images())
    assert inner.std() > 0.01
    assert torch.allclose(logits, inner.log_softmax(1), atol=1e-5)
    assert torch.allclose(logits.log_softmax(1), inner.log_softmax(1), atol=1e-5)


def test_scores_of_a_trained_layer_are_mixed_and_then_normalised():
    model = spread(small("post_softmax", classes=3)).eval()
    with torch.no_grad():
        model.noise.weight.copy_(torch.tensor([[0.5, 0.25, 0.0], [0.5, 0.5, 0.0], [0.0, 1.0, 2.0]]))
        p = model.head(model.features(images())).softmax(1)
        logits = model(images())
    scores = torch.stack([p[:, 0] / 2 + p[:, 1] / 4, p[:, 0] / 2 + p[:, 1] / 2, p[:, 1] + 2 * p[:, 2]], dim=1)
    assert torch.allclose(logits.exp(), scores, atol=1e-6)
    assert not torch.allclose(scores.sum(1), torch.ones(6), atol=1e-2)
    assert torch.allclose(logits.softmax(1), scores / scores.sum(1, keepdim=True), atol=1e-6)


def test_scores_below_zero_are_cut_off():
    model = small("post_softmax", classes=3).eval()
    with torch.no_grad():
        model.noise.weight[0] = -1.0
    logits = model(images())
    assert torch.allclose(logits[:, 0], torch.tensor(1e-12).log())
    F.cross_entropy(logits, torch.zeros(6, dtype=torch.long)).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert model.noise.weight.grad[0].eq(0).all()
    assert model.noise.weight.grad[1].abs().sum() > 0


# ---------------------------------------------------------------- both


@pytest.mark.parametrize("noise_layer", ["bottleneck", "post_softmax"])
def test_a_step_moves_all_that_can_move(noise_layer):
    model = small(noise_layer, dropout=0.0)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    groups = [
        {"params": model.trunk_parameters(), "lr": 0.1},
        {"params": model.head_parameters(), "lr": 0.5},
    ]
    optimizer = torch.optim.SGD(groups)
    F.cross_entropy(model(images()), torch.tensor([0, 1, 2, 3, 4, 0])).backward()
    optimizer.step()
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert {name for name in before if name.endswith("weight")} <= moved


@pytest.mark.parametrize("noise_layer", ["bottleneck", "post_softmax"])
def test_parameter_groups_share_nothing_and_leave_nothing_out(noise_layer):
    model = small(noise_layer)
    trunk, head = ({id(p) for p in group} for group in (model.trunk_parameters(), model.head_parameters()))
    assert not trunk & head
    assert trunk | head == {id(p) for p in model.parameters()}
    assert trunk == {id(p) for p in model.trunk.parameters()}


def test_features_are_the_pooled_features_of_the_base():
    for backbone in ("resnet-small", "densenet-small"):
        torch.manual_seed(0)
        base = models.build(backbone).eval()
        model = SmoothedClassifier(base, 5).eval()
        with torch.no_grad():
            features = model.features(images())
            assert torch.equal(features, base.trunk_features(images()))
        assert features.shape == (6, model.trunk_width)
        assert model.trunk is base.trunk
        assert not torch.allclose(features.norm(dim=1), torch.ones(6))


@pytest.mark.parametrize("noise_layer", ["bottleneck", "post_softmax"])
def test_autocast_leaves_the_head_in_float32(noise_layer):
    model = spread(small(noise_layer)).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        features, logits = model.features(images()), model(images())
    assert features.dtype == logits.dtype == torch.float32
    with torch.no_grad():
        expected = model.head(features)
        expected = expected if noise_layer == "bottleneck" else expected.log_softmax(1)
    assert torch.allclose(logits, expected, atol=1e-5)


def test_double_precision_stays():
    model = small("post_softmax").double().eval()
    assert model(images().double()).dtype == model.features(images().double()).dtype == torch.float64


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_layer": "softmax"}, "unknown noise_layer 'softmax': choose one of bottleneck, post_softmax"),
        ({"classes": 1}, "at least 2 classes, got classes=1"),
        ({"width": 0}, "at least 1 unit, got width=0"),
        ({"dropout": 1.0}, "at least 0 and below 1, got 1.0"),
        ({"dropout": -0.1}, "at least 0 and below 1, got -0.1"),
        ({"backbone": "mildnet-small"}, "not on MILDNet: choose another backbone"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)
