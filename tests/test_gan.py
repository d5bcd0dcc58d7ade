"""One GAN: what a step changes, what is repeatable, where it starts from, what it draws, and what stops it."""

import doctest
import sys

import pytest
import torch
import torch.nn.functional as F

from reidlib import gan as module
from reidlib import training
from reidlib.gan import sample, train_gan
from reidlib.models.dcgan import Discriminator, Generator, from_gan, to_gan

TINY = {"base": 2, "latent": 3, "batch": 8, "progress": False}


def noisy(n, seed=0, height=16, width=16):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), generator=generator, dtype=torch.uint8)


def train(images=None, **options):
    return train_gan(noisy(20) if images is None else images, **{**TINY, "steps": 3, "seed": 0, **options})


def equal(one, other):
    return all(torch.equal(one[part][name], other[part][name]) for part in PARTS for name in one[part])


PARTS = ("generator", "discriminator")


def test_what_comes_back():
    gan = train(noisy(20, height=32), steps=5)
    made = Generator((32, 16), 2, 3)
    made.load_state_dict(gan["generator"])
    Discriminator((32, 16), 2).load_state_dict(gan["discriminator"])
    assert (gan["size"], gan["base"], gan["latent"]) == ([32, 16], 2, 3)
    assert gan["sheet_steps"] == [0, 1, 2, 3, 4, 5]
    assert gan["sheets"].shape == (6, 16, 3, 32, 16)
    assert gan["sheets"].dtype == torch.uint8
    for name in ("loss_real", "loss_fake", "loss_generator"):
        assert [type(value) for value in gan[name]] == [float] * 5
    assert all(type(gan[part]) is dict for part in PARTS)


def test_the_same_call_gives_the_same_gan_and_leaves_the_global_stream():
    torch.manual_seed(5)
    one = train()
    after = torch.rand(1)
    torch.manual_seed(6)
    other = train()
    assert equal(one, other)
    assert one["loss_generator"] == other["loss_generator"]
    assert torch.equal(one["sheets"], other["sheets"])
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    assert not equal(one, train(seed=1))


def test_every_parameter_of_both_networks_learns():
    before, after = train(steps=1, learning_rate=1e-12), train(steps=3)
    for part in PARTS:
        network = Generator((16, 16), 2, 3) if part == "generator" else Discriminator((16, 16), 2)
        layers = dict(network.named_modules())
        for name, _ in network.named_parameters():
            layer, kind = name.rsplit(".", 1)
            inner = isinstance(layers[layer], torch.nn.Conv2d | torch.nn.ConvTranspose2d)
            if kind == "bias" and inner and layer not in ("layers.0", "layers.11"):
                continue  # a batch norm takes it out again: it has no gradient
            assert not torch.equal(before[part][name], after[part][name]), (part, name)


def reference(images, steps, seed, g_steps, batch=8, base=2, latent=3, rate=2e-4, beta1=0.5):
    """The step written out: each loss by its formula, gradients of one network at a time, all in the default layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.stream_seed(seed, "GAN", "initialisation"))
        g, d = Generator((16, 16), base, latent), Discriminator((16, 16), base)
    noise = training.stream(seed, "GAN", "noise")
    optimisers = [torch.optim.Adam(network.parameters(), lr=rate, betas=(beta1, 0.999)) for network in (g, d)]
    history, order = [], []
    for step in range(steps):
        if len(order) < batch:
            epoch = step // (len(images) // batch)
            order = torch.randperm(len(images), generator=training.stream(seed, "GAN", "order", epoch)).tolist()
        rows, order = order[:batch], order[batch:]
        z = torch.rand(batch, latent, generator=noise) * 2 - 1
        real, fake = to_gan(images[rows]), g(z).detach()
        losses = [-F.logsigmoid(d(real)).mean(), -F.logsigmoid(-d(fake)).mean()]
        gradients = torch.autograd.grad(sum(losses), list(d.parameters()))
        for parameter, gradient in zip(d.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimisers[1].step()
        of_generator = []
        for _ in range(g_steps):
            loss = -F.logsigmoid(d(g(torch.rand(batch, latent, generator=noise) * 2 - 1))).mean()
            gradients = torch.autograd.grad(loss, list(g.parameters()))
            for parameter, gradient in zip(g.parameters(), gradients, strict=True):
                parameter.grad = gradient
            optimisers[0].step()
            of_generator.append(loss.item())
        history.append([losses[0].item(), losses[1].item(), sum(of_generator) / g_steps])
    return history, g, d


@pytest.mark.parametrize("g_steps", [1, 2, 3])
def test_steps_against_the_formulas(g_steps):
    """5 steps of 8 among 20 images: two a epoch, the last 4 images of an epoch are left out."""
    images = noisy(20)
    gan = train(images, steps=5, g_steps=g_steps, learning_rate=1e-3)
    history, g, d = reference(images, 5, 0, g_steps, rate=1e-3)
    found = list(zip(gan["loss_real"], gan["loss_fake"], gan["loss_generator"], strict=True))
    assert torch.allclose(torch.tensor(found), torch.tensor(history), atol=1e-4)
    assert torch.allclose(gan["discriminator"]["layers.2.weight"], d.state_dict()["layers.2.weight"], atol=2e-4)
    assert torch.allclose(gan["generator"]["layers.11.weight"], g.state_dict()["layers.11.weight"], atol=2e-4)


def test_batches_run_through_all_images_each_epoch():
    batches = module._batches(20, 8, seed=0)
    epochs = [torch.cat([next(batches), next(batches)]) for _ in range(30)]
    assert all(len(set(epoch.tolist())) == 16 for epoch in epochs)
    assert set(torch.cat(epochs).tolist()) == set(range(20))
    assert not torch.equal(epochs[0], epochs[1])


@pytest.mark.parametrize("n", [2, 7, 8])
def test_fewer_images_than_a_batch_are_one_batch(n):
    batches = module._batches(n, 8, seed=0)
    for _ in range(3):
        assert sorted(next(batches).tolist()) == list(range(n))
    assert len(train(noisy(n), steps=2)["loss_real"]) == 2


def test_a_start_is_the_parents_weights():
    parent = train(steps=4)
    child = train(noisy(20, seed=9), start=parent, seed=7, steps=2, learning_rate=1e-12)
    for part in PARTS:
        names = [name for name in parent[part] if "running" not in name and "num_batches" not in name]
        assert all(torch.allclose(parent[part][name], child[part][name], atol=1e-9) for name in names)
    first = child["sheets"][0]
    noise = torch.rand(16, 3, generator=training.stream(7, "GAN", "sheet")) * 2 - 1
    with torch.no_grad():
        network = Generator((16, 16), 2, 3)
        network.load_state_dict(parent["generator"])
        expected = from_gan(network.eval()(noise))
    assert (first.int() - expected.int()).abs().max() <= 1
    assert not equal(train(start=parent, seed=7), train(seed=7))


def test_a_start_is_left_as_it_is():
    parent = train()
    copies = {part: {name: value.clone() for name, value in parent[part].items()} for part in PARTS}
    train(start=parent, steps=2, learning_rate=0.1)
    assert equal(parent, copies)


def test_sheets():
    assert train(sheets=0)["sheets"].shape == (0, 16, 3, 16, 16)
    assert train(sheets=1, steps=4)["sheet_steps"] == [4]
    assert train(sheets=3, steps=4)["sheet_steps"] == [0, 2, 4]
    few, many = train(sheets=2, steps=6, learning_rate=0.01), train(sheets=4, steps=6, learning_rate=0.01)
    assert torch.equal(few["sheets"][-1], many["sheets"][-1])  # looking changes nothing
    assert equal(few, many)
    assert (few["sheets"][0] != few["sheets"][1]).any()


def test_images_are_squashed_to_size():
    images = noisy(10, height=48, width=20)
    gan = train(images, size=(32, 16))
    assert gan["size"] == [32, 16]
    squashed = F.interpolate(images.float(), size=(32, 16), mode="bilinear", antialias=True)
    assert (module.squashed(images, (32, 16), chunk=4).float() - squashed).abs().max() <= 1
    assert equal(gan, train(module.squashed(images, (32, 16))))
    assert torch.equal(module.squashed(images, (48, 20)), images)


def test_learns_colours():
    """Every pixel is bright in red and dark in green and blue; untrained networks draw grey."""
    images = noisy(64) // 4
    images[:, 0] += 180
    gan = train(images, base=8, latent=8, batch=16, steps=150, learning_rate=2e-3)
    before, after = (pixels.float().mean((0, 2, 3)) for pixels in (gan["sheets"][0], sample(gan, 64, seed=1)))
    assert (before - 127.5).abs().max() < 10
    assert after[0] > 135
    assert after[1:].max() < 120


@pytest.mark.parametrize("broken", ["generator", "discriminator"])
def test_a_loss_that_is_not_finite(broken):
    start = train()
    start[broken]["linear.weight"] = torch.full_like(start[broken]["linear.weight"], torch.nan)
    with pytest.raises(
        training.TrainingError, match=r"cats: loss_\w+ is not finite at step 0 .*lower the learning rate"
    ):
        train(start=start, steps=60, sheets=0, description="cats")


def test_a_loss_that_breaks_later_names_its_step(monkeypatch):
    step, calls = module._discriminator_step, []

    def breaks(*arguments):
        calls.append(1)
        real, fake = step(*arguments)
        return real, fake * (torch.inf if len(calls) == 58 else 1)

    monkeypatch.setattr(module, "_discriminator_step", breaks)
    with pytest.raises(training.TrainingError, match="loss_fake is not finite at step 57"):
        train(steps=70, sheets=0)


def test_errors_of_training():
    with pytest.raises(ValueError, match="GAN of cluster 3 has only 1 image to train on"):
        train(noisy(1), description="GAN of cluster 3")
    with pytest.raises(ValueError, match="has no image to train on"):
        train(noisy(0))
    for bad in (noisy(4).float(), noisy(4)[:, :1], noisy(4)[0]):
        with pytest.raises(ValueError, match=r"images must be uint8 \(n, 3, h, w\)"):
            train(bad)
    with pytest.raises(ValueError, match="multiples of 16"):
        train(noisy(4, height=20))
    for name, value in {"steps": 0, "batch": 1, "g_steps": 0, "sheets": -1}.items():
        with pytest.raises(ValueError, match=f"{name} must be"):
            train(**{name: value})
    with pytest.raises(ValueError, match=r"another shape: its size, base and latent are \(\(16, 16\), 2, 3\)"):
        train(noisy(4, height=32), start=train())
    with pytest.raises(ValueError, match="another shape"):
        train(latent=4, start=train())


# ---------------------------------------------------------------- drawing


def test_the_first_images_do_not_depend_on_the_count():
    gan = train(learning_rate=0.01, steps=10)
    many = sample(gan, 600, seed=4)
    assert many.shape == (600, 3, 16, 16)
    assert many.dtype == torch.uint8
    for count in (0, 1, 255, 256, 257):
        assert torch.equal(sample(gan, count, seed=4), many[:count])
    assert not torch.equal(many[:256], many[256:512])
    assert not torch.equal(sample(gan, 5, seed=5), many[:5])


def test_drawn_with_running_statistics():
    gan = train(learning_rate=0.01, steps=10)
    network = Generator((16, 16), 2, 3)
    network.load_state_dict(gan["generator"])
    noise = torch.rand(256, 3, generator=training.stream(4, "GAN images", 0)) * 2 - 1
    with torch.no_grad():
        one_by_one = torch.cat([from_gan(network.eval()(z[None])) for z in noise[:10]])
    assert (sample(gan, 10, seed=4).int() - one_by_one.int()).abs().max() <= 1


def test_a_negative_count():
    with pytest.raises(ValueError, match="cannot draw -1 images"):
        sample(train(), -1, seed=0)


def test_examples():
    failed, tried = doctest.testmod(sys.modules["reidlib.gan"])
    assert tried > 0
    assert failed == 0
