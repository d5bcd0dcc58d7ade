"""Squared Euclidean distances between two sets of features, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from reidlib.products import product

BLOCK_BYTES = 16 * 2**20  # size of one block of distances: it stays in a large cache
QUERIES = 64  # of a block at least: for fewer, reading the gallery would take longer than the product
CHUNK_BYTES = 16 * 2**20  # size of the pieces in which features are squared or converted


def check_features(query: torch.Tensor, gallery: torch.Tensor) -> torch.dtype:
    """Check feature matrices (q, d) and (g, d); returns the dtype to compute in: float32, or float64 if either is."""
    for side, features in (("query", query), ("gallery", gallery)):
        if features.ndim != 2 or not features.is_floating_point():
            raise ValueError(
                f"{side} features have shape {tuple(features.shape)} and type {features.dtype}; "
                "pass a float tensor (images, dimensions)"
            )
        if len(features) == 0:
            raise ValueError(f"there are no {side} images: the {side} features are empty {tuple(features.shape)}")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query features have {query.shape[1]} dimensions and gallery features {gallery.shape[1]}; "
            "take both from the same model"
        )
    if query.device != gallery.device:
        raise ValueError(
            f"query features are on {query.device} and gallery features on {gallery.device}; move both to one device"
        )
    return torch.float64 if torch.float64 in (query.dtype, gallery.dtype) else torch.float32


def squared_norms(features: torch.Tensor, dtype: torch.dtype, side: str) -> torch.Tensor:
    """Squared length of each feature, (n,), computed in pieces; ValueError names the first row with NaN or infinity."""
    step = max(1, CHUNK_BYTES // (features.shape[1] * 8 or 1))
    norms = torch.empty(len(features), dtype=dtype, device=features.device)
    for piece, out in zip(features.detach().split(step), norms.split(step), strict=True):
        torch.sum(piece.to(dtype).square(), dim=1, out=out)  # no small tensors between large ones, which scatter memory
    bad = (~torch.isfinite(norms)).nonzero()[:, 0]
    if len(bad):
        raise ValueError(
            f"{side} features hold NaN, infinity or overflow in {len(bad)} of {len(features)} rows, "
            f"first in row {int(bad[0])}; look at the model's output (a diverged training gives NaN)"
        )
    return norms


@torch.no_grad()
def distance_blocks(
    query: torch.Tensor, gallery: torch.Tensor, rows: torch.Tensor | None = None, block: int | None = None
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (first, distances): squared Euclidean distances of `block` queries at a time to the whole gallery.

    query (q, d), gallery (g, d) float; `rows` (int64) picks and orders the queries. `distances` (b, g) is float32, or
    float64 for float64 features, on the features' device. The default block takes 16 MiB, or holds 64 queries
    where these take more. Features are never copied as a whole: half precision is converted in pieces.
    """
    dtype = check_features(query, gallery)
    rows = torch.arange(len(query), device=query.device) if rows is None else rows.to(query.device)
    query_norms, gallery_norms = squared_norms(query, dtype, "query"), squared_norms(gallery, dtype, "gallery")
    block = _block(block, len(gallery), dtype, len(rows))
    step = len(gallery) if gallery.dtype == dtype else max(1, CHUNK_BYTES // (gallery.shape[1] * dtype.itemsize or 1))
    for first in range(0, len(rows), block):
        picked = rows[first : first + block]
        features = query[picked].to(dtype)
        if step >= len(gallery):
            distances = product(features, gallery.to(dtype), gallery_norms, scale=-2)
        else:
            distances = features.new_empty(len(features), len(gallery))
            for at in range(0, len(gallery), step):
                piece, norms = gallery[at : at + step].to(dtype), gallery_norms[at : at + step]
                distances[:, at : at + step] = product(features, piece, norms, scale=-2)
        yield first, distances.add_(query_norms[picked, None]).clamp_(min=0)
        del distances  # before the next block is made


def _block(block: int | None, gallery: int, dtype: torch.dtype, queries: int) -> int:
    if block is None:
        block = max(QUERIES, BLOCK_BYTES // (gallery * dtype.itemsize))
    if block < 1:
        raise ValueError(f"block={block}: a block holds at least one query")
    return min(block, queries)
