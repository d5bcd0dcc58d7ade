"""Reader of LTCC (Qian et al., Long-Term Cloth-Changing Person Re-identification, ACCV 2020).

Layout: folders `train`, `query`, `test`. A name is `PERSON_OUTFIT_cCAMERA_INDEX.png`, camera 1..12; outfits are
numbered for each person. Label maps of the clothes (see `reidlib.data.parsing`), where they exist, are
`parts/FOLDER/NAME.png`.
"""

import re

import pandas as pd

from reidlib.data import listing
from reidlib.data.frame import make_frame

FOLDERS = {"train": "train", "query": "query", "test": "gallery"}
NAME = re.compile(r"(\d+)_(\d+)_c(\d+)_(\d+)\.png")  # of the base name: a folder may well hold "_c"
EXAMPLE = "000_1_c11_015833.png"
EXPECTED = {
    "train": {"images": 9_576, "identities": 77},
    "query": {"images": 493, "identities": 75},
    "gallery": {"images": 7_050, "identities": 75},
}
CAMERAS = 12
HELP = (
    "an LTCC folder holds train, query and test with png files in each; "
    "the page book/datasets/ltcc.md describes the data set"
)


def find_root(root):
    """The folder that holds `train`, `query` and `test`: `root` or one of its subfolders. Raises FileNotFoundError."""
    return listing.find_root(root, list(FOLDERS), HELP)


def read(root) -> pd.DataFrame:
    """The frame, with outfits. pid is the file's number + 1; test people are numbered after the training people."""
    root = find_root(root)
    files = {folder: listing.names(root / folder, NAME, EXAMPLE, HELP) for folder in FOLDERS}
    shift = listing.after(int(match[1]) for _, match in files["train"])
    rows = []
    for folder, split in FOLDERS.items():
        add = 1 if split == "train" else 1 + shift
        for name, match in files[folder]:
            person, outfit, camera = (int(match[k]) for k in (1, 2, 3))
            pid = person + add
            rows.append(
                {"path": f"{folder}/{name}", "split": split, "pid": pid, "camid": camera - 1, "clothes": (pid, outfit)}
            )
    outfits = {key: n for n, key in enumerate(sorted({row["clothes"] for row in rows}))}
    for row in rows:
        row["clothes"] = outfits[row["clothes"]]
    return make_frame(listing.finish(root, rows, CAMERAS))
