import pytest

from reidlib.data import market1501

FILES = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c6s3_000776_01.jpg", "0007_c2s3_070952_01.jpg"],
    "query": ["0001_c1s1_001051_00.jpg", "0003_c4s6_015641_00.jpg"],
    "bounding_box_test": [
        "0001_c2s1_000301_00.jpg",
        "0003_c1s6_015971_02.jpg",
        "0000_c1s1_000151_01.jpg",
        "-1_c3s1_000401_03.jpg",
        "-1_c3s1_000401_04.jpg",
    ],
}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "Market-1501-v15.09.15"
    for folder, names in FILES.items():
        (root / folder).mkdir(parents=True)
        for name in [*names, "Thumbs.db", "._0001_c1s1_000001_00.jpg"]:
            (root / folder / name).touch()
    return root


def test_every_field_of_every_file(root):
    frame = market1501.read(root)
    found = list(zip(frame.split, frame.pid, frame.camid, frame.path, strict=True))
    assert found == [
        ("train", 2, 0, "bounding_box_train/0002_c1s1_000451_03.jpg"),
        ("train", 2, 5, "bounding_box_train/0002_c6s3_000776_01.jpg"),
        ("train", 7, 1, "bounding_box_train/0007_c2s3_070952_01.jpg"),
        ("query", 1, 0, "query/0001_c1s1_001051_00.jpg"),
        ("query", 3, 3, "query/0003_c4s6_015641_00.jpg"),
        ("gallery", -1, 2, "bounding_box_test/-1_c3s1_000401_03.jpg"),
        ("gallery", -1, 2, "bounding_box_test/-1_c3s1_000401_04.jpg"),
        ("gallery", 0, 0, "bounding_box_test/0000_c1s1_000151_01.jpg"),
        ("gallery", 1, 1, "bounding_box_test/0001_c2s1_000301_00.jpg"),
        ("gallery", 3, 0, "bounding_box_test/0003_c1s6_015971_02.jpg"),
    ]
    assert (frame.clothes == -1).all()
    assert frame["mask"].isna().all()


def test_the_parent_folder_will_do(root):
    (root.parent / "other").mkdir()
    assert market1501.find_root(root.parent) == root
    assert market1501.read(root.parent).equals(market1501.read(str(root)))


def test_hand_drawn_boxes_are_the_multi_split(root):
    (root / "gt_bbox").mkdir()
    (root / "gt_bbox" / "0001_c1s1_001051_00.jpg").touch()
    frame = market1501.read(root)
    assert frame[frame.split == "multi"].path.tolist() == ["gt_bbox/0001_c1s1_001051_00.jpg"]


def test_part_maps_are_found(root):
    (root / "parts" / "query").mkdir(parents=True)
    (root / "parts" / "query" / "0001_c1s1_001051_00.png").touch()
    frame = market1501.read(root)
    masks = frame.set_index("path")["mask"]
    assert masks["query/0001_c1s1_001051_00.jpg"] == "parts/query/0001_c1s1_001051_00.png"
    assert masks.drop("query/0001_c1s1_001051_00.jpg").isna().all()


def test_counts_beside_the_published_ones(root):
    table = market1501.counts(market1501.read(root))
    assert table.loc["train"].tolist() == [3, 2, 12936, 751, False]
    assert table.loc["gallery", ["images", "identities"]].tolist() == [3, 3]
    assert table.images.to_dict() == {"train": 3, "query": 2, "gallery": 3, "distractors": 1, "junk": 2, "multi": 0}
    assert not table.agrees.any()


def test_counts_agree_when_they_do(root, monkeypatch):
    expected = {"train": (3, 2), "junk": (2, None), "query": (2, 3)}
    published = {name: {"images": images, "identities": pids} for name, (images, pids) in expected.items()}
    monkeypatch.setattr(market1501, "EXPECTED", published)
    assert market1501.counts(market1501.read(root)).agrees.to_dict() == {"train": True, "junk": True, "query": False}


def test_published_counts_add_up():
    published = market1501.EXPECTED
    assert published["gallery"]["images"] + published["junk"]["images"] == 19_732
    assert published["train"]["images"] + 19_732 == 32_668


def test_a_missing_root_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*_train, query.*book/datasets/market1501\.md"):
        market1501.read(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"has no bounding_box_train.*book/datasets/market1501\.md"):
        market1501.read(tmp_path)


def test_a_missing_or_empty_folder_is_named(root):
    for name in FILES["query"]:
        (root / "query" / name).unlink()
    with pytest.raises(FileNotFoundError, match="query holds no jpg"):
        market1501.read(root)
    for path in (root / "query").iterdir():
        path.unlink()
    (root / "query").rmdir()
    with pytest.raises(FileNotFoundError, match=r"Market-1501-v15.09.15 has no query: "):
        market1501.read(root)


def test_two_data_sets_in_the_parent(root):
    (root.parent / "copy" / "bounding_box_train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"several data sets \(Market-1501-v15.09.15, copy\)"):
        market1501.read(root.parent)


@pytest.mark.parametrize("name", ["1_c1.jpg", "0001_c1s1_001051_00_extra.jpg", "x0001_c1s1_001051_00.jpg"])
def test_a_strange_name_is_named(root, name):
    (root / "query" / name).touch()
    with pytest.raises(ValueError, match=f"1 of 3 files.*first: {name}"):
        market1501.read(root)
