"""Writes a drawn data set to disk in the layout of Market-1501, so that the real readers can be used on it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def write_market1501(frame: pd.DataFrame, images: Tensor, parts: Tensor | None, root: str | os.PathLike) -> Path:
    """Write ``images`` as JPEG (quality 95) under ``root`` and the part maps as PNG under ``root/parts``.

    ``frame`` is one of ``draw``; its ``path`` says where each image goes. Everything is written to a folder beside
    ``root`` that is renamed at the end: a write that fails leaves nothing. Returns ``root``. Raises FileExistsError if
    ``root`` holds files, ValueError if the tensors and the frame disagree or the frame has another layout.
    """
    root = Path(root)
    _check(frame, images, parts, root)
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _write(frame, images, parts, work)
        work.chmod(0o755)
        if root.exists():
            root.rmdir()
        work.rename(root)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return root


def _check(frame: pd.DataFrame, images: Tensor, parts: Tensor | None, root: Path) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} exists and is not an empty folder; remove it or write somewhere else")
    if len(frame) != len(images) or (parts is not None and len(parts) != len(images)):
        counts = f"{len(frame)} rows, {len(images)} images, {'no' if parts is None else len(parts)} part maps"
        raise ValueError(f"the frame and the tensors disagree: {counts}; pass what draw() returned together")
    for path, split in zip(frame["path"], frame["split"], strict=True):
        if Path(path).parent.as_posix() != FOLDERS.get(split):
            raise ValueError(
                f"{path} (split {split}) is not a path of the Market-1501 layout; pass the frame of draw()"
            )


def _write(frame: pd.DataFrame, images: Tensor, parts: Tensor | None, work: Path) -> None:
    from PIL import Image

    for folder in FOLDERS.values():
        (work / folder).mkdir()
        if parts is not None:
            (work / "parts" / folder).mkdir(parents=True)
    pictures = images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    for row, path in enumerate(frame["path"]):
        Image.fromarray(pictures[row]).save(work / path, quality=95)
        if parts is not None:
            labels = np.ascontiguousarray(parts[row].cpu().numpy())
            Image.fromarray(labels).save((work / "parts" / path).with_suffix(".png"))
