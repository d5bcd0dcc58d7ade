"""The generator and the discriminator: layers, counts, initial weights, batch statistics, and pixels to [-1, 1]."""

import pytest
import torch
import torch.nn.functional as F

from reidlib.models.dcgan import Discriminator, Generator, from_gan, to_gan


def noise(n=4, latent=100):
    return torch.rand(n, latent, generator=torch.Generator().manual_seed(0)) * 2 - 1


def pair(size=(32, 16), base=4, latent=6, seed=0):
    torch.manual_seed(seed)
    return Generator(size, base, latent), Discriminator(size, base)


def weights(module):
    return [tensor for name, tensor in module.named_parameters() if name.endswith("weight")]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def shapes(network, x):
    """Shape of what every convolution, deconvolution and linear layer gives."""
    found = []
    kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape[1:])))
    with torch.no_grad():
        network.eval()(x)
    return found


# ---------------------------------------------------------------- the networks of the paper


def test_generator_of_the_paper():
    torch.manual_seed(0)
    model = Generator()
    assert count(model) == 7_617_539
    sizes = [count(model.linear)] + [count(layer) for layer in model.layers if count(layer)]
    assert sizes == [3_309_568, 1_024, 3_277_056, 512, 819_328, 256, 204_864, 128, 4_803]
    found = shapes(model, noise(2))
    assert found == [(32_768,), (256, 16, 16), (128, 32, 32), (64, 64, 64), (3, 128, 128)]


def test_discriminator_of_the_paper():
    torch.manual_seed(0)
    model = Discriminator()
    assert count(model) == 4_341_121
    sizes = [count(layer) for layer in model.layers if count(layer)] + [count(model.linear)]
    assert sizes == [4_864, 204_928, 256, 819_456, 512, 3_277_312, 1_024, 32_769]
    found = shapes(model, torch.zeros(2, 3, 128, 128))
    assert found == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (1,)]


def test_generator_is_what_its_weights_say():
    model, _ = pair()
    z = noise(5, 6)
    x = F.linear(z, model.linear.weight, model.linear.bias).reshape(5, 32, 2, 1)
    parts = iter(weights(model.layers))
    for width in (16, 8, 4, 3):
        x = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
        x = (x * next(parts)[:, None, None]).relu()
        x = F.conv_transpose2d(x, next(parts), stride=2, padding=2, output_padding=1)
        assert x.shape[1] == width
    assert torch.allclose(model.train()(z), x.tanh(), atol=1e-5)


def test_discriminator_is_what_its_weights_say():
    _, model = pair()
    images = torch.rand(5, 3, 32, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    parts = iter(weights(model.layers))
    x = images
    for level in range(4):
        x = F.conv2d(x, next(parts), stride=2, padding=2)
        if level:
            x = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
            x = x * next(parts)[:, None, None]
        x = torch.where(x > 0, x, 0.2 * x)
    logits = model.train()(images)
    assert logits.shape == (5,)
    assert torch.allclose(logits, x.flatten(1) @ model.linear.weight[0], atol=1e-5)


def test_batch_norm_moves_its_statistics_by_a_tenth():
    for model, x in zip(pair(), (noise(8, 6), torch.randn(8, 3, 32, 16)), strict=True):
        norms = [layer for layer in model.layers if isinstance(layer, torch.nn.BatchNorm2d)]
        seen = []
        norms[0].register_forward_hook(lambda _, args, __, seen=seen: seen.append(args[0].mean((0, 2, 3))))
        model.train()(x)
        assert torch.allclose(norms[0].running_mean, 0.1 * seen[0], atol=1e-6)
        assert {norm.eps for norm in norms} == {1e-5}


def test_initial_weights():
    torch.manual_seed(0)
    generator, discriminator = Generator(), Discriminator()
    for model in (generator, discriminator):
        for name, value in model.named_parameters():
            if name.endswith("bias"):
                assert value.eq(0).all(), name
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.weight.mean().item() == pytest.approx(1, abs=0.01)
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.35)
    spread = {"linear": 0.02, "deconvolution": 0.02, "convolution": 0.02 * 0.8796}  # cut off at two of them
    for kind, weight in (
        ("linear", generator.linear.weight),
        ("linear", discriminator.linear.weight),
        ("deconvolution", generator.layers[2].weight),
        ("convolution", discriminator.layers[2].weight),
    ):
        assert weight.mean().item() == pytest.approx(0, abs=5e-4)
        assert weight.std().item() == pytest.approx(spread[kind], rel=0.02)
        assert (weight.abs().max() <= 0.04) == (kind == "convolution")


def test_the_seed_decides():
    first, again, other = pair(seed=1)[0], pair(seed=1)[0], pair(seed=2)[0]
    assert torch.equal(first(noise(4, 6)), again(noise(4, 6)))
    assert not torch.equal(first(noise(4, 6)), other(noise(4, 6)))


# ---------------------------------------------------------------- other sizes, types and modes


@pytest.mark.parametrize(("size", "base", "latent"), [((16, 16), 1, 1), ((64, 32), 8, 20), ((48, 80), 3, 7)])
def test_sizes(size, base, latent):
    generator, discriminator = pair(size, base, latent)
    images = generator(noise(3, latent))
    assert images.shape == (3, 3, *size)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (3,)


def test_one_image_is_as_good_as_many_in_eval_mode():
    generator, discriminator = (model.eval() for model in pair())
    z = noise(4, 6)
    with torch.no_grad():
        images = generator(z)
        assert torch.allclose(images[:1], generator(z[:1]), atol=1e-6)
        assert torch.allclose(discriminator(images)[:1], discriminator(images[:1]), atol=1e-6)


def test_real_and_generated_images_in_one_batch_are_seen_differently():
    _, model = pair()
    real, fake = torch.rand(4, 3, 32, 16), -torch.rand(4, 3, 32, 16)
    together = model(torch.cat([real, fake]))
    assert not torch.allclose(together[:4], model(real), atol=1e-4)


def test_gradients_reach_all_parameters_of_both():
    generator, discriminator = pair()
    F.softplus(-discriminator(generator(noise(4, 6)))).mean().backward()
    for model in (generator, discriminator):
        for name, value in model.named_parameters():
            assert value.grad is not None, name
            assert value.grad.isfinite().all(), name
    assert all(weight.grad.abs().sum() > 0 for model in (generator, discriminator) for weight in weights(model))


def test_channels_last_and_autocast():
    generator, discriminator = (model.eval() for model in pair())
    with torch.no_grad():
        images = generator(noise(4, 6))
        logits = discriminator(images)
        for model in (generator, discriminator):
            model.to(memory_format=torch.channels_last)
        assert torch.allclose(generator(noise(4, 6)), images, atol=1e-5)
        assert torch.allclose(discriminator(images.contiguous(memory_format=torch.channels_last)), logits, atol=1e-5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert generator(noise(4, 6)).dtype == discriminator(images).dtype == torch.float32


# ---------------------------------------------------------------- pixels


def test_pixels_survive_the_way_there_and_back():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(4, 4, 16)
    scaled = to_gan(pixels)
    assert scaled.dtype == torch.float32
    assert scaled.shape == pixels.shape
    assert (scaled.min().item(), scaled.max().item()) == (-1, 1)
    assert torch.equal(from_gan(scaled), pixels)


def test_from_gan_rounds_and_clips():
    values = torch.tensor([-3.0, -1.0, -1 + 0.6 / 127.5, -1 + 0.4 / 127.5, 0.002, 1.0, 7.0])
    assert from_gan(values).tolist() == [0, 0, 1, 0, 128, 255, 255]
    assert from_gan(values.bfloat16()).dtype == torch.uint8
    assert to_gan(torch.tensor([51], dtype=torch.uint8)).item() == pytest.approx(-0.6)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("make", [Generator, Discriminator])
@pytest.mark.parametrize("size", [(128, 100), (0, 16), (-16, 16), (24, 32), (16,)])
def test_sizes_must_be_multiples_of_16(make, size):
    with pytest.raises(ValueError, match=r"must be multiples of 16, got \("):
        make(size)


def test_other_arguments():
    for make in (Generator, Discriminator):
        with pytest.raises(ValueError, match="at least 1 base filter, got base=0"):
            make((16, 16), 0)
    with pytest.raises(ValueError, match="at least 1 value, got latent=0"):
        Generator((16, 16), 1, 0)


def test_other_shapes_of_the_input():
    generator, discriminator = pair()
    with pytest.raises(ValueError, match=r"noise must be of shape \(b, 6\), got \(4, 7\)"):
        generator(noise(4, 7))
    for shape in ((4, 3, 16, 32), (4, 1, 32, 16), (3, 32, 16)):
        with pytest.raises(ValueError, match=r"images must be of shape \(b, 3, 32, 16\), got"):
            discriminator(torch.zeros(shape))


def test_other_types_of_pixels():
    with pytest.raises(ValueError, match=r"uint8, got torch\.float32"):
        to_gan(torch.zeros(3))
    with pytest.raises(ValueError, match=r"float images in \[-1, 1\], got torch\.uint8"):
        from_gan(torch.zeros(3, dtype=torch.uint8))
