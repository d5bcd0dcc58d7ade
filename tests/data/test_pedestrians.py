"""Drawn pedestrians: what is promised about counts, identities, cameras, pixels, part maps and files."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from PIL import Image

from reidlib.data.pedestrians import PART_NAMES, PRESETS, Preset, draw, write_market1501
from reidlib.data.pedestrians.cameras import OCCLUDERS, lens, sample_cameras, strength
from reidlib.data.pedestrians.compose import STRANGERS, plan
from reidlib.data.pedestrians.draw import frame_of, render
from reidlib.data.pedestrians.painter import Painter
from reidlib.data.pedestrians.people import BAGS, LOWER_TYPES, PATTERNS
from reidlib.data.pedestrians.shapes import box, capsule, cover, ellipse, grid, wave

SIZE = (32, 16)
TINY = Preset("tiny", 4, 4, 3, (2, 3), (2, 3), distractors=0.2, junk=0.1, occluded=0.4)
UPPER, LOWER, SHOES = (PART_NAMES.index(name) for name in ("upper", "lower", "shoes"))


def column(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None]


@pytest.fixture(scope="module")
def market():
    return plan(PRESETS["market-like"])


@pytest.fixture(scope="module")
def tiny():
    return draw(TINY, SIZE, data_seed=5)


# shapes --------------------------------------------------------------------------------------------------------------


def test_distances_at_known_points():
    x, y = torch.tensor([[3.0, 0.0, -5.0]]), torch.tensor([[0.0, 0.0, 0.0]])
    assert ellipse(x, y, 2.0, 2.0).tolist() == [[1.0, -2.0, 3.0]]
    assert box(x, y, 1.0, 4.0).tolist() == [[2.0, -1.0, 4.0]]
    d, t, side = capsule(x, y, (column(0), column(-2)), (column(0), column(2)), 1.0, 1.0)
    assert d.tolist() == [[2.0, -1.0, 4.0]]
    assert t.tolist() == [[0.5, 0.5, 0.5]]
    assert side.tolist() == [[3.0, 0.0, -5.0]]


def test_coverage_is_half_on_the_edge_and_one_pixel_wide():
    assert cover(torch.tensor([-0.06, 0.0, 0.025, 0.06]), 10).tolist() == pytest.approx([1.0, 0.5, 0.25, 0.0])


def test_stripes_have_equal_width():
    assert (wave(torch.linspace(0, 10, 10001)[:-1], 0.5) < 0).float().mean() == pytest.approx(0.5, abs=0.01)


def test_grid_is_measured_in_picture_heights():
    x, y = grid(1, (4, 2))
    assert y[0].view(4, 2)[:, 0].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert x[0].view(4, 2)[0].tolist() == [-0.125, 0.125]


# determinism ---------------------------------------------------------------------------------------------------------


def test_same_seed_same_pixels_other_seed_other_pixels(tiny):
    frame, images, parts = tiny
    frame2, images2, parts2 = draw(TINY, SIZE, data_seed=5)
    assert frame.equals(frame2)
    assert torch.equal(images, images2)
    assert torch.equal(parts, parts2)
    _, other, _ = draw(TINY, SIZE, data_seed=6)
    count = min(len(images), len(other))
    assert (images[:count] != other[:count]).float().mean() > 0.5


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunk_changes_no_pixel(chunk):
    whole = plan(TINY, 1)
    images, parts = render(whole, (31, 17), chunk=chunk)
    again, parts_again = render(whole, (31, 17), chunk=1000)
    assert torch.equal(images, again)
    assert torch.equal(parts, parts_again)


def test_picking_rows_changes_no_pixel(market):
    rows = np.array([900, 3, 77])
    several, _ = render(market, SIZE, rows)
    one, _ = render(market, SIZE, rows[1:2])
    assert torch.equal(several[1], one[0])


def test_presets_do_not_influence_each_other_and_share_nobody():
    plans = {name: plan(preset) for name, preset in PRESETS.items()}
    builds = np.concatenate([p.people["build"].round(9) for p in plans.values()])
    middle = builds[(builds > builds.min()) & (builds < builds.max())]
    assert len(np.unique(middle)) == len(middle)
    gains = np.concatenate([p.cameras["gain"].round(9) for p in plans.values()])
    assert len(np.unique(gains)) == len(gains)


def test_size_changes_neither_people_nor_poses():
    small, _, parts_small = draw(TINY, (32, 16))
    large, _, parts_large = draw(TINY, (64, 32))
    assert small.equals(large)
    share_small = (parts_small == UPPER).float().mean((1, 2))
    share_large = (parts_large == UPPER).float().mean((1, 2))
    assert (share_small - share_large).abs().max() < 0.05


def test_gap_keeps_the_people():
    easy, hard = plan(dataclasses.replace(TINY, gap=0.05)), plan(dataclasses.replace(TINY, gap=0.9))
    assert np.array_equal(easy.people["skin"], hard.people["skin"])
    assert np.array_equal(easy.shots["person"], hard.shots["person"])
    spread = [np.log(p.cameras["cast"]).std() for p in (easy, hard)]
    assert spread[1] / spread[0] == pytest.approx(strength(0.9) / strength(0.05))
    assert spread[1] > 2 * spread[0]
    assert np.all(hard.cameras["noise"] > easy.cameras["noise"])


def test_gap_zero_makes_cameras_alike():
    cameras = sample_cameras(np.random.default_rng(0), 5, 0.0)
    for name in ("gain", "contrast", "saturation", "blur", "rows", "noise", "haze"):
        assert np.ptp(cameras[name]) == 0, name


# frames --------------------------------------------------------------------------------------------------------------

COUNTS = {  # preset: train ids, test ids with a query, cameras
    "market-like": (130, 100, 6),
    "duke-like": (100, 100, 8),
    "msmt17-like": (250, 250, 15),
    "viper-like": (60, 60, 2),
    "cuhk03-like": (120, 20, 2),
    "prcc-like": (60, 30, 3),
    "ltcc-like": (40, 40, 8),
    "warmstart": (200, 0, 6),
}


@pytest.mark.parametrize("name", PRESETS)
def test_identities_cameras_and_matches(name):
    preset = PRESETS[name]
    frame, _ = frame_of(plan(preset))
    train, query, gallery = (frame[frame.split == s] for s in ("train", "query", "gallery"))
    assert (train.pid.nunique(), query.pid.nunique(), frame.camid.nunique()) == COUNTS[name]
    assert frame.camid.min() == 0
    assert not set(train.pid) & (set(query.pid) | set(gallery.pid))
    assert (query.pid > 0).all()
    assert (train.pid > 0).all()
    assert (train.groupby("pid").camid.nunique() >= 2).all()
    in_gallery = gallery.groupby("pid").camid.apply(set)
    assert all(in_gallery[pid] - {camid} for pid, camid in zip(query.pid, query.camid, strict=True))


def test_market_like_counts():
    frame, _ = frame_of(plan(PRESETS["market-like"]))
    train, query, gallery = (frame[frame.split == s] for s in ("train", "query", "gallery"))
    assert 2000 <= len(train) <= 2400
    per_camera = train.groupby(["pid", "camid"]).size()
    assert (per_camera.min(), per_camera.max()) == (2, 5)
    assert query.groupby(["pid", "camid"]).size().max() == 1
    assert (gallery.pid == 0).mean() == pytest.approx(0.15, abs=0.005)
    assert (gallery.pid == -1).mean() == pytest.approx(0.10, abs=0.005)
    assert (gallery.clothes[gallery.pid <= 0] == -1).all()
    usage = train.groupby("camid").size()
    assert usage.max() > 1.4 * usage.min()


def test_duke_like_distractors_are_ordinary_people():
    frame, _ = frame_of(plan(PRESETS["duke-like"]))
    query, gallery = set(frame.pid[frame.split == "query"]), set(frame.pid[frame.split == "gallery"])
    assert min(gallery) > 0
    assert len(gallery - query) == PRESETS["duke-like"].extra_ids


def test_occluded_share():
    shots = plan(PRESETS["duke-like"]).shots
    assert (shots["occluder"] > 0).mean() == pytest.approx(0.30, abs=0.03)
    assert set(shots["occluder"]) == set(range(len(OCCLUDERS)))


def test_viper_and_cuhk03_protocols():
    frame, _ = frame_of(plan(PRESETS["viper-like"]))
    assert set(frame.camid[frame.split == "query"]) == {0}
    assert set(frame.camid[frame.split == "gallery"]) == {1}
    frame, images, _ = draw("cuhk03-like", SIZE)
    query, gallery = (np.flatnonzero(frame.split == s) for s in ("query", "gallery"))
    assert torch.equal(images[query], images[gallery])


def test_prcc_like_outfits():
    frame, _ = frame_of(plan(PRESETS["prcc-like"]))
    worn = frame.groupby(["pid", "camid"]).clothes.agg(["nunique", "first"])
    assert (worn["nunique"] == 1).all()
    by_camera = worn["first"].unstack()
    assert (by_camera[0] == by_camera[1]).all()
    assert (by_camera[0] != by_camera[2]).all()
    assert set(frame.camid[frame.split == "gallery"]) == {0}
    assert (frame.groupby(["pid", "camid"]).size() == 8).all()


def test_ltcc_like_outfits():
    frame, _ = frame_of(plan(PRESETS["ltcc-like"]))
    outfits = frame.groupby("pid").clothes.nunique()
    assert (outfits.min(), outfits.max()) == (1, 4)
    assert (outfits > 1).mean() == pytest.approx(0.6, abs=0.12)
    assert (frame.groupby("clothes").camid.nunique() >= 2).all()
    assert (frame.groupby(["clothes", "camid"]).size() == 3).all()


def test_clothes_are_personal_and_some_looks_are_shared(market):
    frame, _ = frame_of(market)
    people = frame[frame.pid > 0]
    assert (people.groupby("clothes").pid.nunique() == 1).all()
    assert (people.groupby("clothes").look.nunique() == 1).all()
    train = people[people.split == "train"]
    shared = train.groupby("look").pid.nunique()
    assert 0.1 < (train.drop_duplicates("pid").look.map(shared) > 1).mean() < 0.45
    assert not set(train.look) & set(people.look[people.split != "train"])
    private, _ = frame_of(plan(dataclasses.replace(TINY, shared_looks=0.0)))
    assert (private[private.pid > 0].groupby("look").pid.nunique() == 1).all()


def test_every_kind_of_clothing_occurs(market):
    assert set(market.looks["pattern"]) == set(range(len(PATTERNS)))
    assert set(market.looks["lower_type"]) == set(range(len(LOWER_TYPES)))
    assert set(market.looks["bag"]) == set(range(len(BAGS)))


def test_strangers_have_no_number(market):
    frame, _ = frame_of(market)
    known = len(market.people["build"]) - STRANGERS
    assert frame.pid.max() <= known
    assert (market.shots["passer_by"] >= known).all()
    assert (market.shots["person"][market.shots["pid"] == 0] >= known).all()


# pixels and part maps ------------------------------------------------------------------------------------------------


def test_shapes_and_types(tiny):
    frame, images, parts = tiny
    assert images.shape == (len(frame), 3, *SIZE)
    assert parts.shape == (len(frame), *SIZE)
    assert (images.dtype, parts.dtype) == (torch.uint8, torch.uint8)
    assert parts.max() < len(PART_NAMES)


def test_every_part_occurs_and_bodies_fill_their_boxes(market):
    rows = np.flatnonzero((market.shots["pid"] > 0) & (market.shots["occluder"] == 0))[:200]
    _, parts = render(market, (64, 32), rows)
    assert set(parts.unique().tolist()) == set(range(8))
    share = (parts > 0).float().mean((1, 2))
    assert 0.15 < share.median() < 0.5
    heights = (parts > 0).any(2).float().mean(1)
    assert heights.median() > 0.8


def test_parts_carry_the_colours_of_the_clothes():
    whole = plan(TINY)
    looks, shots = whole.looks, whole.shots
    looks["pattern"][:], looks["collar"][:], looks["belt"][:], looks["lower_type"][:], looks["bag"][:] = (
        0,
        0,
        False,
        0,
        0,
    )
    rows = np.flatnonzero(shots["pid"] > 0)
    images, parts = render(whole, (128, 64), rows, degrade=False)
    for part, colour in ((UPPER, "upper"), (LOWER, "lower")):
        for image, where, look in zip(images, parts == part, shots["look"][rows], strict=True):
            if where.sum() < 30:
                continue
            wanted = torch.tensor(looks[colour][look] * 255)
            error = (image[:, where].double() - wanted[:, None]).abs().amax(0)
            assert error.median() < 1
            assert (error < 1).double().mean() > 0.6


def test_maps_do_not_depend_on_the_background():
    whole = plan(TINY)
    moved = dataclasses.replace(whole, shots=whole.shots | {"left": 1 - whole.shots["left"]})
    images, parts = render(whole, (64, 32), degrade=False)
    others, parts_moved = render(moved, (64, 32), degrade=False)
    assert torch.equal(parts, parts_moved)
    inside = torch.nn.functional.max_pool2d((parts == 0).float()[:, None], 3, 1, 1)[:, 0] == 0
    assert inside.any()
    changed = (images != others).any(1)
    assert changed[parts == 0].float().mean() > 0.5
    assert changed[inside].float().mean() < 0.03  # seams between two soft edges let a little through


def test_occluders_are_background_in_the_map():
    whole = plan(TINY)
    rows = np.flatnonzero(whole.shots["pid"] > 0)
    free = dataclasses.replace(whole, shots=whole.shots | {"occluder": np.zeros_like(whole.shots["occluder"])})
    _, clear = render(free, (64, 32), rows)
    for kind in range(1, len(OCCLUDERS)):
        hidden = dataclasses.replace(whole, shots=whole.shots | {"occluder": np.full(len(whole.shots["pid"]), kind)})
        _, parts = render(hidden, (64, 32), rows)
        lost = parts != clear
        assert lost.any(), OCCLUDERS[kind]
        assert (parts[lost] == 0).all(), OCCLUDERS[kind]


def test_side_view_is_narrower_and_has_a_face_only_from_the_front():
    whole = plan(TINY)
    rows = np.flatnonzero(whole.shots["pid"] > 0)
    whole.looks["bag"][:] = 0
    whole.people["hair_style"][:] = 0
    whole.shots["amplitude"][:], whole.shots["occluder"][:] = 0.0, 0

    def counts(yaw):
        turned = dataclasses.replace(whole, shots=whole.shots | {"yaw": np.full(len(whole.shots["yaw"]), yaw)})
        _, parts = render(turned, (128, 64), rows)
        return [(parts == PART_NAMES.index(p)).sum((1, 2)).double().mean().item() for p in ("upper", "head", "hair")]

    front, side, back = counts(0.0), counts(np.pi / 2), counts(np.pi)
    assert side[0] < 0.85 * front[0]
    assert front[1] > 2 * back[1]
    assert back[2] > 2 * front[2]


def test_painting_between_two_heights_cuts_nothing_off(monkeypatch, market):
    rows = np.random.default_rng(0).choice(len(market.shots["pid"]), 300, replace=False)
    images, parts = render(market, (48, 24), rows, chunk=20)
    monkeypatch.setattr(Painter, "between", lambda self, top, bottom: self)
    whole, whole_parts = render(market, (48, 24), rows, chunk=20)
    assert torch.equal(images, whole)
    assert torch.equal(parts, whole_parts)


def test_feet_stay_on_the_ground():
    whole = plan(TINY)
    rows = np.flatnonzero(whole.shots["pid"] > 0)
    whole.shots["occluder"][:], whole.shots["scale"][:], whole.shots["top"][:] = 0, 0.8, 0.1
    _, parts = render(whole, (128, 64), rows)
    soles = (parts == SHOES).any(2).float() * torch.arange(128)
    assert soles.amax(1).min() >= 0.1 * 128 + 0.8 * 128 - 4
    assert soles.amax(1).max() <= 0.1 * 128 + 0.8 * 128 + 3


def test_people_look_more_like_themselves_than_like_others():
    whole = plan(dataclasses.replace(PRESETS["market-like"], gap=0.0, shared_looks=0.0))
    rows = np.flatnonzero((whole.shots["pid"] > 0) & (whole.shots["person"] < 30))
    images, parts = render(whole, (64, 32), rows)
    upper = (parts == UPPER)[:, None]
    colour = (images * upper).sum((2, 3)) / upper.sum((2, 3)).clamp(min=1)
    person = torch.from_numpy(whole.shots["person"][rows])
    distance = torch.cdist(colour, colour)
    same = person[:, None] == person
    assert distance[same & ~torch.eye(len(rows), dtype=torch.bool)].median() < 0.4 * distance[~same].median()


def test_lens_keeps_flat_pictures_and_loses_detail():
    flat = np.full((1, 3, 32, 16), 0.5, np.float32)
    assert np.abs(lens(flat, np.array([0.02]), np.array([12.0])) - 0.5).max() < 1e-3
    checks = np.broadcast_to((np.indices((32, 16)).sum(0) % 2).astype(np.float32), (1, 3, 32, 16))
    assert lens(checks, np.array([0.0001]), np.array([200.0])).std() > 0.49
    assert lens(checks, np.array([0.03]), np.array([200.0])).std() < 0.1
    assert lens(checks, np.array([0.0001]), np.array([12.0])).std() < 0.1


# errors --------------------------------------------------------------------------------------------------------------


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"unknown drawn data set 'market'.*market-like"):
        draw("market")
    with pytest.raises(ValueError, match="too small"):
        draw(TINY, (8, 4))
    with pytest.raises(ValueError, match="data_seed is -1"):
        draw(TINY, SIZE, data_seed=-1)
    with pytest.raises(ValueError, match=r"gap is 2.*\[0, 1\]"):
        dataclasses.replace(TINY, gap=2)
    with pytest.raises(ValueError, match="protocol 'x' is unknown"):
        dataclasses.replace(TINY, protocol="x")
    with pytest.raises(ValueError, match="does not fit 3 cameras"):
        dataclasses.replace(TINY, cameras_per_id=(2, 4))


# files ---------------------------------------------------------------------------------------------------------------

NAME = re.compile(r"^(-?\d+)_c(\d)s(\d)_(\d{6})_(\d{2})\.jpg$")


def test_write_market1501(tiny, tmp_path):
    frame, images, parts = tiny
    root = write_market1501(frame, images, parts, tmp_path / "drawn")
    for split, folder in (("train", "bounding_box_train"), ("query", "query"), ("gallery", "bounding_box_test")):
        names = {p.name for p in (root / folder).iterdir()}
        rows = frame[frame.split == split]
        assert names == {p.rsplit("/", 1)[1] for p in rows.path}
        for path, pid, camid in zip(rows.path, rows.pid, rows.camid, strict=True):
            number, camera = NAME.match(path.rsplit("/", 1)[1]).group(1, 2)
            assert (int(number), int(camera) - 1) == (pid, camid)
    for row in (0, len(frame) - 1):
        with Image.open(root / frame["mask"][row]) as mask:
            assert np.array_equal(np.asarray(mask), parts[row].numpy())
        with Image.open(root / frame["path"][row]) as image:
            picture = torch.from_numpy(np.array(image)).permute(2, 0, 1)
            assert image.format == "JPEG"
        assert (picture.int() - images[row].int()).abs().float().mean() < 16
    assert [p.name for p in tmp_path.iterdir()] == ["drawn"]


def test_write_refuses_a_full_folder(tiny, tmp_path):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="is not an empty folder"):
        write_market1501(*tiny, tmp_path / "drawn")
    assert [p.name for p in (tmp_path / "drawn").iterdir()] == ["mine.txt"]


def test_failed_write_leaves_nothing(tiny, tmp_path, monkeypatch):
    frame, images, parts = tiny
    saved = []

    def save(self, path, **options):
        saved.append(path)
        if len(saved) > 5:
            raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(OSError, match="disk full"):
        write_market1501(frame, images, parts, tmp_path / "drawn")
    assert list(tmp_path.iterdir()) == []


def test_write_checks_its_arguments(tiny, tmp_path):
    frame, images, parts = tiny
    with pytest.raises(ValueError, match="the frame and the tensors disagree"):
        write_market1501(frame, images[1:], parts, tmp_path / "drawn")
    with pytest.raises(ValueError, match="not a path of the Market-1501 layout"):
        write_market1501(frame.assign(path="elsewhere/x.jpg"), images, parts, tmp_path / "drawn")
