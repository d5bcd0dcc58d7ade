"""Sheets: many small pictures of one run as a single WebP file beside its record, small enough to be committed."""

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reidlib.results.records import Record

SHEET = "sheet.webp"  # beside record.json; among committed records <id>.webp
QUALITY = 90  # of WebP: small errors that the eye does not see, so a sheet is for looking, not for measuring


def as_sheet(images: Tensor, columns: int = 12) -> bytes:
    """Images uint8 (n, 3, h, w), drawn people only, as the bytes of one WebP picture, `columns` in a row.

    Raises ValueError for other shapes, no image, and a sheet beyond WebP's 16,383 pixels on a side.
    """
    from PIL import Image

    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8 or not len(images):
        raise ValueError(f"a sheet takes images uint8 (n, 3, h, w), got {images.dtype} {tuple(images.shape)}")
    n, _, height, width = images.shape
    lines = -(-n // columns)
    if max(lines * height, columns * width) > 16383:
        raise ValueError(f"{n} images of {height}x{width} make a sheet that is too large for WebP: take fewer")
    places = torch.full((lines * columns, 3, height, width), 255, dtype=torch.uint8)
    places[:n] = images.cpu()
    sheet = places.view(lines, columns, 3, height, width).permute(0, 3, 1, 4, 2)
    buffer = io.BytesIO()
    Image.fromarray(sheet.reshape(lines * height, columns * width, 3).numpy()).save(
        buffer, "WEBP", quality=QUALITY, method=6
    )
    return buffer.getvalue()


def sheet_of(record: Record) -> Path | None:
    """The sheet's file of a run that was read from disk, or None."""
    places = [record.source / SHEET, record.source / f"{record.id}.webp"] if record.source else []
    return next((file for file in places if file.is_file()), None)


def from_sheet(file: Path | str, count: int, size: tuple[int, int]) -> Tensor:
    """The first `count` images of a sheet: uint8 (count, 3, h, w), size = (h, w) in pixels.

    Raises ValueError for a file that is no such sheet.
    """
    from PIL import Image

    height, width = size
    with Image.open(file) as opened:
        pixels = torch.from_numpy(np.array(opened.convert("RGB")))
    lines, columns = pixels.shape[0] // height, pixels.shape[1] // width
    if pixels.shape[:2] != (lines * height, columns * width) or lines * columns < count:
        raise ValueError(f"{Path(file).name} does not hold {count} images of {height}x{width}")
    images = pixels.view(lines, height, columns, width, 3).permute(0, 2, 4, 1, 3)
    return images.reshape(lines * columns, 3, height, width)[:count].contiguous()
