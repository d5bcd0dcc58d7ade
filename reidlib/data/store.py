"""The image store: every image of a data set, decoded once, in one uint8 tensor."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reidlib.data.decode import decode_into
from reidlib.data.mapped import decode_mapped


class ImageStore:
    """Images uint8 (n, 3, h, w) and, or None, part maps uint8 (n, h, w), on one device.

    `skipped` lists the rows whose file could not be decoded: their pixels are zero. A store on a memory-mapped file is
    read-only: take copies with `batch`. Raises ValueError when shapes or dtypes do not fit.
    """

    def __init__(self, images: Tensor, parts: Tensor | None = None, skipped: Sequence[int] = ()):
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
            raise ValueError(f"images must be uint8 (n, 3, h, w), not {images.dtype} {tuple(images.shape)}")
        if parts is not None and (parts.shape != images[:, 0].shape or parts.dtype != torch.uint8):
            wanted = tuple(images[:, 0].shape)
            raise ValueError(
                f"parts must be uint8 {wanted} beside these images, not {parts.dtype} {tuple(parts.shape)}"
            )
        if parts is not None and parts.device != images.device:
            raise ValueError(f"parts are on {parts.device}, images on {images.device}: put both on one device")
        self.images = images
        self.parts = parts
        self.skipped = list(skipped)

    @classmethod
    def from_files(
        cls,
        paths: Sequence[str | Path],
        size: tuple[int, int],
        masks: Sequence[str | Path | None] | None = None,
        memmap: str | Path | None = None,
        workers: int | None = None,
        on_error: str = "raise",
        progress: bool = True,
    ) -> "ImageStore":
        """Decode image files with several threads, resized to `size` = (height, width), bilinear with antialias.

        `masks` are the files of the part maps, None for an image without one (all background). `memmap` names a file
        that holds the pixels on disk instead of memory (see `reidlib.data.mapped`): a decode that was killed goes on
        where it stopped, and the next call finds everything done. `workers` are threads (default: the cores).
        An unreadable file raises ImageError; `on_error="skip"` leaves zeros, warns with the count, and fills `skipped`.
        """
        size, paths, masks = _checked(paths, size, masks, on_error)
        options = {"workers": workers, "on_error": on_error, "progress": progress}
        if memmap is not None:
            images, parts, skipped = decode_mapped(Path(memmap), paths, masks, size, **options)
        else:
            images, parts = _allocate(len(paths), size, masks is not None)
            skipped = decode_into(images, parts, paths, masks, range(len(paths)), **options)
        if skipped:
            first = paths[skipped[0]]
            warnings.warn(
                f"{len(skipped)} of {len(paths)} images could not be decoded and are left out (first: {first})",
                stacklevel=2,
            )
        return cls(images, parts, skipped)

    def __len__(self) -> int:
        return self.images.shape[0]

    def __repr__(self) -> str:
        parts = "no part maps" if self.parts is None else "part maps"
        return f"ImageStore({len(self)} images of {self.size[0]}x{self.size[1]}, {parts}, on {self.device})"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return tuple(self.images.shape[2:])

    @property
    def device(self) -> torch.device:
        return self.images.device

    def to(self, device) -> "ImageStore":
        """The same store on another device (itself when it is there already)."""
        if self.images.device == torch.empty(0, device=device).device:
            return self
        parts = None if self.parts is None else self.parts.to(device)
        return ImageStore(self.images.to(device), parts, self.skipped)

    def batch(self, rows) -> tuple[Tensor, Tensor | None]:
        """Copies of some rows: images uint8 (b, 3, h, w), and parts uint8 (b, h, w) or None.

        `rows`: a list, an int64 array or a tensor (b,), in any order. Raises IndexError for a row that does not exist.
        """
        rows = torch.as_tensor(rows, dtype=torch.int64).reshape(-1)
        if rows.device.type == "cpu" and len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self):
            wrong = rows[(rows < 0) | (rows >= len(self))][0]
            raise IndexError(f"row {int(wrong)} is not in the store, which has rows 0..{len(self) - 1}")
        rows = rows.to(self.device)
        return self.images.index_select(0, rows), None if self.parts is None else self.parts.index_select(0, rows)


def _checked(paths, size, masks, on_error) -> tuple:
    if not len(paths):
        raise ValueError("no image to decode: the list of paths is empty")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error={on_error!r} is unknown; it is 'raise' or 'skip'")
    if masks is not None and len(masks) != len(paths):
        raise ValueError(f"{len(masks)} part maps for {len(paths)} images; give one (or None) an image")
    if masks is not None and all(mask is None for mask in masks):
        masks = None
    return check_size(size), [str(path) for path in paths], masks


def check_size(size) -> tuple[int, int]:
    """`size` as (height, width) in pixels; ValueError when it is not two positive whole numbers."""
    if not isinstance(size, Sequence | np.ndarray) or len(size) != 2 or any(int(v) != v or v < 1 for v in size):
        raise ValueError(f"size={size!r} is not (height, width) in pixels, for example (256, 128)")
    return int(size[0]), int(size[1])


def _allocate(count: int, size: tuple[int, int], with_parts: bool) -> tuple[Tensor, Tensor | None]:
    try:
        images = torch.zeros((count, 3, *size), dtype=torch.uint8)
        parts = torch.zeros((count, *size), dtype=torch.uint8) if with_parts else None
    except RuntimeError as error:
        need = count * (3 + with_parts) * size[0] * size[1] / 2**30
        message = f"{count} images of {size[0]}x{size[1]} need {need:.1f} GiB of memory: pass memmap=FILE instead"
        raise MemoryError(message) from error
    return images, parts
