"""Antialiased shapes on a batch of small pictures.

Every shape is a signed distance (negative inside) on a ``(b, pixels)`` grid; its coverage is the distance in pixels,
cut to [0, 1]. The same coverage paints the colour and writes the part map, so maps are exact. Pixels only see
additions, products, square roots and comparisons, each rounded the same way whatever the batch: pictures do not depend
on chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Canvas:
    """A batch of pictures being painted: ``rgb (b, 3, p)``, ``shade (b, p)``, ``parts (b, p)`` uint8, coordinates.

    ``x`` and ``y`` are ``(b, p)``: the y axis runs down from 0 to 1 over the picture's height, x is 0 in the middle
    and has the same unit. ``height`` is the picture's height in pixels. ``shade`` multiplies the colour at the end.
    """

    rgb: Tensor
    shade: Tensor
    parts: Tensor
    x: Tensor
    y: Tensor
    height: int

    def paint(self, cover: Tensor, colour: Tensor, part: int | None, shade: Tensor | float | None = None) -> None:
        """Lay ``colour`` (``(b, 3, 1)`` or ``(b, 3, p)``) over the pictures with weight ``cover (b, p)``.

        ``part`` is the value that the part map takes where more than half a pixel is covered; None leaves the map.
        ``shade`` (``(b, p)`` or a number) replaces the shade under the shape; None leaves it.
        """
        self.rgb += (colour - self.rgb).mul_(cover[:, None])
        if shade is not None:
            self.shade += (shade - self.shade).mul_(cover)
        if part is not None:
            self.parts.masked_fill_(cover > 0.5, part)

    def darken(self, weight: Tensor) -> None:
        """Multiply the shade by ``1 - weight``."""
        self.shade *= 1 - weight

    def take(self, rows: Tensor) -> Canvas:
        """A copy that holds only the pictures ``rows``."""
        return Canvas(self.rgb[rows], self.shade[rows], self.parts[rows], self.x[rows], self.y[rows], self.height)

    def band(self, pixels: slice) -> Canvas:
        """The same pictures seen through a slit: painting on it paints on this canvas."""
        rgb, shade, parts = self.rgb[..., pixels], self.shade[:, pixels], self.parts[:, pixels]
        return Canvas(rgb, shade, parts, self.x[:, pixels], self.y[:, pixels], self.height)

    def put(self, rows: Tensor, other: Canvas) -> None:
        """Write back what was painted on a copy made by ``take``."""
        self.rgb[rows], self.shade[rows], self.parts[rows] = other.rgb, other.shade, other.parts


def grid(count: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pixel centres ``x, y`` of ``count`` pictures, each ``(count, h * w)`` float32, unit: the picture's height."""
    h, w = size
    y = (torch.arange(h, dtype=torch.float32) + 0.5) / h
    x = (torch.arange(w, dtype=torch.float32) + 0.5 - w / 2) / h
    return x.repeat(h).expand(count, -1), y.repeat_interleave(w).expand(count, -1)


def cover(distance: Tensor, pixels: Tensor | float) -> Tensor:
    """Coverage in [0, 1] of a signed distance; ``pixels`` is the number of pixels in one unit of distance."""
    return (0.5 - distance * pixels).clamp_(0, 1)


def ellipse(x: Tensor, y: Tensor, rx: Tensor | float, ry: Tensor | float) -> Tensor:
    """Approximate signed distance to an axis-aligned ellipse around the origin (exact for a circle)."""
    u, v = x / rx, y / ry
    return ((u * u).add_(v * v).sqrt_() - 1) * torch.minimum(torch.as_tensor(rx), torch.as_tensor(ry))


def box(x: Tensor, y: Tensor, half_x: Tensor | float, half_y: Tensor | float, corner: Tensor | float = 0.0) -> Tensor:
    """Signed distance to a box around the origin with rounded corners (straight inside, round outside)."""
    u, v = x.abs() - (half_x - corner), y.abs() - (half_y - corner)
    outside = (u.clamp(min=0).square_() + v.clamp(min=0).square_()).sqrt_()
    return outside + torch.maximum(u, v).clamp_(max=0) - corner


def capsule(x: Tensor, y: Tensor, a: tuple, b: tuple, ra: Tensor | float, rb: Tensor | float) -> tuple[Tensor, ...]:
    """A limb from ``a`` (radius ``ra``) to ``b`` (radius ``rb``).

    Returns the signed distance, the position along the limb in [0, 1], and the horizontal offset from its axis in radii
    (about -1 to 1, for the shading). Points are pairs of ``(b, 1)`` tensors.
    """
    dx, dy = b[0] - a[0], b[1] - a[1]
    px, py = x - a[0], y - a[1]
    norm = (dx * dx + dy * dy).clamp(min=1e-8)
    t = (px * (dx / norm)).add_(py * (dy / norm)).clamp_(0, 1)
    px -= t * dx
    py -= t * dy
    radius = ra + t * (rb - ra)
    side = px / radius
    return (px.square_().add_(py.square_())).sqrt_().sub_(radius), t, side


def wave(t: Tensor, period: Tensor | float) -> Tensor:
    """Signed distance to stripes of equal width: negative on one stripe, positive on the next."""
    u = t / period
    return ((u - torch.floor(u) - 0.5).abs() - 0.25) * period


def column(values, rows=None) -> Tensor:
    """A table column as a float32 ``(b, 1)`` tensor (``(b, 3, 1)`` for colours), rows picked by ``rows``."""
    t = torch.as_tensor(values if rows is None else values[rows], dtype=torch.float32)
    return t[..., None]
