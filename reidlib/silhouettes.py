"""Where is the person in an image? A small fixed network that tells people from background, trained on drawn people.

It judges generated images: does the body stand where the image that gave the structure has it? Nobody has part maps of
generated images, so a network has to find the body, and it must not be of the kind that it judges. It learns once,
from people that no chapter uses and their exact part maps.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib import data, training
from reidlib.cache import kept, key
from reidlib.data.augment import flip, normalise
from reidlib.results.provenance import build_dir, module_hash

STEPS = 1600
BATCH = 16
WIDTHS = (32, 48, 64, 64)  # maps at 1/2, 1/4, 1/8 and 1/16 of the size
LEARNING_RATE = 1e-2
ODD = 0.5  # share of the training images that are given odd colours, blur and noise


class Segmenter(nn.Module):
    """Logits of "person", float32 (b, h, w), of normalised images float (b, 3, h, w): four levels down, three up.

    size: (height, width) in pixels of the images that it is for, multiples of 16. The first level sees every 2x2 pixels
    as one place, the others halve the maps by max pooling; each has two 3x3 convolutions with batch norm. On the way
    back the maps of the level above join in, and the last layer gives each of the 2x2 pixels its own logit.
    Raises ValueError for another size.
    """

    def __init__(self, size: tuple[int, int] = (64, 32)):
        super().__init__()
        if len(size) != 2 or any(side < 16 or side % 16 for side in size):
            raise ValueError(f"height and width of a segmenter's images must be multiples of 16, got {tuple(size)}")
        self.size = (int(size[0]), int(size[1]))
        pairs = list(itertools.pairwise(WIDTHS))
        self.down = nn.ModuleList([_block(12, WIDTHS[0]), *(_block(before, after) for before, after in pairs)])
        self.up = nn.ModuleList(_block(fine + coarse, fine) for fine, coarse in reversed(pairs))
        self.out = nn.Conv2d(WIDTHS[0], 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Raises ValueError for images of another size."""
        if images.ndim != 4 or images.shape[1:] != (3, *self.size):
            height, width = self.size
            raise ValueError(f"the images must be of shape (b, 3, {height}, {width}), got {tuple(images.shape)}")
        levels = [self.down[0](F.pixel_unshuffle(images, 2))]
        for block in self.down[1:]:
            levels.append(block(F.max_pool2d(levels[-1], 2)))
        maps = levels.pop()
        for block in self.up:
            maps = block(torch.cat([levels.pop(), F.interpolate(maps, scale_factor=2)], 1))
        return F.pixel_shuffle(self.out(maps), 2).squeeze(1).float()


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def segmenter(
    size: tuple[int, int] = (64, 32), seed: int = 0, device="cpu", steps: int = STEPS, progress: bool = True
) -> Segmenter:
    """The network for images of `size` (height, width in pixels), in eval mode on `device`, trained at most once.

    It learns from the drawn people of the set "warmstart", all of them, by the cross-entropy of each pixel with "part
    map above 0"; people who pass by, poles and bags on the ground are background. Images of generators are blurry and
    oddly coloured, so half of the images that it learns from are too: channels are mixed, each gets its own light, and
    contrast, blur and noise are drawn. On drawn people that it never saw, the overlap with the part maps is 0.9.
    Kept in the folder `warm` of the build under a name of size, seed, steps, kind of device, data and code; it takes
    three quarters of a minute on one core at 64x32. Everything random follows from `seed`, and torch's global generator
    is left as it was. Raises ValueError for another size and steps below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    kind = torch.device(device).type
    with torch.random.fork_rng(devices=[]):
        model = Segmenter(size)
    code = module_hash(code="from reidlib.silhouettes import _fit\n_fit")
    name = key(model.size, seed, kind, steps, data.fingerprint("warmstart", size=model.size), code)
    file = build_dir() / "warm" / f"silhouettes-{model.size[0]}x{model.size[1]}-{name}.pt"
    state = kept(file, lambda: {"state": _fit(model.size, seed, device, steps, progress)})["state"]
    model.load_state_dict(state)
    return model.to(device, memory_format=torch.channels_last).eval()


def _fit(size: tuple[int, int], seed: int, device, steps: int, progress: bool) -> dict[str, Tensor]:
    people = data.load("warmstart", size=size, device=device, progress=progress).store

    def batches(start: int):
        for number in range(start, steps):
            draw = training.stream(seed, "silhouettes", "rows", number)
            yield people.batch(torch.randint(len(people), (BATCH,), generator=draw))

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor], step: int) -> tuple[Tensor, dict]:
        images, parts = _disturbed(*batch, training.stream(seed, "silhouettes", "disturb", step))
        logits = model(images.contiguous(memory_format=torch.channels_last))
        return F.binary_cross_entropy_with_logits(logits, (parts > 0).float()), {}

    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        torch.manual_seed(training.stream_seed(seed, "silhouettes", "initialisation"))
        model = Segmenter(size).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1)
        training.train(
            model,
            batches,
            loss,
            optimizer,
            steps=steps,
            seed=seed,
            scheduler=scheduler,
            description="silhouettes",
            progress=progress,
        )
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def _disturbed(images: Tensor, parts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Normalised images, half of them with odd colours, blur and noise, and their part maps; mirrored at random."""
    images, parts = flip(images, parts, generator=generator)

    def draw(*shape: int) -> Tensor:
        return torch.rand(len(images), *shape, generator=generator).to(images.device)

    plain = normalise(images)
    mixture = torch.eye(3, device=images.device) + 0.4 * draw(1, 1) * (2 * draw(3, 3) - 1)  # of the old channels
    pixels = torch.einsum("bij,bjhw->bihw", mixture, plain)
    pixels = pixels * (0.7 + 0.6 * draw(1, 1, 1)) + 0.4 * (2 * draw(3, 1, 1) - 1)  # contrast, and light of each channel
    for factor in (2, 4):  # blur: towards the image at 1/2 and at 1/4 of the resolution
        small = F.interpolate(F.avg_pool2d(pixels, factor), pixels.shape[2:], mode="bilinear", align_corners=False)
        pixels = torch.lerp(pixels, small, draw(1, 1, 1) * (draw(1, 1, 1) < 1 / factor))
    noise = torch.randn(pixels.shape, generator=generator).to(pixels)
    pixels = pixels + 0.15 * draw(1, 1, 1) * noise
    return torch.where(draw(1, 1, 1) < ODD, pixels, plain), parts


@torch.no_grad()
def foreground(model: Segmenter, images: Tensor, batch: int = 256) -> Tensor:
    """Pixels that show the person: bool (n, h, w) on the CPU.

    Those for which `model` gives the image and the mirrored image logits whose sum is above 0, so that an image and its
    mirror image have mirrored silhouettes. images: uint8 (n, 3, h, w) of the model's size, on any device; `batch` go
    through the model at a time, in eval mode (restored after).
    Raises ValueError for another type or shape, and for a batch below 1.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != (3, *model.size):
        height, width = model.size
        raise ValueError(
            f"this segmenter takes images uint8 (n, 3, {height}, {width}), got {images.dtype} {tuple(images.shape)}"
        )
    if batch < 1:
        raise ValueError(f"batch must be 1 or more, got {batch}")
    device, mode = model.out.weight.device, model.training
    model.eval()
    try:
        found = [torch.empty(0, *model.size, dtype=torch.bool)]
        for some in images.split(batch) if len(images) else ():
            pixels = normalise(some.to(device)).contiguous(memory_format=torch.channels_last)
            found.append((model(pixels) + model(pixels.flip(-1)).flip(-1) > 0).cpu())
    finally:
        model.train(mode)
    return torch.cat(found)


def overlap(found: Tensor, exact: Tensor) -> Tensor:
    """Intersection over union of two silhouettes of each image: float32 (n,), 1 where both are empty.

    found, exact: bool (n, h, w), such as `foreground(...)` and `parts > 0` of a part map. On the device of `found`.
    Raises ValueError for other types or shapes that differ.

    >>> overlap(torch.tensor([[[True, True, False]]]), torch.tensor([[[False, True, True]]]))
    tensor([0.3333])
    """
    if found.ndim != 3 or found.shape != exact.shape or not found.dtype == exact.dtype == torch.bool:
        raise ValueError(
            f"overlap needs two silhouettes bool (n, h, w) of one shape, got {found.dtype} {tuple(found.shape)} and "
            f"{exact.dtype} {tuple(exact.shape)}: of a part map take parts > 0"
        )
    exact = exact.to(found.device)
    both, either = (part.sum((1, 2)) for part in (found & exact, found | exact))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)
