"""DG-Net: two encoders that take a pedestrian apart, a decoder that puts two of them together, a discriminator.

The appearance of a photograph (clothes, colours) is one long code, its structure (pose, hair, background) a map; the
decoder draws the appearance of one photograph on the structure of another. The appearance encoder is also the
re-identification model.

Source: Shah, Person Re-identification in Surveillance Video (2022), chapter 4. The network is that of Zheng et al.,
Joint Discriminative and Generative Learning for Person Re-identification (CVPR 2019); where the text is silent this
follows its released code. Images are float (b, 3, h, w), ImageNet-normalised, heights and widths in pixels.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.data.augment import denormalise, normalise
from reidlib.models.embedder import Embedder
from reidlib.models.ifd import feature_maps

SLOPE = 0.2  # of the leaky ReLU
SPREAD = 0.02  # standard deviation of the discriminator's initial weights


# ---------------------------------------------------------------- appearance


class Appearance(NamedTuple):
    """What one pass of `AppearanceEncoder` gives for b images, all float32 (float64 for a float64 model).

    code: (b, code_width), the appearance code. prim, fine: logits (b, classes) of the two heads.
    """

    code: Tensor
    prim: Tensor
    fine: Tensor


class AppearanceEncoder(nn.Module):
    """The appearance encoder E_a: a ResNet trunk of last stride 1, an appearance code and two identity classifiers.

    base: a model of `reidlib.models.build("resnet50" or "resnet-small")`; its trunk is taken over as the feature maps
    of `reidlib.models.ifd.feature_maps`, C channels wide, and its head dropped. classes: number of training identities.
    code: the maximum over each of `parts` bands of rows, flattened as the released code flattens it: channel 0 of band
    0, 1, ..., then channel 1. Quarter i of the code therefore holds a quarter of the CHANNELS at all heights; "part i"
    in the paper's figure of the decoder is not a stripe of the body. `code_width` is parts x C.
    Identity feature: the maximum over all positions. On it two heads of the same shape: linear to `width`, batch norm,
    dropout, linear to the classes, without a ReLU. "prim" has the dropout dropouts[0], "fine" dropouts[1]; what tells
    them apart is what they are trained on.
    26,378,782 parameters on ResNet-50 at 751 classes. Initial weights of a head: first linear layer He normal (fan
    out), second N(0, 0.001), biases 0, batch norm 1 and 0, from torch's global generator, which dropout uses too.
    Raises ValueError for fewer than 2 classes, a width or a number of parts below 1, a dropout outside [0, 1), and a
    trunk that is no ResNet.
    """

    def __init__(
        self,
        base: Embedder,
        classes: int,
        width: int = 512,
        dropouts: tuple[float, float] = (0.5, 0.75),
        parts: int = 4,
    ):
        super().__init__()
        if parts < 1:
            raise ValueError(f"the appearance code needs at least 1 part, got parts={parts}: try 4")
        if len(dropouts) != 2:
            raise ValueError(f"dropouts are two numbers, of the prim and of the fine head, got {tuple(dropouts)}")
        self.prim, self.fine = (identity_head(base.trunk_width, width, classes, dropout) for dropout in dropouts)
        self.trunk, self.parts, self.width = feature_maps(base), parts, width
        self.trunk_width, self.code_width = base.trunk_width, parts * base.trunk_width

    def forward(self, images: Tensor, detach: bool = True) -> Appearance:
        """Code and logits of images float (b, 3, h, w).

        The code is detached, as in the released code: what the decoder makes of it trains the decoder only. With
        detach=False it keeps its graph. The heads are computed in float32 (float64 stays), also under autocast.
        """
        maps = self.trunk(images)
        code = _wide(F.adaptive_max_pool2d(maps, (self.parts, 1))).flatten(1)
        features = _wide(maps.amax((2, 3)))
        with torch.autocast(features.device.type, enabled=False):
            return Appearance(code.detach() if detach else code, self.prim(features), self.fine(features))

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding's two halves, prim (b, width) and fine (b, width), as they go into dropout and classifier.

        They are not normalised; see `embed` for what is scored. float32 (float64 stays), also under autocast.
        """
        features = _wide(self.trunk(images).amax((2, 3)))
        with torch.autocast(features.device.type, enabled=False):
            return self.prim[:2](features), self.fine[:2](features)

    def trunk_parameters(self) -> list[nn.Parameter]:
        """What pre-training fills; with `head_parameters` all of the encoder, for one learning rate each."""
        return list(self.trunk.parameters())

    def head_parameters(self) -> list[nn.Parameter]:
        """The parameters of both heads."""
        return [*self.prim.parameters(), *self.fine.parameters()]


def identity_head(features: int, width: int, classes: int, dropout: float) -> nn.Sequential:
    """Linear to `width`, batch norm, dropout, linear to the classes; weights and errors as in `AppearanceEncoder`."""
    if classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes, got classes={classes}")
    if width < 1:
        raise ValueError(f"an identity head needs at least 1 unit, got width={width}: try 512")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}: try 0.5")
    head = nn.Sequential(
        nn.Linear(features, width), nn.BatchNorm1d(width), nn.Dropout(dropout), nn.Linear(width, classes)
    )
    nn.init.kaiming_normal_(head[0].weight, mode="fan_out")
    nn.init.normal_(head[3].weight, 0.0, 0.001)
    for layer in (head[0], head[3]):
        nn.init.zeros_(layer.bias)
    return head


# ---------------------------------------------------------------- structure


def gray(images: Tensor) -> Tensor:
    """Normalised images float (b, 3, h, w) as the structure encoder sees them: their channel mean (b, 1, h, w)."""
    return images.mean(1, keepdim=True)


class StructureEncoder(nn.Module):
    """The structure encoder E_s: gray images to maps of a quarter of their height and width.

    3x3 convolutions 1 -> width (stride 2), -> 2 width, -> 2 width, -> 4 width (stride 2); `blocks` residual blocks;
    then pyramid pooling: a 1x1 convolution, and for each of `dilations` a 1x1 and a dilated 3x3 convolution, each of
    2 width maps, joined and fused by a 1x1 convolution to 8 width maps (`maps`). Every convolution is followed by
    instance norm without weights and leaky ReLU (slope 0.2), but without the leaky ReLU at the ends of residual blocks,
    of the pyramid's branches, and after the fusing. Padding mirrors the image. 380,544 parameters by default.
    Initial weights: He normal (fan in), biases 0, from torch's global generator.
    Raises ValueError for a width below 1, a negative number of blocks, and dilations below 1.
    """

    def __init__(self, width: int = 16, blocks: int = 4, dilations: Sequence[int] = (3, 6, 9)):
        super().__init__()
        _check("the structure encoder", width=width)
        _check("the structure encoder", least=0, blocks=blocks)
        if any(dilation < 1 for dilation in dilations):
            raise ValueError(f"the dilations of the structure encoder must be 1 or more, got {tuple(dilations)}")
        self.maps, self.dilations = 8 * width, tuple(dilations)
        inner, half = 4 * width, 2 * width
        self.down = nn.Sequential(
            *_convolution(1, width, 3, stride=2, norm=True),
            *_convolution(width, half, 3, norm=True),
            *_convolution(half, half, 3, norm=True),
            *_convolution(half, inner, 3, stride=2, norm=True),
        )
        self.blocks = nn.Sequential(*(_Residual(inner, norm=True) for _ in range(blocks)))
        branches = [nn.Sequential(*_convolution(inner, half, 1, norm=True, act=False))]
        for dilation in self.dilations:
            layers = _convolution(inner, half, 1, norm=True)
            layers += _convolution(half, half, 3, norm=True, act=False, dilation=dilation)
            branches.append(nn.Sequential(*layers))
        self.branches = nn.ModuleList(branches)
        self.fuse = nn.Sequential(*_convolution(len(branches) * half, self.maps, 1, norm=True, act=False))
        _he(self)

    def forward(self, images: Tensor) -> Tensor:
        """Structure (b, maps, h/4, w/4), float32 at least, of gray images float (b, 1, h, w); see `gray`.

        Raises ValueError for another shape, h or w that are no multiple of 4, and images so small that a mirror of them
        is narrower than the padding: a dilation must be below a quarter of h and of w.
        """
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"the structure encoder takes images (b, 1, h, w) of `gray`, got {tuple(images.shape)}")
        height, width = images.shape[2:]
        if height % 4 or width % 4:
            raise ValueError(f"height and width must be multiples of 4 for the structure encoder, got {height}x{width}")
        dilation = max((1, *self.dilations))
        if min(height, width) // 4 <= dilation:
            raise ValueError(
                f"the structure of {height}x{width} images has {height // 4}x{width // 4} positions, too few for the "
                f"dilation {dilation}: use dilations below {min(height, width) // 4}, or larger images"
            )
        x = self.blocks(self.down(images))
        return _wide(self.fuse(torch.cat([branch(x) for branch in self.branches], 1)))


# ---------------------------------------------------------------- decoder


class Decoder(nn.Module):
    """The decoder G: structure maps, and an appearance code that scales and shifts them, to images.

    maps: of the structure. `blocks` residual blocks of two 3x3 convolutions, each followed by adaptive instance norm;
    then twice: nearest-neighbour doubling, 5x5 convolution to half the maps, layer norm over maps and positions, leaky
    ReLU; two 3x3 convolutions with leaky ReLU; a 1x1 convolution to 3 colours, unbounded. Leaky ReLU has slope 0.2 and
    follows the first convolution of a residual block too; padding mirrors. Part i of the code, one of `blocks` equal
    parts in order, feeds residual block i: one network (linear to `hidden`, to `hidden`, to 2 maps, leaky ReLU between)
    gives the scales of its two norms, another one the shifts. 1,455,555 parameters by default, and 11,544,576 in the
    networks of scales and shifts. Initial weights: He normal (fan in), layer norms uniform in [0, 1), biases 0, from
    torch's global generator. Nothing of a code is kept in the modules: a pass depends on its arguments only.
    Raises ValueError for a width below 1, maps that are no multiple of 4, and a code that `blocks` does not divide.
    """

    def __init__(self, maps: int = 128, code: int = 8192, blocks: int = 4, hidden: int = 512):
        super().__init__()
        _check("the decoder", maps=maps, code=code, blocks=blocks, hidden=hidden)
        if maps % 4:
            raise ValueError(f"the decoder halves its maps twice, so they must be a multiple of 4, got maps={maps}")
        if code % blocks:
            raise ValueError(f"a code of width {code} cannot be cut into {blocks} equal parts: choose other blocks")
        self.maps, self.code_width = maps, code
        self.blocks = nn.ModuleList(_Residual(maps) for _ in range(blocks))
        self.scales = nn.ModuleList(_style(code // blocks, hidden, 2 * maps) for _ in range(blocks))
        self.shifts = nn.ModuleList(_style(code // blocks, hidden, 2 * maps) for _ in range(blocks))
        layers = []
        for before in (maps, maps // 2):
            layers += [nn.Upsample(scale_factor=2), _padded(before, before // 2, 5)]
            layers += [nn.GroupNorm(1, before // 2), nn.LeakyReLU(SLOPE, inplace=True)]
        last = maps // 4
        layers += [*_convolution(last, last, 3), *_convolution(last, last, 3), nn.Conv2d(last, 3, 1)]
        self.draw = nn.Sequential(*layers)
        _he(self)
        for module in self.draw:
            if isinstance(module, nn.GroupNorm):
                nn.init.uniform_(module.weight)

    def forward(self, structure: Tensor, code: Tensor) -> Tensor:
        """Images (b, 3, 4h, 4w), float32 at least, of structure (b, maps, h, w) and codes (b, code).

        Raises ValueError for other shapes and unequal numbers.
        """
        if structure.ndim != 4 or structure.shape[1] != self.maps or min(structure.shape[2:]) < 2:
            raise ValueError(
                f"the structure must be of shape (b, {self.maps}, h, w), h and w of 2 or more, "
                f"got {tuple(structure.shape)}"
            )
        if code.shape != (len(structure), self.code_width):
            raise ValueError(
                f"the code of {len(structure)} structures must be of shape ({len(structure)}, {self.code_width}), "
                f"got {tuple(code.shape)}"
            )
        x, parts = structure, code.chunk(len(self.blocks), dim=1)
        for block, part, scale, shift in zip(self.blocks, parts, self.scales, self.shifts, strict=True):
            scales, shifts = scale(part).chunk(2, dim=1), shift(part).chunk(2, dim=1)
            y = F.leaky_relu(adain(block.first(x), scales[0], shifts[0]), SLOPE)
            x = x + adain(block.second(y), scales[1], shifts[1])
        return _wide(self.draw(x))


def adain(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Adaptive instance norm: each map of x (b, c, h, w) brought to mean 0 and variance 1, times scale, plus shift.

    scale, shift: (b, c). The variance is that of the positions divided by their number, with 1e-5 added.
    """
    return _instance_norm(x) * scale[:, :, None, None] + shift[:, :, None, None]


# ---------------------------------------------------------------- discriminator


class Discriminator(nn.Module):
    """The discriminator D: images at several scales to maps of scores, 1 for real and 0 for generated ones.

    A network of its own for each of `scales`, from the image itself on, each a 3x3 average pooling of stride 2 (over
    the pixels inside the image) below the one before: convolutions 1x1 3 -> width, 3x3, 3x3 of stride 2, 3x3, 3x3 of
    stride 2 to 2 width, `blocks` residual blocks, 1x1 to one score. Leaky ReLU (slope 0.2) follows each convolution but
    the last and the second of a residual block; there is no norm; padding mirrors. 1,025,571 parameters by default.
    Initial weights: N(0, 0.02), biases 0, from torch's global generator.
    Raises ValueError for a width or a number of scales below 1 and a negative number of blocks.
    """

    def __init__(self, width: int = 32, blocks: int = 4, scales: int = 3):
        super().__init__()
        _check("the discriminator", width=width, scales=scales)
        _check("the discriminator", least=0, blocks=blocks)
        self.scales = nn.ModuleList(_judge(width, blocks) for _ in range(scales))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, SPREAD)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Scores (b, 1, h', w') at each scale, finest first, float32 at least, of images float (b, 3, h, w).

        Raises ValueError for another shape, and for images that are too small for the coarsest scale.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"the discriminator takes images (b, 3, h, w), got {tuple(images.shape)}")
        least = 4 * 2 ** (len(self.scales) - 1)  # the coarsest map of more than one position a side
        if min(images.shape[2:]) <= least:
            height, width = images.shape[2:]
            raise ValueError(
                f"images of {height}x{width} are too small for {len(self.scales)} scales, which need more than {least} "
                f"pixels a side: use fewer scales, or larger images"
            )
        found = []
        for number, judge in enumerate(self.scales):
            if number:
                images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            found.append(_wide(judge(images)))
        return found


# ---------------------------------------------------------------- the whole


class DGNet(nn.Module):
    """The four networks under one roof, as `appearance`, `structure`, `decoder` and `discriminator`.

    Raises ValueError where the decoder takes other maps than the structure encoder gives, or another width of the code
    than the appearance encoder's. See `reference` and `small` for the two sizes in use.
    """

    def __init__(
        self,
        appearance: AppearanceEncoder,
        structure: StructureEncoder,
        decoder: Decoder,
        discriminator: Discriminator,
    ):
        super().__init__()
        if structure.maps != decoder.maps:
            raise ValueError(f"the structure has {structure.maps} maps, but the decoder takes {decoder.maps}")
        if appearance.code_width != decoder.code_width:
            raise ValueError(
                f"the appearance code is {appearance.code_width} wide, but the decoder takes {decoder.code_width}"
            )
        self.appearance, self.structure = appearance, structure
        self.decoder, self.discriminator = decoder, discriminator

    def generator_parameters(self) -> list[nn.Parameter]:
        """What the generator's optimiser trains: structure encoder and decoder, with the networks of its norms."""
        return [*self.structure.parameters(), *self.decoder.parameters()]

    def decode(self, structure: Tensor, code: Tensor) -> Tensor:
        """Images (b, 3, 4h, 4w), normalised, of structure (b, maps, h, w) and appearance codes; see `Decoder`."""
        return self.decoder(structure, code)

    @torch.no_grad()
    def swap(self, appearance_images: Tensor, structure_images: Tensor, batch: int = 64) -> Tensor:
        """Image i of the result: the appearance of appearance_images[i] on the structure of structure_images[i].

        Both are uint8 (n, 3, h, w), on any device; the result is uint8 (n, 3, h, w) on the CPU. `batch` images at a
        time, in eval mode; the modes of all modules are as before afterwards. Raises ValueError for other types and
        shapes, and where the two differ in number or size.
        """
        for name, images in (("appearance_images", appearance_images), ("structure_images", structure_images)):
            _check_pixels(name, images)
        if appearance_images.shape != structure_images.shape:
            raise ValueError(
                f"swap takes as many appearance as structure images, of one size, got "
                f"{tuple(appearance_images.shape)} and {tuple(structure_images.shape)}"
            )
        device, found = _device(self), [appearance_images.new_empty((0, *appearance_images.shape[1:]), device="cpu")]
        with evaluating(self):
            for seen, posed in zip(appearance_images.split(batch), structure_images.split(batch), strict=True):
                if len(seen) == 0:
                    continue
                code = self.appearance(_input(seen, device)).code
                drawn = self.decode(self.structure(gray(_input(posed, device))), code)
                found.append(denormalise(drawn).cpu().contiguous())
        return torch.cat(found)


def reference(base: Embedder, classes: int) -> DGNet:
    """DG-Net as published, for 256x128 images: 40,785,028 parameters on ResNet-50 at 751 classes.

    base, classes: see `AppearanceEncoder`; the code is as wide as the trunk gives.
    """
    appearance = AppearanceEncoder(base, classes)
    return DGNet(appearance, StructureEncoder(), Decoder(code=appearance.code_width), Discriminator())


def small(base: Embedder, classes: int, width: int = 128, maps: int = 32) -> DGNet:
    """A DG-Net for 64x32 images that trains on one CPU core: the same layers, fewer of them, and fewer maps.

    base: a `SmallResNet`, whose code is 512 wide. width: of the two identity heads. maps: of the structure, a multiple
    of 8; the structure encoder begins with an eighth of them and has 2 residual blocks and dilations 1, 2 and 3; the
    decoder goes to a half and a quarter of them and keeps 4 residual blocks, one a part of the code; the discriminator
    has 8 and 16 maps and 1 residual block at each of 3 scales.
    Raises ValueError for other maps, and as the networks do.
    """
    if maps < 8 or maps % 8:
        raise ValueError(f"the structure encoder begins with an eighth of the maps: give a multiple of 8, not {maps}")
    appearance = AppearanceEncoder(base, classes, width=width)
    structure = StructureEncoder(width=maps // 8, blocks=2, dilations=(1, 2, 3))
    decoder = Decoder(maps, appearance.code_width, blocks=4, hidden=64)
    return DGNet(appearance, structure, decoder, Discriminator(width=8, blocks=1))


# ---------------------------------------------------------------- scoring


@torch.no_grad()
def embed(model: DGNet | AppearanceEncoder, images: Tensor, batch: int = 256) -> tuple[Tensor, Tensor]:
    """The two halves of the embedding, prim (n, width) and fine (n, width), float32 on the CPU, rows of length one.

    images: uint8 (n, 3, h, w), on any device. Each half of an image and of its mirror image is brought to length one,
    the two are added, and the sum is brought to length one. `batch` images at a time, in eval mode; the modes of all
    modules are as before afterwards. Source: the released code's test. Raises ValueError for other types and shapes.
    """
    encoder = model.appearance if isinstance(model, DGNet) else model
    _check_pixels("images", images)
    device, found = _device(encoder), [torch.empty(0, 2, encoder.width)]
    with evaluating(encoder):
        for part in images.split(batch):
            if len(part) == 0:
                continue
            seen = _input(part, device)
            passes = [torch.stack(encoder.features(view), 1).float() for view in (seen, seen.flip(-1))]
            total = F.normalize(passes[0], dim=2) + F.normalize(passes[1], dim=2)
            found.append(F.normalize(total, dim=2).cpu())
    prim, fine = torch.cat(found).unbind(1)
    return prim.contiguous(), fine.contiguous()


def joined(prim: Tensor, fine: Tensor, alpha: float = 1.0) -> Tensor:
    """The embedding that is scored: prim, and fine times alpha, side by side: (n, width) each -> (n, 2 width).

    alpha belongs to the queries; the gallery keeps 1, so that the inner product of a query and a gallery image is that
    of their prim halves plus alpha times that of their fine halves: 0 leaves the fine halves out, 0.5 is published.
    Raises ValueError for halves of different shapes and for a negative alpha.
    """
    if prim.ndim != 2 or prim.shape != fine.shape:
        raise ValueError(f"both halves must be (n, width) of one shape, got {tuple(prim.shape)}, {tuple(fine.shape)}")
    if not alpha >= 0:
        raise ValueError(f"alpha must be 0 or more, got {alpha}")
    return torch.cat([prim, alpha * fine], dim=1)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; every module has its own mode back after it, whatever happens."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


# ---------------------------------------------------------------- layers


class _Residual(nn.Module):
    """Two 3x3 convolutions around which the input goes; the decoder norms between them itself."""

    def __init__(self, width: int, norm: bool = False):
        super().__init__()
        self.first, self.second, self.norm = _padded(width, width, 3), _padded(width, width, 3), norm

    def forward(self, x: Tensor) -> Tensor:
        norm = _instance_norm if self.norm else nn.Identity()
        return x + norm(self.second(F.leaky_relu(norm(self.first(x)), SLOPE)))


class _InstanceNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _instance_norm(x)


def _instance_norm(x: Tensor) -> Tensor:
    return F.group_norm(x, x.shape[1])  # one group a map is an instance norm, and keeps channels_last


def _padded(before: int, width: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(before, width, kernel, stride, padding, dilation, padding_mode="reflect" if padding else "zeros")


def _convolution(before: int, width: int, kernel: int, *, norm: bool = False, act: bool = True, **more) -> list:
    layers = [_padded(before, width, kernel, **more)] + ([_InstanceNorm()] if norm else [])
    return layers + ([nn.LeakyReLU(SLOPE, inplace=True)] if act else [])


def _style(code: int, hidden: int, values: int) -> nn.Sequential:
    """A code's part to the scales, or the shifts, of one residual block's norms."""
    widths, layers = (code, hidden, hidden, values), []
    for before, width in itertools.pairwise(widths):
        layers += [nn.Linear(before, width), nn.LeakyReLU(SLOPE, inplace=True)]
    return nn.Sequential(*layers[:-1])


def _judge(width: int, blocks: int) -> nn.Sequential:
    """The discriminator's network of one scale."""
    return nn.Sequential(
        *_convolution(3, width, 1),
        *_convolution(width, width, 3),
        *_convolution(width, width, 3, stride=2),
        *_convolution(width, width, 3),
        *_convolution(width, 2 * width, 3, stride=2),
        *(_Residual(2 * width) for _ in range(blocks)),
        nn.Conv2d(2 * width, 1, 1),
    )


def _he(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)


def _check(network: str, least: int = 1, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{network} needs {name} of {least} or more, got {name}={value}")


def _check_pixels(name: str, images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"{name} must be uint8 (n, 3, h, w), got {images.dtype} {tuple(images.shape)}")


def _input(pixels: Tensor, device: torch.device) -> Tensor:
    return normalise(pixels.to(device)).contiguous(memory_format=torch.channels_last)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
