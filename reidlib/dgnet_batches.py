"""What one step of DG-Net's training sees: two batches of images, a partner of each image, and random erasing.

The augmentation is that of the released code of Zheng et al., Joint Discriminative and Generative Learning for Person
Re-identification (CVPR 2019). Names: a step sees images a and b, each with a partner, another image of the same person.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from reidlib import training
from reidlib.data.augment import flip, normalise, random_erasing

PADDING = 10 / 256  # of an image's height, before the random crop


class Batch(NamedTuple):
    """What one step sees, each in the order a, b, partners of a, partners of b.

    images, erased: four float (b, 3, h, w), normalised; the latter with random erasing. labels: of a and of b, int64
    (b,); partners have the same.
    """

    images: tuple[Tensor, ...]
    erased: tuple[Tensor, ...]
    labels: tuple[Tensor, Tensor]


def pair_batches(labels: Tensor, batch: int, seed: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
    """Rows (a, partners of a, b, partners of b), int64 (batch,) each, of batch number `start`, start + 1, ...

    a and b each run through all images in an order of their own, new in every epoch; a last, smaller batch is left out.
    A partner is a random other image with the same label, and the image itself where that is the only one.
    labels: integers (n,), one an image. Raises ValueError for another shape, and for a batch below 1 or above n.
    """
    labels = torch.as_tensor(labels).cpu()
    if labels.ndim != 1:
        raise ValueError(f"labels must be of shape (n,), one an image, got {tuple(labels.shape)}")
    if not 1 <= batch <= len(labels):
        raise ValueError(f"cannot draw batches of {batch} from {len(labels)} images: choose a batch between 1 and that")
    return _pair_batches(labels, batch, seed, start)


def _pair_batches(labels: Tensor, batch: int, seed: int, start: int) -> Iterator[tuple[Tensor, ...]]:
    by_label = labels.argsort(stable=True)
    counts = torch.unique(labels, return_counts=True)[1]
    firsts = torch.empty_like(by_label)  # of an image: where its label starts in `by_label`, where itself stands there
    firsts[by_label] = (counts.cumsum(0) - counts).repeat_interleave(counts)
    places, sizes = torch.empty_like(by_label), torch.empty_like(by_label)
    places[by_label] = torch.arange(len(labels))
    sizes[by_label] = counts.repeat_interleave(counts)
    epoch, number = divmod(start, len(labels) // batch)
    while True:
        sides = []
        for side in ("a", "b"):
            order = torch.randperm(len(labels), generator=training.stream(seed, "order", side, epoch))
            share = torch.rand(len(labels), dtype=torch.float64, generator=training.stream(seed, "mate", side, epoch))
            others = (sizes[order] - 1).clamp(min=1)
            further = torch.minimum((share * others).long(), others - 1) + 1
            place = (places[order] - firsts[order] + further) % sizes[order]
            sides += [order, by_label[firsts[order] + place]]
        batches = zip(*(rows[: len(labels) // batch * batch].split(batch) for rows in sides), strict=True)
        yield from list(batches)[number:]
        epoch, number = epoch + 1, 0


def edge_crop(images: Tensor, padding: int, generator: torch.Generator | None = None) -> Tensor:
    """Repeat the border of each image `padding` pixels outwards and crop the old size at a random place.

    images: (b, 3, h, w) of any type. The draws are made on the generator's device, the CPU by default.
    """
    b, _, h, w = images.shape
    shifts = torch.randint(0, 2 * padding + 1, (2, b, 1), generator=generator).to(images.device) - padding
    rows = (shifts[0] + torch.arange(h, device=images.device)).clamp(0, h - 1)
    columns = (shifts[1] + torch.arange(w, device=images.device)).clamp(0, w - 1)
    return images[torch.arange(b, device=images.device)[:, None, None], :, rows[:, :, None], columns[:, None]].permute(
        0, 3, 1, 2
    )


def prepare(images: Tensor, labels: Tensor, rows: tuple[Tensor, ...], seed: int, step: int, device="cpu") -> Batch:
    """The batch of a step: mirrored with probability 0.5, shifted by up to 10/256 of the height with repeated borders,
    normalised, and the same with random erasing (probability 0.5, filled with the mean colour).

    images: uint8 (n, 3, h, w). labels: int64 (n,). rows: as `pair_batches` gives them. Every draw follows from `seed`
    and `step` alone.
    """
    a, partners_a, b, partners_b = rows
    chosen = images[torch.cat((a, b, partners_a, partners_b)).to(images.device)].to(device)
    stream = training.stream(seed, "augmentation", step)
    chosen = flip(edge_crop(chosen, round(PADDING * images.shape[2]), stream), generator=stream)[0]
    chosen = normalise(chosen).contiguous(memory_format=torch.channels_last)
    erased = random_erasing(chosen, 0.5, generator=training.stream(seed, "erasing", step))
    erased = erased.contiguous(memory_format=torch.channels_last)
    of_both = tuple(labels[side.to(labels.device)].to(device) for side in (a, b))
    return Batch(chosen.chunk(4), erased.chunk(4), of_both)
