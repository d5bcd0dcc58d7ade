"""The teacher: its network, how it is trained, that it is kept and shared, and its soft labels."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reidlib import models, teacher, training
from reidlib.teacher import Teacher, fit_teacher, soft_labels, use_batch_statistics


def base(seed=0, widths=(4, 8)):
    torch.manual_seed(seed)
    return models.SmallResNet(widths=widths)


def small(classes=4, **options):
    start = base()
    torch.manual_seed(1)
    return Teacher(start, classes, **{"width": 6, **options})


def coloured(n=24, classes=4, seed=0, height=32, width=16):
    """Images whose colour tells their class, and the classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    colours = torch.randint(0, 200, (classes, 3, 1, 1), generator=torch.Generator().manual_seed(9))
    noise = torch.randint(0, 56, (n, 3, height, width), generator=generator)
    return (colours[labels] + noise).to(torch.uint8), labels


def images(n=5, seed=0):
    return torch.randn(n, 3, 32, 16, generator=torch.Generator().manual_seed(seed))


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


def equal(one, other):
    one, other = one.state_dict(), other.state_dict()
    return list(one) == list(other) and all(torch.equal(value, other[name]) for name, value in one.items())


# ---------------------------------------------------------------- the network


def test_parameters_of_the_paper():
    with torch.device("meta"):
        model = Teacher(models.build("resnet50", weights=None), 751)
    assert count(model.parameters()) == 24_943_407
    assert count(model.trunk_parameters()) == 23_508_032
    assert model.trunk.layer4[0].conv2.stride == (2, 2)
    groups = [{id(p) for p in group} for group in (model.trunk_parameters(), model.head_parameters())]
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == {id(p) for p in model.parameters()}


def test_the_teacher_is_what_its_weights_say():
    model = small().eval()
    first, norm, _, last = model.head
    with torch.no_grad():
        last.weight.mul_(300)
        norm.running_mean.uniform_(-0.5, 0.5)
        norm.running_var.uniform_(0.5, 2)
        maps = model.trunk[:-2](images())
        x = maps.mean((2, 3)) @ first.weight.T + first.bias
        x = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        found = model(images())
        assert found.shape == (5, 4)
        assert torch.allclose(found, x @ last.weight.T + last.bias, atol=1e-5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model(images()).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "at least 2 classes, got classes=1"),
        ({"width": 0}, "at least 1 unit, got width=0"),
        ({"dropout": 1.0}, "at least 0 and below 1, got 1.0"),
    ],
)
def test_networks_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)
    with pytest.raises(ValueError, match="not on MILDNet"):
        Teacher(models.build("mildnet-small"), 4)


# ---------------------------------------------------------------- soft labels


def loud(model):
    """Larger weights to the classes, so that the labels of two images differ."""
    with torch.no_grad():
        model.head[-1].weight.normal_(0, 1, generator=torch.Generator().manual_seed(0))
    return model


def test_soft_labels_by_loops():
    model = loud(small()).eval()
    found = soft_labels(model, images())
    assert (found.shape, found.dtype) == ((5, 4), torch.float32)
    for one in range(5):
        plain, mirror = images()[one : one + 1], images()[one : one + 1].flip(3)
        with torch.no_grad():
            scores = [model(view)[0] for view in (plain, mirror)]
        for label in range(4):
            shares = [math.exp(s[label]) / sum(math.exp(value) for value in s) for s in scores]
            assert found[one, label].item() == pytest.approx(sum(shares) / 2, abs=1e-5)
    assert torch.allclose(found.sum(1), torch.ones(5), atol=1e-6)
    assert found.std(0).max() > 0.01


def test_either_pass_has_its_own_batch_statistics():
    model = use_batch_statistics(loud(small()))
    found = soft_labels(model, images())
    with torch.no_grad():
        expected = (model(images()).softmax(1) + model(images().flip(3)).softmax(1)) / 2
        together = model(torch.cat([images(), images().flip(3)])).softmax(1)
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, (together[:5] + together[5:]) / 2, atol=1e-3)
    assert not torch.allclose(found, soft_labels(model.eval(), images()), atol=1e-3)


@pytest.mark.parametrize("mode", ["train", "eval", "batch"])
def test_soft_labels_leave_the_teacher_as_it_is(mode):
    model = small()
    model = use_batch_statistics(model) if mode == "batch" else model.train(mode == "train")
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = images().requires_grad_()
    found = soft_labels(model, seen)
    assert not found.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    model.train()(images())
    assert not torch.equal(model.head[1].running_mean, before["head.1.running_mean"])  # it can move


def test_only_batch_norms_train():
    model = use_batch_statistics(small(dropout=0.5).train())
    for module in model.modules():
        assert module.training == isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    assert torch.equal(soft_labels(model, images()), soft_labels(model, images()))  # no dropout


def test_types_of_soft_labels():
    model = small().eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert soft_labels(model, images()).dtype == torch.float32
    assert soft_labels(model.double(), images().double()).dtype == torch.float64


# ---------------------------------------------------------------- training


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """fit(...) -> Teacher, and fit.trained: how often one was trained."""
    trained = []

    def watched(*args):
        trained.append(args)
        return original(*args)

    def made(start=None, data=None, **options):
        pixels, labels = coloured() if data is None else data
        options = {"steps": 3, "seed": 0, "batch": 8, "width": 6, "cache": tmp_path, "progress": False} | options
        return fit_teacher(base() if start is None else start, pixels, labels, **options)

    original = teacher._fit
    monkeypatch.setattr(teacher, "_fit", watched)
    made.trained = trained
    return made


def test_the_teacher_learns(fit):
    pixels, labels = coloured(48)
    model = fit(data=(pixels, labels), steps=60, batch=16, learning_rate=0.01, dropout=0.1)
    unseen, theirs = coloured(48, seed=1)
    seen = soft_labels(model, teacher.Augment()(unseen)[0])
    assert seen.argmax(1).eq(theirs).float().mean() > 0.9


def test_the_teacher_is_kept(fit):
    first = fit()
    again = fit()
    assert len(fit.trained) == 1
    assert equal(first, again)
    for model in (first, again):
        assert all(not p.requires_grad and p.grad is None for p in model.parameters())
        assert all(m.training == isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
        assert model.trunk.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(soft_labels(first, images()), soft_labels(again, images()))
    assert not torch.equal(first.trunk.conv.weight, base().trunk.conv.weight)
    assert int(first.head[1].num_batches_tracked) == 3


PIXELS, LABELS = coloured()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"steps": 4},
        {"batch": 6},
        {"learning_rate": 0.01},
        {"dropout": 0.4},
        {"width": 7},
        {"start": base(seed=3)},
        {"start": base(widths=(8, 8))},
        {"data": (255 - PIXELS, LABELS)},
        {"data": (PIXELS, LABELS.flip(0))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_teacher_is_trained(fit, change):
    first, other = fit(), fit(**change)
    assert len(fit.trained) == 2
    assert not equal(first, other)


def test_other_code_is_trained_again(fit, monkeypatch):
    fit()
    monkeypatch.setattr(teacher, "_code", lambda: "other")
    fit()
    assert len(fit.trained) == 2


def test_the_callers_random_numbers_do_not_matter_nor_change(fit, tmp_path):
    start, found = base(), []
    for number in range(2):
        torch.manual_seed(number)
        state = torch.get_rng_state()
        again = base(seed=0) if number else start
        torch.set_rng_state(state)
        found.append(fit(again, cache=tmp_path / str(number)))
        assert torch.equal(torch.get_rng_state(), state)
    assert len(fit.trained) == 2
    assert equal(*found)


def test_settings_of_the_optimiser(fit, monkeypatch):
    kept = {}

    def stand_in(model, batches, loss, optimizer, *, steps, scheduler, **_):
        rates = []
        for _ in range(steps):
            rates.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            scheduler.step()
        kept.update(optimizer.defaults, rates=rates, sizes=[count(g["params"]) for g in optimizer.param_groups])
        drawn = batches(0)
        kept["epoch"] = [next(drawn) for _ in range(4)]
        return {"loss": [0.0] * steps}

    monkeypatch.setattr(training, "train", stand_in)
    model = fit(steps=6, learning_rate=0.1, data=(PIXELS[:22], LABELS[:22]), batch=10)
    assert kept["sizes"] == [count(model.trunk_parameters()), count(model.head_parameters())]
    assert (kept["momentum"], kept["nesterov"], kept["weight_decay"]) == (0.9, True, 5e-4)
    early, late = [pytest.approx([rate, 10 * rate]) for rate in (0.1, 0.01)]
    assert kept["rates"] == [early] * 4 + [late] * 2
    epochs = [torch.cat(kept["epoch"][i : i + 2]).tolist() for i in (0, 2)]
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_step_is_cross_entropy_on_augmented_images(fit, monkeypatch):
    seen = []

    def stand_in(model, batches, loss, optimizer, *, steps, **_):
        model.eval()
        model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        rows = torch.tensor([3, 4, 5, 6] * 25)
        value, kept = loss(model, rows, 0)
        again, _ = loss(model, rows, 0)
        other, _ = loss(model, rows, 1)
        assert value == again != other
        assert value.item() == pytest.approx(F.cross_entropy(model(seen[0]), LABELS[rows]).item())
        assert kept == {}
        return {"loss": [0.0] * steps}

    monkeypatch.setattr(training, "train", stand_in)
    pixels = PIXELS.clamp(min=100, max=200)
    pixels[..., :8] += 50
    fit(data=(pixels, LABELS))
    assert seen[0].shape == (100, 3, 32, 16)
    erased = seen[0].eq(0).all(1).flatten(1).any(1).float().mean()  # 0 after normalising
    assert 0.3 < erased < 0.7
    as_stored = seen[0][..., 2:6].mean((1, 2, 3)) > seen[0][..., 10:14].mean((1, 2, 3))
    assert 0.3 < as_stored.float().mean() < 0.7
    edges = seen[0].amax((1, 3)).lt(-1.5)  # rows that are black throughout, from the padding of 10/256, a pixel
    assert not edges[:, 1:-1].any()
    assert 0.2 < edges[:, 0].float().mean() < 0.5
    assert 0.2 < edges[:, -1].float().mean() < 0.5


def test_images_and_labels_that_are_refused(fit):
    for data, options, message in [
        ((PIXELS.float(), LABELS), {}, r"images must be uint8 \(n, 3, h, w\), got torch\.float32"),
        ((PIXELS[0], LABELS), {}, r"images must be uint8 \(n, 3, h, w\), got torch\.uint8 \(3, 32, 16\)"),
        ((PIXELS, LABELS[:5]), {}, r"one for each of the 24 images, got torch\.int64 \(5,\)"),
        ((PIXELS, LABELS.float()), {}, r"labels must be int64.*got torch\.float32"),
        ((PIXELS, LABELS - 1), {}, "numbered from 0, got -1"),
        ((PIXELS, LABELS * 0), {}, "at least 2 classes"),
        ((PIXELS[:5], LABELS[:5]), {}, "5 images, fewer than one batch of 8"),
        ((PIXELS, LABELS), {"batch": 1}, "batches of 2 or more and a step or more, got batch=1, steps=3"),
        ((PIXELS, LABELS), {"steps": 0}, "got batch=8, steps=0"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(data=data, **options)
    assert fit.trained == []


def test_a_loss_that_is_not_finite(fit):
    with pytest.raises(training.TrainingError, match="not finite"):
        fit(learning_rate=1e30, steps=6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_same_on_a_gpu(fit):
    model = fit(device="cuda")
    assert next(model.parameters()).device.type == "cuda"
    assert soft_labels(model, images().cuda()).device.type == "cuda"
    before = torch.cuda.get_rng_state()
    assert equal(model, fit(device="cuda"))
    assert torch.equal(torch.cuda.get_rng_state(), before)
    fit()
    assert len(fit.trained) == 2  # one a kind of device
