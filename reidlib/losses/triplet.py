"""Triplet loss, lossless triplet loss, and the two ways to take triplets from a batch.

Source: Murthy, Triplet Deep Learning Encoder for Body-Based Person Recognition (2020), sections 3.2.3 and 3.2.4.
Distances are squared Euclidean distances; between embeddings of length one they lie in [0, 4].
"""

from collections.abc import Callable

import torch
from torch import Tensor

PairLoss = Callable[[Tensor, Tensor], Tensor]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distance of every row of a (n, d) to every row of b (m, d): (n, m), never negative.

    Computed as |a|^2 + |b|^2 - 2ab in float32 (float64 stays), also under autocast. Rounding leaves an error of about
    1e-7 for rows of length one; `paired_squared_distances` has none of it.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"squared_distances needs (n, d) and (m, d), got {tuple(a.shape)} and {tuple(b.shape)}")
    with torch.autocast(a.device.type, enabled=False):
        a, b = _at_least_float32(a), _at_least_float32(b)
        squares = a.square().sum(1)[:, None] + b.square().sum(1)[None, :]
        return torch.addmm(squares, a, b.T, alpha=-2).clamp(min=0)


def paired_squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distance of row i of a (..., d) to row i of b (..., d): (...)."""
    if a.shape != b.shape:
        raise ValueError(f"paired_squared_distances needs two equal shapes, got {tuple(a.shape)} and {tuple(b.shape)}")
    return (_at_least_float32(a) - _at_least_float32(b)).square().sum(-1)


def triplet(d_ap: Tensor, d_an: Tensor, margin: float = 0.2) -> Tensor:
    """Triplet loss max(d_ap - d_an + margin, 0) of each triplet (Eq. 3.3).

    d_ap, d_an: squared distances of the anchor to its positive and to its negative, of shapes that broadcast.
    The thesis prints a sum over the batch and no value of the margin; average as you need.

    >>> triplet(torch.tensor([1.2, 1.0]), torch.tensor([2.4, 1.1]))
    tensor([0.0000, 0.1000])
    """
    return (d_ap - d_an + margin).clamp(min=0)


def lossless(d_ap: Tensor, d_an: Tensor, beta: float = 4.0, dim: float = 4.0, eps: float = 1e-8) -> Tensor:
    """Lossless triplet loss of each triplet (Eq. 3.6): -ln(1 - d_ap/beta + eps) - ln(1 - (D - d_an)/beta + eps).

    d_ap, d_an: squared distances between embeddings of length one, of shapes that broadcast. dim is the formula's D,
    the greatest distance there is: 4. With beta = D the second term is -ln(d_an/4 + eps) and the least value is 0; a
    beta far above D makes both terms almost linear; below D, logarithms of negative numbers would appear.
    The argument of each logarithm is held at eps or more: such a term is -ln(eps) and has no gradient below that.
    Raises ValueError unless beta and eps are positive.

    >>> lossless(torch.tensor([1.2, 2.0]), torch.tensor([2.4, 2.0]))
    tensor([0.8675, 1.3863])
    """
    if beta <= 0 or eps <= 0:
        raise ValueError(f"lossless needs beta > 0 and eps > 0, got beta={beta}, eps={eps}")
    d_ap, d_an = _at_least_float32(d_ap), _at_least_float32(d_an)
    attract = (1 - d_ap / beta + eps).clamp(min=eps)
    repel = ((beta - dim + d_an) / beta + eps).clamp(min=eps)
    return -attract.log() - repel.log()


def triplet_statistics(d_ap: Tensor, d_an: Tensor, margin: float = 0.2) -> dict[str, float]:
    """Shares of triplets that are easy, semi-hard and hard, which sum to 1 (section 3.2.3).

    easy: the triplet loss is 0, d_an >= d_ap + margin; hard: the negative is nearer than the positive, d_an < d_ap;
    semi_hard: between the two. Raises ValueError when there is no triplet.
    """
    if d_ap.shape != d_an.shape or d_ap.numel() == 0:
        raise ValueError(
            f"triplet_statistics needs two equal, non-empty shapes, got {tuple(d_ap.shape)} and {tuple(d_an.shape)}"
        )
    count = d_ap.numel()
    hard = int((d_an < d_ap).sum())
    easy = int(((d_an >= d_ap) & (d_ap - d_an + margin <= 0)).sum())
    return {"easy": easy / count, "semi_hard": (count - easy - hard) / count, "hard": hard / count}


def all_triplets(pids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every valid triplet of a batch as three int64 index tensors (t,): anchor, positive, negative.

    pids: integers (n,). Anchor and positive are different images of one identity, the negative is of another. P
    identities of K images have PK(K-1)(PK-K) triplets, 25,088 for 8 and 8 (the thesis prints PK(K-1)(PK-1)).
    """
    positive, negative = pair_masks(pids)
    a, p = positive.nonzero(as_tuple=True)
    pair, n = negative[a].nonzero(as_tuple=True)
    return a[pair], p[pair], n


def batch_all(embeddings: Tensor, pids: Tensor, loss: PairLoss = triplet, average: str = "active") -> Tensor:
    """Mean loss over the valid triplets of a batch: a scalar (section 3.2.3, "batch all").

    embeddings: float (n, d); pids: integers (n,); loss: a function of (d_ap, d_an), such as `triplet` or `lossless`, or
    either with its settings bound by functools.partial. average: "active" divides by the number of triplets whose loss
    is above 0, as the thesis does for the triplet loss (0 when there is none); "valid" by that of all, for `lossless`.
    Raises ValueError when the batch holds no valid triplet, and for an unknown average.
    """
    positive, negative = pair_masks(pids)
    distances = _batch_distances(embeddings, pids)
    anchors, positives = positive.nonzero(as_tuple=True)
    candidates = negative[anchors]
    d_an = distances[anchors][candidates]
    if d_an.numel() == 0:
        raise ValueError(_no_triplet(pids))
    d_ap = distances[anchors, positives][:, None].expand_as(candidates)[candidates]
    return _average(loss(d_ap, d_an), average)


def batch_hard(embeddings: Tensor, pids: Tensor, loss: PairLoss = triplet, average: str = "valid") -> Tensor:
    """Mean loss over the anchors of a batch, each with its farthest positive and nearest negative: a scalar.

    Arguments and errors as for `batch_all`; anchors without a positive or without a negative are left out.
    """
    positive, negative = pair_masks(pids)
    distances = _batch_distances(embeddings, pids)
    anchors = positive.any(1) & negative.any(1)
    if not anchors.any():
        raise ValueError(_no_triplet(pids))
    d_ap = distances.masked_fill(~positive, -torch.inf).amax(1)[anchors]
    d_an = distances.masked_fill(~negative, torch.inf).amin(1)[anchors]
    return _average(loss(d_ap, d_an), average)


def pair_masks(pids: Tensor) -> tuple[Tensor, Tensor]:
    """Two bool masks (n, n): different images of one identity; images of two identities."""
    if pids.ndim != 1:
        raise ValueError(f"pids must be of shape (n,), got {tuple(pids.shape)}")
    same = pids[:, None] == pids[None, :]
    return same & ~torch.eye(len(pids), dtype=torch.bool, device=pids.device), ~same


def _average(losses: Tensor, average: str) -> Tensor:
    if average == "valid":
        return losses.mean()
    if average == "active":
        return losses.sum() / (losses > 0).sum().clamp(min=1)
    raise ValueError(f"unknown average {average!r}: choose 'active' or 'valid'")


def _batch_distances(embeddings: Tensor, pids: Tensor) -> Tensor:
    if len(embeddings) != len(pids):
        raise ValueError(f"{len(embeddings)} embeddings but {len(pids)} pids: give one pid for each embedding")
    return squared_distances(embeddings, embeddings)


def _no_triplet(pids: Tensor) -> str:
    return (
        f"the batch of {len(pids)} images and {len(pids.unique())} identities holds no valid triplet: it needs two "
        "identities and two images of one of them"
    )


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
