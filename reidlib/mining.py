"""Offline triplets: random ones, and the second iteration's mixture with hard negatives.

Source: Murthy (2020), sections 3.1.4 and 4.2.3. A triplet is a row (anchor, positive, negative) of image numbers, which
index `pids` and `camids`. Every function draws the same amount whatever its settings, so that arms which start with
one seed keep the same anchors and positives, epoch after epoch, for every loss and every share of hard negatives.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

import torch
from torch import Tensor

from reidlib.losses.triplet import squared_distances

POSITIVES = ("other_camera", "any")


@dataclass(frozen=True)
class NegativePool:
    """The images with which each identity was confused: `rows[starts[i] : starts[i + 1]]` for identity `pids[i]`.

    pids (m,) sorted, starts (m + 1,), rows: int64 tensors.
    """

    pids: Tensor
    starts: Tensor
    rows: Tensor

    def of(self, pid: int) -> Tensor:
        """The confused images of one identity (int64, possibly none). Raises KeyError for an unknown identity."""
        found = (self.pids == pid).nonzero()
        if len(found) == 0:
            raise KeyError(f"identity {pid} is not in the pool, which was made from {len(self.pids)} identities")
        return self.rows[self.starts[found[0, 0]] : self.starts[found[0, 0] + 1]]


def random_triplets(
    pids: Tensor, camids: Tensor, generator: torch.Generator, positives: str = "other_camera"
) -> Tensor:
    """One random triplet for each image that can be an anchor, anchors in random order: int64 (n, 3).

    pids, camids: integers (images,). positives: "other_camera" takes an image of the same identity from another camera,
    or any other image of the identity where there is none; "any" always takes any other image. The negative is any
    image of another identity, every image equally likely. An image whose identity has no other image is no anchor (but
    may be a negative). Made on pids' device, drawn on the generator's.
    Raises ValueError when no identity has two images, or there is one identity only.
    """
    pids, camids = _checked(pids, camids)
    if positives not in POSITIVES:
        raise ValueError(f"unknown positives {positives!r}: choose one of {', '.join(POSITIVES)}")
    # Sorted by identity, then camera, an image's identity and its camera within it are stretches [start, stop).
    order = torch.argsort(camids, stable=True)
    order = order[torch.argsort(pids[order], stable=True)]
    pid_start, pid_stop = _stretches(pids[order])
    cam_start, cam_stop = _stretches(_view_numbers(pids[order], camids[order]))
    counts = pid_stop - pid_start
    if counts[0] == len(pids):
        raise ValueError(f"all {len(pids)} images are of one identity: triplets need a second one for the negatives")
    anchors = (counts > 1).nonzero()[:, 0]
    if len(anchors) == 0:
        raise ValueError(f"none of the {len(pids)} identities has two images: an anchor needs another for its positive")
    anchors = anchors[torch.randperm(len(anchors), generator=generator, device=generator.device).to(pids.device)]

    pid_start, pid_stop, counts = pid_start[anchors], pid_stop[anchors], counts[anchors]
    skip_start, skip_stop = anchors, anchors + 1
    if positives == "other_camera":
        elsewhere = cam_stop[anchors] - cam_start[anchors] < counts
        skip_start = torch.where(elsewhere, cam_start[anchors], skip_start)
        skip_stop = torch.where(elsewhere, cam_stop[anchors], skip_stop)
    drawn = _draw_outside(pid_start, pid_stop, skip_start, skip_stop, generator)
    first, last = torch.zeros_like(counts), torch.full_like(counts, len(pids))
    negative = _draw_outside(first, last, pid_start, pid_stop, generator)
    return order[torch.stack((anchors, drawn, negative), dim=1)]


def hard_negative_pool(embeddings: Tensor, pids: Tensor, nn: int = 10, block: int = 1024) -> NegativePool:
    """For each identity, the images of others among the nn nearest of any of its images (section 4.2.3).

    embeddings: float (images, d) of all training images; pids: integers (images,). Nearest by squared distance; an
    image is not its own neighbour; an image that confuses an identity several times is in its pool once. Works in
    blocks of rows, so that memory stays at block x images distances.
    """
    if len(embeddings) != len(pids) or len(pids) < 2 or nn < 1:
        raise ValueError(
            f"hard_negative_pool needs as many embeddings as pids, at least 2, and nn >= 1, "
            f"got {len(embeddings)}, {len(pids)} and nn={nn}"
        )
    pids = pids.to(embeddings.device)
    nn = min(nn, len(pids) - 1)
    known, identity = torch.unique(pids, return_inverse=True)
    pairs = []
    with torch.no_grad():
        for start in range(0, len(pids), block):
            distances = squared_distances(embeddings[start : start + block], embeddings)
            own = torch.arange(len(distances), device=pids.device)
            distances[own, start + own] = torch.inf
            nearest = distances.topk(nn, dim=1, largest=False).indices
            wrong = pids[nearest] != pids[start + own][:, None]
            owner = identity[start + own][:, None].expand_as(nearest)
            pairs.append((owner[wrong] * len(pids) + nearest[wrong]).unique())
    pairs = torch.cat(pairs).unique()
    owner, rows = pairs // len(pids), pairs % len(pids)
    starts = torch.zeros(len(known) + 1, dtype=torch.int64, device=pids.device)
    starts[1:] = torch.bincount(owner, minlength=len(known)).cumsum(0)
    return NegativePool(known, starts, rows)


def triplet_batches(
    pids: Tensor,
    camids: Tensor,
    generator: torch.Generator,
    batch: int = 32,
    hard_share: float = 0.0,
    pool: NegativePool | None = None,
    positives: str = "other_camera",
) -> Iterator[Tensor]:
    """One epoch of triplets in batches of int64 (batch, 3): every anchor once, the last short batch dropped.

    hard_share (0 to 1) of each batch, rounded (0.3 of 32: 10, beside 22 random ones), takes its negatives from `pool`;
    these are the batch's last rows. Arguments and errors otherwise as for `random_triplets`; ValueError also for a
    share outside 0..1, a share above 0 without a pool, or fewer anchors than one batch holds.
    """
    if not 0 <= hard_share <= 1:
        raise ValueError(f"hard_share must be between 0 and 1, got {hard_share}")
    if batch < 1:
        raise ValueError(f"batch must be 1 or more, got {batch}")
    hard = floor(hard_share * batch + 0.5)
    if hard and pool is None:
        raise ValueError(f"hard_share={hard_share} needs a pool: make one with hard_negative_pool(embeddings, pids)")
    triplets = random_triplets(pids, camids, generator, positives)
    batches = len(triplets) // batch
    if batches == 0:
        raise ValueError(f"{len(triplets)} anchors do not fill one batch of {batch} triplets: choose a smaller batch")
    triplets, shares = triplets[: batches * batch], _shares(batches * batch, generator)
    if hard:
        is_hard = torch.arange(batches * batch, device=triplets.device) % batch >= batch - hard
        triplets[is_hard] = _from_pool(triplets[is_hard], torch.as_tensor(pids), pool, shares[is_hard.cpu()])
    return iter(triplets.view(batches, batch, 3).unbind(0))


def _from_pool(triplets: Tensor, pids: Tensor, pool: NegativePool, shares: Tensor) -> Tensor:
    pids = torch.as_tensor(pids).to(triplets.device)
    known, starts, rows = (values.to(triplets.device) for values in (pool.pids, pool.starts, pool.rows))
    wanted = pids[triplets[:, 0]]
    place = torch.searchsorted(known, wanted).clamp(max=len(known) - 1)
    counts = torch.where(known[place] == wanted, starts[place + 1] - starts[place], 0)
    result = triplets.clone()
    found = counts > 0
    drawn = starts[place] + _below(counts, shares)
    result[found, 2] = rows[drawn[found]]
    return result


def _checked(pids: Tensor, camids: Tensor) -> tuple[Tensor, Tensor]:
    pids = torch.as_tensor(pids)
    camids = torch.as_tensor(camids).to(pids.device)
    if pids.ndim != 1 or pids.shape != camids.shape or len(pids) == 0:
        raise ValueError(
            f"pids and camids must be two non-empty lists of one length, "
            f"got shapes {tuple(pids.shape)} and {tuple(camids.shape)}"
        )
    return pids.long(), camids.long()


def _view_numbers(pids: Tensor, camids: Tensor) -> Tensor:
    """Running number of the (identity, camera) of rows that are sorted by both: int64 (n,)."""
    new = torch.zeros_like(pids)
    new[1:] = (pids[1:] != pids[:-1]) | (camids[1:] != camids[:-1])
    return new.cumsum(0)


def _stretches(labels: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of sorted labels, where its label's stretch starts and where it stops: two int64 (n,)."""
    return torch.searchsorted(labels, labels), torch.searchsorted(labels, labels, right=True)


def _shares(count: int, generator: torch.Generator) -> Tensor:
    """count uniform numbers in [0, 1), float64, on the CPU."""
    return torch.rand(count, dtype=torch.float64, generator=generator, device=generator.device).cpu()


def _below(counts: Tensor, shares: Tensor) -> Tensor:
    """The integer in [0, count) at each share of the way (0 for count 0): int64 (n,)."""
    return torch.minimum((shares.to(counts.device) * counts).long(), (counts - 1).clamp(min=0))


def _draw_outside(
    start: Tensor, stop: Tensor, skip_start: Tensor, skip_stop: Tensor, generator: torch.Generator
) -> Tensor:
    """A uniform integer in [start, stop) outside [skip_start, skip_stop), which lies within it: int64 (n,)."""
    skipped = skip_stop - skip_start
    drawn = start + _below(stop - start - skipped, _shares(len(start), generator))
    return torch.where(drawn >= skip_start, drawn + skipped, drawn)
