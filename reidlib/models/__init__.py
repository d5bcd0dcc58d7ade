"""Embedding networks: ResNet-50, MILDNet and DenseNet-121, and a small one of each kind for the built-in data."""

import difflib
from pathlib import Path

from reidlib.models.densenet import DenseNet121, SmallDenseNet
from reidlib.models.embedder import Embedder
from reidlib.models.freeze import freeze_first_layers, parameter_counts
from reidlib.models.mildnet import MILDNet, small_mildnet
from reidlib.models.resnet import SmallResNet, ThesisResNet50
from reidlib.models.weights import WeightsError, load_trunk, save_trunk

BACKBONES = ("resnet50", "mildnet", "resnet-small", "mildnet-small", "densenet121", "densenet-small")

__all__ = [
    "BACKBONES",
    "DenseNet121",
    "Embedder",
    "MILDNet",
    "SmallDenseNet",
    "SmallResNet",
    "ThesisResNet50",
    "WeightsError",
    "build",
    "freeze_first_layers",
    "load_trunk",
    "parameter_counts",
    "save_trunk",
    "small_mildnet",
]


def build(backbone: str, weights: str | Path | None = "default", normalize: bool = True, **options) -> Embedder:
    """The model that a parameter cell names.

    backbone: one of `BACKBONES`. weights: "default" (ImageNet for the three real networks, none for the small ones),
    "imagenet", None, or the path of a local file. options: further arguments of the model, such as `embedding`.
    Raises ValueError for an unknown backbone or ImageNet weights of a small one; WeightsError as `load_trunk` does.
    """
    if backbone not in BACKBONES:
        close = difflib.get_close_matches(str(backbone), BACKBONES, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown backbone {backbone!r}: choose one of {', '.join(BACKBONES)}{hint}")
    small = backbone.endswith("-small")
    if weights == "default":
        weights = None if small else "imagenet"
    if small and weights == "imagenet":
        raise ValueError(f"there are no ImageNet weights for {backbone}: pass weights=None or the path of a trunk file")
    makers = (ThesisResNet50, MILDNet, SmallResNet, small_mildnet, DenseNet121, SmallDenseNet)
    return dict(zip(BACKBONES, makers, strict=True))[backbone](weights=weights, normalize=normalize, **options)
