"""Protocols of the clothing-change data sets, LTCC and PRCC: who changed clothes counts, who did not, or both.

They need the frame's column `clothes`, which is unique over the data set. On PRCC (gallery A, queries B and C; A and B
show one outfit) cameras always differ, so nothing is ignored for the queries that a protocol is meant for: pick them
with :func:`prcc_queries`, or pass unmatched="skip", which leaves out the other camera's queries.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

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
