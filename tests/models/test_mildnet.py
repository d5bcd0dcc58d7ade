"""MILDNet: counts, taps and settings."""

import pytest
import torch
import torch.nn.functional as F

from reidlib.models import MILDNet, build, parameter_counts, small_mildnet


def images(n=2, h=64, w=32):
    return torch.randn(n, 3, h, w, generator=torch.Generator().manual_seed(0))


def test_mildnet_parameters_and_shapes():
    model = MILDNet(weights=None).eval()
    assert parameter_counts(model)["total"] == 21_927_744
    assert sum(p.numel() for p in model.trunk.parameters()) == 14_714_688
    assert [sum(p.numel() for p in model.head[i].parameters()) for i in (0, 3)] == [3_016_704, 4_196_352]
    assert model.trunk_width == 64 + 128 + 256 + 512 + 512 == 1472
    with torch.no_grad():
        assert model.trunk_features(images()).shape == (2, 1472)
        embeddings = model(images())
    assert embeddings.shape == (2, 2048)
    assert embeddings.min() >= 0, "the last ReLU"


def test_taps_are_the_means_after_each_pooling():
    torch.manual_seed(0)
    model = MILDNet(widths=(2, 3, 4), depths=(1, 2, 1), hidden=8, embedding=5, weights=None)
    convs = [module for module in model.trunk if isinstance(module, torch.nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [2, 3, 3, 4]
    x, taps = images(), []
    for stage in ([0], [1, 2], [3]):
        for i in stage:
            x = F.conv2d(x, convs[i].weight, convs[i].bias, padding=1).relu()
        x = F.max_pool2d(x, 2)
        taps.append(x.mean((2, 3)))
    assert torch.allclose(model.trunk_features(images()), torch.cat(taps, 1), atol=1e-6)


def test_small_mildnet_taps_five_stages_with_batch_norm():
    torch.manual_seed(0)
    model = build("mildnet-small")
    assert model.trunk_width == 16 + 32 + 64 + 64 + 64
    assert sum(isinstance(module, torch.nn.BatchNorm2d) for module in model.trunk) == 5
    assert parameter_counts(model)["total"] == 192_512
    assert sum(p.numel() for p in model.trunk.parameters()) == 97_920
    features = model.trunk_features(images(4))
    assert features.shape == (4, 240)
    assert model(images(4)).shape == (4, 128)
    scales = [module.weight for module in model.trunk if isinstance(module, torch.nn.BatchNorm2d)]
    for stage, tap in enumerate(features.split([16, 32, 64, 64, 64], dim=1)):
        grads = torch.autograd.grad(tap.sum(), scales, retain_graph=True)
        assert [bool(grad.any()) for grad in grads] == [i <= stage for i in range(5)], "a tap sees the stages before it"


def test_dropout_and_final_relu_are_settings():
    def head(backbone, **options):
        torch.manual_seed(0)
        model = build(backbone, weights=None, **options).eval()
        rates = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
        return rates, bool(model(images(8)).min() < 0)

    assert head("mildnet") == ([0.6], False)
    assert head("mildnet-small") == ([0.2], True)
    assert head("mildnet-small", dropout=0.6, final_relu=True) == ([0.6], False)


@pytest.mark.parametrize(("widths", "depths"), [((16, 32), (1, 1)), ((16, 32, 64), (1, 1)), ((16, 32, 64), (1, 0, 1))])
def test_bad_sizes_are_refused(widths, depths):
    with pytest.raises(ValueError, match="as many depths"):
        MILDNet(widths, depths, weights=None)


def test_imagenet_needs_the_size_of_vgg16():
    with pytest.raises(ValueError, match="no ImageNet weights for MILDNet with widths"):
        MILDNet(widths=(8, 8, 8), depths=(1, 1, 1), weights="imagenet")


def test_images_too_small_for_five_poolings_are_refused():
    with pytest.raises(ValueError, match="at least 32x32 pixels, got 32x16"):
        small_mildnet()(torch.zeros(1, 3, 32, 16))
