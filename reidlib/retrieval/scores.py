"""The outcome of an evaluation: per-query average precision in both definitions, first-hit ranks, CMC, best matches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

AP_DEFINITIONS = {
    "mAP": "AP-std: mean over the hits i = 1..n of i / r_i, r_i being the rank of hit i",
    "mAP_trap": "AP-trap: mean over the hits of ((i - 1) / (r_i - 1) + i / r_i) / 2, the first term being 1 at r_i = 1",
}
TIE_RULE = "ascending distance, then gallery index (a stable sort)"


def average_precision(hits: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AP-std and AP-trap of queries whose hits are at 1-based ranks `hits[start[i]:start[i + 1]]`.

    Ranks are ascending and every query has one. Returns two float64 arrays (q,). AP-std is the finite sum of
    scikit-learn >= 0.19; AP-trap is the trapezoid of the Market-1501 code and is never larger.
    """
    number = _number(start)
    precision = number / hits
    before = np.divide(number - 1, hits - 1, out=np.ones(len(hits)), where=hits > 1)
    counts = np.diff(start)
    std = np.add.reduceat(precision, start[:-1]) / counts
    trap = np.add.reduceat((before + precision) / 2, start[:-1]) / counts
    return std, trap


def _number(start: np.ndarray) -> np.ndarray:
    """1, 2, ... within each query's hits."""
    return np.arange(1, start[-1] + 1) - np.repeat(start[:-1], np.diff(start))


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of q evaluated queries. All fractions are in [0, 1]; :meth:`summary` gives percent.

    ap_std, ap_trap (q,) float64: average precision of each query. rank (q,) int64: rank of the first hit, junk
    removed. order (q, k) int32: gallery rows of the k best, junk removed; -1 where the gallery has fewer. distances
    (q, k) float32: their distances, infinite where `order` is -1. hits, hit_start: ranks of all hits,
    `hits[hit_start[i]:hit_start[i + 1]]`. query_rows (q,) int64: which rows of the query frame were evaluated.
    left_out int64: those without any match. card: protocol, AP definitions, tie rule as plain data.
    """

    ap_std: np.ndarray
    ap_trap: np.ndarray
    rank: np.ndarray
    order: np.ndarray
    distances: np.ndarray
    hits: np.ndarray
    hit_start: np.ndarray
    query_rows: np.ndarray
    left_out: np.ndarray
    card: dict = field(repr=False)

    @property
    def mAP(self) -> float:
        """Mean of AP-std."""
        return float(self.ap_std.mean())

    @property
    def mAP_trap(self) -> float:
        """Mean of AP-trap."""
        return float(self.ap_trap.mean())

    def cmc(self, k: int) -> float:
        """Share of queries whose first hit is among the best k."""
        return float((self.rank <= k).mean())

    def cmc_curve(self, last: int = 50) -> np.ndarray:
        """cmc(1), ..., cmc(last), (last,) float64."""
        found = np.bincount(np.minimum(self.rank, last + 1), minlength=last + 2)
        return np.cumsum(found)[1 : last + 1] / len(self.rank)

    def ap_at(self, k: int) -> np.ndarray:
        """AP@k of each query, (q,): formula 4.2 of the triplet thesis summed at hit positions.

        The sum of i / r_i over the hits with r_i <= k, divided by the number of all positives: AP-std cut at rank k.
        """
        precision = np.where(self.hits <= k, _number(self.hit_start) / self.hits, 0.0)
        return np.add.reduceat(precision, self.hit_start[:-1]) / np.diff(self.hit_start)

    def summary(self) -> dict[str, float]:
        """mAP, mAP_trap, R1, R5, R10, R20 in percent."""
        values = {"mAP": self.mAP, "mAP_trap": self.mAP_trap} | {f"R{k}": self.cmc(k) for k in (1, 5, 10, 20)}
        return {name: 100 * value for name, value in values.items()}

    def per_query(self) -> dict[str, np.ndarray]:
        """The per-query arrays that a run record keeps: ap_std, ap_trap, rank."""
        return {"ap_std": self.ap_std, "ap_trap": self.ap_trap, "rank": self.rank}
