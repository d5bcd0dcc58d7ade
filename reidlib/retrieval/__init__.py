"""Retrieval: protocols, scores by counting, and nearest-neighbour search."""

from reidlib.retrieval.evaluate import evaluate, evaluate_distances
from reidlib.retrieval.index import Found, recall_at, search
from reidlib.retrieval.protocols import AnyCamera, CrossCamera, Match, Protocol
from reidlib.retrieval.scores import Scores, average_precision

__all__ = [
    "AnyCamera",
    "CrossCamera",
    "Found",
    "Match",
    "Protocol",
    "Scores",
    "average_precision",
    "evaluate",
    "evaluate_distances",
    "recall_at",
    "search",
]
