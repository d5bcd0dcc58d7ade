"""Reader of a CSV file: one row an image, columns path, pid, camid and, optionally, split, clothes, mask.

Paths (of images and label maps) are relative to the folder of the CSV file. `frame.to_csv(FILE, index=False)` of any
frame can be read back, when the file lies in the root of its data set.
"""

import os
from pathlib import Path

import pandas as pd

from reidlib.data.frame import make_frame
from reidlib.data.splitting import number_people, split_people

NEEDED = ("path", "pid", "camid")
OPTIONAL = ("split", "clothes", "mask", "look")
EXPECTED: dict = {}
HELP = (
    "a CSV file with the columns path, pid, camid and, if you like, split, clothes, mask; "
    "the page book/datasets/your_data.md describes it"
)


def find_root(root):
    """The folder of the CSV file `root`, to which its paths are relative. Raises FileNotFoundError."""
    return _file(root).parent


def read(root, train: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """The frame of the CSV file `root` (or the only one in the folder `root`).

    pid: whole numbers mean what they mean in a frame (0 a distractor, -1 junk); if any is not a whole number, all are
    names, numbered in natural order. camid likewise (whole numbers from 0). Without a column split people are
    split by `reidlib.data.splitting.split_people(rows, train, seed)`. Raises FileNotFoundError, ValueError naming the
    line.
    """
    file = _file(root)
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read as CSV in UTF-8: {error}") from error
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ValueError(f"{file} has no column {', '.join(missing)} (it has {', '.join(table)}): {HELP}")
    if not len(table):
        raise ValueError(f"{file} has a heading and no rows: {HELP}")
    for name in [name for name in (*NEEDED, "split", "clothes") if name in table]:
        empty = table[name].str.strip() == ""
        if empty.any() and name != "clothes":
            raise ValueError(f"{file}, line {int(empty.to_numpy().argmax()) + 2}: column {name} is empty; fill it in")
    lost = [n for n, path in enumerate(table["path"]) if not os.path.isfile(file.parent / path)]
    if lost:
        raise FileNotFoundError(
            f"{file}, line {lost[0] + 2}: there is no file {file.parent / table['path'][lost[0]]} ({len(lost)} of "
            f"{len(table)} are missing); paths are relative to {file.parent}"
        )
    rows = table[[name for name in (*NEEDED, *OPTIONAL) if name in table]].to_dict("records")
    pids, cameras = _numbers(table["pid"]), _numbers(table["camid"], from_zero=True)
    for row, pid, camera in zip(rows, pids, cameras, strict=True):
        row |= {"pid": pid, "camid": camera}
        row |= {name: row[name] or None for name in ("clothes", "mask") if name in row}
    return make_frame(rows if "split" in table else split_people(rows, train, seed))


def _file(root) -> Path:
    root = Path(root).expanduser()
    found = sorted(root.glob("*.csv")) if root.is_dir() else [root]
    if len(found) > 1:
        raise FileNotFoundError(f"{root} holds {len(found)} CSV files: name one of them, for example {found[0]}")
    if not found or not found[0].is_file():
        raise FileNotFoundError(f"there is no CSV file {root}: {HELP}")
    return found[0]


def _numbers(labels: pd.Series, from_zero: bool = False) -> list[int]:
    whole = labels.str.strip().str.fullmatch(r"-?\d+")
    if whole.all():
        return [int(label) for label in labels]
    return [number - from_zero for number in number_people(labels.tolist())]
