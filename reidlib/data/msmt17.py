"""Reader of MSMT17 (Wei et al., Person Transfer GAN, CVPR 2018), versions 1 and 2 (the same images, faces blurred).

Layout: `list_train.txt`, `list_val.txt`, `list_query.txt`, `list_gallery.txt` with a line `PATH LABEL` for each image,
in the folders `train` and `test` (version 2: `mask_train_v2`, `mask_test_v2`). A name is
`PID_INDEX_CC_TIME_FRAME_BOX.jpg`, camera 1..15. Labels start at 0, in the training and again in the test set.
"""

import os
import re

import pandas as pd

from reidlib.data import listing
from reidlib.data.frame import make_frame

LISTS = {"train": "list_train.txt", "val": "list_val.txt", "query": "list_query.txt", "gallery": "list_gallery.txt"}
FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
NAME = re.compile(r"(\d+)_(\d+)_(\d+)_.*\.jpg")
_TEST = {"query": {"images": 11_659, "identities": 3_060}, "gallery": {"images": 82_161, "identities": 3_060}}
EXPECTED = {
    "train+val": {"train": {"images": 32_621, "identities": 1_041}} | _TEST,
    "train": {"train": {"images": 30_248, "identities": 1_041}, "val": {"images": 2_373, "identities": None}} | _TEST,
}
CAMERAS = 15
HELP = (
    f"an MSMT17 folder holds {', '.join(LISTS.values())} and the folders train and test (version 2: mask_train_v2 and "
    "mask_test_v2); the page book/datasets/msmt17.md describes the data set"
)


def expected(train: str = "train+val") -> dict:
    """The published counts under an option of `read`."""
    return EXPECTED[train]


def find_root(root):
    """The folder that holds the lists: `root` or one of its subfolders. Raises FileNotFoundError."""
    return listing.find_root(root, list(LISTS.values()), HELP)


def read(root, train: str = "train+val") -> pd.DataFrame:
    """The frame. A training label l is pid l + 1; test people follow the last training person.

    `train`: "train+val" trains on both lists, "train" keeps list_val as split "val" (the same people). Raises
    FileNotFoundError for a missing folder, list or image, ValueError for a line or name that cannot be read.
    """
    listing.choice("train", train, list(EXPECTED))
    root = find_root(root)
    folders = next((pair for pair in FOLDERS if all((root / name).is_dir() for name in pair)), None)
    if folders is None:
        raise FileNotFoundError(
            f"{root} has the lists but neither train and test nor mask_train_v2, mask_test_v2: {HELP}"
        )
    lists = {split: _lines(root / file, root / folders[split in _TEST]) for split, file in LISTS.items()}
    shift = listing.after(label for split in ("train", "val") for _, label, _ in lists[split])
    rows = []
    for split, lines in lists.items():
        folder, add = (folders[1], 1 + shift) if split in _TEST else (folders[0], 1)
        part = "train" if split == "val" and train == "train+val" else split
        rows += [{"path": f"{folder}/{p}", "split": part, "pid": n + add, "camid": c - 1} for p, n, c in lines]
    return make_frame(listing.finish(root, rows, CAMERAS))


def _lines(file, folder) -> list[tuple[str, int, int]]:
    """(path, label, camera) of each line of a list, whose images must exist in `folder`."""
    found, known = [], {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        path, _, label = line.strip().rpartition(" ")
        inside, _, name = path.strip().rpartition("/")
        match = NAME.fullmatch(name)
        if not line.strip():
            continue
        if not match or not label.isdecimal():
            raise ValueError(
                f"{file}, line {number}: {line.strip()!r} is not like '0000/0000_000_01_0303morning_0015_0.jpg 0'"
            )
        if inside not in known:
            known[inside] = set(os.listdir(folder / inside)) if (folder / inside).is_dir() else set()
        if name not in known[inside]:
            raise FileNotFoundError(f"{file}, line {number}: {folder / path} does not exist; unpack the data set again")
        found.append((path.strip(), int(label), int(match[3])))
    if not found:
        raise ValueError(f"{file} is empty; unpack the data set again")
    return found
