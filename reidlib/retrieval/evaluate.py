"""Score a retrieval: mAP in two definitions, CMC and the best matches of each query, under a protocol.

Ranks are counted, not sorted (see `reidlib.retrieval.counting`), in blocks of queries, so that memory stays far below
the size of the distance matrix, and a matrix that is already there is not copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import torch

from reidlib.retrieval import counting
from reidlib.retrieval.blocks import BLOCK_BYTES, check_features, distance_blocks
from reidlib.retrieval.protocols import CrossCamera, Match, Protocol
from reidlib.retrieval.scores import AP_DEFINITIONS, TIE_RULE, Scores, average_precision

CROSS_CAMERA = CrossCamera()


def evaluate(
    query: torch.Tensor,
    gallery: torch.Tensor,
    query_frame: pd.DataFrame,
    gallery_frame: pd.DataFrame,
    protocol: Protocol = CROSS_CAMERA,
    unmatched: str = "raise",
    top_k: int = 50,
    block: int | None = None,
) -> Scores:
    """Scores of features under squared Euclidean distance.

    query (q, d) and gallery (g, d): float tensors on one device, row i belonging to row i of the frame (columns
    `pid`, `camid` and what the protocol needs). unmatched: "raise" refuses queries without any positive, "skip"
    leaves them out of every mean. top_k: how many best matches to keep for each query. block: queries a block, by
    default 16 MiB of distances or 64 queries. The order is that of a stable sort: ties go by gallery index. Raises
    ValueError for empty input, lengths that do not agree, NaN, or queries without a match.
    """
    query, gallery = torch.as_tensor(query), torch.as_tensor(gallery)
    check_features(query, gallery)
    _check_lengths(len(query), len(gallery), query_frame, gallery_frame)
    match, kept = _matches(query_frame, gallery_frame, protocol, unmatched)
    blocks = distance_blocks(query, gallery, torch.from_numpy(kept), block)
    rows = (row for _, distances in blocks for row in distances.cpu().numpy())
    return _score(rows, match, kept, len(query_frame), top_k, _card(protocol, unmatched, "squared Euclidean"))


def evaluate_distances(
    distances: torch.Tensor,
    query_frame: pd.DataFrame,
    gallery_frame: pd.DataFrame,
    protocol: Protocol = CROSS_CAMERA,
    unmatched: str = "raise",
    top_k: int = 50,
    block: int | None = None,
) -> Scores:
    """Scores of a distance matrix (q, g), smaller meaning nearer; otherwise like :func:`evaluate`.

    A float32 or float64 matrix in main memory is read in place; others are converted or fetched `block` rows at a
    time.
    """
    distances = torch.as_tensor(distances).detach()
    if block is not None and block < 1:
        raise ValueError(f"block={block}: a block holds at least one query")
    if distances.ndim != 2 or not distances.is_floating_point():
        raise ValueError(
            f"distances have shape {tuple(distances.shape)} and type {distances.dtype}; "
            "pass a float matrix (queries, gallery)"
        )
    _check_lengths(*distances.shape, query_frame, gallery_frame)
    match, kept = _matches(query_frame, gallery_frame, protocol, unmatched)
    rows = _matrix_rows(distances, kept, block)
    return _score(rows, match, kept, len(query_frame), top_k, _card(protocol, unmatched, "as given"))


def _check_lengths(queries: int, gallery: int, query_frame: pd.DataFrame, gallery_frame: pd.DataFrame) -> None:
    for side, count, frame in (("query", queries, query_frame), ("gallery", gallery, gallery_frame)):
        if count != len(frame):
            raise ValueError(
                f"{count} {side} images are scored but the {side} frame has {len(frame)} rows; "
                "pass the frame rows of exactly these images"
            )
        if count == 0:
            name = "queries" if side == "query" else "gallery images"
            raise ValueError(f"there are no {name} to evaluate; check the data set's {side} split")


def _matches(
    query_frame: pd.DataFrame, gallery_frame: pd.DataFrame, protocol: Protocol, unmatched: str
) -> tuple[Match, np.ndarray]:
    """The protocol's lists and the query rows to evaluate; refuses queries without a positive or leaves them out."""
    if unmatched not in ("raise", "skip"):
        raise ValueError(f"unmatched={unmatched!r} is unknown; pass 'raise' or 'skip'")
    match = protocol.match(query_frame, gallery_frame)
    has_match = match.positives.counts > 0
    lost = np.flatnonzero(~has_match)
    if len(lost) and (unmatched == "raise" or not has_match.any()):
        first = {c: int(query_frame[c].iloc[lost[0]]) for c in ("pid", "camid") if c in query_frame.columns}
        camera = f" (camera {first['camid'] + 1})" if "camid" in first else ""  # counted from 1, as in file names
        advice = "pass unmatched='skip' to leave them out" if has_match.any() else "no query is left to evaluate"
        number = f"{len(lost)} such {'query' if len(lost) == 1 else 'queries'}"
        raise ValueError(f"query {first['pid']:04d}{camera} has no {protocol.wanted}; {number}; {advice}")
    return match, np.flatnonzero(has_match)


def _matrix_rows(distances: torch.Tensor, kept: np.ndarray, block: int | None) -> Iterator[np.ndarray]:
    """The kept rows of a distance matrix as NumPy arrays, without a copy where that is possible."""
    if distances.device.type == "cpu" and distances.dtype in (torch.float32, torch.float64):
        matrix = distances.numpy()
        yield from (matrix[i] for i in kept)
        return
    dtype = torch.float64 if distances.dtype == torch.float64 else torch.float32
    step = block or max(1, BLOCK_BYTES // (distances.shape[1] * dtype.itemsize))
    for first in range(0, len(kept), step):
        picked = torch.from_numpy(kept[first : first + step]).to(distances.device)
        yield from distances[picked].cpu().to(dtype).numpy()


def _score(rows: Iterable[np.ndarray], match: Match, kept: np.ndarray, queries: int, top_k: int, card: dict) -> Scores:
    """Count the ranks of all positives of the kept queries, whose rows of distances come in order."""
    if top_k < 0:
        raise ValueError(f"top_k={top_k}: pass how many best matches to keep, 0 for none")
    size = len(match.ignored_everywhere)
    k = min(top_k, size)
    hits = np.empty(len(match.positives.rows), np.int64)
    start = np.concatenate([[0], np.cumsum(match.positives.counts[kept])])
    order = np.full((len(kept), k), -1, np.int32)
    nearest = np.full((len(kept), k), np.inf, np.float32)
    scratch = counting.scratch_space(size)
    ignored = np.flatnonzero(match.ignored_everywhere)
    for n, (i, row) in enumerate(zip(kept.tolist(), rows, strict=True)):
        if n == 0:
            ranked = np.empty(size, row.dtype)
        np.copyto(ranked, row)
        _check_row(ranked, i)
        if len(ignored):
            ranked[ignored] = np.inf
        ranked[match.ignored[i]] = np.inf
        found = counting.ranks(ranked, match.positives[i], scratch)
        found.sort()
        hits[start[n] : start[n + 1]] = found
        if k:
            best = counting.nearest(ranked, k, scratch)
            order[n, : len(best)], nearest[n, : len(best)] = best, ranked[best]
    std, trap = average_precision(hits, start)
    left_out = np.setdiff1d(np.arange(queries), kept)
    return Scores(std, trap, hits[start[:-1]], order, nearest, hits, start, kept, left_out, card)


def _check_row(row: np.ndarray, query: int) -> None:
    if not np.maximum.reduce(row) < np.inf:
        column = int(np.flatnonzero(~np.isfinite(row))[0])
        raise ValueError(
            f"the distance of query row {query} to gallery row {column} is {row[column]}; "
            "distances must be finite, look at the features"
        )


def _card(protocol: Protocol, unmatched: str, distance: str) -> dict:
    return protocol.card() | {
        "ap": AP_DEFINITIONS,
        "tie_rule": TIE_RULE,
        "distance": distance,
        "unmatched": {"raise": "refused", "skip": "left out of every mean"}[unmatched],
    }
