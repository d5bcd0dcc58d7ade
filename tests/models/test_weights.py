"""Trunk files, ImageNet's weights without a network, and every way a file can be wrong."""

import sys
import urllib.error

import pytest
import torch
import torchvision

from reidlib.models import MILDNet, SmallResNet, ThesisResNet50, WeightsError, build, load_trunk, save_trunk

SMALL = ["resnet-small", "mildnet-small"]


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and an empty download cache."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("torch.hub.urlopen", refuse)


@pytest.fixture
def no_safetensors(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)


def trained(backbone, seed=1):
    """A model whose running statistics are not the initial ones either."""
    torch.manual_seed(seed)
    model = build(backbone).to(memory_format=torch.channels_last)
    model(torch.randn(4, 3, 64, 32))
    return model


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("backbone", SMALL)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_save_and_load_the_trunk_only(backbone, suffix, tmp_path):
    source = trained(backbone)
    path = save_trunk(source, tmp_path / f"warm{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == [f"warm{suffix}"], "no temporary file is left"
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode, "readable by whom any new file is"
    model = build(backbone)
    head = {name: value.clone() for name, value in model.head.state_dict().items()}
    assert load_trunk(model, path) is model
    assert same(model.trunk, source.trunk)
    assert all(torch.equal(value, head[name]) for name, value in model.head.state_dict().items())
    assert same(build(backbone, weights=path).trunk, source.trunk)
    assert same(build(backbone, weights=str(path)).trunk, source.trunk)


def test_a_trunk_fits_models_with_another_head(tmp_path):
    path = save_trunk(trained("resnet-small"), tmp_path / "warm.pth")
    assert build("resnet-small", weights=path, embedding=16, normalize=False).head[-1].out_features == 16


def test_the_format_follows_what_is_installed(tmp_path):
    path = save_trunk(trained("resnet-small"), tmp_path / "warm")
    assert path == tmp_path / "warm.safetensors"
    assert path.is_file()


def test_without_safetensors(tmp_path, no_safetensors):
    model = trained("resnet-small")
    path = save_trunk(model, tmp_path / "warm")
    assert path == tmp_path / "warm.pth"
    assert same(load_trunk(build("resnet-small"), path).trunk, model.trunk)
    with pytest.raises(WeightsError, match=r"needs the package safetensors.*\.pth"):
        save_trunk(model, tmp_path / "warm.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"reading .* needs the package safetensors"):
        load_trunk(model, tmp_path / "other.safetensors")


def test_whole_models_and_wrapped_state_dicts_load_too(tmp_path):
    source = trained("resnet-small")
    torch.save({"epoch": 3, "state_dict": source.state_dict()}, tmp_path / "checkpoint.pth")
    assert same(build("resnet-small", weights=tmp_path / "checkpoint.pth").trunk, source.trunk)


def test_torchvision_files_of_the_real_networks(tmp_path):
    torch.manual_seed(3)
    reference = torchvision.models.resnet50(weights=None)
    torch.save(reference.state_dict(), tmp_path / "resnet50.pth")
    model = ThesisResNet50(weights=tmp_path / "resnet50.pth")
    assert torch.equal(model.trunk.layer4[2].conv3.weight, reference.layer4[2].conv3.weight)

    features = torchvision.models.vgg16(weights=None).features.state_dict()
    state = {f"features.{name}": value for name, value in features.items()} | {"classifier.0.bias": torch.zeros(4096)}
    torch.save(state, tmp_path / "vgg16.pth")
    model = MILDNet(weights=tmp_path / "vgg16.pth")
    assert torch.equal(model.trunk[28].weight, features["28.weight"])


def test_old_files_without_batch_counters_load(tmp_path):
    state = {
        name: value
        for name, value in trained("resnet-small").trunk.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(state, tmp_path / "old.pth")
    model = build("resnet-small", weights=tmp_path / "old.pth")
    assert torch.equal(model.trunk.bn.running_mean, state["bn.running_mean"])


# ---------------------------------------------------------------- ImageNet


@pytest.mark.parametrize(("backbone", "file"), [("resnet50", "resnet50-"), ("mildnet", "vgg16-")])
@pytest.mark.parametrize("weights", ["default", "imagenet"])
def test_offline_names_the_alternatives(backbone, file, weights, offline):
    with pytest.raises(WeightsError, match=rf"{file}.*no route to host.*weights=None.*\.pth"):
        build(backbone, weights=weights)


def test_imagenet_weights_come_through_torchvision(monkeypatch):
    """The download is replaced; its file holds torchvision's names, classifier included."""
    asked = []

    def state_dict(weights, *args, **kwargs):
        asked.append(weights)
        torch.manual_seed(5)
        return torchvision.models.resnet50(weights=None).state_dict()

    monkeypatch.setattr(torchvision.models.ResNet50_Weights, "get_state_dict", state_dict)
    model = build("resnet50")
    torch.manual_seed(5)
    assert torch.equal(model.trunk.conv1.weight, torchvision.models.resnet50(weights=None).conv1.weight)
    assert asked == [torchvision.models.ResNet50_Weights.IMAGENET1K_V1]


# ---------------------------------------------------------------- what can be wrong


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors"])
def test_missing_file(name, tmp_path):
    with pytest.raises(WeightsError, match=rf"there is no weights file {tmp_path}/{name}: .*weights=None"):
        build("resnet-small", weights=tmp_path / name)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_damaged_file(suffix, damage, tmp_path):
    model = trained("resnet-small")
    path = save_trunk(model, tmp_path / f"warm{suffix}")
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "noise": b"\x93not weights" * 40}[damage])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=rf"warm{suffix} is damaged or of another format"):
        load_trunk(model, path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_file_that_runs_code_is_refused(tmp_path):
    torch.save(build("resnet-small"), tmp_path / "pickled.pth")
    with pytest.raises(WeightsError, match="damaged or of another format"):
        load_trunk(build("resnet-small"), tmp_path / "pickled.pth")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"conv.weight": 1.0}}])
def test_a_file_without_a_state_dict(content, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        load_trunk(build("resnet-small"), tmp_path / "other.pth")


def test_other_network_names_the_entries(tmp_path):
    path = save_trunk(trained("mildnet-small"), tmp_path / "warm.pth")
    with pytest.raises(
        WeightsError,
        match=r"warm.pth do not fit the trunk of SmallResNet: the file lacks block1.* and "
        r"\d+ more; it has unknown 0.bias, .* and \d+ more",
    ):
        load_trunk(build("resnet-small"), path)


def test_other_sizes_name_the_shapes_and_change_nothing(tmp_path):
    path = save_trunk(SmallResNet(widths=(16, 32, 64, 96)), tmp_path / "warm.pth")
    model = SmallResNet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        WeightsError,
        match=r"has other shapes for block4.conv1.weight \(96, 64, 3, 3\) instead of "
        r"\(128, 64, 3, 3\)",
    ):
        load_trunk(model, path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["warm.ckpt", "warm.npz"])
def test_unknown_suffix(name, tmp_path):
    for act in (save_trunk, load_trunk):
        with pytest.raises(WeightsError, match=r"suffix must be one of .safetensors, .pth, .pt"):
            act(build("resnet-small"), tmp_path / name)


def test_saving_into_a_missing_folder(tmp_path):
    with pytest.raises(WeightsError, match=r"there is no folder .*nowhere, make it first"):
        save_trunk(build("resnet-small"), tmp_path / "nowhere" / "warm.pth")


def test_saving_again_replaces_the_file_whole(tmp_path):
    path = save_trunk(trained("resnet-small", seed=1), tmp_path / "warm.pth")
    data = path.read_bytes()
    with path.open("rb") as reader:
        save_trunk(trained("resnet-small", seed=2), path)
        assert reader.read() == data, "who reads the old file meanwhile reads all of it"
    assert path.read_bytes() != data


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    model = trained("resnet-small")
    path = save_trunk(model, tmp_path / "warm.pth")
    data = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_trunk(model, path)
    assert path.read_bytes() == data
    assert [file.name for file in tmp_path.iterdir()] == ["warm.pth"]
