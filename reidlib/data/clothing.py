"""Clothes found and blanked with label maps: the three inputs of a network that must not go by what people wear.

Source: Xu et al., Identity-aware Feature Decoupling Learning for Clothing-change Person Re-identification (2025): the
image I, the image M without its clothes, in which head, limbs, background and the outline remain, and the binary map of
the clothes. The paper does not list the classes that it calls clothing: `sets` says them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reidlib.data.augment import Augment
from reidlib.data.parsing import check, members


@dataclass(frozen=True)
class Views:
    """What a clothing-change network takes of b images.

    images, masked: float32 (b, 3, h, w) after `normalise`, `masked` with the clothes blanked; clothing: bool (b, h, w),
    True on clothes. All three show the same crop.
    """

    images: Tensor
    masked: Tensor
    clothing: Tensor


def clothing_pixels(parts: Tensor, scheme: str = "drawn", sets: str = "upper+lower") -> Tensor:
    """Which pixels of label maps uint8 (b, h, w) are clothes: bool (b, h, w).

    scheme: the label set of the maps, a key of `reidlib.data.parsing.CLASSES`. sets: names of `parsing.SETS` joined by
    +, for example "upper+lower" or "clothes", which has the shoes too. Raises ValueError for maps of another dtype or
    with a value that is no class, for unknown names, and for sets in which the label set has no class.

    >>> clothing_pixels(torch.tensor([[[0, 2, 3, 4, 6]]], dtype=torch.uint8))
    tensor([[[False, False,  True,  True, False]]])
    """
    values = sorted({value for name in sets.split("+") for value in members(scheme, name.strip())})
    if not values:
        raise ValueError(f"the label set {scheme!r} has no class in {sets!r}, so nothing would be clothes; add a set")
    if parts.dtype != torch.uint8:
        raise ValueError(f"label maps are uint8 class numbers, not {parts.dtype}; give the store's parts as they are")
    check(parts, scheme)
    table = torch.zeros(256, dtype=torch.bool)
    table[values] = True
    return table.to(parts.device)[parts.long()]


def mask_clothing(images: Tensor, clothing: Tensor, value: float | tuple[float, float, float] = 0.0) -> Tensor:
    """Images with their clothes replaced by one colour: a new tensor of the shape and dtype of `images`.

    images: float (b, 3, h, w) after `normalise`; clothing: bool (b, h, w); value: one number or one a channel, in units
    after `normalise`, where 0 is ImageNet's mean colour. Raises TypeError for uint8 images, ValueError for a `clothing`
    of another shape or dtype.
    """
    if not images.is_floating_point():
        raise TypeError(f"mask_clothing takes float images, after normalise, not {images.dtype}")
    wanted = (len(images), *images.shape[2:])
    if clothing.shape != wanted or clothing.dtype != torch.bool:
        raise ValueError(f"clothing must be bool {wanted} beside these images, not {_kind(clothing)}")
    fill = torch.tensor(value, device=images.device, dtype=images.dtype).expand(3).view(1, 3, 1, 1)
    return torch.where(clothing[:, None], fill, images)


def views(
    images: Tensor,
    parts: Tensor | None,
    *,
    scheme: str = "drawn",
    sets: str = "upper+lower",
    augment: Augment | None = None,
    generator: torch.Generator | None = None,
) -> Views:
    """The three inputs of stored images uint8 (b, 3, h, w) with label maps uint8 (b, h, w), on their device.

    augment: its geometry is drawn once a sample, from `generator`, for the image and its map alike (None: none); the
    clothes are then blanked to the mean colour. Erase afterwards, in `images` alone. scheme, sets: see
    `clothing_pixels`.

    An image whose file had no map, when others have one, is background all over: nothing is blanked, `masked` equals
    its image, and its `clothing` is False everywhere.
    Raises ValueError without label maps or with maps of another shape, if `augment` erases or removes the background,
    and as `clothing_pixels` does.
    """
    augment = Augment() if augment is None else augment
    if parts is None:
        raise ValueError(
            "the clothes can only be found with label maps, and this data set has none: put one at "
            "parts/PATH_OF_THE_IMAGE.png in its folder for each image, an 8-bit png of the image's size whose values "
            "are classes; a human parser such as SCHP writes them, see `reidlib.data.parsing`"
        )
    wanted = (len(images), *images.shape[2:])
    if parts.shape != wanted:
        raise ValueError(f"label maps must be uint8 {wanted} beside these images, not {_kind(parts)}")
    if augment.erasing:
        raise ValueError(
            f"augment.erasing={augment.erasing} would erase the masked image too; leave it 0, and use random_erasing "
            "on the images alone afterwards"
        )
    if not augment.background:
        raise ValueError("augment.background=False would blank what the masked image must keep; leave it True")
    whole, parts = augment(images, parts, generator)
    clothing = clothing_pixels(parts, scheme, sets)
    return Views(whole, mask_clothing(whole, clothing), clothing)


def _kind(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"
