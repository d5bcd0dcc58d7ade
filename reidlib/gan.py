"""One deep convolutional GAN: how it is trained, and images that it draws.

Source: Ainam et al., Sparse Label Smoothing for Semi-supervised Person Re-Identification (2018), Algorithm 1, and the
settings of its released code: one discriminator step on a real and a generated batch, then two generator steps.
"""

import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib import training
from reidlib.models.dcgan import Discriminator, Generator, from_gan, to_gan

SHEET = 16  # images of one sheet
CHUNK = 256  # images that are drawn at once, always
CHECKED = 50  # steps from one look at the losses to the next: each look waits for the device


def train_gan(
    images: Tensor,
    *,
    size: tuple[int, int] | None = None,
    base: int = 64,
    latent: int = 100,
    steps: int,
    seed: int,
    batch: int = 64,
    g_steps: int = 2,
    learning_rate: float = 2e-4,
    beta1: float = 0.5,
    start: dict | None = None,
    sheets: int = 6,
    device="cpu",
    description: str = "GAN",
    progress: bool = True,
) -> dict:
    """Train a DCGAN on `images` and return it as a dict of plain tensors, numbers and lists.

    A step: the discriminator learns from a real and a generated batch, passed one after the other so that each has its
    own batch statistics (cross-entropy of real against generated, summed); then the generator makes `g_steps` steps,
    each on new noise, towards images that are taken for real (the non-saturating loss). Noise is uniform in [-1, 1];
    both optimisers are Adam. Batches run through the images in a new order each epoch; a last, smaller one is left out,
    and of fewer images than `batch` every batch holds all. There is no augmentation.

    images: uint8 (n, 3, h, w), n of 2 or more. size: (height, width) in pixels that they are squashed to first, and
    that is made; None keeps theirs. Multiples of 16. base, latent: width of the networks and length of the noise.
    start: a GAN that this function returned; both networks start from its weights, the optimisers are new.
    Everything random follows from `seed`: on a CPU the same call gives the same GAN.

    Returns
    -------
    "generator", "discriminator": state dicts on the CPU. "loss_real", "loss_fake", "loss_generator": one float a step
    (the last is the mean of the g_steps). "sheets": uint8 (s, 16, 3, h, w), the images of 16 fixed noises after the
    steps in "sheet_steps", which lie evenly from 0, the start, to the end; `sheets` of them at most. "size", "base",
    "latent": as trained, size as a list.

    Raises
    ------
    ValueError: images or settings that cannot be, too few images, or a `start` of another size, base or latent.
    training.TrainingError: a loss is not finite; it names the step.

    >>> gan = train_gan(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), base=2, steps=1, seed=0, progress=False)
    >>> gan["sheets"].shape, gan["sheet_steps"]
    (torch.Size([2, 16, 3, 16, 16]), [0, 1])
    """
    check_images(images, description)
    least = {"steps": (steps, 1), "batch": (batch, 2), "g_steps": (g_steps, 1), "sheets": (sheets, 0)}
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise ValueError(f"{description}: {name} must be {lowest} or more, got {value}")
    images = squashed(images, size)
    size = tuple(images.shape[2:])
    generator, discriminator = _networks(size, base, latent, seed, start, description)
    optimisers = []
    for network in (generator, discriminator):
        network.to(device, memory_format=torch.channels_last).train()
        optimisers.append(torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(beta1, 0.999)))
    images = images.to(device)
    noise = training.stream(seed, "GAN", "noise")
    fixed = _noise(SHEET, latent, training.stream(seed, "GAN", "sheet"), device)
    sheet_steps = sorted({round(step) for step in torch.linspace(0, steps, sheets).tolist()}) if sheets > 1 else []
    sheet_steps = [steps] if sheets == 1 else sheet_steps
    losses: dict[str, list] = {"loss_real": [], "loss_fake": [], "loss_generator": []}
    pages = [_draw(generator, fixed)] if 0 in sheet_steps else []
    batches = _batches(len(images), batch, seed)
    for step in training.bar(range(steps), steps, description, progress):
        real = to_gan(images[next(batches).to(images.device)]).contiguous(memory_format=torch.channels_last)
        found = _discriminator_step(generator, discriminator, optimisers[1], real, noise, latent)
        rises = [
            _generator_step(generator, discriminator, optimisers[0], len(real), noise, latent) for _ in range(g_steps)
        ]
        for name, value in zip(losses, (*found, torch.stack(rises).mean()), strict=True):
            losses[name].append(value)
        done = step + 1
        if done % CHECKED == 0 or done == steps or done in sheet_steps:
            _to_host(losses, description, learning_rate)
        if done in sheet_steps:
            pages.append(_draw(generator, fixed))
    return {
        "generator": _on_cpu(generator),
        "discriminator": _on_cpu(discriminator),
        **losses,
        "sheet_steps": sheet_steps,
        "sheets": torch.stack(pages) if pages else torch.empty(0, SHEET, 3, *size, dtype=torch.uint8),
        "size": list(size),
        "base": base,
        "latent": latent,
    }


@torch.no_grad()
def sample(gan: dict, count: int, *, seed: int, device="cpu") -> Tensor:
    """`count` images that a GAN of `train_gan` draws: uint8 (count, 3, h, w) on the CPU.

    The generator runs in eval mode. Images are drawn in chunks of a fixed size, each with its own stream of noise, so
    the first ones are the same whatever `count` is. Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"cannot draw {count} images: give a count of 0 or more")
    size, latent = tuple(gan["size"]), gan["latent"]
    generator = Generator(size, gan["base"], latent)
    generator.load_state_dict(gan["generator"])
    generator.to(device, memory_format=torch.channels_last)
    drawn = [torch.empty(0, 3, *size, dtype=torch.uint8)]
    for chunk in range(-(-count // CHUNK)):
        drawn.append(_draw(generator, _noise(CHUNK, latent, training.stream(seed, "GAN images", chunk), device)))
    return torch.cat(drawn)[:count]


def check_images(images: Tensor, description: str) -> None:
    """ValueError, begun with `description`, unless images are uint8 (n, 3, h, w), n of 2 or more."""
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"{description}: images must be uint8 (n, 3, h, w), got {images.dtype} {tuple(images.shape)}")
    if len(images) < 2:
        number = "no image" if len(images) == 0 else "only 1 image"
        raise ValueError(f"{description} has {number} to train on, and needs 2 or more: use fewer clusters")


def squashed(images: Tensor, size: tuple[int, int] | None, chunk: int = 1024) -> Tensor:
    """uint8 images at `size`, bilinear with antialias, whatever their shape was; on the CPU where that changes them."""
    if size is None or tuple(size) == tuple(images.shape[2:]):
        return images
    options = {"size": tuple(size), "mode": "bilinear", "antialias": True}
    parts = [F.interpolate(part.cpu().contiguous(), **options) for part in images.split(chunk)]
    return torch.cat(parts) if parts else images


def _networks(
    size: tuple[int, int], base: int, latent: int, seed: int, start: dict | None, description: str
) -> tuple[Generator, Discriminator]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(training.stream_seed(seed, "GAN", "initialisation"))
        generator, discriminator = Generator(size, base, latent), Discriminator(size, base)
    if start is not None:
        theirs = (tuple(start["size"]), start["base"], start["latent"])
        if theirs != (size, base, latent):
            raise ValueError(
                f"{description} cannot start from a GAN of another shape: its size, base and latent are {theirs}, "
                f"here they are {(size, base, latent)}"
            )
        generator.load_state_dict(start["generator"])
        discriminator.load_state_dict(start["discriminator"])
    return generator, discriminator


def _batches(n: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Numbers of the images of batch 0, 1, 2, ... without end."""
    batch = min(batch, n)
    for epoch in itertools.count():
        order = torch.randperm(n, generator=training.stream(seed, "GAN", "order", epoch))
        yield from order[: n - n % batch].split(batch)


def _noise(count: int, latent: int, stream: torch.Generator, device) -> Tensor:
    return (torch.rand(count, latent, generator=stream) * 2 - 1).to(device)


def _discriminator_step(generator, discriminator, optimiser, real, noise, latent) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        fake = generator(_noise(len(real), latent, noise, real.device))
    discriminator.requires_grad_(True)
    of_real, of_fake = discriminator(real), discriminator(fake)
    loss_real = F.binary_cross_entropy_with_logits(of_real, torch.ones_like(of_real))
    loss_fake = F.binary_cross_entropy_with_logits(of_fake, torch.zeros_like(of_fake))
    optimiser.zero_grad(set_to_none=True)
    (loss_real + loss_fake).backward()
    optimiser.step()
    return loss_real.detach(), loss_fake.detach()


def _generator_step(generator, discriminator, optimiser, count, noise, latent) -> Tensor:
    discriminator.requires_grad_(False)
    device = next(generator.parameters()).device
    found = discriminator(generator(_noise(count, latent, noise, device)))
    loss = F.binary_cross_entropy_with_logits(found, torch.ones_like(found))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.detach()


def _to_host(losses: dict[str, list], description: str, learning_rate: float) -> None:
    """Turn the tensors among the losses into floats, all in one go, and stop at one that is not finite."""
    first = next(i for i, value in enumerate(losses["loss_real"]) if torch.is_tensor(value))
    for values in losses.values():
        values[first:] = torch.stack(values[first:]).float().tolist()
    steps = range(first, len(losses["loss_real"]))
    bad = next(((i, name) for i in steps for name in losses if not math.isfinite(losses[name][i])), None)
    if bad is not None:
        raise training.TrainingError(
            f"{description}: {bad[1]} is not finite at step {bad[0]} (learning rate {learning_rate:g}): "
            f"lower the learning rate"
        )


@torch.no_grad()
def _draw(generator: Generator, noise: Tensor) -> Tensor:
    """Images of `noise` with the running statistics: uint8 on the CPU; the generator's mode is left as it was."""
    was_training = generator.training
    generator.eval()
    images = from_gan(generator(noise)).cpu().contiguous()
    generator.train(was_training)
    return images


def _on_cpu(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
