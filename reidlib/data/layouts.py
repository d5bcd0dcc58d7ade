"""Writes drawn people to disk in the layout of each data set, so that its reader can be tried on a whole folder.

`place` says where each image goes, `draw` paints and writes. Nothing in the result is a real person.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from reidlib.data import full_size
from reidlib.data.pedestrians import PRESETS, compose
from reidlib.data.pedestrians.draw import frame_of, render

_CHUNK = 256  # images painted before they are written
_MARKET = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
USUAL = {  # the layout in which a preset is written unless told otherwise
    "market-like": "market1501", "duke-like": "dukemtmc", "msmt17-like": "msmt17", "viper-like": "viper",
    "cuhk03-like": "cuhk03", "prcc-like": "prcc", "ltcc-like": "ltcc", "warmstart": "folder",
} | {name: full.layout for name, full in full_size.FULL_SIZE.items()}  # fmt: skip


def draw(
    preset: str, root, layout: str | None = None, size: tuple[int, int] | None = None, data_seed: int = 0,
    identities: int | None = None, masks: bool = True, progress: bool = True,
) -> Path:  # fmt: skip
    """Draw `preset` (one of `USUAL`) and write it to the new folder `root` in a data set's layout; returns `root`.

    layout: one of `LAYOUTS`, by default the preset's own. size: (height, width) in pixels, by default 128x64, VIPeR
    128x48. identities: this many people for training and for the test, instead of the preset's numbers. masks: write the
    label maps to root/parts. The folder appears under its name when it is complete. Raises ValueError for a preset, layout
    or number that cannot be, FileExistsError if `root` holds files.
    """
    root = Path(root)
    layout = _known(preset, layout)
    whole = _plan(preset, data_seed, identities)
    frame, shots = frame_of(whole)
    placed = place(frame.assign(shot=shots), layout)
    size = (128, 48 if layout == "viper" else 64) if size is None else (int(size[0]), int(size[1]))
    if size[0] < 16 or size[1] < 8:
        raise ValueError(f"size {size} is too small: give height and width of at least 16 and 8 pixels")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} exists and is not an empty folder; remove it or write somewhere else")
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _write(whole, placed, layout, work, size, masks, progress)
        work.chmod(0o755)
        if root.exists():
            root.rmdir()
        work.rename(root)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return root


def place(frame: pd.DataFrame, layout: str) -> pd.DataFrame:
    """The rows of a drawn frame (with the column `shot`) that a layout keeps, with `path` and `split` as it has them.

    Raises ValueError where the drawn data cannot be laid out so: too many cameras, say, or distractors.
    """
    placed = LAYOUTS[layout](frame.copy()).reset_index(drop=True)
    twice = placed["path"].duplicated()
    if twice.any():  # an image that is both query and gallery is one file
        placed = placed[~placed.duplicated(["path", "shot"])].reset_index(drop=True)
    return placed.assign(mask=[f"parts/{path.rpartition('.')[0]}.png" for path in placed["path"]])


def _known(preset: str, layout: str | None) -> str:
    if preset not in USUAL:
        raise ValueError(f"unknown drawn data set {preset!r}; the presets are {', '.join(USUAL)}")
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; the layouts are {', '.join(LAYOUTS)}")
    return layout or USUAL[preset]


def _plan(preset: str, data_seed: int, identities: int | None) -> compose.Plan:
    if preset in full_size.FULL_SIZE:
        if identities is not None:
            raise ValueError(
                f"{preset} has the published number of people; leave identities out, or use a -like preset"
            )
        return full_size.plan(full_size.FULL_SIZE[preset], data_seed)
    chosen = PRESETS[preset]
    if identities is not None:
        if isinstance(identities, bool) or not isinstance(identities, int) or identities < 2:
            raise ValueError(f"identities={identities!r}: give a number of people, at least 2")
        test = identities if chosen.test_ids else 0
        extra = min(identities, chosen.extra_ids)
        chosen = replace(chosen, train_ids=identities, test_ids=test, extra_ids=extra)
    return compose.plan(chosen, data_seed)


def _write(whole, placed: pd.DataFrame, layout: str, work: Path, size, masks: bool, progress: bool) -> None:
    from PIL import Image

    for folder in {os.path.dirname(path) for path in placed["path"]}:
        (work / folder).mkdir(parents=True, exist_ok=True)
        if masks:
            (work / "parts" / folder).mkdir(parents=True, exist_ok=True)
    places = {shot: group.tolist() for shot, group in placed.groupby("shot")["path"]}
    shots = np.asarray(sorted(places))
    steps = range(0, len(shots), _CHUNK)
    if progress:
        from tqdm.auto import tqdm

        steps = tqdm(steps, desc=f"drawing {len(shots)} images", unit_scale=_CHUNK, unit="image", leave=False)
    for start in steps:
        some = shots[start : start + _CHUNK]
        images, parts = render(whole, size, rows=some)
        pictures = images.permute(0, 2, 3, 1).contiguous().numpy()
        for n, shot in enumerate(some.tolist()):
            for path in places[shot]:
                Image.fromarray(pictures[n]).save(work / path, quality=95)
                if masks:
                    Image.fromarray(parts[n].numpy()).save((work / "parts" / path).with_suffix(".png"))
    _FURTHER.get(layout, lambda placed, work: None)(placed, work)


# --- where the images of each layout go


def _need(fine: bool, layout: str, what: str) -> None:
    if not fine:
        raise ValueError(f"this drawn data cannot be written in the layout {layout}, which has {what}; choose another")


def _restart(frame: pd.DataFrame) -> pd.Series:
    """Numbers of the people from 0, in the training and again in the test set."""
    train = frame["split"].isin(["train", "val"])
    first = frame.loc[train, "pid"].max() if train.any() else 0
    return frame["pid"] - 1 - (~train) * first


def _index(frame: pd.DataFrame, *columns: str) -> pd.Series:
    """0, 1, ... within each group."""
    return frame.groupby(list(columns)).cumcount()


def _held_out(frame: pd.DataFrame, share: float) -> pd.DataFrame:
    """A share of the training images becomes split "val": the same people."""
    train = np.flatnonzero(frame["split"] == "train")
    chosen = np.random.default_rng(0).permutation(train)[: round(share * len(train))]
    frame.loc[frame.index[chosen], "split"] = "val"
    return frame


def _market1501(frame):
    _need(frame["camid"].max() < 9, "market1501", "cameras of one digit")
    return frame


def _dukemtmc(frame):
    _need(frame["camid"].max() < 8 and frame["pid"].min() > 0, "dukemtmc", "8 cameras, no distractors and no junk")
    rows = zip(*(frame[c] for c in ("split", "pid", "camid", "shot")), strict=True)
    return frame.assign(path=[f"{_MARKET[s]}/{p:04d}_c{c + 1}_f{k + 1:07d}.jpg" for s, p, c, k in rows])


def _msmt17(frame, folders=("train", "test")):
    _need(frame["camid"].max() < 15 and frame["pid"].min() > 0, "msmt17", "15 cameras, no distractors and no junk")
    frame = _held_out(frame, 2_373 / 32_621)
    frame["label"] = _restart(frame)
    frame["folder"] = np.where(frame["split"].isin(["train", "val"]), *folders)
    times = ("morning", "noon", "afternoon")
    columns = ("folder", "label", "camid", "shot")
    rows = zip(*(frame[c] for c in columns), _index(frame, "folder", "label"), strict=True)
    names = [
        f"{f}/{p:04d}/{p:04d}_{k:03d}_{c + 1:02d}_0303{times[s % 3]}_{s % 10_000:04d}_{s % 3}.jpg"
        for f, p, c, s, k in rows
    ]
    return frame.assign(path=names)


def _msmt17_v2(frame):
    return _msmt17(frame, ("mask_train_v2", "mask_test_v2"))


def _msmt17_lists(placed, work):
    for split, rows in placed.groupby("split"):
        lines = [f"{path.split('/', 1)[1]} {p}\n" for path, p in zip(rows["path"], rows["label"], strict=True)]
        (work / f"list_{split}.txt").write_text("".join(lines))


def _cuhk03_np(frame):
    frame = frame.drop_duplicates("shot").copy()
    _need(frame["camid"].max() < 2 and frame["pid"].min() > 0, "cuhk03-np", "2 cameras, no distractors and no junk")
    test = frame["split"] != "train"
    frame.loc[test, "split"] = np.where(_index(frame[test], "pid", "camid") == 0, "query", "gallery")
    rows = zip(*(frame[c] for c in ("split", "pid", "camid")), _index(frame, "pid", "camid"), strict=True)
    names = [f"{_MARKET[s]}/{p:04d}_c{c + 1}_{k + 1}.png" for s, p, c, k in rows]
    return pd.concat([frame.assign(path=[f"{b}/{n}" for n in names]) for b in ("detected", "labeled")])


def _cuhk03(frame):
    """Images are laid out as the reader would unpack them; `_cuhk03_mat` then packs them."""
    frame = frame.copy()
    seen = frame.drop_duplicates("shot").copy()
    number = _index(seen, "pid", "camid") + 1
    fine = seen["camid"].max() < 2 and seen["pid"].min() > 0 and number.max() <= 5
    _need(fine, "cuhk03", "2 cameras, at most 5 images in each, no distractors and no junk")
    seen["number"] = number + 5 * seen["camid"]
    people = np.sort(seen["pid"].unique())
    pair = {pid: 1 + 5 * n // len(people) for n, pid in enumerate(people.tolist())}
    within = pd.Series(pair).groupby(pair).cumcount() + 1
    names = {
        shot: f"images/{pair[p]}_{within[p]:03d}_{c + 1}_{k:02d}.png"
        for shot, p, c, k in zip(*(seen[column] for column in ("shot", "pid", "camid", "number")), strict=True)
    }
    return frame.assign(path=frame["shot"].map(names), pair=frame["pid"].map(pair), person=frame["pid"].map(within))


def _cuhk03_mat(placed, work):
    """cuhk-03.mat from the folder of images, which goes; 20 testsets, the first being the drawn test people."""
    import h5py
    from PIL import Image

    people = placed.drop_duplicates("pid").sort_values("pid")
    tested = people["split"] != "train"
    rng = np.random.default_rng(0)
    with h5py.File(work / "cuhk-03.mat", "w") as mat:
        kind = h5py.special_dtype(ref=h5py.Reference)
        cells = mat.create_group("#refs#")

        def keep(array):
            return cells.create_dataset(f"c{len(cells)}", data=array).ref

        nothing = keep(np.zeros(2, np.uint64))  # how MATLAB stores an empty image
        for boxes in ("labeled", "detected"):
            tables = []
            for pair in range(1, 6):
                table = np.full((10, int((people["pair"] == pair).sum())), nothing, dtype=kind)
                for path in sorted(set(placed.loc[placed["pair"] == pair, "path"])):
                    _, person, _, number = (int(part) for part in Path(path).stem.split("_"))
                    table[number - 1, person - 1] = keep(np.asarray(Image.open(work / path)).T)
                tables.append(cells.create_dataset(f"{boxes}{pair}", data=table, dtype=kind).ref)
            mat.create_dataset(boxes, data=np.asarray([tables], dtype=kind), dtype=kind)
        sets = [people[tested]] + [people.iloc[rng.permutation(len(people))[: tested.sum()]] for _ in range(19)]
        chosen = [keep(some[["pair", "person"]].to_numpy(np.float64).T) for some in sets]
        mat.create_dataset("testsets", data=np.asarray([chosen], dtype=kind), dtype=kind)
    shutil.rmtree(work / "images")
    shutil.rmtree(work / "parts", ignore_errors=True)


def _viper(frame):
    frame = frame.drop_duplicates("shot").copy()
    once = len(frame) == 2 * frame["pid"].nunique() == 2 * (frame["camid"] == 0).sum()
    _need(once and frame["pid"].min() > 0, "viper", "one image of each person in each of two cameras")
    rows = zip(*(frame[c] for c in ("camid", "pid", "shot")), strict=True)
    return frame.assign(path=[f"cam_{'ab'[c]}/{p - 1:03d}_{45 * (k % 5)}.bmp" for c, p, k in rows])


def _prcc(frame):
    fine = frame["camid"].max() < 3 and frame["pid"].min() > 0
    fine &= (frame.groupby("clothes")["camid"].max().isin([1, 2])).all()
    fine &= set(frame.loc[frame["split"] == "gallery", "camid"]) <= {0}
    _need(fine, "prcc", "3 cameras, gallery A, and other clothes under camera C")
    frame = _held_out(frame, 5_002 / (17_896 + 5_002))
    rows = zip(*(frame[c] for c in ("split", "pid", "camid")), _index(frame, "split", "pid", "camid"), strict=True)
    names = [
        f"rgb/{s}/{p:03d}/{'ABC'[c]}_cropped_rgb{k + 1:03d}.jpg"
        if s in ("train", "val")
        else f"rgb/test/{'ABC'[c]}/{p:03d}/cropped_rgb{k + 1:03d}.jpg"
        for s, p, c, k in rows
    ]
    return frame.assign(path=names)


def _ltcc(frame):
    _need(frame["camid"].max() < 12 and frame["pid"].min() > 0, "ltcc", "12 cameras, no distractors and no junk")
    outfit = frame.groupby("pid")["clothes"].rank(method="dense").astype(int)
    folder = frame["split"].replace({"gallery": "test"})
    rows = zip(folder, frame["pid"], outfit, frame["camid"], frame["shot"], strict=True)
    return frame.assign(path=[f"{f}/{p - 1:03d}_{o}_c{c + 1}_{k:06d}.png" for f, p, o, c, k in rows])


def _people(frame):
    """One image a shot, without distractors and junk: what people have who cut their own crops."""
    return frame[frame["pid"] > 0].drop_duplicates("shot")


def _folder(frame):
    frame = _people(frame)
    rows = zip(*(frame[c] for c in ("pid", "camid", "shot")), strict=True)
    return frame.assign(path=[f"{p:04d}_{c + 1}_{k:06d}.jpg" for p, c, k in rows])


def _persons(frame):
    frame = _people(frame)
    rows = zip(*(frame[c] for c in ("pid", "camid", "shot")), strict=True)
    return frame.assign(path=[f"person_{p:04d}/c{c + 1}_{k:06d}.jpg" for p, c, k in rows])


def _csv(frame):
    return frame.assign(path=[f"images/{k:06d}.png" for k in frame["shot"]])


def _csv_table(placed, work):
    table = placed[["path", "split", "pid", "camid", "clothes", "mask"]]
    has = [(work / mask).is_file() for mask in table["mask"]]
    table.assign(mask=table["mask"].where(has)).to_csv(work / "images.csv", index=False)


LAYOUTS = {
    "market1501": _market1501, "dukemtmc": _dukemtmc, "msmt17": _msmt17, "msmt17-v2": _msmt17_v2, "cuhk03": _cuhk03,
    "cuhk03-np": _cuhk03_np, "viper": _viper, "prcc": _prcc, "ltcc": _ltcc, "folder": _folder, "persons": _persons,
    "csv": _csv,
}  # fmt: skip
_FURTHER = {"msmt17": _msmt17_lists, "msmt17-v2": _msmt17_lists, "cuhk03": _cuhk03_mat, "csv": _csv_table}
