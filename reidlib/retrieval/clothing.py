"""Protocols of the clothing-change data sets, LTCC and PRCC: who changed clothes counts, who did not, or both.

They need the frame's column `clothes`, which is unique over the data set. On PRCC (gallery A, queries B and C; A and B
show one outfit) cameras always differ, so nothing is ignored for the queries that a protocol is meant for: pick them
with :func:`prcc_queries`, or pass unmatched="skip", which leaves out the other camera's queries.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from reidlib.retrieval.protocols import CrossCamera, Protocol


class General(CrossCamera):
    """LTCC's general setting: other camera, whatever the clothes. The cross-camera protocol by another name."""

    name = "general"
    positive = "same person, other camera, any clothes"


class _Outfits(Protocol):
    columns = ("camid", "clothes")

    def match(self, query_frame: pd.DataFrame, gallery_frame: pd.DataFrame):
        for side, frame in (("query", query_frame), ("gallery", gallery_frame)):
            if "clothes" not in frame.columns:
                continue  # refused in the base class
            unknown = ((frame["clothes"] < 0) & (frame["pid"] >= 1)).to_numpy()
            if unknown.any():
                raise ValueError(
                    f"{int(unknown.sum())} of {len(frame)} {side} images have no outfit (clothes -1), which the "
                    f"protocol {self.name!r} needs; use CrossCamera on data without outfits"
                )
        return super().match(query_frame, gallery_frame)


class ClothesChange(_Outfits):
    """Find the person in another camera and other clothes (LTCC and PRCC, clothes-changing).

    Same person in the same camera or in the same clothes is ignored. Queries of people who never change have no match.
    """

    name = "clothes-change"
    positive = "same person, other camera, other clothes"
    ignored = "same person, same camera or same clothes"
    wanted = "match in another camera and other clothes"

    def judge(self, query, gallery):
        positive = (query["camid"] != gallery["camid"]) & (query["clothes"] != gallery["clothes"])
        return positive, ~positive


class SameClothes(_Outfits):
    """Find the person in another camera and the same clothes (LTCC's standard setting, PRCC's same-clothes)."""

    name = "same-clothes"
    positive = "same person, other camera, same clothes"
    ignored = "same person, same camera or other clothes"
    wanted = "match in another camera and the same clothes"

    def judge(self, query, gallery):
        positive = (query["camid"] != gallery["camid"]) & (query["clothes"] == gallery["clothes"])
        return positive, ~positive


def prcc_queries(query_frame: pd.DataFrame, protocol: Protocol) -> np.ndarray:
    """Rows (int64) of PRCC's queries for a protocol: camera C for ClothesChange, B for SameClothes, both otherwise."""
    cameras = {"clothes-change": [2], "same-clothes": [1]}.get(protocol.name, [1, 2])
    rows = np.flatnonzero(query_frame["camid"].isin(cameras))
    if not len(rows):
        names = " or ".join("ABC"[camera] for camera in cameras)
        raise ValueError(f"no query is from camera {names}; is this the query split of PRCC?")
    return rows


def hard_triples(query_frame: pd.DataFrame, gallery_frame: pd.DataFrame) -> np.ndarray:
    """Triples in which clothes mislead: int64 (t, 3), places of query, positive and negative in their frames, from 0.

    The positive is the query's person in another camera and in other clothes, the negative another person in the very
    outfit design of the query (column `look`, which drawn data have), in another camera than the query too, so that no
    background helps it; every pair of both is a triple.
    Ordered by query, positive, negative. Distractors and junk are in none. (0, 3) when there is no such triple.
    Raises ValueError for frames without `look` and as :class:`ClothesChange` does.
    """
    for side, frame in (("query", query_frame), ("gallery", gallery_frame)):
        if "look" not in frame.columns:
            raise ValueError(
                f"the {side} frame has no column 'look', the outfit design that several persons may wear; only drawn "
                "data have it, since no real data set says who wears the same clothes"
            )
    positives = ClothesChange().match(query_frame, gallery_frame).positives
    known = np.flatnonzero((gallery_frame["pid"] >= 1) & (gallery_frame["look"] >= 0))
    wearers = {look: known[places] for look, places in gallery_frame.iloc[known].groupby("look").indices.items()}
    pids, camids = (gallery_frame[name].to_numpy() for name in ("pid", "camid"))
    triples = [np.empty((0, 3), np.int64)]
    for query, (pid, camid, look) in enumerate(query_frame[["pid", "camid", "look"]].itertuples(index=False)):
        same_look = wearers.get(look, np.empty(0, np.int64))
        others = same_look[(pids[same_look] != pid) & (camids[same_look] != camid)]
        pairs = np.meshgrid(positives[query], others, indexing="ij")
        positive, negative = (rows.reshape(-1) for rows in pairs)
        triples.append(np.stack([np.full_like(positive, query), positive, negative], axis=1))
    return np.concatenate(triples)


def triple_ranks(query, gallery, triples: np.ndarray) -> np.ndarray:
    """Which triples of `hard_triples` are ranked rightly, the positive nearer than the negative: bool (t,).

    query (q, d) and gallery (g, d): embeddings, tensors or arrays; compared by squared Euclidean distances in float64,
    where a tie is wrong. Raises ValueError for shapes that do not fit or embeddings that are not finite, IndexError for
    rows that do not exist.
    """
    query, gallery = (torch.as_tensor(side).detach().cpu() for side in (query, gallery))
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        shapes = f"{tuple(query.shape)} and {tuple(gallery.shape)}"
        raise ValueError(f"triple_ranks needs embeddings (q, d) and (g, d), got {shapes}")
    triples = np.asarray(triples)
    if triples.ndim != 2 or triples.shape[1] != 3 or triples.dtype.kind not in "iu":
        raise ValueError(f"triples must be whole numbers (t, 3), got {triples.dtype} {triples.shape}; see hard_triples")
    _need_rows(triples, len(query), len(gallery))
    for side, features in (("query", query), ("gallery", gallery)):
        if not torch.isfinite(features).all():
            raise ValueError(f"a {side} embedding is not finite (nan or inf); look for it where the model is run")
    step = max(1, 2**22 // max(1, query.shape[1]))  # 32 MiB of float64 at a time
    right = np.zeros(len(triples), dtype=bool)
    for start in range(0, len(triples), step):
        anchor, positive, negative = torch.from_numpy(triples[start : start + step].astype(np.int64)).T
        anchor = query[anchor].double()
        d_ap, d_an = ((anchor - gallery[other].double()).square().sum(1) for other in (positive, negative))
        right[start : start + step] = (d_ap < d_an).numpy()
    return right


def _need_rows(triples: np.ndarray, queries: int, gallery: int) -> None:
    for name, column, count in (("query", triples[:, :1], queries), ("gallery", triples[:, 1:], gallery)):
        wrong = column[(column < 0) | (column >= count)]
        if len(wrong):
            raise IndexError(f"{name} row {wrong[0]} of a triple is not in the embeddings, which have {count} rows")
