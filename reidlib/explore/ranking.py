"""What was ranked for each query: the exact order with the ignored images marked, and the ranks of all hits.

This is what the explorer shows and what a run stores beside its record. The order is that of `reidlib.retrieval`: by
distance, then gallery index. It is kept, never derived again from distances that were rounded.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from reidlib.retrieval import CrossCamera, Match, Protocol, Scores, average_precision, evaluate, evaluate_distances
from reidlib.retrieval.blocks import distance_blocks

WRONG, RIGHT, IGNORED = 0, 1, 2
CROSS_CAMERA = CrossCamera()


@dataclass(frozen=True, eq=False)
class Ranking:
    """Ranked lists of q queries, in the rows of a query and a gallery frame.

    query_rows (q,) int64: the queries. order, distances, mark: the lists one after the other, query i's being
    `start[i]:start[i + 1]`: gallery rows int32, float32 distances, and uint8 marks `WRONG`, `RIGHT` or `IGNORED`.
    hits, hit_rows: 1-based ranks int64 of the right images, ignored ones not counted, and their gallery rows int32
    (-1 where not kept), at `hit_start[i]:hit_start[i + 1]`. positives (q,) int64: how many right images there are.
    gallery: number of gallery rows. depth: 0 when every hit is known, else the rank up to which hits were looked for.
    """

    query_rows: np.ndarray
    start: np.ndarray
    order: np.ndarray
    distances: np.ndarray
    mark: np.ndarray
    hit_start: np.ndarray
    hits: np.ndarray
    hit_rows: np.ndarray
    positives: np.ndarray
    gallery: int
    depth: int = 0

    def __len__(self) -> int:
        return len(self.query_rows)

    @property
    def average_precision(self) -> tuple[np.ndarray, np.ndarray]:
        """AP-std and AP-trap of each query, (q,) float64; with `depth`, hits beyond it count as never found."""
        counts, std, trap = np.diff(self.hit_start), np.zeros(len(self)), np.zeros(len(self))
        some = counts > 0
        if some.any():
            found = average_precision(self.hits, np.concatenate([[0], np.cumsum(counts[some])]))
            share = counts[some] / self.positives[some]
            std[some], trap[some] = found[0] * share, found[1] * share
        return std, trap

    def summary(self) -> dict[str, float]:
        """mAP, mAP_trap and R1 over these queries, in percent."""
        std, trap = self.average_precision
        some = np.diff(self.hit_start) > 0
        first = self.hits[self.hit_start[:-1][some]] == 1
        return {"mAP": 100 * std.mean(), "mAP_trap": 100 * trap.mean(), "R1": 100 * first.sum() / len(self)}

    def take(self, positions, top: int | None = None) -> Ranking:
        """Some queries (positions in `query_rows`), each list cut after its first `top` images that are not ignored."""
        positions = np.asarray(positions, np.int64)
        kept = [np.arange(self.start[i], self.start[i + 1]) for i in positions]
        if top is not None:
            kept = [rows[: _cut(self.mark[rows] == IGNORED, top)] for rows in kept]
        hits = [np.arange(self.hit_start[i], self.hit_start[i + 1]) for i in positions]
        chosen, found = _joined(kept), _joined(hits)
        return Ranking(
            self.query_rows[positions], _starts(kept), self.order[chosen], self.distances[chosen], self.mark[chosen],
            _starts(hits), self.hits[found], self.hit_rows[found], self.positives[positions], self.gallery, self.depth,
        )  # fmt: skip

    def as_npz(self) -> bytes:
        """A compressed .npz file, to be kept beside a run's record; `load` reads it."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{f.name: getattr(self, f.name) for f in fields(self)})
        return buffer.getvalue()

    @classmethod
    def load(cls, path: str | Path) -> Ranking:
        """Read a file that `as_npz` wrote. Raises FileNotFoundError, ValueError."""
        with np.load(path) as stored:
            missing = [f.name for f in fields(cls) if f.name not in stored]
            if missing:
                raise ValueError(f"{path} holds no ranking: {missing[0]} is missing; write one with Ranking.as_npz()")
            values = {f.name: stored[f.name] for f in fields(cls)}
        return cls(**values | {name: int(values[name]) for name in ("gallery", "depth")})

    @classmethod
    def from_scores(
        cls, scores: Scores, query_frame: pd.DataFrame, gallery_frame: pd.DataFrame, protocol: Protocol = CROSS_CAMERA
    ) -> Ranking:
        """From an evaluation with `top_k` > 0. The ignored images, which `Scores` leaves out, cannot be shown."""
        if scores.order.shape[1] == 0:
            raise ValueError("these scores hold no ranked images: evaluate with top_k=100, or call explore.rank")
        made = _from_lists(scores.order, scores.distances, scores.query_rows, query_frame, gallery_frame, protocol)
        start, known = scores.hit_start, made.hit_start
        rows = np.full(len(scores.hits), -1, np.int32)
        for i in range(len(made)):  # the first hits of each query are those in its list
            rows[start[i] : start[i] + known[i + 1] - known[i]] = made.hit_rows[known[i] : known[i + 1]]
        return cls(
            made.query_rows, made.start, made.order, made.distances, made.mark,
            start, scores.hits, rows, np.diff(start), made.gallery,
        )  # fmt: skip

    @classmethod
    def from_order(
        cls,
        order: np.ndarray,
        distances: np.ndarray,
        query_frame: pd.DataFrame,
        gallery_frame: pd.DataFrame,
        query_rows: np.ndarray | None = None,
        protocol: Protocol = CROSS_CAMERA,
    ) -> Ranking:
        """From lists (q, k) of gallery rows, -1 where a list is shorter: an approximate index, or a stored top-k order.

        AP is that of the lists cut at k. Ignored images may be among them or not.
        """
        order, distances = np.asarray(order), np.asarray(distances)
        if order.ndim != 2 or order.shape != distances.shape:
            raise ValueError(f"order has shape {order.shape} and distances {distances.shape}; pass both (queries, k)")
        rows = np.arange(len(query_frame)) if query_rows is None else np.asarray(query_rows, np.int64)
        return _from_lists(order, distances, rows, query_frame, gallery_frame, protocol)


def rank(
    query: torch.Tensor,
    gallery: torch.Tensor,
    query_frame: pd.DataFrame,
    gallery_frame: pd.DataFrame,
    protocol: Protocol = CROSS_CAMERA,
    unmatched: str = "raise",
    top: int | None = 100,
) -> Ranking:
    """Ranking of features (q, d) and (g, d) by squared Euclidean distance; lists keep `top` images (None: all).

    Arguments, order and errors are those of `reidlib.retrieval.evaluate`.
    """
    query, gallery = torch.as_tensor(query).detach(), torch.as_tensor(gallery).detach()
    scores = evaluate(query, gallery, query_frame, gallery_frame, protocol, unmatched, top_k=0)
    blocks = distance_blocks(query, gallery, torch.from_numpy(scores.query_rows))
    rows = (row for _, distances in blocks for row in distances.cpu().numpy())
    return _sorted(rows, protocol.match(query_frame, gallery_frame), scores, len(gallery_frame), top)


def rank_distances(
    distances: torch.Tensor,
    query_frame: pd.DataFrame,
    gallery_frame: pd.DataFrame,
    protocol: Protocol = CROSS_CAMERA,
    unmatched: str = "raise",
    top: int | None = 100,
) -> Ranking:
    """Ranking by a distance matrix (q, g), smaller meaning nearer; otherwise like :func:`rank`."""
    distances = torch.as_tensor(distances).detach()
    scores = evaluate_distances(distances, query_frame, gallery_frame, protocol, unmatched, top_k=0)
    rows = (distances[i].cpu().float().numpy() if distances.dtype.itemsize < 4 else distances[i].cpu().numpy()
            for i in scores.query_rows.tolist())  # fmt: skip
    return _sorted(rows, protocol.match(query_frame, gallery_frame), scores, len(gallery_frame), top)


def _sorted(rows: Iterable[np.ndarray], match: Match, scores: Scores, size: int, top: int | None) -> Ranking:
    """Sort each row of distances; the ranks of all hits are those that `evaluate` counted."""
    if top is not None and top < 1:
        raise ValueError(f"top={top}: a list keeps at least one image; None keeps all")
    lists, distances, marks, hit_rows = [], [], [], []
    for i, row in zip(scores.query_rows.tolist(), rows, strict=True):
        mark = np.where(match.ignored_everywhere, np.uint8(IGNORED), np.uint8(WRONG))
        mark[match.ignored[i]] = IGNORED
        mark[match.positives[i]] = RIGHT
        order = np.argsort(row, kind="stable").astype(np.int32)
        sorted_marks = mark[order]
        hit_rows.append(order[sorted_marks == RIGHT])
        end = len(order) if top is None else _cut(sorted_marks == IGNORED, top)
        lists.append(order[:end])
        marks.append(sorted_marks[:end])
        distances.append(row[order[:end]].astype(np.float32))
    return Ranking(
        scores.query_rows, _starts(lists), _joined(lists), _joined(distances), _joined(marks),
        scores.hit_start, scores.hits, _joined(hit_rows), np.diff(scores.hit_start), size,
    )  # fmt: skip


def _from_lists(order, distances, query_rows, query_frame, gallery_frame, protocol) -> Ranking:
    """Marks and hits of lists (q, k); hits are known up to rank k."""
    match = protocol.match(query_frame, gallery_frame)
    if len(order) != len(query_rows):
        raise ValueError(f"{len(order)} lists for {len(query_rows)} queries; pass the query_rows of these lists")
    if order.max(initial=-1) >= len(gallery_frame) or order.min(initial=0) < -1:
        count = len(gallery_frame)
        raise ValueError(f"the lists name gallery row {order.max()}, but the gallery frame has {count} rows")
    lists, values, marks, hits, hit_rows = [], [], [], [], []
    for i, row, far in zip(query_rows.tolist(), order, distances, strict=True):
        row, far = row[row >= 0].astype(np.int32), far[row >= 0].astype(np.float32)
        ignored = match.ignored_everywhere[row] | np.isin(row, match.ignored[i])
        right = np.isin(row, match.positives[i])
        lists.append(row)
        values.append(far)
        marks.append(np.where(ignored, IGNORED, np.where(right, RIGHT, WRONG)).astype(np.uint8))
        hits.append(np.cumsum(~ignored)[right])
        hit_rows.append(row[right])
    return Ranking(
        np.asarray(query_rows, np.int64), _starts(lists), _joined(lists), _joined(values), _joined(marks),
        _starts(hits), _joined(hits).astype(np.int64), _joined(hit_rows), match.positives.counts[query_rows],
        len(gallery_frame), order.shape[1],
    )  # fmt: skip


def _cut(ignored: np.ndarray, top: int) -> int:
    """How many entries to keep so that `top` of them are not ignored, ignored ones behind the last left out."""
    shown = np.flatnonzero(~ignored)
    return int(shown[top - 1]) + 1 if len(shown) >= top else len(ignored)


def _starts(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)]).astype(np.int64)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
