"""Augmentation of a whole batch on its own device, every draw from a generator.

Images are uint8 (b, 3, h, w), part maps uint8 (b, h, w) or None. Every function makes one geometric draw a sample and
applies it to the image (bilinear) and to its part map (nearest neighbour), so that they stay aligned. Draws are made
where the generator lives (the CPU by default) and moved to the batch: a CPU generator draws the same for any device.
No argument is changed. On a GPU nothing loops over samples; on the CPU slices of one sample after the other are faster,
and give the same bits.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB, in units of 255
STD = (0.229, 0.224, 0.225)

_ATTEMPTS = 32  # rectangles proposed to an image for random erasing; the first that fits is taken
_ASPECT = (0.3, 1 / 0.3)  # of these rectangles, height to width
_CACHED = 2**17  # float32 values normalised at a time by each thread: half a MiB, which its core's cache holds


def normalise(images: Tensor) -> Tensor:
    """uint8 (b, 3, h, w) to float32 with ImageNet's mean and standard deviation: (x / 255 - MEAN) / STD."""
    if images.dtype != torch.uint8:
        raise TypeError(f"normalise takes uint8 images, not {images.dtype}: is this batch normalised already?")
    mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(3, 1, 1)
    scale, offset = 1 / (255 * std), mean / std
    if images.device.type != "cpu" or images.ndim != 4:
        return images.float().mul_(scale).sub_(offset)
    result = torch.from_numpy(np.empty_like(images.numpy(), np.float32))  # in huge pages, which torch does not ask for
    step = max(1, _CACHED * torch.get_num_threads() // max(1, math.prod(images.shape[1:])))
    for some, pixels in zip(result.split(step), images.split(step), strict=True):
        some.copy_(pixels).mul_(scale).sub_(offset)
    return result


def denormalise(images: Tensor) -> Tensor:
    """The inverse of `normalise`, rounded and clipped: float (b, 3, h, w) to uint8, for showing what a model saw."""
    mean = torch.tensor(MEAN, device=images.device, dtype=images.dtype).view(3, 1, 1)
    std = torch.tensor(STD, device=images.device, dtype=images.dtype).view(3, 1, 1)
    return ((images * std + mean) * 255).round_().clamp_(0, 255).to(torch.uint8)


def flip(images: Tensor, parts: Tensor | None = None, p: float = 0.5, generator: torch.Generator | None = None):
    """Mirror each sample left to right with probability `p`."""
    return _crop_flip(images, parts, None, p, generator)


def pad_crop(images: Tensor, parts: Tensor | None = None, padding: int = 10, generator: torch.Generator | None = None):
    """Pad every side with `padding` black (background) pixels and crop the old size at a random place."""
    return _crop_flip(images, parts, padding, None, generator)


def shift_rotate_zoom(
    images: Tensor,
    parts: Tensor | None = None,
    shift: float = 0.2,
    rotation: float = 25.0,
    zoom: tuple[float, float] = (0.8, 1.2),
    generator: torch.Generator | None = None,
):
    """Random shift, rotation and zoom of each sample, as Keras' image generator defines them (Murthy 2020, ch. 3).

    Shift is uniform in +-`shift` of height and of width, rotation in +-`rotation` degrees; the zoom factors of height
    and of width are drawn apart from `zoom` (below 1: closer). Places outside the image repeat its border pixel.
    A place p of the result shows the place R(angle) (Z p + shift) of the input, both measured from the centre.
    """
    b, _, h, w = images.shape
    draw = 2 * _uniform((3, b), images.device, generator) - 1
    factor = zoom[0] + (zoom[1] - zoom[0]) * _uniform((2, b), images.device, generator)
    angle = draw[0] * math.radians(rotation)
    cos, sin = angle.cos(), angle.sin()
    zy, zx = factor
    dy, dx = draw[1] * shift * h, draw[2] * shift * w
    # in pixels: x' = cos (zx x + dx) - sin (zy y + dy), y' = sin (zx x + dx) + cos (zy y + dy);
    # grid_sample measures in half widths and half heights
    matrix = torch.stack(
        [
            torch.stack([cos * zx, -sin * zy * (h / w), (cos * dx - sin * dy) * (2 / w)], 1),
            torch.stack([sin * zx * (w / h), cos * zy, (sin * dx + cos * dy) * (2 / h)], 1),
        ],
        1,
    )
    grid = F.affine_grid(matrix, (b, 1, h, w), align_corners=False)
    images = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    images = images.round_().clamp_(0, 255).to(torch.uint8)
    if parts is not None:
        parts = F.grid_sample(parts[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
        parts = parts[:, 0].to(torch.uint8)
    return images, parts


def random_erasing(
    images: Tensor,
    p: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: tuple[float, float] = _ASPECT,
    value: float | tuple[float, float, float] = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020): with probability `p` fill one rectangle of a sample with `value`.

    `images` are float, after `normalise`, where 0 is the mean colour. The rectangle's share of the image (`area`) and
    its height to width ratio (`aspect`) are uniform. An image into which none of 32 drawn rectangles fits stays whole.
    """
    if not images.is_floating_point():
        raise TypeError(f"random_erasing takes float images, after normalise, not {images.dtype}")
    own = images.clone() if images.device.type == "cpu" else images
    return _erase(own, p, area, aspect, value, generator)


def remove_background(images: Tensor, parts: Tensor, fill: tuple[int, int, int] | None = None) -> Tensor:
    """Replace the pixels of part 0 (background) by the colour `fill` (default: ImageNet's mean): uint8 (b, 3, h, w)."""
    if parts is None:
        raise ValueError("the background can only be removed with part maps, and this data set has none")
    fill = tuple(round(255 * mean) for mean in MEAN) if fill is None else fill
    colour = torch.tensor(fill, device=images.device, dtype=torch.uint8).view(1, 3, 1, 1)
    return torch.where(parts[:, None] > 0, images, colour)


@dataclass(frozen=True)
class Augment:
    """What happens to a batch before the model sees it; all off by default, which is right for evaluation.

    Calling it returns (float images (b, 3, h, w), parts uint8 (b, h, w) or None). Order: geometry, background,
    normalise, erasing. For example `Augment(flip=0.5, padding=10, erasing=0.5)`. The call is `geometry`, then `finish`:
    to train on another device, move to it what `geometry` gives, a quarter of the bytes, and `finish` there.
    """

    flip: float = 0.0  # probability
    padding: int = 0  # pixels, for pad_crop
    shift: float = 0.0  # share of height and of width
    rotation: float = 0.0  # degrees, either way
    zoom: tuple[float, float] = (1.0, 1.0)
    background: bool = True  # False: removed with the part maps
    erasing: float = 0.0  # probability
    erasing_area: tuple[float, float] = (0.02, 0.4)
    erasing_value: float | tuple[float, float, float] = 0.0

    def __call__(self, images: Tensor, parts: Tensor | None = None, generator: torch.Generator | None = None):
        images, parts = self.geometry(images, parts, generator)
        return self.finish(images, generator), parts

    def geometry(self, images: Tensor, parts: Tensor | None = None, generator: torch.Generator | None = None):
        """Geometry and background only: (images uint8 (b, 3, h, w), parts uint8 (b, h, w) or None)."""
        if self.shift or self.rotation or tuple(self.zoom) != (1.0, 1.0):
            images, parts = shift_rotate_zoom(images, parts, self.shift, self.rotation, self.zoom, generator)
        if self.padding or self.flip:
            images, parts = _crop_flip(images, parts, self.padding or None, self.flip or None, generator)
        if not self.background:
            images = remove_background(images, parts)
        return images, parts

    def finish(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Normalise and erasing, of what `geometry` gave, with the same generator: float32 (b, 3, h, w)."""
        images = normalise(images)
        if self.erasing:
            images = _erase(images, self.erasing, self.erasing_area, _ASPECT, self.erasing_value, generator)
        return images


# Murthy 2020: shift up to 20%, rotation up to 25 degrees, zoom 0.8 to 1.2, horizontal flip
THESIS = Augment(flip=0.5, shift=0.2, rotation=25.0, zoom=(0.8, 1.2))


def _crop_flip(images: Tensor, parts: Tensor | None, padding: int | None, p: float | None, generator):
    """`pad_crop`, then `flip`, in one copy; None leaves either out, with its draws."""
    b, device = len(images), images.device
    y = x = torch.zeros(b, device=device, dtype=torch.int64)
    mirrored = torch.zeros(b, device=device, dtype=torch.bool)
    if padding is not None:
        y = _integers(b, 2 * padding + 1, device, generator)
        x = _integers(b, 2 * padding + 1, device, generator)
    if p is not None:
        mirrored = _uniform((b,), device, generator) < p
    move = _move_each if device.type == "cpu" and images.dtype == torch.uint8 else _move_all
    draws = y, x, mirrored, padding or 0
    return move(images, *draws), None if parts is None else move(parts[:, None], *draws)[:, 0]


def _move_all(batch: Tensor, y: Tensor, x: Tensor, mirrored: Tensor, padding: int) -> Tensor:
    """Each padded sample's window whose corner is (y, x), mirrored or not, by one gather."""
    b, c, h, w = batch.shape
    rows, columns = torch.arange(h, device=batch.device), torch.arange(w, device=batch.device)
    rows = y[:, None] + rows
    columns = x[:, None] + torch.where(mirrored[:, None], columns.flip(0), columns)
    places = (rows[:, :, None] * (w + 2 * padding) + columns[:, None, :]).view(b, 1, h * w)
    padded = F.pad(batch, (padding,) * 4).flatten(2)
    return padded.gather(2, places.expand(-1, c, -1)).view(batch.shape)


def _move_each(batch: Tensor, y: Tensor, x: Tensor, mirrored: Tensor, padding: int) -> Tensor:
    """`_move_all` in slices: what shows of a sample, mirrored before it is moved (so the other way), onto black."""
    h, w = batch.shape[2:]
    source, result = batch.numpy(), np.zeros_like(batch.numpy())
    down, right = y - padding, torch.where(mirrored, padding - x, x - padding)
    for k, (dy, dx, mirror) in enumerate(zip(down.tolist(), right.tolist(), mirrored.tolist(), strict=True)):
        to_rows, rows = _overlap(dy, h)
        to_columns, columns = _overlap(dx, w)
        sample = batch[k].flip(-1).numpy() if mirror else source[k]  # NumPy's own flip is slow
        result[k][:, to_rows, to_columns] = sample[:, rows, columns]
    return torch.from_numpy(result)


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """All places i, and i + shift, where both lie in 0..size - 1."""
    start = min(max(0, -shift), size)
    end = max(start, min(size, size - shift))
    return slice(start, end), slice(start + shift, end + shift)


def _erase(images: Tensor, p: float, area, aspect, value, generator: torch.Generator | None) -> Tensor:
    """`random_erasing`, in place on the CPU."""
    b, _, h, w = images.shape
    device = images.device
    chosen = _uniform((b,), device, generator) < p
    share = area[0] + (area[1] - area[0]) * _uniform((b, _ATTEMPTS), device, generator)
    ratio = aspect[0] + (aspect[1] - aspect[0]) * _uniform((b, _ATTEMPTS), device, generator)
    place = _uniform((2, b), device, generator)
    high = (share * h * w * ratio).sqrt().round().clamp(min=1)
    wide = (share * h * w / ratio).sqrt().round().clamp(min=1)
    fits = (high < h) & (wide < w)
    first = fits.int().argmax(1, keepdim=True)
    high, wide = high.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
    top = (place[0] * (h - high + 1)).floor()
    left = (place[1] * (w - wide + 1)).floor()
    colour = torch.tensor(value, device=device, dtype=images.dtype).expand(3).view(3, 1, 1)
    fill = _fill_each if device.type == "cpu" else _fill_all
    return fill(images, chosen & fits.any(1), top, high, left, wide, colour)


def _fill_all(images: Tensor, erased: Tensor, top, high, left, wide, colour: Tensor) -> Tensor:
    rows = _between(torch.arange(images.shape[2], device=images.device), top, high)
    columns = _between(torch.arange(images.shape[3], device=images.device), left, wide)
    hole = rows[:, :, None] & columns[:, None, :] & erased[:, None, None]
    return torch.where(hole[:, None], colour, images)


def _fill_each(images: Tensor, erased: Tensor, top, high, left, wide, colour: Tensor) -> Tensor:
    """`_fill_all`, in place."""
    sides = torch.stack([top, top + high, left, left + wide], 1)[erased].int().tolist()
    for k, (y, y_end, x, x_end) in zip(erased.nonzero()[:, 0].tolist(), sides, strict=True):
        images[k, :, y:y_end, x:x_end] = colour
    return images


def _between(positions: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """(b, n) bool: which of the n positions lie in [start, start + length) of each sample."""
    return (positions >= start[:, None]) & (positions < (start + length)[:, None])


def _uniform(shape: tuple[int, ...], device, generator: torch.Generator | None) -> Tensor:
    where = generator.device if generator is not None else "cpu"
    return torch.rand(shape, generator=generator, device=where).to(device)


def _integers(count: int, end: int, device, generator: torch.Generator | None) -> Tensor:
    where = generator.device if generator is not None else "cpu"
    return torch.randint(0, end, (count,), generator=generator, device=where).to(device)
