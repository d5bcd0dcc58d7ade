"""A start for small DG-Nets: one that was trained, once, on drawn people and cameras that no chapter uses.

A generator that learns from noise needs some thousand steps before its images show people at all. As the warm start of
`reidlib.warmstart` stands in for ImageNet, this one stands in for the long first part of DG-Net's 100,000 iterations:
every run of a comparison goes on from the same networks, and has its own reconstruction loss from there on. The start
itself has L1, as DG-Net has.
"""

import torch

from reidlib import data, dgnet, models, training
from reidlib.cache import kept, key
from reidlib.data.frame import rows_of
from reidlib.dgnet_terms import Weights
from reidlib.losses.reconstruction import mae
from reidlib.models.dgnet import DGNet, small
from reidlib.results.provenance import build_dir, module_hash
from reidlib.warmstart import warm_start

STEPS = 800
LR_GENERATOR, LR_APPEARANCE = 1e-3, 5e-4
WEIGHTS = Weights(generated_identity=0.2, teacher=0.0)  # at DG-Net's 0.5 it drowns all else while images are noise
PARTS = ("structure", "decoder", "discriminator")


def start_elsewhere(
    model: DGNet,
    size: tuple[int, int] = (64, 32),
    *,
    backbone: str = "resnet-small",
    seed: int = 0,
    device="cpu",
    steps: int = STEPS,
    progress: bool = True,
) -> DGNet:
    """Put the weights of the start into a model of `reidlib.models.dgnet.small`, all but its identity heads.

    The start is trained at most once, for about two and a half minutes on one core at 64x32, and kept in the folder
    `warm` of the build under a name of size, backbone, seed, steps, kind of device, data and code. size: (height,
    width) in pixels. Everything random follows from `seed`; torch's global generator is left as it was.
    Raises ValueError for a model of other shapes, and steps below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    trunk = str(warm_start(backbone, size, device=device, progress=progress).stem)
    code = module_hash(code="from reidlib.dgnet_start import _fit\n_fit")
    facts = [*size, seed, steps, torch.device(device).type, trunk, data.fingerprint("warmstart", size=size), code]
    file = build_dir() / "warm" / f"dgnet-{backbone}-{size[0]}x{size[1]}-{key(facts)}.pt"
    states = kept(file, lambda: _fit(size, backbone, seed, device, steps, progress))
    try:
        model.appearance.trunk.load_state_dict(states["trunk"])
        for name in PARTS:
            getattr(model, name).load_state_dict(states[name])
    except RuntimeError as error:
        raise ValueError(
            f"the start trained elsewhere is for `small` networks on {backbone}: leave it out for others"
        ) from error
    return model


def _fit(size: tuple[int, int], backbone: str, seed: int, device, steps: int, progress: bool) -> dict:
    people = data.load("warmstart", size=size, device=device, progress=progress)
    rows = torch.as_tensor(rows_of(people.frame, "train"))
    pids = torch.tensor(people.frame["pid"].to_numpy())[rows]
    labels = torch.unique(pids, return_inverse=True)[1]
    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        torch.manual_seed(training.stream_seed(seed, "DG-Net start", "initialisation"))
        trunk = models.build(backbone, weights=warm_start(backbone, size, device=device, progress=progress))
        model = small(trunk, int(labels.max()) + 1).to(device)
        dgnet.train(
            model,
            people.store.images[rows.to(people.store.device)],
            labels,
            mae,
            steps=steps,
            seed=training.stream_seed(seed, "DG-Net start"),
            weights=WEIGHTS,
            lr_generator=LR_GENERATOR,
            lr_discriminator=LR_GENERATOR,
            lr_appearance=LR_APPEARANCE,
            description="DG-Net on other people",
            progress=progress,
        )
    parts = {"trunk": model.appearance.trunk} | {name: getattr(model, name) for name in PARTS}
    return {
        name: {k: v.detach().cpu().contiguous() for k, v in part.state_dict().items()} for name, part in parts.items()
    }
