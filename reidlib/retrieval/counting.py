"""Ranks by counting: how many gallery images come before a positive, without sorting the gallery.

The rank of a positive at distance t in gallery row j is one more than the number of rows that are nearer, plus the
number of rows equally far with an index below j: the place that a stable sort would give it, ties included. One
comparison of the whole row with t and one count answer that. Positives are taken from the farthest inwards; once few
rows remain before one of them, only these few survive, and the nearer positives are looked up among them.

Everything here works on one query's row of distances as a NumPy array; rows to be left out are set to infinity
beforehand.
"""

from __future__ import annotations

import numpy as np

FEW = 16  # survivors are at most a 16th of the gallery
WIDTH = 16  # positives compared at a time
GROUPS = 512  # groups of gallery rows whose minima bound the k-th smallest distance


def scratch_space(gallery: int) -> np.ndarray:
    """Scratch that :func:`ranks` and :func:`nearest` overwrite: (16, g) bool."""
    return np.empty((WIDTH, gallery), bool)


def ranks(row: np.ndarray, positives: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """1-based ranks of the gallery rows `positives` (p,), ascending and not empty, in the distances `row` (g,).

    Returns int64 (p,) in the order of `positives`, whose distances must be finite. Fastest where the gallery is
    ordered by person.
    """
    distance = row[positives]
    rank = np.empty(len(positives), np.int64)
    waiting = distance.argsort(kind="stable")[::-1]
    before = np.less_equal(row, distance[waiting[0]], scratch[0])
    count, width = np.count_nonzero(before), 4
    while len(waiting):
        if count * FEW <= len(row):
            rank[waiting] = _among(row, positives[waiting], distance[waiting], before.nonzero()[0])
            break
        part, waiting = waiting[:width], waiting[width:]
        lines = scratch[: len(part)]
        _compare(row, positives[part], distance[part], positives[0], positives[-1] + 1, lines)
        rank[part] = [np.count_nonzero(line) + 1 for line in lines]
        before, count, width = lines[-1], rank[part[-1]], WIDTH
    return rank


def _compare(
    row: np.ndarray, positives: np.ndarray, distance: np.ndarray, low: int, high: int, before: np.ndarray
) -> None:
    """before[p, i]: does gallery row i come before positive p? All positives lie in rows low..high-1."""
    t = distance[:, None]
    np.less_equal(row[:low], t, before[:, :low])
    np.less(row[high:], t, before[:, high:])
    middle = row[low:high]
    earlier = np.arange(low, high) < positives[:, None]
    before[:, low:high] = (middle < t) | ((middle == t) & earlier)


def _among(row: np.ndarray, positives: np.ndarray, distance: np.ndarray, survivors: np.ndarray) -> np.ndarray:
    """Ranks of positives whose predecessors are all among the few `survivors` (gallery rows)."""
    values = row[survivors]
    values.sort()
    first, last = values.searchsorted(distance), values.searchsorted(distance, side="right")
    if np.maximum.reduce(last - first) > 1:
        for p in np.flatnonzero(last - first > 1):
            first[p] += np.count_nonzero(row[: positives[p]] == distance[p])
    return first + 1


def nearest(row: np.ndarray, k: int, scratch: np.ndarray) -> np.ndarray:
    """Gallery rows of the k smallest finite distances in `row` (g,), nearest first, ties by index; fewer if need be.

    The k-th smallest of the minima of disjoint groups of rows bounds the k-th smallest distance from above, so that
    only about k rows need sorting.
    """
    deep = len(row) // GROUPS
    bound = np.inf
    if deep and k <= GROUPS // 2:
        minima = row[: deep * GROUPS].reshape(deep, GROUPS).min(axis=0)
        bound = np.partition(minima, k - 1)[k - 1]
    compare = np.less if np.isinf(bound) else np.less_equal
    candidates = compare(row, bound, scratch[0]).nonzero()[0]
    return candidates[np.argsort(row[candidates], kind="stable")[:k]]
