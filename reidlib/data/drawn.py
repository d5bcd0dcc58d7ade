"""Drawn data sets, drawn once: a cache of `reidlib.data.pedestrians.draw` on disk."""

import dataclasses
import hashlib
import importlib
import os
import warnings
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from reidlib.data.disk import locked
from reidlib.data.frame import make_frame
from reidlib.source import code_digest


def cache_folder() -> Path:
    """`build/data` of the repository when reidlib is used from its checkout, else the user's cache folder."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "build" / "data"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reidlib"


def draw_cached(
    preset: str, size: tuple[int, int], data_seed: int = 0, cache=None, progress: bool = True
) -> tuple[pd.DataFrame, Tensor, Tensor]:
    """`pedestrians.draw(preset, size, data_seed)`, read from the folder `cache` when it was drawn before.

    The name of the cached file holds preset, size, seed and a hash of the drawing code, so a change of that code draws
    anew. A file that is broken is drawn anew; files are renamed into place, and of two processes one waits for the
    other. Without write access nothing is kept, with a warning.
    """
    folder = cache_folder() if cache is None else Path(cache)
    stem = f"{preset}-{size[0]}x{size[1]}-{data_seed}"
    file = folder / f"{stem}-{source_hash()}.pt"
    found = _read(file)
    if found is not None:
        return found
    try:
        with locked(folder / f"{stem}.lock"):
            found = _read(file)  # another process may have drawn it meanwhile
            if found is not None:
                return found
            found = _draw(preset, size, data_seed, progress)
            _write(file, *found)
            for old in folder.glob(f"{stem}-*.pt"):
                if old != file:
                    old.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(f"drawn data cannot be kept in {folder} ({error}); it will be drawn again", stacklevel=3)
    return _draw(preset, size, data_seed, progress) if found is None else found


def _draw(preset: str, size: tuple[int, int], data_seed: int, progress: bool) -> tuple[pd.DataFrame, Tensor, Tensor]:
    pedestrians = importlib.import_module("reidlib.data.pedestrians")
    return pedestrians.draw(preset, size=size, data_seed=data_seed, progress=progress)


def draw_test(preset: str, size: tuple[int, int], data_seed: int = 0, **changes) -> tuple[pd.DataFrame, Tensor, Tensor]:
    """Queries and gallery of a drawn data set, or of a variant of it, without painting its training images.

    changes: fields of `pedestrians.Preset` with other values, for example shared_looks=0.5, with which more people wear
    the same designs. People and cameras stay as they are unless their number is changed; outfits and shots are drawn
    anew. Without changes these are the very rows and pixels that `draw_cached` returns for query and gallery.
    size: (height, width) in pixels; nothing is kept on disk.
    Returns frame (with `look`), images uint8 (n, 3, h, w), parts uint8 (n, h, w); row i of the frame is image i.
    Raises ValueError for an unknown preset or field, a preset without test images, and a size or seed that cannot be.
    """
    pedestrians, compose, drawing = (
        importlib.import_module(f"reidlib.data.pedestrians{module}") for module in ("", ".compose", ".draw")
    )
    if preset not in pedestrians.PRESETS:
        raise ValueError(f"unknown drawn data set {preset!r}; the presets are {', '.join(pedestrians.PRESETS)}")
    fields = [field.name for field in dataclasses.fields(pedestrians.Preset)][1:]  # another name is other people
    unknown = [name for name in changes if name not in fields]
    if unknown:
        raise ValueError(f"a drawn data set has no setting {unknown[0]!r} to change; it has {', '.join(fields)}")
    if len(size) != 2 or size[0] < 16 or size[1] < 8:
        raise ValueError(f"size {tuple(size)} is too small: give (height, width) of at least (16, 8) pixels")
    whole = compose.plan(dataclasses.replace(pedestrians.PRESETS[preset], **changes), data_seed)
    frame, shots = drawing.frame_of(whole)
    test = frame["split"].isin(["query", "gallery"]).to_numpy()
    if not test.any():
        raise ValueError(f"{preset!r} has no test images: it is for training only")
    images, parts = drawing.render(whole, (int(size[0]), int(size[1])), shots[test])
    return frame[test].reset_index(drop=True), images, parts


def source_hash() -> str:
    """12 hexadecimal digits over the code that decides what is drawn and in which order."""
    here = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in [here / "frame.py", *sorted((here / "pedestrians").rglob("*.py"))]:
        digest.update(f"{path.relative_to(here).as_posix()} {code_digest(path.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()[:12]


def _write(file: Path, frame: pd.DataFrame, images: Tensor, parts: Tensor) -> None:
    temporary = file.with_suffix(".tmp")  # only written under the lock: what a killed process left is written over
    columns = {column: frame[column].tolist() for column in frame.columns}
    torch.save({"frame": columns, "images": images, "parts": parts, "digest": _digest(images, parts)}, temporary)
    os.replace(temporary, file)


def _read(file: Path) -> tuple[pd.DataFrame, Tensor, Tensor] | None:
    """The cached draw, or None when there is none or it is broken."""
    if not file.is_file():
        return None
    try:
        content = torch.load(file, weights_only=True)
        frame, images, parts = make_frame(content["frame"]), content["images"], content["parts"]
        whole = len(frame) == len(images) == len(parts) and content["digest"] == _digest(images, parts)
    except Exception:  # a broken file can raise nearly anything, and is drawn again whatever it was
        return None
    return (frame, images, parts) if whole else None


def _digest(images: Tensor, parts: Tensor) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(images.contiguous().numpy())
    digest.update(parts.contiguous().numpy())
    return digest.hexdigest()
