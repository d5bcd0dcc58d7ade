"""What a camera does to a picture: its scene, light, lens, sensor, and what stands between it and the person."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .people import Table
from .scenes import GROUNDS, WALLS, WIDTH, paint_scene
from .shapes import Canvas, box, capsule, cover, ellipse, wave

OCCLUDERS = ("none", "pole", "bench", "bush", "box", "passer-by")
_LEVELS = 2040  # 255 * 8: the lens works on whole numbers, so that its sums are exact in any order


def strength(gap: float) -> float:
    """Scale of the camera differences: 0 at gap 0, 1 at gap 0.3, about 1.5 at gap 1."""
    return (gap / 0.3) ** 0.35


def sample_cameras(rng: np.random.Generator, n: int, gap: float) -> Table:
    """Draw ``n`` cameras. The same ``rng`` and another ``gap`` give the same cameras, more or less alike."""
    g = strength(gap)
    return {
        "wall": (np.arange(n) + rng.integers(len(WALLS))) % len(WALLS)
        if n <= len(WALLS)
        else rng.integers(0, len(WALLS), n),
        "ground": rng.integers(0, len(GROUNDS), n),
        "horizon": rng.uniform(0.28, 0.62, n),
        "scene_seed": rng.integers(0, 2**31, n),
        "gain": np.exp(0.26 * g * rng.uniform(-1.6, 1.0, n)),
        "cast": np.exp(0.13 * g * rng.normal(0, 1, (n, 3)).clip(-1.8, 1.8)),
        "contrast": np.exp(0.16 * g * rng.uniform(-1.8, 0.8, n)),
        "haze": np.abs(rng.normal(0, 0.04 * g, n)),
        "saturation": (1 - 0.22 * g * rng.uniform(-0.6, 1.6, n)).clip(0.25, 1.3),
        "blur": 0.0030 + 0.0060 * g * rng.uniform(0, 1, n),
        "rows": (150 * np.exp(-0.55 * g * rng.uniform(0, 1.4, n))).clip(26, 200),
        "noise": 0.008 + 0.026 * g * rng.uniform(0.2, 1, n),
        "light": rng.choice([-1.0, 1.0], n) * rng.uniform(0.5, 1, n),
        "sun": rng.uniform(0.2, 1.0, n),
        "yaw": rng.uniform(-np.pi, np.pi, n),
        "tilt": rng.normal(0, 0.018 * min(g, 1.5), n),
        "squat": 1 + rng.normal(0, 0.035 * min(g, 1.5), n),
        "occluder": rng.integers(1, len(OCCLUDERS), n),
    }


def scenes(cameras: Table, height: int) -> Tensor:
    """Scenes of all cameras for pictures ``height`` pixels high: ``(cameras, 3, H, WIDTH * H)`` float32 in [0, 1]."""
    tall = max(8, round(1.1 * height))
    painted = [
        paint_scene(np.random.default_rng(int(seed)), tall, horizon, wall, ground)
        for seed, horizon, wall, ground in zip(
            *(cameras[k] for k in ("scene_seed", "horizon", "wall", "ground")), strict=True
        )
    ]
    return torch.from_numpy(np.stack(painted))


def background(scene: Tensor, camera: Tensor, left: Tensor, zoom: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Crop every picture's scene at ``left`` (share of the scene's width) with ``zoom``: ``(b, 3, p)``, bilinear."""
    tall, wide = scene.shape[-2:]
    span = x.amax() - x.amin() + 1e-6
    u = (left * (WIDTH - span) + (x - x.amin()) * zoom) * tall - 0.5
    v = ((y - 0.6) * zoom + 0.6) * tall - 0.5
    u, v = u.clamp(0, wide - 1.001), v.clamp(0, tall - 1.001)
    iu, iv = u.floor(), v.floor()
    fu, fv = (u - iu)[:, None], (v - iv)[:, None]
    at = (iv * wide + iu).long()
    flat = scene.flatten(2)[camera.squeeze(1)]

    def pick(offset: int) -> Tensor:
        return flat.gather(2, (at + offset)[:, None].expand(-1, 3, -1))

    upper = pick(0) * (1 - fu) + pick(1) * fu
    return upper * (1 - fv) + (pick(wide) * (1 - fu) + pick(wide + 1) * fu) * fv


def ground_shadow(canvas: Canvas, f: dict[str, Tensor]) -> None:
    """Soft shadow on the ground: a pool under the feet and a streak away from the light."""
    dx, dy = (canvas.x - f["x"]) / f["scale"], (canvas.y - f["top"]) / f["scale"] - 0.985
    pool = (1 - (dx / 0.13) ** 2 - (dy / 0.022) ** 2).clamp(0, 1)
    canvas.darken(0.40 * pool)
    u = dx + 0.17 * f["light"]
    streak = (1 - (u / 0.26) ** 2 - ((dy + 0.012) / 0.026) ** 2).clamp(0, 1)
    canvas.darken(0.45 * f["sun"] * streak)


def paint_occluder(canvas: Canvas, kind: int, f: dict[str, Tensor]) -> None:
    """Paint the occluder ``kind`` (index into OCCLUDERS, not the passer-by) on every picture of the canvas.

    ``f`` holds place ``occ_x``, size ``occ_size`` in [0, 1], colour ``occ_colour`` and texture shift ``occ_phase``.
    """
    x, y, size = canvas.x - f["occ_x"], canvas.y, f["occ_size"]
    colour, pixels = f["occ_colour"], canvas.height
    name = OCCLUDERS[kind]
    if name == "pole":
        half = 0.02 + 0.035 * size
        canvas.paint(cover(x.abs() - half, pixels), colour, 0, 1.1 - 0.35 * (x / half + 0.4).square())
    elif name == "bench":
        top = 0.70 + 0.12 * size
        slats = torch.maximum(wave(y - top + 0.012, 0.048) - 0.008, (y - top - 0.075).abs() - 0.075)
        legs = torch.maximum((x.abs() - 0.17).abs() - 0.016, top - y)
        canvas.paint(cover(torch.minimum(torch.maximum(slats, x.abs() - 0.22), legs), pixels), colour, 0, 1.0)
    elif name == "bush":
        top = 0.66 + 0.18 * size
        shape = torch.ones_like(x)
        for k, (dx, dy, r) in enumerate(
            [(-0.16, 0.05, 0.09), (-0.05, 0.0, 0.10), (0.07, 0.03, 0.09), (0.17, 0.07, 0.08), (0, 0.2, 0.24)]
        ):
            shape = torch.minimum(shape, ellipse(x - dx, y - top - 0.1 - dy, r, r * (1 + 0.1 * k)))
        leaves = wave(x + 0.6 * y + f["occ_phase"], 0.05).abs() + wave(0.5 * x - y + f["occ_phase"], 0.037).abs()
        green = torch.tensor([0.20, 0.34, 0.15])[:, None] * (0.6 + colour)
        canvas.paint(cover(shape + 0.4 * leaves - 0.006, pixels), green, 0, 0.72 + 22 * leaves - (y - top).clamp(0, 1))
    else:
        top = 0.68 + 0.18 * size
        shape = box(x, y - top - 0.25, 0.20 + 0.1 * size, 0.25, 0.03)
        canvas.paint(cover(shape, pixels), colour, 0, 1.05 - 0.8 * (y - top).clamp(0, 1))
        stripe = torch.maximum(shape, (y - top - 0.05).abs() - 0.008)
        canvas.paint(cover(stripe, pixels), colour * 0.6, 0)
        rail, _, _ = capsule(x, y, (-0.18 + 0 * size, top), (0.18 + 0 * size, top), 0.006, 0.006)
        canvas.paint(cover(rail, pixels), colour * 0.5 + 0.4, 0)


def expose(rgb: Tensor, c: dict[str, Tensor]) -> Tensor:
    """Light and colour of a camera on ``(b, 3, p)`` pictures in [0, 1]; ``c``: its columns, the image's ``glow``."""
    grey = rgb.mean(1, keepdim=True)
    out = grey + (rgb - grey) * c["saturation"][:, None]
    out *= (c["gain"] * c["glow"])[:, None] * c["cast"]
    out = 0.45 + (out - 0.45) * c["contrast"][:, None]
    return out + (0.75 - out) * c["haze"][:, None]


def lens(pictures: np.ndarray, blur: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Blur and loss of resolution: ``pictures (b, 3, h, w)`` in [0, 1], ``blur`` in heights, ``rows`` of the sensor.

    Both are separable and linear: one banded matrix over rows, one over columns, on whole numbers.
    """
    h, w = pictures.shape[-2:]
    down = np.stack([_kernel(h, h, b, r) for b, r in zip(blur, rows, strict=True)])
    across = np.stack([_kernel(w, h, b, r) for b, r in zip(blur, rows, strict=True)])
    whole = np.rint(pictures.clip(0, 1) * np.float32(_LEVELS))
    whole = np.rint(np.matmul(down[:, None], whole) * np.float32(1 / 4096))
    return np.matmul(whole, across[:, None].swapaxes(-1, -2)) * np.float32(1 / 4096 / _LEVELS)


def _kernel(n: int, height: int, blur: float, rows: float) -> np.ndarray:
    """``(n, n)`` whole numbers whose rows sum to 4096: Gaussian blur, then sampling with ``rows`` a picture height."""
    blur, pitch = float(blur) * height, max(1.0, height / float(rows))
    key = (n, round(blur, 2), round(pitch, 2))
    if key not in _kernels:
        if len(_kernels) > 4096:
            _kernels.clear()
        _kernels[key] = _make_kernel(*key)
    return _kernels[key]


_kernels: dict[tuple, np.ndarray] = {}


def _make_kernel(n: int, blur: float, pitch: float) -> np.ndarray:
    at = np.arange(n) + 0.5
    smooth = np.exp(-0.5 * ((at[:, None] - at) / max(blur, 1e-3)) ** 2)
    smooth /= smooth.sum(1, keepdims=True)
    if pitch > 1:
        cells = max(2, int(np.ceil(n / pitch)))
        centres = (np.arange(cells) + 0.5) * n / cells
        into = np.clip((n / cells + 1) / 2 - abs(centres[:, None] - at), 0, 1)
        into /= into.sum(1, keepdims=True)
        back = np.clip(1 - abs(at[:, None] - centres) * cells / n, 0, None)
        smooth = (back / back.sum(1, keepdims=True)) @ into @ smooth
    weights = np.rint(smooth * 4096)
    weights[np.arange(n), weights.argmax(1)] += 4096 - weights.sum(1)
    return weights.astype(np.float32)
