"""Freezing of the first layers: what it covers, and that nothing of it moves."""

import copy

import pytest
import torch

from reidlib.models import MILDNet, ThesisResNet50, build, freeze_first_layers, parameter_counts

SMALL = {
    "resnet-small": ["conv", "bn", "block1.conv1", "block1.bn1"],
    "mildnet-small": ["0", "1", "4", "5", "8", "9"],
}


def images(n=8):
    return torch.randn(n, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def frozen_names(model):
    names = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    return sorted({name.removeprefix("trunk.").rpartition(".")[0] for name in names})


def test_mildnet_freezes_seven_convolutions():
    model = freeze_first_layers(MILDNet(weights=None))
    assert parameter_counts(model) == {"total": 21_927_744, "trainable": 20_192_256, "frozen": 1_735_488}
    assert frozen_names(model) == sorted(["0", "2", "5", "7", "10", "12", "14"])


def test_resnet50_freezes_the_stem_and_the_first_1x1_convolution():
    model = freeze_first_layers(ThesisResNet50(weights=None))
    assert frozen_names(model) == ["bn1", "conv1", "layer1.0.bn1", "layer1.0.conv1"]
    assert parameter_counts(model)["frozen"] == 9408 + 128 + 4096 + 128


@pytest.mark.parametrize("backbone", SMALL)
def test_small_models_freeze_the_same_places(backbone):
    assert frozen_names(freeze_first_layers(build(backbone))) == sorted(SMALL[backbone])


@pytest.mark.parametrize("backbone", SMALL)
def test_a_training_step_moves_nothing_that_is_frozen(backbone):
    torch.manual_seed(0)
    model = freeze_first_layers(build(backbone))
    before = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(2):
        model.eval()
        model.train()
        model(images()).square().mul(torch.arange(128.0)).sum().backward()
        optimiser.step()
    frozen = {f"trunk.{name}." for name in SMALL[backbone]}
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    kept = before.keys() - moved
    assert {name for name in before if name.startswith(tuple(frozen))} <= kept
    assert any("running_mean" in name for name in moved), "the other batch norms do move"
    assert any(name.startswith("trunk") and name.endswith("weight") for name in moved)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith(tuple(frozen)), name


@pytest.mark.parametrize("backbone", SMALL)
def test_frozen_batch_norms_stay_in_eval_mode(backbone):
    model = torch.nn.Sequential(freeze_first_layers(build(backbone)))  # also inside another module
    model = copy.deepcopy(model).train()
    modes = {
        name: module.training
        for name, module in model[0].trunk.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    }
    assert {name for name, training in modes.items() if not training} == {n for n in modes if n in SMALL[backbone]}
    assert len(modes) > sum(name in SMALL[backbone] for name in modes)
    assert model[0].training
    assert not any(module.training for module in model.eval().modules())


def test_freezing_keeps_the_mode_and_drops_old_gradients():
    model = build("resnet-small").eval()
    assert not freeze_first_layers(model).training
    model = build("resnet-small")
    model(images()).sum().backward()
    assert freeze_first_layers(model).trunk.conv.weight.grad is None


def test_without_freezing_all_batch_norms_move():
    torch.manual_seed(0)
    model = build("resnet-small")
    before = model.trunk.bn.running_mean.clone()
    model(images())
    assert not torch.equal(model.trunk.bn.running_mean, before)
