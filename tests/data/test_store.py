import errno
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from reidlib.data import decode, mapped
from reidlib.data.decode import ImageError, decode_image, decode_mask
from reidlib.data.store import ImageStore


def picture(path, seed=0, size=(128, 64), mode="RGB", **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC).convert(mode)
    image.save(path, **options)
    return path


@pytest.fixture
def paths(tmp_path):
    return [picture(tmp_path / f"{k:02d}.jpg", k) for k in range(12)]


@pytest.fixture
def masks(tmp_path):
    files = []
    for k in range(12):
        Image.fromarray(np.full((128, 64), k, np.uint8)).save(tmp_path / f"{k:02d}.png")
        files.append(tmp_path / f"{k:02d}.png")
    return files


def damage(path, kind):
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "text": b"no image at all"}[kind])


def load(paths, size=(16, 8), **options):
    return ImageStore.from_files(paths, size, progress=False, **options)


# --- one image


@pytest.mark.parametrize("size", [(128, 64), (64, 32), (100, 70), (256, 128)])
def test_decoding_agrees_with_pillow(tmp_path, size):
    path = picture(tmp_path / "a.jpg", quality=95)
    with Image.open(path) as image:
        expected = np.array(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    found = decode_image(path, size).permute(1, 2, 0).numpy()
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 2


@pytest.mark.parametrize("kind", ["a.png RGB", "a.bmp RGB", "a.png L", "a.png RGBA", "a.jpg L", "a.jpg CMYK"])
def test_other_kinds_of_file_become_rgb(tmp_path, kind):
    name, mode = kind.split()
    path = picture(tmp_path / name, mode=mode)
    with Image.open(path) as image:
        expected = np.array(image.convert("RGB")).astype(int)
    assert np.abs(decode_image(path, (128, 64)).permute(1, 2, 0).numpy() - expected).max() <= 3


def test_masks_are_resized_by_nearest_neighbour(tmp_path):
    values = np.repeat(np.repeat(np.array([[0, 3], [7, 1]], np.uint8), 8, 0), 8, 1)
    Image.fromarray(values).save(tmp_path / "m.png")
    assert decode_mask(tmp_path / "m.png", (4, 4)).tolist() == [[0, 0, 3, 3]] * 2 + [[7, 7, 1, 1]] * 2
    picture(tmp_path / "rgb.png")
    with pytest.raises(ImageError, match=r"rgb\.png: a part map is an 8-bit grey or palette picture"):
        decode_mask(tmp_path / "rgb.png", (4, 4))


# --- the store


def test_images_are_in_the_order_of_the_paths(paths, masks):
    store = load(paths[::-1], masks=masks[::-1], workers=3)
    assert len(store) == 12
    assert store.size == (16, 8)
    assert store.images.shape == (12, 3, 16, 8)
    assert store.parts[:, 3, 3].tolist() == list(range(11, -1, -1))
    for k in range(12):
        assert torch.equal(store.images[k], decode_image(paths[11 - k], (16, 8)))


def test_some_or_no_masks(paths, masks):
    some = load(paths, masks=[None, *masks[1:]])
    assert some.parts[0].eq(0).all()
    assert some.parts[5].eq(5).all()
    assert load(paths, masks=[None] * 12).parts is None


def test_batch(paths, masks):
    store = load(paths, masks=masks)
    images, parts = store.batch(np.array([3, 0, 3]))
    assert torch.equal(images, store.images[[3, 0, 3]])
    assert parts[:, 0, 0].tolist() == [3, 0, 3]
    images.zero_()
    assert store.images[3].any()
    with pytest.raises(IndexError, match=r"row 12 is not in the store, which has rows 0\.\.11"):
        store.batch([0, 12])
    with pytest.raises(IndexError, match="row -1"):
        store.batch([-1])
    assert store.batch([])[0].shape == (0, 3, 16, 8)


def test_to_the_same_device_is_the_store_itself(paths):
    store = load(paths)
    assert store.to("cpu") is store
    assert "12 images of 16x8" in repr(store)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(paths, masks):
    store = load(paths, masks=masks).to("cuda")
    images, parts = store.batch([2, 1])
    assert images.device.type == parts.device.type == "cuda"
    assert parts[:, 0, 0].tolist() == [2, 1]


def test_shapes_are_checked():
    images = torch.zeros((2, 3, 4, 4), dtype=torch.uint8)
    with pytest.raises(ValueError, match="uint8"):
        ImageStore(images.float())
    with pytest.raises(ValueError, match=r"parts must be uint8 \(2, 4, 4\)"):
        ImageStore(images, torch.zeros((2, 4, 5), dtype=torch.uint8))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 64}, "is not .height, width."),
        ({"size": (0, 3)}, "is not"),
        ({"on_error": "ignore"}, "'raise' or 'skip'"),
        ({"masks": []}, "0 part maps for 12"),
    ],
)
def test_wrong_options(paths, options, words):
    with pytest.raises(ValueError, match=words):
        load(paths, **options)
    with pytest.raises(ValueError, match="empty"):
        load([])


# --- broken files


@pytest.mark.parametrize(
    ("kind", "words"), [("truncated", "truncated"), ("empty", "the file is empty"), ("text", "cannot identify")]
)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_broken_file_is_named(paths, kind, words, mapped, tmp_path):
    damage(paths[7], kind)
    with pytest.raises(ImageError, match=rf"07\.jpg: .*{words}.*\(row 7\).*on_error='skip'"):
        load(paths, memmap=tmp_path / "map" if mapped else None)


def test_a_missing_file_or_part_map_is_named(paths, masks):
    masks[4].unlink()
    with pytest.raises(ImageError, match=r"04\.png: there is no such file"):
        load(paths, masks=masks)
    paths[2].unlink()
    with pytest.raises(ImageError, match=r"02\.jpg: there is no such file"):
        load(paths)


@pytest.mark.parametrize("mapped", [False, True])
def test_broken_files_are_skipped_with_a_count(paths, masks, mapped, tmp_path):
    for k, kind in ((2, "empty"), (7, "truncated"), (9, "text")):
        damage(paths[k], kind)
    with pytest.warns(UserWarning, match=r"3 of 12 images .*02\.jpg"):
        store = load(paths, masks=masks, on_error="skip", memmap=tmp_path / "map" if mapped else None)
    assert store.skipped == [2, 7, 9]
    assert not store.images[[2, 7, 9]].any()
    assert not store.parts[[2, 7, 9]].any()
    assert store.parts[[1, 3]].flatten(1).any(1).all()


# --- the memory-map


def test_the_memory_map_equals_the_memory(paths, masks, tmp_path, monkeypatch):
    memory = load(paths, masks=masks)
    first = load(paths, masks=masks, memmap=tmp_path / "deep" / "map")
    assert torch.equal(first.images, memory.images)
    assert torch.equal(first.parts, memory.parts)

    def fail(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(decode, "decode_image", fail)
    again = load(paths, masks=masks, memmap=tmp_path / "deep" / "map")
    assert torch.equal(again.images, memory.images)
    assert torch.equal(again.batch([5])[1], memory.batch([5])[1])


def test_only_what_changed_is_decoded_again(paths, tmp_path, monkeypatch):
    damage(paths[3], "empty")
    with pytest.warns(UserWarning, match="1 of 12"):
        load(paths, memmap=tmp_path / "map", on_error="skip")
    picture(paths[3], 33)
    picture(paths[8], 88)
    seen = []
    original = decode.decode_image
    monkeypatch.setattr(decode, "decode_image", lambda path, size: seen.append(path) or original(path, size))
    store = load(paths, memmap=tmp_path / "map", workers=1)
    assert seen == [str(paths[3]), str(paths[8])]
    assert torch.equal(store.images, load(paths).images)
    assert store.skipped == []


def test_an_image_that_broke_after_it_was_decoded_is_zero(paths, masks, tmp_path):
    load(paths, masks=masks, memmap=tmp_path / "map")
    damage(paths[3], "truncated")
    with pytest.warns(UserWarning, match="1 of 12"):
        store = load(paths, masks=masks, memmap=tmp_path / "map", on_error="skip")
    assert store.skipped == [3]
    assert not store.images[3].any()
    assert not store.parts[3].any()
    assert store.images[4].any()


@pytest.mark.parametrize("change", ["size", "fewer", "order", "parts", "short file", "broken state"])
def test_a_map_of_something_else_is_not_believed(paths, masks, tmp_path, change):
    file = tmp_path / "map"
    load(paths, memmap=file)
    size, now, parts = (16, 8), paths, None
    if change == "size":
        size = (8, 16)
    elif change == "fewer":
        now = paths[2:]
    elif change == "order":
        now = paths[::-1]
    elif change == "parts":
        parts = masks
    elif change == "short file":
        os.truncate(file, 100)
    else:
        (tmp_path / "map.state").write_bytes(b"?" * 20)
    store = load(now, size, masks=parts, memmap=file)
    memory = load(now, size, masks=parts)
    assert torch.equal(store.images, memory.images)
    assert (store.parts is None) == (parts is None)


def test_an_old_reader_is_left_in_peace(paths, tmp_path):
    old = load(paths, memmap=tmp_path / "map")
    before = old.images.clone()
    load(paths[:3], (32, 16), memmap=tmp_path / "map")
    assert torch.equal(old.images, before)


SLOW = """
import sys, time
from reidlib.data import decode
from reidlib.data.store import ImageStore
original = decode.decode_image
def slow(path, size):
    time.sleep(0.1)
    return original(path, size)
decode.decode_image = slow
ImageStore.from_files(sys.argv[2:], (16, 8), memmap=sys.argv[1], workers=2, progress=False)
"""


def test_killed_in_the_middle_then_resumed(paths, tmp_path, monkeypatch):
    file, state = tmp_path / "map", tmp_path / "map.state"
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(file), *map(str, paths)])
    deadline = time.monotonic() + 60
    done = 0
    while done < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
        if state.exists():
            done = int((np.fromfile(state, np.uint64, offset=mapped._HEADER.size) != 0).sum())
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = int((np.fromfile(state, np.uint64, offset=mapped._HEADER.size) != 0).sum())
    assert 4 <= finished < 12
    seen = []
    original = decode.decode_image
    monkeypatch.setattr(decode, "decode_image", lambda path, size: seen.append(path) or original(path, size))
    resumed = load(paths, memmap=file)
    assert len(seen) == 12 - finished
    assert torch.equal(resumed.images, load(paths).images)


def test_two_processes_share_one_map(paths, tmp_path):
    command = [sys.executable, "-c", SLOW, str(tmp_path / "map"), *map(str, paths)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert torch.equal(load(paths, memmap=tmp_path / "map").images, load(paths).images)


def test_a_place_that_cannot_be_written(paths, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write the memory-map of decoded images, which needs 0\.00 GiB"):
        load(paths, memmap=tmp_path / "file" / "map")


def test_a_full_disk_is_an_error_and_leaves_no_file(paths, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"free some space or name another place") as caught:
            load(paths, memmap=tmp_path / "map")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert not (tmp_path / "map").exists()
    assert torch.equal(load(paths, memmap=tmp_path / "map").images, load(paths).images)


# --- progress


def test_progress_needs_no_tqdm(paths, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert len(ImageStore.from_files(paths, (16, 8), progress=True)) == 12


def test_the_bar_reaches_the_end(paths, monkeypatch):
    seen = []

    class Bar:
        def __init__(self, total, initial):
            seen.append((total, initial))

        def update(self, n):
            seen.append(n)

        def close(self):
            seen.append("closed")

    monkeypatch.setattr(decode, "_bar", Bar)
    ImageStore.from_files(paths, (16, 8), progress=True)
    assert seen == [(12, 0), 12, "closed"]
