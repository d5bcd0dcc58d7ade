"""Each reader on a hand-made folder, with what practice brings: odd files, two-digit cameras, numbers that restart."""

import numpy as np
import pytest

from reidlib.data import fingerprint, load, market1501, reader_of
from reidlib.data.frame import rows_of


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def rows(frame, *columns):
    return list(zip(*(frame[c] for c in ("split", *columns)), strict=True))


def litter(root):
    """What operating systems and people leave behind."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        touch(folder, "Thumbs.db", "._0001_c1s1_000001_00.jpg", ".DS_Store", "readme.txt")


# --- DukeMTMC-reID


def test_duke(tmp_path):
    root = touch(
        tmp_path / "DukeMTMC-reID",
        "bounding_box_train/0001_c2_f0046182.jpg", "bounding_box_train/0001_c8_f0046200.jpg",
        "query/0005_c2_f0046985.jpg", "bounding_box_test/0005_c1_f0047345.jpg",
        "bounding_box_test/0009_c1_f0000005.jpg",
    )  # fmt: skip
    litter(root)
    frame = reader_of("dukemtmc").read(tmp_path)
    assert rows(frame, "pid", "camid") == [
        ("train", 1, 1), ("train", 1, 7), ("query", 5, 1), ("gallery", 5, 0), ("gallery", 9, 0),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"not named like 0001_c1s1"):
        market1501.read(root)


# --- MSMT17


@pytest.fixture(params=["train test", "mask_train_v2 mask_test_v2"])
def msmt(tmp_path, request):
    root = tmp_path / "MSMT17"
    train, test = request.param.split()
    lists = {
        "list_train.txt": (train, ["0000/0000_000_01_0303morning_0015_0.jpg 0", "0001/0001_000_15_0303noon_2_1.jpg 1"]),
        "list_val.txt": (train, ["0000/0000_001_12_0303morning_0015_0.jpg 0"]),
        "list_query.txt": (test, ["0000/0000_000_14_0303morning_0015_0.jpg 0"]),
        "list_gallery.txt": (test, ["0000/0000_001_01_0303noon_0015_0.jpg 0", "0002/0002_000_10_0303noon_15_0.jpg 2"]),
    }  # fmt: skip
    for name, (folder, lines) in lists.items():
        touch(root / folder, *(line.split()[0] for line in lines))
        (root / name).write_text("".join(line + "\n" for line in lines))
    litter(root)
    return root


def test_msmt_person_0000_is_a_person_and_another_one_in_the_test_set(msmt):
    frame = reader_of("msmt17").read(msmt.parent)
    assert rows(frame, "pid", "camid") == [
        ("train", 1, 0), ("train", 1, 11), ("train", 2, 14), ("query", 3, 13), ("gallery", 3, 0), ("gallery", 5, 9),
    ]  # fmt: skip
    assert not (frame["pid"] <= 0).any()


def test_msmt_val_list(msmt):
    frame = reader_of("msmt17").read(msmt, train="train")
    assert rows(frame, "pid")[:3] == [("train", 1), ("train", 2), ("val", 1)]
    with pytest.raises(ValueError, match=r"train='val' is not one of 'train\+val', 'train'"):
        reader_of("msmt17").read(msmt, train="val")


# --- CUHK03-NP, VIPeR


def test_cuhk03_np(tmp_path):
    files = [
        "bounding_box_train/0003_c1_21.png", "bounding_box_train/0003_c2_26.png", "query/0001_c1_1.png",
        "bounding_box_test/0001_c2_2.png",
    ]  # fmt: skip
    root = touch(tmp_path / "cuhk03-np", *(f"{boxes}/{file}" for boxes in ("labeled", "detected") for file in files))
    litter(root)
    frame = reader_of("cuhk03-np").read(root)
    assert rows(frame, "pid", "camid") == [("train", 4, 0), ("train", 4, 1), ("query", 6, 0), ("gallery", 6, 1)]
    assert frame["path"].str.startswith("detected/").all()
    labelled = reader_of("cuhk03-np").read(tmp_path, boxes="labelled")
    assert labelled["path"].str.startswith("labeled/").all()


@pytest.fixture
def viper(tmp_path):
    names = [f"{n:03d}_{45 * (n % 5)}.bmp" for n in (0, 1, 2, 7, 45, 872, 90, 91)]
    root = touch(tmp_path / "VIPeR", *(f"cam_a/{name}" for name in names), *(f"cam_b/{n[:4]}90.bmp" for n in names))
    litter(root)
    return root


def test_viper_halves_directions_and_pairs(viper):
    reader = reader_of("viper")
    frames = [reader.read(viper, split=k) for k in range(10)]
    for frame in frames:
        assert frame.groupby("split")["pid"].nunique().to_dict() == {"train": 4, "query": 4, "gallery": 4}
        assert set(frame.loc[frame.split == "query", "camid"]) == {0}
        assert set(frame.loc[frame.split == "gallery", "camid"]) == {1}
        by_file = frame["path"].str.extract(r"/(\d+)_")[0].astype(int) + 1
        assert by_file.tolist() == frame["pid"].tolist()
    trains = {tuple(frame.loc[frame.split == "train", "path"]) for frame in frames}
    assert len(trains) > 5
    assert frames[3].equals(reader.read(viper, split=3))
    other = reader.read(viper, split=3, query="b")
    assert set(other.loc[other.split == "query", "camid"]) == {1}
    assert set(other.loc[other.split == "query", "pid"]) == set(frames[3].loc[frames[3].split == "query", "pid"])


# --- PRCC, LTCC


def test_prcc_outfits_and_numbers_that_restart(tmp_path):
    root = touch(
        tmp_path / "prcc",
        "rgb/train/001/A_cropped_rgb001.jpg", "rgb/train/001/B_cropped_rgb2.jpg", "rgb/train/001/C_cropped_rgb003.jpg",
        "rgb/val/001/C_cropped_rgb001.jpg",
        "rgb/test/A/001/cropped_rgb001.jpg", "rgb/test/B/001/cropped_rgb001.jpg", "rgb/test/C/001/cropped_rgb001.jpg",
        "sketch/train/001/A_sketch.jpg", "sketch/test/A/001/sketch.jpg",
    )  # fmt: skip
    litter(root)
    frame = reader_of("prcc").read(tmp_path)
    assert rows(frame, "pid", "camid", "clothes") == [
        ("train", 2, 0, 4), ("train", 2, 1, 4), ("train", 2, 2, 5), ("val", 2, 2, 5),
        ("query", 4, 1, 8), ("query", 4, 2, 9), ("gallery", 4, 0, 8),
    ]  # fmt: skip
    assert not frame["path"].str.contains("sketch").any()


def test_ltcc_in_a_folder_with_c_in_its_name(tmp_path):
    root = touch(
        tmp_path / "my_c1_data_c7" / "LTCC_ReID",
        "train/000_1_c11_015833.png", "train/000_2_c2_000001.png", "train/003_1_c1_000001.png",
        "query/000_1_c12_000001.png", "test/000_1_c1_000002.png", "test/000_4_c3_000002.png", "info/ids.txt",
    )  # fmt: skip
    litter(root)
    frame = reader_of("ltcc").read(root.parent)
    assert rows(frame, "pid", "camid", "clothes") == [
        ("train", 1, 1, 1), ("train", 1, 10, 0), ("train", 4, 0, 2),
        ("query", 5, 11, 3), ("gallery", 5, 0, 3), ("gallery", 5, 2, 4),
    ]  # fmt: skip


# --- one's own pictures


def test_flat_folder_numbers_people_and_cameras_in_natural_order(tmp_path):
    root = touch(
        tmp_path, "9_c1_a.jpg", "9_c10_a.png", "10_cam2_x.JPG", "10_cam10_x.jpg", "0000_1.jpg", "0000_2.jpg",
        "alice_2-z.bmp", "alice_1.jpeg",
    )  # fmt: skip
    litter(root)
    (root / "._0001_c1s1_000001_00.jpg").unlink()
    frame = reader_of("folder").read(root)
    first = frame.drop_duplicates("pid").set_index("pid")["path"].str.split("_").str[0].to_dict()
    assert {n: first[n] for n in sorted(first)} == {1: "0000", 2: "9", 3: "10", 4: "alice"}
    cameras = frame.set_index("path")["camid"]
    assert [cameras[p] for p in ("0000_1.jpg", "10_cam2_x.JPG", "9_c10_a.png")] == [0, 1, 2]
    assert (frame["pid"] > 0).all()


def test_every_query_of_an_unsplit_folder_has_a_match(tmp_path):
    rng = np.random.default_rng(0)
    names = {f"{p}_{c}_{n}.jpg" for p in range(30) for c in rng.permutation(4)[: 1 + p % 3] for n in range(1 + p % 4)}
    touch(tmp_path, *names)
    for seed in range(5):
        frame = reader_of("folder").read(tmp_path, train=0.5, seed=seed)
        assert frame.loc[frame.split == "train", "pid"].nunique() == 15
        query, gallery = (frame[frame.split == split] for split in ("query", "gallery"))
        seen = gallery.groupby("pid")["camid"].agg(set)
        assert len(query)
        assert all(seen[p] - {c} for p, c in zip(query.pid, query.camid, strict=True))
        assert not query.duplicated(["pid", "camid"]).any()


def test_a_folder_for_each_person(tmp_path):
    root = touch(tmp_path, "ann/c1_1.jpg", "ann/view_cam2_1.jpg", "bob/Camera1.jpg", "bob/x-c2.jpg")
    frame = reader_of("folder").read(root)
    assert frame.sort_values("path")[["pid", "camid"]].to_numpy().tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]


def test_persons_without_cameras_are_one_camera(tmp_path):
    frame = reader_of("folder").read(touch(tmp_path, "ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "bob/2.jpg", "eve/7.jpg"))
    assert frame.groupby("split")["pid"].nunique().to_dict() == {"gallery": 3, "query": 2}
    assert set(frame["camid"]) == {0}


def test_split_folders_pattern_junk_and_outfits(tmp_path):
    root = touch(
        tmp_path,
        "train/A/x7-red.jpg",
        "query/B/x7-red.jpg",
        "test/B/x8-blue.jpg",
        "test/-1/x8-red.jpg",
        "test/0000/x7-.jpg",
    )
    pattern = r"(?P<pid>[^/]+)/x(?P<camid>\d)-(?P<clothes>.*)"
    frame = reader_of("folder").read(root, pattern=pattern, junk="-1", distractor="0000")
    assert rows(frame, "pid", "camid") == [
        ("train", 1, 0), ("query", 2, 0), ("gallery", -1, 1), ("gallery", 0, 0), ("gallery", 2, 1),
    ]  # fmt: skip
    clothes = frame.set_index("path")["clothes"]
    assert clothes["query/B/x7-red.jpg"] != clothes["test/B/x8-blue.jpg"]
    assert clothes["train/A/x7-red.jpg"] != clothes["query/B/x7-red.jpg"]


def test_csv(tmp_path):
    touch(tmp_path, "a.jpg", "b/b.jpg", "c.jpg", "m.png")
    file = tmp_path / "people.csv"
    file.write_text(
        "path,pid,camid,split,clothes,mask\na.jpg,7,0,query,,m.png\nb/b.jpg,7,3,gallery,5,\nc.jpg,0,1,gallery,,\n"
    )
    frame = reader_of("csv").read(file)
    assert rows(frame, "pid", "camid", "clothes") == [("query", 7, 0, -1), ("gallery", 0, 1, -1), ("gallery", 7, 3, 5)]
    assert frame["mask"].tolist() == ["m.png", None, None]
    assert reader_of("csv").read(tmp_path).equals(frame)
    frame.to_csv(file, index=False)
    assert reader_of("csv").read(file).equals(frame)


def test_csv_with_names_and_without_a_split(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "people.csv").write_text("path, pid, camid\na.jpg, ann, left\nb.jpg, ann, right\nc.jpg, bob, left\n")
    frame = reader_of("csv").read(tmp_path / "people.csv")
    assert frame.set_index("path").loc[["a.jpg", "b.jpg", "c.jpg"], ["pid", "camid"]].to_numpy().tolist() == [
        [1, 0], [1, 1], [2, 0],
    ]  # fmt: skip


# --- all of them


def test_order_of_the_file_system_does_not_matter(viper, monkeypatch):
    import os

    expected = reader_of("viper").read(viper)
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: sorted(listed(folder), reverse=True))
    assert reader_of("viper").read(viper).equals(expected)


def test_label_maps_are_found_by_every_reader(viper):
    touch(viper, "parts/cam_a/007_90.png", "parts/cam_b/nobody.png")
    masks = reader_of("viper").read(viper).set_index("path")["mask"]
    assert masks["cam_a/007_90.bmp"] == "parts/cam_a/007_90.png"
    assert masks.notna().sum() == 1


def test_options_reach_the_reader_and_the_fingerprint(viper):
    from PIL import Image

    for n, path in enumerate(sorted(viper.rglob("*.bmp"))):
        Image.new("RGB", (48, 128), (n * 10, 0, 0)).save(path)
    prints = {fingerprint("viper", root=viper, split=k, query=q) for k in range(3) for q in "ab"}
    assert len(prints) == 6
    assert fingerprint("viper", root=viper, split=0) == fingerprint("viper", root=viper)
    data = load("viper", root=viper.parent, size=(16, 8), progress=False, split=2)
    assert data.fingerprint in prints
    assert data.frame.equals(reader_of("viper").read(viper, split=2))
    shown = data.store.images[rows_of(data.frame, "query"), 0, 0, 0].tolist()
    order = sorted(viper.rglob("*.bmp"))
    names = data.frame.loc[data.frame.split == "query", "path"]
    assert shown == [order.index(viper / name) * 10 for name in names]


def test_unknown_options_are_refused(viper):
    with pytest.raises(ValueError, match=r"'viper' has no option 'splt'; its options are split, query"):
        load("viper", root=viper, splt=3)
    with pytest.raises(ValueError, match=r"'market-like' has no option 'split'; it has none"):
        load("market-like", split=3)
    with pytest.raises(ValueError, match=r"no data set on disk; these are: market1501"):
        reader_of("market-like")
