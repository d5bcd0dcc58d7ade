import numpy as np
import pytest
import torch
from PIL import Image

from reidlib.data import parsing
from reidlib.data.augment import Augment, normalise
from reidlib.data.clothing import Views, clothing_pixels, mask_clothing, views
from reidlib.data.decode import ImageError
from reidlib.data.pedestrians import draw
from reidlib.data.store import ImageStore

GEOMETRY = Augment(flip=0.5, padding=3, shift=0.1, rotation=15.0, zoom=(0.9, 1.1))
FLAT = Augment(flip=0.5, padding=3)  # moves whole pixels, so that values stay what they are


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def people(b=32, h=24, w=12):
    """Images that encode their part map: part k has the grey value 30 * k."""
    parts = torch.zeros((b, h, w), dtype=torch.uint8)
    parts[:, 3:7, 4:8] = 1
    parts[:, 7:14, 3:9] = 3
    parts[:, 14:19, 4:9] = 4
    parts[:, 19:21, 4:6] = 6
    return (30 * parts)[:, None].expand(-1, 3, -1, -1).contiguous(), parts


# --- clothing_pixels


@pytest.mark.parametrize(
    ("scheme", "sets", "values"),
    [
        ("drawn", "upper+lower", [3, 4]),
        ("drawn", "upper", [3]),
        ("drawn", "clothes", [3, 4, 6]),
        ("drawn", "upper + shoes", [3, 6]),
        ("drawn", "clothes+upper", [3, 4, 6]),
        ("lip", "upper+lower", [5, 6, 7, 8, 9, 10, 11, 12]),
        ("atr", "upper+lower+carried", [4, 5, 6, 7, 8, 16, 17]),
        ("pascal", "upper+shoes", [2, 3, 4]),
    ],
)
def test_classes_that_are_clothes(scheme, sets, values):
    every = torch.arange(len(parsing.classes(scheme)), dtype=torch.uint8).view(1, 1, -1)
    found = clothing_pixels(every, scheme, sets)
    assert found.dtype == torch.bool
    assert found.shape == every.shape
    assert found.flatten().nonzero().flatten().tolist() == values


def test_a_union_is_that_of_its_sets():
    parts = torch.randint(0, 20, (3, 9, 7), generator=seeded()).to(torch.uint8)
    both = parsing.select(parts, "lip", "upper") | parsing.select(parts, "lip", "head")
    assert torch.equal(clothing_pixels(parts, "lip", "upper+head"), both)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sets": "upper+trousers"}, "unknown set 'trousers' of classes; the sets are person, clothes"),
        ({"sets": "upper,lower"}, "unknown set 'upper,lower'"),
        ({"sets": ""}, "unknown set ''"),
        ({"scheme": "schp"}, "unknown label set 'schp'; the label sets are lip"),
        ({"scheme": "pascal", "sets": "shoes"}, "'pascal' has no class in 'shoes', so nothing would be clothes"),
        ({"scheme": "pascal"}, "holds the value 7, but 'pascal' has the classes 0..6; is it of the label set lip"),
    ],
)
def test_wrong_names_and_values(options, words):
    with pytest.raises(ValueError, match=words):
        clothing_pixels(torch.full((1, 2, 2), 7, dtype=torch.uint8), **options)


def test_label_maps_are_uint8():
    with pytest.raises(ValueError, match=r"label maps are uint8 class numbers, not torch.float32"):
        clothing_pixels(torch.zeros(1, 2, 2))


# --- mask_clothing


def test_only_clothes_are_replaced():
    images = torch.rand(2, 3, 2, 2, generator=seeded()) + 1
    before = images.clone()
    clothing = torch.tensor([[[True, False], [False, False]], [[False, False], [True, True]]])
    masked = mask_clothing(images, clothing)
    for k, y, x in np.ndindex(2, 2, 2):
        expected = torch.zeros(3) if clothing[k, y, x] else before[k, :, y, x]
        assert torch.equal(masked[k, :, y, x], expected)
    assert torch.equal(images, before)
    assert mask_clothing(images, clothing, 0.5)[1, :, 1, 0].tolist() == [0.5] * 3
    assert mask_clothing(images, clothing, (1.0, 2.0, 3.0))[0, :, 0, 0].tolist() == [1, 2, 3]
    assert mask_clothing(images.bfloat16(), clothing).dtype == torch.bfloat16


def test_masks_that_do_not_fit():
    images = torch.zeros(2, 3, 4, 5)
    with pytest.raises(
        ValueError, match=r"clothing must be bool \(2, 4, 5\) beside these images, not bool \(2, 5, 4\)"
    ):
        mask_clothing(images, torch.zeros(2, 5, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"not bool \(1, 4, 5\)"):
        mask_clothing(images, torch.zeros(1, 4, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"not uint8 \(2, 4, 5\)"):
        mask_clothing(images, torch.zeros(2, 4, 5, dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"after normalise, not torch\.uint8"):
        mask_clothing(images.to(torch.uint8), torch.zeros(2, 4, 5, dtype=torch.bool))


# --- views


def test_without_augmentation():
    images, parts = people(2)
    seen = views(images, parts)
    assert isinstance(seen, Views)
    torch.testing.assert_close(seen.images, normalise(images), rtol=0, atol=0)
    assert seen.clothing.tolist() == ((parts == 3) | (parts == 4)).tolist()
    assert seen.masked[:, :, 8, 5].eq(0).all()
    kept = ~seen.clothing[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(seen.masked[kept], seen.images[kept])
    assert seen.images.dtype == seen.masked.dtype == torch.float32


def test_sets_and_scheme_are_used():
    images, parts = people(1)
    assert views(images, parts, sets="clothes").clothing.sum() == (parts >= 3).sum()
    assert views(images, parts, scheme="lip", sets="head").clothing.sum() == ((parts == 1) | (parts == 4)).sum()


def test_image_map_and_masked_image_move_together():
    """The grey value of every pixel says its class, so a map that moved otherwise would show."""
    images, parts = people()
    seen = views(images, parts, augment=FLAT, generator=seeded())
    grey = normalise(images)[:, 0]
    values = {part: grey[parts == part][0] for part in (0, 1, 3, 4, 6)}
    dressed = (seen.images[:, 0] == values[3]) | (seen.images[:, 0] == values[4])
    assert torch.equal(seen.clothing, dressed)
    assert seen.masked[seen.clothing[:, None].expand(-1, 3, -1, -1)].eq(0).all()
    assert torch.equal(seen.masked[:, 0][~dressed], seen.images[:, 0][~dressed])
    assert len({bytes(one.numpy()) for one in seen.clothing}) > 10


def test_geometry_is_that_of_augment():
    images, parts = people()
    seen = views(images, parts, augment=GEOMETRY, generator=seeded(3))
    expected, moved = GEOMETRY(images, parts, seeded(3))
    torch.testing.assert_close(seen.images, expected, rtol=0, atol=0)
    assert torch.equal(seen.clothing, clothing_pixels(moved))
    torch.testing.assert_close(seen.masked, mask_clothing(expected, clothing_pixels(moved)), rtol=0, atol=0)


def test_a_generator_repeats_and_another_does_not():
    images, parts = people()
    first, again, other = (views(images, parts, augment=GEOMETRY, generator=seeded(k)) for k in (0, 0, 1))
    for name in ("images", "masked", "clothing"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


def test_what_would_spoil_the_masked_image_is_refused():
    images, parts = people(2)
    with pytest.raises(ValueError, match=r"augment.erasing=0.5 would erase the masked image too; leave it 0"):
        views(images, parts, augment=Augment(erasing=0.5))
    with pytest.raises(ValueError, match=r"background=False would blank what the masked image must keep"):
        views(images, parts, augment=Augment(background=False))


def test_no_label_maps():
    images, parts = people(2)
    with pytest.raises(ValueError, match=r"has none: put one at parts/PATH_OF_THE_IMAGE.png .* such as SCHP"):
        views(images, None)
    with pytest.raises(ValueError, match=r"label maps must be uint8 \(2, 24, 12\) .*, not uint8 \(1, 24, 12\)"):
        views(images, parts[:1])
    with pytest.raises(ValueError, match=r"not uint8 \(2, 12, 24\)"):
        views(images, parts.mT)


def test_an_empty_batch():
    images, parts = people(2)
    seen = views(images[:0], parts[:0], augment=FLAT)
    assert seen.images.shape == seen.masked.shape == (0, 3, 24, 12)
    assert seen.clothing.shape == (0, 24, 12)


def test_drawn_people():
    """Of drawn people the clothes are a good part of the picture, and never the head."""
    _, images, parts = draw("viper-like", (32, 16))
    images, parts = images[:40], parts[:40]
    seen = views(images, parts)
    share = seen.clothing.float().mean((1, 2))
    assert share.min() > 0.05
    assert share.max() < 0.6
    assert not (seen.clothing & ((parts == 1) | (parts == 2) | (parts == 0))).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    images, parts = people()
    here = views(images, parts, augment=FLAT, generator=seeded())
    there = views(images.cuda(), parts.cuda(), augment=FLAT, generator=seeded())
    assert torch.equal(here.clothing, there.clothing.cpu())
    torch.testing.assert_close(here.images, there.images.cpu())
    torch.testing.assert_close(here.masked, there.masked.cpu())


# --- from files


@pytest.fixture
def files(tmp_path):
    """Three pictures and their label maps, whose middle rows are an upper garment."""
    paths, masks = [], []
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (16, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
        labels = np.zeros((16, 8), np.uint8)
        labels[4:12, 2:6] = 3
        labels[2:4, 2:6] = 1
        Image.fromarray(labels).save(tmp_path / f"{k}_parts.png")
        paths.append(tmp_path / f"{k}.png")
        masks.append(tmp_path / f"{k}_parts.png")
    return paths, masks


def stored_views(paths, masks, **options):
    store = ImageStore.from_files(paths, (16, 8), masks=masks, progress=False)
    return views(*store.batch(range(len(paths))), **options)


def test_an_image_without_a_map_keeps_its_clothes(files):
    paths, masks = files
    seen = stored_views(paths, [masks[0], None, masks[2]])
    assert seen.clothing.flatten(1).sum(1).tolist() == [32, 0, 32]
    assert torch.equal(seen.masked[1], seen.images[1])
    assert not torch.equal(seen.masked[0], seen.images[0])
    moved = stored_views(paths, [masks[0], None, masks[2]], augment=GEOMETRY, generator=seeded())
    assert not moved.clothing[1].any()
    assert torch.equal(moved.masked[1], GEOMETRY(*stored(paths, masks), seeded())[0][1])


def stored(paths, masks):
    return ImageStore.from_files(paths, (16, 8), masks=masks, progress=False).batch(range(len(paths)))


def test_no_map_at_all(files):
    with pytest.raises(ValueError, match="this data set has none"):
        stored_views(files[0], [None] * 3)


@pytest.mark.parametrize("scale", [2, 0.5])
def test_a_map_of_another_size_is_resized_without_new_classes(files, scale):
    paths, masks = files
    expected = stored_views(paths, masks).clothing
    with Image.open(masks[1]) as image:
        other = image.resize((int(8 * scale), int(16 * scale)), Image.Resampling.NEAREST)
    other.save(masks[1])
    assert torch.equal(stored_views(paths, masks).clothing, expected)


def test_a_palette_map_is_read_by_its_numbers(files):
    paths, masks = files
    expected = stored_views(paths, masks).clothing
    with Image.open(masks[1]) as image:
        coloured = image.convert("P")
    coloured.putpalette([v for k in range(256) for v in (255 - k, k, 99)])
    coloured.save(masks[1])
    with Image.open(masks[1]) as image:
        assert image.mode == "P"
    assert torch.equal(stored_views(paths, masks).clothing, expected)


def test_broken_and_coloured_maps_are_named(files):
    paths, masks = files
    Image.new("RGB", (8, 16)).save(masks[2])
    with pytest.raises(ImageError, match=r"2_parts\.png: a part map is an 8-bit grey or palette picture.*'RGB'.*row 2"):
        stored_views(paths, masks)
    masks[2].write_bytes(masks[0].read_bytes()[:40])
    with pytest.raises(ImageError, match=r"cannot decode .*2_parts\.png"):
        stored_views(paths, masks)
    masks[2].unlink()
    with pytest.raises(ImageError, match=r"2_parts\.png: there is no such file"):
        stored_views(paths, masks)


def test_a_map_of_another_label_set_is_refused(files):
    paths, masks = files
    Image.fromarray(np.full((16, 8), 13, np.uint8)).save(masks[0])
    with pytest.raises(ValueError, match=r"value 13, but 'drawn' has the classes 0\.\.7; is it of the label set lip"):
        stored_views(paths, masks)
    assert stored_views(paths, masks, scheme="lip", sets="head").clothing[0].all()
