"""Who is seen by which camera, how often, in which outfit: the rows of a drawn data set, before anything is painted."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from .cameras import OCCLUDERS, sample_cameras
from .people import Table, sample_looks, sample_people
from .presets import Preset

PERSON, BACKGROUND, FRAGMENT, STRANGER, JUNK = range(5)  # kinds of a shot
STRANGERS = 40  # people who have no pid: in distractors, and passing by


@dataclass(frozen=True)
class Plan:
    """All that pictures are painted from. ``shots`` has one row an image; the others are what its columns index."""

    preset: Preset
    data_seed: int
    people: Table
    looks: Table
    cameras: Table
    shots: Table


def stream(preset: Preset, data_seed: int, name: str, *more: int) -> np.random.Generator:
    """The generator of one purpose: no two presets, seeds or purposes share numbers."""
    return np.random.default_rng([int(data_seed), zlib.crc32(preset.name.encode()), zlib.crc32(name.encode()), *more])


def plan(preset: Preset, data_seed: int = 0) -> Plan:
    """Draw the whole data set except its pixels; independent of the picture size."""
    if data_seed < 0:
        raise ValueError(f"data_seed is {data_seed}, must be 0 or more")
    known = preset.train_ids + preset.test_ids + preset.extra_ids
    people = sample_people(stream(preset, data_seed, "people"), known + STRANGERS)
    wardrobe, looks = _dress(preset, stream(preset, data_seed, "looks"), people)
    cameras = sample_cameras(stream(preset, data_seed, "cameras"), preset.cameras, preset.gap)
    visits = _visits(preset, stream(preset, data_seed, "visits"), wardrobe)
    visits = _with_extras(preset, stream(preset, data_seed, "extras"), visits, len(people["build"]), wardrobe)
    shots = visits | _poses(preset, stream(preset, data_seed, "poses"), visits, people, cameras)
    passing = stream(preset, data_seed, "passing").integers(known, len(people["build"]), len(shots["pid"]))
    shots |= {"passer_by": passing, "passer_look": np.asarray([outfits[0] for outfits in wardrobe])[passing]}
    return Plan(preset, data_seed, people, looks, cameras, shots)


def _dress(preset: Preset, rng: np.random.Generator, people: Table) -> tuple[list[list[int]], Table]:
    """Outfits of every person (numbers of looks) and the table of looks; some looks are shared within a split."""
    kind = people["dress_like"]
    low, high = preset.outfits
    wardrobe: list[list[int]] = []
    owners: list[int] = []
    ends = (0, preset.train_ids, len(kind))
    for person in range(len(kind)):
        count = (
            low if low == high else int(rng.integers(max(low, 2), high + 1)) if rng.random() < preset.changing else low
        )
        start = ends[1] if person >= ends[1] else 0
        choices = [k for k, owner in enumerate(owners) if owner >= start and kind[owner] == kind[person]]
        mine: list[int] = []
        for _ in range(count):
            shared = rng.random() < preset.shared_looks and choices
            mine.append(int(rng.choice(choices)) if shared else len(owners))
            if not shared:
                owners.append(person)
        wardrobe.append(list(dict.fromkeys(mine)) if len(set(mine)) == count else mine)
        if len(set(mine)) < count:
            wardrobe[-1] = list(range(len(owners), len(owners) + count))
            owners.extend([person] * count)
    return wardrobe, sample_looks(rng, len(owners), kind[np.asarray(owners)])


def _visits(preset: Preset, rng: np.random.Generator, wardrobe: list[list[int]]) -> Table:
    """One row an image of a numbered person: ``person, outfit, look, camera, sequence, split, box, kind``."""
    rows = []
    popularity = rng.dirichlet(np.full(preset.cameras, 2.0 if preset.skewed else 50.0)) + 0.10 / preset.cameras
    popularity /= popularity.sum()
    test_start, test_end = preset.train_ids, preset.train_ids + preset.test_ids
    for person in range(test_end + preset.extra_ids):
        split = "train" if person < test_start else "test" if person < test_end else "extra"
        for outfit, look in enumerate(wardrobe[person]):
            for camera in _cameras_of(preset, rng, popularity, outfit):
                low, high = preset.images_per_camera
                weights = np.linspace(1.2, 0.8, high - low + 1) if preset.skewed else np.ones(high - low + 1)
                count = low + int(rng.choice(high - low + 1, p=weights / weights.sum()))
                rows += [(person, outfit, look, camera, split, k) for k in range(count)]
    columns = [np.asarray(values) for values in zip(*rows, strict=True)]
    table = dict(zip(("person", "outfit", "look", "camera", "where", "box"), columns, strict=True))
    table["kind"] = np.full(len(rows), PERSON)
    table["split"] = _splits(preset, rng, table)
    table["sequence"] = rng.integers(1, 7, 4096)[(table["person"] * 7 + table["camera"]) % 4096]
    return table


def _cameras_of(preset: Preset, rng: np.random.Generator, popularity: np.ndarray, outfit: int) -> list[int]:
    if preset.protocol == "prcc":
        return [2] if outfit else [0, 1]
    low, high = preset.cameras_per_id
    weights = 1 / np.arange(1, high - low + 2) if preset.skewed else np.ones(high - low + 1)
    count = low + int(rng.choice(high - low + 1, p=weights[::-1] / weights.sum()))
    return sorted(rng.choice(preset.cameras, count, replace=False, p=popularity).tolist())


def _splits(preset: Preset, rng: np.random.Generator, t: Table) -> np.ndarray:
    """Split of every image, by the preset's protocol; "both" marks images that are query and gallery."""
    split = np.where(t["where"] == "train", "train", "gallery").astype("<U7")
    test = t["where"] == "test"
    if preset.protocol == "pairs":
        split[test & (t["camera"] == 0)] = "query"
    elif preset.protocol == "both":
        split[test] = "both"
    elif preset.protocol == "prcc":
        split[test & (t["camera"] > 0)] = "query"
    elif preset.protocol == "market":
        group = np.stack([t["person"], t["outfit"], t["camera"]], 1)
        for key in np.unique(group[test], axis=0):
            members = np.flatnonzero((group == key).all(1))
            if len(members) > 1:
                split[rng.choice(members)] = "query"
    return split


def _with_extras(preset: Preset, rng: np.random.Generator, t: Table, people: int, wardrobe: list[list[int]]) -> Table:
    """Append distractors (pid 0) and junk (pid -1) so that they are the wanted shares of the gallery."""
    gallery = int((t["split"] != "train").sum() - (t["split"] == "query").sum())
    rest = 1 - preset.distractors - preset.junk
    counts = {0: round(gallery * preset.distractors / rest), -1: round(gallery * preset.junk / rest)}
    known = preset.train_ids + preset.test_ids + preset.extra_ids
    t = t | {"pid": t["person"] + 1}
    for pid, n in counts.items():
        if pid == 0:
            person = rng.integers(known, people, n)
            kind = rng.choice([BACKGROUND, FRAGMENT, STRANGER], n, p=[0.3, 0.35, 0.35])
        else:
            person, kind = rng.integers(preset.train_ids, preset.train_ids + preset.test_ids, n), np.full(n, JUNK)
        look = np.asarray([rng.choice(wardrobe[p]) for p in person], dtype=np.int64)
        extra = {
            "person": person,
            "outfit": np.zeros(n, np.int64),
            "look": look,
            "camera": rng.integers(0, preset.cameras, n),
            "where": np.full(n, "extra"),
            "box": np.arange(n),
            "kind": kind,
            "split": np.full(n, "gallery"),
            "sequence": rng.integers(1, 7, n),
            "pid": np.full(n, pid),
        }
        t = {k: np.concatenate([t[k], extra[k]]) for k in t}
    return t


def _poses(preset: Preset, rng: np.random.Generator, t: Table, people: Table, cameras: Table) -> Table:
    """Pose, place in the box, light and occluder of every image."""
    n, camera, person = len(t["person"]), t["camera"], t["person"]
    visit = (person * 64 + camera * 4 + t["outfit"]) % 65521
    heading = rng.choice([0.0, np.pi], 65521, p=[0.6, 0.4])[visit] + rng.normal(0, 0.45, 65521)[visit]
    yaw = cameras["yaw"][camera] * 1.0 + heading + rng.normal(0, 0.25, n)
    walking = rng.random(n) < 0.85
    wrong = rng.random(n) < preset.wrong_boxes
    scale = 0.905 * people["height"][person] ** 0.6 * cameras["squat"][camera] * np.exp(rng.normal(0, 0.035, n))
    scale = np.where(wrong, scale * np.exp(rng.choice([-0.35, 0.35], n)), scale)
    x = rng.normal(0, 0.018, n) + wrong * rng.normal(0, 0.08, n)
    top = 0.5 - scale / 2 + rng.normal(0, 0.014, n) + wrong * rng.normal(0, 0.10, n)
    bad = (t["kind"] == JUNK) | (t["kind"] == FRAGMENT)
    side = rng.choice([-1.0, 1.0], n)
    zoomed = rng.random(n) < 0.5
    scale = np.where(bad, np.where(zoomed, rng.uniform(1.5, 2.4, n), rng.uniform(0.35, 1.0, n)), scale)
    x = np.where(bad, side * np.where(zoomed, rng.uniform(0.0, 0.2, n), rng.uniform(0.10, 0.24, n)), x)
    top = np.where(bad, np.where(zoomed, 0.5 - scale * rng.uniform(0.15, 0.85, n), rng.uniform(-0.35, 0.55, n)), top)
    occluded = (rng.random(n) < preset.occluded) & ~bad
    own = rng.random(n) < 0.6
    kinds = np.where(own, cameras["occluder"][camera], rng.integers(1, len(OCCLUDERS), n))
    grey = rng.uniform(0.15, 0.75, (n, 1))
    return {
        "yaw": yaw,
        "phase": people["gait_phase"][person] + rng.normal(0, 1.2, n) + np.pi * (rng.random(n) < 0.5),
        "amplitude": np.where(walking, rng.uniform(0.55, 1.1, n), rng.uniform(0.05, 0.2, n)) * people["stride"][person],
        "scale": scale,
        "x": x,
        "top": top,
        "turn": rng.normal(0, 0.012, n),
        "glow": np.exp(rng.normal(0, 0.06, n)),
        "left": rng.integers(0, 6, n) / 6 * 0.9 + rng.uniform(0, 0.1, n),
        "zoom": rng.uniform(0.85, 1.0, n),
        "occluder": np.where(occluded, kinds, 0),
        "occ_x": side * rng.uniform(0.03, 0.17, n),
        "occ_size": rng.random(n),
        "occ_colour": np.clip(grey + rng.normal(0, 0.08, (n, 3)), 0.05, 0.95),
        "occ_phase": rng.random(n),
        "passer_yaw": rng.uniform(-np.pi, np.pi, n),
    }
