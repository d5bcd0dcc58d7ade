"""Street scenes: what stands behind the people of one camera, painted once as a wide picture and then cropped."""

from __future__ import annotations

import copy

import numpy as np

WIDTH = 4.0  # width of a scene in picture heights
WALLS = ("brick", "panels", "fence", "shop", "hedge", "concrete")
GROUNDS = ("slabs", "asphalt", "grass", "tiles")
_WALL_TONES = np.array(
    [
        (0.55, 0.33, 0.26),
        (0.62, 0.60, 0.56),
        (0.50, 0.46, 0.38),
        (0.58, 0.52, 0.46),
        (0.26, 0.38, 0.20),
        (0.56, 0.57, 0.58),
    ]
)
_GROUND_TONES = np.array([(0.60, 0.58, 0.54), (0.34, 0.35, 0.37), (0.36, 0.48, 0.24), (0.62, 0.56, 0.50)])


def value_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float]) -> np.ndarray:
    """Smooth noise in about [-1, 1], ``shape`` pixels with ``cells`` bumps down and across."""
    rows, cols = max(2, round(cells[0]) + 1), max(2, round(cells[1]) + 1)
    knots = rng.uniform(-1, 1, (rows, cols)).astype(np.float32)
    y, x = np.linspace(0, rows - 1.001, shape[0]), np.linspace(0, cols - 1.001, shape[1])
    iy, ix = y.astype(int), x.astype(int)
    fy, fx = (y - iy)[:, None], (x - ix)[None]
    fy, fx = fy * fy * (3 - 2 * fy), fx * fx * (3 - 2 * fx)
    top = knots[iy][:, ix] * (1 - fx) + knots[iy][:, ix + 1] * fx
    return top * (1 - fy) + (knots[iy + 1][:, ix] * (1 - fx) + knots[iy + 1][:, ix + 1] * fx) * fy


def paint_scene(rng: np.random.Generator, height: int, horizon: float, wall: int, ground: int) -> np.ndarray:
    """A scene ``(3, height, WIDTH * height)`` float32 in [0, 1].

    ``horizon`` is the height of the foot of the wall (0 top, 1 bottom); ``wall`` and ``ground`` index WALLS and
    GROUNDS.
    """
    s = _Scene(rng, height, horizon)
    s.wall(wall)
    s.ground(ground)
    for _ in range(rng.integers(2, 5)):
        s.door() if wall != 4 and rng.random() < 0.5 else s.tree()
    for _ in range(rng.integers(1, 4)):
        s.car()
    for _ in range(rng.integers(2, 6)):
        s.pole()
    s.grime()
    return np.ascontiguousarray(s.image.clip(0, 1).transpose(2, 0, 1), dtype=np.float32)


class _Scene:
    def __init__(self, rng: np.random.Generator, height: int, horizon: float):
        self.rng, self.height, self.horizon = rng, height, horizon
        width = round(WIDTH * height)
        self.y = ((np.arange(height) + 0.5) / height)[:, None]
        self.x = ((np.arange(width) + 0.5) / height)[None]
        self.image = np.zeros((height, width, 3))

    def cover(self, distance: np.ndarray) -> np.ndarray:
        return np.clip(0.5 - distance * self.height, 0, 1)

    def blend(self, weight, colour) -> None:
        self.image += (np.asarray(colour) - self.image) * np.asarray(weight)[..., None]

    def box(self, x0: float, x1: float, y0: float, y1: float, colour, weight: float = 1.0) -> None:
        part = self.around(x0, x1)
        d = np.maximum(abs(part.x - (x0 + x1) / 2) - (x1 - x0) / 2, abs(part.y - (y0 + y1) / 2) - (y1 - y0) / 2)
        part.blend(part.cover(d) * weight, colour)

    def around(self, left: float, right: float) -> _Scene:
        """The columns of the scene between two places; painting on them paints on this scene."""
        columns = slice(max(0, int(left * self.height) - 2), max(0, int(right * self.height) + 3))
        part = copy.copy(self)
        part.x, part.image = self.x[:, columns], self.image[:, columns]
        return part

    def coat(self, low: float, high: float) -> np.ndarray:
        """Colour of something painted: not too bright a one."""
        colour = self.rng.uniform(low, high, 3)
        return colour.mean() + 0.65 * (colour - colour.mean())

    def lines(self, t: np.ndarray, period: float, width: float, scale: float | np.ndarray = 1.0) -> np.ndarray:
        """Coverage of thin lines at every ``period`` of ``t``; ``scale`` is picture heights in one unit of ``t``."""
        d = abs(t - np.round(t / period) * period) - width / 2
        return np.clip(0.5 - d * scale * self.height, 0, 1) * np.clip(period * scale * self.height / 3, 0, 1)

    def wall(self, kind: int) -> None:
        rng = self.rng
        tone = np.clip(_WALL_TONES[kind] * rng.uniform(0.75, 1.25) + rng.normal(0, 0.05, 3), 0.1, 0.92)
        self.image[:] = tone
        noise = value_noise(rng, self.image.shape[:2], (6, 6 * WIDTH))
        self.image *= 1 + 0.08 * noise[..., None]
        getattr(self, "_" + WALLS[kind])(tone)

    def _brick(self, tone: np.ndarray) -> None:
        rows = np.floor(self.y / 0.032)
        joints = np.maximum(
            self.lines(self.y + 0 * self.x, 0.032, 0.006), self.lines(self.x + 0.04 * (rows % 2), 0.08, 0.006)
        )
        tint = value_noise(self.rng, self.image.shape[:2], (31, 12 * WIDTH))
        self.image *= 1 + 0.13 * tint[..., None]
        self.blend(joints * 0.55, tone * 0.4 + 0.42)

    def _panels(self, tone: np.ndarray) -> None:
        step = self.rng.uniform(0.35, 0.6)
        self.blend(self.lines(self.x + 0 * self.y, step, 0.010) * 0.6, tone * 0.6)
        for left in np.arange(self.rng.uniform(0, step), WIDTH, step):
            dark = self.rng.uniform(0.15, 0.45) * np.array([0.8, 0.95, 1.1])
            self.box(left + 0.06, left + step - 0.06, -0.1, self.horizon * 0.62, tone * 1.3)
            self.box(left + 0.075, left + step - 0.075, -0.1, self.horizon * 0.60, dark)
            self.box(left + step / 2 - 0.006, left + step / 2 + 0.006, -0.1, self.horizon * 0.60, tone * 1.2)

    def _fence(self, tone: np.ndarray) -> None:
        self.image[:] = np.clip(np.array([0.72, 0.80, 0.88]) + self.rng.normal(0, 0.04, 3), 0, 1)
        leaves = value_noise(self.rng, self.image.shape[:2], (7, 8 * WIDTH)) + 0.6 - self.y * 1.0
        self.blend(np.clip(leaves * 3, 0, 1), np.array([0.24, 0.34, 0.18]) * self.rng.uniform(0.8, 1.5))
        top = self.horizon * 0.25
        bars = self.lines(self.x + 0 * self.y, 0.065, 0.012) * (self.y > top)
        rails = (
            self.cover(abs(self.y - top) - 0.008) + self.cover(abs(self.y - self.horizon * 0.8) - 0.008) + 0 * self.x
        )
        self.blend(np.clip(bars + rails, 0, 1), tone * self.rng.uniform(0.3, 1.2))

    def _shop(self, tone: np.ndarray) -> None:
        left = -self.rng.uniform(0, 0.5)
        while left < WIDTH:
            wide = self.rng.uniform(0.5, 1.0)
            glass = np.clip(self.rng.uniform(0.25, 0.65) + self.rng.normal(0, 0.06, 3), 0, 1)
            self.box(left + 0.04, left + wide - 0.04, self.horizon * 0.28, self.horizon * 0.9, glass)
            shine = self.cover(abs(self.x - left - wide * 0.4 + 0.5 * self.y) - 0.05) * (
                abs(self.x - left - wide / 2) < wide / 2 - 0.04
            )
            self.blend(shine * (self.y > self.horizon * 0.28) * (self.y < self.horizon * 0.9) * 0.25, (1, 1, 1))
            self.box(left, left + wide, -0.1, self.horizon * 0.24, self.coat(0.12, 0.8))
            left += wide

    def _hedge(self, tone: np.ndarray) -> None:
        for cells, weight in ((8, 0.35), (20, 0.35), (45, 0.30)):
            self.image *= 1 + weight * value_noise(self.rng, self.image.shape[:2], (cells, cells * WIDTH))[..., None]
        self.blend(np.clip((self.horizon * 0.25 - self.y) * 12, 0, 1) + 0 * self.x, (0.75, 0.82, 0.90))

    def _concrete(self, tone: np.ndarray) -> None:
        streaks = value_noise(self.rng, self.image.shape[:2], (2, 25 * WIDTH))
        self.image *= 1 + 0.12 * streaks[..., None]
        self.blend(self.lines(self.x + 0 * self.y, self.rng.uniform(0.5, 0.9), 0.012) * 0.5, tone * 0.6)
        self.blend(self.cover(abs(self.y - self.horizon * 0.5) - 0.006) * 0.4 + 0 * self.x, tone * 0.6)

    def ground(self, kind: int) -> None:
        """The ground plane in perspective, its kerb, and lines that meet above the middle of the scene."""
        rng = self.rng
        tone = np.clip(_GROUND_TONES[kind] * rng.uniform(0.7, 1.3) + rng.normal(0, 0.04, 3), 0.1, 0.92)
        below = self.cover(self.horizon - self.y) + 0 * self.x
        self.blend(below, tone)
        eye = self.horizon - rng.uniform(0.25, 0.5)  # height of the vanishing line
        depth = 1 / np.clip(self.y - eye, 0.05, None)
        across = (self.x - WIDTH / 2 + rng.uniform(-0.5, 0.5)) * depth
        wear = (
            value_noise(rng, self.image.shape[:2], (30, 6 * WIDTH)) * 0.6
            + value_noise(rng, self.image.shape[:2], (8, 12)) * 0.6
        )
        self.image *= 1 + 0.09 * (wear * below)[..., None]
        if kind in (0, 3):
            step = rng.uniform(0.30, 0.55)
            lines = np.maximum(
                self.lines(across, step, 0.018, 1 / depth), self.lines(depth + 0 * self.x, step, 0.02, 1 / depth**2)
            )
            if kind == 3:
                checks = (np.floor(across / step) + np.floor(depth / step)) % 2
                self.blend(below * checks * 0.25, tone * 0.6)
            self.blend(below * lines * 0.5, tone * 0.55)
        elif kind == 1:
            self.blend(below * self.cover(abs(across - rng.uniform(-1, 1)) * 0.5 - 0.03) * 0.8, (0.86, 0.85, 0.78))
        else:
            path = self.cover(self.horizon + rng.uniform(0.12, 0.25) - self.y)
            self.blend(below * path, np.clip(np.array([0.62, 0.56, 0.46]) * rng.uniform(0.8, 1.2), 0, 1))
        kerb = self.horizon + 0.012
        self.box(-1, WIDTH + 1, kerb - 0.012, kerb + 0.012, tone * 1.15)
        self.box(-1, WIDTH + 1, kerb + 0.012, kerb + 0.020, tone * 0.5)

    def door(self) -> None:
        left, colour = self.rng.uniform(0, WIDTH - 0.3), self.coat(0.15, 0.55)
        top = self.horizon - self.rng.uniform(0.30, 0.42)
        self.box(left - 0.015, left + 0.195, top - 0.015, self.horizon, (0.75, 0.74, 0.7))
        self.box(left, left + 0.18, top, self.horizon, colour)
        self.box(left + 0.03, left + 0.15, top + 0.04, top + 0.15, colour * 0.6)

    def tree(self) -> None:
        at, wide = self.rng.uniform(0, WIDTH), self.rng.uniform(0.03, 0.06)
        foot = self.horizon + self.rng.uniform(0.0, 0.06)
        bark = np.array([0.32, 0.25, 0.18]) * self.rng.uniform(0.7, 1.3)
        part = self.around(at - 2 * wide, at + 2 * wide)
        x, y = part.x - at, part.y - foot
        shade = np.clip(1.1 - abs(x + 0.3 * wide) / wide * 0.4, 0.5, 1.2)[..., None]
        trunk = np.maximum(abs(x) - wide / 2 - 0.02 * np.clip(y + 0.1, 0, 1), y)
        part.blend(part.cover(trunk), bark * shade)

    def car(self) -> None:
        """A parked car, side on, with its wheels at the kerb."""
        at, length = self.rng.uniform(0, WIDTH), self.rng.uniform(0.75, 1.0)
        foot = self.horizon + self.rng.uniform(0.03, 0.10)
        paint = (
            self.rng.choice([0.08, 0.3, 0.6, 0.85]) * np.ones(3) if self.rng.random() < 0.6 else self.coat(0.12, 0.65)
        )
        part = self.around(at - 0.6 * length, at + 0.6 * length)
        x, y = part.x - at, part.y - foot
        shadow = np.clip(1 - (x / length * 1.8) ** 2 - (y / 0.03) ** 2, 0, 1)
        part.blend(shadow * 0.6, (0.08, 0.08, 0.09))
        cabin = np.maximum(abs(x) - 0.25 * length - 0.35 * (y + 0.25), abs(y + 0.19) - 0.075)
        body = np.hypot(np.clip(abs(x) - length / 2 + 0.05, 0, None), np.clip(abs(y + 0.085) - 0.012, 0, None)) - 0.05
        part.blend(part.cover(cabin), paint * 0.9)
        glass = np.maximum(abs(x) - 0.22 * length - 0.35 * (y + 0.25), abs(y + 0.19) - 0.058)
        part.blend(part.cover(glass) * (abs(x) > 0.012), (0.22, 0.27, 0.32))
        part.blend(part.cover(body), paint * np.clip(1.15 + 2.2 * (-0.085 - y), 0.6, 1.3)[..., None])
        for wheel in (-0.30, 0.30):
            d = np.hypot(x - wheel * length, y + 0.03)
            part.blend(part.cover(d - 0.055), (0.07, 0.07, 0.07))
            part.blend(part.cover(d - 0.028), (0.5, 0.5, 0.52))

    def pole(self) -> None:
        at, wide = self.rng.uniform(0, WIDTH), self.rng.uniform(0.012, 0.028)
        foot, tone = self.horizon + self.rng.uniform(0.02, 0.14), self.rng.uniform(0.12, 0.6) * np.ones(3)
        part = self.around(at - 2 * wide, at + 2 * wide)
        shade = np.clip(1.15 - abs(part.x - at + 0.4 * wide) / wide * 0.5, 0.5, 1.3)[..., None]
        part.blend(part.cover(np.maximum(abs(part.x - at) - wide, part.y - foot)), tone * shade)
        if self.rng.random() < 0.4:
            top = self.horizon - self.rng.uniform(0.3, 0.5)
            self.box(at - 0.07, at + 0.07, top - 0.06, top + 0.06, self.coat(0.15, 0.85))

    def grime(self) -> None:
        """Uneven light over the scene, and the shadow at the foot of the wall."""
        light = value_noise(self.rng, self.image.shape[:2], (3, 3 * WIDTH))
        self.image *= 1 + 0.14 * light[..., None]
        shadow = np.clip(1 - abs(self.y - self.horizon) * 9, 0, 1) + 0 * self.x
        self.image *= 1 - 0.22 * shadow[..., None]
