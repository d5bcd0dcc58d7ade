"""ResNet-50 with the thesis's head, the small residual network, and building by name."""

import pytest
import torch

from reidlib.models import (
    BACKBONES,
    DenseNet121,
    MILDNet,
    SmallDenseNet,
    SmallResNet,
    ThesisResNet50,
    build,
    parameter_counts,
)


@pytest.fixture(scope="module")
def resnet50():
    torch.manual_seed(0)
    return ThesisResNet50(weights=None)


def images(n=2, h=64, w=32):
    return torch.randn(n, 3, h, w, generator=torch.Generator().manual_seed(0))


def test_thesis_resnet50_parameters(resnet50):
    assert parameter_counts(resnet50) == {"total": 25_739_456, "trainable": 25_739_456, "frozen": 0}
    assert sum(p.numel() for p in resnet50.trunk.parameters()) == 23_508_032
    assert sum(p.numel() for p in resnet50.head.parameters()) == 2_231_424


def test_thesis_resnet50_map_and_embeddings(resnet50):
    resnet50.eval()
    maps = []
    hook = resnet50.trunk.layer4.register_forward_hook(lambda module, inputs, output: maps.append(output))
    with torch.no_grad():
        embeddings = resnet50(images(2, 256, 128))
        features = resnet50.trunk_features(images(2, 256, 128))
    hook.remove()
    assert maps[0].shape == (2, 2048, 8, 4), "last stride 2"
    assert torch.allclose(features, maps[0].mean((2, 3)), atol=1e-5)
    assert features.shape == (2, resnet50.trunk_width)
    assert embeddings.shape == (2, 128)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(2))


def test_small_resnet_parameters_and_shapes():
    torch.manual_seed(0)
    model = SmallResNet()
    assert sum(p.numel() for p in model.trunk.parameters()) == 307_536
    assert parameter_counts(model)["total"] == 340_816
    assert model.trunk.block4(model.trunk[:6](images())).shape == (2, 128, 8, 4)
    assert model.trunk_features(images()).shape == (2, 128)
    assert model(images(2, 128, 64)).shape == (2, 128)
    assert SmallResNet(widths=(8, 12, 24), embedding=7)(images()).shape == (2, 7)


def test_small_resnet_needs_two_widths():
    with pytest.raises(ValueError, match="at least two widths"):
        SmallResNet(widths=(16,))


@pytest.mark.parametrize("backbone", ["resnet-small", "mildnet-small"])
def test_normalize(backbone):
    torch.manual_seed(0)
    model = build(backbone).eval()
    torch.manual_seed(0)
    plain = build(backbone, normalize=False).eval()
    with torch.no_grad():
        unit, free = model(images(5)), plain(images(5))
    assert torch.allclose(unit.norm(dim=1), torch.ones(5))
    assert not torch.allclose(free.norm(dim=1), torch.ones(5), atol=1e-2)
    assert torch.allclose(unit, torch.nn.functional.normalize(free, dim=1))


@pytest.mark.parametrize("backbone", ["resnet-small", "mildnet-small"])
def test_embeddings_are_float32_and_of_length_one_under_autocast(backbone):
    model = build(backbone)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = model(images(8))
    assert embeddings.dtype == torch.float32
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(8), atol=1e-6)


@pytest.mark.parametrize("backbone", ["resnet-small", "mildnet-small"])
def test_channels_last_changes_nothing_and_the_seed_decides(backbone):
    def make(seed):
        torch.manual_seed(seed)
        return build(backbone).eval()

    with torch.no_grad():
        reference = make(1)(images(4))
        assert torch.equal(reference, make(1)(images(4)))
        assert not torch.equal(reference, make(2)(images(4)))
        last = make(1).to(memory_format=torch.channels_last)(images(4).to(memory_format=torch.channels_last))
    assert torch.allclose(reference, last, atol=1e-5)


def test_build_makes_each_backbone(monkeypatch):
    kinds = [ThesisResNet50, MILDNet, SmallResNet, MILDNet, DenseNet121, SmallDenseNet]
    assert [type(build(name, weights=None)) for name in BACKBONES] == kinds
    assert build("resnet-small", embedding=64)(images()).shape == (2, 64)


def test_build_refuses_unknown_names_and_imagenet_for_small_models():
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet-smal'.*did you mean 'resnet-small'"):
        build("resnet-smal")
    for backbone in ("resnet-small", "mildnet-small"):
        with pytest.raises(ValueError, match=f"no ImageNet weights for {backbone}"):
            build(backbone, weights="imagenet")
