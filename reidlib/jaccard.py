"""k-reciprocal Jaccard distances, sparse: how many near neighbours two images share.

Source: Zhong et al. (2017), "Re-ranking Person Re-identification with k-reciprocal Encoding", in the form that CAP and
SpCL cluster with. Memory grows with the pairs of images that share neighbours: no n x n table is made unless
`dense=True` asks for it.
"""

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from reidlib.products import product

log = logging.getLogger("reidlib.clustering")

PRODUCTS = 1 << 18  # pairs of values of a common neighbour that are handled at once
CELLS = 1 << 20  # scores that are searched at once: 4 MB, which a processor keeps at hand
DEEP = 16  # scores in a group, of which the search looks at the largest first


def jaccard_distances(
    features: Tensor, k1: int = 20, k2: int = 6, below: float = 1.0, dense: bool = False
) -> sparse.csr_array | Tensor:
    """k-reciprocal Jaccard distances between all images, 0 to 1.

    features: float (n, d), L2-normalised. Result: float32 csr_array (n, n) of the distances < below (0 < below <= 1),
    symmetric, columns in order, with an explicit 0 for each image and itself; or, with dense=True, all distances as a
    float32 tensor (n, n) on features' device, whatever `below` is.

    Definition (Zhong et al. 2017, in the form that CAP and SpCL cluster with):
    1. The k1 neighbours of an image by falling cosine: itself first, equal cosines by number.
    2. R(i, k): the neighbours j among i's first k + 1 that have i among their first k + 1. There are k1 neighbours and
       no more, so "the first k1 + 1" are k1.
    3. R*(i): R(i, k1), and for every c in it also R(c, h) where more than 2/3 of R(c, h) lies in R(i, k1). h is k1 / 2
       rounded, halves to the even number (`numpy.around`).
    4. V(i, j) = softmax over j in R*(i) of -(2 - 2 cosine), 0 elsewhere; then, for k2 > 1, V(i) becomes the mean of V
       over i's first k2 neighbours (at most k1).
    5. The distance of i and j: 1 - s / (2 - s), with s the sum over g of min(V(i, g), V(j, g)), not below 0.
    A k1 above n becomes n (and h follows it), which is logged. Raises ValueError for no features, features not of
    length 1, k1 or k2 below 1, or a `below` outside its range.
    """
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"features must be a table (n, d) with one row an image or more, got {tuple(features.shape)}")
    if k1 < 1 or k2 < 1 or not 0 < below <= 1:
        raise ValueError(f"need k1 and k2 of 1 or more and 0 < below <= 1, got k1={k1}, k2={k2}, below={below}")
    features = features.detach().float()
    off = ~((torch.linalg.vector_norm(features, dim=1) - 1).abs() < 0.01)
    if off.any():
        raise ValueError(
            f"feature {int(off.nonzero()[0, 0])} is not of length 1 ({int(off.sum())} such features): "
            f"L2-normalise them and check for NaN"
        )
    if k1 > len(features):
        log.warning("k1 = %d is more than the %d images: using k1 = %d", k1, len(features), len(features))
        k1 = len(features)
    numbers, cosines = (values.cpu().numpy() for values in _nearest(features, k1))

    def pair(i: Tensor, j: Tensor) -> Tensor:
        return 2 * (features[i] * features[j]).sum(dim=1) - 2

    weights = neighbour_weights(numbers, 2 * cosines - 2, pair, k1, k2, features.device)
    if dense:
        return _dense(weights).to(features.device)
    return _graph(weights, below)


def _nearest(features: Tensor, k: int, block: int = 1536) -> tuple[Tensor, Tensor]:
    """The k nearest of each image, itself first, then by falling cosine, equal cosines by number.

    Result: int64 and float32 (n, k), numbers and cosines.
    """
    blocks = (product(features[at : at + block], features[at:]) for at in range(0, len(features), block))
    numbers, cosines = nearest(blocks, len(features), k)
    cosines[:, 0] = 1
    return numbers, cosines


def nearest(blocks: Iterable[Tensor], n: int, k: int) -> tuple[Tensor, Tensor]:
    """The k images of highest score for each of n images, itself first, equal scores by number.

    blocks: float32, scores (larger is nearer) of the next b images with all from the first of them on, (b, what is
    left): scores are symmetric, so that each is made once, and a block serves both as rows and, turned, as columns.
    Blocks are overwritten. All have one height, but for the last. Result: int64 and float32 (n, k) on the blocks'
    device, numbers and scores, infinity for an image with itself.
    """
    start, numbers = 0, None

    def merge(rows: slice, scores: Tensor, first: int) -> None:
        # Columns come in rising order, and the sort is stable: what is held already wins against an equal.
        values, places = largest(scores, min(k, scores.shape[1]))
        values, order = torch.cat([held[rows], values], 1).sort(dim=1, descending=True, stable=True)
        held[rows] = values[:, :k]
        numbers[rows] = torch.cat([numbers[rows], places + first], 1).gather(1, order[:, :k])

    for scores in blocks:
        if numbers is None:
            numbers = torch.zeros(n, k, dtype=torch.int64, device=scores.device)
            held = torch.full((n, k), -torch.inf, device=scores.device)
        block, stop = len(scores), start + len(scores)
        scores.diagonal().fill_(torch.inf)
        merge(slice(start, stop), scores, start)
        for at in range(stop, n, block):
            end = min(at + block, n)
            part = scores[:, at - start : end - start].clone()  # copied before it is turned, which is quicker
            merge(slice(at, end), part.T.contiguous(), start)
        start = stop
    return numbers, held


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """topk along dim 1 that takes equal values by their place, lowest first."""
    if values.device.type == "cpu" and values.shape[1] >= 2 * k * DEEP:
        parts = [_largest_of_many(part, k) for part in values.split(max(1, CELLS // values.shape[1]))]
        top, places = (torch.cat(part) for part in zip(*parts, strict=True))
        return top, places
    if k == values.shape[1]:
        return values.sort(dim=1, descending=True, stable=True)
    top, places = values.topk(k + 1, dim=1)
    tied = (top[:, k] == top[:, k - 1]).nonzero()[:, 0]
    if len(tied):
        places[tied, :k] = values[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    places = places[:, :k].sort(dim=1).values
    top, order = values.gather(1, places).sort(dim=1, descending=True, stable=True)
    return top, places.gather(1, order)


def _largest_of_many(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`largest` in main memory, for rows (b, n) with n >= k * DEEP.

    The k-th largest of the maxima of disjoint groups bounds the k-th largest value from below, so that only about k
    values a row are left to be sorted.
    """
    groups = values.shape[1] // DEEP
    maxima = values[:, : DEEP * groups].unflatten(1, (DEEP, groups)).amax(dim=1).numpy()
    bounds = np.partition(maxima, groups - k, axis=1)[:, groups - k]
    cells = np.flatnonzero(values.numpy() >= bounds[:, None])
    rows, places = np.divmod(cells, values.shape[1])
    counts = np.bincount(rows, minlength=len(values))
    taken = np.arange(max(k, counts.max())) < counts[:, None]
    low, where = np.full(taken.shape, np.inf, np.float32), np.zeros(taken.shape, np.int64)
    low[taken], where[taken] = -values.numpy()[rows, places], places
    order = np.argsort(low, axis=1, kind="stable")[:, :k]
    return -torch.from_numpy(np.take_along_axis(low, order, 1)), torch.from_numpy(np.take_along_axis(where, order, 1))


def _table(numbers: np.ndarray, values: np.ndarray | None = None) -> sparse.csr_array:
    """csr (n, n) with values (1 if None) at the columns `numbers` (n, k)."""
    n, k = numbers.shape
    values = np.ones(n * k, np.int32) if values is None else values.ravel()
    result = sparse.csr_array((values, numbers.ravel().astype(np.int32), np.arange(0, n * k + 1, k)), shape=(n, n))
    result.sort_indices()
    return result


def _expanded(numbers: np.ndarray, k1: int | None = None) -> sparse.csr_array:
    """The sets R*(i), step 3 of `jaccard_distances`, as the columns of a csr (n, n); k1: the columns of numbers."""
    k1 = numbers.shape[1] if k1 is None else k1
    whole, half = _table(numbers[:, : k1 + 1]), _table(numbers[:, : int(np.around(k1 / 2)) + 1])
    whole, half = whole.multiply(whole.T).tocsr(), half.multiply(half.T).tocsr()
    common = whole.multiply(whole @ half.T).tocsr()  # at (i, c): how much of R(c, h) lies in R(i, k1)
    sizes = np.diff(half.indptr)
    common.data = (3 * common.data > 2 * sizes[common.indices]).astype(np.int32)
    common.eliminate_zeros()
    result = whole + common @ half
    result.sort_indices()
    return result


def neighbour_weights(
    numbers: np.ndarray,
    exponents: np.ndarray,
    pair: Callable[[Tensor, Tensor], Tensor],
    k1: int,
    k2: int,
    device: torch.device | str = "cpu",
) -> sparse.csr_array:
    """V, steps 2 to 4 of `jaccard_distances`: float32 csr (n, n) with sorted columns, rows of sum 1.

    numbers: int64 (n, m), nearest first; R(i, k) takes k + 1 of them (fewer where m is less) and the mean min(k2, m).
    V(i, j) is in proportion to exp(exponent of i and j) on R*(i): exponents, float32 (n, m), are those of the
    neighbours; pair(i, j) gives the others for int64 (p,) image numbers on `device`, some thousand at a time.
    """
    n = len(numbers)
    sets = _expanded(numbers, k1)
    weights = np.exp(_looked_up(sets, _table(numbers, exponents), pair, device))
    sums = np.add.reduceat(weights, sets.indptr[:-1])
    weights /= np.repeat(sums, np.diff(sets.indptr))
    result = sparse.csr_array((weights, sets.indices, sets.indptr), shape=(n, n))
    k2 = min(k2, numbers.shape[1])
    if k2 > 1:
        result = _table(numbers[:, :k2], np.full((n, k2), 1 / k2, np.float32)) @ result
        result.sort_indices()
    return result


def _looked_up(
    sets: sparse.csr_array,
    known: sparse.csr_array,
    pair: Callable[[Tensor, Tensor], Tensor],
    device: torch.device | str,
    chunk: int = 2048,
) -> np.ndarray:
    """The value of each entry of `sets`, float32: looked up in `known` or else made by `pair`."""
    n = sets.shape[0]
    wanted, held = (
        np.repeat(np.arange(n, dtype=np.int64) * n, np.diff(table.indptr)) + table.indices for table in (sets, known)
    )
    places = np.searchsorted(held, wanted).clip(max=len(held) - 1)
    result = known.data[places]
    missing = np.flatnonzero(held[places] != wanted)
    pairs = torch.from_numpy(wanted[missing]).to(device)
    found = [pair(part // n, part % n).cpu() for part in pairs.split(chunk)]
    result[missing] = torch.cat(found).numpy() if len(missing) else 0
    return result


# ---------------------------------------------------------------- distances


def _graph(weights: sparse.csr_array, below: float) -> sparse.csr_array:
    """Distances < below as a symmetric float32 csr (n, n) with an explicit 0 on the diagonal."""
    n = weights.shape[0]
    parts = []
    for rows, columns, distances in _pairs(weights, least=0.999 * (2 - 2 * below) / (2 - below)):
        kept = distances < np.float32(below)
        parts.append((rows[kept], columns[kept], distances[kept]))
    rows, columns, distances = (np.concatenate(part) for part in zip(*parts, strict=True))
    counts = np.bincount(rows, minlength=n) + np.bincount(columns, minlength=n) + 1
    own = np.arange(n, dtype=np.int32)
    all_rows = np.concatenate([columns, own, rows])
    order = np.argsort(all_rows, kind="stable")
    all_columns = np.concatenate([rows, own, columns])[order]
    data = np.concatenate([distances, np.zeros(n, np.float32), distances])[order]
    return sparse.csr_array((data, all_columns, np.concatenate([[0], counts.cumsum()])), shape=(n, n))


def _dense(weights: sparse.csr_array) -> Tensor:
    n = weights.shape[0]
    result = np.ones((n, n), np.float32)
    for rows, columns, distances in _pairs(weights):
        result[rows, columns] = result[columns, rows] = distances
    np.fill_diagonal(result, 0)
    return torch.from_numpy(result)


def _pairs(weights: sparse.csr_array, least: float = 0.0) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All pairs i < j with s > least (0: that share a neighbour), in order: blocks of int32 i, j and float32 distances.

    A value V(i, g) meets the values V(j, g) of the later rows j of its column g.
    """
    turned = sparse.csr_array((np.arange(weights.nnz, dtype=np.int32), weights.indices, weights.indptr), weights.shape)
    turned = turned.tocsc()
    place = np.empty(weights.nnz, np.int64)
    place[turned.data] = np.arange(weights.nnz)
    first = place + 1
    counts = turned.indptr[weights.indices + 1] - first
    yield from _met(weights, first, counts, turned.indices, weights.data[turned.data], weights.shape[0], least, True)


def cross_pairs(
    rows: sparse.csr_array, columns: sparse.csc_array
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All pairs of some images with some others that share a neighbour: their numbers and Jaccard distances (step 5).

    rows: V of a images, csr (a, n); columns: V of b images, csc (b, n), both float32 with sorted indices. Yields blocks
    of int32 i (rising) and j and float32 distances; the distance of a pair that does not come is 1.
    """
    first = columns.indptr[rows.indices].astype(np.int64)
    counts = columns.indptr[rows.indices + 1] - first
    yield from _met(rows, first, counts, columns.indices, columns.data, columns.shape[0])


def _met(
    weights: sparse.csr_array,
    first: np.ndarray,
    counts: np.ndarray,
    holders: np.ndarray,
    values: np.ndarray,
    columns: int,
    least: float = 0.0,
    later: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs of a row of `weights` and one of `columns` images with s > least: blocks of int32 i, j, float32 distances.

    Entry e of `weights` meets the `counts[e]` values from `first[e]` on, which belong to the images `holders`; `later`
    says that these come after the entry's row. Sums go to a table (rows of the block, images, from the block's first
    on if `later`), which, like the list of meetings, is kept at about PRODUCTS entries.
    """
    n = weights.shape[0]
    meetings = np.concatenate([[0], counts.cumsum()])[weights.indptr]  # up to each row
    start = 0
    while start < n:
        stop = int(np.searchsorted(meetings, meetings[start] + PRODUCTS, side="right")) - 1
        origin = start if later else 0
        width = columns - origin
        stop = min(max(stop, start + 1), start + max(1, PRODUCTS // width), n)
        entries = slice(weights.indptr[start], weights.indptr[stop])
        each = counts[entries]
        rows = np.repeat(np.arange(stop - start), np.diff(weights.indptr[start : stop + 1]))
        ends = each.cumsum()
        at = np.repeat(first[entries] - ends + each, each) + np.arange(ends[-1])
        shared = np.minimum(np.repeat(weights.data[entries], each), values[at])
        cells = np.repeat(rows * width - origin, each) + holders[at]
        sums = np.bincount(cells, shared, minlength=(stop - start) * width)
        cells = np.flatnonzero(sums > least)
        sums = sums[cells]
        distances = np.maximum(1 - sums / (2 - sums), 0).astype(np.float32)
        yield (cells // width + start).astype(np.int32), (cells % width + origin).astype(np.int32), distances
        start = stop
