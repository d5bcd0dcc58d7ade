"""Checkpoints: the whole state of a training run in a folder, whole at every moment, whatever kills the run."""

import json
import os
from pathlib import Path

import torch


# A checkpoint is two files named by their step and a pointer that is replaced last: a kill at any moment leaves the
# pointer on a complete pair.
def save(folder: Path | str, step: int, model: torch.nn.Module, parts: dict, history: dict) -> None:
    """Write the state after `step` steps, and delete older ones.

    parts: optimisers, schedulers and the like by name, all with a `state_dict`. history: what JSON can hold.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(model.state_dict(), folder / f"{step}.weights")
    torch.save({name: part.state_dict() for name, part in parts.items()}, folder / f"{step}.state")
    pointer = folder / "latest.json.part"
    pointer.write_text(json.dumps({"step": step, "history": history}))
    os.replace(pointer, folder / "latest.json")
    for file in folder.glob("*.*"):
        if file.suffix in (".weights", ".state") and file.stem != str(step):
            file.unlink()


def resume(folder: Path | str, model: torch.nn.Module, parts: dict) -> tuple[int, dict]:
    """Load what `save` wrote last into `model` and `parts`: (steps done, history); (0, {}) where there is nothing."""
    folder = Path(folder)
    if not (folder / "latest.json").exists():
        return 0, {}
    latest = json.loads((folder / "latest.json").read_text())
    device = next(model.parameters()).device
    model.load_state_dict(_read_weights(folder / f"{latest['step']}.weights", device))
    state = torch.load(folder / f"{latest['step']}.state", map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return latest["step"], latest["history"]


def _write_weights(state: dict, path: Path) -> None:
    state = {name: value.detach().contiguous().cpu() for name, value in state.items()}
    try:
        from safetensors.torch import save_file
    except ImportError:
        torch.save(state, path)
    else:
        save_file(state, path)


def _read_weights(path: Path, device) -> dict:
    try:
        from safetensors.torch import load_file
    except ImportError:
        return torch.load(path, map_location=device, weights_only=True)
    return load_file(path, device=str(device))
