import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from reidlib.data import drawn, fingerprint, known, load, market1501
from reidlib.data.decode import ImageError
from reidlib.data.frame import make_frame, rows_of


@pytest.fixture
def pedestrians(monkeypatch):
    """A stand-in for the renderer that counts its calls."""
    calls = []

    def draw(preset, size=(64, 32), data_seed=0, progress=False):
        calls.append((preset, size, data_seed))
        rows = [
            {"path": f"{split}/{pid}_{camid}.jpg", "split": split, "pid": pid, "camid": camid, "look": pid % 2}
            for split, pid in (("train", 1), ("query", 2), ("gallery", 2))
            for camid in (0, 1)
        ]
        frame = make_frame(rows)
        generator = torch.Generator().manual_seed(data_seed)
        images = torch.randint(0, 256, (len(frame), 3, *size), dtype=torch.uint8, generator=generator)
        return frame, images, images[:, 0] % 8

    stand_in = SimpleNamespace(PRESETS={"market-like": None, "duke-like": None}, draw=draw, calls=calls)
    monkeypatch.setitem(sys.modules, "reidlib.data.pedestrians", stand_in)
    return stand_in


@pytest.fixture
def market(tmp_path):
    """A small Market-1501 folder with part maps: every image has one colour, its part map one value."""
    root = tmp_path / "Market-1501-v15.09.15"
    names = {
        "bounding_box_train": ["0002_c1s1_000451_03", "0002_c2s3_000776_01"],
        "query": ["0001_c1s1_001051_00"],
        "bounding_box_test": ["-1_c3s1_000401_03", "0001_c2s1_000301_00"],
    }
    value = 0
    for folder, stems in names.items():
        (root / folder).mkdir(parents=True)
        (root / "parts" / folder).mkdir(parents=True)
        for stem in stems:
            value += 1
            Image.fromarray(np.full((128, 64, 3), 20 * value, np.uint8)).save(root / folder / f"{stem}.jpg", quality=95)
            Image.fromarray(np.full((128, 64), value, np.uint8)).save(root / "parts" / folder / f"{stem}.png")
    return root


# --- drawn data


def test_drawn_data_is_drawn_once(pedestrians, tmp_path):
    first = load("market-like", size=(8, 4), data_seed=3, cache=tmp_path, progress=False)
    second = load("market-like", size=(8, 4), data_seed=3, cache=tmp_path, progress=False)
    assert pedestrians.calls == [("market-like", (8, 4), 3)]
    assert first.frame.equals(second.frame)
    assert second.frame["look"].tolist() == [1, 1, 0, 0, 0, 0]
    assert torch.equal(first.store.images, second.store.images)
    assert torch.equal(first.store.parts, second.store.parts)
    assert first.fingerprint == second.fingerprint == fingerprint("market-like", size=(8, 4), data_seed=3)
    assert (first.name, first.root) == ("market-like", None)
    assert not list(tmp_path.glob("*.tmp"))


def test_other_sizes_seeds_and_code_are_other_data(pedestrians, tmp_path, monkeypatch):
    presets, sizes = ("market-like", "duke-like"), ((8, 4), (4, 8))
    names = {fingerprint(name, size=size, data_seed=seed) for name in presets for size in sizes for seed in (0, 1)}
    assert len(names) == 8
    for options in ({}, {"data_seed": 1}, {"size": (4, 8)}):
        load("market-like", **{"size": (8, 4), **options}, cache=tmp_path)
    assert len(pedestrians.calls) == 3
    monkeypatch.setattr(drawn, "source_hash", lambda: "0123456789ab")
    load("market-like", size=(8, 4), cache=tmp_path)
    assert len(pedestrians.calls) == 4
    kept = sorted(tmp_path.glob("*.pt"))  # what the old code drew goes when the new code draws the same
    assert [file.name[:17] for file in kept] == ["market-like-4x8-0", "market-like-8x4-0", "market-like-8x4-1"]
    assert kept[1].name == "market-like-8x4-0-0123456789ab.pt"


def test_the_code_of_the_renderer_is_in_the_hash(tmp_path, monkeypatch):
    before = drawn.source_hash()
    copy = tmp_path / "data"
    (copy / "pedestrians").mkdir(parents=True)
    (copy / "frame.py").write_bytes((drawn.Path(drawn.__file__).parent / "frame.py").read_bytes())
    monkeypatch.setattr(drawn, "__file__", str(copy / "drawn.py"))
    seen = {before}
    for text in ("", "x = 1\n", "x = 2\n"):
        (copy / "pedestrians" / "body.py").write_text(text)
        seen.add(drawn.source_hash())
    assert len(seen) == 4


@pytest.mark.parametrize("kind", ["empty", "truncated", "text", "one byte"])
def test_a_broken_cache_file_is_drawn_again(pedestrians, tmp_path, kind):
    good = load("market-like", size=(8, 4), cache=tmp_path)
    (file,) = tmp_path.glob("*.pt")
    content = bytearray(file.read_bytes())
    if kind == "one byte":
        place = content.find(bytes(good.store.images[0, 0, 0].tolist()))
        assert place > 0
        content[place] ^= 255
    broken = {"empty": b"", "truncated": content[: len(content) // 2], "text": b"hello", "one byte": content}
    file.write_bytes(broken[kind])
    again = load("market-like", size=(8, 4), cache=tmp_path)
    assert len(pedestrians.calls) == 2
    assert torch.equal(again.store.images, good.store.images)
    load("market-like", size=(8, 4), cache=tmp_path)
    assert len(pedestrians.calls) == 2


def test_a_cache_that_cannot_be_written_is_said_and_survived(pedestrians, tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="cannot be kept in .*file"):
        data = load("market-like", size=(8, 4), cache=tmp_path / "file" / "cache")
    assert len(data.store) == 6


def test_the_default_cache(tmp_path, monkeypatch):
    assert drawn.cache_folder().parts[-2:] == ("build", "data")
    monkeypatch.setattr(drawn, "__file__", str(tmp_path / "site-packages" / "reidlib" / "data" / "drawn.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert drawn.cache_folder() == tmp_path / "home" / "reidlib"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert drawn.cache_folder().parts[-2:] == (".cache", "reidlib")


TWO = """
import sys, time
from types import SimpleNamespace
import torch
from reidlib.data.frame import make_frame
def draw(preset, size, data_seed, progress):
    print("drawn", flush=True)
    time.sleep(0.5)
    frame = make_frame([dict(path="a.jpg", split="train", pid=1, camid=0)])
    return frame, torch.ones((1, 3, *size), dtype=torch.uint8), torch.ones((1, *size), dtype=torch.uint8)
sys.modules["reidlib.data.pedestrians"] = SimpleNamespace(PRESETS={"market-like": None}, draw=draw)
from reidlib.data import load
print("sum", int(load("market-like", size=(8, 4), cache=sys.argv[1]).store.images.sum()))
"""


def test_of_two_processes_one_draws(tmp_path):
    command = [sys.executable, "-c", TWO, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = sorted(process.communicate(timeout=120)[0] for process in processes)
    assert outputs == ["drawn\nsum 96\n", "sum 96\n"]


# --- names and roots


def test_unknown_names_are_refused_with_the_known_ones(pedestrians):
    words = r"unknown data set 'market1502'; did you mean 'market1501'\? Known: market1501, .*market-like, duke-like"
    with pytest.raises(ValueError, match=words):
        load("market1502")
    with pytest.raises(ValueError, match="unknown data set 'zzz'; Known"):
        fingerprint("zzz")
    on_disk = ["market1501", "dukemtmc", "msmt17", "cuhk03", "cuhk03-np", "viper", "prcc", "ltcc", "folder", "csv"]
    assert known() == [*on_disk, "market-like", "duke-like"]


def test_roots(pedestrians, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pass root=FOLDER; .*_box_train.*book/datasets/market1501\.md"):
        load("market1501")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*book/datasets/market1501\.md"):
        load("market1501", root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"'market-like' is drawn and reads no folder"):
        load("market-like", root=tmp_path)
    with pytest.raises(ValueError, match=r"size=64 is not"):
        load("market-like", size=64)


# --- files


def test_market_images_and_parts_are_the_frames_rows(market):
    data = load("market1501", root=market.parent, progress=False)
    assert data.root == market
    assert data.frame.pid.tolist() == [2, 2, 1, -1, 1]
    assert data.frame.camid.tolist() == [0, 1, 0, 2, 1]
    assert data.store.images[:, 0, 5, 5].tolist() == pytest.approx([20, 40, 60, 80, 100], abs=2)
    assert data.store.parts[:, 5, 5].tolist() == [1, 2, 3, 4, 5]
    assert data.store.size == (64, 32)


def test_the_fingerprint_of_files_follows_names_and_sizes(market):
    first = fingerprint("market1501", root=market)
    assert first == fingerprint("market1501", root=market.parent)
    assert first == load("market1501", root=market, progress=False).fingerprint
    file = market / "query" / "0001_c1s1_001051_00.jpg"
    file.write_bytes(file.read_bytes() + b"\0")
    second = fingerprint("market1501", root=market)
    (market / "parts" / "query" / "0001_c1s1_001051_00.png").unlink()
    third = fingerprint("market1501", root=market)
    file.rename(file.with_name("0001_c1s1_001052_00.jpg"))
    assert len({first, second, third, fingerprint("market1501", root=market)}) == 4


def test_with_a_cache_the_pixels_are_mapped_and_found_again(market, tmp_path):
    first = load("market1501", root=market, cache=tmp_path / "cache", progress=False)
    assert (tmp_path / "cache" / f"{first.fingerprint}-64x32.images").stat().st_size == 5 * 3 * 64 * 32
    second = load("market1501", root=market, cache=tmp_path / "cache", progress=False)
    assert torch.equal(first.store.images, second.store.images)
    assert torch.equal(first.store.images, load("market1501", root=market, progress=False).store.images)


def test_skipped_images_leave_the_frame_and_rows_still_fit(market):
    broken = market / "bounding_box_train" / "0002_c1s1_000451_03.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(ImageError, match=r"0002_c1s1_000451_03\.jpg"):
        load("market1501", root=market, progress=False)
    with pytest.warns(UserWarning, match="1 of 5 images"):
        data = load("market1501", root=market, on_error="skip", progress=False)
    assert data.store.skipped == [0]
    assert len(data.frame) == 4
    assert rows_of(data.frame, "train").tolist() == [1]
    assert data.store.batch(rows_of(data.frame, "gallery"))[1][:, 0, 0].tolist() == [4, 5]


# --- the real renderer


def test_drawn_people_written_to_disk_are_read_back(tmp_path):
    renderer = pytest.importorskip("reidlib.data.pedestrians")
    preset = dataclasses.replace(renderer.PRESETS["market-like"], train_ids=3, test_ids=3, distractors=0.1, junk=0.1)
    frame, images, parts = renderer.draw(preset, size=(64, 32))
    renderer.write_market1501(frame, images, parts, tmp_path / "Market-1501-v15.09.15")
    data = load("market1501", root=tmp_path, progress=False)
    same = ["path", "split", "pid", "camid", "mask"]
    assert data.frame[same].equals(frame[same])
    assert {0, -1} <= set(data.frame.pid)
    assert torch.equal(data.store.parts, parts)
    assert (data.store.images.float() - images.float()).abs().mean() < 10
    table = market1501.counts(data.frame)
    counted = {split: int((frame.split == split).sum()) for split in ("train", "query", "gallery")}
    assert table.images[["train", "query"]].tolist() == [counted["train"], counted["query"]]
    assert table.images[["gallery", "junk"]].sum() == counted["gallery"]
    assert table.identities[["train", "query", "gallery"]].tolist() == [3, 3, 4]


def test_the_fingerprint_of_drawn_data_follows_the_drawing_code(monkeypatch):
    before = fingerprint("market-like")
    monkeypatch.setattr(drawn, "source_hash", lambda: "0123456789ab")
    assert fingerprint("market-like") == "market-like-64x32-0-01234567" != before
