"""Repeated single-shot scores (CUHK03, VIPeR, the original PRCC): one gallery image a person, drawn many times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from reidlib.retrieval.blocks import distance_blocks
from reidlib.retrieval.protocols import DISTRACTOR, CrossCamera, Match, Protocol
from reidlib.retrieval.scores import AP_DEFINITIONS

TIE_RULE = "ascending distance, then gallery index"
CROSS_CAMERA = CrossCamera()
DRAWN = {
    "query": "for each query and draw, one image of every other person and one of the query's positives",
    "gallery": "one gallery a draw, shared by all queries: one image of every person",
}


@dataclass(frozen=True, eq=False)
class Draws:
    """Ranks (1-based) of the one positive: `rank` (draws, q) int64, 0 where a shared gallery holds no positive.

    query_rows (q,): which rows of the query frame were scored; left_out: those without a positive; card: plain data.
    All means are over the scored (draw, query) pairs: with one positive AP is 1 / rank, so mAP is above R1.
    """

    rank: np.ndarray
    query_rows: np.ndarray
    left_out: np.ndarray
    card: dict = field(repr=False)

    def cmc(self, k: int) -> float:
        """Share of (draw, query) pairs whose positive is among the best k."""
        return float((self._ranks() <= k).mean())

    @property
    def mAP(self) -> float:
        """Mean of 1 / rank: AP-std of a list with one positive."""
        return float((1 / self._ranks()).mean())

    @property
    def mAP_trap(self) -> float:
        """Mean AP-trap of a list with one positive: 1 at rank 1, else half of 1 / rank."""
        ranks = self._ranks()
        return float(np.where(ranks == 1, 1.0, 0.5 / ranks).mean())

    def summary(self) -> dict[str, float]:
        """mAP, mAP_trap, R1, R5, R10, R20 in percent."""
        values = {"mAP": self.mAP, "mAP_trap": self.mAP_trap} | {f"R{k}": self.cmc(k) for k in (1, 5, 10, 20)}
        return {name: 100 * value for name, value in values.items()}

    def by_draw(self, k: int = 1) -> np.ndarray:
        """CMC at k of each draw, (draws,) float64: their spread says whether there are enough draws."""
        scored = self.rank > 0
        return ((self.rank <= k) & scored).sum(1) / np.maximum(scored.sum(1), 1)

    def _ranks(self) -> np.ndarray:
        return self.rank[self.rank > 0]


def single_shot(
    query: torch.Tensor, gallery: torch.Tensor, query_frame: pd.DataFrame, gallery_frame: pd.DataFrame,
    protocol: Protocol = CROSS_CAMERA, draws: int = 10, seed: int = 0, drawn: str = "query", unmatched: str = "raise",
) -> Draws:  # fmt: skip
    """Repeated single-shot scores of features (q, d) and (g, d) under squared Euclidean distance.

    `protocol` says which gallery images are positives and which are removed for a query. Then `draws` times one image
    of every person is drawn, and the positive's rank among them counted. drawn="query" draws for each query anew
    (CUHK03: 10 or 100 draws), drawn="gallery" once for all queries (PRCC: 10 draws); there a query's drawn image may be
    one that is removed for it, and the pair is left out. Distractors (pid 0) are each a person. Draws come from
    `numpy.random.default_rng(seed)`; the card records seed and number. Raises ValueError as `evaluate` does.
    """
    query, gallery = torch.as_tensor(query), torch.as_tensor(gallery)

    def rows(kept: np.ndarray) -> Iterator[np.ndarray]:
        for _, block in distance_blocks(query, gallery, torch.from_numpy(kept)):
            yield from block.cpu().numpy()

    sizes, distance = (len(query), len(gallery)), "squared Euclidean"
    return _drawn(rows, sizes, distance, query_frame, gallery_frame, protocol, draws, seed, drawn, unmatched)


def single_shot_distances(
    distances: torch.Tensor, query_frame: pd.DataFrame, gallery_frame: pd.DataFrame,
    protocol: Protocol = CROSS_CAMERA, draws: int = 10, seed: int = 0, drawn: str = "query", unmatched: str = "raise",
) -> Draws:  # fmt: skip
    """Repeated single-shot scores of a distance matrix (q, g), such as a re-ranked one; otherwise as `single_shot`."""
    distances = torch.as_tensor(distances).detach()
    if distances.ndim != 2:
        raise ValueError(f"distances have shape {tuple(distances.shape)}; pass a matrix (queries, gallery)")

    def rows(kept: np.ndarray) -> Iterator[np.ndarray]:
        return (distances[i].cpu().numpy() for i in kept.tolist())

    return _drawn(
        rows, tuple(distances.shape), "as given", query_frame, gallery_frame, protocol, draws, seed, drawn, unmatched
    )


def _drawn(
    rows: Callable[[np.ndarray], Iterator[np.ndarray]], sizes: tuple[int, int], distance: str,
    query_frame, gallery_frame, protocol, draws, seed, drawn, unmatched,
) -> Draws:  # fmt: skip
    """Scores of the distances to the gallery that `rows` gives for the kept queries, in their order."""
    if drawn not in DRAWN:
        raise ValueError(f"drawn={drawn!r} is unknown; it is 'query' or 'gallery'")
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws={draws!r}: give the number of draws, at least 1")
    match, kept = _matches(sizes, query_frame, gallery_frame, protocol, unmatched)
    people = _People(gallery_frame, match)
    generator = np.random.default_rng(seed)
    shared = people.draw(draws, generator) if drawn == "gallery" else None
    ranks = np.zeros((draws, len(kept)), np.int64)
    for n, of_query in enumerate(rows(kept)):
        chosen = people.draw(draws, generator) if shared is None else shared
        ranks[:, n] = _ranks(of_query, chosen, people, match, kept[n], generator if shared is None else None)
    if not ranks.any():
        raise ValueError(f"no draw of {draws} holds a positive of any query; raise draws, or use drawn='query'")
    card = protocol.card() | {
        "shots": f"single-shot, {draws} draws with seed {seed}: {DRAWN[drawn]}",
        "draws": draws, "seed": seed, "drawn": drawn, "ap": AP_DEFINITIONS, "tie_rule": TIE_RULE,
        "distance": distance, "unmatched": {"raise": "refused", "skip": "left out of every mean"}[unmatched],
    }  # fmt: skip
    return Draws(ranks, kept, np.setdiff1d(np.arange(sizes[0]), kept), card)


def _matches(sizes, query_frame, gallery_frame, protocol, unmatched) -> tuple[Match, np.ndarray]:
    from reidlib.retrieval.evaluate import _check_lengths, _matches

    _check_lengths(*sizes, query_frame, gallery_frame)
    match, kept = _matches(query_frame, gallery_frame, protocol, unmatched)
    if len(match.positives.rows) + len(match.ignored.rows) < _same_person(query_frame, gallery_frame):
        raise ValueError(
            f"the protocol {protocol.name!r} counts some images of the query's own person as wrong answers, which has "
            "no meaning with one image a person"
        )
    return match, kept


def _same_person(query_frame: pd.DataFrame, gallery_frame: pd.DataFrame) -> int:
    counts = gallery_frame.loc[gallery_frame["pid"] > DISTRACTOR, "pid"].value_counts()
    return int(counts.reindex(query_frame["pid"]).fillna(0).sum())


class _People:
    """The gallery's rows, grouped by person; each distractor is a person, rows that nobody sees are left out."""

    def __init__(self, gallery_frame: pd.DataFrame, match: Match):
        pids = gallery_frame["pid"].to_numpy()
        own = np.where(pids == DISTRACTOR, -2 - np.arange(len(pids)), pids)
        seen = np.flatnonzero(~match.ignored_everywhere)
        self.rows = seen[np.argsort(own[seen], kind="stable")]
        self.labels, self.start, self.counts = np.unique(own[self.rows], return_index=True, return_counts=True)
        self.own = own

    def draw(self, draws: int, generator: np.random.Generator) -> np.ndarray:
        """One gallery row of each person, (draws, persons)."""
        picked = generator.random((draws, len(self.labels))) * self.counts
        return self.rows[self.start + picked.astype(np.int64)]

    def place(self, row: int) -> int:
        """Column in `draw` of the person in a gallery row."""
        return int(np.searchsorted(self.labels, self.own[row]))


def _ranks(distances, chosen, people: _People, match: Match, i: int, generator) -> np.ndarray:
    """Rank of the positive in each draw (0: none there); with a generator the positive is drawn among all of them."""
    positives = match.positives[i]
    column = people.place(positives[0])
    if generator is None:
        hits = chosen[:, column]
    else:
        hits = positives[(generator.random(len(chosen)) * len(positives)).astype(np.int64)]
    others = np.delete(chosen, column, axis=1)
    near, mine = distances[others], distances[hits][:, None]
    before = (near < mine) | ((near == mine) & (others < hits[:, None]))
    return np.where(np.isin(hits, positives), 1 + before.sum(1), 0)
