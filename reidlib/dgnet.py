"""Joint training of DG-Net: encoders, decoder and discriminator, step by step, and what stops and resumes it.

Source: Zheng et al., Joint Discriminative and Generative Learning for Person Re-identification (CVPR 2019) and its
released code. What a step sees is in `reidlib.dgnet_batches`, what it minimises in `reidlib.dgnet_terms`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from reidlib import checkpoints, training
from reidlib.dgnet_batches import pair_batches, prepare
from reidlib.dgnet_terms import (
    PARTS,
    Reconstruction,
    Weights,
    appearance_codes,
    decode,
    discriminator_loss,
    terms,
    weights_at,
    wide,
)
from reidlib.models.dgnet import DGNet

CHECKED = 25  # steps from one look at the losses to the next: each look waits for the device
DECAY_AT = (0.6, 0.9)  # shares of the steps after which the learning rates fall to a tenth
OF_THE_ENCODER = ("identity", "partner", "teacher")  # terms that train the appearance encoder
GRADIENT = "appearance_code_gradient"  # in the history


def train(
    model: DGNet,
    images: Tensor,
    labels: Tensor,
    reconstruction: Reconstruction | Mapping[str, Reconstruction],
    *,
    teacher: nn.Module | None = None,
    steps: int,
    seed: int,
    batch: int = 8,
    weights: Weights | None = None,
    lr_generator: float = 1e-4,
    lr_discriminator: float = 1e-4,
    lr_appearance: float = 0.002,
    head_factor: float = 10,
    warm_from: float = 0.3,
    live_code: bool = False,
    only_identity: bool = False,
    precision: str = "float32",
    checkpoint: Path | str | None = None,
    checkpoint_every: int = 100,
    watch: Callable[[DGNet, int], dict] | None = None,
    watch_at: Iterable[int] = (),
    description: str = "DG-Net",
    progress: bool = True,
) -> dict[str, list]:
    """Train a DG-Net in place and return its history.

    A step draws two batches and partners (`pair_batches`, `prepare`) and generates from them (`decode`); the
    discriminator takes a step on x_ba against a and x_ab against b (`discriminator_loss`); then structure encoder and
    decoder (Adam) and the appearance encoder (SGD with Nesterov momentum 0.9) take one on the weighted sum of `terms`.
    Adam has betas (0, 0.999), all have weight decay 0.0005, and all rates fall to a tenth after 60% and 90% of the
    steps. In half of the steps, by a coin for each, the structure encoder learns from generated images, in the others
    the generator does.

    images: uint8 (n, 3, h, w). labels: int64 (n,), 0 to classes - 1. reconstruction: see `terms`. teacher: what
    `reidlib.teacher.fit_teacher` gives, used in the mode it is in; it stays as it is. batch: images of a, and of b.
    weights: None for `Weights()`. head_factor: by how much the classifiers of the appearance encoder learn faster than
    its trunk. warm_from: see `weights_at`.
    only_identity: train the appearance encoder by its identity terms alone, on the same batches: the control that never
    sees a generated image. It ends with the encoder of a run without `teacher`, since nothing else of what is generated
    reaches the encoder. precision: "float32" or "bfloat16" (autocast; the gradient penalty stays in float32).
    watch: `watch(model, step)` returns a dict of floats; called in eval mode after the steps named in `watch_at`.
    checkpoint: a folder. State is written there every `checkpoint_every` steps and at the end; if it holds some,
    training goes on from there, on a CPU to the same losses bit by bit. Whoever keeps the result deletes the folder.

    Returns
    -------
    history: {name: one float a step} for the unweighted terms (0.0 where a term had no weight), "discriminator", and
    "total", the weighted sum of the terms; {"watch/step": [...], "watch/<name>": [...]}; and
    "appearance_code_gradient", a list of one float: the largest entry of that term's gradient with respect to any
    parameter, in size, in the first step in which it has a weight.

    Raises
    ------
    ValueError: images, labels or settings that cannot be.
    training.TrainingError: a term or a weight is not finite. Losses are looked at every 25 steps and before every
    checkpoint, so that the last one is sound.
    """
    weights = Weights() if weights is None else weights
    _check(model, images, labels, reconstruction, steps, batch, warm_from, precision, weights)
    device = next(model.parameters()).device
    model.to(memory_format=torch.channels_last).train()
    images, labels = images.to(device), labels.to(device)
    optimisers = _optimisers(model, lr_generator, lr_discriminator, lr_appearance, head_factor)
    start, history = checkpoints.resume(checkpoint, model, optimisers) if checkpoint else (0, {})
    rates = {"generator": lr_generator, "discriminator": lr_discriminator, "appearance": lr_appearance}
    watch_at, pending = set(watch_at), []
    rows = pair_batches(labels, batch, seed, start)
    options = {"live_code": live_code, "only_identity": only_identity}
    for step in training.bar(range(start, steps), steps, description, progress):
        torch.manual_seed(training.stream_seed(seed, "step", step))
        now = weights_at(step, steps, weights, warm_from)
        given = prepare(images, labels, next(rows), seed, step, device)
        options["encoder_learns"] = bool(torch.rand(1, generator=training.stream(seed, "coin", step)) < 0.5)
        _set_rates(optimisers, step, steps)
        found = _step(model, teacher, given, reconstruction, now, optimisers, precision, options, history)
        pending.append(found)
        done = step + 1
        watched = watch is not None and done in watch_at
        saved = checkpoint is not None and (done % checkpoint_every == 0 or done == steps)
        if done % CHECKED == 0 or done == steps or watched or saved:
            _look(pending, history, done, description, rates)
        if watched:
            _watch(model, watch, done, history)
        if saved:
            _check_weights(model, done, description)
            checkpoints.save(checkpoint, done, model, optimisers, history)
    return history


def _step(model, teacher, batch, reconstruction, now, optimisers, precision, options, history) -> dict[str, Tensor]:
    """One step of the discriminator and one of all the rest; what they minimised, as tensors on the device."""
    device = batch.images[0].device
    decoded, discriminator = None, torch.zeros((), device=device)
    if options["only_identity"]:
        with _mixed(device, precision):
            appearance_codes(model, batch)  # for the running statistics, which are then those of a run that generates
    else:
        with _mixed(device, precision):
            decoded = decode(model, batch, now)
        if now["adversarial"]:
            with _mixed(device, precision):
                # means over the images of both directions at once: half the sum of the two means
                discriminator = 2 * discriminator_loss(
                    model.discriminator, torch.cat(decoded.cross), torch.cat(batch.images[:2])
                )
            _descend(now["adversarial"] * discriminator, optimisers["discriminator"])
    with _mixed(device, precision):
        values = terms(model, teacher, batch, reconstruction, now, decoded=decoded, **options)
    if now["appearance_code"] and not options["only_identity"] and GRADIENT not in history:
        history[GRADIENT] = [_largest_gradient(values["appearance_code"], model)]
    total = sum(now[name] * value for name, value in values.items())
    if total.requires_grad:
        _descend(total, optimisers["generator"], optimisers["appearance"])
    found = values | {"discriminator": discriminator, "total": total}
    return {name: value.detach() for name, value in found.items()}


def _mixed(device: torch.device, precision: str):
    """Autocast where that is wanted; a new one for `decode`, whose passes without a graph would leave their casts."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, training.PRECISIONS[precision])


def _descend(loss: Tensor, *optimisers: torch.optim.Optimizer) -> None:
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    loss.backward()
    for optimiser in optimisers:
        optimiser.step()


def _optimisers(model: DGNet, generator: float, discriminator: float, appearance: float, head_factor: float) -> dict:
    groups = [
        {"params": list(model.appearance.trunk_parameters()), "lr": appearance},
        {"params": list(model.appearance.head_parameters()), "lr": appearance * head_factor},
    ]
    adam = {"betas": (0.0, 0.999), "weight_decay": 5e-4}
    optimisers = {
        "generator": torch.optim.Adam(model.generator_parameters(), generator, **adam),
        "discriminator": torch.optim.Adam(model.discriminator.parameters(), discriminator, **adam),
        "appearance": torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=5e-4),
    }
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
    return optimisers


def _set_rates(optimisers: dict[str, torch.optim.Optimizer], step: int, steps: int) -> None:
    fallen = 0.1 ** sum(step >= round(share * steps) for share in DECAY_AT)
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * fallen


def _largest_gradient(value: Tensor, model: DGNet) -> float:
    """The largest entry, in size, of the gradient of `value` with respect to any parameter; its graph is kept."""
    if not value.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(value, list(model.parameters()), retain_graph=True, allow_unused=True)
    return max((float(gradient.abs().max()) for gradient in gradients if gradient is not None), default=0.0)


def _look(pending: list[dict], history: dict, done: int, description: str, rates: dict[str, float]) -> None:
    """Move the kept scalars to the host in one go, and stop at the first that is not finite."""
    if not pending:
        return
    names = list(pending[0])
    values = torch.stack([wide(found[name]) for found in pending for name in names]).view(-1, len(names)).tolist()
    pending.clear()
    for step, row in enumerate(values, start=done - len(values)):
        for name, value in zip(names, row, strict=True):
            if not math.isfinite(value):
                network = {"discriminator": name}.get(name, "appearance" if name in OF_THE_ENCODER else "generator")
                raise training.TrainingError(
                    f"{description}: {name} is not finite at step {step} (lr_{network} {rates[network]:g}): "
                    f"lower lr_{network}, or the weight of this term"
                )
            history.setdefault(name, []).append(value)


def _watch(model: DGNet, watch: Callable[[DGNet, int], dict], step: int, history: dict) -> None:
    model.eval()
    with torch.no_grad():
        seen = watch(model, step)
    model.train()
    history.setdefault("watch/step", []).append(step)
    for name, value in seen.items():
        history.setdefault(f"watch/{name}", []).append(float(value))


def _check_weights(model: DGNet, done: int, description: str) -> None:
    """TrainingError unless all weights are finite: losses are looked at before the update that can break them."""
    bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise training.TrainingError(
            f"{description}: {bad[0]} is not finite after step {done - 1}: lower the learning rate of the "
            f"{bad[0].split('.')[0]}"
        )


def _check(model, images, labels, reconstruction, steps, batch, warm_from, precision, weights) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 (n, 3, h, w), got {images.dtype} {tuple(images.shape)}")
    if labels.dtype != torch.int64 or labels.shape != (len(images),):
        raise ValueError(
            f"labels must be int64 ({len(images)},), one an image, got {labels.dtype} {tuple(labels.shape)}"
        )
    classes = model.appearance.prim[-1].out_features
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(
            f"labels must lie between 0 and {classes - 1}, as the model has {classes} classes, "
            f"got {int(labels.min())} to {int(labels.max())}"
        )
    if not 2 <= batch <= len(images):
        raise ValueError(f"batch must be between 2 and the {len(images)} images, got {batch}")
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    if not 0 <= warm_from <= 1:
        raise ValueError(f"warm_from is a share of the steps, from 0 to 1, got {warm_from}")
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision {precision!r} cannot be used here: choose float32 or bfloat16")
    if isinstance(reconstruction, Mapping) and set(reconstruction) != set(PARTS):
        raise ValueError(
            f"reconstruction needs one function each for {', '.join(PARTS)}, got {', '.join(sorted(reconstruction))}"
        )
    negative = [name for name, value in asdict(weights).items() if value < 0]
    if negative:
        raise ValueError(f"the weight of {negative[0]} is negative: weights must be 0 or more")
