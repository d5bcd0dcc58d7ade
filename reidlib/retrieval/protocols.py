"""Evaluation protocols: which gallery images count as found, and which are left out, for each query.

A protocol looks only at the frames, never at features. It splits the gallery of every query into

* positives: images that the query should find,
* ignored images: removed from the ranking of this query before anything is counted,
* everything else: wrong answers.

Only images of the query's own person can be positive or ignored for one query; other images can be ignored for all
queries at once. A new protocol is a subclass of :class:`Protocol` that says so for pairs (see
:meth:`Protocol.judge`); the evaluator does not change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

JUNK, DISTRACTOR = -1, 0


@dataclass(frozen=True)
class Lists:
    """Gallery rows of each query, ascending: `rows[start[i]:start[i + 1]]`. rows (n,) and start (q + 1,) int64."""

    rows: np.ndarray
    start: np.ndarray

    def __getitem__(self, query: int) -> np.ndarray:
        return self.rows[self.start[query] : self.start[query + 1]]

    @property
    def counts(self) -> np.ndarray:
        """Length of each query's list, (q,) int64."""
        return np.diff(self.start)


@dataclass(frozen=True)
class Match:
    """What a protocol found: `positives` and `ignored` of each query, `ignored_everywhere` (g,) bool for all."""

    positives: Lists
    ignored: Lists
    ignored_everywhere: np.ndarray


class Protocol:
    """Base of all protocols: pairs images of the same person; a subclass says what each pair means.

    Class attributes describe the protocol in words (they end up in :meth:`card` and in error messages), and `columns`
    names the frame's columns that :meth:`judge` needs beside `pid`.
    """

    name = "protocol"
    columns: tuple[str, ...] = ("camid",)
    positive = "same person"
    ignored = "nothing"
    wanted = "match"
    shots = "multi-shot: every gallery image of a person counts, one ranking a query"

    def judge(self, query: dict[str, np.ndarray], gallery: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Judge pairs (query image, gallery image) of the same person.

        `query[c]` and `gallery[c]` hold column `c` of both sides, one entry a pair. Returns two bool arrays of that
        length: is the gallery image a positive of the query, is it ignored. A pair that is neither counts as a wrong
        answer.
        """
        raise NotImplementedError

    def everywhere(self, gallery_frame: pd.DataFrame) -> np.ndarray:
        """Gallery rows ignored for every query, (g,) bool: junk boxes (pid -1)."""
        return gallery_frame["pid"].to_numpy() == JUNK

    def match(self, query_frame: pd.DataFrame, gallery_frame: pd.DataFrame) -> Match:
        """Apply the protocol to two frames (columns `pid` and `columns`). Distractors (pid 0) never match."""
        for side, frame in (("query", query_frame), ("gallery", gallery_frame)):
            missing = [c for c in ("pid", *self.columns) if c not in frame.columns]
            if missing:
                raise ValueError(
                    f"the {side} frame has no column {missing[0]!r}, which the protocol {self.name!r} needs"
                )
        pair_query, pair_gallery = same_person(query_frame["pid"].to_numpy(), gallery_frame["pid"].to_numpy())
        positive, ignored = self.judge(
            {c: query_frame[c].to_numpy()[pair_query] for c in self.columns},
            {c: gallery_frame[c].to_numpy()[pair_gallery] for c in self.columns},
        )
        if np.any(positive & ignored):
            raise ValueError(
                f"the protocol {self.name!r} calls the same gallery image positive and ignored; make them disjoint"
            )
        lists = [_lists(pair_query[keep], pair_gallery[keep], len(query_frame)) for keep in (positive, ignored)]
        return Match(*lists, self.everywhere(gallery_frame))

    def card(self) -> dict:
        """The protocol as plain data, for records and pages."""
        return {
            "name": self.name,
            "positive": self.positive,
            "ignored": self.ignored,
            "ignored_everywhere": "gallery images with pid -1 (junk)",
            "distractors": "gallery images with pid 0 never match and stay in the ranking",
            "shots": self.shots,
        }


class CrossCamera(Protocol):
    """Market-1501, DukeMTMC-reID, MSMT17 and others: find the person in another camera.

    Same person and other camera is a positive; same person and same camera is ignored.
    """

    name = "cross-camera"
    positive = "same person, other camera"
    ignored = "same person, same camera"
    wanted = "match in another camera"

    def judge(self, query, gallery):
        other = query["camid"] != gallery["camid"]
        return other, ~other


class AnyCamera(Protocol):
    """Find the person in any camera, the query's own too. Near-duplicates from the same track make scores high."""

    name = "any camera"
    positive = "same person, any camera"
    wanted = "match"

    def judge(self, query, gallery):
        every = np.ones(len(query["camid"]), dtype=bool)
        return every, ~every


def same_person(query_pids: np.ndarray, gallery_pids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (query, gallery row) with the same pid >= 1, ordered by query, then gallery row; two int64 arrays."""
    order = np.argsort(gallery_pids, kind="stable")
    ordered = gallery_pids[order]
    start = np.searchsorted(ordered, query_pids, side="left")
    count = np.searchsorted(ordered, query_pids, side="right") - start
    count[query_pids <= DISTRACTOR] = 0
    pair_query = np.repeat(np.arange(len(query_pids)), count)
    within = np.arange(len(pair_query)) - np.repeat(np.cumsum(count) - count, count)
    return pair_query, order[np.repeat(start, count) + within]


def _lists(pair_query: np.ndarray, pair_gallery: np.ndarray, queries: int) -> Lists:
    counts = np.bincount(pair_query, minlength=queries)
    return Lists(pair_gallery, np.concatenate([[0], np.cumsum(counts)]))
