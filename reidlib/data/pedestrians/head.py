"""Paints heads: neck, face, ears and hair."""

from __future__ import annotations

import torch
from torch import Tensor

from .painter import HAIR, HEAD, Painter
from .shapes import box, capsule, ellipse


def paint_head(p: Painter) -> None:
    """Neck, face with eyes, mouth, ears, beard and glasses, and the hair of the skull."""
    f, j, r = p.f, p.j, p.f["head"]
    hx, hy = j.head
    x, y = p.x - hx, p.y - hy
    neck, _, side = capsule(p.x, p.y, (hx * 0.9, hy + 0.05), (j.lean, torch.full_like(hy, 0.168)), 0.027, 0.031)
    p.paint(neck, f["skin"], HEAD, p.round_shade(side, 0.82))
    rx, ry = (0.049 + 0.006 * j.s.abs()) * r, 0.070 * r
    skull = ellipse(x, y, rx, ry)
    shade = p.round_shade(x / rx)
    bald = p.picked("hair_style", 3)
    puff = torch.where(p.picked("hair_style", 4) > 0, 0.022, 0.005) * (1 - bald)
    p.paint(ellipse(x, y + 0.006 + 0.3 * puff, rx + puff, ry - 0.004 + 0.6 * puff), f["hair"], HAIR, shade, 1 - bald)
    p.paint(skull, f["skin"], HEAD, shade, bald)
    p.paint(
        ellipse(x + 0.6 * rx * j.s, y - 0.2 * ry, rx * 0.9, ry * 0.6),
        f["hair"] * 0.8,
        HAIR,
        shade,
        bald * 0.55 * p.edge(skull) * ((0.4 - j.c) * 2).clamp(0, 1),
    )
    _bun(p, x, y, rx, ry)
    _ears(p, x, y, rx, ry)
    face = ellipse(x - 0.62 * rx * j.s, y - 0.26 * ry, rx * (0.90 - 0.22 * j.s.abs()), ry * 0.86)
    on_face = ((j.c + 0.45) * 3).clamp(0, 1)
    face = torch.maximum(face, skull)
    p.paint(face, f["skin"], HEAD, shade, on_face)
    _features(p, x, y, rx, ry, p.edge(face) * on_face)


def _ears(p: Painter, x: Tensor, y: Tensor, rx: Tensor, ry: Tensor) -> None:
    free = p.picked("hair_style", 0, 2, 3, 5)
    for turn in (-1.5, 1.5):
        angle = p.f["yaw"] + turn
        ear = ellipse(x - torch.sin(angle) * rx, y - 0.14 * ry, 0.009, 0.015)
        p.paint(ear, p.f["skin"] * 0.93, HEAD, 0.95, free * ((torch.cos(angle) + 0.45) * 4).clamp(0, 1))


def _features(p: Painter, x: Tensor, y: Tensor, rx: Tensor, ry: Tensor, face: Tensor) -> None:
    f, j = p.f, p.j
    ink = torch.zeros_like(f["skin"]) + 0.08
    beard = torch.maximum(0.28 * ry - y, -ellipse(x - rx * j.s, y - 0.42 * ry, rx * 0.34, 0.010))
    p.paint(beard, f["hair"], HAIR, None, face * f["beard"] * 0.9)
    for turn in (-0.42, 0.42):
        angle = f["yaw"] + turn
        at, seen = torch.sin(angle) * rx * 0.92, ((torch.cos(angle) - 0.15) * 4).clamp(0, 1)
        eye = ellipse(x - at, y - 0.06 * ry, 0.0085, 0.0065)
        p.paint(eye, ink, HEAD, 1.0, face * seen)
        brow = box(x - at, y + 0.10 * ry, 0.011, 0.003)
        p.paint(brow, f["hair"] * 0.8, HEAD, None, face * seen * 0.7)
    at = j.s * rx * 0.92
    frame = torch.maximum((y - 0.06 * ry).abs() - 0.005, (x - at).abs() - rx * 0.75 * (0.3 + 0.7 * j.c.abs()))
    p.paint(frame, ink, HEAD, None, face * f["glasses"] * 0.75)
    nose = box(x - at * 1.03, y - 0.26 * ry, 0.004, 0.010)
    p.canvas.darken(0.16 * p.edge(nose) * face)
    mouth = box(x - at * 0.97, y - 0.56 * ry, 0.015 * (0.35 + 0.65 * j.c.abs()), 0.0035)
    red = f["skin"] * torch.tensor([0.62, 0.32, 0.32])[:, None]
    p.paint(mouth, red, HEAD, None, face * ((j.c + 0.2) * 3).clamp(0, 1))


def _bun(p: Painter, x: Tensor, y: Tensor, rx: Tensor, ry: Tensor) -> None:
    bun = ellipse(x + 0.85 * rx * p.j.s, y + 0.80 * ry, 0.030, 0.027)
    p.paint(bun, p.f["hair"], HAIR, 0.92, p.picked("hair_style", 2))


def paint_drape(p: Painter, before_body: bool) -> None:
    """Long hair and pony tails: behind the neck when the face is seen, over the back otherwise."""
    f, j, r = p.f, p.j, p.f["head"]
    x, y = p.x - j.head[0] + 0.022 * j.s, p.y - j.head[1]
    length = 0.085 + 0.10 * f["hair_length"]
    half = (0.050 - 0.010 * j.s.abs()) * r
    long = box(x, y - 0.5 * length, half + 0.05 * (y - 0.02).clamp(0, 0.2), 0.5 * length + 0.015, 0.028)
    tail, _, _ = capsule(
        x + 0.04 * j.s, y, (torch.zeros_like(j.c), torch.full_like(j.c, -0.015)), (-0.02 * j.s, length), 0.020, 0.012
    )
    is_tail = p.picked("hair_style", 5)
    shape = torch.where(is_tail > 0, tail, long)
    side_on = (j.s.abs() - 0.5).clamp(0, 1) * 2
    over = torch.maximum(j.back * (1 - j.front), side_on * (j.c < 0.5)) if not before_body else j.front
    p.paint(shape, f["hair"], HAIR, p.round_shade(x / 0.06, 0.95), over.clamp(0, 1) * p.picked("hair_style", 1, 5))
