import pytest
import torch

from reidlib import results


def images(n, size=(16, 8)):
    """One colour an image, so that WebP keeps it."""
    return torch.stack([torch.full((3, *size), 20 * i, dtype=torch.uint8) for i in range(n)])


def test_a_sheet_gives_back_its_images_in_order(tmp_path):
    file = tmp_path / "sheet.webp"
    file.write_bytes(results.as_sheet(images(7), columns=3))
    found = results.from_sheet(file, 7, (16, 8))
    assert found.shape == (7, 3, 16, 8)
    assert (found.float() - images(7).float()).abs().max() <= 4
    assert (results.from_sheet(file, 9, (16, 8))[7:] >= 251).all()  # places that are left over are white


def test_places_within_an_image_are_kept(tmp_path):
    image = torch.zeros(1, 3, 32, 16, dtype=torch.uint8)
    image[0, :, :16, 8:] = 255  # upper right
    file = tmp_path / "sheet.webp"
    file.write_bytes(results.as_sheet(torch.cat([image, image.flip(-1)]), columns=1))
    found = results.from_sheet(file, 2, (32, 16)).float()
    assert found[0, :, 4:12, 11:14].min() > 200
    assert found[0, :, 20:28].max() < 60
    assert found[1, :, 4:12, 2:5].min() > 200


def test_what_is_no_sheet_is_refused(tmp_path):
    with pytest.raises(ValueError, match="uint8"):
        results.as_sheet(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match="uint8"):
        results.as_sheet(torch.zeros(0, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="too large"):
        results.as_sheet(images(2, (16, 16380)), columns=2)
    file = tmp_path / "sheet.webp"
    file.write_bytes(results.as_sheet(images(4), columns=2))
    with pytest.raises(ValueError, match="does not hold 5 images of 16x8"):
        results.from_sheet(file, 5, (16, 8))
    with pytest.raises(ValueError, match="does not hold"):
        results.from_sheet(file, 1, (24, 8))


def test_the_sheet_of_a_record_is_found_beside_it(tmp_path, make):
    record = make("a")
    assert results.sheet_of(record) is None
    folder = results.save(record, tmp_path / record.id, {"sheet.webp": b"x"})
    assert results.sheet_of(results.load(folder)) == folder / "sheet.webp"
    flat = tmp_path / "recorded"
    flat.mkdir()
    (flat / f"{record.id}.json").write_text((folder / "record.json").read_text())
    assert results.sheet_of(results.load_all(flat)[0]) is None
    (flat / f"{record.id}.webp").write_bytes(b"x")
    assert results.sheet_of(results.load_all(flat)[0]) == flat / f"{record.id}.webp"
