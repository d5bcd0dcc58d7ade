"""The frame: one sorted pandas table that describes a data set, one row an image.

Columns (`COLUMNS`), in this order; readers may add more behind them:

======== ========= ====================================================================================
column   dtype     meaning
======== ========= ====================================================================================
path     str       POSIX path of the image, relative to the root of the data set
split    str       one of `SPLITS`
pid      int64     identity: >= 1 a person, 0 a distractor (never a match), -1 junk (ignored in scores)
camid    int64     camera, from 0
clothes  int64     outfit, unique over the data set (two persons never share one), -1 unknown
mask     str, None POSIX path of the part map, relative to the root, or None
======== ========= ====================================================================================

Two more columns have a fixed meaning where they exist: `look` (int64), the outfit design of a drawn person, which
different persons may share, and `row` (int64), the row of the image in the image store (without it: the index).
"""

import numpy as np
import pandas as pd

COLUMNS = ("path", "split", "pid", "camid", "clothes", "mask")
SPLITS = ("train", "val", "query", "gallery", "multi")

_REQUIRED = ("path", "split", "pid", "camid")
_INTEGERS = ("pid", "camid", "clothes", "look", "row")


class FrameError(ValueError):
    """A frame that breaks the rules of this module; the message says which rule, where, and what to do."""


def make_frame(rows) -> pd.DataFrame:
    """Make a valid frame from a dict of columns, a list of dicts or a DataFrame.

    Missing `clothes` become -1 and missing `mask` None. Rows are sorted by split (in the order of `SPLITS`), pid, camid
    and path; the index is 0..n-1. Raises FrameError.
    """
    frame = pd.DataFrame(rows).reset_index(drop=True)
    _need_columns(frame, _REQUIRED)
    frame["clothes"] = [-1 if pd.isna(v) else v for v in frame["clothes"]] if "clothes" in frame else -1
    if "mask" not in frame:
        frame["mask"] = None
    for column in _INTEGERS:
        if column in frame:
            frame[column] = _integers(frame[column])
    for column in ("path", "split", "mask"):
        values = frame[column].astype(object)
        frame[column] = pd.Series([None if pd.isna(v) else str(v) for v in values], dtype=object, index=frame.index)
    _need_splits(frame)
    order = frame["split"].map(SPLITS.index).astype("int64")
    frame = frame.assign(_order=order).sort_values(["_order", "pid", "camid", "path"], kind="stable")
    extra = [c for c in frame.columns if c not in COLUMNS and c != "_order"]
    return validate(frame[[*COLUMNS, *extra]].reset_index(drop=True))


def validate(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` unchanged if it is valid, else raise FrameError with the first rule that it breaks."""
    _need_columns(frame, COLUMNS)
    if not len(frame):
        raise FrameError("the frame has no rows: no image was found; check the root of the data set")
    for column in _INTEGERS:
        if column in frame and frame[column].dtype != np.int64:
            raise FrameError(f"column {column!r} has dtype {frame[column].dtype}, expected int64; use make_frame(rows)")
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.start != 0 or frame.index.step != 1:
        raise FrameError("the index is not 0..n-1: call frame.reset_index(drop=True), or make_frame(frame)")
    _need_splits(frame)
    _need_paths(frame)
    _need_numbers(frame)
    _need_test(frame)
    return frame


def rows_of(frame: pd.DataFrame, split: str) -> np.ndarray:
    """Rows of the image store that hold the images of `split`: int64 (n,), in the order of the frame."""
    if split not in SPLITS:
        raise FrameError(f"unknown split {split!r}; the splits are {', '.join(SPLITS)}")
    chosen = (frame["split"] == split).to_numpy()
    rows = frame["row"].to_numpy() if "row" in frame else frame.index.to_numpy()
    return rows[chosen].astype(np.int64)


def validation_split(frame: pd.DataFrame, identities: int | float = 0.2, seed: int = 0) -> pd.DataFrame:
    """Hold whole training identities out as a validation set, so that nothing is ever chosen on test queries.

    `identities` is a number of identities (int) or a share of the training identities (float in (0, 1)). They are
    drawn by `seed` among those that at least two cameras saw. Each gives one query per camera, and the rest is gallery.
    An identity with fewer than two cameras of several images keeps the image of one single-image camera in the
    gallery, so that every query has a match in another camera. Other identities stay `train`; test rows are dropped.
    The result has the column `row`: the row of each image in the store of the given frame. Raises FrameError.
    """
    train = frame[frame["split"] == "train"].copy()
    if "row" not in train:
        train["row"] = train.index.to_numpy(dtype=np.int64)
    pids = np.unique(train["pid"].to_numpy())
    cameras = train.groupby("pid")["camid"].nunique()
    able = cameras.index[cameras >= 2].to_numpy()
    count = _held_out_count(identities, len(pids), len(able))
    generator = np.random.default_rng(seed)
    held = generator.choice(able, size=count, replace=False)
    train["split"] = train["split"].mask(train["pid"].isin(held), "gallery")
    chosen = [label for pid in np.sort(held) for label in _query_labels(train[train["pid"] == pid], generator)]
    train.loc[chosen, "split"] = "query"
    return make_frame(train)


def _query_labels(person: pd.DataFrame, generator: np.random.Generator) -> list:
    """Index labels of the queries of one identity (see validation_split)."""
    groups = [group.index.to_numpy() for _, group in person.groupby("camid")]
    single = [k for k, group in enumerate(groups) if len(group) == 1]
    kept = int(generator.choice(single)) if single and len(groups) - len(single) < 2 else -1
    return [generator.choice(group) for k, group in enumerate(groups) if k != kept]


def _held_out_count(identities: int | float, total: int, able: int) -> int:
    if isinstance(identities, float) and not 0 < identities < 1:
        raise FrameError(f"identities={identities} is not a share between 0 and 1; pass an int to give a number")
    count = max(1, round(identities * total)) if isinstance(identities, float) else int(identities)
    if count < 1 or count >= total:
        raise FrameError(
            f"cannot hold out {count} of {total} training identities: at least one must be held out and one left"
        )
    if count > able:
        raise FrameError(
            f"cannot hold out {count} identities: only {able} of {total} training identities are seen by two or more "
            "cameras, and the others can have no match; lower `identities`"
        )
    return count


def _integers(values: pd.Series) -> pd.Series:
    try:
        numbers = pd.to_numeric(values)
        whole = numbers.astype(np.int64)
    except (ValueError, TypeError) as error:
        raise FrameError(f"column {values.name!r} holds something that is not a whole number: {error}") from error
    if (whole != numbers).any():
        row = int((whole != numbers).to_numpy().argmax())
        raise FrameError(f"column {values.name!r}, row {row}: {values.iloc[row]!r} is not a whole number")
    return whole


def _need_columns(frame: pd.DataFrame, columns) -> None:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        present = ", ".join(map(str, frame.columns)) or "none"
        raise FrameError(f"the frame lacks the column(s) {', '.join(missing)}; it has {present}")


def _need_splits(frame: pd.DataFrame) -> None:
    wrong = ~frame["split"].isin(SPLITS)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise FrameError(f"row {row}: unknown split {frame['split'].iloc[row]!r}; the splits are {', '.join(SPLITS)}")


def _need_paths(frame: pd.DataFrame) -> None:
    for row, path in enumerate(frame["path"]):
        if not isinstance(path, str) or not path:
            raise FrameError(f"row {row} has no path (found {path!r}); every row needs the path of its image")
        if path.startswith("/") or "\\" in path:
            raise FrameError(f"row {row}: path {path!r} must be relative to the root, with forward slashes")
    twice = frame.duplicated(["split", "path"])
    if twice.any():
        row = int(twice.to_numpy().argmax())
        split, path = frame["split"].iloc[row], frame["path"].iloc[row]
        count = int(twice.sum())
        raise FrameError(f"{path!r} occurs twice in split {split!r} ({count} such rows); keep one row an image")


def _need_numbers(frame: pd.DataFrame) -> None:
    for column, lowest in (("pid", -1), ("camid", 0), ("clothes", -1)):
        wrong = (frame[column] < lowest).to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            path, value = frame["path"].iloc[row], frame[column].iloc[row]
            raise FrameError(f"row {row} ({path}): {column} is {value}, and the lowest that means anything is {lowest}")
    for split in ("train", "val", "query"):
        wrong = ((frame["split"] == split) & (frame["pid"] < 1)).to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            path, pid = frame["path"].iloc[row], frame["pid"].iloc[row]
            raise FrameError(
                f"row {row} ({path}): pid {pid} in split {split!r}; only the gallery may hold distractors (0) and junk "
                "(-1). If your data set has a real person 0, number persons from 1"
            )
    outfits = frame[(frame["clothes"] >= 0) & (frame["pid"] >= 1)].groupby("clothes")["pid"].nunique()
    if (outfits > 1).any():
        outfit = outfits.index[outfits > 1][0]
        raise FrameError(
            f"clothes {outfit} is worn by {outfits[outfit]} persons; number outfits so that each has one person"
        )


def _need_test(frame: pd.DataFrame) -> None:
    pids = {split: set(frame.loc[frame["split"] == split, "pid"]) for split in SPLITS}
    if pids["gallery"] and not pids["query"]:
        raise FrameError("there are gallery images and zero queries: nothing can be scored; check the query folder")
    if pids["query"] and not pids["gallery"]:
        raise FrameError("there are queries and no gallery image: nothing can be found; check the gallery folder")
    shared = sorted(pids["train"] & (pids["query"] | pids["gallery"]))
    if shared:
        raise FrameError(
            f"{len(shared)} identities are both in train and in query or gallery (first: pid {shared[0]}); "
            "identities must be unique over the whole data set, so number the test identities apart"
        )
