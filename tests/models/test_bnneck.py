"""The network of the samplers chapter: parameters, strides, what is frozen."""

import pytest
import torch

from reidlib import models
from reidlib.models.bnneck import BNNeck


@pytest.fixture
def images():
    return torch.randn(6, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def small(**options):
    torch.manual_seed(0)
    return BNNeck(models.build("resnet-small"), **options)


def test_parameters_of_the_paper():
    model = BNNeck(models.build("resnet50", weights=None))
    assert sum(weight.numel() for weight in model.parameters()) == 23_512_128
    assert sum(weight.numel() for weight in model.trunk.parameters()) == 23_508_032


def test_the_last_stage_of_a_resnet50_keeps_its_resolution():
    model = BNNeck(models.build("resnet50", weights=None)).eval()
    maps = {}
    model.trunk.layer3.register_forward_hook(lambda _, __, out: maps.update(before=out.shape[2:]))
    model.trunk.layer4.register_forward_hook(lambda _, __, out: maps.update(after=out.shape[2:]))
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 32)).shape == (1, 2048)
    assert maps["before"] == maps["after"] == (4, 2)


def test_embeddings_are_the_normalised_batch_norm_of_pooled_features(images):
    model = small().eval()
    model.head.running_mean.uniform_(0, 1)
    pooled = model.trunk_features(images)
    expected = (pooled - model.head.running_mean) / (model.head.running_var + model.head.eps).sqrt()
    assert torch.allclose(model(images), torch.nn.functional.normalize(expected, dim=1), atol=1e-6)


def test_the_bias_of_the_neck_never_moves(images):
    model = small()
    optimizer = torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=1.0)
    before = model.head.weight.detach().clone()
    model(images)[:, 0].sum().backward()
    optimizer.step()
    assert model.head.bias.eq(0).all()
    assert not model.head.weight.eq(before).all()


def test_frozen_statistics_make_training_and_evaluation_the_same(images):
    frozen, free = small(frozen_statistics=True), small()
    for model in (frozen, free):
        model.train()
    buffers = [b.clone() for b in frozen.buffers()]
    with torch.no_grad():
        trained = frozen(images)
        assert torch.equal(trained, frozen.eval()(images))
        assert not torch.allclose(free(images), free.eval()(images))
    assert all(torch.equal(a, b) for a, b in zip(buffers, frozen.buffers(), strict=True))


def test_frozen_statistics_leave_the_weights_free(images):
    model = small(frozen_statistics=True).train()
    model(images)[:, 0].sum().backward()
    assert model.trunk.bn.weight.grad.abs().sum() > 0


def test_the_stem_without_relu_passes_negative_values(images):
    found = {}
    for relu in (True, False):
        model = small(stem_relu=relu).eval()
        model.trunk.block1.register_forward_hook(lambda _, args, __, r=relu: found.update({r: args[0].min().item()}))
        with torch.no_grad():
            model(images)
    assert found[True] == 0
    assert found[False] < 0


def test_only_residual_trunks():
    with pytest.raises(ValueError, match="choose a resnet backbone"):
        BNNeck(models.build("mildnet-small"))
