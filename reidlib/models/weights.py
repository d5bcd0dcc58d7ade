"""Weights of trunks: ImageNet's through torchvision, local files, and the files of a warm start."""

import http.client
import os
import pickle
import uuid
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

SUFFIXES = (".safetensors", ".pth", ".pt")


class WeightsError(RuntimeError):
    """Weights could not be downloaded, read or written, or do not fit the model."""


def load_imagenet(model: nn.Module, weights: WeightsEnum) -> nn.Module:
    """Fill `model.trunk` with torchvision's weights (downloaded once into torch's hub cache) and return the model.

    Raises WeightsError where they cannot be downloaded, naming the ways to do without.
    """
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, http.client.HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"the ImageNet weights {weights} could not be downloaded from {weights.url} ({error}): connect to the "
            "network, or pass weights=None to start from random weights, or weights='/path/to/file.pth' to load a "
            "copy of that file"
        ) from error
    fill_trunk(model, state, str(weights))
    return model


def save_trunk(model: nn.Module, path: str | Path) -> Path:
    """Write `model.trunk`'s weights and buffers, and nothing of the head, to a file; return its path.

    The suffix chooses the format: .safetensors, .pth or .pt; a path without one gets .safetensors where that package is
    installed, else .pth. The file is complete or absent: it is written beside its place, then renamed.
    Raises WeightsError for another suffix, a missing folder, or .safetensors without the package.
    """
    path = Path(path)
    if not path.suffix:
        path = path.with_name(path.name + (".safetensors" if _safetensors() else ".pth"))
    _check_suffix(path)
    if path.suffix == ".safetensors" and not _safetensors():
        raise WeightsError(f"writing {path} needs the package safetensors: install it, or choose the suffix .pth")
    if not path.parent.is_dir():
        raise WeightsError(f"cannot write {path}: there is no folder {path.parent}, make it first")
    state = {name: value.detach().cpu().contiguous() for name, value in model.trunk.state_dict().items()}
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        if path.suffix == ".safetensors":
            temporary.write_bytes(_safetensors().save(state))
        else:
            torch.save(state, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_trunk(model: nn.Module, path: str | Path) -> nn.Module:
    """Fill `model.trunk` from a local file and return the model; the head is left as it is.

    Reads what `save_trunk` wrote, a state dict of a whole model of this package, or torchvision's own file of the same
    network (its classifier is ignored), as .safetensors, .pth or .pt.
    Raises WeightsError, before anything is changed, when the file is missing or damaged or does not fit.
    """
    path = Path(path)
    fill_trunk(model, read_state(path), str(path))
    return model


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or torch file, on the CPU. Raises WeightsError naming the file."""
    _check_suffix(path)
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path.absolute()}: check the path, or pass weights=None")
    if path.suffix == ".safetensors":
        if not _safetensors():
            raise WeightsError(f"reading {path} needs the package safetensors: install it, or use a .pth file")
        reader = _safetensors().load_file
    else:

        def reader(name: Path) -> object:
            return torch.load(name, map_location="cpu", weights_only=True)

    try:
        state = reader(path)
    except Exception as error:  # each format has its own exceptions, and a damaged file can raise any of them
        raise WeightsError(
            f"the weights file {path} is damaged or of another format ({type(error).__name__}): fetch or write it again"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(
            f"the weights file {path} holds no state dict (names and tensors): save one with save_trunk(model, path)"
        )
    return state


def fill_trunk(model: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Copy the trunk's entries of a state dict into `model.trunk`, all of them or none.

    Raises WeightsError naming the first entries that are missing, unknown or of another shape.
    """
    state = trunk_entries(state)
    own = model.trunk.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    problems = [
        _named("lacks", sorted(own.keys() - state.keys() - counters)),
        _named("has unknown", sorted(state.keys() - own.keys())),
        _named(
            "has other shapes for",
            [
                f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
                for name in own
                if name in state and state[name].shape != own[name].shape
            ],
        ),
    ]
    if any(problems):
        raise WeightsError(
            f"the weights {source} do not fit the trunk of {type(model).__name__}: the file "
            f"{'; it '.join(filter(None, problems))}; build the model with the sizes that were saved"
        )
    model.trunk.load_state_dict(state, strict=False)


def trunk_entries(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The trunk's part of a state dict of this package (`trunk.`), or of torchvision's VGG (`features.`) or ResNet."""
    for prefix in ("trunk.", "features."):
        if any(name.startswith(prefix) for name in state):
            return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def _named(verb: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{verb} {', '.join(names[:3])}{more}"


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise WeightsError(
            f"cannot tell the format of the weights file {path}: its suffix must be one of {', '.join(SUFFIXES)}"
        )


def _safetensors():
    """The module safetensors.torch, or None where it is not installed."""
    try:
        import safetensors.torch
    except ImportError:
        return None
    return safetensors.torch
