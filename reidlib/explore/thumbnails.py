"""Thumbnails in sprite sheets: many small images in few pictures, as bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

PER_SHEET = 1024  # 32 columns of at most 32 rows
COLUMNS = 32


@dataclass(frozen=True)
class Sheets:
    """`files`: encoded pictures (`mime`), each with 32 columns of thumbnails of `size` (height, width) pixels."""

    files: list[bytes]
    size: tuple[int, int]
    count: int
    mime: str = "image/webp"


def shrink(images: torch.Tensor, height: int) -> torch.Tensor:
    """uint8 (n, 3, h, w) to at most `height` pixels, proportions kept, bilinear with antialias."""
    if images.shape[2] <= height:
        return images
    size = (height, max(1, round(images.shape[3] * height / images.shape[2])))
    small = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True)
    return small.round_().clamp_(0, 255).to(torch.uint8)


def blur(images: torch.Tensor, strength: float = 0.05) -> torch.Tensor:
    """uint8 (n, 3, h, w) blurred by a Gaussian of `strength` times the height, which leaves no face to recognise."""
    sigma = max(1.0, strength * images.shape[2])
    reach = torch.arange(-int(3 * sigma), int(3 * sigma) + 1, dtype=torch.float32)
    kernel = torch.exp(-(reach**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    edge = len(reach) // 2
    found = images.float()
    found = F.conv2d(F.pad(found, (edge, edge, 0, 0), mode="replicate"), kernel[:, :, None, :], groups=3)
    found = F.conv2d(F.pad(found, (0, 0, edge, edge), mode="replicate"), kernel[:, :, :, None], groups=3)
    return found.round_().clamp_(0, 255).to(torch.uint8)


def sheets(pick: Callable, rows, height: int = 64, blurred: bool = False, quality: int = 80) -> Sheets:
    """Sprite sheets of images in the order of `rows`, as WebP of `quality`; `pick(rows)` gives uint8 (n, 3, h, w)."""
    rows = torch.as_tensor(np.asarray(rows, np.int64))
    files, size = [], (height, height // 2)
    for part in rows.split(PER_SHEET):
        small = shrink(pick(part), height)
        small = blur(small) if blurred else small
        size = (small.shape[2], small.shape[3])
        files.append(encode(_tiled(small), quality))
    return Sheets(files, size, len(rows))


def encode(picture: np.ndarray, quality: int = 80) -> bytes:
    """An uint8 picture (h, w, 3) as WebP; `quality` 100 and above is lossless."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=min(quality, 100), lossless=quality >= 100, method=3)
    return buffer.getvalue()


def _tiled(images: torch.Tensor) -> np.ndarray:
    """(n, 3, h, w) in rows of 32: (H, W, 3)."""
    count, _, height, width = images.shape
    lines = -(-count // COLUMNS)
    space = torch.zeros(lines * COLUMNS, 3, height, width, dtype=torch.uint8)
    space[:count] = images
    grid = space.view(lines, COLUMNS, 3, height, width).permute(0, 3, 1, 4, 2)
    return grid.reshape(lines * height, COLUMNS * width, 3).numpy()
