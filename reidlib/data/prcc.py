"""Reader of PRCC (Yang et al., Person Re-identification by Contour Sketch under Moderate Clothing Change, PAMI 2021).

Layout: `rgb/train/NUMBER/` and `rgb/val/NUMBER/` with jpg files whose name starts with the camera (A, B or C), and
`rgb/test/CAMERA/NUMBER/`. A and B show one outfit of a person, C another. The folder `sketch` is not read.
"""

import re

import pandas as pd

from reidlib.data import listing
from reidlib.data.frame import make_frame

CAMERA_NAMES = "ABC"
NAME = re.compile(r"([ABC]).*\.jpg")
ANY = re.compile(r".*\.jpg")
EXAMPLE = "A_cropped_rgb001.jpg"
TEST = {"A": "gallery", "B": "query", "C": "query"}
EXPECTED = {
    "train": {"images": 17_896, "identities": 150},
    "val": {"images": 5_002, "identities": 150},
    "query": {"images": 7_416, "identities": 71},
    "gallery": {"images": 3_384, "identities": 71},
}
CAMERAS = 3
HELP = (
    "a PRCC folder holds rgb/train, rgb/val and rgb/test/A, B, C with a folder of jpg files for each person; "
    "the page book/datasets/prcc.md describes the data set"
)


def find_root(root):
    """The folder that holds `rgb`: `root` or one of its subfolders. Raises FileNotFoundError."""
    return listing.find_root(root, ["rgb/train", "rgb/val", *(f"rgb/test/{c}" for c in TEST)], HELP)


def read(root) -> pd.DataFrame:
    """The frame: gallery A, queries B (same clothes) and C (other clothes), clothes = 2 pid, + 1 under camera C.

    Training and validation show the same people. pid is the folder's number + 1, and test people are numbered after
    the training people.
    """
    root = find_root(root)
    rows = [row for split in ("train", "val") for row in _people(root, f"rgb/{split}", split, NAME)]
    shift = listing.after(row["pid"] - 1 for row in rows)
    for camera, split in TEST.items():
        for row in _people(root, f"rgb/test/{camera}", split, ANY):
            rows.append(row | {"pid": row["pid"] + shift, "camid": CAMERA_NAMES.index(camera)})
    for row in rows:
        row["clothes"] = 2 * row["pid"] + (CAMERA_NAMES[row["camid"]] == "C")
    return make_frame(listing.finish(root, rows, CAMERAS))


def _people(root, inside: str, split: str, pattern: re.Pattern) -> list[dict]:
    rows = []
    for folder in listing.subfolders(root / inside, HELP):
        if not folder.name.isdecimal():
            raise ValueError(f"{folder}: a person's folder is a number, like 001; move it away or rename it")
        for name, match in listing.names(folder, pattern, EXAMPLE, HELP):
            camid = CAMERA_NAMES.index(match[1]) if match.re.groups else -1
            path = f"{inside}/{folder.name}/{name}"
            rows.append({"path": path, "split": split, "pid": int(folder.name) + 1, "camid": camid})
    return rows
