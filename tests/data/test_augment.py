import math

import numpy as np
import pytest
import torch

from reidlib.data import augment
from reidlib.data.augment import (
    THESIS,
    Augment,
    denormalise,
    flip,
    normalise,
    pad_crop,
    random_erasing,
    remove_background,
    shift_rotate_zoom,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def square():
    """One 4x4 image whose pixel (y, x) has the value 10 * y + x in red, + 50 in green, + 100 in blue."""
    y, x = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    red = 10 * y + x
    return torch.stack([red, red + 50, red + 100])[None].to(torch.uint8)


def people(b=64, h=24, w=12):
    """Images that encode their part map: part k has the grey value 30 * k."""
    parts = torch.zeros((b, h, w), dtype=torch.uint8)
    parts[:, 3:7, 4:8] = 1
    parts[:, 7:14, 3:9] = 3
    parts[:, 14:21, 4:9] = 4
    return (30 * parts)[:, None].expand(-1, 3, -1, -1).contiguous(), parts


def use_draws(monkeypatch, *values):
    """Make the next uniform draws return `values`, each one number for all or one a sample."""
    draws = iter(values)

    def draw(shape, device, generator):
        return torch.as_tensor(next(draws), dtype=torch.float32).expand(shape).clone()

    monkeypatch.setattr(augment, "_uniform", draw)


# --- normalise


def test_normalise_known_pixels():
    image = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    expected = torch.tensor([[-0.485, 0.515], [-0.456, 0.544], [-0.406, 0.594]]) / torch.tensor(
        [[0.229], [0.224], [0.225]]
    )
    torch.testing.assert_close(normalise(image), expected.view(1, 3, 1, 2))
    with pytest.raises(TypeError, match="normalised already"):
        normalise(normalise(image))


def test_denormalise_is_the_inverse():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    assert torch.equal(denormalise(normalise(images)), images)


@pytest.mark.parametrize("cached", [1, 1000, augment._CACHED])
def test_normalise_in_pieces_against_each_pixel(monkeypatch, cached):
    monkeypatch.setattr(augment, "_CACHED", cached)
    images = torch.randint(0, 256, (7, 3, 9, 5), dtype=torch.uint8, generator=seeded())
    for seen in (images, images[::2], images.contiguous(memory_format=torch.channels_last), images[:0]):
        result = normalise(seen)
        assert result.shape == seen.shape
        for k, c, y, x in np.ndindex(*seen.shape):
            mean, std = np.float32(augment.MEAN[c]), np.float32(augment.STD[c])
            expected = np.float32(seen[k, c, y, x]) * (np.float32(1) / (np.float32(255) * std)) - mean / std
            assert result[k, c, y, x].item() == expected


# --- flip


def test_flip_mirrors_left_to_right():
    images, parts = flip(square(), square()[:, 0], p=1.0)
    assert images[0, 0].tolist() == [[3, 2, 1, 0], [13, 12, 11, 10], [23, 22, 21, 20], [33, 32, 31, 30]]
    assert torch.equal(images[:, 0], parts)
    assert torch.equal(flip(square(), p=0.0)[0], square())


def test_flip_is_drawn_for_each_sample():
    images = square().expand(2000, -1, -1, -1)
    flipped, _ = flip(images, p=0.25, generator=seeded())
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert ((flipped == images).flatten(1).all(1) | mirrored).all()
    assert 0.2 < mirrored.float().mean() < 0.3


# --- pad and crop


def test_pad_crop_known_pixels(monkeypatch):
    monkeypatch.setattr(augment, "_integers", lambda count, end, device, generator: torch.tensor([0, 1, 2][:count]))
    images, parts = pad_crop(square().expand(3, -1, -1, -1), square()[:, 0].expand(3, -1, -1), padding=1)
    assert images[0, 0].tolist() == [[0, 0, 0, 0], [0, 0, 1, 2], [0, 10, 11, 12], [0, 20, 21, 22]]
    assert images[0, 1].tolist() == [[0, 0, 0, 0], [0, 50, 51, 52], [0, 60, 61, 62], [0, 70, 71, 72]]
    assert torch.equal(images[1], square()[0])
    assert images[2, 0].tolist() == [[11, 12, 13, 0], [21, 22, 23, 0], [31, 32, 33, 0], [0, 0, 0, 0]]
    assert torch.equal(images[:, 0], parts)


def test_pad_crop_against_a_loop_and_every_offset_is_drawn():
    images = torch.randint(1, 256, (400, 3, 6, 5), dtype=torch.uint8, generator=seeded())
    result, _ = pad_crop(images, padding=2, generator=seeded(7))
    generator = seeded(7)
    ys = torch.randint(0, 5, (400,), generator=generator)
    xs = torch.randint(0, 5, (400,), generator=generator)
    padded = torch.zeros((400, 3, 10, 9), dtype=torch.uint8)
    padded[:, :, 2:8, 2:7] = images
    for k in range(400):
        assert torch.equal(result[k], padded[k, :, ys[k] : ys[k] + 6, xs[k] : xs[k] + 5])
    assert len(set(zip(ys.tolist(), xs.tolist(), strict=True))) == 25


def moved_slowly(image, y, x, mirrored, padding):
    """Pixel by pixel: the window at (y, x) of the padded image (c, h, w), then its mirror image."""
    result = np.zeros_like(image)
    _, h, w = image.shape
    for i, j in np.ndindex(h, w):
        row, column = i + y - padding, j + x - padding
        if 0 <= row < h and 0 <= column < w:
            result[:, i, w - 1 - j if mirrored else j] = image[:, row, column]
    return result


@pytest.mark.parametrize("move", [augment._move_each, augment._move_all])
@pytest.mark.parametrize(("h", "w", "padding"), [(12, 6, 2), (7, 5, 0), (3, 4, 9), (1, 1, 1)])
def test_moving_slices_or_gathering_against_each_pixel(move, h, w, padding):
    images = torch.randint(0, 256, (40, 3, h, w), dtype=torch.uint8, generator=seeded())
    y, x = torch.randint(0, 2 * padding + 1, (2, 40), generator=seeded(1))
    mirrored = torch.rand(40, generator=seeded(2)) < 0.5
    spread = torch.zeros((40, 3, 2 * h, 3 * w), dtype=torch.uint8)[..., ::2, ::3]
    for batch in (images, spread.copy_(images), images[:, :1], images[:0]):
        result = move(batch, y[: len(batch)], x[: len(batch)], mirrored[: len(batch)], padding)
        assert result.shape == batch.shape
        for k in range(len(batch)):
            expected = moved_slowly(batch[k].numpy(), int(y[k]), int(x[k]), bool(mirrored[k]), padding)
            assert np.array_equal(result[k].numpy(), expected)


# --- shift, rotation, zoom


def test_nothing_drawn_changes_nothing():
    images = torch.randint(0, 256, (5, 3, 24, 12), dtype=torch.uint8, generator=seeded())
    parts = images[:, 0].contiguous()
    same, same_parts = shift_rotate_zoom(images, parts, shift=0, rotation=0, zoom=(1, 1))
    assert torch.equal(same, images)
    assert torch.equal(same_parts, parts)


def test_shift_known_pixels(monkeypatch):
    # 0.75 is half of the way to +1: a shift of 0.5 * 0.5 * 4 = 1 pixel down the input, so the picture moves up
    use_draws(monkeypatch, [[0.5], [0.75], [0.5]], 0.5)
    images, parts = shift_rotate_zoom(square(), square()[:, 0], shift=0.5, rotation=0, zoom=(1, 1))
    assert images[0, 0].tolist() == [[10, 11, 12, 13], [20, 21, 22, 23], [30, 31, 32, 33], [30, 31, 32, 33]]
    assert torch.equal(images[:, 0], parts)


def test_a_quarter_turn_is_exact_also_off_square(monkeypatch):
    use_draws(monkeypatch, [[1.0], [0.5], [0.5]], 0.5)
    images, _ = shift_rotate_zoom(square(), shift=0, rotation=90, zoom=(1, 1))
    assert images[0, 0].tolist() == [[3, 13, 23, 33], [2, 12, 22, 32], [1, 11, 21, 31], [0, 10, 20, 30]]
    # a centred square turned by 90 degrees in a 24x12 picture stays square: the aspect ratio is respected
    picture = torch.zeros((1, 3, 24, 12), dtype=torch.uint8)
    picture[:, :, 9:15, 3:9] = 200
    use_draws(monkeypatch, [[1.0], [0.5], [0.5]], 0.5)
    assert torch.equal(shift_rotate_zoom(picture, shift=0, rotation=90, zoom=(1, 1))[0], picture)


def test_zoom_below_one_is_closer(monkeypatch):
    picture = torch.zeros((1, 3, 24, 12), dtype=torch.uint8)
    picture[:, :, 9:15, 3:9] = 200
    use_draws(monkeypatch, 0.5, [[0.0], [1.0]])
    closer, _ = shift_rotate_zoom(picture, shift=0, rotation=0, zoom=(0.5, 1.0))
    high, wide = (closer[0, 0, :, 6] > 100).sum(), (closer[0, 0, 12] > 100).sum()
    assert (high, wide) == (12, 6)


def test_against_a_slow_reference(monkeypatch):
    b, h, w = 6, 9, 5
    images = torch.randint(0, 256, (b, 3, h, w), dtype=torch.uint8, generator=seeded())
    draw, factor = torch.rand((3, b), generator=seeded(1)), torch.rand((2, b), generator=seeded(2))
    use_draws(monkeypatch, draw, factor)
    result, _ = shift_rotate_zoom(images, shift=0.2, rotation=25, zoom=(0.8, 1.2))
    for k in range(b):
        angle = math.radians(25) * (2 * float(draw[0, k]) - 1)
        ty, tx = 0.2 * h * (2 * float(draw[1, k]) - 1), 0.2 * w * (2 * float(draw[2, k]) - 1)
        zy, zx = 0.8 + 0.4 * float(factor[0, k]), 0.8 + 0.4 * float(factor[1, k])
        for y in range(h):
            for x in range(w):
                v, u = zy * (y - (h - 1) / 2) + ty, zx * (x - (w - 1) / 2) + tx
                sy = min(max(math.sin(angle) * u + math.cos(angle) * v + (h - 1) / 2, 0), h - 1)
                sx = min(max(math.cos(angle) * u - math.sin(angle) * v + (w - 1) / 2, 0), w - 1)
                y0, x0 = min(int(sy), h - 2), min(int(sx), w - 2)
                fy, fx = sy - y0, sx - x0
                patch = images[k, :, y0 : y0 + 2, x0 : x0 + 2].double()
                weights = torch.tensor([[(1 - fy) * (1 - fx), (1 - fy) * fx], [fy * (1 - fx), fy * fx]])
                value = (patch * weights).sum((1, 2))
                assert (result[k, :, y, x].double() - value).abs().max() <= 0.51


def test_image_and_parts_stay_aligned():
    images, parts = people()
    moved, moved_parts = shift_rotate_zoom(images, parts, generator=seeded())
    # where the four neighbours agree the picture shows exactly the value of its part
    error = (moved[:, 0].float() - 30.0 * moved_parts.float()).abs()
    assert (error < 1).float().mean() > 0.7
    assert not torch.equal(moved_parts, parts)
    assert set(moved_parts.unique().tolist()) <= {0, 1, 3, 4}
    for function in (flip, pad_crop):
        moved, moved_parts = function(images, parts, generator=seeded())
        assert torch.equal(moved[:, 0], 30 * moved_parts)
        assert not torch.equal(moved_parts, parts)


# --- random erasing


def test_erasing_makes_one_rectangle_of_the_right_area_and_aspect():
    images = torch.ones((500, 3, 64, 32))
    options = {"p": 1.0, "area": (0.05, 0.2), "aspect": (0.5, 2.0), "value": (2.0, 3.0, 4.0)}
    erased = random_erasing(images, **options, generator=seeded())
    hole = erased[:, 0] == 2.0
    assert torch.equal(erased[:, 1] == 3.0, hole)
    assert torch.equal(erased[:, 2] == 4.0, hole)
    assert torch.equal(erased[:, 0] == 1.0, ~hole)
    high, wide = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(high * wide, hole.sum((1, 2)))
    share = hole.sum((1, 2)) / (64 * 32)
    assert share.min() > 0.04
    assert share.max() < 0.22
    assert 0.1 < share.mean() < 0.15
    ratio = high / wide
    assert ratio.min() > 0.4
    assert ratio.max() < 2.4
    # every pixel can be hit, the borders too
    assert hole[:, 0].any()
    assert hole[:, -1].any()
    assert hole[:, :, 0].any()
    assert hole[:, :, -1].any()


def test_erasing_probability_and_the_input_is_left_alone():
    images = torch.ones((2000, 3, 16, 8))
    erased = random_erasing(images, p=0.3, generator=seeded())
    assert 0.26 < (erased == 0).flatten(1).any(1).float().mean() < 0.34
    assert (images == 1).all()
    assert torch.equal(random_erasing(images, p=0.0), images)


def test_erasing_where_nothing_fits():
    images = torch.ones((4, 3, 64, 2))
    assert torch.equal(random_erasing(images, p=1.0, area=(0.9, 0.9), aspect=(1.0, 1.0)), images)
    with pytest.raises(TypeError, match="after normalise"):
        random_erasing(square())


@pytest.mark.parametrize("fill", [augment._fill_each, augment._fill_all])
def test_filling_slices_or_by_a_mask_against_each_pixel(fill):
    b, h, w = 40, 11, 7
    images = torch.randn((b, 3, h, w), generator=seeded())
    erased = torch.rand(b, generator=seeded(1)) < 0.5
    high, top = torch.randint(1, h, (2, b), generator=seeded(2)).float()
    wide, left = torch.randint(1, w, (2, b), generator=seeded(3)).float()  # some reach over the border
    expected = images.numpy().copy()
    for k, c, y, x in np.ndindex(*images.shape):
        if erased[k] and top[k] <= y < top[k] + high[k] and left[k] <= x < left[k] + wide[k]:
            expected[k, c, y, x] = c + 2
    colour = torch.tensor([2.0, 3.0, 4.0]).view(3, 1, 1)
    for batch in (images, images.contiguous(memory_format=torch.channels_last)):
        assert np.array_equal(fill(batch.clone(), erased, top, high, left, wide, colour).numpy(), expected)


# --- background


def test_background():
    images, parts = people(2)
    result = remove_background(images, parts)
    assert (result[:, :, 0, 0] == torch.tensor([124, 116, 104], dtype=torch.uint8)).all()
    assert torch.equal(result[:, :, 8, 5], images[:, :, 8, 5])
    assert (remove_background(images, parts, (1, 2, 3))[0, :, 0, 0] == torch.tensor([1, 2, 3], dtype=torch.uint8)).all()
    with pytest.raises(ValueError, match="has none"):
        remove_background(images, None)


# --- all together


ALL = Augment(flip=0.5, padding=3, shift=0.2, rotation=25, zoom=(0.8, 1.2), background=False, erasing=0.5)


def test_the_default_only_normalises():
    images, parts = people(3)
    result, same = Augment()(images, parts)
    assert torch.equal(result, normalise(images))
    assert same is parts


def test_each_half_is_a_part_of_the_call():
    images, parts = people()
    whole, whole_parts = ALL(images, parts, seeded())
    generator = seeded()
    moved, moved_parts = ALL.geometry(images, parts, generator)
    assert moved.dtype == torch.uint8
    assert torch.equal(moved_parts, whole_parts)
    before = moved.clone()
    assert torch.equal(ALL.finish(moved, generator), whole)
    assert torch.equal(moved, before)


@pytest.mark.parametrize("vectorised", [False, True])
def test_crop_and_flip_together_are_one_after_the_other(monkeypatch, vectorised):
    images, parts = people()
    generator = seeded()
    expected, expected_parts = flip(*pad_crop(images, parts, 3, generator), generator=generator)
    if vectorised:
        monkeypatch.setattr(augment, "_move_each", augment._move_all)
    found, found_parts = Augment(flip=0.5, padding=3).geometry(images, parts, seeded())
    assert torch.equal(found, expected)
    assert torch.equal(found_parts, expected_parts)


def test_same_generator_same_batch_and_inputs_are_left_alone():
    images, parts = people()
    before = images.clone(), parts.clone()
    first, second, other = ALL(images, parts, seeded(1)), ALL(images, parts, seeded(1)), ALL(images, parts, seeded(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(images, before[0])
    assert torch.equal(parts, before[1])
    assert first[0].shape == images.shape
    assert first[0].dtype == torch.float32
    assert first[1].dtype == torch.uint8


def test_parts_do_not_change_what_is_drawn_for_the_image():
    images, parts = people()
    assert torch.equal(THESIS(images, parts, seeded())[0], THESIS(images, None, seeded())[0])
    assert THESIS(images, None, seeded())[1] is None


def test_erasing_does_not_touch_the_parts():
    images, parts = people()
    assert torch.equal(Augment(erasing=1.0)(images, parts, seeded())[1], parts)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same():
    images, parts = people()
    here, there = ALL(images, parts, seeded()), ALL(images.cuda(), parts.cuda(), seeded())
    assert (here[0] - there[0].cpu()).abs().gt(0.05).float().mean() < 0.01
    assert (here[1] != there[1].cpu()).float().mean() < 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_finished_on_a_gpu():
    images, parts = people()
    flat = Augment(flip=0.5, padding=3, background=False, erasing=0.5)
    generator = seeded()
    there = flat.finish(flat.geometry(images, parts, generator)[0].cuda(), generator)
    torch.testing.assert_close(there.cpu(), flat(images, parts, seeded())[0])
