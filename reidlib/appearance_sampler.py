"""Batches of persons in several outfits, and how many images each outfit gives."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler


class AppearanceSampler(Sampler[list[int]]):
    """Batches of random persons, of each a few random outfits that share a fixed number of images.

    Random appearance sampling gives each outfit the same number of images, here with proportional=False; by default
    the images of a person are split over the outfits drawn in proportion to how many images they have, see
    `split_budget`. A person in one outfit gives all images from it, one with fewer outfits than `appearances` has all
    of them in the batch.
    Source: Xu et al., Identity-aware Feature Decoupling Learning for Clothing-change Person Re-identification (2025),
    section II-B, which describes the proportional version in words; the equal one is of Liu et al., Long-term
    Person Re-identification with Dramatic Appearance Change (2022). Neither 8 persons nor 2 outfits and 8 images of
    each are stated: they are this library's choice.

    pids, clothes: integers (n,), one an image; images with a negative pid are never drawn, and clothes are numbered
    over the data set or for each person, a negative number being an outfit as any other. persons: identities in a
    batch, all different; appearances: most outfits of each; images: images of each, which are persons * images in a
    batch. A batch lists one identity after the other, outfit by outfit in the order of their numbers. An outfit with
    enough images gives different ones, a smaller one gives each of its images once and fills up with replacement.
    batches_per_epoch: None for drawable images // (persons * images), at least 1. The generator (on the CPU) is
    advanced as batches are drawn: its state decides all that follows.
    Raises ValueError when pids and clothes differ in shape, when there are fewer identities than `persons`, when a
    number is below 1, and when images is below appearances.
    """

    def __init__(
        self,
        pids: Tensor,
        clothes: Tensor,
        persons: int = 8,
        appearances: int = 2,
        images: int = 8,
        proportional: bool = True,
        batches_per_epoch: int | None = None,
        generator: torch.Generator | None = None,
    ):
        numbers = {"persons": persons, "appearances": appearances, "images": images}
        for name, number in {**numbers, "batches_per_epoch": batches_per_epoch}.items():
            if number is not None and number < 1:
                raise ValueError(f"AppearanceSampler needs {name} of 1 or more, got {name}={number}")
        if images < appearances:
            raise ValueError(
                f"images={images} of a person cannot show appearances={appearances} outfits: "
                "raise images or lower appearances"
            )
        pids, clothes = torch.as_tensor(pids).cpu(), torch.as_tensor(clothes).cpu()
        if pids.ndim != 1 or pids.shape != clothes.shape:
            raise ValueError(
                f"AppearanceSampler needs pids (n,) and clothes (n,), got {tuple(pids.shape)} and "
                f"{tuple(clothes.shape)}: give one outfit for each image"
            )
        self.persons, self.appearances, self.images = persons, appearances, images
        self.proportional, self.generator = proportional, generator
        self._index(pids, clothes)
        if len(self.outfits) < persons:
            raise ValueError(
                f"a batch needs persons={persons} identities but there are {len(self.outfits)}: choose fewer persons"
            )
        self.batches_per_epoch = batches_per_epoch or max(1, len(self.rows) // (persons * images))

    def _index(self, pids: Tensor, clothes: Tensor) -> None:
        """Sort the images by identity and outfit; counts and starts are those of outfits, outfits those of persons."""
        rows = (pids >= 0).nonzero()[:, 0]
        identities = torch.unique(pids[rows], return_inverse=True)[1]
        numbers = torch.unique(clothes[rows], return_inverse=True)[1]
        pairs = identities * len(rows) + numbers
        self.rows = rows[torch.argsort(pairs, stable=True)]
        found, self.counts = torch.unique(pairs, return_counts=True)
        self.starts = self.counts.cumsum(0) - self.counts
        self.outfits = torch.bincount(found // max(len(rows), 1))
        self.first_outfits = self.outfits.cumsum(0) - self.outfits

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.batches_per_epoch):
            identities = torch.randperm(len(self.outfits), generator=self.generator)[: self.persons]
            outfits, sizes = self._outfits(identities)
            yield self._images(outfits, self._budgets(outfits, sizes)).tolist()

    def _outfits(self, identities: Tensor) -> tuple[Tensor, list[int]]:
        """Random outfits of all identities, one identity after the other, and how many there are of each."""
        available = self.outfits[identities][:, None]
        places = torch.arange(int(available.max()))
        keys = torch.rand(self.persons, len(places), dtype=torch.float64, generator=self.generator)
        shuffled = keys.masked_fill(places >= available, torch.inf).argsort(dim=1, stable=True)
        chosen = shuffled[:, : self.appearances].sort(dim=1).values
        drawn = chosen < available
        return (self.first_outfits[identities][:, None] + chosen)[drawn], drawn.sum(1).tolist()

    def _budgets(self, outfits: Tensor, sizes: list[int]) -> Tensor:
        """How many images each outfit gives: int64, as many as there are outfits."""
        budgets = []
        for counts in self.counts[outfits].split(sizes):
            budgets += split_budget(counts.tolist(), self.images, self.proportional)
        return torch.tensor(budgets)

    def _images(self, outfits: Tensor, budgets: Tensor) -> Tensor:
        """budgets[i] images of outfits[i], one outfit after the other: int64 (persons * images,)."""
        counts, most = self.counts[outfits][:, None], int(budgets.max())
        places = torch.arange(max(int(counts.max()), most))
        keys = torch.rand(len(outfits), len(places), dtype=torch.float64, generator=self.generator)
        shuffled = keys.masked_fill(places >= counts, torch.inf).argsort(dim=1, stable=True)[:, :most]
        again = (torch.rand(len(outfits), most, dtype=torch.float64, generator=self.generator) * counts).long()
        chosen = self.starts[outfits][:, None] + torch.where(shuffled < counts, shuffled, again)
        return self.rows[chosen[torch.arange(most) < budgets[:, None]]]


def split_budget(counts: Sequence[int], budget: int, proportional: bool = True) -> list[int]:
    """Split a budget of images over outfits of so many images each: at least 1 for each, `budget` in all.

    By the largest remainder: each outfit gets its share rounded down, and what is left goes, one image each, to those
    that lost most in rounding; ties go to the outfit with more images, then to the earlier one. An outfit that ends
    with none gets 1, and the others split the rest anew. The share is in proportion to the counts, or equal with
    proportional=False. A part can exceed its count.
    Raises ValueError for no outfit, for a count below 1, and for a budget below the number of outfits.

    >>> split_budget([16, 8], 8)
    [5, 3]
    >>> split_budget([1, 100], 8)
    [1, 7]
    """
    if not counts or min(counts) < 1:
        raise ValueError(f"split_budget needs one outfit or more with one image or more each, got counts {counts}")
    if budget < len(counts):
        raise ValueError(f"a budget of {budget} leaves an outfit of {len(counts)} without an image: raise it")
    weights = counts if proportional else [1] * len(counts)
    parts = [1] * len(counts)
    left = range(len(counts))
    while True:
        rest = budget - (len(counts) - len(left))
        total = sum(weights[i] for i in left)
        shares = {i: divmod(weights[i] * rest, total) for i in left}
        by_remainder = sorted(left, key=lambda i: (-shares[i][1], -counts[i]))
        more = by_remainder[: rest - sum(whole for whole, _ in shares.values())]
        split = {i: shares[i][0] + (i in more) for i in left}
        if all(split.values()):
            break
        left = [i for i in left if split[i]]
    for i, part in split.items():
        parts[i] = part
    return parts
