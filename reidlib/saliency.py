"""Where a network looks: Grad-CAM, and the mean of attention weights on parts of the person."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

AT_ONCE = 256  # images


def grad_cam(maps: Tensor, score: Tensor) -> Tensor:
    """How much each position of a feature map speaks for a score: (b, h, w) between 0 and 1, without a graph.

    maps: float (b, c, h, w), from which the score was computed, not under torch.no_grad. score: (b,), one number an
    image, which depends on this image alone (batch norms in eval mode).
    The weight of a channel is the mean over its positions of d score / d maps; the sum of the channels so weighted,
    with negative values set to 0, is divided by its maximum in the image. An image with no positive value stays 0.
    The graph is kept, so that another score of the same maps can follow. Float32, or float64 where maps are.
    Source: Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization (2017).
    Raises ValueError for other shapes and for a score that was not computed from the maps.
    """
    if maps.ndim != 4 or score.shape != maps.shape[:1]:
        raise ValueError(
            f"grad_cam needs maps (b, c, h, w) and a score (b,), got {tuple(maps.shape)} and {tuple(score.shape)}"
        )
    gradient = None
    if maps.requires_grad and score.requires_grad:
        (gradient,) = torch.autograd.grad(score.sum(), maps, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ValueError(
            "the score has no gradient with respect to the maps: compute it from these very maps, outside torch.no_grad"
        )
    dtype = torch.promote_types(maps.dtype, torch.float32)
    weights = gradient.to(dtype).mean((2, 3), keepdim=True)
    cam = (weights * maps.detach().to(dtype)).sum(1).relu()
    highest = cam.amax((1, 2), keepdim=True)
    return torch.where(highest > 0, cam / highest, 0)


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (b, h, w) at the size (H, W) of the images, bilinear with pixel areas aligned: (b, H, W), float32 at least.

    Raises ValueError for maps of another number of axes.
    """
    if maps.ndim != 3:
        raise ValueError(f"upsample needs maps (b, h, w), got {tuple(maps.shape)}")
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    return F.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def attention_by_part(weights: Tensor, parts: Tensor, groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Mean attention weight on the pixels of each group of classes, over all images together.

    weights: float (b, 1, h, w), such as those of `reidlib.models.ifd.Decoupled`, brought to the size of the label maps
    by `upsample`. parts: uint8 (b, H, W), class numbers, on the same device. groups: name -> the class numbers of the
    group, as `reidlib.data.parsing.members` gives.
    Every pixel counts the same, so an image with few pixels of a group says little about it. NaN where a group has no
    pixel. Raises ValueError for other shapes and for other types of parts.
    """
    if weights.ndim != 4 or weights.shape[1] != 1 or parts.ndim != 3 or len(weights) != len(parts):
        raise ValueError(
            f"attention_by_part needs weights (b, 1, h, w) and parts (b, H, W), got {tuple(weights.shape)} and "
            f"{tuple(parts.shape)}"
        )
    if parts.dtype != torch.uint8:
        raise ValueError(f"parts must be uint8 class numbers, got {parts.dtype}")
    numbers = {name: torch.tensor(group, dtype=parts.dtype, device=parts.device) for name, group in groups.items()}
    totals, counts = dict.fromkeys(groups, 0.0), dict.fromkeys(groups, 0)
    for some, labels in zip(weights.detach().split(AT_ONCE), parts.split(AT_ONCE), strict=True):
        values = upsample(some[:, 0], labels.shape[1:])
        for name, group in numbers.items():
            chosen = torch.isin(labels, group)
            totals[name] += float(values.masked_fill(~chosen, 0).sum(dtype=torch.float64))
            counts[name] += int(chosen.sum())
    return {name: totals[name] / counts[name] if counts[name] else float("nan") for name in groups}


def outline(parts: Tensor) -> Tensor:
    """Pixels along the outline of the person, two pixels wide: bool (b, H, W).

    parts: label maps (b, H, W), 0 being the background. Marked are pixels of the person with background above, below,
    left or right of them, and pixels of the background with the person there. The frame of the image is no background.
    Raises ValueError for another number of axes.
    """
    if parts.ndim != 3:
        raise ValueError(f"outline needs label maps (b, H, W), got {tuple(parts.shape)}")
    person = parts > 0
    edge = torch.zeros_like(person)
    for axis in (1, 2):
        length = parts.shape[axis] - 1
        crossing = person.narrow(axis, 0, length) != person.narrow(axis, 1, length)
        edge.narrow(axis, 0, length).logical_or_(crossing)
        edge.narrow(axis, 1, length).logical_or_(crossing)
    return edge
