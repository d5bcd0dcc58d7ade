"""Paints bags: backpacks, shoulder bags, bags in the hand."""

from __future__ import annotations

import torch

from .painter import BAG, Painter
from .shapes import box, ellipse


def paint_backpack(p: Painter, seen_from: str) -> None:
    """A backpack: whole over the back, its rim beside the trunk from the front or the side."""
    f, j = p.f, p.j
    rows = p.picked("bag", 1)
    if not rows.any():
        return
    thin = 0.40 + 0.60 * j.c.abs()
    half = 0.078 * thin
    x, y = p.trunk_x() + j.s * (0.60 * j.shoulder_half + 0.052), p.y - 0.305
    shape = box(x, y, half, 0.105, 0.03)
    visible = rows * (j.back if seen_from == "back" else 1 - j.back)
    shade = p.round_shade(x / half)
    p.paint(shape, f["bag_colour"], BAG, shade, visible)
    pocket = box(x, y - 0.045, half * 0.72, 0.042, 0.015)
    p.paint(pocket, f["bag_colour"] * 0.78, BAG, shade, visible * p.edge(shape))


def paint_straps(p: Painter) -> None:
    """Straps of the backpack on the chest, and of the shoulder bag across the trunk."""
    f, j = p.f, p.j
    x, half = p.trunk_x(), p.profile()
    trunk = p.edge(torch.maximum(torch.maximum(x.abs() - half, 0.165 + 0.2 * x.abs() - p.y), p.y - 0.44))
    pair = ((x - 0.3 * j.s * half).abs() - 0.055 * (0.4 + 0.6 * j.c.abs())).abs() - 0.009
    on_chest = trunk * p.edge(p.y - 0.36) * p.picked("bag", 1) * (1 - j.back)
    p.paint(pair, f["bag_colour"] * 0.85, BAG, 0.95, on_chest)
    sign = f["bag_side"] * torch.where(j.c > 0, 1.0, -1.0)
    diagonal = (x * sign + 0.055 - (p.y - 0.17) * 0.5 * (0.35 + 0.65 * j.c.abs())).abs() - 0.006
    p.paint(diagonal, f["bag_colour"] * 0.7, BAG, 0.95, trunk * p.picked("bag", 2))


def paint_hip_bag(p: Painter, near: bool) -> None:
    """A shoulder bag at the hip or a bag in the hand, on the near or the far side of the body."""
    f, j = p.f, p.j
    limb = j.near if near else j.far
    mine = (f["bag_side"] * limb.side > 0).float()
    bx = limb.side * j.c * (j.hip_half + 0.012) - 0.01 * j.s
    turn = 0.65 + 0.35 * j.s.abs()
    hip = box(p.x - bx, p.y - 0.49, 0.052 * turn, 0.045, 0.012)
    p.paint(hip, f["bag_colour"], BAG, 0.95, mine * p.picked("bag", 2))
    flap = torch.maximum(hip, p.y - 0.475)
    p.paint(flap, f["bag_colour"] * 0.75, BAG, 0.95, mine * p.picked("bag", 2))
    hx, hy = limb.hand
    x, y = p.x - hx, p.y - hy
    held = box(x, y - 0.085, 0.050 * turn, 0.052, 0.01)
    handle = (ellipse(x, y - 0.03, 0.026 * turn, 0.03)).abs() - 0.005
    p.paint(
        torch.minimum(held, torch.maximum(handle, y - 0.035)), f["bag_colour"], BAG, 0.95, mine * p.picked("bag", 3)
    )
