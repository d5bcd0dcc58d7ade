"""Identity-aware feature decoupling: a stream that sees no clothes tells a second one where to look.

Source: Xu et al., Identity-aware Feature Decoupling Learning for Clothing-change Person Re-identification (2025). Names
of the paper: images I, masked images M, streams g_m and g_a with maps F_g and F_a, weights W_I, weighted maps F_rg,
clothing weights W_c, clothing maps F_c and features f_c.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet

from reidlib.models.embedder import Embedder

AFTER_THE_MAPS = ("avgpool", "pool", "flatten", "fc")  # layers of either trunk


def feature_maps(base: Embedder) -> nn.Sequential:
    """A trunk up to its last feature map: images float (b, 3, H, W) -> maps (b, trunk_width, h, w).

    base: a model of `reidlib.models.build("resnet50" or "resnet-small")`; its trunk is taken over, names of layers
    included, and its head dropped. The last stage of a ResNet-50 is set to stride 1, so that one position stands for
    16x16 pixels (384x192 give 24x12); in the small trunk it is 8x8 (64x32 give 8x4).
    Raises ValueError for a trunk that is no ResNet.
    """
    if not hasattr(base.trunk, "relu"):
        name = type(base).__name__
        raise ValueError(f"feature maps are taken from a ResNet trunk, not from {name}: choose a resnet backbone")
    if isinstance(base.trunk, ResNet):
        block = base.trunk.layer4[0]
        block.conv2.stride = block.downsample[0].stride = (1, 1)
    layers = base.trunk.named_children()
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers if name not in AFTER_THE_MAPS))


@dataclass(frozen=True)
class Decoupled:
    """What one forward pass of `IFD` gives for b images; None where the model or the call has no such part.

    main: (b, d), BatchNorm1d(GAP(F_rg)): the feature for scoring, once it is scaled to length one.
    attention: (b, d), BatchNorm1d(GAP(F_a)). clothing: (b, d), f_c, of length one.
    dressed: bool (b,), False for images without a clothing pixel: f_c says nothing about those.
    weights: (b, 1, h, w), W_I, between 0 and 1. maps: (b, d, h, w), F_rg, or F_g where no attention is used.
    The three features are float32 (float64 for a float64 model), also under autocast.
    """

    main: Tensor
    attention: Tensor | None
    clothing: Tensor | None
    dressed: Tensor | None
    weights: Tensor | None
    maps: Tensor


class IFD(nn.Module):
    """The two streams, the spatial attention that joins them, the clothing branch, and the identity classifiers.

    main, attention: models of `reidlib.models.build`, whose ResNet trunks become g_m and g_a. Without `attention` this
    is a one-stream model: the paper's baseline, or, with `clothing_branch`, its row "w/ CBD", where F_rg is F_g.
    identities: number of training identities. kernel: size of W_conv's window, odd, 7 as in CBAM since the paper names
    none. stop_gradient: detach W_I, so that the losses of the main stream change neither g_a nor W_conv; W_conv, which
    no other loss reaches, then keeps its initial weights.

    With two ResNet-50: 2 x 23,508,032 weights in the trunks, 98 in W_conv, 4,096 in each of the three batch norms
    (weights drawn from N(1, 0.02), biases 0) and 2,048 x identities in each of the two classifiers (linear, no bias,
    N(0, 0.001)). Initial weights come from torch's global generator.
    Raises ValueError for an even or non-positive kernel, for no identity, for a trunk that is no ResNet, and where both
    streams would share one trunk.
    """

    def __init__(
        self,
        main: Embedder,
        attention: Embedder | None = None,
        *,
        identities: int,
        clothing_branch: bool = True,
        kernel: int = 7,
        stop_gradient: bool = False,
    ):
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"the kernel of the attention must be odd and at least 1, got {kernel}: try 7")
        if identities < 1:
            raise ValueError(f"the classifiers need at least 1 identity, got identities={identities}")
        if attention is not None and attention.trunk is main.trunk:
            raise ValueError("both streams were given the same trunk: build a second model for the attention stream")
        self.stop_gradient = stop_gradient
        self.main = feature_maps(main)
        self.main_neck = _neck(main.trunk_width)
        self.main_classifier = _classifier(main.trunk_width, identities)
        self.attention = self.attention_neck = self.attention_classifier = self.attention_conv = None
        if attention is not None:
            self.attention = feature_maps(attention)
            self.attention_neck = _neck(attention.trunk_width)
            self.attention_classifier = _classifier(attention.trunk_width, identities)
            self.attention_conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.clothing_neck = _neck(main.trunk_width) if clothing_branch else None

    def forward(
        self,
        images: Tensor,
        masked: Tensor | None = None,
        clothing: Tensor | None = None,
        use_attention: bool = True,
    ) -> Decoupled:
        """What the streams and the clothing branch make of a batch (Eqs. 1 and 2, section II-B).

        images: float (b, 3, H, W), ImageNet-normalised. masked: the same images without their clothes, of the same
        shape; needed by a model with an attention stream. clothing: bool (b, H, W), the clothing pixels; None leaves
        the clothing branch out, which is meant for training. A part that the model lacks ignores its input.
        use_attention: False skips the attention stream: F_rg = F_g, and `masked` is not looked at.
        Raises ValueError for a missing `masked` or `clothing`, and for shapes and types other than these.
        """
        maps = self.main(images)
        attention = weights = None
        if self.attention is not None and use_attention:
            if masked is None:
                raise ValueError("the attention stream needs the masked images: pass masked, or use_attention=False")
            if masked.shape != images.shape:
                raise ValueError(
                    f"masked images must have the shape of the images {tuple(images.shape)}, got {tuple(masked.shape)}"
                )
            attended = self.attention(masked)
            attention = self.attention_neck(_pooled(attended))
            weights = self.attention_weights(attended)
            if weights.shape[2:] != maps.shape[2:]:
                raise ValueError(
                    f"the streams give maps of {_size(maps)} and {_size(weights)} positions: use one backbone for both"
                )
            maps = (weights.detach() if self.stop_gradient else weights) * maps
        dressed = features = None
        if self.clothing_neck is not None and clothing is not None:
            cover = _cover(clothing, images, maps)
            dressed = cover.flatten(1).gt(0).any(1)
            features = F.normalize(self.clothing_neck(_pooled(cover * maps)), dim=1)
        return Decoupled(self.main_neck(_pooled(maps)), attention, features, dressed, weights, maps)

    def attention_weights(self, attended: Tensor) -> Tensor:
        """W_I (b, 1, h, w) of maps F_a (b, d, h, w): sigmoid(conv([max; mean])), both over the channels (Eq. 1)."""
        summary = torch.cat([attended.amax(1, keepdim=True), attended.mean(1, keepdim=True)], dim=1)
        return self.attention_conv(summary).sigmoid()

    def identity_logits(self, seen: Decoupled) -> tuple[Tensor, Tensor | None]:
        """Logits (b, identities) of the main and of the attention stream; None for a stream that was not run."""
        main = _logits(self.main_classifier, seen.main)
        return main, None if seen.attention is None else self.attention_logits(seen.attention)

    def attention_only(self, masked: Tensor) -> Tensor:
        """Features (b, d) of the attention stream by itself, BatchNorm1d(GAP(g_a(M))), for stage 1 and for scoring.

        Raises ValueError for a model without that stream.
        """
        self._need_attention()
        return self.attention_neck(_pooled(self.attention(masked)))

    def attention_logits(self, features: Tensor) -> Tensor:
        """Logits (b, identities) of features (b, d) of the attention stream. ValueError for a model without it."""
        self._need_attention()
        return _logits(self.attention_classifier, features)

    def attention_parameters(self) -> list[nn.Parameter]:
        """What stage 1 trains: g_a, its batch norm and its classifier, but not W_conv, which its loss does not reach.

        Raises ValueError for a model without an attention stream.
        """
        self._need_attention()
        parts = (self.attention, self.attention_neck, self.attention_classifier)
        return [parameter for part in parts for parameter in part.parameters()]

    def _need_attention(self) -> None:
        if self.attention is None:
            raise ValueError("this model has one stream: build it with attention= to have an attention stream")


def _neck(width: int) -> nn.BatchNorm1d:
    neck = nn.BatchNorm1d(width)
    nn.init.normal_(neck.weight, 1.0, 0.02)
    return neck


def _classifier(width: int, identities: int) -> nn.Linear:
    classifier = nn.Linear(width, identities, bias=False)
    nn.init.normal_(classifier.weight, 0.0, 0.001)
    return classifier


def _pooled(maps: Tensor) -> Tensor:
    """Mean over all positions, in float32 at least: (b, d, h, w) -> (b, d)."""
    return maps.mean((2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))


def _logits(classifier: nn.Linear, features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        return classifier(features)


def _cover(clothing: Tensor, images: Tensor, maps: Tensor) -> Tensor:
    """W_c: the share of clothing pixels behind every position of the maps, (b, 1, h, w), in float32 at least."""
    expected = (len(images), *images.shape[2:])
    if clothing.dtype != torch.bool or clothing.shape != expected:
        raise ValueError(
            f"clothing must be bool of shape {expected}, one value a pixel, got {clothing.dtype} of shape "
            f"{tuple(clothing.shape)}"
        )
    pixels = clothing[:, None].to(torch.promote_types(maps.dtype, torch.float32))
    return F.adaptive_avg_pool2d(pixels, maps.shape[2:])


def _size(maps: Tensor) -> str:
    return "x".join(map(str, maps.shape[2:]))
