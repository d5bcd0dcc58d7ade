"""The ranking explorer: pick a query, see what one or two models rank first, and why it scores what it scores."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
import traitlets

from reidlib.explore import payload
from reidlib.explore.newcomers import Newcomers
from reidlib.explore.ranking import CROSS_CAMERA, IGNORED, Ranking, rank, rank_distances
from reidlib.explore.static import KernelFree, Packer
from reidlib.retrieval import Protocol, Scores


class RankingExplorer(KernelFree):
    """Ranked lists of one or more models over the same query and gallery frames, to look through.

    Live, `query` (row of the query frame), `model`, `compare` ("" for one model alone), `k` and `show_ignored` follow
    the reader and may be set; `observe` them as any trait. On a static page everything works but new queries.

    rankings: {name: Ranking} over the same frames; see also `from_features`, `from_distances`, `from_scores`.
    images: an ImageStore or uint8 (n, 3, h, w), None for no pictures; query_rows, gallery_rows: the image of each
    frame row (default: the frame's column `row`, else its index). queries: how many to show, drawn by `seed`, or rows
    of the query frame, or None for all (at most 1,000). top: images kept of each list. height: of a thumbnail, pixels.
    real_people: pictures that are not drawn are left out unless this is True, and then they are blurred unless
    blur=False. title, name: heading, and the widget's name in links (`#w=name&q=…&m=…`).
    Raises ValueError where rankings, frames and images do not fit, or are too many for a page.
    """

    MODULE = "explorer"
    STATE = ("query", "model", "compare", "k", "show_ignored")
    query = traitlets.Int().tag(sync=True)
    model = traitlets.Unicode().tag(sync=True)
    compare = traitlets.Unicode().tag(sync=True)
    k = traitlets.Int(10).tag(sync=True)
    show_ignored = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self,
        rankings: Mapping[str, Ranking],
        query_frame: pd.DataFrame,
        gallery_frame: pd.DataFrame,
        images=None,
        query_rows=None,
        gallery_rows=None,
        *,
        queries=200,
        top: int = 100,
        seed: int = 0,
        k: int = 10,
        height: int = 64,
        real_people: bool = False,
        blur: bool = True,
        protocol: Protocol = CROSS_CAMERA,
        title: str = "",
        name: str = "",
    ):
        rankings = {str(model): ranking for model, ranking in rankings.items()}
        self._evaluated = payload.common_queries(rankings, len(query_frame), len(gallery_frame))
        self._rankings, self._frames, self._protocol = rankings, (query_frame, gallery_frame), protocol
        drawn = payload.is_drawn(query_frame) and payload.is_drawn(gallery_frame)
        self._left_out = images is not None and not drawn and not real_people
        self._blur = not drawn and blur
        self._images = payload.Images(images, query_frame, gallery_frame, query_rows, gallery_rows)
        self._size = None if images is None else tuple(self._images.pixels.shape[2:])  # new pictures are brought to it
        if self._left_out:
            self._images.pixels = None
        self._chosen = payload.choose_queries(self._evaluated, queries, seed)
        self._options = {"top": top, "height": height, "seed": seed, "title": title, "name": name}
        self._newcomers = Newcomers()
        meta, blob = self._built()
        models = list(rankings)
        super().__init__(
            meta=meta, blob=blob, query=self._typical(models[0]), model=models[0],
            compare=models[1] if len(models) > 1 else "", k=max(1, min(k, meta["top"])),
        )  # fmt: skip
        self.on_msg(self._received)

    @classmethod
    def from_features(cls, features: Mapping, query_frame, gallery_frame, images=None, query_rows=None,
                      gallery_rows=None, *, embed: Mapping[str, Callable] | None = None, protocol=CROSS_CAMERA,
                      unmatched: str = "raise", top: int = 100, **options):  # fmt: skip
        """From `{name: (query features (q, d), gallery features (g, d))}`, squared Euclidean distance.

        embed: `{name: function}` from uint8 images (b, 3, h, w) to features (b, d), so that new queries can be ranked.
        """
        rankings = {
            name: rank(query, gallery, query_frame, gallery_frame, protocol, unmatched, top)
            for name, (query, gallery) in features.items()
        }
        made = cls(rankings, query_frame, gallery_frame, images, query_rows, gallery_rows, top=top, protocol=protocol,
                   **options)  # fmt: skip
        for name, (_, gallery) in features.items():
            made.attach(name, gallery, (embed or {}).get(name))
        return made

    @classmethod
    def from_distances(cls, distances: Mapping, query_frame, gallery_frame, images=None, query_rows=None,
                       gallery_rows=None, *, protocol=CROSS_CAMERA, unmatched: str = "raise", top: int = 100,
                       **options):  # fmt: skip
        """From `{name: distances (q, g)}`, re-ranked or not, smaller meaning nearer."""
        rankings = {
            name: rank_distances(matrix, query_frame, gallery_frame, protocol, unmatched, top)
            for name, matrix in distances.items()
        }
        return cls(rankings, query_frame, gallery_frame, images, query_rows, gallery_rows, top=top, protocol=protocol,
                   **options)  # fmt: skip

    @classmethod
    def from_scores(cls, scores: Mapping[str, Scores], query_frame, gallery_frame, images=None, query_rows=None,
                    gallery_rows=None, *, protocol=CROSS_CAMERA, **options):  # fmt: skip
        """From `{name: Scores}`, without ignored images, which Scores do not hold. top is at most their top_k."""
        rankings = {
            name: Ranking.from_scores(value, query_frame, gallery_frame, protocol) for name, value in scores.items()
        }
        options["top"] = min([options.get("top", 100), *(value.order.shape[1] for value in scores.values())])
        return cls(rankings, query_frame, gallery_frame, images, query_rows, gallery_rows, protocol=protocol, **options)

    def attach(self, name: str, gallery_features: torch.Tensor, embed: Callable | None = None) -> None:
        """Give a model what ranks new queries: its gallery features (g, d), and `embed` from images to features."""
        if name not in self._rankings:
            raise ValueError(f"there is no model {name!r}; the explorer has {', '.join(map(repr, self._rankings))}")
        if len(gallery_features) != len(self._frames[1]):
            raise ValueError(f"{len(gallery_features)} gallery features for {len(self._frames[1])} gallery images")
        self._newcomers.attach(name, gallery_features, embed)
        self.meta = self.meta | {"accepts": self._newcomers.ready(self._rankings)}

    def add_query(self, row: int | None = None, image=None, pid: int | None = None, camera: int | None = None) -> int:
        """Show one more query: a `row` of the query frame that was evaluated, or a new `image`. Returns its number.

        image: a file, its bytes, or uint8 (3, h, w); it is embedded and ranked by every model. With pid and camera
        (0-based) it is scored by the protocol, else nothing is right or wrong. Its number is below zero.
        """
        if (row is None) == (image is None):
            raise ValueError("add_query takes a row of the query frame, or an image: pass one of the two")
        if row is not None:
            place = payload.choose_queries(self._evaluated, [row], 0)
            chosen = self._chosen if place[0] in self._chosen else np.concatenate([self._chosen, place])
        else:
            row = self._newcomers.add(image, self._size, self._rankings, self._frames, self._protocol, pid, camera)
            chosen = self._chosen
        previous, self._chosen = self._chosen, chosen
        try:
            meta, blob = self._built()
        except Exception:
            self._chosen = previous
            self._newcomers.forget(row)
            raise
        with self.hold_sync():
            self.meta, self.blob, self.query = meta, blob, row
        return row

    @traitlets.validate("query", "model", "compare", "k")
    def _valid(self, proposal):
        name, value, meta = proposal["trait"].name, proposal["value"], self.meta
        if name == "query" and value not in meta["queries"]:
            raise traitlets.TraitError(
                f"query {value} is not among the {len(meta['queries'])} shown; call add_query(row={value}) first"
            )
        names = [model["name"] for model in meta["models"]]
        if name in ("model", "compare") and value not in names and (name == "model" or value):
            raise traitlets.TraitError(f"there is no model {value!r}; the explorer has {', '.join(map(repr, names))}")
        if name == "k" and not 1 <= value <= meta["top"]:
            raise traitlets.TraitError(f"k={value}: lists hold 1 to {meta['top']} images")
        return value

    def describe(self) -> str:
        names = ", ".join(model["name"] for model in self.meta["models"])
        return f"Ranking explorer: {len(self.meta['queries'])} queries, ranked by {names}."

    def _built(self) -> tuple[dict, bytes]:
        packer, options = Packer(), self._options
        query_frame, gallery_frame = self._frames
        added = self._newcomers
        rankings = {
            model: added.join(model, ranking.take(self._chosen, options["top"]), options["top"])
            for model, ranking in self._rankings.items()
        }
        shown = payload.gallery_shown(rankings)
        rows = self._evaluated[self._chosen]
        models = payload.pack(packer, rankings, shown)
        for model, ranking in zip(models, self._rankings.values(), strict=True):
            model["all"] = ranking.summary()
        frame = added.extend(query_frame)
        query = np.concatenate([rows, len(query_frame) + np.arange(len(added))])
        numbers = [*rows.tolist(), *added.numbers()]
        self._images.extra = [newcomer.image for newcomer in added.added]
        meta = {
            "models": models, "top": max(map(_longest, rankings.values())), "title": options["title"],
            "protocol": {k: v for k, v in self._protocol.card().items() if k in ("name", "positive", "ignored")},
            "queries": numbers, "evaluated": len(self._evaluated), "seed": options["seed"],
            "gallery": len(gallery_frame),
            "gallerySource": payload.pack_people(packer, gallery_frame, shown),
            "querySource": payload.pack_people(packer, frame, query),
            "sheets": payload.pack_images(packer, self._images, query, shown, options["height"], self._blur),
            "pictures": "left out" if self._left_out else "blurred" if self._blur else "shown",
            "accepts": added.ready(self._rankings), "name": options["name"] or self._slug(),
        }  # fmt: skip
        return meta, packer.blob()

    def _typical(self, model: str) -> int:
        """The query row of median AP: what to show first."""
        scores = self._rankings[model].take(self._chosen).average_precision[0]
        return int(self._evaluated[self._chosen[np.argsort(scores, kind="stable")[len(scores) // 2]]])

    def _slug(self) -> str:
        """A name for links that stays the same from one build to the next."""
        words = self._options["title"] or " ".join(self._rankings)
        digest = hashlib.sha256("\0".join([words, *self._rankings]).encode()).hexdigest()[:4]
        return f"{re.sub('[^a-z0-9]+', '-', words.lower()).strip('-')[:24]}-{digest}"

    def _received(self, _, content, buffers) -> None:
        """A picture that the reader chose in the live widget."""
        try:
            if content.get("kind") == "picture" and buffers:
                self.message = ""
                self.add_query(image=bytes(buffers[0]))
        except Exception as error:  # whatever is wrong with a reader's file is said in the widget, not lost in a log
            self.message = f"This picture could not be ranked: {error}"


def _longest(ranking: Ranking) -> int:
    """The most images that a list holds, ignored ones not counted."""
    counted = np.concatenate([[0], np.cumsum(ranking.mark != IGNORED)])
    return max(1, int((counted[ranking.start[1:]] - counted[ranking.start[:-1]]).max()))
