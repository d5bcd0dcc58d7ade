"""Splits for pictures that come without one: some people train, each other person gives queries and gallery images."""

import re

import numpy as np

_NUMBERS = re.compile(r"(\d+)")


def natural(text: str) -> tuple:
    """A sorting key that puts "9" before "10"."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _NUMBERS.split(text) if part)


def number_people(labels, junk: str | None = None, distractor: str | None = None) -> list[int]:
    """pid of each label: 1, 2, ... in natural order, -1 for the label `junk` and 0 for the label `distractor`."""
    people = sorted(set(labels) - {junk, distractor}, key=lambda text: (natural(text), text))
    known = {junk: -1, distractor: 0} | {label: n for n, label in enumerate(people, 1)}
    return [known[label] for label in labels]


def split_people(rows: list[dict], train: float = 0.0, seed: int = 0) -> list[dict]:
    """Give rows (with pid and camid) a split: a share `train` of the people trains, the others are tested.

    A tested person gives one query for each of their cameras, if two or more cameras saw them, and always keeps an
    image in another camera in the gallery. Where the whole data set has one camera, each person with two images gives
    one query (score with the protocol AnyCamera). Images are drawn by `seed`. Raises ValueError when nobody is left
    to be queried.
    """
    if isinstance(train, bool) or not isinstance(train, int | float) or not 0 <= train < 1:
        raise ValueError(f"train={train!r} is not a share of the people, 0 <= train < 1")
    generator = np.random.default_rng(seed)
    people = np.unique([row["pid"] for row in rows if row["pid"] >= 1])
    training = set(generator.permutation(people)[: round(train * len(people))].tolist())
    one_camera = len({row["camid"] for row in rows}) == 1
    images: dict[int, dict[int, list]] = {}
    for n, row in enumerate(rows):
        row["split"] = "train" if row["pid"] in training else "gallery"
        if row["split"] == "gallery" and row["pid"] >= 1:
            images.setdefault(row["pid"], {}).setdefault(row["camid"], []).append(n)
    for pid in sorted(images):
        for n in _queries(list(images[pid].values()), one_camera, generator):
            rows[n]["split"] = "query"
    if not any(row["split"] == "query" for row in rows):
        raise ValueError(
            f"none of the {len(images)} people to test has "
            + ("two images" if one_camera else "images in two cameras")
            + ", so nothing can be searched; check how person and camera are read from the names"
        )
    return rows


def _queries(cameras: list[list[int]], one_camera: bool, generator: np.random.Generator) -> list[int]:
    if one_camera:
        return [int(generator.choice(cameras[0]))] if len(cameras[0]) > 1 else []
    if len(cameras) < 2:
        return []
    single = [k for k, camera in enumerate(cameras) if len(camera) == 1]
    kept = int(generator.choice(single)) if single and len(cameras) - len(single) < 2 else -1
    return [int(generator.choice(camera)) for k, camera in enumerate(cameras) if k != kept]
