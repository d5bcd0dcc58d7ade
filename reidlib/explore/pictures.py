"""Images in a grid, with choosers and a slider between layers: the interactive figures of the chapters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import torch
import traitlets

from reidlib.explore.static import KernelFree, Packer
from reidlib.explore.thumbnails import COLUMNS, PER_SHEET, sheets

MOST = 4000  # different images a page


@dataclass(frozen=True)
class Cell:
    """One place of a grid. layers: uint8 images (3, h, w), one for each layer of the figure; caption stands below.

    mark: True frames it as right (blue, tick), False as wrong (orange, cross), None not at all.
    """

    layers: Sequence = field(repr=False)
    caption: str = ""
    mark: bool | None = None


class Pictures(KernelFree):
    """A figure that a reader steps through, with or without a kernel.

    grids: {choice: grid} for every combination of the choosers (a choice is a tuple of one option each, or the option
    itself where there is one chooser), or a single grid. A grid is a list of rows of cells: a uint8 image (3, h, w), a
    list of such (layers), a `Cell`, or None for an empty place.
    choosers: {label: options}. layers: names of the layers; a slider fades from each to the next. rows, columns:
    labels. drawn: whether these are drawn people: pictures of others are left out unless real_people=True, and then
    blurred unless blur=False. width: of a cell, CSS pixels. quality: of WebP, 100 for lossless (maps).
    Live, `chosen` (one number a chooser) and `layer` (0 to layers - 1) follow the reader and may be set.
    Raises ValueError for a missing combination, images of different sizes, or layers that do not fit.
    """

    MODULE = "pictures"
    STATE = ("chosen", "layer")
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)
    layer = traitlets.Float(0.0).tag(sync=True)

    def __init__(
        self,
        grids,
        *,
        drawn: bool,
        choosers: Mapping[str, Sequence] | None = None,
        layers: Sequence[str] = (),
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        title: str = "",
        note: str = "",
        width: int = 72,
        height: int = 128,
        quality: int = 85,
        real_people: bool = False,
        blur: bool = True,
    ):
        choosers = {str(label): [str(option) for option in options] for label, options in (choosers or {}).items()}
        grids = grids if isinstance(grids, Mapping) else {(): grids}
        grids = {tuple(map(str, key)) if isinstance(key, tuple) else (str(key),): grid for key, grid in grids.items()}
        wanted = list(product(*choosers.values()))
        missing = [key for key in wanted if key not in grids]
        if missing:
            raise ValueError(f"there is no grid for the choice {missing[0]}; give one for each of {len(wanted)}")
        collected = _Collected(max(1, len(layers)))
        views = [[[collected.cell(cell) for cell in row] for row in grids[key]] for key in wanted]
        packer, pictures = Packer(), "shown"
        if not drawn:
            pictures = "left out" if not real_people else "blurred" if blur else "shown"
        meta = {
            "title": title, "note": note, "width": width, "choosers": choosers, "layers": list(layers),
            "rows": list(rows), "columns": list(columns), "views": views, "pictures": pictures,
            "sheets": collected.pack(packer, height, quality, pictures),
        }  # fmt: skip
        super().__init__(meta=meta, blob=packer.blob(), chosen=[0] * len(choosers))

    @traitlets.validate("chosen")
    def _valid(self, proposal):
        counts = [len(options) for options in self.meta["choosers"].values()]
        value = proposal["value"]
        if len(value) != len(counts) or any(not 0 <= v < n for v, n in zip(value, counts, strict=True)):
            raise traitlets.TraitError(f"chosen={value}: pass one number for each chooser, below {counts}")
        return value

    def describe(self) -> str:
        title = self.meta["title"] or "Pictures"
        return f"{title}: {len(self.meta['views'])} grids of images to choose from."


class _Collected:
    """Different images, each kept once, and cells that name them by number."""

    def __init__(self, layers: int):
        self.layers, self.images, self.numbers = layers, [], {}

    def cell(self, cell) -> dict | None:
        if cell is None:
            return None
        if not isinstance(cell, Cell):
            cell = Cell(cell if isinstance(cell, list | tuple) else [cell])
        images = list(cell.layers)
        if len(images) != self.layers:
            raise ValueError(f"a cell has {len(images)} images for {self.layers} layers; give one for each layer")
        return {"layers": [self._number(image) for image in images], "caption": cell.caption, "mark": cell.mark}

    def _number(self, image) -> int:
        image = torch.as_tensor(image).cpu()
        if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
            raise ValueError(f"an image is {image.dtype} {tuple(image.shape)}; pass uint8 (3, h, w)")
        if self.images and image.shape != self.images[0].shape:
            first = tuple(self.images[0].shape)
            raise ValueError(f"images of {first} and {tuple(image.shape)} in one figure; resize them")
        key = hashlib.blake2b(image.contiguous().numpy(), digest_size=16).digest()
        if key not in self.numbers:
            if len(self.images) == MOST:
                raise ValueError(f"more than {MOST:,} different images are too many for one figure; show fewer choices")
            self.numbers[key] = len(self.images)
            self.images.append(image)
        return self.numbers[key]

    def pack(self, packer: Packer, height: int, quality: int, pictures: str) -> dict:
        if not self.images:
            raise ValueError("there is no image to show: every cell is empty")
        made = None
        if pictures != "left out":
            images = torch.stack(self.images)
            made = sheets(lambda part: images[part], np.arange(len(images)), height, pictures == "blurred", quality)
        _, tall, wide = self.images[0].shape
        return {
            "files": [packer.add(file, made.mime) for file in made.files] if made else [],
            "size": list(made.size) if made else [tall, wide],
            "columns": COLUMNS, "perSheet": PER_SHEET, "missing": [], "count": len(self.images),
        }  # fmt: skip
