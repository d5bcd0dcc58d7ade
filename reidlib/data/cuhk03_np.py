"""Reader of CUHK03-NP, the 767/700 protocol of Zhong et al. (CVPR 2017) on CUHK03, as folders of images.

Layout: `labeled` and `detected` (boxes by hand and by a detector), in each `bounding_box_train`, `query`,
`bounding_box_test` with files `PID_cC_*.png`, camera 1 or 2.
"""

import re

import pandas as pd

from reidlib.data import listing
from reidlib.data.frame import make_frame

FOLDERS = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
BOXES = {"detected": "detected", "labelled": "labeled"}
NAME = re.compile(r"(\d+)_c(\d+)(?:_.*)?\.png")
EXAMPLE = "0001_c1_1.png"
EXPECTED = {
    boxes: {
        "train": {"images": train, "identities": 767},
        "query": {"images": 1_400, "identities": 700},
        "gallery": {"images": gallery, "identities": 700},
    }
    for boxes, train, gallery in (("detected", 7_365, 5_332), ("labelled", 7_368, 5_328))
}
CAMERAS = 2
HELP = (
    "a CUHK03-NP folder holds labeled and detected, each with bounding_box_train, query and bounding_box_test of png "
    "files; the page book/datasets/cuhk03.md describes the data set"
)


def expected(boxes: str = "detected") -> dict:
    """The published counts under an option of `read`."""
    return EXPECTED[boxes]


def find_root(root):
    """The folder that holds `labeled` and `detected`: `root` or one of its subfolders. Raises FileNotFoundError."""
    return listing.find_root(root, list(BOXES.values()), HELP)


def read(root, boxes: str = "detected") -> pd.DataFrame:
    """The frame of the boxes "detected" or "labelled"; test people are numbered after the training people."""
    root = find_root(root)
    where = BOXES[listing.choice("boxes", boxes, list(BOXES))]
    files = {folder: listing.names(root / where / folder, NAME, EXAMPLE, HELP) for folder in FOLDERS}
    shift = listing.after(int(match[1]) for _, match in files["bounding_box_train"])
    rows = []
    for folder, split in FOLDERS.items():
        add = 1 if split == "train" else 1 + shift
        for name, match in files[folder]:
            path = f"{where}/{folder}/{name}"
            rows.append({"path": path, "split": split, "pid": int(match[1]) + add, "camid": int(match[2]) - 1})
    return make_frame(listing.finish(root, rows, CAMERAS))
