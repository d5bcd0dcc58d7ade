"""Images by deep convolutional GANs: trained on all images or on one cluster each, drawn from, and judged.

Source: Ainam et al., Sparse Label Smoothing for Semi-supervised Person Re-Identification (2018), Algorithm 1, and the
settings of its released code: one discriminator step on a real and a generated batch, then two generator steps.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib import training
from reidlib.cache import kept, key
from reidlib.models.dcgan import Discriminator, Generator, from_gan, to_gan
from reidlib.results.provenance import module_hash

SHEET = 16  # images of one sheet
CHUNK = 256  # images that are drawn at once, always
CHECKED = 50  # steps from one look at the losses to the next: each look waits for the device
SPREAD = 0.25  # fakes of a spread below this share of that of real images have collapsed
REPEATS = 0.5  # fakes of which more than this share are repeats have collapsed
NEAR = 0.01  # quantile of the real images' nearest-neighbour distances within which a fake is a repeat


# ---------------------------------------------------------------- one GAN


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
    _check_images(images, description)
    least = {"steps": (steps, 1), "batch": (batch, 2), "g_steps": (g_steps, 1), "sheets": (sheets, 0)}
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise ValueError(f"{description}: {name} must be {lowest} or more, got {value}")
    images = _squashed(images, size)
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
    for step in training._bar(range(steps), steps, description, progress):
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


def _check_images(images: Tensor, description: str) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"{description}: images must be uint8 (n, 3, h, w), got {images.dtype} {tuple(images.shape)}")
    if len(images) < 2:
        number = "no image" if len(images) == 0 else "only 1 image"
        raise ValueError(f"{description} has {number} to train on, and needs 2 or more: use fewer clusters")


def _squashed(images: Tensor, size: tuple[int, int] | None, chunk: int = 1024) -> Tensor:
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


# ---------------------------------------------------------------- the generated part of a training set


@dataclass(frozen=True)
class Generated:
    """Generated images and the GANs that drew them.

    images: uint8 (n, 3, h, w) at the size of the training images. cluster: int64 (n,), the cluster whose GAN drew each.
    parent: the GAN of all images, or None. gans: one a cluster in their order; where there are no clusters, the parent.
    """

    images: Tensor
    cluster: Tensor
    parent: dict | None
    gans: list[dict]


def generated_set(
    images: Tensor,
    clusters: Tensor | None,
    count: int,
    *,
    parent: bool = True,
    parent_steps: int,
    steps: int,
    seed: int,
    cache: Path | str,
    size: tuple[int, int] | None = None,
    base: int = 64,
    latent: int = 100,
    batch: int = 64,
    g_steps: int = 2,
    learning_rate: float = 2e-4,
    beta1: float = 0.5,
    device="cpu",
    progress: bool = True,
) -> Generated:
    """`count` generated images: an equal share from the GAN of every cluster, or all from one GAN of all images.

    With k clusters floor(count / k) + 1 images of each are drawn, pooled, shuffled and cut to `count`, whatever the
    sizes of the clusters are. The images of a cluster do not depend on `count` or on their number: a larger set holds
    a smaller one, but for what the cut took.

    images: uint8 (n, 3, h, w), the training images. clusters: integers (n,) from 0 to k - 1, the cluster of each; None
    gives one GAN of all of them, trained for `parent_steps`, and cluster 0 throughout (how LSRO generates).
    parent: train one GAN on all images for `parent_steps`, and start those of the clusters from it; else they start
    anew. steps: of each cluster's GAN. The other settings are those of `train_gan`; where `size` is given, the GANs
    work at it, and their images are brought back to the size of the training images.
    cache: a folder. Every GAN and the set itself are one file there, named by what they depend on (images, settings,
    seed, kind of device, the code), and made once, see `reidlib.cache.kept`. A count of 0 trains nothing.
    Raises ValueError for a cluster that is empty or has a single image, shapes that do not fit, and a negative count;
    otherwise what `train_gan` raises.
    """
    images = images.detach().cpu()
    groups = _groups(images, clusters)
    if count < 0:
        raise ValueError(f"cannot generate {count} images: give a count of 0 or more")
    if count == 0:
        empty = torch.empty(0, dtype=torch.int64)
        return Generated(torch.empty(0, *images.shape[1:], dtype=torch.uint8), empty, None, [])
    cache, kind = Path(cache), torch.device(device).type
    settings = {"size": size, "base": base, "latent": latent, "batch": batch, "g_steps": g_steps}
    settings |= {"learning_rate": learning_rate, "beta1": beta1}
    code = _code("train_gan")

    def trained(pixels: Tensor, name: str, start: tuple[str, dict] | None, **more) -> tuple[str, dict]:
        facts = key(pixels, settings | more, start[0] if start else None, kind, code)
        file = cache / f"gan-{facts}.pt"
        origin = start[1] if start else None
        options = settings | more | {"start": origin, "device": device, "description": name, "progress": progress}
        return facts, kept(file, lambda: train_gan(pixels, **options))

    whole = None
    if parent or clusters is None:
        own = training.stream_seed(seed, "parent GAN")
        whole = trained(images, "GAN of all images", None, steps=parent_steps, seed=own)
    gans = [whole] if clusters is None else []
    for cluster, rows in enumerate(groups if clusters is not None else []):
        own = training.stream_seed(seed, "GAN of a cluster", cluster)
        gans.append(trained(images[rows], f"GAN of cluster {cluster}", whole, steps=steps, seed=own))

    def drawn() -> dict:
        share = count // len(gans) + 1
        seeds = [training.stream_seed(seed, "images of a cluster", cluster) for cluster in range(len(gans))]
        pool = torch.cat(
            [sample(gan, share, seed=own, device=device) for (_, gan), own in zip(gans, seeds, strict=True)]
        )
        cluster = torch.arange(len(gans)).repeat_interleave(share)
        order = torch.randperm(len(pool), generator=training.stream(seed, "generated", "shuffle"))[:count]
        return {"images": _squashed(pool[order], tuple(images.shape[2:])), "cluster": cluster[order]}

    facts = key([name for name, _ in gans], count, seed, images.shape[2:], kind, _code("generated_set"))
    found = kept(cache / f"generated-{facts}.pt", drawn)
    return Generated(found["images"], found["cluster"], whole[1] if whole else None, [gan for _, gan in gans])


def _groups(images: Tensor, clusters: Tensor | None) -> list[Tensor]:
    """Rows of the images of each cluster; checked before anything is trained."""
    _check_images(images, "the generated set")
    if clusters is None:
        return [torch.arange(len(images))]
    clusters = torch.as_tensor(clusters).detach().cpu()
    if clusters.shape != images.shape[:1] or clusters.is_floating_point():
        raise ValueError(
            f"clusters must be one integer for each of the {len(images)} images, "
            f"got {clusters.dtype} {tuple(clusters.shape)}"
        )
    if clusters.min() < 0:
        raise ValueError(f"clusters are numbered from 0, got {int(clusters.min())}: leave out images without a cluster")
    groups = [(clusters == cluster).nonzero()[:, 0] for cluster in range(int(clusters.max()) + 1)]
    for cluster, rows in enumerate(groups):
        if len(rows) < 2:
            number = "no image" if len(rows) == 0 else "only 1 image"
            raise ValueError(f"cluster {cluster} has {number}, and its GAN needs 2 or more: use fewer clusters")
    return groups


def _code(name: str) -> str:
    """Hash of a function of this module and of all that it reaches."""
    return module_hash(code=f"from reidlib.generation import {name}\n{name}")


# ---------------------------------------------------------------- collapse


def health(fakes: Tensor, real: Tensor) -> dict[str, float]:
    """Has a GAN collapsed? Compares features of generated images with those of real ones.

    fakes: (n, d) and real: (m, d), features by one fixed network, 2 rows or more; sets of about equal size, as nearest
    neighbours come nearer in larger ones.

    Returns
    -------
    "spread": trace of the fakes' covariance over that of the real ones; 1 is as varied as real images.
    "repeats": share of fakes whose nearest other fake is no farther than the 1st percentile of the distances from a
    real image to its nearest other (Euclidean); about 0.01 for fakes that are spread like real images.
    "collapsed": 1.0 where spread is below 0.25 (`SPREAD`) or repeats above 0.5 (`REPEATS`), else 0.0.
    Raises ValueError for shapes that do not fit, values that are not finite, and real images that are all alike.
    """
    if fakes.ndim != 2 or real.ndim != 2 or fakes.shape[1] != real.shape[1] or min(len(fakes), len(real)) < 2:
        raise ValueError(
            f"health needs features (n, d) and (m, d) of 2 images or more by the same network, "
            f"got fakes {tuple(fakes.shape)} and real {tuple(real.shape)}"
        )
    for name, features in (("fakes", fakes), ("real", real)):
        bad = (~torch.isfinite(features).all(1)).nonzero()[:, 0]
        if len(bad):
            raise ValueError(f"row {int(bad[0])} of {name} holds NaN or infinity ({len(bad)} such rows)")
    fakes, real = fakes.detach().to(real.device, torch.float64), real.detach().to(torch.float64)
    varied = real.var(0).sum()
    if varied == 0:
        raise ValueError("the features of all real images are equal: there is nothing to compare the fakes with")
    spread = (fakes.var(0).sum() / varied).item()
    near = torch.quantile(_nearest_distances(real), NEAR)
    repeats = (_nearest_distances(fakes) <= near).double().mean().item()
    return {"spread": spread, "repeats": repeats, "collapsed": float(spread < SPREAD or repeats > REPEATS)}


def _nearest_distances(features: Tensor, block: int = 1024) -> Tensor:
    """Distance (n,) of each row to its nearest other row.

    Products in float32 find the neighbour, its distance is then taken exactly: 0 for a copy.
    """
    centred = (features - features.mean(0)).float()
    squares = centred.square().sum(1)
    found = []
    for start in range(0, len(features), block):
        rows = centred[start : start + block]
        squared = squares - 2 * rows @ centred.T  # of each row, up to its own square
        squared[torch.arange(len(rows)), torch.arange(start, start + len(rows))] = torch.inf
        nearest = features[squared.argmin(1)]
        found.append((features[start : start + block] - nearest).square().sum(1).sqrt())
    return torch.cat(found)
