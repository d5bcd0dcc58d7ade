"""A playground for the measures: move the results of made-up lists and see AP, CMC and mAP move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import traitlets

from reidlib.explore.ranking import IGNORED, RIGHT, WRONG
from reidlib.explore.static import KernelFree, Packer
from reidlib.explore.thumbnails import COLUMNS, PER_SHEET, sheets
from reidlib.retrieval import average_precision


class MetricsPlayground(KernelFree):
    """Ranked lists whose results a reader drags, or moves by keyboard.

    lists: {name: 1-based ranks of the right images} in lists of `length` results; ignored: {name: ranks of images that
    count as not there}, places and not ranks proper. images: uint8 (n, 3, h, w) and rows {name: store row of each
    place} put pictures on the results; drawn says whether these are drawn people: pictures of real ones are refused.
    Live, `order` is {name: the results' first places in their present order}; `scores()` rates it.
    Raises ValueError for ranks outside 1..length, a list without a right image, or rows that do not fit.
    """

    MODULE = "playground"
    STATE = ("order",)
    order = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        lists: Mapping[str, Sequence[int]],
        length: int = 10,
        ignored: Mapping[str, Sequence[int]] | None = None,
        images: torch.Tensor | None = None,
        rows: Mapping[str, Sequence[int]] | None = None,
        drawn: bool = False,
        title: str = "",
    ):
        if not lists:
            raise ValueError("there is no list to move results in; pass {'A': [1, 3], ...}")
        marks = {str(n): _marks(str(n), hits, (ignored or {}).get(n, ()), length) for n, hits in lists.items()}
        packer, pictures = Packer(), None
        if images is not None:
            if not drawn:
                raise ValueError("pictures of real people do not belong on this page; pass drawn=True for drawn ones")
            pictures = _pictures(packer, images, rows, marks, length)
        meta = {"title": title, "marks": marks, "sheets": pictures}
        order = {name: list(range(length)) for name in marks}
        super().__init__(meta=meta, blob=packer.blob(), order=order)

    @traitlets.validate("order")
    def _valid(self, proposal):
        for name, marks in self.meta["marks"].items():
            places = proposal["value"].get(name, [])
            if sorted(places) != list(range(len(marks))):
                raise traitlets.TraitError(f"the order of list {name!r} must hold 0 to {len(marks) - 1} once each")
        return proposal["value"]

    def scores(self) -> dict[str, dict[str, float]]:
        """{name: {"AP", "AP_trap", "first"}} of the present order, and under "mean" mAP, mAP_trap."""
        found = {}
        for name, places in self.order.items():
            marks = np.array(self.meta["marks"][name])[places]
            hits = np.cumsum(marks != IGNORED)[marks == RIGHT]
            std, trap = average_precision(hits, np.array([0, len(hits)]))
            found[name] = {"AP": float(std[0]), "AP_trap": float(trap[0]), "first": int(hits[0])}
        mean = {key: float(np.mean([value[key] for value in found.values()])) for key in ("AP", "AP_trap")}
        return found | {"mean": {"mAP": mean["AP"], "mAP_trap": mean["AP_trap"]}}

    def describe(self) -> str:
        return f"A playground of {len(self.meta['marks'])} ranked lists: move results and see AP, CMC and mAP move."


def _marks(name: str, hits, ignored, length: int) -> list[int]:
    wrong = [rank for rank in (*hits, *ignored) if not 1 <= rank <= length]
    if wrong:
        raise ValueError(f"list {name!r}: rank {wrong[0]} is outside 1..{length}")
    if not len(hits):
        raise ValueError(f"list {name!r} has no right image; a query without one cannot be scored")
    if set(hits) & set(ignored):
        raise ValueError(f"list {name!r}: place {min(set(hits) & set(ignored))} is both right and ignored")
    return [RIGHT if place in hits else IGNORED if place in ignored else WRONG for place in range(1, length + 1)]


def _pictures(packer: Packer, images, rows, marks: dict, length: int) -> dict:
    rows = rows or {}
    for name in marks:
        if len(rows.get(name, ())) != length:
            raise ValueError(f"list {name!r} has {len(rows.get(name, ()))} pictures for {length} places; pass rows")
    images = torch.as_tensor(images)
    chosen = [int(row) for name in marks for row in rows[name]]
    made = sheets(lambda part: images[part.to(images.device)].cpu(), chosen, height=96)
    files = [packer.add(file, made.mime) for file in made.files]
    return {
        "files": files, "size": list(made.size), "columns": COLUMNS, "perSheet": PER_SHEET, "missing": [],
        "count": len(chosen),
    }  # fmt: skip
