"""DG-Net: sizes, every network against its weights, the code's layout, gradients, swapped images, what is scored."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reidlib import models
from reidlib.data.augment import denormalise, normalise
from reidlib.models import dgnet
from reidlib.models.dgnet import (
    AppearanceEncoder,
    Decoder,
    DGNet,
    Discriminator,
    StructureEncoder,
    adain,
    embed,
    evaluating,
    gray,
    joined,
)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pixels(n=5, height=32, width=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), generator=generator, dtype=torch.uint8)


def encoder(classes=5, width=6, seed=0, **options):
    torch.manual_seed(seed)
    return AppearanceEncoder(models.SmallResNet(widths=(4, 8)), classes, width, **options)


def tiny(seed=0):
    appearance = encoder(seed=seed)
    return DGNet(appearance, StructureEncoder(2, 1, (1, 2)), Decoder(16, 32, 2, 4), Discriminator(2, 1, 2))


def randomised(network, seed=1):
    """All biases and norms away from their start, so that a reference cannot do without them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith("bias") or value.ndim == 1:
                value.copy_(torch.rand(value.shape, generator=generator) + 0.2)
        for name, value in network.named_buffers():
            if name.endswith(("mean", "var")):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network


def count(*parts):
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


# ---------------------------------------------------------------- the networks of the paper


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):
        return dgnet.reference(models.build("resnet50", weights=None), 751)


def test_parameters_of_the_paper(published):
    assert count(published.appearance) == 26_378_782
    assert count(published.appearance.trunk) == 23_508_032
    assert count(published.appearance.prim) == count(published.appearance.fine) == 1_435_375
    assert count(published.structure) == 380_544
    assert count(published.decoder.scales, published.decoder.shifts) == 8 * 1_443_072 == 11_544_576
    assert count(published.decoder) - 11_544_576 == 1_455_555
    assert sum(p.numel() for p in published.generator_parameters()) == 13_380_675
    assert count(published.discriminator) == 3 * 341_857 == 1_025_571
    assert count(published) == 40_785_028
    defaults = [StructureEncoder(), Decoder(), Discriminator()]
    assert [count(one) for one in defaults] == [380_544, 13_000_131, 1_025_571]


def test_shapes_of_the_paper(published):
    images = torch.zeros(2, 3, 256, 128, device="meta")
    assert published.appearance.trunk(images).shape == (2, 2048, 16, 8)  # the last stage has stride 1
    assert published.appearance.code_width == 8192
    structure = published.structure(gray(images))
    assert structure.shape == (2, 128, 64, 32)
    assert published.decode(structure, torch.zeros(2, 8192, device="meta")).shape == images.shape
    assert [tuple(one.shape) for one in published.discriminator(images)] == [
        (2, 1, 64, 32),
        (2, 1, 32, 16),
        (2, 1, 16, 8),
    ]


def test_the_small_network():
    torch.manual_seed(0)
    model = dgnet.small(models.build("resnet-small"), 7)
    images = drawn(2, 3, 64, 32)
    found = model.appearance(images)
    assert [tuple(one.shape) for one in found] == [(2, 512), (2, 7), (2, 7)]
    assert model.structure(gray(images)).shape == (2, 32, 16, 8)
    assert model.decode(model.structure(gray(images)), found.code).shape == images.shape
    assert len(model.discriminator(images)) == 3
    other = dgnet.small(models.build("resnet-small"), 7, width=16, maps=16)
    assert (other.appearance.width, other.structure.maps, other.decoder.maps) == (16, 16, 16)


# ---------------------------------------------------------------- appearance


def test_the_code_by_loops():
    model = encoder()
    model.trunk = nn.Identity()
    maps = drawn(3, 8, 8, 4)
    code = model.eval()(maps).code
    assert code.shape == (3, 32)
    for image in range(3):
        for channel in range(8):
            for part in range(4):
                band = maps[image, channel, 2 * part : 2 * part + 2]
                assert code[image, 4 * channel + part] == band.max()


def test_a_quarter_of_the_code_holds_a_quarter_of_the_channels():
    model = encoder()
    model.trunk = nn.Identity()
    maps = torch.zeros(1, 8, 8, 4)
    maps[:, 2:4] = 1  # channels of the second quarter, at all heights
    quarters = model(maps.expand(2, -1, -1, -1)).code[0].chunk(4)
    assert [quarter.tolist() for quarter in quarters] == [[0.0] * 8, [1.0] * 8, [0.0] * 8, [0.0] * 8]


def test_the_heads_are_what_their_weights_say():
    model = randomised(encoder()).eval()
    images = drawn(4, 3, 32, 16)
    features = model.trunk(images).flatten(2).max(2).values
    found, halves = model(images), model.features(images)
    for head, logits, half in ((model.prim, found.prim, halves[0]), (model.fine, found.fine, halves[1])):
        first, norm, _, last = head
        x = features @ first.weight.T + first.bias
        x = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        assert torch.allclose(half, x, atol=1e-5)
        assert torch.allclose(logits, x @ last.weight.T + last.bias, atol=1e-5)
    assert not torch.allclose(found.prim, found.fine, atol=1e-3)


def test_the_dropout_of_either_head():
    model, rates = encoder(width=400), {}
    for name, head in (("prim", model.prim), ("fine", model.fine)):
        head[2].register_forward_hook(
            lambda _, __, out, name=name: rates.update({name: out.eq(0).float().mean().item()})
        )
    torch.manual_seed(0)
    model.train()(drawn(8, 3, 32, 16))
    assert rates == {"prim": pytest.approx(0.5, abs=0.05), "fine": pytest.approx(0.75, abs=0.05)}


def test_only_a_live_code_has_a_gradient():
    model = encoder()
    images = drawn(4, 3, 32, 16)
    assert not model(images).code.requires_grad
    model(images, detach=False).code.sum().backward()
    assert all(p.grad is not None for p in model.trunk.parameters())
    assert all(p.grad is None for p in model.head_parameters())


def test_identity_losses_reach_the_whole_encoder():
    model = encoder(dropouts=(0.0, 0.0))
    found = model(drawn(6, 3, 32, 16))
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    (F.cross_entropy(found.prim, labels) + F.cross_entropy(found.fine, labels)).backward()
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name
        # what a batch norm follows directly gets no more than rounding errors
        assert value.grad.abs().max() > 0 or name.endswith("0.bias"), name


def test_initial_weights_of_the_heads():
    model = encoder(classes=300, width=500)
    for first, norm, _, last in (model.prim, model.fine):
        assert first.weight.std().item() == pytest.approx(math.sqrt(2 / 500), rel=0.05)
        assert last.weight.std().item() == pytest.approx(0.001, rel=0.02)
        assert norm.weight.eq(1).all()
        assert all(layer.bias.eq(0).all() for layer in (first, norm, last))
    assert not torch.equal(model.prim[0].weight, model.fine[0].weight)


def test_parameter_groups_of_the_encoder():
    model = encoder()
    trunk, heads = ({id(p) for p in group} for group in (model.trunk_parameters(), model.head_parameters()))
    assert not trunk & heads
    assert trunk | heads == {id(p) for p in model.parameters()}
    assert trunk == {id(p) for p in model.trunk.parameters()}


# ---------------------------------------------------------------- structure


def mirrored(x, convolution):
    """A convolution after mirror padding, the padding written out by rows and columns."""
    side = convolution.dilation[0] * (convolution.kernel_size[0] // 2)

    def places(size):
        return [abs(i) if i < size else 2 * (size - 1) - i for i in range(-side, size + side)]

    x = x[:, :, places(x.shape[2])][:, :, :, places(x.shape[3])]
    weight, bias = convolution.weight, convolution.bias
    return F.conv2d(x, weight, bias, convolution.stride, dilation=convolution.dilation)


def normed(x):
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) / ((x - mean).square().mean((2, 3), keepdim=True) + 1e-5).sqrt()


def leaky(x):
    return torch.where(x > 0, x, 0.2 * x)


def convolutions(network):
    return iter([module for module in network.modules() if isinstance(module, nn.Conv2d)])


def test_gray_is_the_mean_of_the_channels():
    images = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    assert torch.equal(gray(images), torch.full((2, 1, 4, 5), 3.0))


def test_the_structure_is_what_its_weights_say():
    torch.manual_seed(0)
    model = randomised(StructureEncoder(3, 2, (1, 3)))
    images = drawn(2, 1, 24, 16)
    parts, x = convolutions(model), images
    for width, stride in ((3, 2), (6, 1), (6, 1), (12, 2)):
        layer = next(parts)
        assert (layer.out_channels, layer.stride[0], layer.kernel_size[0]) == (width, stride, 3)
        x = leaky(normed(mirrored(x, layer)))
    for _ in range(2):
        x = x + normed(mirrored(leaky(normed(mirrored(x, next(parts)))), next(parts)))
    branches = [normed(mirrored(x, next(parts)))]
    for dilation in (1, 3):
        y = leaky(normed(mirrored(x, next(parts))))
        layer = next(parts)
        assert layer.dilation[0] == dilation
        branches.append(normed(mirrored(y, layer)))
    x = normed(mirrored(torch.cat(branches, 1), next(parts)))
    found = model(images)
    assert found.shape == (2, 24, 6, 4)
    assert model.maps == 24
    assert torch.allclose(found, x, atol=1e-4)
    assert next(parts, None) is None


def test_a_structure_sees_no_colour_and_no_contrast():
    torch.manual_seed(0)
    model = StructureEncoder(2, 1, (1,))
    images = drawn(2, 1, 16, 16)
    assert torch.allclose(model(images), model(3 * images + 1), atol=1e-3)  # the first norm takes both out


def test_initial_weights_of_structure_and_decoder():
    torch.manual_seed(0)
    model, decoder = StructureEncoder(), Decoder(code=64, hidden=256)
    for layer in (model.blocks[0].first, decoder.blocks[1].second, decoder.scales[0][2], decoder.draw[1]):
        fan = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.03)
    for network in (model, decoder):
        assert all(value.eq(0).all() for name, value in network.named_parameters() if name.endswith("bias"))
    norm = decoder.draw[2].weight
    assert 0 <= norm.min() < 0.1 < 0.9 < norm.max() < 1


# ---------------------------------------------------------------- decoder


def test_adain_by_hand():
    x = torch.tensor([[1.0, 3.0], [5.0, 7.0]]).view(1, 1, 2, 2)  # mean 4, variance 5
    found = adain(x, torch.tensor([[2.0]]), torch.tensor([[10.0]]))
    expected = [10 + 2 * value / math.sqrt(5) for value in (-3, -1, 1, 3)]
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-4)
    two = adain(x.expand(2, 3, 2, 2), torch.arange(6.0).view(2, 3), -torch.arange(6.0).view(2, 3))
    for image in range(2):
        for channel in range(3):
            scale = 3.0 * image + channel
            assert two[image, channel, 0, 0] == pytest.approx(scale * -3 / math.sqrt(5) - scale, abs=1e-4)


def test_the_decoder_is_what_its_weights_say():
    torch.manual_seed(0)
    model = randomised(Decoder(8, 12, 3, 5))
    structure, code = drawn(2, 8, 4, 3), drawn(2, 12, seed=1)

    def style(network, part):
        first, second, third = (layer for layer in network if isinstance(layer, nn.Linear))
        return third(leaky(second(leaky(first(part)))))

    x = structure
    for number, block in enumerate(model.blocks):
        part = code[:, 4 * number : 4 * number + 4]
        scale, shift = style(model.scales[number], part), style(model.shifts[number], part)
        scale, shift = scale[:, :, None, None], shift[:, :, None, None]
        y = leaky(normed(mirrored(x, block.first)) * scale[:, :8] + shift[:, :8])
        x = x + normed(mirrored(y, block.second)) * scale[:, 8:] + shift[:, 8:]
    parts = convolutions(model.draw)
    norms = iter([layer for layer in model.draw if isinstance(layer, nn.GroupNorm)])
    for width in (4, 2):
        layer, norm = next(parts), next(norms)
        assert (layer.kernel_size[0], layer.out_channels) == (5, width)
        x = mirrored(x.repeat_interleave(2, 2).repeat_interleave(2, 3), layer)
        mean, var = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), keepdim=True, unbiased=False)
        x = (x - mean) / (var + 1e-5).sqrt()
        x = leaky(x * norm.weight[:, None, None] + norm.bias[:, None, None])
    for _ in range(2):
        x = leaky(mirrored(x, next(parts)))
    x = mirrored(x, next(parts))
    found = model(structure, code)
    assert found.shape == (2, 3, 16, 12)
    assert torch.allclose(found, x, atol=1e-4)


def test_a_part_of_the_code_feeds_its_block_only():
    torch.manual_seed(0)
    model = Decoder(8, 12, 3, 5)
    for number in range(3):
        code = drawn(2, 12).requires_grad_()
        networks = [*model.scales[number].parameters(), *model.shifts[number].parameters()]
        others = [p for name, p in model.named_parameters() if name.startswith(("scales", "shifts"))]
        others = [p for p in others if not any(p is own for own in networks)]
        with torch.no_grad():
            kept = [p.clone() for p in others]
            for p in others:
                p.zero_()
        model(drawn(2, 8, 4, 3), code).sum().backward()
        reached = code.grad.abs().sum(0).view(3, 4).gt(0).any(1)
        assert reached.tolist() == [i == number for i in range(3)]
        with torch.no_grad():
            for p, value in zip(others, kept, strict=True):
                p.copy_(value)


def test_an_image_depends_on_its_own_structure_and_code_only():
    torch.manual_seed(0)
    model = Decoder(8, 12, 3, 5)
    structure, code = drawn(4, 8, 4, 3), drawn(4, 12, seed=1)
    images = model(structure, code)
    swapped = model(structure, code[[1, 0, 2, 3]])
    assert torch.equal(images[2:], swapped[2:])
    assert not torch.allclose(images[:2], swapped[:2], atol=1e-3)
    assert torch.allclose(model(structure[:1], code[1:2]), swapped[:1], atol=1e-5)
    assert torch.equal(images, model(structure, code))  # nothing of the pass between is kept


# ---------------------------------------------------------------- discriminator


def pooled(images):
    """3x3 means of stride 2 over the pixels inside the image, by loops."""
    b, c, h, w = images.shape
    out = torch.empty(b, c, (h + 1) // 2, (w + 1) // 2)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            window = images[:, :, max(0, 2 * i - 1) : 2 * i + 2, max(0, 2 * j - 1) : 2 * j + 2]
            out[:, :, i, j] = window.mean((2, 3))
    return out


def test_the_discriminator_is_what_its_weights_say():
    torch.manual_seed(0)
    model = randomised(Discriminator(3, 2, 2))
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(10 if value.ndim > 1 else 0.1)  # so that every layer counts
    images = drawn(2, 3, 20, 14)
    found, parts = model(images), convolutions(model)
    for scores in found:
        x = images
        for kernel, width, stride in ((1, 3, 1), (3, 3, 1), (3, 3, 2), (3, 3, 1), (3, 6, 2)):
            layer = next(parts)
            assert (layer.kernel_size[0], layer.out_channels, layer.stride[0]) == (kernel, width, stride)
            x = leaky(mirrored(x, layer))
        for _ in range(2):
            x = x + mirrored(leaky(mirrored(x, next(parts))), next(parts))
        x = mirrored(x, next(parts))
        assert x.shape[1] == 1
        assert x.std() > 0.05
        assert torch.allclose(scores, x, atol=1e-5)
        images = pooled(images)
    assert next(parts, None) is None
    assert [tuple(scores.shape) for scores in found] == [(2, 1, 5, 4), (2, 1, 3, 2)]


def test_initial_weights_of_the_discriminator():
    torch.manual_seed(0)
    for name, value in Discriminator().named_parameters():
        if name.endswith("bias"):
            assert value.eq(0).all()
        else:
            assert value.std().item() == pytest.approx(0.02, rel=0.3 if value.numel() < 500 else 0.05)


def test_a_gradient_penalty_reaches_the_weights():
    torch.manual_seed(0)
    model = Discriminator(4, 1, 2)
    images = drawn(2, 3, 16, 16).requires_grad_()
    total = sum(scores.sum() for scores in model(images))
    (slope,) = torch.autograd.grad(total, images, create_graph=True)
    slope.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for name, p in model.named_parameters() if name.endswith("weight"))


# ---------------------------------------------------------------- the whole


def test_gradients_reach_every_parameter():
    model = tiny()
    images = drawn(4, 3, 32, 16)
    structure, code = model.structure(gray(images)), model.appearance(images, detach=False).code
    drawn_images = model.decode(structure, code)
    sum(scores.square().mean() for scores in model.discriminator(drawn_images)).backward()
    heads = {id(p) for p in model.appearance.head_parameters()}
    for name, value in model.named_parameters():
        if id(value) not in heads:
            assert value.grad is not None, name
            assert value.grad.isfinite().all(), name
            assert value.grad.abs().max() > 0, name


def test_a_detached_code_keeps_the_appearance_encoder_out():
    model = tiny()
    images = drawn(4, 3, 32, 16)
    model.decode(model.structure(gray(images)), model.appearance(images).code).square().mean().backward()
    assert all(p.grad is None for p in model.appearance.parameters())
    assert all(p.grad is not None for p in model.generator_parameters())


def test_the_generators_parameters():
    model = tiny()
    ours = {id(p) for p in model.generator_parameters()}
    assert ours == {id(p) for part in (model.structure, model.decoder) for p in part.parameters()}


def test_swapped_images():
    model = randomised(tiny()).train()
    model.structure.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    seen, posed = pixels(5), pixels(5, seed=1)
    found = model.swap(seen, posed, batch=2)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (found.dtype, found.device.type, found.shape) == (torch.uint8, "cpu", seen.shape)
    model.eval()
    with torch.no_grad():
        for one in range(5):
            code = model.appearance(normalise(seen[one : one + 1])).code
            structure = model.structure(gray(normalise(posed[one : one + 1])))
            expected = denormalise(model.decoder(structure, code))
            assert (found[one].int() - expected[0].int()).abs().max() <= 1
    assert not torch.equal(found, model.swap(posed, seen))


def test_swapping_no_images():
    assert tiny().swap(pixels(0), pixels(0)).shape == (0, 3, 32, 16)


def test_modes_come_back_after_an_error():
    model = tiny().train()

    def fail():
        with evaluating(model):
            assert not model.structure.training
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert all(module.training for module in model.modules())


def test_channels_last_and_autocast():
    model = randomised(tiny()).eval()
    images = drawn(3, 3, 32, 16)

    def passes():
        with torch.no_grad():
            seen = model.appearance(images)
            structure = model.structure(gray(images))
            return [*seen, structure, model.decode(structure, seen.code), *model.discriminator(images)]

    expected = passes()
    model.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
    assert all(torch.allclose(one, two, atol=1e-4) for one, two in zip(passes(), expected, strict=True))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halves = [*passes(), *model.appearance.features(images)]
    assert {one.dtype for one in halves} == {torch.float32}
    scale = [one.abs().max() for one in expected]
    assert all((one - two).abs().max() < 0.15 * size for one, two, size in zip(halves, expected, scale, strict=False))
    model.double()
    images = images.double()
    assert {one.dtype for one in passes()} == {torch.float64}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_same_on_a_gpu(precision):
    model = randomised(tiny())
    expected = model.swap(pixels(), pixels(seed=1)), embed(model, pixels())
    model.cuda()
    with torch.autocast("cuda", precision, enabled=precision != torch.float32):
        swapped, halves = model.swap(pixels(), pixels(seed=1)), embed(model, pixels().cuda())
        images = drawn(4, 3, 32, 16).cuda()
        made = model.decode(model.structure(gray(images)), model.appearance(images, detach=False).code)
        loss = sum(scores.square().mean() for scores in model.discriminator(made))
    loss.backward()
    assert made.dtype == loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in model.generator_parameters())
    assert swapped.device.type == halves[0].device.type == "cpu"
    exact = precision == torch.float32
    assert (swapped.int() - expected[0].int()).abs().float().mean() < (1 if exact else 8)
    assert torch.allclose(halves[0], expected[1][0], atol=1e-3 if exact else 0.1)


# ---------------------------------------------------------------- scoring


def test_embeddings_by_loops():
    model = randomised(tiny()).train()
    images = pixels(5)
    halves = embed(model, images, batch=2)
    assert model.training
    assert model.appearance.trunk.training
    model.eval()
    for half, found in enumerate(halves):
        assert (found.dtype, found.shape) == (torch.float32, (5, 6))
        for one in range(5):
            seen = normalise(images[one : one + 1])
            with torch.no_grad():
                passes = [model.appearance.features(view)[half][0] for view in (seen, seen.flip(3))]
            total = sum(features / features.norm() for features in passes)
            assert torch.allclose(found[one], total / total.norm(), atol=1e-5)
    assert torch.equal(embed(model.appearance, images, batch=2)[1], halves[1])
    assert [half.shape for half in embed(model, images[:0])] == [(0, 6), (0, 6)]


def test_an_image_and_its_mirror_image_have_one_embedding():
    model = randomised(tiny())
    for one, other in zip(embed(model, pixels()), embed(model, pixels().flip(3)), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_joined_halves():
    prim, fine = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    assert joined(prim, fine, 0.5).tolist() == [[1, 2, 2.5, 3], [3, 4, 3.5, 4]]
    assert torch.equal(joined(prim, fine), torch.cat([prim, fine], 1))
    scores = joined(prim, fine, 0.25) @ joined(prim, fine).T
    assert torch.allclose(scores, prim @ prim.T + 0.25 * fine @ fine.T)
    assert torch.equal(joined(prim, fine, 0) @ joined(prim, fine).T, prim @ prim.T)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: encoder(classes=1), "at least 2 classes, got classes=1"),
        (lambda: encoder(width=0), "at least 1 unit, got width=0"),
        (lambda: encoder(parts=0), "at least 1 part, got parts=0"),
        (lambda: encoder(dropouts=(0.5, 1.0)), r"below 1, got 1\.0"),
        (lambda: encoder(dropouts=(0.5,)), r"two numbers, of the prim and of the fine head, got \(0\.5,\)"),
        (lambda: AppearanceEncoder(models.build("mildnet-small"), 5), "from a ResNet trunk"),
        (lambda: StructureEncoder(0), "the structure encoder needs width of 1 or more, got width=0"),
        (lambda: StructureEncoder(2, -1), "needs blocks of 0 or more, got blocks=-1"),
        (lambda: StructureEncoder(2, 1, (1, 0)), r"must be 1 or more, got \(1, 0\)"),
        (lambda: Decoder(8, 12, 5, 4), "width 12 cannot be cut into 5 equal parts"),
        (lambda: Decoder(6, 12, 3, 4), "multiple of 4, got maps=6"),
        (lambda: Decoder(8, 12, 0, 4), "the decoder needs blocks of 1 or more, got blocks=0"),
        (lambda: Discriminator(scales=0), "the discriminator needs scales of 1 or more, got scales=0"),
        (lambda: dgnet.small(models.SmallResNet(), 5, maps=12), "multiple of 8, not 12"),
    ],
)
def test_settings_that_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_networks_that_do_not_fit_are_refused():
    parts = encoder(), StructureEncoder(2, 1, (1,)), Decoder(8, 32, 2, 4), Discriminator(2, 1, 1)
    with pytest.raises(ValueError, match="the structure has 16 maps, but the decoder takes 8"):
        DGNet(*parts)
    with pytest.raises(ValueError, match="the appearance code is 32 wide, but the decoder takes 16"):
        DGNet(parts[0], parts[1], Decoder(16, 16, 2, 4), parts[3])


def test_shapes_that_are_refused():
    model = tiny()
    with pytest.raises(ValueError, match=r"images \(b, 1, h, w\) of `gray`, got \(2, 3, 32, 16\)"):
        model.structure(torch.zeros(2, 3, 32, 16))
    with pytest.raises(ValueError, match="multiples of 4 for the structure encoder, got 32x18"):
        model.structure(torch.zeros(2, 1, 32, 18))
    with pytest.raises(ValueError, match="structure of 32x8 images has 8x2 positions, too few for the dilation 2"):
        model.structure(torch.zeros(2, 1, 32, 8))
    with pytest.raises(ValueError, match=r"\(b, 16, h, w\), h and w of 2 or more, got \(2, 8, 8, 4\)"):
        model.decode(torch.zeros(2, 8, 8, 4), torch.zeros(2, 32))
    with pytest.raises(ValueError, match=r"code of 2 structures must be of shape \(2, 32\), got \(3, 32\)"):
        model.decode(torch.zeros(2, 16, 8, 4), torch.zeros(3, 32))
    with pytest.raises(ValueError, match=r"takes images \(b, 3, h, w\), got \(2, 1, 32, 16\)"):
        model.discriminator(torch.zeros(2, 1, 32, 16))
    with pytest.raises(ValueError, match="32x8 are too small for 2 scales, which need more than 8 pixels"):
        model.discriminator(torch.zeros(2, 3, 32, 8))
    assert len(model.discriminator(torch.zeros(1, 3, 9, 9))) == 2
    assert model.structure(torch.zeros(1, 1, 12, 12)).shape == (1, 16, 3, 3)


def test_pixels_that_are_refused():
    model = tiny()
    with pytest.raises(ValueError, match=r"structure_images must be uint8 \(n, 3, h, w\), got torch\.float32"):
        model.swap(pixels(), pixels().float())
    with pytest.raises(ValueError, match=r"as many appearance as structure images.*\(5, 3, 32, 16\) and \(4, 3"):
        model.swap(pixels(5), pixels(4))
    with pytest.raises(ValueError, match=r"images must be uint8 \(n, 3, h, w\), got torch\.uint8 \(3, 32, 16\)"):
        embed(model, pixels()[0])


def test_halves_that_are_refused():
    with pytest.raises(ValueError, match=r"\(n, width\) of one shape, got \(2, 3\), \(2, 4\)"):
        joined(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="alpha must be 0 or more, got -1"):
        joined(torch.zeros(2, 3), torch.zeros(2, 3), -1)
