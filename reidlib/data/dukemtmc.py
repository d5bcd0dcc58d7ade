"""Reader of DukeMTMC-reID (Zheng et al., ICCV 2017), for those who hold it: its authors withdrew the data in 2019.

Layout: folders `bounding_box_train`, `query`, `bounding_box_test`. A name is `PID_cC_fFFFFFFF.jpg`: identity, camera
1..8, frame. The gallery has people who are in no query; there is neither a person 0 nor junk.
"""

import re

import pandas as pd

from reidlib.data import listing
from reidlib.data.frame import make_frame

FOLDERS = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
NAME = re.compile(r"(\d{4})_c(\d+)_f(\d+)\.jpg")
EXAMPLE = "0001_c2_f0046182.jpg"
EXPECTED = {
    "train": {"images": 16_522, "identities": 702},
    "query": {"images": 2_228, "identities": 702},
    "gallery": {"images": 17_661, "identities": 1_110},
}
CAMERAS = 8
HELP = (
    f"a DukeMTMC-reID folder holds {', '.join(FOLDERS)} with jpg files in each; "
    "the page book/datasets/dukemtmc.md describes the data set"
)


def find_root(root):
    """The folder that holds `bounding_box_train`: `root` or one of its subfolders. Raises FileNotFoundError."""
    return listing.find_root(root, list(FOLDERS), HELP)


def read(root) -> pd.DataFrame:
    """The frame; pids are the numbers of the files. Raises FileNotFoundError, ValueError (FrameError) in words."""
    root = find_root(root)
    rows = []
    for folder, split in FOLDERS.items():
        for name, match in listing.names(root / folder, NAME, EXAMPLE, HELP):
            pid, camera = int(match[1]), int(match[2])
            if not pid:
                raise ValueError(f"{root / folder / name}: DukeMTMC-reID has no person 0000; is this another data set?")
            rows.append({"path": f"{folder}/{name}", "split": split, "pid": pid, "camid": camera - 1})
    return make_frame(listing.finish(root, rows, CAMERAS))
