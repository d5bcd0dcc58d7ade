"""One training loop for every chapter: seeded, resumable, and the same on a CPU and a GPU.

Everything random in a step is a function of the run's seed, a name and the step's number, so a run that was killed and
resumed from its checkpoint draws the same batches, augmentations and dropout masks as one that was never interrupted.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import torch

from reidlib import checkpoints

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which step and what to change."""


def stream_seed(seed: int, *names: object) -> int:
    """A 63-bit seed for the stream called `names` of the run `seed`: equal arguments give equal streams."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(seed: int, *names: object) -> torch.Generator:
    """A CPU generator for one named purpose of a run, e.g. `stream(seed, "sampler", epoch)`.

    Arms of a comparison that share a seed share their streams, whatever else they draw.
    """
    return torch.Generator().manual_seed(stream_seed(seed, *names))


def epochs(draw: Callable[[int], Iterable], start: int = 0) -> Iterator:
    """Batches of epoch 0, 1, 2, ... without end, from batch number `start` on.

    `draw(epoch)` returns the batches of one epoch; it must not depend on anything but its argument.
    """
    batches = itertools.chain.from_iterable(_non_empty(draw(epoch), epoch) for epoch in itertools.count())
    return itertools.islice(batches, start, None)


def _non_empty(batches: Iterable, epoch: int) -> list:
    batches = list(batches)
    if not batches:
        raise TrainingError(f"epoch {epoch} has no batch: fewer images than one batch needs; lower the batch size")
    return batches


def train(
    model: torch.nn.Module,
    batches: Callable[[int], Iterable],
    loss: Callable[[torch.nn.Module, object, int], tuple[torch.Tensor, dict]],
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    seed: int,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    precision: str = "float32",
    watch: Callable[[torch.nn.Module, int], dict] | None = None,
    watch_at: Iterable[int] = (),
    after_step: Callable[[], None] | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_every: int = 100,
    description: str = "train",
    progress: bool = True,
) -> dict[str, list]:
    """Train `model` in place for `steps` optimiser steps and return its history.

    Parameters
    ----------
    batches: `batches(n)` gives an iterator that starts at batch number n (see `epochs`).
    loss: `loss(model, batch, step)` returns the scalar to minimise and a dict of scalars to keep (floats or tensors).
    scheduler: stepped once after every optimiser step.
    precision: "float32", "bfloat16" or "float16" (autocast; float16 scales gradients, on CUDA only).
    watch: `watch(model, step)` returns a dict of floats; called in eval mode after the steps named in `watch_at`.
    after_step: called without arguments after every optimiser step, for state that follows the training, such as a
        memory. It is not in the checkpoint: rebuild it in `batches`, and let checkpoints fall on that.
    checkpoint: a folder. State is written there every `checkpoint_every` steps and at the end; if it holds some,
        training goes on from there. Whoever keeps the result deletes the folder.

    Returns
    -------
    history: {"loss": [...], <name>: [...]} one value a step, and {"watch/step": [...], "watch/<name>": [...]}.

    Raises
    ------
    TrainingError: the loss is not finite, the batches ran out, or `precision` is unknown.
    """
    if precision not in PRECISIONS:
        raise TrainingError(f"precision {precision!r} is unknown: choose one of {', '.join(PRECISIONS)}")
    device = next(model.parameters()).device
    model.to(memory_format=torch.channels_last)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16" and device.type == "cuda")
    parts = {"optimizer": optimizer, "scaler": scaler} | ({"scheduler": scheduler} if scheduler else {})
    start, history = checkpoints.resume(checkpoint, model, parts) if checkpoint else (0, {})
    watch_at, pending = set(watch_at), []
    model.train()
    source = iter(batches(start))
    for step in bar(range(start, steps), steps, description, progress):
        torch.manual_seed(stream_seed(seed, "step", step))
        batch = next(source, None)
        if batch is None:
            raise TrainingError(f"the batches ran out at step {step} of {steps}")
        with torch.autocast(device.type, PRECISIONS[precision]) if PRECISIONS[precision] else nullcontext():
            value, kept = loss(model, batch, step)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        if scheduler:
            scheduler.step()
        if after_step:
            after_step()
        pending.append({"loss": value.detach()} | {k: v.detach() if torch.is_tensor(v) else v for k, v in kept.items()})
        done = step + 1
        if done in watch_at and watch:
            _watch(model, watch, done, history)
        if done % checkpoint_every == 0 or done == steps:
            _flush(pending, history, done, optimizer)
            if checkpoint:
                checkpoints.save(checkpoint, done, model, parts, history)
    return history


def _watch(model, watch, step, history):
    model.eval()
    with torch.no_grad():
        seen = watch(model, step)
    model.train()
    history.setdefault("watch/step", []).append(step)
    for name, value in seen.items():
        history.setdefault(f"watch/{name}", []).append(float(value))


def _flush(pending: list[dict], history: dict, step: int, optimizer) -> None:
    """Move the kept scalars to the host in one go (a GPU waits once here instead of at each step)."""
    for name in pending[0] if pending else ():
        history.setdefault(name, []).extend(torch.stack([torch.as_tensor(p[name]).float() for p in pending]).tolist())
    pending.clear()
    bad = next((i for i, v in enumerate(history.get("loss", ())) if v != v or v in (float("inf"), float("-inf"))), None)
    if bad is not None:
        rate = optimizer.param_groups[0]["lr"]
        raise TrainingError(f"the loss is not finite at step {bad} (learning rate {rate:g}): lower the learning rate")


def bar(steps: range, total: int, description: str, progress: bool):
    """`steps` of `total`, with a progress bar where that is wanted and tqdm is installed."""
    if not progress:
        return steps
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return steps
    return tqdm(steps, initial=steps.start, total=total, desc=description, mininterval=2.0, leave=False)


def as_safetensors(model: torch.nn.Module) -> bytes:
    """The model's state in the safetensors format, to be kept beside a run's record. Raises ImportError without it."""
    from safetensors.torch import save

    return save({name: value.detach().contiguous().cpu() for name, value in model.state_dict().items()})
