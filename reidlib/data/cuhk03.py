"""Reader of CUHK03 (Li et al., DeepReID, CVPR 2014) from `cuhk-03.mat`, with its 20 classic splits.

The file (MATLAB 7.3, that is HDF5) holds `labeled` and `detected` (boxes by hand and by a detector): for each of five
camera pairs a table people x 10 images, the first five of view 1 and the others of view 2, some empty; and
`testsets`: 20 lists of 100 people (pair, person) who are tested. The images are unpacked once, as
`images_BOXES/PAIR_PERSON_VIEW_IMAGE.png` beside the file.
"""

import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from reidlib.data import listing
from reidlib.data.frame import make_frame

FILE = "cuhk-03.mat"
BOXES = {"detected": "detected", "labelled": "labeled"}
NAME = re.compile(r"(\d+)_(\d+)_(\d+)_(\d+)\.png")
EXAMPLE = "1_001_1_01.png"
SPLITS = 20
EXPECTED = {
    boxes: {
        "train": {"images": None, "identities": 1_367},
        "query": {"images": None, "identities": 100},
        "gallery": {"images": None, "identities": 100},
        "all": {"images": images, "identities": 1_467},
    }
    for boxes, images in (("detected", 14_097), ("labelled", 14_096))
}
CAMERAS = 2
HELP = f"a CUHK03 folder holds {FILE}; the page book/datasets/cuhk03.md describes the data set"


def expected(split: int = 0, boxes: str = "detected") -> dict:
    """The published counts under the options of `read`."""
    return EXPECTED[boxes]


def find_root(root):
    """The folder that holds cuhk-03.mat: `root`, the folder of the file `root`, or one of root's subfolders."""
    root = Path(root).expanduser()
    return listing.find_root(root.parent if root.name == FILE else root, [FILE], HELP)


def read(root, split: int = 0, boxes: str = "detected") -> pd.DataFrame:
    """The frame of one split, 0..19, of the boxes "detected" or "labelled".

    All images of the test people are both query and gallery (scored by repeated single-shot draws). pid is a running
    number over pairs and persons, camid the view. The first call unpacks the images. Raises FileNotFoundError,
    ValueError for a file that is not cuhk-03.mat, ImportError without h5py.
    """
    listing.choice("split", split, range(SPLITS))
    kind = BOXES[listing.choice("boxes", boxes, list(BOXES))]
    root = find_root(root)
    folder = root / f"images_{kind}"
    with _opened(root / FILE) as mat:
        sizes = [len(_follow(mat, pair)) for pair in mat[kind][0]]
        if len(mat["testsets"][0]) != SPLITS:
            raise ValueError(f"{root / FILE} has {len(mat['testsets'][0])} testsets and not {SPLITS}")
        tested = {(int(pair), int(person)) for pair, person in _follow(mat, mat["testsets"][0][split])}
        if not folder.is_dir():
            _unpack(mat, kind, folder)
    before = np.concatenate([[0], np.cumsum(sizes)])
    rows, seen = [], set()
    for name, match in listing.names(folder, NAME, EXAMPLE, HELP):
        pair, person, view = (int(match[k]) for k in (1, 2, 3))
        seen.add((pair, person))
        row = {"path": f"{folder.name}/{name}", "pid": int(before[pair - 1]) + person, "camid": view - 1}
        parts = ("query", "gallery") if (pair, person) in tested else ("train",)
        rows += [row | {"split": part} for part in parts]
    lost = sorted(tested - seen)
    if lost:
        raise ValueError(
            f"testset {split} names person {lost[0][1]} of camera pair {lost[0][0]}, who has no image in {folder}; "
            "remove that folder, so that it is unpacked again"
        )
    return make_frame(listing.finish(root, rows, CAMERAS))


@contextmanager
def _opened(file: Path):
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{file} is an HDF5 file: install h5py to read it (pip install h5py)") from error
    try:
        mat = h5py.File(file, "r")
    except OSError as error:
        raise ValueError(f"{file} is no HDF5 file ({error}); download cuhk-03.mat again") from error
    with mat:
        missing = [name for name in (*BOXES.values(), "testsets") if name not in mat]
        if missing:
            raise ValueError(f"{file} has no {', '.join(missing)}: it is not the cuhk-03.mat of the data set's authors")
        try:
            yield mat
        except (TypeError, IndexError, KeyError) as error:
            raise ValueError(f"{file} is not laid out like cuhk-03.mat ({error}); download it again") from error


def _follow(mat, reference) -> np.ndarray:
    """What a reference points to, with MATLAB's order of axes."""
    return mat[reference][()].T


def _unpack(mat, kind: str, folder: Path) -> None:
    """Write every image of the boxes `kind` as png, to a folder that is renamed to `folder` at the end."""
    from PIL import Image

    work = None
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        for pair, table in enumerate(mat[kind][0], 1):
            for person, images in enumerate(_follow(mat, table), 1):
                for number, reference in enumerate(images, 1):
                    pixels = _follow(mat, reference)
                    if pixels.ndim == 3 and pixels.size:
                        name = f"{pair}_{person:03d}_{1 if number <= 5 else 2}_{number:02d}.png"
                        Image.fromarray(np.ascontiguousarray(pixels)).save(work / name)
        work.chmod(0o755)
        os.rename(work, folder)
    except BaseException as error:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, PermissionError):
            raise PermissionError(f"cannot unpack {FILE} into {folder.parent}: the folder must be writable") from error
        raise
