"""The network of FID: random weights from a file, against torchvision's own layers and a slow pool."""

import http.client
import urllib.error

import pytest
import torch
import torch.nn.functional as F
import torchvision

from reidlib.models.weights import WeightsError
from reidlib.retrieval import inception as module
from reidlib.retrieval.inception import FrechetInception, inception_features, load_inception


def noisy(n, height=20, width=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), generator=generator, dtype=torch.uint8)


def randomised(classes=1008, aux=False):
    """torchvision's network with random weights, and running statistics that keep its maps near 1."""
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(weights=None, num_classes=classes, aux_logits=aux, init_weights=False)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.2, 0.4)
            layer.bias.data.normal_(0, 0.2)
    return network.eval()


@pytest.fixture(scope="module")
def network():
    return randomised()


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def model(file):
    return load_inception(file)


def pooled(block, maps, average):
    """The pools of a block written out: the mean, or the largest, of the places of each 3x3 window that exist."""
    places = F.pad(torch.ones_like(maps), (1,) * 4)
    windows = F.pad(maps, (1,) * 4).unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
    exist = places.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4) > 0
    if average:
        return block.branch_pool((windows * exist).sum(-1) / exist.sum(-1))
    return block.branch_pool(windows.masked_fill(~exist, -torch.inf).amax(-1))


def reference(network, images, dims):
    """torchvision's layers one after the other; the last maps of each block with a pool of its own are replaced."""
    maps = F.interpolate(images.float() / 255, size=(299, 299), mode="bilinear", align_corners=False) * 2 - 1
    for name in ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"):
        maps = getattr(network, name)(maps)
    if dims == 64:
        return maps.mean((2, 3))
    for name in ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"):
        maps = getattr(network, name)(maps)
    if dims == 192:
        return maps.mean((2, 3))
    for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", *(("7a", "7b", "7c") if dims == 2048 else ())):
        block = getattr(network, f"Mixed_{name}")
        found = block(maps)
        if name not in ("6a", "7a"):
            own = pooled(block, maps, average=name != "7c")
            found = torch.cat([found[:, : -own.shape[1]], own], 1)
        maps = found
    return maps.mean((2, 3))


@pytest.mark.parametrize("dims", [64, 192, 768, 2048])
def test_against_layers_one_by_one(network, model, dims):
    images = noisy(2)
    with torch.no_grad():
        expected = reference(network, images, dims)
    found = inception_features(model, images, dims)
    assert found.shape == (2, dims)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_large_images_are_not_smoothed_before_they_are_made_smaller(network, model):
    images = noisy(1, 500, 400)
    with torch.no_grad():
        expected = reference(network, images, 64)
    torch.testing.assert_close(inception_features(model, images, 64), expected, rtol=1e-4, atol=1e-4)


def test_torchvisions_own_network_gives_other_numbers(network, model):
    images = noisy(1)
    pixels = F.interpolate(images / 255, size=(299, 299), mode="bilinear") * 2 - 1
    with torch.no_grad():
        seen = []
        hook = network.avgpool.register_forward_hook(lambda layer, given, maps: seen.append(maps.flatten(1)))
        network(pixels)
        hook.remove()
    found = inception_features(model, images)
    assert (found - seen[0]).abs().max() > 0.01 * found.abs().max()


@pytest.mark.parametrize(
    ("name", "pool"), [("Mixed_5b", "mean"), ("Mixed_6b", "mean"), ("Mixed_7b", "mean"), ("Mixed_7c", "largest")]
)
def test_the_pools_at_a_corner_by_hand(model, name, pool):
    """On 1 at the corner and 3 elsewhere the corner's window holds 4 places: mean 2.5 there, and largest 3."""
    block = getattr(model.trunk, name)
    maps = torch.full((1, 1, 5, 5), 3.0)
    maps[..., 0, 0] = 1
    found = block.pool(maps)
    assert found.shape == maps.shape
    assert found[0, 0, 0, 0] == (2.5 if pool == "mean" else 3)
    assert found[0, 0, 2, 2] == 3
    assert found[0, 0, 4, 4] == 3


def test_what_it_is(model):
    assert sum(value.numel() for value in model.parameters()) == 21_785_568
    assert not model.training


def test_any_size_batch_and_mode(model):
    images = noisy(3, 40, 25)
    expected = inception_features(model, images, 64)
    torch.testing.assert_close(inception_features(model, images, 64, batch=2), expected, rtol=1e-5, atol=1e-5)
    model.train()
    try:
        torch.testing.assert_close(inception_features(model, images, 64), expected)
        assert model.training
    finally:
        model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(inception_features(model, images, 64), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert inception_features(model, images[:0], 192).shape == (0, 192)
    assert not expected.requires_grad


def test_wrong_images_and_settings(model):
    for wrong in (noisy(1).float(), noisy(1)[0], noisy(1)[:, :1]):
        with pytest.raises(ValueError, match=r"takes images uint8 \(n, 3, h, w\), got torch"):
            inception_features(model, wrong)
    for act in (lambda: inception_features(model, noisy(1), 100), lambda: model(torch.zeros(1, 3, 299, 299), 100)):
        with pytest.raises(ValueError, match="features of 64, 192, 768, 2048 numbers, got dims=100"):
            act()
    with pytest.raises(ValueError, match="batch must be 1 or more, got 0"):
        inception_features(model, noisy(1), batch=0)


# ---------------------------------------------------------------- weights


def test_loading_leaves_the_global_stream(file):
    before = torch.get_rng_state()
    load_inception(str(file))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("change", ["1000 classes", "no classifier"])
def test_torchvisions_own_file_is_refused(network, tmp_path, change):
    state = network.state_dict()
    del state["fc.weight"]
    if change == "1000 classes":
        state["fc.weight"] = torch.zeros(1000, 2048)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=rf"other.pth have .*{change}.* have 1008: .* pass 'download' or a copy of"):
        load_inception(tmp_path / "other.pth")


def test_files_that_do_not_fit(network, tmp_path):
    state = network.state_dict()
    torch.save({**state, "Mixed_5b.branch_pool.conv.weight": torch.zeros(1, 2, 3, 4)}, tmp_path / "shape.pth")
    with pytest.raises(WeightsError, match=r"shape.pth do not fit .* Mixed_5b.branch_pool.conv.weight \(1, 2, 3, 4\)"):
        load_inception(tmp_path / "shape.pth")
    torch.save({"fc.weight": state["fc.weight"]}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match=r"empty.pth do not fit the trunk of FrechetInception: the file lacks"):
        load_inception(tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match=r"there is no weights file .*none.pth"):
        load_inception(tmp_path / "none.pth")


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route to host"), http.client.RemoteDisconnected("no route to host")]
)
def test_offline(monkeypatch, tmp_path, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(WeightsError, match=r"pt_inception-2015-12-05-6726825d.pth \(.*no route to host.*weights='"):
        load_inception()


def test_the_download_is_the_default_and_its_hash_is_checked(monkeypatch, network):
    asked = []

    def fetched(address, **options):
        asked.append((address, options["check_hash"]))
        return network.state_dict()

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetched)
    found = load_inception()
    assert isinstance(found, FrechetInception)
    assert asked == [(module.ADDRESS, True)]
    assert torch.equal(found.trunk.Mixed_7c.branch1x1.conv.weight, network.Mixed_7c.branch1x1.conv.weight)
