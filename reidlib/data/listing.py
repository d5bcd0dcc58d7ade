"""What the readers share: finding a data set's folder, listing its files, numbering people."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def find_root(root, needed: Sequence[str], help: str) -> Path:
    """The folder that holds all of `needed`: `root`, or the one folder in it that does. Raises FileNotFoundError.

    `parts`, where label maps lie in the same layout, is passed over.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: {help}")
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    inside = [root, *(folder for folder in folders if folder.name != "parts")]
    missing = {folder: [name for name in needed if not (folder / name).exists()] for folder in inside}
    if not missing[root]:
        return root
    whole = [folder for folder in inside if not missing[folder]]
    if len(whole) > 1:
        names = ", ".join(folder.name for folder in whole)
        raise FileNotFoundError(f"{root} holds several data sets ({names}): name one of them")
    if whole:
        return whole[0]
    nearest = min(inside, key=lambda folder: len(missing[folder]))
    if len(missing[nearest]) == len(needed):
        raise FileNotFoundError(f"{root} has no {', '.join(needed)}, nor has a folder in it: {help}")
    raise FileNotFoundError(f"{nearest} has no {', '.join(missing[nearest])}: {help}")


def names(folder: Path, pattern: re.Pattern, example: str, help: str) -> list[tuple[str, re.Match]]:
    """(name, match) of every image file of a folder, sorted; other files and hidden ones are passed over.

    Images are the files that end like `example`. Raises FileNotFoundError for a missing or empty folder, ValueError
    where an image's name does not fit `pattern`.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: {help}")
    suffix = Path(example).suffix
    found = sorted(n for n in os.listdir(folder) if n.lower().endswith(suffix) and not n.startswith("."))
    if not found:
        raise FileNotFoundError(f"{folder} holds no {suffix[1:]} file: {help}")
    matches = [(name, pattern.fullmatch(name)) for name in found]
    refuse_strange([name for name, match in matches if not match], len(found), folder, example)
    return matches


def refuse_strange(strange: Sequence[str], total: int, folder: Path, example: str) -> None:
    """Raise ValueError with the first of the `strange` names, if there is one."""
    if strange:
        raise ValueError(
            f"{len(strange)} of {total} files in {folder} are not named like {example} "
            f"(first: {strange[0]}); move them away or rename them"
        )


def subfolders(folder: Path, help: str) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones. Raises FileNotFoundError when there is none."""
    found = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")) if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(f"{folder} holds no folders: {help}")
    return found


def finish(root: Path, rows: list[dict], cameras: int | None = None) -> list[dict]:
    """The rows with `mask` = parts/PATH.png, for the images whose label map exists there (`reidlib.data.parsing`).

    Raises ValueError for a camera that is not one of the data set's `cameras` (camid 0..cameras - 1).
    """
    for row in rows:
        if cameras is not None and not 0 <= row["camid"] < cameras:
            raise ValueError(
                f"{root / row['path']}: the name says camera {row['camid'] + 1}, but the data set has cameras "
                f"1..{cameras}; rename the file or move it away"
            )
    known: dict[str, set] = {}
    if (root / "parts").is_dir():
        for row in rows:
            folder, _, name = row["path"].rpartition("/")
            if folder not in known:
                where = root / "parts" / folder
                known[folder] = set(os.listdir(where)) if where.is_dir() else set()
            png = f"{name.rpartition('.')[0]}.png"
            if png in known[folder]:
                row["mask"] = "/".join(filter(None, ("parts", folder, png)))
    return rows


def after(numbers: Iterable[int]) -> int:
    """What to add to the numbers of test people so that none is the pid of a training person (number + 1).

    Data sets number people from 0, and some start again in the test set.
    """
    return max(numbers, default=-1) + 1


def choice(name: str, value, choices: Sequence):
    """`value` if it is one of `choices`, else ValueError."""
    if value not in choices or isinstance(value, bool):
        shown = f"{choices[0]}..{choices[-1]}" if isinstance(choices, range) else ", ".join(map(repr, choices))
        raise ValueError(f"{name}={value!r} is not one of {shown}")
    return value
