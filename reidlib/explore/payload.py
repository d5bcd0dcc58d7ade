"""What the explorer's page is given: which queries, which images, and the packed numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from reidlib.data.store import ImageStore
from reidlib.explore.ranking import Ranking
from reidlib.explore.static import Packer
from reidlib.explore.thumbnails import COLUMNS, PER_SHEET, sheets

MOST_QUERIES, MOST_IMAGES = 1000, 10_000


class Images:
    """Pictures of both frames: `store` uint8 (n, 3, h, w), and its rows for each frame's rows; None for no pictures."""

    def __init__(self, store, query_frame, gallery_frame, query_rows=None, gallery_rows=None):
        self.skipped = set(store.skipped) if isinstance(store, ImageStore) else set()
        self.pixels = store.images if isinstance(store, ImageStore) else store
        self.extra: list[torch.Tensor] = []  # pictures of queries that were added later
        self.rows = {}
        if self.pixels is None:
            return
        self.pixels = torch.as_tensor(self.pixels)
        if self.pixels.ndim != 4 or self.pixels.shape[1] != 3 or self.pixels.dtype != torch.uint8:
            raise ValueError(
                f"images are {self.pixels.dtype} {tuple(self.pixels.shape)}; pass an ImageStore or uint8 (n, 3, h, w)"
            )
        for side, frame, rows in (("query", query_frame, query_rows), ("gallery", gallery_frame, gallery_rows)):
            self.rows[side] = self._checked(side, frame, rows)

    def pick(self, rows: torch.Tensor) -> torch.Tensor:
        """uint8 (n, 3, h, w) on the CPU; rows beyond the store are those of `extra`."""
        stored, last = rows.clone(), len(self.pixels)
        stored[rows >= last] = 0
        found = self.pixels[stored.to(self.pixels.device)].cpu()
        for i in (rows >= last).nonzero()[:, 0].tolist():
            found[i] = self.extra[int(rows[i]) - last]
        return found

    def _checked(self, side: str, frame: pd.DataFrame, rows) -> np.ndarray:
        if rows is None:
            rows = frame["row"].to_numpy() if "row" in frame else frame.index.to_numpy()
        rows = np.asarray(rows, np.int64)
        if len(rows) != len(frame):
            raise ValueError(f"{len(rows)} {side}_rows for {len(frame)} rows of the {side} frame; pass one for each")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.pixels):
            wrong = int(rows.max() if rows.max() >= len(self.pixels) else rows.min())
            raise ValueError(
                f"{side} image {wrong} is not among the {len(self.pixels)} images; pass {side}_rows, the image's row "
                "in `images` for each row of the frame"
            )
        return rows


def common_queries(rankings: dict[str, Ranking], queries: int, gallery: int) -> np.ndarray:
    """The query rows that all rankings share; ValueError when they are not over the same frames."""
    if not rankings:
        raise ValueError("there is no ranking to show; pass at least one, {'name': ranking}")
    reference = None
    for name, ranking in rankings.items():
        if not isinstance(ranking, Ranking):
            raise TypeError(f"{name!r} is a {type(ranking).__name__}, not a Ranking; make one with explore.rank")
        if ranking.gallery != gallery:
            raise ValueError(
                f"the ranking {name!r} is over {ranking.gallery} gallery images, the gallery frame has {gallery} rows; "
                "all must come from the same frames"
            )
        if len(ranking) == 0:
            raise ValueError(f"the ranking {name!r} has no query")
        if ranking.query_rows.min() < 0 or ranking.query_rows.max() >= queries:
            raise ValueError(
                f"the ranking {name!r} has query row {ranking.query_rows.max()}, the query frame has {queries} rows"
            )
        if not np.isfinite(ranking.distances).all():
            raise ValueError(f"the ranking {name!r} holds distances that are NaN or infinite; look at its features")
        if reference is None:
            reference = name, ranking.query_rows
        elif not np.array_equal(reference[1], ranking.query_rows):
            raise ValueError(
                f"the rankings {reference[0]!r} and {name!r} are of different queries ({len(reference[1])} and "
                f"{len(ranking)}); evaluate both on the same frames"
            )
    return reference[1]


def choose_queries(evaluated: np.ndarray, queries, seed: int) -> np.ndarray:
    """Positions in `evaluated`: all (None), a number drawn by `seed`, or the given rows of the query frame."""
    if queries is None or (isinstance(queries, int) and queries >= len(evaluated)):
        chosen = np.arange(len(evaluated))
    elif isinstance(queries, int):
        if queries < 1:
            raise ValueError(f"queries={queries}: show at least one, or None for all")
        chosen = np.sort(np.random.default_rng(seed).choice(len(evaluated), queries, replace=False))
    else:
        place = {int(row): i for i, row in enumerate(evaluated)}
        missing = [int(row) for row in queries if int(row) not in place]
        if missing:
            raise ValueError(
                f"query row {missing[0]} was not evaluated (it has no right image, or is not in the query frame); "
                f"{len(evaluated)} queries were"
            )
        chosen = np.array([place[int(row)] for row in queries], np.int64)
    if len(chosen) > MOST_QUERIES:
        raise ValueError(
            f"{len(chosen)} queries are too many for one page, which holds {MOST_QUERIES:,}; pass queries=200 to draw "
            "200 of them at random, or queries=[rows of the query frame]"
        )
    return chosen


def gallery_shown(rankings: dict[str, Ranking]) -> np.ndarray:
    """Sorted gallery rows that occur in any list or as a hit. ValueError when they are too many for a page."""
    rows = [part for r in rankings.values() for part in (r.order, r.hit_rows[r.hit_rows >= 0])]
    shown = np.unique(np.concatenate(rows)).astype(np.int64)
    if len(shown) > MOST_IMAGES:
        raise ValueError(
            f"the lists show {len(shown):,} gallery images, too many for one page, which holds {MOST_IMAGES:,}; pass a "
            "smaller top (images kept of each list) or fewer queries, for example top=50, queries=200"
        )
    return shown


def pack(packer: Packer, rankings: dict[str, Ranking], shown: np.ndarray) -> list[dict]:
    """The lists of each model, with gallery rows replaced by their place in `shown`."""
    place = np.full(max(r.gallery for r in rankings.values()) + 1, 65535, np.int64)
    place[shown] = np.arange(len(shown))
    packed = []
    for name, r in rankings.items():
        lists = {
            "start": packer.add(r.start, "u4"),
            "order": packer.add(place[r.order], "u2"),
            "distance": packer.add(r.distances, "f4"),
            "mark": packer.add(r.mark, "u1"),
            "hitStart": packer.add(r.hit_start, "u4"),
            "hits": packer.add(r.hits, "u4"),
            "hitPlace": packer.add(place[r.hit_rows], "u2"),  # a row of -1 takes the last place, 65535
            "positives": packer.add(r.positives, "u4"),
        }
        packed.append({"name": name, "depth": r.depth, "lists": lists})
    return packed


def pack_people(packer: Packer, frame: pd.DataFrame, rows: np.ndarray) -> dict:
    """Row, identity, camera and outfit of some images."""
    part = frame.iloc[rows]
    clothes = part["clothes"] if "clothes" in part else pd.Series(-1, part.index)
    columns = {"row": rows, "pid": part["pid"], "camera": part["camid"], "clothes": clothes}
    return {name: packer.add(np.asarray(values), "i4") for name, values in columns.items()}


def pack_images(packer: Packer, images: Images, query, shown, height: int, blurred: bool) -> dict:
    """Sprite sheets of the queries, then the gallery images that are shown. Unreadable ones are listed."""
    if images.pixels is None:
        return {"files": [], "size": [2, 1], "columns": COLUMNS, "perSheet": PER_SHEET, "missing": []}
    added = len(images.pixels) + np.arange(len(images.extra))
    queries = np.concatenate([images.rows["query"], added])[query]
    rows = np.concatenate([queries, images.rows["gallery"][shown]])
    made = sheets(images.pick, rows, height, blurred)
    return {
        "files": [packer.add(file, made.mime) for file in made.files],
        "size": list(made.size),
        "columns": COLUMNS,
        "perSheet": PER_SHEET,
        "missing": [i for i, row in enumerate(rows.tolist()) if row in images.skipped],
    }


def is_drawn(frame: pd.DataFrame) -> bool:
    """Drawn people carry the design of their outfit; anything else may be a photograph of somebody."""
    return "look" in frame.columns
