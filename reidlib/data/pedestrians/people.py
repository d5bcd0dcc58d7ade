"""Who is drawn: permanent identities, and the designs of their outfits ("looks").

Both are tables: dictionaries of NumPy arrays with one row a person or a look. Colours are ``(n, 3)`` in [0, 1].
"""

from __future__ import annotations

import numpy as np

Table = dict[str, np.ndarray]

HAIR_STYLES = ("short", "long", "bun", "bald", "curly", "ponytail")
PATTERNS = ("plain", "stripes", "columns", "checks", "logo", "two-tone", "jacket")
LOWER_TYPES = ("trousers", "shorts", "skirt", "dress")
BAGS = ("none", "backpack", "shoulder bag", "hand bag")
COLLARS = ("round", "v", "shirt", "hood")

# fmt: off
_SKINS = [
    (0.95, 0.79, 0.68), (0.88, 0.69, 0.55), (0.76, 0.56, 0.41), (0.60, 0.41, 0.28),
    (0.43, 0.28, 0.19), (0.30, 0.20, 0.15),
]
_HAIRS = [
    (0.07, 0.06, 0.06), (0.16, 0.11, 0.08), (0.30, 0.19, 0.12), (0.47, 0.32, 0.19),
    (0.80, 0.65, 0.38), (0.58, 0.57, 0.56), (0.55, 0.24, 0.10), (0.87, 0.86, 0.84),
]
_HAIR_WEIGHTS = [
    0.28, 0.22, 0.16, 0.1, 0.1, 0.06, 0.05, 0.015,
]
_CLOTH = [
    (0.08, 0.08, 0.09), (0.93, 0.93, 0.91), (0.36, 0.37, 0.39), (0.66, 0.67, 0.68),
    (0.10, 0.14, 0.30), (0.16, 0.33, 0.66), (0.55, 0.74, 0.90), (0.78, 0.12, 0.14),
    (0.40, 0.07, 0.12), (0.13, 0.45, 0.24), (0.38, 0.40, 0.18), (0.93, 0.80, 0.22),
    (0.92, 0.48, 0.13), (0.93, 0.58, 0.70), (0.42, 0.20, 0.52), (0.80, 0.71, 0.54),
    (0.42, 0.28, 0.17), (0.12, 0.52, 0.55),
]
_CLOTH_WEIGHTS = [
    0.1, 0.1, 0.07, 0.06, 0.08, 0.07, 0.05, 0.08, 0.04,
    0.05, 0.04, 0.05, 0.04, 0.05, 0.04, 0.05, 0.03, 0.04,
]
_LOWER_WEIGHTS = [
    0.2, 0.07, 0.11, 0.06, 0.15, 0.13, 0.05, 0.03, 0.03,
    0.02, 0.04, 0.01, 0.01, 0.02, 0.02, 0.08, 0.06, 0.02,
]
_SHOES = [
    (0.08, 0.08, 0.08), (0.92, 0.92, 0.92), (0.36, 0.22, 0.12), (0.55, 0.55, 0.57),
    (0.75, 0.16, 0.16), (0.15, 0.25, 0.55),
]
_SHOE_WEIGHTS = [
    0.36, 0.28, 0.14, 0.1, 0.06, 0.06,
]
# fmt: on


def _colours(rng: np.random.Generator, n: int, palette, weights=None, jitter: float = 0.05) -> np.ndarray:
    weights = np.full(len(palette), 1 / len(palette)) if weights is None else np.asarray(weights) / np.sum(weights)
    base = np.asarray(palette)[rng.choice(len(palette), n, p=weights)]
    return np.clip(base + rng.normal(0, jitter, (n, 1)) + rng.normal(0, jitter, (n, 3)), 0.03, 0.97)


def sample_people(rng: np.random.Generator, n: int) -> Table:
    """Draw ``n`` permanent identities: skin, hair, face, build, proportions (1: average) and gait."""
    dress_like = rng.random(n) < 0.5  # tends to narrower shoulders, longer hair, skirts
    styles = np.where(
        dress_like,
        rng.choice(6, n, p=[0.14, 0.46, 0.14, 0.0, 0.08, 0.18]),
        rng.choice(6, n, p=[0.66, 0.06, 0.02, 0.16, 0.10, 0.0]),
    )
    return {
        "skin": _colours(rng, n, _SKINS, [0.24, 0.24, 0.18, 0.14, 0.12, 0.08], 0.02),
        "hair": _colours(rng, n, _HAIRS, _HAIR_WEIGHTS, 0.02),
        "hair_style": styles.astype(np.int64),
        "hair_length": rng.uniform(0.0, 1.0, n),
        "head": rng.normal(1.0, 0.06, n).clip(0.87, 1.14),
        "build": rng.normal(1.0, 0.13, n).clip(0.78, 1.35),
        "height": rng.normal(1.0, 0.05, n).clip(0.88, 1.10),
        "legs": rng.normal(1.0, 0.035, n).clip(0.92, 1.08),
        "arms": rng.normal(1.0, 0.05, n).clip(0.9, 1.1),
        "shoulders": np.where(dress_like, 0.90, 1.04) + rng.normal(0, 0.03, n),
        "hips": np.where(dress_like, 1.06, 0.96) + rng.normal(0, 0.03, n),
        "gait_phase": rng.uniform(0, 2 * np.pi, n),
        "stride": rng.uniform(0.6, 1.2, n),
        "arm_swing": rng.uniform(0.5, 1.3, n),
        "stoop": rng.normal(0.0, 0.02, n),
        "beard": (~dress_like) & (rng.random(n) < 0.25),
        "glasses": rng.random(n) < 0.2,
        "dress_like": dress_like,
    }


def sample_looks(rng: np.random.Generator, n: int, dress_like: np.ndarray | None = None) -> Table:
    """Draw ``n`` outfit designs; ``dress_like`` (bool, n) says who may get skirts and dresses (None: half of them)."""
    if dress_like is None:
        dress_like = rng.random(n) < 0.5
    lower = np.where(dress_like, rng.choice(4, n, p=[0.46, 0.14, 0.22, 0.18]), rng.choice(4, n, p=[0.78, 0.22, 0, 0]))
    pattern = rng.choice(7, n, p=[0.36, 0.14, 0.06, 0.09, 0.12, 0.10, 0.13])
    pattern = np.where((lower == 3) & (pattern == 6), 0, pattern)
    sleeve_kind = rng.choice(3, n, p=[0.08, 0.42, 0.50])
    sleeve_kind = np.where(pattern == 6, 2, sleeve_kind)
    sleeve = np.choose(sleeve_kind, [np.full(n, 0.05), rng.uniform(0.55, 0.95, n), np.full(n, 1.95)])
    coat = ((pattern == 6) | (sleeve_kind == 2)) & (rng.random(n) < 0.3)
    upper = _colours(rng, n, _CLOTH, _CLOTH_WEIGHTS)
    second = _contrasting(rng, upper)
    trousers = _colours(rng, n, _CLOTH, _LOWER_WEIGHTS)
    return {
        "upper": upper,
        "second": second,
        "pattern": pattern.astype(np.int64),
        "period": rng.uniform(0.045, 0.085, n),
        "sleeve": sleeve,
        "hem": np.where(coat, rng.uniform(0.56, 0.70, n), rng.uniform(0.45, 0.52, n)),
        "collar": rng.choice(4, n, p=[0.38, 0.22, 0.26, 0.14]).astype(np.int64),
        "lower_type": lower.astype(np.int64),
        "lower": np.where((lower == 3)[:, None], upper, trousers),
        "lower_end": np.choose(
            lower, [np.full(n, 1.95), rng.uniform(0.7, 1.1, n), rng.uniform(0.60, 0.78, n), rng.uniform(0.66, 0.82, n)]
        ),
        "loose": rng.uniform(0.92, 1.22, n),
        "flare": rng.uniform(0.0, 1.0, n),
        "belt": (rng.random(n) < 0.4) & ~coat & (lower != 3),
        "belt_colour": _colours(rng, n, _SHOES, _SHOE_WEIGHTS, 0.03),
        "shoe": _colours(rng, n, _SHOES, _SHOE_WEIGHTS, 0.03),
        "sole": np.where(rng.random((n, 1)) < 0.5, 0.9, 0.12) * np.ones((n, 3)),
        "boots": rng.random(n) < 0.18,
        "bag": rng.choice(4, n, p=[0.52, 0.22, 0.16, 0.10]).astype(np.int64),
        "bag_colour": _colours(rng, n, _CLOTH, _CLOTH_WEIGHTS),
        "bag_side": np.where(rng.random(n) < 0.5, -1.0, 1.0),
    }


def _contrasting(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """For every colour another one of the palette that can be told from it."""
    n = len(colours)
    options = _colours(rng, 8 * n, _CLOTH, _CLOTH_WEIGHTS).reshape(8, n, 3)
    far = (np.abs(options - colours).sum(-1) > 0.6).argmax(0)
    return options[far, np.arange(n)]


def take(table: Table, rows: np.ndarray) -> Table:
    """The rows ``rows`` of a table, with its columns."""
    return {name: values[rows] for name, values in table.items()}
