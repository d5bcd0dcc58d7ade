"""Plans of drawn data sets that have exactly the published numbers of images, people, cameras and outfits.

They are for runs at full size; nothing in them is a real person. `reidlib.data.layouts` writes them to disk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from reidlib.data.pedestrians import compose
from reidlib.data.pedestrians.cameras import sample_cameras
from reidlib.data.pedestrians.people import sample_people
from reidlib.data.pedestrians.presets import Preset

_MOST_OUTFITS = 7  # of one person: pedestrians number outfits by person * 8 + outfit


@dataclass(frozen=True)
class FullSize:
    """A preset and the exact counts: images of train, query and gallery (true people), outfits of train and test."""

    preset: Preset
    layout: str
    train: int
    query: int
    gallery: int
    outfits: tuple[int, int] | None = None
    distractors: int = 0
    junk: int = 0
    per_camera: tuple[int, int, int] | None = None  # test images under cameras A, B, C


FULL_SIZE = {
    full.preset.name: full
    for full in (
        FullSize(
            Preset("market1501-full", 751, 750, 6, (2, 6), (1, 9), distractors=0.1, junk=0.1),
            "market1501", 12_936, 3_368, 13_115, distractors=2_798, junk=3_819,
        ),
        FullSize(
            Preset("msmt17-full", 1_041, 3_060, 15, (3, 9), (1, 9), gap=0.8, occluded=0.15),
            "msmt17", 32_621, 11_659, 82_161,
        ),
        FullSize(
            Preset("ltcc-full", 77, 75, 12, (2, 5), (1, 9), gap=0.2, occluded=0.08, outfits=(7, 7)),
            "ltcc", 9_576, 493, 7_050, outfits=(256, 221),
        ),
        FullSize(
            Preset("prcc-full", 150, 71, 3, (3, 3), (1, 9), gap=0.15, occluded=0.05, outfits=(2, 2), protocol="prcc"),
            "prcc", 17_896 + 5_002, 7_416, 3_384, per_camera=(3_384, 3_543, 3_873),
        ),
    )
}  # fmt: skip


def plan(full: FullSize, data_seed: int = 0) -> compose.Plan:
    """The whole drawn data set except its pixels, as `pedestrians.compose.plan` makes it, with exact counts."""
    preset = full.preset
    known = preset.train_ids + preset.test_ids

    def stream(name: str) -> np.random.Generator:
        return compose.stream(preset, data_seed, name)

    people = sample_people(stream("people"), known + compose.STRANGERS)
    wardrobe, looks = compose._dress(preset, stream("looks"), people)
    cameras = sample_cameras(stream("cameras"), preset.cameras, preset.gap)
    visits = _visits(full, stream("visits"), wardrobe)
    visits = _with_extras(full, stream("extras"), visits, len(people["build"]), wardrobe)
    shots = visits | compose._poses(preset, stream("poses"), visits, people, cameras)
    passing = stream("passing").integers(known, len(people["build"]), len(shots["pid"]))
    shots |= {"passer_by": passing, "passer_look": np.asarray([outfits[0] for outfits in wardrobe])[passing]}
    return compose.Plan(preset, data_seed, people, looks, cameras, shots)


def _visits(full: FullSize, rng: np.random.Generator, wardrobe: list[list[int]]) -> dict[str, np.ndarray]:
    """One row an image of a numbered person, as `compose._visits` makes them."""
    preset = full.preset
    train = np.arange(preset.train_ids)
    test = preset.train_ids + np.arange(preset.test_ids)
    blocks = []
    for where, people, images in (("train", train, full.train), ("test", test, full.gallery)):
        outfits = None if full.outfits is None else full.outfits[where == "test"]
        groups = _groups(preset, rng, people, outfits)
        if full.per_camera and where == "test":
            for camera, count in enumerate(full.per_camera):
                split = "query" if camera else "gallery"
                blocks.append(_fill(rng, groups[groups[:, 2] == camera], count, where, split))
            continue
        blocks.append(_fill(rng, groups, images, where, "train" if where == "train" else "gallery"))
        if where == "test":
            blocks.append(_one_each(rng, groups, full.query))
    person, outfit, camera, box, place, split = (np.concatenate(column) for column in zip(*blocks, strict=True))
    look = np.fromiter((wardrobe[p][o] for p, o in zip(person, outfit, strict=True)), np.int64, len(person))
    return {
        "person": person, "outfit": outfit, "look": look, "camera": camera, "where": place, "box": box,
        "kind": np.full(len(person), compose.PERSON), "split": split,
        "sequence": rng.integers(1, 7, 4096)[(person * 7 + camera) % 4096],
    }  # fmt: skip


def _groups(preset: Preset, rng: np.random.Generator, people: np.ndarray, outfits: int | None) -> np.ndarray:
    """Which person is seen by which camera in which outfit: (groups, 3) of person, outfit, camera."""
    if preset.protocol == "prcc":
        return np.asarray([(p, int(c == 2), c) for p in people for c in range(3)])
    counts = np.ones(len(people), int)
    if outfits is not None:
        changing = rng.permutation(len(people))[: round(0.6 * len(people))]
        counts[changing] = 2
        while counts.sum() < outfits:
            counts[rng.choice(changing[counts[changing] < _MOST_OUTFITS])] += 1
    low, high = preset.cameras_per_id
    weights = 1 / np.arange(high - low + 1, 0, -1)
    rows = []
    for person, outfit in ((p, o) for p, n in zip(people, counts, strict=True) for o in range(n)):
        seen = low + rng.choice(high - low + 1, p=weights / weights.sum())
        rows += [(person, outfit, camera) for camera in rng.permutation(preset.cameras)[:seen]]
    return np.asarray(rows)


def _fill(rng: np.random.Generator, groups: np.ndarray, images: int, where: str, split: str) -> tuple:
    """`images` images of the groups, at least one of each, the rest by chance."""
    counts = 1 + rng.multinomial(images - len(groups), np.full(len(groups), 1 / len(groups)))
    rows = np.repeat(groups, counts, axis=0)
    box = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return *rows.T, box, np.full(len(rows), where), np.full(len(rows), split)


def _one_each(rng: np.random.Generator, groups: np.ndarray, count: int) -> tuple:
    """`count` groups, one image of each and at least one of every person."""
    mixed = groups[rng.permutation(len(groups))]
    first = np.unique(mixed[:, 0], return_index=True)[1]
    rest = np.setdiff1d(np.arange(len(mixed)), first)
    rows = mixed[np.concatenate([first, rest[: count - len(first)]])]
    return *rows.T, np.full(count, 99), np.full(count, "test"), np.full(count, "query")


def _with_extras(full, rng, visits, people, wardrobe) -> dict[str, np.ndarray]:
    """Append exactly the wanted numbers of distractors and junk."""
    total = full.gallery + full.distractors + full.junk
    shares = {"distractors": full.distractors / total, "junk": full.junk / total}
    return compose._with_extras(replace(full.preset, **shares), rng, visits, people, wardrobe)
