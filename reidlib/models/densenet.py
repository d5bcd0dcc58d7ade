"""DenseNet-121 with the head that all networks here share, and a small dense network for the built-in data."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torchvision.models import DenseNet, DenseNet121_Weights, WeightsEnum, densenet121

from reidlib.models.embedder import Embedder
from reidlib.models.resnet import embedding_head
from reidlib.models.weights import fill_trunk, load_imagenet, load_trunk, read_state


class DenseNet121(Embedder):
    """torchvision's DenseNet-121 up to its last batch norm, global average pooling, then FC 1024-512, BN, ReLU, FC 128.

    No ReLU comes between the last batch norm and the pooling, so features can be negative: torchvision has one, the
    released code of Ainam et al., Sparse Label Smoothing for Semi-supervised Person Re-Identification (2018), has none.
    6,953,856 parameters in the trunk. weights: "imagenet" (torchvision's IMAGENET1K_V1), None, or the path of a local
    file: torchvision's own, or one of this library (see `load_trunk`).
    Input float (b, 3, h, w), ImageNet-normalised, 32x32 pixels at least; output (b, embedding).
    Raises WeightsError when the weights cannot be had.
    """

    trunk_width = 1024

    def __init__(self, embedding: int = 128, weights: str | Path | None = "imagenet", normalize: bool = True):
        super().__init__(normalize)
        self.trunk = _pooled(densenet121(weights=None).features)
        self.head = embedding_head(self.trunk_width, self.trunk_width // 2, embedding)
        if weights == "imagenet":
            load_imagenet(self, _Renamed(DenseNet121_Weights.IMAGENET1K_V1))
        elif weights is not None:
            fill_trunk(self, todays_names(read_state(Path(weights))), str(weights))

    def trunk_features(self, images: Tensor) -> Tensor:
        return self.trunk(images)

    def first_layers(self) -> list[nn.Module]:
        return _first_layers(self.trunk)


class SmallDenseNet(Embedder):
    """A dense network that trains on one CPU core, about as fast as `SmallResNet`: 129,840 weights in the trunk.

    Stem 3x3/2 with 2 x growth maps and max pooling 3x3/2; torchvision's dense blocks, whose layers (1x1 to 4 x growth
    maps, then 3x3) each add `growth` maps, between them transitions that halve maps and resolution (64x32 images end as
    8x4 with two blocks, the default); a last batch norm and global average pooling, without ReLU as in `DenseNet121`;
    then the head. blocks: layers in each block; the default ends with 136 maps. weights: None or the path of a local
    file. Input float (b, 3, h, w); output (b, embedding).
    Raises ValueError for a growth below 1, and without blocks or with an empty one.
    """

    def __init__(
        self,
        growth: int = 16,
        blocks: Sequence[int] = (3, 6),
        embedding: int = 128,
        normalize: bool = True,
        weights: str | Path | None = None,
    ):
        super().__init__(normalize)
        if growth < 1 or not blocks or min(blocks) < 1:
            raise ValueError(
                f"SmallDenseNet needs a growth and layers in each block of at least 1, got growth={growth} and "
                f"blocks={tuple(blocks)}"
            )
        layers = DenseNet(growth, tuple(blocks), num_init_features=2 * growth, num_classes=1).features
        layers.conv0 = nn.Conv2d(3, 2 * growth, 3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(layers.conv0.weight)
        self.trunk_width = layers.norm5.num_features
        self.trunk = _pooled(layers)
        self.head = embedding_head(self.trunk_width, self.trunk_width, embedding)
        if weights is not None:
            load_trunk(self, weights)

    def trunk_features(self, images: Tensor) -> Tensor:
        return self.trunk(images)

    def first_layers(self) -> list[nn.Module]:
        return _first_layers(self.trunk)


def todays_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with `norm.1` and the like in dense layers, as torchvision's files still have, made `norm1`."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name): state[name] for name in state}


@dataclass(frozen=True)
class _Renamed:
    """torchvision's weights under today's names, for `load_imagenet`."""

    weights: WeightsEnum

    @property
    def url(self) -> str:
        return self.weights.url

    def get_state_dict(self, **options) -> dict[str, Tensor]:
        return todays_names(self.weights.get_state_dict(**options))

    def __str__(self) -> str:
        return str(self.weights)


def _pooled(layers: nn.Sequential) -> nn.Sequential:
    named = OrderedDict(layers.named_children())
    return nn.Sequential(named | OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten()))


def _first_layers(trunk: nn.Sequential) -> list[nn.Module]:
    """The stem and the first 1x1 convolution, as in the residual networks, with the batch norm that precedes each."""
    layer = trunk.denseblock1.denselayer1
    return [trunk.conv0, trunk.norm0, layer.norm1, layer.conv1]
