"""k-reciprocal Jaccard distances, sparse: how many near neighbours two images share.

Source: Zhong et al. (2017), "Re-ranking Person Re-identification with k-reciprocal Encoding", in the form that CAP and
SpCL cluster with. Memory grows with the pairs of images that share neighbours: no n x n table is made unless
`dense=True` asks for it.
"""

import logging
from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

log = logging.getLogger("reidlib.clustering")

PRODUCTS = 1 << 18  # pairs of values of a common neighbour that are handled at once


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
    weights = _neighbour_weights(features, k1, k2)
    if dense:
        return _dense(weights).to(features.device)
    return _graph(weights, below)


def _nearest(features: Tensor, k: int, block: int = 1536) -> tuple[Tensor, Tensor]:
    """The k nearest of each image, itself first, then by falling cosine, equal cosines by number.

    Result: int64 and float32 (n, k), numbers and cosines. Each product of two images is made once: a block of rows is
    multiplied with the columns from its first row on, and serves both as rows and, turned, as columns.
    """
    n = len(features)
    numbers = torch.zeros(n, k, dtype=torch.int64, device=features.device)
    cosines = torch.full((n, k), -torch.inf, device=features.device)

    def merge(rows: slice, products: Tensor, first: int) -> None:
        # Columns come in rising order, and the sort is stable: what is held already wins against an equal.
        values, places = _largest(products, min(k, products.shape[1]))
        values, order = torch.cat([cosines[rows], values], 1).sort(dim=1, descending=True, stable=True)
        cosines[rows] = values[:, :k]
        numbers[rows] = torch.cat([numbers[rows], places + first], 1).gather(1, order[:, :k])

    for start in range(0, n, block):
        stop = min(start + block, n)
        products = features[start:stop] @ features[start:].T
        products.diagonal().fill_(torch.inf)
        merge(slice(start, stop), products, start)
        for at in range(stop, n, block):
            end = min(at + block, n)
            merge(slice(at, end), products[:, at - start : end - start].T.contiguous(), start)
    cosines[:, 0] = 1
    return numbers, cosines


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """topk along dim 1 that takes equal values by their place, lowest first."""
    if k == values.shape[1]:
        return values.sort(dim=1, descending=True, stable=True)
    top, places = values.topk(k + 1, dim=1)
    tied = (top[:, k] == top[:, k - 1]).nonzero()[:, 0]
    if len(tied):
        places[tied, :k] = values[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    places = places[:, :k].sort(dim=1).values
    top, order = values.gather(1, places).sort(dim=1, descending=True, stable=True)
    return top, places.gather(1, order)


def _table(numbers: np.ndarray, values: np.ndarray | None = None) -> sparse.csr_array:
    """csr (n, n) with values (1 if None) at the columns `numbers` (n, k)."""
    n, k = numbers.shape
    values = np.ones(n * k, np.int32) if values is None else values.ravel()
    result = sparse.csr_array((values, numbers.ravel().astype(np.int32), np.arange(0, n * k + 1, k)), shape=(n, n))
    result.sort_indices()
    return result


def _expanded(numbers: np.ndarray) -> sparse.csr_array:
    """The sets R*(i), step 3 of `jaccard_distances`, as the columns of a csr (n, n)."""
    k1 = numbers.shape[1]
    whole, half = _table(numbers), _table(numbers[:, : int(np.around(k1 / 2)) + 1])
    whole, half = whole.multiply(whole.T).tocsr(), half.multiply(half.T).tocsr()
    common = whole.multiply(whole @ half.T).tocsr()  # at (i, c): how much of R(c, h) lies in R(i, k1)
    sizes = np.diff(half.indptr)
    common.data = (3 * common.data > 2 * sizes[common.indices]).astype(np.int32)
    common.eliminate_zeros()
    result = whole + common @ half
    result.sort_indices()
    return result


def _neighbour_weights(features: Tensor, k1: int, k2: int) -> sparse.csr_array:
    """V, step 4 of `jaccard_distances`: float32 csr (n, n) with sorted columns, rows of sum 1."""
    n = len(features)
    numbers, cosines = (values.cpu().numpy() for values in _nearest(features, k1))
    sets = _expanded(numbers)
    weights = np.exp(2 * _cosines(features, sets, _table(numbers, cosines)) - 2)
    sums = np.add.reduceat(weights, sets.indptr[:-1])
    weights /= np.repeat(sums, np.diff(sets.indptr))
    result = sparse.csr_array((weights, sets.indices, sets.indptr), shape=(n, n))
    k2 = min(k2, k1)
    if k2 > 1:
        result = _table(numbers[:, :k2], np.full((n, k2), 1 / k2, np.float32)) @ result
        result.sort_indices()
    return result


def _cosines(features: Tensor, sets: sparse.csr_array, known: sparse.csr_array, chunk: int = 2048) -> np.ndarray:
    """Cosine of each entry of `sets`: float32, looked up in `known` or else multiplied."""
    n = len(features)
    wanted, held = (
        np.repeat(np.arange(n, dtype=np.int64) * n, np.diff(table.indptr)) + table.indices for table in (sets, known)
    )
    places = np.searchsorted(held, wanted).clip(max=len(held) - 1)
    result = known.data[places]
    missing = np.flatnonzero(held[places] != wanted)
    pairs = torch.from_numpy(wanted[missing]).to(features.device)
    found = [(features[part // n] * features[part % n]).sum(dim=1).cpu() for part in pairs.split(chunk)]
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

    A value V(i, g) meets the values V(j, g) of the later rows j of its column g; sums go to a table (rows of the
    block, images from the first of them on), which, like the list of meetings, is kept at about PRODUCTS entries.
    """
    n = weights.shape[0]
    turned = sparse.csr_array((np.arange(weights.nnz, dtype=np.int32), weights.indices, weights.indptr), weights.shape)
    turned = turned.tocsc()
    later, values = turned.indices, weights.data[turned.data]
    place = np.empty(weights.nnz, np.int64)
    place[turned.data] = np.arange(weights.nnz)
    first = place + 1
    counts = turned.indptr[weights.indices + 1] - first
    meetings = np.concatenate([[0], counts.cumsum()])[weights.indptr]  # up to each row
    start = 0
    while start < n:
        stop = int(np.searchsorted(meetings, meetings[start] + PRODUCTS, side="right")) - 1
        width = n - start
        stop = min(max(stop, start + 1), start + max(1, PRODUCTS // width), n)
        entries = slice(weights.indptr[start], weights.indptr[stop])
        each = counts[entries]
        rows = np.repeat(np.arange(stop - start), np.diff(weights.indptr[start : stop + 1]))
        ends = each.cumsum()
        at = np.repeat(first[entries] - ends + each, each) + np.arange(ends[-1])
        shared = np.minimum(np.repeat(weights.data[entries], each), values[at])
        cells = np.repeat(rows * width - start, each) + later[at]
        sums = np.bincount(cells, shared, minlength=(stop - start) * width)
        cells = np.flatnonzero(sums > least)
        sums = sums[cells]
        distances = np.maximum(1 - sums / (2 - sums), 0).astype(np.float32)
        yield (cells // width + start).astype(np.int32), (cells % width + start).astype(np.int32), distances
        start = stop
