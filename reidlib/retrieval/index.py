"""Nearest neighbours of queries: exact by blocks, or approximate through faiss (flat, HNSW, IVF).

The exact search needs torch alone. faiss is imported only when one of its indexes is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from reidlib.retrieval.blocks import check_features, distance_blocks, squared_norms

INDEXES = ("exact", "flat", "hnsw", "ivf")


@dataclass(frozen=True, eq=False)
class Found:
    """Result of a search; unpacks into (distances, indices).

    distances (q, k): squared Euclidean, ascending. indices (q, k) int64: gallery rows, -1 where an approximate index
    found fewer than k. parameters: the index and every setting that its result depends on. build_s, search_s:
    seconds.
    """

    distances: torch.Tensor
    indices: torch.Tensor
    parameters: dict = field(repr=False)
    build_s: float = 0.0
    search_s: float = 0.0

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter((self.distances, self.indices))


def search(
    queries: torch.Tensor,
    gallery: torch.Tensor,
    k: int,
    index: str = "exact",
    *,
    seed: int = 0,
    block: int | None = None,
    neighbours: int = 32,
    ef_construction: int = 200,
    ef_search: int = 64,
    lists: int | None = None,
    probes: int = 8,
) -> Found:
    """The k nearest gallery rows of each query by squared Euclidean distance.

    queries (q, d), gallery (g, d): float tensors on one device; results come back on that device. k is at most g.

    * "exact": torch top-k over blocks of `block` queries (default 16 MiB of distances or 64); ties go by gallery index.
    * "flat": exact search by faiss.
    * "hnsw": graph with `neighbours` links a node, `ef_construction` and `ef_search` candidates while building and
    searching.
    * "ivf": `lists` cells by k-means (default 4 sqrt(g), at most g / 39), `probes` of which are searched.

    `seed` feeds the k-means and the graph's levels. faiss works on float32 on the CPU. Raises ValueError for an
    unknown index, a k that does not fit, or bad features, and ImportError where faiss is needed and missing.
    """
    queries, gallery = torch.as_tensor(queries), torch.as_tensor(gallery)
    check_features(queries, gallery)
    if index not in INDEXES:
        raise ValueError(f"index {index!r} is unknown; known are {', '.join(INDEXES)}")
    if not 1 <= k <= len(gallery):
        raise ValueError(f"k={k} does not fit a gallery of {len(gallery)} images; pass 1 to {len(gallery)}")
    if index == "exact":
        return _exact(queries, gallery, k, block)
    settings = {
        "flat": {},
        "hnsw": {"seed": seed, "neighbours": neighbours, "ef_construction": ef_construction, "ef_search": ef_search},
        "ivf": {"seed": seed, "lists": lists or default_lists(len(gallery)), "probes": probes},
    }[index]
    return _faiss(queries, gallery, k, index, settings)


def recall_at(found: torch.Tensor, truth: torch.Tensor, k: int | None = None) -> float:
    """Share of the true k nearest neighbours that were found, averaged over queries (recall@k).

    found, truth: gallery rows (q, at least k), best first; k defaults to the width of `truth`.
    """
    k = truth.shape[1] if k is None else k
    if len(found) != len(truth) or min(found.shape[1], truth.shape[1]) < k or k < 1:
        raise ValueError(
            f"recall@{k} needs {k} neighbours of the same queries: got {tuple(found.shape)} and {tuple(truth.shape)}"
        )
    found, truth = torch.as_tensor(found)[:, :k], torch.as_tensor(truth)[:, :k]
    return (truth[:, :, None] == found[:, None, :]).any(2).double().mean().item()


def default_lists(gallery: int) -> int:
    """Cells of an inverted file: 4 sqrt(g), but no fewer than 39 images a cell, which k-means asks for."""
    return max(1, min(int(4 * gallery**0.5), gallery // 39))


def _exact(queries: torch.Tensor, gallery: torch.Tensor, k: int, block: int | None) -> Found:
    began = time.perf_counter()
    parts = [_smallest(distances, k) for _, distances in distance_blocks(queries, gallery, block=block)]
    distances, indices = (torch.cat(part) for part in zip(*parts, strict=True))
    return Found(distances, indices, {"index": "exact"}, search_s=time.perf_counter() - began)


def _smallest(distances: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k smallest of each row (b, g), ascending, ties by index: values (b, k), indices (b, k).

    top-k picks any of several rows that are as far as the k-th. One more than k shows where that happens; there the
    lowest indices are put in.
    """
    values, indices = distances.topk(min(k + 1, distances.shape[1]), dim=1, largest=False)
    crowded = (values[:, k - 1 : k] == values[:, k:]).any(1).nonzero()[:, 0]
    indices, order = indices[:, :k].sort(dim=1)
    values, order = values[:, :k].gather(1, order).sort(dim=1, stable=True)
    indices = indices.gather(1, order)
    for i in crowded.tolist():
        near = (distances[i] <= values[i, -1]).nonzero()[:, 0]
        indices[i] = near[distances[i, near].sort(stable=True).indices[:k]]
    return values, indices


def _faiss(queries: torch.Tensor, gallery: torch.Tensor, k: int, index: str, settings: dict) -> Found:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            f"index={index!r} needs faiss, which is not installed; install faiss-gpu or faiss-cpu, "
            "or pass index='exact'"
        ) from error
    for side, features in (("query", queries), ("gallery", gallery)):
        squared_norms(features, torch.float32, side)
    wanted, stored = (np.ascontiguousarray(f.detach().cpu().float().numpy()) for f in (queries, gallery))
    began = time.perf_counter()
    built = _build(faiss, stored, index, settings)
    built.add(stored)
    searching = time.perf_counter()
    distances, indices = built.search(wanted, k)
    done = time.perf_counter()
    parameters = {"index": index, "faiss": faiss.__version__, "threads": faiss.omp_get_max_threads()} | settings
    return Found(
        torch.from_numpy(distances).to(queries.device),
        torch.from_numpy(indices).to(queries.device),
        parameters,
        build_s=searching - began,
        search_s=done - searching,
    )


def _build(faiss, stored: np.ndarray, index: str, settings: dict):
    """An empty faiss index for vectors like `stored` (g, d); IVF is trained on them."""
    width = stored.shape[1]
    if index == "hnsw":
        built = faiss.IndexHNSWFlat(width, settings["neighbours"])
        built.hnsw.rng = faiss.RandomGenerator(settings["seed"])
        built.hnsw.efConstruction, built.hnsw.efSearch = settings["ef_construction"], settings["ef_search"]
        return built
    if index == "ivf":
        built = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, settings["lists"])
        built.cp.seed, built.nprobe = settings["seed"], settings["probes"]
        built.train(stored)
        return built
    return faiss.IndexFlatL2(width)
