"""Joints of a walking body, seen from a direction, in a plane where the standing body is 1 high (crown 0, soles 1).

``yaw`` is the direction that the person faces: 0 towards the camera, pi/2 to the right of the picture, pi away from it.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

SHOULDER_Y, WAIST_Y = 0.19, 0.37


def joints(f: dict[str, Tensor]) -> SimpleNamespace:
    """Places of everything that moves, from the columns of people, looks and pose (each ``(b, 1)``).

    Returns named ``(b, 1)`` tensors and pairs (x, y): ``near`` and ``far`` each hold an arm (shoulder, elbow, hand)
    and a leg (hip, knee, ankle, toe); ``drop`` is how far the body sinks so that its lower foot stands on the ground.
    """
    j = SimpleNamespace(c=torch.cos(f["yaw"]), s=torch.sin(f["yaw"]))
    near = torch.where(j.s > 0, -1.0, 1.0)
    j.near_side = near
    j.front = ((j.c + 0.25) * 4).clamp(0, 1)  # 1 where the chest is visible
    j.back = ((-j.c + 0.25) * 4).clamp(0, 1)
    j.lean = f["stoop"] * j.s
    j.hip_y = 0.955 - 0.465 * f["legs"]
    j.shoulder_half = _turned(0.108 * f["shoulders"] * (0.4 + 0.6 * f["build"]), j, 0.60)
    j.waist_half = _turned(0.080 * f["build"], j, 0.78)
    j.hip_half = _turned(0.088 * f["hips"] * (0.35 + 0.65 * f["build"]), j, 0.80)
    j.head = (0.012 * j.s + 1.6 * j.lean, torch.full_like(j.c, 0.078))
    j.far, j.near = _limbs(f, j, -near), _limbs(f, j, near)
    j.drop = 0.957 - torch.maximum(j.far.ankle[1], j.near.ankle[1])
    return j


def _turned(half: Tensor, j: SimpleNamespace, depth: float) -> Tensor:
    """Half width of an ellipse of depth ``depth * half`` seen from the yaw."""
    return half * (j.c * j.c + depth * depth * j.s * j.s).sqrt()


def _limbs(f: dict[str, Tensor], j: SimpleNamespace, side: Tensor) -> SimpleNamespace:
    """One arm and one leg; ``side`` is +1 for the person's left (right in the picture when seen from the front)."""
    phase = f["phase"] + torch.where(side > 0, torch.pi, 0.0)
    leg_length = 0.955 - j.hip_y
    thigh = 0.42 * f["amplitude"] * torch.sin(phase) + 0.03
    knee = 0.70 * f["amplitude"] * torch.sin(phase + 2.1).clamp(min=0) + 0.04
    hip = (side * j.c * 0.044 * f["hips"], j.hip_y)
    knee_at = _step(hip, 0.50 * leg_length, thigh, j, side * 0.012)
    ankle = _step(knee_at, 0.50 * leg_length, thigh - knee, j, side * -0.004)
    toe = (ankle[0] + 0.062 * j.s + side * 0.012 * j.c, ankle[1] + 0.017 + 0.014 * j.c)
    swing = -0.45 * f["amplitude"] * f["arm_swing"] * torch.sin(phase)
    bend = 0.18 + 0.35 * f["amplitude"] * f["arm_swing"]
    spread = side * (0.012 + 0.02 * f["build"])
    shoulder = (
        side * j.c * (0.100 * f["shoulders"] * (0.4 + 0.6 * f["build"])) + j.lean,
        torch.full_like(j.c, SHOULDER_Y + 0.026),
    )
    elbow = _step(shoulder, 0.158 * f["arms"], swing, j, spread)
    hand = _step(elbow, 0.150 * f["arms"], swing + bend, j, spread * 0.2)
    return SimpleNamespace(
        side=side, hip=hip, knee=knee_at, ankle=ankle, toe=toe, shoulder=shoulder, elbow=elbow, hand=hand
    )


def _step(start: tuple, length: Tensor | float, angle: Tensor, j: SimpleNamespace, outward: Tensor) -> tuple:
    """End of a bone swung forwards by ``angle``: sideways in a side view, a little lower in a front view."""
    ahead = length * torch.sin(angle)
    return start[0] + ahead * j.s + outward * j.c, start[1] + length * torch.cos(angle) + 0.10 * ahead * j.c
