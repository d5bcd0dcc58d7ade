"""Samplers: which images make a batch."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler


class PKSampler(Sampler[list[int]]):
    """Batches of p random identities with k random images each, for mining within the batch.

    Source: Murthy (2020), section 3.2.3 "Online triplet mining" (its run: 8 and 8).

    labels: integers (n,), one an image; images with a negative label are never drawn. A batch lists one identity after
    the other. Identities differ within a batch; an identity with k images or more gives k different ones, a shorter one
    gives each of its images once and fills up with replacement. batches_per_epoch: None for images // (p * k), at
    least 1. The generator (on the CPU) is advanced as batches are drawn: its state decides all that follows.
    Raises ValueError when there are fewer than p identities, or p, k or batches_per_epoch is below 1.
    """

    def __init__(
        self,
        labels: Tensor,
        p: int = 8,
        k: int = 8,
        batches_per_epoch: int | None = None,
        generator: torch.Generator | None = None,
    ):
        if p < 1 or k < 1 or (batches_per_epoch is not None and batches_per_epoch < 1):
            raise ValueError(
                f"PKSampler needs p, k and batches_per_epoch of 1 or more, "
                f"got p={p}, k={k}, batches_per_epoch={batches_per_epoch}"
            )
        labels = torch.as_tensor(labels).cpu()
        rows = (labels >= 0).nonzero()[:, 0]
        self.rows = rows[torch.argsort(labels[rows], stable=True)]
        self.counts = torch.unique(labels[rows], return_counts=True)[1]
        self.starts = self.counts.cumsum(0) - self.counts
        if len(self.counts) < p:
            raise ValueError(f"a batch needs p={p} identities but there are {len(self.counts)}: choose a smaller p")
        self.p, self.k, self.generator = p, k, generator
        self.batches_per_epoch = batches_per_epoch or max(1, len(rows) // (p * k))

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.batches_per_epoch):
            identities = torch.randperm(len(self.counts), generator=self.generator)[: self.p]
            yield self._images(identities).flatten().tolist()

    def _images(self, identities: Tensor) -> Tensor:
        """k images of each identity: int64 (p, k)."""
        counts = self.counts[identities][:, None]
        places = torch.arange(max(int(counts.max()), self.k))
        keys = torch.rand(self.p, len(places), dtype=torch.float64, generator=self.generator)
        shuffled = keys.masked_fill(places >= counts, torch.inf).argsort(dim=1, stable=True)[:, : self.k]
        share = torch.rand(self.p, self.k, dtype=torch.float64, generator=self.generator)
        again = (share * counts).long()
        chosen = torch.where(shuffled < counts, shuffled, again)
        return self.rows[self.starts[identities][:, None] + chosen]
