"""The stand-in for ImageNet: trunks trained on drawn identities and cameras that no chapter uses.

A chapter's network on the built-in data starts from here as a network on photographs starts from ImageNet. Every
backbone gets the same images, steps, losses and schedule, so that a comparison of backbones is not one of their starts.
"""

import argparse
import hashlib
import json
import os
import tempfile
from pathlib import Path

import torch

from reidlib import baseline, data, models, training
from reidlib.results.provenance import build_dir, module_hash

STEPS = 500


def path(backbone: str, size: tuple[int, int] = (64, 32), seed: int = 0, device="cpu", steps: int = STEPS) -> Path:
    """Where the trunk of `backbone` warm-started at `size` (height, width in pixels) is cached; names its recipe."""
    kind = torch.device(device).type
    code = module_hash(["reidlib.warmstart"])
    recipe = json.dumps([backbone, *size, seed, kind, steps, data.fingerprint("warmstart", size=size), code])
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    return build_dir() / "warm" / f"{backbone}-{size[0]}x{size[1]}-{key}.safetensors"


def warm_start(
    backbone: str,
    size: tuple[int, int] = (64, 32),
    seed: int = 0,
    device="cpu",
    steps: int = STEPS,
    progress: bool = True,
) -> Path:
    """The trunk's file, trained first if it is not there (about half a minute on one core at 64x32).

    steps: fewer make a poorer start, to see how much a chapter depends on it.
    """
    target = path(backbone, size, seed, device, steps)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        people = data.load("warmstart", size=size, device=device, progress=progress)
        torch.manual_seed(training.stream_seed(seed, "warm start", "initialisation"))
        model = models.build(backbone, weights=None).to(device)
        name = f"warm start {backbone}"
        baseline.fit(model, people.frame, people.store, steps=steps, seed=seed, description=name, progress=progress)
        handle, part = tempfile.mkstemp(dir=target.parent, suffix=".part.safetensors")
        os.close(handle)
        models.save_trunk(model, part)
        os.replace(part, target)
    return target


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m reidlib.warmstart", description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet-small", choices=models.BACKBONES)
    parser.add_argument("--height", type=int, default=64, help="pixels")
    parser.add_argument("--width", type=int, default=32, help="pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=STEPS)
    chosen = parser.parse_args(arguments)
    print(warm_start(chosen.backbone, (chosen.height, chosen.width), chosen.seed, chosen.device, chosen.steps))


if __name__ == "__main__":
    main()
