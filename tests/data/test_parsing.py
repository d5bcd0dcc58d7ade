import numpy as np
import pytest
import torch
from PIL import Image

from reidlib.data import parsing
from reidlib.data.pedestrians import PART_NAMES


def test_numbers_of_classes():
    assert {name: len(labels) for name, labels in parsing.CLASSES.items()} == {
        "lip": 20, "atr": 18, "pascal": 7, "drawn": 8,
    }  # fmt: skip
    assert parsing.classes("drawn") == PART_NAMES
    assert all(labels[0] == "background" and len(set(labels)) == len(labels) for labels in parsing.CLASSES.values())


@pytest.mark.parametrize("scheme", parsing.CLASSES)
def test_every_class_is_in_one_set(scheme):
    kinds = ("upper", "lower", "shoes", "head", "skin", "carried")
    found = [value for kind in kinds for value in parsing.members(scheme, kind)]
    assert sorted(found) == list(range(1, len(parsing.classes(scheme)))) == list(parsing.members(scheme, "person"))
    clothes, identity = (set(parsing.members(scheme, name)) for name in ("clothes", "identity"))
    assert clothes
    assert not clothes & identity
    assert clothes | identity | set(parsing.members(scheme, "carried")) == set(found)


@pytest.mark.parametrize(
    ("scheme", "name", "values"),
    [
        ("lip", "upper", (5, 6, 7, 10, 11)), ("lip", "lower", (8, 9, 12)), ("lip", "shoes", (18, 19)),
        ("lip", "skin", (14, 15, 16, 17)), ("lip", "head", (1, 2, 4, 13)),
        ("atr", "upper", (4, 7, 17)), ("atr", "lower", (5, 6, 8)), ("atr", "clothes", (4, 5, 6, 7, 8, 9, 10, 17)),
        ("atr", "identity", (1, 2, 3, 11, 12, 13, 14, 15)), ("pascal", "upper", (2, 3, 4)), ("pascal", "shoes", ()),
        ("drawn", "clothes", (3, 4, 6)), ("drawn", "identity", (1, 2, 5)), ("drawn", "carried", (7,)),
    ],
)  # fmt: skip
def test_members_by_hand(scheme, name, values):
    assert parsing.members(scheme, name) == values


def test_select():
    parts = torch.tensor([[[0, 3, 4], [5, 6, 7]]], dtype=torch.uint8)
    assert parsing.select(parts, "drawn", "clothes").tolist() == [[[False, True, True], [False, True, False]]]
    assert parsing.select(parts, "drawn", "person").sum() == 5


def test_values_out_of_range():
    parts = torch.tensor([[[18]]], dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"holds the value 18, but 'atr' has the classes 0\.\.17; is it .* set lip\?"):
        parsing.select(parts, "atr", "clothes")
    with pytest.raises(ValueError, match=r"value 255.*is it a picture in colours"):
        parsing.check(parts + 237, "lip")
    with pytest.raises(ValueError, match="unknown label set 'schp'; the label sets are lip, atr, pascal, drawn"):
        parsing.members("schp", "clothes")
    with pytest.raises(ValueError, match="unknown set 'trousers' of classes"):
        parsing.members("lip", "trousers")


def test_files(tmp_path):
    image, mask = tmp_path / "a.jpg", tmp_path / "a.png"
    Image.new("RGB", (8, 16)).save(image)
    labels = np.zeros((16, 8), np.uint8)
    labels[3, 3] = 19
    Image.fromarray(labels).save(mask)
    assert parsing.check_file(mask, image) == 19
    with pytest.raises(ValueError, match="value 19, but 'pascal'"):
        parsing.check_file(mask, image, "pascal")
    Image.fromarray(labels).convert("P").save(mask)
    assert parsing.check_file(mask, image, "lip") == 19
    Image.fromarray(labels[:8]).save(mask)
    with pytest.raises(ValueError, match="has 8x8 pixels and its image 8x16"):
        parsing.check_file(mask, image)
    Image.fromarray(labels).convert("RGB").save(mask)
    with pytest.raises(ValueError, match="has mode 'RGB'"):
        parsing.check_file(mask, image)
    mask.write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read"):
        parsing.check_file(mask, image)
