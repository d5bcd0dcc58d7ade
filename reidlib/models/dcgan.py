"""DCGAN: the networks that draw pedestrians and tell them from photographs, and the scale of their images.

Source: Ainam et al., Sparse Label Smoothing for Semi-supervised Person Re-Identification (2018), section 4.1, after
Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (2016).
Where the text is silent or says otherwise, this follows the authors' released code: initial weights, leaky ReLU in the
discriminator, no batch norm after its first layer nor after the last ones. Only the padding is the same on all sides,
where TensorFlow pads one pixel less above and on the left.
"""

import itertools

import torch
from torch import Tensor, nn

HALVINGS = 4  # by the discriminator's convolutions; the generator doubles as often
SLOPE = 0.2  # of the leaky ReLU
SPREAD = 0.02  # standard deviation of the initial weights


class Generator(nn.Module):
    """Noise to images: a linear layer to 8 x base maps, then four 5x5 deconvolutions of stride 2, the last with tanh.

    size: (height, width) of the images in pixels, multiples of 16. base: maps before the last deconvolution; the layers
    have 8, 4, 2 and 1 times as many, then 3. latent: width of the noise. Batch norm and ReLU follow all layers but the
    last. 7,617,539 parameters by default. Initial weights: N(0, 0.02), those of batch norms N(1, 0.02), biases 0, from
    torch's global generator.
    Raises ValueError for another size, and for base or latent below 1.
    """

    def __init__(self, size: tuple[int, int] = (128, 128), base: int = 64, latent: int = 100):
        super().__init__()
        _check(size, base)
        if latent < 1:
            raise ValueError(f"the noise of a generator needs at least 1 value, got latent={latent}: try 100")
        self.size, self.latent = tuple(size), latent
        widths = _widths(base)[::-1]
        self.coarse = (widths[0], *(side >> HALVINGS for side in size))
        self.linear = nn.Linear(latent, widths[0] * self.coarse[1] * self.coarse[2])
        layers = [nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        for before, width in itertools.pairwise(widths):
            layers += [_deconvolution(before, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, _deconvolution(widths[-1], 3), nn.Tanh())
        _initialise(self)

    def forward(self, noise: Tensor) -> Tensor:
        """Images float (b, 3, h, w) in [-1, 1] for noise float (b, latent), drawn uniformly from [-1, 1] in the paper.

        See `from_gan` for pixels. float32 also under autocast. Raises ValueError for noise of another shape.
        """
        if noise.ndim != 2 or noise.shape[1] != self.latent:
            raise ValueError(f"the noise must be of shape (b, {self.latent}), got {tuple(noise.shape)}")
        return _wide(self.layers(self.linear(noise).unflatten(1, self.coarse)))


class Discriminator(nn.Module):
    """Images to one logit each: four 5x5 convolutions of stride 2 with leaky ReLU (slope 0.2), then a linear layer.

    size: (height, width) of the images in pixels, multiples of 16. base: maps after the first convolution; the layers
    have 1, 2, 4 and 8 times as many. Batch norm follows the second to the fourth convolution: pass real and generated
    images one after the other, not in one batch, so that each have their own batch statistics. 4,341,121 parameters by
    default. Initial weights: normal, 0.02, for convolutions cut off at two standard deviations; those of batch norms
    N(1, 0.02), biases 0, from torch's global generator.
    Raises ValueError for another size, and for base below 1.
    """

    def __init__(self, size: tuple[int, int] = (128, 128), base: int = 64):
        super().__init__()
        _check(size, base)
        self.size = tuple(size)
        widths = _widths(base)
        layers = [_convolution(3, base), nn.LeakyReLU(SLOPE, inplace=True)]
        for before, width in itertools.pairwise(widths):
            layers += [_convolution(before, width), nn.BatchNorm2d(width), nn.LeakyReLU(SLOPE, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.linear = nn.Linear(widths[-1] * (size[0] >> HALVINGS) * (size[1] >> HALVINGS), 1)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (b,), positive for "real", of images float (b, 3, h, w) in [-1, 1]; see `to_gan`.

        float32 also under autocast. Raises ValueError for images of another size.
        """
        if images.ndim != 4 or images.shape[1:] != (3, *self.size):
            height, width = self.size
            raise ValueError(f"the images must be of shape (b, 3, {height}, {width}), got {tuple(images.shape)}")
        return _wide(self.linear(self.layers(images))).squeeze(1)


def to_gan(images: Tensor) -> Tensor:
    """Pixels as a GAN sees them: uint8 of any shape -> float32 in [-1, 1]. Raises ValueError for another type."""
    if images.dtype != torch.uint8:
        raise ValueError(f"to_gan takes pixels of type uint8, got {images.dtype}: convert them first")
    return images / 127.5 - 1


def from_gan(images: Tensor) -> Tensor:
    """Pixels of a GAN's images: float of any shape -> uint8, rounded, values beyond [-1, 1] clipped.

    Undoes `to_gan` exactly. Raises ValueError for another type.
    """
    if not images.is_floating_point():
        raise ValueError(f"from_gan takes float images in [-1, 1], got {images.dtype}")
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def _check(size: tuple[int, int], base: int) -> None:
    step = 1 << HALVINGS
    if len(size) != 2 or any(side < step or side % step for side in size):
        raise ValueError(f"height and width of a GAN's images must be multiples of {step}, got {tuple(size)}")
    if base < 1:
        raise ValueError(f"a GAN needs at least 1 base filter, got base={base}: try 64")


def _widths(base: int) -> list[int]:
    return [base << level for level in range(HALVINGS)]


def _deconvolution(before: int, width: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(before, width, 5, stride=2, padding=2, output_padding=1)


def _convolution(before: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(before, width, 5, stride=2, padding=2)


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=SPREAD, a=-2 * SPREAD, b=2 * SPREAD)
        elif isinstance(module, nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, SPREAD)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, SPREAD)
        else:
            continue
        nn.init.zeros_(module.bias)


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
