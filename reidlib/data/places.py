"""Where the images of a drawn data set go in the layout of each real one, and what files lie beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

_MARKET = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def place(frame: pd.DataFrame, layout: str) -> pd.DataFrame:
    """The rows of a drawn frame (with the column `shot`) that a layout keeps, with `path` and `split` as it has them.

    Raises ValueError where the drawn data cannot be laid out so: too many cameras, say, or distractors.
    """
    placed = LAYOUTS[layout](frame.copy()).reset_index(drop=True)
    twice = placed["path"].duplicated()
    if twice.any():  # an image that is both query and gallery is one file
        placed = placed[~placed.duplicated(["path", "shot"])].reset_index(drop=True)
    return placed.assign(mask=[f"parts/{path.rpartition('.')[0]}.png" for path in placed["path"]])


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
    maps = work / "parts" / "images"
    if maps.is_dir():  # beside the images as the reader will unpack them
        shutil.copytree(maps, maps.with_name("images_labeled"))
        maps.rename(maps.with_name("images_detected"))


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


# layout -> where its images go, from and to a drawn frame with the column `shot`
LAYOUTS = {
    "market1501": _market1501, "dukemtmc": _dukemtmc, "msmt17": _msmt17, "msmt17-v2": _msmt17_v2, "cuhk03": _cuhk03,
    "cuhk03-np": _cuhk03_np, "viper": _viper, "prcc": _prcc, "ltcc": _ltcc, "folder": _folder, "persons": _persons,
    "csv": _csv,
}  # fmt: skip
# layout -> writes what lies beside the images
WRITTEN_BESIDE = {"msmt17": _msmt17_lists, "msmt17-v2": _msmt17_lists, "cuhk03": _cuhk03_mat, "csv": _csv_table}
