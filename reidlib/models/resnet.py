"""ResNet-50 with the head of the triplet thesis, and a small residual network for the built-in data."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50
from torchvision.models.resnet import BasicBlock

from reidlib.models.embedder import Embedder, initialise
from reidlib.models.weights import load_imagenet, load_trunk


def embedding_head(width: int, hidden: int, embedding: int) -> nn.Sequential:
    """The thesis's head: fully connected, batch norm, ReLU, fully connected (section 3.2.2)."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, embedding)
    )


class ThesisResNet50(Embedder):
    """torchvision's ResNet-50 without its classifier, then FC 2048-1024, BN, ReLU, FC 1024-128: 25,739,456 parameters.

    weights: "imagenet" (torchvision's IMAGENET1K_V1), None, or the path of a local file (see `load_trunk`).
    Input float (b, 3, h, w), ImageNet-normalised; output (b, embedding). Source: Murthy (2020), section 3.2.2.
    Raises WeightsError when the weights cannot be had.
    """

    trunk_width = 2048

    def __init__(self, embedding: int = 128, weights: str | Path | None = "imagenet", normalize: bool = True):
        super().__init__(normalize)
        self.trunk = resnet50(weights=None)
        self.trunk.fc = nn.Identity()
        self.head = embedding_head(self.trunk_width, 1024, embedding)
        if weights == "imagenet":
            load_imagenet(self, ResNet50_Weights.IMAGENET1K_V1)
        elif weights is not None:
            load_trunk(self, weights)

    def trunk_features(self, images: Tensor) -> Tensor:
        return self.trunk(images)

    def first_layers(self) -> list[nn.Module]:
        """conv1, bn1 and the first 1x1 convolution of stage 2 with its batch norm (Keras's first ten layers)."""
        block = self.trunk.layer1[0]
        return [self.trunk.conv1, self.trunk.bn1, block.conv1, block.bn1]


class SmallResNet(Embedder):
    """A residual network that trains on one CPU core: stem 3x3/2, one block a width, 307,536 weights in the trunk.

    The first and the last block keep the resolution, those between halve it (64x32 images end as an 8x4 map); then
    global average pooling and the thesis's head. weights: None or the path of a local file.
    Input float (b, 3, h, w); output (b, embedding).
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 64, 128),
        embedding: int = 128,
        normalize: bool = True,
        weights: str | Path | None = None,
    ):
        super().__init__(normalize)
        if len(widths) < 2:
            raise ValueError(f"SmallResNet needs at least two widths, got {tuple(widths)}")
        self.trunk_width = widths[-1]
        layers = OrderedDict(
            conv=nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False),
            bn=nn.BatchNorm2d(widths[0]),
            relu=nn.ReLU(inplace=True),
        )
        strides = [1] + [2] * (len(widths) - 2) + [1]
        incoming = (widths[0], *widths[:-1])
        for number, (before, width, stride) in enumerate(zip(incoming, widths, strides, strict=True), start=1):
            layers[f"block{number}"] = residual_block(before, width, stride)
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        self.trunk = nn.Sequential(layers)
        initialise(self.trunk)
        self.head = embedding_head(self.trunk_width, self.trunk_width, embedding)
        if weights is not None:
            load_trunk(self, weights)

    def trunk_features(self, images: Tensor) -> Tensor:
        return self.trunk(images)

    def first_layers(self) -> list[nn.Module]:
        """The stem and the first convolution of the first block, as in the ResNet-50, each with its batch norm."""
        block = self.trunk.block1
        return [self.trunk.conv, self.trunk.bn, block.conv1, block.bn1]


def residual_block(before: int, width: int, stride: int) -> BasicBlock:
    """torchvision's basic block, with a 1x1 projection where the shape changes."""
    projection = None
    if stride != 1 or before != width:
        projection = nn.Sequential(nn.Conv2d(before, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
    return BasicBlock(before, width, stride, projection)
