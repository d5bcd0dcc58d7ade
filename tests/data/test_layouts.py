"""Drawn people, written in every layout and read back: labels, pixels and label maps must be the drawn ones."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reidlib.data import check, full_size, layouts, load, reader_of
from reidlib.data.pedestrians import PRESETS, draw
from reidlib.data.pedestrians.draw import frame_of
from reidlib.data.places import LAYOUTS, place

# layout -> preset, reader, options; read back with the drawn splits?
CASES = {
    "market1501": ("market-like", "market1501", {}),
    "dukemtmc": ("duke-like", "dukemtmc", {}),
    "msmt17": ("msmt17-like", "msmt17", {}),
    "msmt17-v2": ("msmt17-like", "msmt17", {}),
    "cuhk03": ("cuhk03-like", "cuhk03", {}),
    "cuhk03-np": ("cuhk03-like", "cuhk03-np", {}),
    "viper": ("viper-like", "viper", {}),
    "prcc": ("prcc-like", "prcc", {}),
    "ltcc": ("ltcc-like", "ltcc", {}),
    "folder": ("ltcc-like", "folder", {}),
    "persons": ("ltcc-like", "folder", {}),
    "csv": ("market-like", "csv", {}),
}
SIZE = (32, 16)
LOSSLESS = {"cuhk03", "cuhk03-np", "viper", "ltcc", "csv"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folders drawn once for all tests."""
    folder, made = tmp_path_factory.mktemp("layouts"), {}

    def get(layout):
        if layout not in made:
            preset = CASES[layout][0]
            root = folder / layout
            made[layout] = layouts.draw(preset, root, layout, size=SIZE, identities=4, progress=False)
        return made[layout]

    return get


def drawn(preset):
    chosen = PRESETS[preset]
    return draw(replace(chosen, train_ids=4, test_ids=4, extra_ids=min(4, chosen.extra_ids)), size=SIZE)


def test_every_layout_has_a_case():
    assert set(CASES) == set(LAYOUTS)


@pytest.mark.parametrize("layout", CASES)
def test_written_and_read_back(written, layout):
    preset, dataset, options = CASES[layout]
    data = load(dataset, root=written(layout), size=SIZE, progress=False, **options)
    frame, images, parts = drawn(preset)
    if layout in ("folder", "persons"):
        frame = frame[frame["pid"] > 0]
    # which drawn image is each image that was read: by pixels, exactly or, after JPEG, nearest
    ours = data.frame.drop_duplicates("path")
    read = data.store.images[ours.index.tolist()].flatten(1).float()
    mine = images[frame.index.tolist()].flatten(1).float()
    distance = torch.cdist(read, mine, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distance.argmin(1).numpy()
    if layout in LOSSLESS:
        assert distance.min(1).values.max() == 0
    assert distance.min(1).values.median() < 0.2 * distance.median()
    assert len(set(nearest)) == len(ours)
    match = frame.iloc[nearest]
    assert (match["camid"].to_numpy() == ours["camid"].to_numpy()).all()
    for column in ("pid", "clothes"):
        if (ours["clothes"] == -1).all() and column == "clothes":
            continue
        pairs = set(zip(match[column], ours[column], strict=True))
        assert len(pairs) == match[column].nunique() == ours[column].nunique()
    if layout not in ("viper", "cuhk03-np", "folder", "persons"):  # these make splits of their own
        coarse = ours["split"].replace({"val": "train"}).to_numpy()
        assert (match["split"].to_numpy() == coarse).all()
        assert len(data.frame) == len(frame)
    if data.store.parts is not None:
        found = data.store.parts[ours.index.tolist()]
        assert torch.equal(found, parts[match.index.tolist()])


@pytest.mark.parametrize("layout", CASES)
def test_the_layout_is_recognised_and_whole(written, layout):
    report = check.check_folder(written(layout), own=True)
    assert report.name == CASES[layout][1]
    assert report.ok, report.text()
    assert report.files["error"].isna().all()
    assert report.files["map_error"].isna().all()
    assert report.frame["mask"].notna().all()


def test_cuhk03_has_twenty_splits_of_its_own(written):
    reader = reader_of("cuhk03")
    frames = [reader.read(written("cuhk03"), split=k, boxes=b) for k in range(20) for b in ("detected", "labelled")]
    tested = {tuple(sorted(set(frame.loc[frame.split == "query", "pid"]))) for frame in frames}
    assert len(tested) > 10
    for frame in frames:
        query, gallery = (frame[frame.split == split] for split in ("query", "gallery"))
        assert query["path"].tolist() == gallery["path"].tolist()
        assert frame["pid"].nunique() == 8
    assert frames[0]["path"].str.startswith("images_detected/").all()
    assert frames[1]["path"].str.startswith("images_labeled/").all()


def test_two_lists_of_msmt17_share_people(written):
    frame = reader_of("msmt17").read(written("msmt17"), train="train")
    train, val = (frame[frame.split == split] for split in ("train", "val"))
    assert len(val) == round((len(train) + len(val)) * 2_373 / 32_621)
    assert set(val.pid) <= set(train.pid)


# --- full size: the published numbers, exactly


@pytest.fixture
def many_files(tmp_path):
    """A folder for 126,441 empty files, in memory where there is such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


def touched(name, folder, layout=None):
    """The names of a full-size data set as empty files, with its lists."""
    full = full_size.FULL_SIZE[name]
    frame, shots = frame_of(full_size.plan(full))
    placed = place(frame.assign(shot=shots), layout or full.layout)
    for inside in {path.rpartition("/")[0] for path in placed["path"]}:
        (folder / inside).mkdir(parents=True)
    for path in placed["path"]:
        open(folder / path, "wb").close()
    layouts.WRITTEN_BESIDE.get(full.layout, lambda *_: None)(placed, folder)
    return folder


@pytest.mark.parametrize("name", [name for name in full_size.FULL_SIZE if name != "msmt17-full"])
def test_full_size_has_the_published_counts(name, many_files):
    report = check.check_folder(touched(name, many_files), files=False)
    assert report.name == full_size.FULL_SIZE[name].layout
    assert report.ok, report.text()
    assert report.counts["agrees"].drop("multi", errors="ignore").all()
    assert report.counts["expected_images"].notna().sum() >= 3
    if name == "ltcc-full":
        assert report.frame.groupby("split")["clothes"].nunique().to_dict() == {
            "gallery": 221,
            "query": 210,
            "train": 256,
        }


def test_msmt17_names_become_a_frame_in_seconds(many_files):
    """126,441 names in under 3 s on an idle core; the bound is in processor time, which other work does not change."""
    root = touched("msmt17-full", many_files)
    started = time.process_time()
    frame = reader_of("msmt17").read(root)
    seconds = time.process_time() - started
    assert len(frame) == 126_441
    assert seconds < 3, f"{seconds:.1f} s"
    for train, found in (("train+val", frame), ("train", reader_of("msmt17").read(root, train="train"))):
        table = check.count(found, reader_of("msmt17").expected(train=train))
        assert table["agrees"].all(), table


# --- what cannot be written


@pytest.mark.parametrize(
    ("preset", "layout", "words"),
    [
        ("market-like", "ltcc", "layout ltcc, which has 12 cameras, no distractors and no junk"),
        ("msmt17-like", "market1501", "cameras of one digit"),
        ("msmt17-like", "dukemtmc", "8 cameras"),
        ("market-like", "viper", "one image of each person in each of two cameras"),
        ("ltcc-like", "prcc", "3 cameras, gallery A"),
        ("duke-like", "cuhk03", "2 cameras, at most 5 images in each"),
        ("no-such", None, "unknown drawn data set 'no-such'; the presets are market-like"),
        ("market-like", "no-such", "unknown layout 'no-such'; the layouts are market1501"),
    ],
)
def test_what_has_no_place_in_a_layout_is_refused(preset, layout, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        layouts.draw(preset, tmp_path / "x", layout, size=SIZE, identities=4, progress=False)
    assert not list(tmp_path.iterdir())


def test_other_refusals_and_nothing_is_left_behind(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="identities=1: give a number of people, at least 2"):
        layouts.draw("market-like", tmp_path / "x", identities=1)
    with pytest.raises(ValueError, match="ltcc-full has the published number of people"):
        layouts.draw("ltcc-full", tmp_path / "x", identities=5)
    with pytest.raises(ValueError, match=r"size \(4, 4\) is too small"):
        layouts.draw("market-like", tmp_path / "x", size=(4, 4), identities=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(FileExistsError, match="not an empty folder"):
        layouts.draw("market-like", tmp_path / "full", size=SIZE, identities=2)
    monkeypatch.setattr(layouts, "render", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        layouts.draw("market-like", tmp_path / "y", size=SIZE, identities=2, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_drawing_is_repeatable(tmp_path):
    one, two = (layouts.draw("viper-like", tmp_path / n, size=SIZE, identities=3, progress=False) for n in "ab")
    names = sorted(path.relative_to(one) for path in one.rglob("*.*"))
    assert names == sorted(path.relative_to(two) for path in two.rglob("*.*"))
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
