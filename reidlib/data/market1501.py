"""Reader of Market-1501 (Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015).

Layout, version 15.09.15: folders `bounding_box_train`, `query`, `bounding_box_test` and, not needed, `gt_bbox`
(hand-drawn boxes, for multi-query). A file name is `PID_cCsS_FFFFFF_BB.jpg`: identity (0000 a distractor, -1 junk),
camera 1..6, sequence, frame, box. Part maps, where they exist, are `parts/FOLDER/NAME.png` beside these folders.
"""

import os
import re
from pathlib import Path

import pandas as pd

from reidlib.data.frame import make_frame

FOLDERS = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery", "gt_bbox": "multi"}
NAME = re.compile(r"(-?\d+)_c(\d)s(\d)_(\d{6})_(\d{2})\.jpg")

# images and identities as published; `gallery` without junk, its identities with the distractors counted as one
EXPECTED = {
    "train": {"images": 12_936, "identities": 751},
    "query": {"images": 3_368, "identities": 750},
    "gallery": {"images": 15_913, "identities": 751},
    "distractors": {"images": 2_798, "identities": 1},
    "junk": {"images": 3_819, "identities": 1},
    "multi": {"images": 25_259, "identities": None},
}

_NEEDED = [folder for folder in FOLDERS if folder != "gt_bbox"]
HELP = (
    f"a Market-1501 folder holds {', '.join(_NEEDED)} with jpg files in each; "
    "the page book/datasets/market1501.md describes the data set"
)


def read(root) -> pd.DataFrame:
    """Read the frame of the Market-1501 folder `root`, or of the one folder in `root` that has its layout.

    Cameras count from 0; junk (pid -1) and distractors (pid 0) stay in the gallery; `gt_bbox`, if present, is split
    "multi". Paths are relative to `find_root(root)`. Raises FileNotFoundError when a folder is missing or empty, and
    ValueError when a jpg file does not follow the name pattern.
    """
    root = find_root(root)
    rows = [row for folder, split in FOLDERS.items() for row in _read_folder(root, folder, split)]
    return make_frame(rows)


def find_root(root) -> Path:
    """The folder that holds `bounding_box_train`: `root` or one of its subfolders. Raises FileNotFoundError."""
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: {HELP}")
    inside = [root, *sorted(entry for entry in root.iterdir() if entry.is_dir())]
    found = [folder for folder in inside if (folder / _NEEDED[0]).is_dir()]
    if not found:
        raise FileNotFoundError(f"{root} has no {_NEEDED[0]}, nor has a folder in it: {HELP}")
    if root not in found and len(found) > 1:
        names = ", ".join(folder.name for folder in found)
        raise FileNotFoundError(f"{root} holds several data sets ({names}): name one of them")
    missing = [folder for folder in _NEEDED if not (found[0] / folder).is_dir()]
    if missing:
        raise FileNotFoundError(f"{found[0]} has no {', '.join(missing)}: {HELP}")
    return found[0]


def counts(frame: pd.DataFrame) -> pd.DataFrame:
    """Images and identities of a frame beside the published ones (`EXPECTED`), one row a part of the data set.

    Columns: images, identities, expected_images, expected_identities (Int64, missing where none is published), agrees.
    """
    gallery = frame[frame["split"] == "gallery"]
    parts = {split: frame[frame["split"] == split] for split in ("train", "query", "multi")}
    parts["gallery"] = gallery[gallery["pid"] >= 0]
    parts["distractors"] = gallery[gallery["pid"] == 0]
    parts["junk"] = gallery[gallery["pid"] == -1]
    rows = {
        name: {
            "images": len(parts[name]),
            "identities": parts[name]["pid"].nunique(),
            "expected_images": published["images"],
            "expected_identities": published["identities"],
        }
        for name, published in EXPECTED.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").astype("Int64")
    agrees = table["images"] == table["expected_images"]
    agrees &= (table["identities"] == table["expected_identities"]) | table["expected_identities"].isna()
    return table.assign(agrees=agrees.fillna(False).astype(bool))


def _read_folder(root: Path, folder: str, split: str) -> list[dict]:
    if split == "multi" and not (root / folder).is_dir():
        return []
    names = sorted(name for name in os.listdir(root / folder) if name.endswith(".jpg") and not name.startswith("."))
    if not names:
        raise FileNotFoundError(f"{root / folder} holds no jpg file: {HELP}")
    strange = [name for name in names if not NAME.fullmatch(name)]
    if strange:
        raise ValueError(
            f"{len(strange)} of {len(names)} files in {root / folder} are not named like 0001_c1s1_001051_00.jpg "
            f"(first: {strange[0]}); move them away or rename them"
        )
    maps = root / "parts" / folder
    drawn = set(os.listdir(maps)) if maps.is_dir() else set()
    rows = []
    for name in names:
        pid, camera = map(int, NAME.fullmatch(name).groups()[:2])
        part = f"{name[:-4]}.png"
        mask = f"parts/{folder}/{part}" if part in drawn else None
        rows.append({"path": f"{folder}/{name}", "split": split, "pid": pid, "camid": camera - 1, "mask": mask})
    return rows
