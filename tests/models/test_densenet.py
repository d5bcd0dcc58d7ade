"""DenseNet-121 and the small dense network: counts, maps, what is pooled, and weights under torchvision's old names."""

import re
import urllib.error

import pytest
import torch
import torch.nn.functional as F
import torchvision

from reidlib.models import (
    DenseNet121,
    SmallDenseNet,
    SmallResNet,
    WeightsError,
    build,
    freeze_first_layers,
    load_trunk,
    parameter_counts,
    save_trunk,
)


@pytest.fixture(scope="module")
def densenet121():
    torch.manual_seed(0)
    return DenseNet121(weights=None)


@pytest.fixture(scope="module")
def torchvisions():
    """torchvision's network with statistics other than the initial ones, in eval mode."""
    torch.manual_seed(3)
    network = torchvision.models.densenet121(weights=None)
    for name, value in network.state_dict().items():
        if "norm" in name and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return network.eval()


def images(n=2, h=64, w=32):
    return torch.randn(n, 3, h, w, generator=torch.Generator().manual_seed(0))


def trained(seed=1, **options):
    torch.manual_seed(seed)
    model = SmallDenseNet(**options).to(memory_format=torch.channels_last)
    model(images(4))
    return model


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def old_file(network, path):
    """The file as torchvision offers it: `norm.1` in the dense layers, and no batch counters."""
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, path)
    return path


# ---------------------------------------------------------------- DenseNet-121


def test_densenet121_parameters_and_shapes(densenet121):
    assert sum(p.numel() for p in densenet121.trunk.parameters()) == 6_953_856
    head = (1024 * 512 + 512) + 2 * 512 + (512 * 128 + 128)
    assert parameter_counts(densenet121) == {"total": 6_953_856 + head, "trainable": 6_953_856 + head, "frozen": 0}
    maps = []
    hook = densenet121.trunk.norm5.register_forward_hook(lambda _, __, out: maps.append(out))
    with torch.no_grad():
        features = densenet121.eval().trunk_features(images(2, 256, 128))
        embeddings = densenet121(images(2, 256, 128))
    hook.remove()
    assert maps[0].shape == (2, 1024, 8, 4)
    assert features.shape == (2, densenet121.trunk_width)
    assert embeddings.shape == (2, 128)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(2))


def test_features_are_the_means_of_the_last_batch_norm(torchvisions, tmp_path):
    torch.save(torchvisions.state_dict(), tmp_path / "densenet121.pth")
    model = DenseNet121(weights=tmp_path / "densenet121.pth").eval()
    with torch.no_grad():
        maps = torchvisions.features(images())
        features = model.trunk_features(images())
        rectified = F.relu(maps).mean((2, 3))
    assert torch.allclose(features, maps.mean((2, 3)), atol=1e-4)
    assert not torch.allclose(features, rectified, atol=1e-2), "torchvision's forward has a ReLU there"


def test_a_file_with_torchvisions_old_names(torchvisions, tmp_path):
    model = DenseNet121(weights=old_file(torchvisions, tmp_path / "densenet121.pth"))
    own = model.trunk.state_dict()
    named = {n: v for n, v in torchvisions.features.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert all(torch.equal(own[name], value) for name, value in named.items())


def test_a_file_of_this_library(densenet121, tmp_path):
    path = save_trunk(densenet121, tmp_path / "trunk.pth")
    model = build("densenet121", weights=path, embedding=16)
    assert same(model.trunk, densenet121.trunk)
    assert model.head[-1].out_features == 16


def test_imagenet_weights_come_through_torchvision(monkeypatch, torchvisions, tmp_path):
    """The download is replaced by a file with its names."""
    asked = []

    def state_dict(weights, *args, **kwargs):
        asked.append((weights, kwargs))
        return torch.load(old_file(torchvisions, tmp_path / "file.pth"))

    monkeypatch.setattr(torchvision.models.DenseNet121_Weights, "get_state_dict", state_dict)
    model = build("densenet121")
    kernel = torchvisions.features.denseblock4.denselayer16.conv2.weight
    assert torch.equal(model.trunk.denseblock4.denselayer16.conv2.weight, kernel)
    assert asked == [(torchvision.models.DenseNet121_Weights.IMAGENET1K_V1, {"progress": False, "check_hash": True})]


def test_offline_names_the_alternatives(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    found = r"DenseNet121_Weights.IMAGENET1K_V1 could not.*densenet121-.*no route to host.*weights=None.*\.pth"
    with pytest.raises(WeightsError, match=found):
        build("densenet121")


def test_files_that_are_missing_or_of_another_network(torchvisions, tmp_path):
    with pytest.raises(WeightsError, match=rf"there is no weights file {tmp_path}/none.pth"):
        DenseNet121(weights=tmp_path / "none.pth")
    path = save_trunk(SmallResNet(), tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"resnet.pth do not fit the trunk of DenseNet121: the file lacks conv0"):
        DenseNet121(weights=path)


# ---------------------------------------------------------------- the small network


def test_small_densenet_parameters_and_shapes():
    model = trained()
    assert model.trunk_width == (32 + 3 * 16) // 2 + 6 * 16 == 136
    assert sum(p.numel() for p in model.trunk.parameters()) == 129_840
    maps = []
    model.trunk.norm5.register_forward_hook(lambda _, __, out: maps.append(out))
    features = model.trunk_features(images())
    assert maps[0].shape == (2, 136, 8, 4)
    assert torch.allclose(features, maps[0].mean((2, 3)), atol=1e-5)
    assert features.min() < 0, "no ReLU before the pooling"
    assert model(images(2, 128, 64)).shape == (2, 128)


def test_widths_grow_by_what_each_layer_adds():
    model = SmallDenseNet(growth=3, blocks=(2, 1, 4), embedding=7)
    assert model.trunk_width == ((6 + 2 * 3) // 2 + 3) // 2 + 4 * 3
    assert model(images()).shape == (2, 7)
    layer = model.trunk.denseblock1.denselayer2
    assert (layer.conv1.in_channels, layer.conv1.out_channels, layer.conv2.out_channels) == (9, 12, 3)


def test_a_dense_block_keeps_what_it_was_given():
    model = trained().eval()
    seen = []
    model.trunk.denseblock1.register_forward_hook(lambda _, args, out: seen.extend([args[0], out]))
    with torch.no_grad():
        model(images())
    before, after = seen
    assert torch.equal(after[:, : before.shape[1]], before)


@pytest.mark.parametrize("options", [{"growth": 0}, {"blocks": ()}, {"blocks": (2, 0)}])
def test_sizes_that_are_refused(options):
    with pytest.raises(ValueError, match="a growth and layers in each block of at least 1, got growth="):
        SmallDenseNet(**options)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_trunk_files(suffix, tmp_path):
    source = trained()
    path = save_trunk(source, tmp_path / f"warm{suffix}")
    model = build("densenet-small", weights=path)
    assert same(model.trunk, source.trunk)
    assert load_trunk(build("densenet-small"), path).trunk.norm5.running_mean.abs().sum() > 0
    with pytest.raises(WeightsError, match="do not fit the trunk of SmallResNet"):
        load_trunk(SmallResNet(), path)


def test_normalize_autocast_channels_last_and_the_seed():
    unit, free = trained().eval(), trained(normalize=False).eval()
    with torch.no_grad():
        reference = unit(images(5))
        assert torch.allclose(reference, F.normalize(free(images(5))), atol=1e-6)
        assert not torch.allclose(reference, trained(seed=2).eval()(images(5)))
        last = images(5).contiguous(memory_format=torch.channels_last)
        plain = unit.to(memory_format=torch.contiguous_format)
        assert torch.allclose(reference, plain(last), atol=1e-5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert unit(images(5)).dtype == torch.float32


def test_all_weights_of_the_trunk_get_a_gradient():
    model = SmallDenseNet()
    (model.trunk_features(images(8)) * torch.randn(8, 136)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.trunk.parameters())
    assert all(p.grad.abs().sum() > 0 for n, p in model.trunk.named_parameters() if n.endswith("weight"))


@pytest.mark.parametrize("backbone", ["densenet121", "densenet-small"])
def test_freezing_covers_the_stem_and_the_first_1x1_convolution(backbone):
    model = freeze_first_layers(build(backbone, weights=None)).train()
    frozen = {n.rpartition(".")[0] for n, p in model.trunk.named_parameters() if not p.requires_grad}
    layer = "denseblock1.denselayer1"
    assert frozen == {"conv0", "norm0", f"{layer}.norm1", f"{layer}.conv1"}
    assert not model.trunk.norm0.training
    assert model.trunk.norm5.training


def test_build():
    assert type(build("densenet-small", embedding=64)) is SmallDenseNet
    assert type(build("densenet121", weights=None)) is DenseNet121
    with pytest.raises(ValueError, match="no ImageNet weights for densenet-small"):
        build("densenet-small", weights="imagenet")
    with pytest.raises(ValueError, match="did you mean 'densenet-small'"):
        build("dense-small")
