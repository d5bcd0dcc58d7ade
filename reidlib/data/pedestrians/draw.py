"""Turns a plan into pixels and part maps, a few pictures at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .cameras import OCCLUDERS, background, expose, ground_shadow, lens, paint_occluder, scenes
from .compose import BACKGROUND, Plan, plan, stream
from .figure import paint_figure
from .people import take
from .presets import PRESETS, Preset
from .shapes import Canvas, grid

_CHUNK_PIXELS = 1 << 17  # what is painted together stays in the cache of a core


def draw(
    preset: str | Preset, size: tuple[int, int] = (64, 32), data_seed: int = 0, progress: bool = False
) -> tuple[pd.DataFrame, Tensor, Tensor]:
    """Draw a data set.

    Returns the frame (with the extra column ``look``), ``images`` uint8 ``(n, 3, h, w)`` and ``parts`` uint8
    ``(n, h, w)`` with values of ``PART_NAMES``; row i of the frame is image i. The same preset, size and ``data_seed``
    give the same pixels; another size shows the same people in the same poses. Raises ValueError for an unknown preset,
    or a size or seed that cannot be.
    """
    preset = _find(preset)
    h, w = (int(v) for v in size)
    if h < 16 or w < 8:
        raise ValueError(f"size {tuple(size)} is too small: give (height, width) of at least (16, 8) pixels")
    whole = plan(preset, data_seed)
    frame, rows = frame_of(whole)
    images, parts = render(whole, (h, w), progress=progress)
    rows = torch.from_numpy(rows)
    return frame, images[rows], parts[rows]


def _find(preset: str | Preset) -> Preset:
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown drawn data set {preset!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[preset]


def frame_of(whole: Plan) -> tuple[pd.DataFrame, np.ndarray]:
    """The frame of a plan, and for each of its rows the number of the shot (an image can be query and gallery)."""
    from reidlib.data.frame import make_frame

    t = whole.shots
    shot, split = np.arange(len(t["pid"])), t["split"]
    both = split == "both"
    shot = np.concatenate([shot, shot[both]])
    split = np.concatenate([np.where(both, "query", split), np.full(both.sum(), "gallery")])
    folder = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    pid, camera = t["pid"][shot], t["camera"][shot]
    number = np.where(pid == -1, "-1", np.char.zfill(pid.astype(str), 4))
    names = [
        f"{p}_c{c + 1}s{s}_{k + 1:06d}_{b % 100:02d}"
        for p, c, s, k, b in zip(number, camera, t["sequence"][shot], shot, t["box"][shot], strict=True)
    ]
    real = pid > 0
    frame = pd.DataFrame(
        {
            "path": [f"{folder[s]}/{name}.jpg" for s, name in zip(split, names, strict=True)],
            "split": split,
            "pid": pid,
            "camid": camera,
            "clothes": np.where(real, t["person"][shot] * 8 + t["outfit"][shot], -1),
            "mask": [f"parts/{folder[s]}/{name}.png" for s, name in zip(split, names, strict=True)],
            "look": np.where(real, t["look"][shot], -1),
            "shot": shot,
        }
    )
    frame = make_frame(frame)
    return frame.drop(columns="shot"), frame["shot"].to_numpy(dtype=np.int64, copy=True)


def render(
    whole: Plan,
    size: tuple[int, int],
    rows: np.ndarray | None = None,
    degrade: bool = True,
    chunk: int | None = None,
    progress: bool = False,
) -> tuple[Tensor, Tensor]:
    """Pictures and part maps of the shots ``rows`` (default all) of a plan.

    ``degrade=False`` leaves out occluders, shading and all effects of the camera but its scene: flat colours.
    ``chunk`` is how many are painted together; it changes no pixel.
    """
    h, w = size
    rows = np.arange(len(whole.shots["pid"])) if rows is None else np.asarray(rows, dtype=np.int64)
    chunk = chunk or max(1, _CHUNK_PIXELS // (h * w))
    images = torch.empty((len(rows), 3, h, w), dtype=torch.uint8)
    parts = torch.empty((len(rows), h, w), dtype=torch.uint8)
    views = scenes(whole.cameras, h)
    with torch.no_grad():
        for start in _bar(range(0, len(rows), chunk), progress, whole.preset.name):
            some = slice(start, start + chunk)
            images[some], parts[some] = _render_chunk(whole, views, rows[some], size, degrade)
    return images, parts


def _bar(steps: range, progress: bool, name: str):
    if not progress:
        return steps
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return steps
    return tqdm(steps, desc=f"drawing {name}", unit="chunk")


def _columns(whole: Plan, rows: np.ndarray) -> dict[str, Tensor]:
    """All that the shots ``rows`` need, as ``(b, 1)`` float32 columns; colours ``(b, 3, 1)``."""
    shots = take(whole.shots, rows)
    named = take(whole.people, shots["person"]) | take(whole.looks, shots["look"])
    cameras = take(whole.cameras, shots["camera"])
    named |= {f"camera_{k}": v for k, v in cameras.items()}
    named |= {k: v for k, v in shots.items() if k not in ("where", "split")}
    named |= {"light": cameras["light"], "sun": cameras["sun"], "tilt": cameras["tilt"] + shots["turn"]}
    return {k: torch.as_tensor(np.asarray(v, dtype=np.float32))[..., None] for k, v in named.items()}


def _pick(columns: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {k: v[rows] for k, v in columns.items()}


def _render_chunk(
    whole: Plan, views: Tensor, rows: np.ndarray, size: tuple[int, int], degrade: bool
) -> tuple[Tensor, Tensor]:
    h, w = size
    f = _columns(whole, rows)
    x, y = grid(len(rows), size)
    scene = background(views, f["camera"].long(), f["left"], f["zoom"], x, y)
    canvas = Canvas(scene, torch.ones_like(x), torch.zeros(x.shape, dtype=torch.uint8), x, y, h)
    kinds = whole.shots["kind"][rows]
    shown = torch.from_numpy(np.flatnonzero(kinds != BACKGROUND))
    if len(shown) == len(rows):
        _paint_person(canvas, f)
    elif len(shown):
        sub = canvas.take(shown)
        _paint_person(sub, _pick(f, shown))
        canvas.put(shown, sub)
    if not degrade:
        return _to_uint8(canvas.rgb.unflatten(2, (h, w))), canvas.parts.unflatten(1, (h, w))
    _paint_occluders(whole, canvas, f, rows)
    rgb = canvas.rgb * canvas.shade[:, None]
    c = {k.removeprefix("camera_"): v for k, v in f.items() if k.startswith("camera_")}
    seen = expose(rgb, c | {"glow": f["glow"]}).unflatten(2, (h, w))
    seen = lens(seen.numpy(), c["blur"].squeeze(1).numpy(), c["rows"].squeeze(1).numpy())
    level = c["noise"].squeeze(1).numpy()
    for k, row in enumerate(rows):
        noise = stream(whole.preset, whole.data_seed, "noise", int(row)).standard_normal((3, h, w), dtype=np.float32)
        seen[k] += noise * level[k]
    return _to_uint8(torch.from_numpy(seen)), canvas.parts.unflatten(1, (h, w))


def _paint_person(canvas: Canvas, f: dict[str, Tensor]) -> None:
    ground_shadow(canvas, f)
    paint_figure(canvas, f)


def _paint_occluders(whole: Plan, canvas: Canvas, f: dict[str, Tensor], rows: np.ndarray) -> None:
    kinds = whole.shots["occluder"][rows]
    for kind in np.unique(kinds[kinds > 0]):
        where = torch.from_numpy(np.flatnonzero(kinds == kind))
        sub = canvas.take(where)
        if OCCLUDERS[kind] == "passer-by":
            paint_figure(sub, _passer_by(whole, rows[where.numpy()]), labelled=False)
        else:
            paint_occluder(sub, int(kind), _pick(f, where))
        canvas.put(where, sub)


def _passer_by(whole: Plan, rows: np.ndarray) -> dict[str, Tensor]:
    """Columns of the stranger who hides a part of the person: closer, to the side, cut by the box."""
    shots = take(whole.shots, rows)
    swapped = dict(shots, person=shots["passer_by"], look=shots["passer_look"], yaw=shots["passer_yaw"])
    swapped["x"] = np.sign(shots["occ_x"]) * (0.13 + np.abs(shots["occ_x"]) * 0.6)
    swapped["scale"] = shots["scale"] * 1.08
    swapped["top"] = shots["top"] + 0.03
    return _columns(dataclasses.replace(whole, shots=swapped), np.arange(len(rows)))


def _to_uint8(pictures: Tensor) -> Tensor:
    return (pictures.clamp(0, 1) * 255).round_().to(torch.uint8)
