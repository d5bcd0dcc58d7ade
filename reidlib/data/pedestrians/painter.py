"""The person that is being painted: coordinates in body heights, joints, and colours of the clothes."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from .body import SHOULDER_Y, WAIST_Y, joints
from .shapes import Canvas, cover, wave

PART_NAMES = ("background", "head", "hair", "upper", "lower", "limbs", "shoes", "bag")
BACKGROUND, HEAD, HAIR, UPPER, LOWER, LIMBS, SHOES, BAG = range(8)


class Painter:
    """Coordinates in body heights, joints and clothes of one batch."""

    def __init__(self, canvas: Canvas, f: dict[str, Tensor], labelled: bool):
        self.canvas, self.f, self.labelled = canvas, f, labelled
        self.pixels = f["scale"] * canvas.height
        self.j = joints(f)
        self.y = (canvas.y - f["top"]) / f["scale"] - self.j.drop
        self.x = (canvas.x - f["x"]) / f["scale"] - f["tilt"] * (self.y - 0.5)
        self.light = f["light"]
        self.cloth = self._pattern()

    def between(self, top: float, bottom: float) -> Painter:
        """This painter on the rows of pixels between two heights of the body, to paint what lies there in less time."""
        edges = self.f["top"] + (torch.tensor([top, bottom]) + self.j.drop) * self.f["scale"]
        width = len(self.y[0]) // self.canvas.height
        first = max(0, math.floor(edges[:, 0].min().item() * self.canvas.height) - 1) * width
        last = max(0, math.ceil(edges[:, 1].max().item() * self.canvas.height) + 1) * width
        pixels = slice(first, max(first, last))
        other = copy.copy(self)
        other.canvas, other.cloth = self.canvas.band(pixels), self.cloth[..., pixels]
        other.x, other.y = self.x[:, pixels], self.y[:, pixels]
        return other

    def paint(
        self,
        distance: Tensor,
        colour: Tensor,
        part: int,
        shade: Tensor | float | None = None,
        where: Tensor | None = None,
    ) -> None:
        """Paint a signed distance; ``where`` (0 to 1) thins its coverage."""
        weight = cover(distance, self.pixels)
        if where is not None:
            weight = weight * where
        self.canvas.paint(weight, colour, part if self.labelled else BACKGROUND, shade)

    def edge(self, distance: Tensor) -> Tensor:
        return cover(distance, self.pixels)

    def round_shade(self, side: Tensor, base: float = 1.0) -> Tensor:
        """Shade of a cylinder at horizontal offset ``side`` (-1 to 1): darker away from the light."""
        turn = side - 0.55 * self.light
        return ((1.06 - 0.26 * turn * turn) * base).clamp_(0.35, 1.1)

    def picked(self, name: str, *values: int) -> Tensor:
        """1.0 where the column has one of the values."""
        column = self.f[name]
        hit = column == values[0]
        for value in values[1:]:
            hit = hit | (column == value)
        return hit.float()

    def _pattern(self) -> Tensor:
        """Colour of the upper garment at every pixel: ``(b, 3, p)``."""
        f, period = self.f, self.f["period"]
        bands, columns = self.edge(wave(self.y, period)), self.edge(wave(self.x - self.j.lean, period * 0.8))
        two_tone = self.edge(self.y - (0.27 + period))
        second = self.picked("pattern", 1) * bands + self.picked("pattern", 2) * columns
        second += self.picked("pattern", 3) * (bands + columns - 2 * bands * columns)
        second += self.picked("pattern", 5) * two_tone
        return f["upper"] + (f["second"] - f["upper"]) * second[:, None]

    def profile(self) -> Tensor:
        """Half width of the trunk at every height."""
        j = self.j
        to_waist = ((self.y - SHOULDER_Y) / (WAIST_Y - SHOULDER_Y)).clamp(0, 1)
        to_hip = ((self.y - WAIST_Y) / (j.hip_y - WAIST_Y)).clamp(0, 1)
        return j.shoulder_half + (j.waist_half - j.shoulder_half) * to_waist + (j.hip_half - j.waist_half) * to_hip

    def trunk_x(self) -> Tensor:
        """Horizontal offset from the middle of the trunk, which leans at the shoulders."""
        return self.x - self.j.lean * ((0.5 - self.y) * 3).clamp(0, 1)
