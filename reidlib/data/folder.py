"""Reader of a folder of one's own crops, named `PERSON_CAMERA_anything.jpg` or sorted into one folder for each person.

Folders named train, val, query, gallery and multi (also test, bounding_box_train, bounding_box_test) make the split;
without them people are split by `reidlib.data.splitting`.
"""

import os
import re
from pathlib import Path

import pandas as pd

from reidlib.data import listing
from reidlib.data.frame import SPLITS, make_frame
from reidlib.data.splitting import number_people, split_people

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
SPLIT_FOLDERS = {name: name for name in SPLITS} | {
    "test": "gallery", "bounding_box_train": "train", "bounding_box_test": "gallery", "gt_bbox": "multi",
}  # fmt: skip
FLAT = re.compile(r"(?P<pid>-?[^_/]+)_(?:c|cam|camera)?(?P<camid>\d+)(?:[_s.-].*)?")
PERSONS = re.compile(r"(?P<pid>[^/]+)/(?:.*?[^a-z0-9])?(?:c|cam|camera)(?P<camid>\d+)(?:[^0-9].*)?", re.IGNORECASE)
ALONE = re.compile(r"(?P<pid>[^/]+)/[^/]+")
EXPECTED: dict = {}
HELP = (
    "a folder of pictures named PERSON_CAMERA_anything.jpg, or with one folder of pictures for each person; "
    "the page book/datasets/your_data.md describes what else is possible"
)


def find_root(root):
    """`root` itself. Raises FileNotFoundError."""
    return listing.find_root(root, [], HELP)


def read(
    root, pattern: str | None = None, train: float = 0.0, seed: int = 0,
    junk: str | None = None, distractor: str | None = None,
) -> pd.DataFrame:  # fmt: skip
    """The frame. People and cameras are numbered in natural order, so a person called 0 or 0000 is a person.

    `pattern`: a regular expression with the groups pid, camid and, optionally, clothes, which the path below the
    (split) folder, without suffix, must match as a whole. Without it the names decide: PERSON_CAMERA_..., or
    PERSON/...cCAMERA..., or PERSON/... and then all images count as one camera. `junk` and `distractor`: what stands in
    the place of the person for such boxes (Market-1501: "-1" and "0000"). `train`, `seed`: see `split_people`.
    Raises FileNotFoundError, ValueError naming the first file that does not fit.
    """
    root = find_root(root)
    files = sorted(_pictures(root))
    if not files:
        raise FileNotFoundError(f"{root} holds no picture ({', '.join(SUFFIXES)}): {HELP}")
    first = {path.split("/")[0] for path in files}
    in_splits = bool(first & set(SPLIT_FOLDERS))
    if in_splits and first - set(SPLIT_FOLDERS):
        raise ValueError(
            f"{root} has split folders and also {sorted(first - set(SPLIT_FOLDERS))[0]}: move that away, or into one"
        )
    below = [path.split("/", 1)[1] if in_splits else path for path in files]
    matches = _matches([name.rpartition(".")[0] for name in below], pattern, root)
    pids = number_people([match["pid"] for match in matches], junk, distractor)
    cameras = number_people([match.groupdict().get("camid") or "" for match in matches])
    rows = [{"path": p, "pid": n, "camid": c - 1} for p, n, c in zip(files, pids, cameras, strict=True)]
    if "clothes" in matches[0].re.groupindex:
        outfits = number_people([f"{n}/{m['clothes']}" for n, m in zip(pids, matches, strict=True)])
        rows = [row | {"clothes": outfit} for row, outfit in zip(rows, outfits, strict=True)]
    if in_splits:
        rows = [row | {"split": SPLIT_FOLDERS[row["path"].split("/")[0]]} for row in rows]
    else:
        rows = split_people(rows, train, seed)
    return make_frame(listing.finish(root, rows))


def _pictures(root: Path):
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(d for d in inside if not d.startswith(".") and not (Path(folder) == root and d == "parts"))
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()


def _matches(stems: list[str], pattern: str | None, root: Path) -> list[re.Match]:
    if pattern is not None:
        try:
            tried = [re.compile(pattern)]
        except re.error as error:
            raise ValueError(f"pattern={pattern!r} is no regular expression: {error}") from error
        lacking = {"pid"} - set(tried[0].groupindex)
        if lacking:
            raise ValueError(f"pattern={pattern!r} must have a group (?P<pid>...), and (?P<camid>...) for the camera")
    elif any("/" in stem for stem in stems):
        tried = [PERSONS, ALONE]
    else:
        tried = [FLAT]
    found = [[one.fullmatch(stem) for stem in stems] for one in tried]
    if len(found) == 2 and any(found[0]) and not all(found[0]):
        found = found[:1]  # some pictures name a camera: all must
    matches = found[0] if len(found) == 1 or all(found[0]) else found[1]
    strange = [stem for stem, match in zip(stems, matches, strict=True) if not match]
    example = f"the pattern {pattern}" if pattern else "PERSON_CAMERA_anything.jpg"
    example = "PERSON/...cCAMERA....jpg" if matches is found[0] and tried[0] is PERSONS else example
    listing.refuse_strange(strange, len(stems), root, example)
    return matches
