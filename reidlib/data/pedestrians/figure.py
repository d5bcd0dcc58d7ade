"""Paints one person on every picture of a batch: body, hair, clothes, shoes and bag, back to front."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

from .bags import paint_backpack, paint_hip_bag, paint_straps
from .body import WAIST_Y
from .head import paint_drape, paint_head
from .painter import HEAD, LIMBS, LOWER, SHOES, UPPER, Painter
from .shapes import Canvas, box, capsule, ellipse, wave

_FAR = 0.78  # shade of the limbs on the far side


def paint_figure(canvas: Canvas, f: dict[str, Tensor], labelled: bool = True) -> None:
    """Paint the person described by the columns ``f`` (people, looks, pose) on every picture.

    Place: ``f["x"]`` and ``f["top"]`` are the crown's place and ``f["scale"]`` the body's height, in picture heights.
    ``labelled=False`` writes background into the part map (people who hide the person of interest).
    """
    p = Painter(canvas, f, labelled)
    locks, skull = p.between(0.0, 0.34), p.between(-0.09, 0.24)
    arms, legs, hips, trunk = p.between(0.14, 0.68), p.between(0.32, 1.08), p.between(0.32, 0.88), p.between(0.09, 0.78)
    back, chest, hands = p.between(0.17, 0.45), p.between(0.12, 0.48), p.between(0.32, 0.84)
    paint_drape(locks, before_body=True)
    paint_backpack(back, seen_from="front")
    paint_hip_bag(hands, near=False)
    _arm(arms, p.j.far, _FAR)
    _leg(legs, p.j.far, _FAR)
    _leg(legs, p.j.near, 1.0)
    _lower_body(hips)
    _upper_body(trunk)
    paint_backpack(back, seen_from="back")
    paint_straps(chest)
    paint_hip_bag(hands, near=True)
    _arm(arms, p.j.near, 1.0)
    paint_head(skull)
    paint_drape(locks, before_body=False)


def _lower_body(p: Painter) -> None:
    """Hips of trousers and shorts; skirts and dresses."""
    f, y = p.f, p.y
    x, half = p.trunk_x(), p.profile()
    shade = p.round_shade(x / half)
    hips = torch.maximum(torch.maximum(x.abs() - half, WAIST_Y + 0.03 - y), y - (p.j.hip_y + 0.035))
    p.paint(hips, f["lower"], LOWER, shade)
    skirt = p.picked("lower_type", 2, 3)
    if not skirt.any():
        return
    drop = ((y - p.j.hip_y + 0.06) / 0.25).clamp(0, 1.2)
    stride = (p.j.near.ankle[0] - p.j.far.ankle[0]).abs()
    wide = half + drop * (0.012 + 0.055 * f["flare"] + 0.20 * stride)
    folds = wave(x / wide + 0.3, 0.36).abs() * 2.2
    shape = torch.maximum(torch.maximum(x.abs() - wide, WAIST_Y - y), y - f["lower_end"])
    colour = torch.where(p.picked("lower_type", 3)[..., None] > 0, p.cloth, f["lower"])
    p.paint(shape, colour, LOWER, p.round_shade(x / wide) - 0.10 + folds * drop, skirt)


def _upper_body(p: Painter) -> None:
    """Trunk of the upper garment, with its opening, logo, collar, belt and hem."""
    f, y, j = p.f, p.y, p.j
    x, half = p.trunk_x(), p.profile()
    flare = ((y - j.hip_y) / 0.2).clamp(0, 1.2) * 0.022
    slope = 0.150 + 0.27 * x.abs()
    d = torch.maximum(torch.maximum(x.abs() - half - 0.004 - flare, slope - y), y - f["hem"])
    shade = p.round_shade(x / half)
    shade += wave(y + 0.45 * x.abs() * j.near_side, 0.083) * 2.4 * ((y - 0.27) * 6).clamp(0, 1)
    p.paint(d, p.cloth, UPPER, shade)
    middle = x - 0.55 * j.s * half  # the breast bone, turned with the body
    inside = p.edge(d)
    _open_front(p, middle, inside)
    _collar(p, middle, inside)
    hem_line = p.edge((y - f["hem"] + 0.006).abs() - 0.004) * inside
    p.canvas.darken(0.22 * hem_line)
    belt = (y - f["hem"] - 0.004).abs() - 0.008
    on_body = p.edge(x.abs() - half) * f["belt"]
    p.paint(belt, f["belt_colour"], LOWER, None, on_body)


def _open_front(p: Painter, middle: Tensor, inside: Tensor) -> None:
    """A jacket that shows the shirt, the zip of a closed one, a print on the chest."""
    f, y, j = p.f, p.y, p.j
    gap = middle.abs() - (0.016 + 0.05 * (y - 0.15)) * j.front
    p.paint(gap, f["second"], UPPER, None, inside * j.front * p.picked("pattern", 6))
    button = p.edge(middle.abs() - 0.003) * inside * j.front * p.picked("collar", 2, 3)
    p.canvas.darken(0.3 * button * (1 - p.picked("pattern", 6)))
    print_ = box(middle, y - 0.275, 0.036 * (0.35 + 0.65 * j.c.abs()), 0.026, 0.008)
    p.paint(print_, f["second"], UPPER, None, inside * j.front * p.picked("pattern", 4))


def _collar(p: Painter, middle: Tensor, inside: Tensor) -> None:
    """Neck line: round, v, shirt collar (two light wings) or hood (a roll behind the head)."""
    f, y, j = p.f, p.y, p.j
    depth = 0.178 + 0.014 * j.front
    opening = torch.maximum(ellipse(middle, y - 0.15, 0.036, depth - 0.14), -(y - 0.1))
    v_shape = torch.maximum(middle.abs() - (0.235 - y) * 0.45, 0.14 - y)
    bare = torch.where(p.picked("collar", 1) > 0, torch.minimum(opening, v_shape), opening)
    p.paint(bare, f["skin"], HEAD, 0.88, inside * j.front)
    wings = torch.maximum((middle.abs() - 0.026 - (y - 0.17) * 0.2).abs() - 0.011, (y - 0.185).abs() - 0.02)
    light = f["upper"] + (0.97 - f["upper"]) * 0.35
    p.paint(wings, light, UPPER, 1.0, inside * p.picked("collar", 2) * j.front)
    hood = ellipse(p.x - j.lean + 0.03 * j.s, y - 0.178, 0.062, 0.03)
    p.paint(hood, f["upper"] * 0.8, UPPER, 0.95, p.picked("collar", 3) * (1 - 0.6 * j.front))


def _arm(p: Painter, limb: SimpleNamespace, base: float) -> None:
    """Sleeve, forearm and hand."""
    f, k = p.f, 0.55 + 0.45 * p.f["build"]
    d1, t1, s1 = capsule(p.x, p.y, limb.shoulder, limb.elbow, 0.036 * k, 0.027 * k)
    d2, t2, s2 = capsule(p.x, p.y, limb.elbow, limb.hand, 0.027 * k, 0.019 * k)
    lower = d2 < d1
    t, side, d = torch.where(lower, 1 + t2, t1), torch.where(lower, s2, s1), torch.minimum(d1, d2)
    shade = p.round_shade(side, base)
    sleeve = p.edge((t - f["sleeve"]) * 0.155)
    hand = ellipse(p.x - limb.hand[0] - 0.004 * p.j.s, p.y - limb.hand[1] - 0.012, 0.017, 0.022)
    p.paint(hand, f["skin"], LIMBS, 0.95 * base)
    p.paint(d + 0.004, f["skin"], LIMBS, shade)
    p.paint(d - 0.002, p.cloth, UPPER, shade * 0.97, sleeve)
    cuff = sleeve * p.edge((t - f["sleeve"]).abs() * 0.155 - 0.006) * p.edge(d)
    p.canvas.darken(0.25 * cuff)


def _leg(p: Painter, limb: SimpleNamespace, base: float) -> None:
    """Leg, trouser leg or shorts, and shoe."""
    f = p.f
    k = 0.45 + 0.55 * f["build"]
    covered = p.picked("lower_type", 0, 1)
    wide = torch.where(covered > 0, f["loose"], 0.86) * k
    d1, t1, s1 = capsule(p.x, p.y, limb.hip, limb.knee, 0.050 * wide, 0.037 * wide)
    d2, t2, s2 = capsule(p.x, p.y, limb.knee, limb.ankle, 0.036 * wide, 0.025 * (0.5 + 0.5 * wide))
    lower = d2 < d1
    t, side, d = torch.where(lower, 1 + t2, t1), torch.where(lower, s2, s1), torch.minimum(d1, d2)
    shade = p.round_shade(side, base)
    p.paint(d + 0.006, f["skin"], LIMBS, shade)
    _shoe(p, limb, base)
    end = torch.where(covered > 0, f["lower_end"], -1.0)
    p.paint(d, f["lower"], LOWER, shade, p.edge((t - end) * 0.23))
    crease = p.edge((t - 1.0).abs() * 0.23 - 0.005) * p.edge(d + 0.01) * covered
    p.canvas.darken(0.05 * crease)


def _shoe(p: Painter, limb: SimpleNamespace, base: float) -> None:
    f = p.f
    heel = (limb.ankle[0] - 0.012 * p.j.s, limb.ankle[1] + 0.018)
    d, _, _ = capsule(p.x, p.y, heel, limb.toe, 0.023, 0.019)
    sole = p.y - (limb.toe[1] + 0.006)
    p.paint(d, f["shoe"], SHOES, base)
    p.paint(torch.maximum(d, -sole), f["sole"], SHOES, 0.9 * base)
    shaft, _, _ = capsule(p.x, p.y, (limb.ankle[0], limb.ankle[1] - 0.07), limb.ankle, 0.030, 0.027)
    p.paint(shaft, f["shoe"], SHOES, base * 0.95, f["boots"])
