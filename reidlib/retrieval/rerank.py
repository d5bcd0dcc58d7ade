"""k-reciprocal re-ranking, sparse: distances of queries to gallery images mixed with how many neighbours they share.

Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding" (2017), as Ainam et al., "Sparse
Label Smoothing for Semi-supervised Person Re-Identification" (2018) apply it to their features with k1 = 20, k2 = 6 and
lambda = 0.3. Sets of neighbours and sums of minima are those of `reidlib.jaccard`; no (q + g) x (q + g) table is made.
"""

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from reidlib.jaccard import cross_pairs, largest, nearest, neighbour_weights
from reidlib.products import product
from reidlib.retrieval.blocks import BLOCK_BYTES, check_features, distance_blocks, squared_norms

log = logging.getLogger("reidlib.retrieval")

ROWS = 1536  # images whose products with the others are made at once
ENTRIES = 1 << 20  # distances of a given table that are searched at once: 4 MB, which a processor keeps at hand
ROUNDING = 0.01  # share of the largest distance by which given ones may miss 0 (an image with itself) or lie below


def rerank(query: Tensor, gallery: Tensor, k1: int = 20, k2: int = 6, weight: float = 0.3) -> Tensor:
    """Re-ranked distances of features: float32 (q, g) on their device, from 0 to about 1, smaller is nearer.

    query (q, d), gallery (g, d): float features of any length; computed in float32. weight: lambda, 0 to 1, the share
    of the plain distance: 1 keeps its order, 0 is pure Jaccard.

    Definition (Zhong et al. 2017), over all n = q + g images, queries first:
    1. d(i, j): squared Euclidean distance over the largest of row i, so that d is not symmetric; 0 for an image with
       itself, and everywhere in a row of zeros.
    2. Neighbours of i: itself, then by rising distance, ties by number. R(i, k): those j among i's first k + 1 that
       have i among their first k + 1.
    3. R*(i): R(i, k1), and for every c in it also R(c, h) where more than 2/3 of R(c, h) lies in R(i, k1). h is k1 / 2
       rounded, halves to the even number (`numpy.around`).
    4. V(i, j): exp(-d(i, j)) on R*(i), 0 elsewhere, over its sum; then, for k2 > 1, V(i) becomes the mean of V over
       i's first k2 neighbours.
    5. Jaccard distance of i and j: 1 - s / (2 - s), with s the sum over all images of min(V(i, .), V(j, .)).
    6. Result: (1 - weight) * Jaccard distance + weight * d(query, gallery image).
    A k1 above n - 1 becomes n - 1 and a k2 above n becomes n, which is logged. A query's result depends on the other
    queries, which are neighbours too. Raises ValueError for shapes that do not fit, no images, NaN, k1 or k2 below 1,
    or a weight outside its range.
    """
    blocks = rerank_blocks(query, gallery, k1, k2, weight)
    return _joined(blocks, torch.empty(len(query), len(gallery), device=query.device))


def rerank_distances(
    query_query: Tensor,
    query_gallery: Tensor,
    gallery_gallery: Tensor,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
) -> Tensor:
    """`rerank` of given distances, squared Euclidean or any other symmetric ones: float32 (q, g) on their device.

    query_query (q, q), query_gallery (q, g), gallery_gallery (g, g): float tables on one device, read as float32 and
    left as they are. Negative values within rounding count as 0, and so does the distance of an image to itself.
    Raises ValueError as `rerank` does, and for tables that look like similarities: clearly negative values, or images
    far from themselves.
    """
    _check_parameters(k1, k2, weight)
    tables = {"query_query": query_query, "query_gallery": query_gallery, "gallery_gallery": gallery_gallery}
    q, g = _check_tables(tables)
    tables = {name: table.detach() for name, table in tables.items()}
    query_query, query_gallery, gallery_gallery = tables.values()
    k1, k2 = _cut(q + g, k1, k2)
    distances, numbers, farthest = _search_tables(tables, max(k1 + 1, k2))

    def pair(i: Tensor, j: Tensor) -> Tensor:
        low, high = torch.minimum(i, j), torch.maximum(i, j)
        within, own = high < q, low >= q
        result = query_gallery[low.clamp(max=q - 1), (high - q).clamp(min=0)]
        result = torch.where(within, query_query[i.clamp(max=q - 1), j.clamp(max=q - 1)], result)
        return torch.where(own, gallery_gallery[(i - q).clamp(min=0), (j - q).clamp(min=0)], result)

    weights = _encoded(distances, numbers, farthest, pair, k1, k2)
    block = max(1, BLOCK_BYTES // (g * 4))
    result = _space(query_gallery).copy_(query_gallery).clamp_(min=0)
    plain = ((first, result[first : first + block]) for first in range(0, q, block))
    for _ in _mixed(weights, weights[q:], farthest[:q], plain, weight):
        pass
    return result


def rerank_blocks(
    query: Tensor, gallery: Tensor, k1: int = 20, k2: int = 6, weight: float = 0.3, block: int | None = None
) -> Iterator[tuple[int, Tensor]]:
    """`rerank`, `block` queries at a time: yields (first, distances), distances float32 (b, g) from query `first` on.

    Memory grows with the images' kept neighbours, a copy of the features, and the block, by default 16 MiB or 64
    queries. What is raised for wrong arguments is raised by the call, before the first block is asked for.
    """
    check_features(query, gallery)
    _check_parameters(k1, k2, weight)
    if block is not None and block < 1:
        raise ValueError(f"block={block}: a block holds at least one query")
    for side, features in (("query", query), ("gallery", gallery)):
        squared_norms(features, torch.float32, side)
    q, g = len(query), len(gallery)
    return _feature_blocks((query, gallery), q, q, *_cut(q + g, k1, k2), weight, block)


def rerank_within(features: Tensor, k1: int = 20, k2: int = 6, weight: float = 0.3) -> Tensor:
    """`rerank` of one set (n, d) in which every image is query and gallery, as in CUHK03: float32 (n, n).

    Each image counts once: as query and gallery of `rerank` it would be its own nearest neighbour twice over.
    Raises ValueError as `rerank` does.
    """
    check_features(features, features)
    _check_parameters(k1, k2, weight)
    squared_norms(features, torch.float32, "gallery")
    n = len(features)
    blocks = _feature_blocks((features,), n, 0, *_cut(n, k1, k2), weight, None)
    return _joined(blocks, torch.empty(n, n, device=features.device))


@torch.no_grad()
def _feature_blocks(
    parts: tuple[Tensor, ...], q: int, at: int, k1: int, k2: int, weight: float, block: int | None
) -> Iterator[tuple[int, Tensor]]:
    """Of all images in `parts` together the first q are queries, those from `at` on the gallery."""
    features = torch.cat([part.detach().float() for part in parts])
    farthest = torch.zeros(len(features), device=features.device)
    numbers, scores = nearest(_scores(features, farthest), len(features), max(k1 + 1, k2))
    scores[:, 0] = 0

    def pair(i: Tensor, j: Tensor) -> Tensor:
        return (features[i] - features[j]).square().sum(dim=1)

    weights = _encoded(-scores, numbers, farthest, pair, k1, k2)
    plain = distance_blocks(features[:q], features[at:], block=block)
    yield from _mixed(weights, weights[at:], farthest[:q], plain, weight)


def _space(like: Tensor) -> Tensor:
    """Uninitialised float32 of a table's shape; in main memory NumPy's, which asks for huge pages: quicker to fill."""
    if like.device.type == "cpu":
        return torch.from_numpy(np.empty(like.shape, np.float32))
    return torch.empty(like.shape, device=like.device)


def _joined(blocks: Iterable[tuple[int, Tensor]], result: Tensor) -> Tensor:
    for first, distances in blocks:
        result[first : first + len(distances)] = distances
    return result


# ---------------------------------------------------------------- checks


def _check_parameters(k1: int, k2: int, weight: float) -> None:
    if k1 < 1 or k2 < 1 or not 0 <= weight <= 1:
        raise ValueError(f"need k1 and k2 of 1 or more and 0 <= weight <= 1, got k1={k1}, k2={k2}, weight={weight}")


def _cut(n: int, k1: int, k2: int) -> tuple[int, int]:
    """k1 and k2 that n images can give."""
    if k1 > n - 1:
        log.warning("k1 = %d is more than the %d other images: using k1 = %d", k1, n - 1, n - 1)
    if k2 > n:
        log.warning("k2 = %d is more than the %d images: using k2 = %d", k2, n, n)
    return min(k1, n - 1), min(k2, n)


def _check_tables(tables: dict[str, Tensor]) -> tuple[int, int]:
    """The number of queries and of gallery images."""
    q, g = tables["query_gallery"].shape if tables["query_gallery"].ndim == 2 else (0, 0)
    for (name, table), shape in zip(tables.items(), ((q, q), (q, g), (g, g)), strict=True):
        if table.shape != shape or not table.is_floating_point() or not table.numel():
            shapes = ", ".join(f"{name} {tuple(table.shape)}" for name, table in tables.items())
            raise ValueError(
                f"{name} of type {table.dtype} does not fit: got {shapes}; pass float tables (q, q), (q, g) and (g, g) "
                "of one query and one gallery image or more"
            )
        if table.device != tables["query_gallery"].device:
            raise ValueError(
                f"{name} is on {table.device} and query_gallery on {tables['query_gallery'].device}; move all to one "
                "device"
            )
    return q, g


def _check_distances(tables: dict[str, Tensor], own: Tensor, lowest: Tensor, farthest: Tensor) -> None:
    """own, lowest, farthest (n,): distance of an image to itself, and its smallest and largest to all."""
    q = len(tables["query_query"])
    if not torch.isfinite(own + lowest + farthest).all():
        for name, table in tables.items():
            for row, values in enumerate(table):
                bad = (~torch.isfinite(values)).nonzero()[:, 0]
                if len(bad):
                    raise ValueError(
                        f"{name} holds {float(values[bad[0]])} in row {row}, column {int(bad[0])}; distances must be "
                        "finite, look at the features"
                    )
    slack = ROUNDING * farthest.max() + 1e-6
    for values, what in ((own.abs(), "to itself"), (-lowest, "to another")):
        if (values > slack).any():
            i = int((values > slack).nonzero()[0, 0])
            side, row = ("query", i) if i < q else ("gallery", i - q)
            raise ValueError(
                f"{side} image {row} has a distance {what} of {float((own if what == 'to itself' else lowest)[i]):.4g} "
                f"(the largest distance of all is {float(farthest.max()):.4g}); pass distances, not similarities (for "
                "unit-length features 2 - 2 * cosine)"
            )


# ---------------------------------------------------------------- steps


def _scores(features: Tensor, farthest: Tensor) -> Iterator[Tensor]:
    """Negative squared distances for `nearest`; each image's largest distance goes to `farthest` (n,)."""
    norms = features.square().sum(dim=1)
    for start in range(0, len(features), ROWS):
        rows = slice(start, min(start + ROWS, len(features)))
        distances = product(features[rows], features[start:], norms[start:], scale=-2)
        distances.add_(norms[rows, None]).clamp_(min=0).diagonal().zero_()
        farthest[rows] = torch.maximum(farthest[rows], distances.amax(dim=1))
        farthest[start:] = torch.maximum(farthest[start:], distances.amax(dim=0))
        yield distances.neg_()
        del distances  # before the next block is made


def _search_tables(tables: dict[str, Tensor], k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Distances (n, k) and int64 numbers (n, k) of the nearest, themselves first, and largest distances (n,)."""
    query_query, query_gallery, gallery_gallery = tables.values()
    q, g = query_gallery.shape
    distances = torch.empty(q + g, k, device=query_gallery.device)
    numbers = torch.empty(q + g, k, dtype=torch.int64, device=query_gallery.device)
    own, highest, lowest = torch.empty(3, q + g, device=query_gallery.device)  # scores
    step = min(max(1, ENTRIES // (q + g)), q + g)
    space = torch.empty(step, q + g, device=query_gallery.device)
    starts = [*range(0, q, step), *range(q, q + g, step)]
    for start, stop in zip(starts, [*starts[1:], q + g], strict=True):
        scores = space[: stop - start]
        if start < q:
            torch.neg(query_query[start:stop].float(), out=scores[:, :q])
            torch.neg(query_gallery[start:stop].float(), out=scores[:, q:])
        else:
            # Columns are copied before they are turned, which is quicker than jumping between distant rows.
            scores[:, :q] = query_gallery[:, start - q : stop - q].neg().T
            torch.neg(gallery_gallery[start - q : stop - q].float(), out=scores[:, q:])
        itself = scores.diagonal(start)
        own[start:stop] = itself
        itself.zero_()
        highest[start:stop], lowest[start:stop] = scores.amax(dim=1), scores.amin(dim=1)
        if (highest[start:stop] > 0).any():  # distances below 0
            scores.clamp_(max=0)
        itself.fill_(torch.inf)
        values, numbers[start:stop] = largest(scores, k)
        distances[start:stop] = -values
    farthest = -lowest
    _check_distances(tables, -own, -highest, farthest)
    distances[:, 0] = 0
    return distances, numbers, farthest


def _encoded(
    distances: Tensor, numbers: Tensor, farthest: Tensor, pair: Callable[[Tensor, Tensor], Tensor], k1: int, k2: int
) -> sparse.csr_array:
    """V of all images. distances, numbers (n, k): of the nearest; pair(i, j): distances of others; farthest (n,)."""
    farthest.masked_fill_(farthest == 0, 1)

    def exponent(i: Tensor, j: Tensor) -> Tensor:
        return -(pair(i, j).float().clamp(min=0) / farthest[i])

    exponents = -(distances / farthest[:, None])
    return neighbour_weights(numbers.cpu().numpy(), exponents.cpu().numpy(), exponent, k1, k2, numbers.device)


def _mixed(
    weights: sparse.csr_array,
    offered: sparse.csr_array,
    farthest: Tensor,
    blocks: Iterable[tuple[int, Tensor]],
    weight: float,
) -> Iterator[tuple[int, Tensor]]:
    """Step 6: (first, result (b, g)) for each (first, distances (b, g)) of queries to the gallery, made in place.

    distances: float32, none below 0. weights: V, queries first; offered: V of the gallery (g, n); farthest (q,).
    """
    gallery = offered.tocsc()
    for first, result in blocks:
        rows = slice(first, first + len(result))
        result.mul_(weight).div_(farthest[rows, None]).add_(1 - weight)
        cells = result.view(-1)
        for i, j, jaccard in cross_pairs(weights[rows], gallery):
            met = torch.from_numpy(i.astype("int64") * len(result[0]) + j).to(cells.device)
            cells.index_add_(0, met, (1 - weight) * (1 - torch.from_numpy(jaccard).to(cells.device)), alpha=-1)
        yield first, result
