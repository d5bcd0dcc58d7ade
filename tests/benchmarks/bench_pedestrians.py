import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

import numpy as np
import torch

from reidlib.data.pedestrians import PRESETS
from reidlib.data.pedestrians.compose import plan
from reidlib.data.pedestrians.draw import render

FLOORS = {(64, 32): 640.0, (128, 64): 172.0}


def images_per_second(size: tuple[int, int], count: int, repeats: int = 3) -> float:
    whole = plan(PRESETS["market-like"])
    rows = np.linspace(0, len(whole.shots["pid"]) - 1, count).astype(int)
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        render(whole, size, rows)
        best = min(best, time.process_time() - start)
    return count / best


def main() -> None:
    torch.set_num_threads(1)
    for size, floor in FLOORS.items():
        rate = images_per_second(size, count=65536 * 16 // (size[0] * size[1]))
        print(f"{size[0]}x{size[1]}: {rate:.0f} images/s on one core (floor {floor:.0f})")


if __name__ == "__main__":
    main()
