"""MILDNet: a VGG16 trunk whose five stages are all pooled, concatenated and embedded."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import VGG16_BN_Weights, VGG16_Weights
from torchvision.models.vgg import make_layers

from reidlib.models.embedder import Embedder, initialise
from reidlib.models.weights import load_imagenet, load_trunk

VGG16_WIDTHS = (64, 128, 256, 512, 512)
VGG16_DEPTHS = (2, 2, 3, 3, 3)


class MILDNet(Embedder):
    """VGG16's convolutions; the mean of the map after each of the five poolings; FC, ReLU, dropout, FC, ReLU.

    The defaults are the thesis's network with 21,927,744 parameters and a 1,472-d concatenation. The dropout rate and
    the final ReLU, on which the thesis is silent, are those of MILDNet's public code; with the ReLU no coordinate
    is negative, so squared distances of normalised embeddings do not exceed 2.
    widths, depths: channels and number of 3x3 convolutions of each stage. batch_norm: after every convolution.
    weights: "imagenet" (VGG16 sizes only), None, or the path of a local file (see `load_trunk`).
    Input float (b, 3, h, w), ImageNet-normalised, h and w at least 2 ** stages; output (b, embedding).
    Source: Murthy (2020), section 3.2.2. Raises WeightsError when the weights cannot be had.
    """

    def __init__(
        self,
        widths: Sequence[int] = VGG16_WIDTHS,
        depths: Sequence[int] = VGG16_DEPTHS,
        hidden: int = 2048,
        embedding: int = 2048,
        batch_norm: bool = False,
        dropout: float = 0.6,
        final_relu: bool = True,
        weights: str | Path | None = "imagenet",
        normalize: bool = True,
    ):
        super().__init__(normalize)
        widths, depths = tuple(widths), tuple(depths)
        if len(widths) != len(depths) or len(widths) < 3 or min(depths) < 1:
            raise ValueError(
                f"MILDNet needs as many depths (each at least 1) as widths and at least three of each, "
                f"got widths={widths}, depths={depths}"
            )
        plan = [item for width, depth in zip(widths, depths, strict=True) for item in [width] * depth + ["M"]]
        self.trunk = make_layers(plan, batch_norm=batch_norm)
        initialise(self.trunk)
        self.trunk_width = sum(widths)
        head = [nn.Linear(self.trunk_width, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        head += [nn.Linear(hidden, embedding)] + [nn.ReLU(inplace=True)] * final_relu
        self.head = nn.Sequential(*head)
        if weights == "imagenet":
            if (widths, depths) != (VGG16_WIDTHS, VGG16_DEPTHS):
                raise ValueError(
                    f"there are no ImageNet weights for MILDNet with widths={widths}, depths={depths}: "
                    "pass weights=None or the path of a local file"
                )
            load_imagenet(self, VGG16_BN_Weights.IMAGENET1K_V1 if batch_norm else VGG16_Weights.IMAGENET1K_V1)
        elif weights is not None:
            load_trunk(self, weights)

    def trunk_features(self, images: Tensor) -> Tensor:
        """As `Embedder.trunk_features`; ValueError for images under 32x32 pixels, which five poolings leave empty."""
        if min(images.shape[2:]) < 32:
            height, width = images.shape[2:]
            raise ValueError(f"MILDNet needs images of at least 32x32 pixels, got {height}x{width}")
        taps = []
        maps = images
        for layer in self.trunk:
            maps = layer(maps)
            if isinstance(layer, nn.MaxPool2d):
                taps.append(maps.mean(dim=(2, 3)))
        return torch.cat(taps, dim=1)

    def first_layers(self) -> list[nn.Module]:
        """Everything before the third pooling: Keras's first ten layers of VGG16, its first seven convolutions."""
        pools = [number for number, layer in enumerate(self.trunk) if isinstance(layer, nn.MaxPool2d)]
        return list(self.trunk[: pools[2]])


def small_mildnet(
    weights: str | Path | None = None,
    normalize: bool = True,
    embedding: int = 128,
    dropout: float = 0.2,
    final_relu: bool = False,
) -> MILDNet:
    """MILDNet for the built-in data: five stages of one convolution with batch norm, all tapped, 128-d embedding.

    Costs about what `SmallResNet` costs for a 64x32 image. weights: None or the path of a local file.
    The head's defaults are for its 256 hidden units; MILDNet's public code has a dropout of 0.6 and a final ReLU, made
    for 2,048. Both are settings, since the thesis names neither; chapter P1 runs both heads.
    """
    return MILDNet(
        widths=(16, 32, 64, 64, 64),
        depths=(1, 1, 1, 1, 1),
        hidden=256,
        embedding=embedding,
        batch_norm=True,
        dropout=dropout,
        final_relu=final_relu,
        weights=weights,
        normalize=normalize,
    )
