"""Reader of VIPeR (Gray et al., PETS 2007): 632 people, one image from each of two cameras.

Layout: folders `cam_a` and `cam_b` with files `NUMBER_ANGLE.bmp`, 128x48 pixels. There is no fixed split: half of the
people are drawn for training, and scores are averaged over 10 such halves and, where wanted, both directions.
"""

import re

import numpy as np
import pandas as pd

from reidlib.data import listing
from reidlib.data.frame import make_frame

FOLDERS = ("cam_a", "cam_b")
NAME = re.compile(r"(\d+)_(\d+)\.bmp")
EXAMPLE = "000_45.bmp"
SPLITS = 10
EXPECTED = {
    "train": {"images": 632, "identities": 316},
    "query": {"images": 316, "identities": 316},
    "gallery": {"images": 316, "identities": 316},
}
CAMERAS = 2
HELP = "a VIPeR folder holds cam_a and cam_b with bmp files; the page book/datasets/viper.md describes the data set"


def find_root(root):
    """The folder that holds `cam_a` and `cam_b`: `root` or one of its subfolders. Raises FileNotFoundError."""
    return listing.find_root(root, FOLDERS, HELP)


def read(root, split: int = 0, query: str = "a") -> pd.DataFrame:
    """The frame of one split, 0..9: the half of the people that `numpy.random.default_rng(split)` permutes to the front
    trains. `query`: which camera asks, "a" or "b"; the other is the gallery.

    pid is the file's number + 1. Raises ValueError when a person is not exactly once in each folder.
    """
    listing.choice("split", split, range(SPLITS))
    listing.choice("query", query, ["a", "b"])
    root = find_root(root)
    files = [listing.names(root / folder, NAME, EXAMPLE, HELP) for folder in FOLDERS]
    numbers = [[int(match[1]) for _, match in found] for found in files]
    for folder, mine, others in zip(FOLDERS, numbers, reversed(numbers), strict=True):
        lone = sorted(set(mine) - set(others))
        twice = sorted({n for n in mine if mine.count(n) > 1})
        if lone or twice:
            what = f"only in {folder}" if lone else f"twice in {folder}"
            raise ValueError(
                f"{root}: person {(lone or twice)[0]:03d} is {what}; VIPeR has one image of each person in each folder"
            )
    people = np.random.default_rng(split).permutation(sorted(numbers[0]))
    train = set(people[: len(people) // 2].tolist())
    rows = []
    for camid, (folder, found) in enumerate(zip(FOLDERS, files, strict=True)):
        test = "query" if folder.endswith(query) else "gallery"
        for name, match in found:
            number = int(match[1])
            part = "train" if number in train else test
            rows.append({"path": f"{folder}/{name}", "split": part, "pid": number + 1, "camid": camid})
    return make_frame(listing.finish(root, rows, CAMERAS))
