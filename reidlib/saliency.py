"""Where a network looks: Grad-CAM, and attention weights by the part of the body that they fall on."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def grad_cam(maps: Tensor, score: Tensor) -> Tensor:
    """Grad-CAM of scores: (b, h, w) in [0, 1], the places of a feature map that raise its image's score.

    Each channel weighs by the mean over all places of the derivative of the score; the weighted sum of the channels is
    cut off at 0 and divided by its greatest value, so an image whose score nothing raises is 0 everywhere.
    Source: Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization (2017).

    maps: float (b, c, h, w), part of the graph of score (b,), in which image i reaches score i alone (a model in eval
    mode). The result has no gradient. Raises ValueError for shapes that do not fit and for a score without a graph.
    """
    if maps.ndim != 4 or score.shape != maps.shape[:1]:
        raise ValueError(
            f"grad_cam needs maps (b, c, h, w) and one score an image (b,), got {tuple(maps.shape)} and "
            f"{tuple(score.shape)}"
        )
    if not (maps.requires_grad and score.requires_grad):
        raise ValueError("grad_cam needs maps and a score with gradients: compute both outside of torch.no_grad")
    (slopes,) = torch.autograd.grad(score.sum(), maps)
    found = (slopes.mean((2, 3), keepdim=True) * maps.detach()).sum(1).float().relu()
    return found / found.amax((1, 2), keepdim=True).clamp(min=torch.finfo(found.dtype).tiny)


def attention_by_part(weights: Tensor, parts: Tensor, groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Mean weight over the pixels of each group of parts, all images together; NaN for a group without a pixel.

    weights: float (b, 1, h, w), such as W_I of `reidlib.models.ifd`, brought to the size of the maps bilinearly.
    parts: uint8 (b, H, W). groups: name -> class numbers. Raises ValueError for shapes that do not fit.
    """
    if weights.ndim != 4 or weights.shape[1] != 1 or parts.ndim != 3 or len(parts) != len(weights):
        raise ValueError(
            f"attention_by_part needs weights (b, 1, h, w) and parts (b, H, W), got {tuple(weights.shape)} and "
            f"{tuple(parts.shape)}"
        )
    pixels = F.interpolate(weights.float(), size=parts.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    chosen = {name: torch.isin(parts, torch.tensor(list(values)).to(parts)) for name, values in groups.items()}
    return {name: float(pixels[mask].double().mean()) for name, mask in chosen.items()}


def outline(parts: Tensor) -> Tensor:
    """The edge of a person: bool (b, H, W), pixels of the person beside the background and the other way round.

    parts: (b, H, W), 0 for the background. Beside means one of the four neighbours; the image's border is no edge.
    """
    person = parts > 0
    edge = torch.zeros_like(person)
    across, down = person[:, :, 1:] != person[:, :, :-1], person[:, 1:] != person[:, :-1]
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    return edge
