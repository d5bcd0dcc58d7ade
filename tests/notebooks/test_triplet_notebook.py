"""The triplet chapter's notebook as a reader runs it: settings, data on disk, errors, the same numbers twice."""

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reidlib import results
from reidlib.data.pedestrians import PRESETS, draw, write_market1501

ROOT = Path(__file__).parents[2]
SMALL = {"dataset": "viper-like", "height": 32, "width": 16, "weights": "none", "images_seen": 384, "triplets": 16}


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "triplet"},
        {"loss": "lossless", "mining": "offline2"},
        {"loss": "lossless", "mining": "batch_all"},
        {"mining": "batch_hard", "positives": "any", "augmentation": "crop", "freeze": False},
        {"backbone": "mildnet-small", "background": "remove", "evaluate_on": "validation", "height": 64, "width": 32},
        {"loss": "lossless", "beta": 128.0, "normalize": False, "same_camera": "counted", "augmentation": "none"},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_every_switch_gives_a_sound_record(run, settings):
    space, record = run("triplet", **SMALL | settings)
    assert record.experiment == "triplet"
    assert {name: record.parameters[name] for name in settings} == settings
    assert 0 < record.metrics["mAP_trap"] <= record.metrics["mAP"] <= 100
    assert record.metrics["R1"] <= record.metrics["R5"] <= record.metrics["R10"] <= record.metrics["R20"]
    mean = 100 * sum(record.per_query["ap_std"]) / len(record.per_query["ap_std"])
    assert record.metrics["mAP"] == pytest.approx(mean, abs=0.01)
    assert record.history["watch/mAP"][-1] == pytest.approx(record.metrics["mAP"], abs=1e-3)
    online = settings.get("mining", "").startswith("batch")
    assert record.extra["steps"] == (384 // 64 if online else 384 // 48)
    assert len(record.history["loss"]) == record.extra["steps"]
    assert all(math.isfinite(value) for value in record.history["loss"])
    assert record.threads == torch.get_num_threads()
    assert (record.source / "order.npz").exists()
    assert not space["checkpoint"].exists()


def test_equal_images_shown_whatever_the_mining(run):
    for mining, images in (("random", 48), ("offline2", 48), ("batch_all", 64), ("batch_hard", 64)):
        assert run("triplet", **SMALL, mining=mining)[1].extra["steps"] * images == 384


def test_same_seed_same_numbers_another_seed_others(run):
    first, again, other = (run("triplet", **SMALL, seed=seed)[1] for seed in (3, 3, 4))
    assert first.id == again.id != other.id
    assert first.metrics == again.metrics
    assert first.history == again.history
    assert first.per_query == again.per_query
    assert first.history["loss"] != other.history["loss"]


def test_losses_share_their_streams(run):
    """Arms of a comparison start from the same weights and see the same triplets: the first step's distances agree."""
    shares = [run("triplet", **SMALL, loss=loss)[1].history["hard"][0] for loss in ("triplet", "lossless")]
    assert shares[0] == shares[1]


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A folder in Market-1501's layout with junk and distractors: (root, frame)."""
    preset = dataclasses.replace(PRESETS["market-like"], name="market-test", train_ids=12, test_ids=10)
    frame, images, parts = draw(preset, size=(64, 32))
    root = tmp_path_factory.mktemp("market") / "Market-1501-v15.09.15"
    write_market1501(frame, images, parts, root)
    return root, frame


def test_a_market1501_folder(run, market):
    root, frame = market
    small = {name: SMALL[name] for name in ("weights", "images_seen", "triplets")}
    space, record = run("triplet", dataset="market1501", root=str(root), **small)
    assert record.data["images"] == len(frame)
    found = space["frame"].groupby("split")["pid"].agg(["size", lambda s: s[s > 0].nunique()])
    expected = frame.groupby("split")["pid"].agg(["size", lambda s: s[s > 0].nunique()])
    assert found.to_numpy().tolist() == expected.to_numpy().tolist()
    assert (space["frame"]["pid"] == 0).sum() == (frame["pid"] == 0).sum() > 0
    assert (space["frame"]["pid"] == -1).sum() == (frame["pid"] == -1).sum() > 0
    assert len(record.per_query["ap_std"]) == (frame["split"] == "query").sum()
    assert record.data["fingerprint"].startswith("market1501-")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "tripplet"}, "loss = 'tripplet': must be one of 'triplet', 'lossless'; did you mean 'triplet'"),
        ({"dataset": "marked1501"}, "did you mean 'market1501'"),
        ({"backbone": "resnet"}, "backbone = 'resnet': must be one of"),
        ({"learning_rate": "fast"}, "learning_rate = 'fast': must be a number"),
        ({"beta": 2.0}, "beta = 2.0: must be a number of at least 4"),
        ({"dataset": "market1501", "root": "/no/such/folder"}, "bounding_box_train"),
        ({"dataset": "market1501"}, "root"),
        ({"weights": "/no/such/weights.pth"}, "no/such/weights.pth"),
    ],
)
def test_wrong_values_say_what_to_do(run, given, message):
    with pytest.raises((ValueError, FileNotFoundError, RuntimeError)) as caught:
        run("triplet", **SMALL | given)
    assert message in str(caught.value)


def test_a_truncated_image_is_named(run, market, tmp_path):
    import shutil

    root = tmp_path / "Market-1501-v15.09.15"
    shutil.copytree(market[0], root)
    broken = sorted((root / "bounding_box_train").glob("*.jpg"))[3]
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises((ValueError, OSError), match=broken.name):
        run("triplet", dataset="market1501", root=str(root), weights="none", images_seen=384)


def papermill(folder, build, *arguments):
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "triplet.ipynb"), "out.ipynb", *arguments]
    environment = {**os.environ, "REIDLIB_BUILD": str(build), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_papermill_from_another_folder(build, tmp_path):
    words = [word for name, value in SMALL.items() for word in ("-p", name, str(value))]
    done = papermill(tmp_path, build, "-p", "loss", "lossless", "-p", "seed", "1", *words)
    assert done.returncode == 0, done.stderr[-2000:]
    (record,) = results.load_all(tmp_path / "runs")
    assert (record.parameters["loss"], record.seed) == ("lossless", 1)
    assert (tmp_path / "out.ipynb").exists()


def test_a_misspelt_parameter_stops_papermill(build, tmp_path):
    done = papermill(tmp_path, build, "-p", "los", "lossless")
    assert done.returncode != 0
    assert "unknown parameter 'los'; did you mean 'loss'?" in done.stderr
    assert not (tmp_path / "runs").exists()
