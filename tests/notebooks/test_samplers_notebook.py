"""The samplers chapter's notebook as a reader runs it: settings, odd clusters, kills, errors, same numbers twice."""

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reidlib import data, results, training
from reidlib.data.pedestrians import PRESETS, draw, write_market1501
from reidlib.losses import proxy_contrast

ROOT = Path(__file__).parents[2]
SMALL = {"dataset": "viper-like", "height": 32, "width": 16, "weights": "none", "epochs": 2, "iterations": 3}
SMALL |= {"k1": 5, "k2": 2, "min_samples": 2, "eps": 0.6, "evaluate_every": 1}  # about 21 clusters and 29 outliers
WATCHED = ("clusters", "outliers", "proxies", "coverage", "image_coverage", "duplicates", "classes_per_batch", "purity")
SHARES = ("coverage", "image_coverage", "duplicates")
USUAL = {"k1": 20, "k2": 6, "min_samples": 4}  # the notebook's own


def check(record, epochs=2, iterations=3):
    """What holds for every record of the chapter."""
    metrics, extra = record.metrics, record.extra
    assert record.experiment == "samplers"
    assert 0 < metrics["mAP_trap"] <= metrics["mAP"] <= 100
    assert metrics["R1"] <= metrics["R5"] <= metrics["R10"] <= 100
    assert all(0 < metrics[name] < 100 for name in ("mAP_start", "mAP_chance", "mAP_recalibrated"))
    mean = 100 * sum(record.per_query["ap_std"]) / len(record.per_query["ap_std"])
    assert metrics["mAP"] == pytest.approx(mean, abs=0.01)
    assert record.history["watch/step"] == [iterations * (n + 1) for n in range(epochs)]
    assert record.history["watch/mAP"][-1] == pytest.approx(metrics["mAP"], abs=1e-3)
    assert "loss" not in record.history
    for name in WATCHED:
        seen = record.history[f"watch/{name}"]
        assert len(seen) == epochs
        mean = name in (*SHARES, "classes_per_batch")
        assert extra[name] == pytest.approx(sum(seen) / epochs if mean else seen[-1], rel=1e-4)
    assert all(0 <= extra[name] <= 1 for name in SHARES)
    assert extra["steps"] == epochs * iterations
    assert math.isfinite(extra["final_train_loss"])
    assert record.threads == torch.get_num_threads()
    assert {"order.npz", "ranking.npz"} <= {file.name for file in record.source.iterdir()}


@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": "random", "loss_mode": "eq1", "evaluate_on": "validation"},
        {"sampler": "cluster", "k": 32, "batch_size": 128, "batch_norm": "split", "norm_images": 32},
        {"sampler": "proxy", "k": 4, "temperature": 0.07, "batch_norm": "frozen"},
        {"sampler": "group", "batch_norm": "context", "norm_images": 96, "stem_relu": False},
        {"sampler": "group_released", "group_size": 32},
        {"sampler": "multi_gallery", "k": 4, "inter_from": 0.0, "evaluate_every": 2},
        {"sampler": "pk", "k": 4, "keep_model": True, "precision": "bfloat16"},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_every_switch_gives_a_sound_record(run, settings):
    space, record = run("samplers", **SMALL | settings)
    check(record)
    assert {name: record.parameters[name] for name in settings} == settings
    assert len(space["history"]["loss"]) == 6
    assert all(math.isfinite(value) for value in space["history"]["loss"])
    assert record.extra["final_train_loss"] > 0
    assert [value is None for value in record.history["watch/mAP"]] == [settings.get("evaluate_every") == 2, False]
    assert (record.source / "model.safetensors").exists() == ("keep_model" in settings)
    assert not space["checkpoint"].exists()


def test_frozen_statistics_stay_those_of_the_start_and_stem_relu_goes(run):
    one = SMALL | {"epochs": 1, "iterations": 2}
    frozen, usual = (run("samplers", **one, batch_norm=mode)[0]["model"] for mode in ("frozen", "batch"))
    assert not frozen.head.training
    short = run("samplers", **one | {"iterations": 1}, batch_norm="frozen")[0]["model"]
    assert torch.equal(frozen.head.running_mean, short.head.running_mean)
    assert not torch.equal(frozen.head.weight, short.head.weight)
    assert not torch.equal(frozen.head.running_mean, usual.head.running_mean)
    plain = run("samplers", **one, stem_relu=False)[0]["model"]
    assert isinstance(usual.trunk.relu, torch.nn.ReLU)
    assert isinstance(plain.trunk.relu, torch.nn.Identity)


def test_same_seed_same_numbers_another_seed_others(run):
    (space, first), (_, again), (other_space, other) = (run("samplers", **SMALL, seed=seed) for seed in (3, 3, 4))
    assert first.id == again.id != other.id
    assert first.metrics == again.metrics
    assert first.history == again.history
    assert first.per_query == again.per_query
    assert space["history"]["loss"] != other_space["history"]["loss"]
    assert first.metrics["mAP_start"] != other.metrics["mAP_start"]


def test_arms_share_their_streams(run):
    """Whatever the sampler, a seed has the same start, so the same first clusters; only the batches differ."""
    arms = [{"sampler": "random"}, {"sampler": "cluster", "k": 32}, {"sampler": "proxy"}, {"sampler": "group"}]
    runs = [run("samplers", **SMALL | {"epochs": 1}, **arm) for arm in arms]
    first = runs[0][0]["epoch"]
    for space, record in runs[1:]:
        assert torch.equal(space["epoch"].labels.clusters, first.labels.clusters)
        assert torch.equal(space["epoch"].labels.proxies, first.labels.proxies)
        assert space["epoch"].batches != first.batches
        assert record.metrics["mAP_start"] == runs[0][1].metrics["mAP_start"]
    visited = [record.extra["classes_per_batch"] for _, record in runs]
    assert visited[1] == 1  # 32 images of one cluster
    assert visited[0] > visited[3] > visited[1]
    assert runs[0][1].extra["duplicates"] == 0


# ---------------------------------------------------------------- degenerate clusters


def test_without_a_cluster_the_run_goes_on_and_nothing_moves(run, caplog):
    with caplog.at_level("WARNING", "reidlib.clustering"):
        space, record = run("samplers", **SMALL | USUAL | {"eps": 0.01})
    check(record)
    lines = [line for line in caplog.messages if line.startswith("no cluster found")]
    assert lines == ["no cluster found: all 120 images are outliers at eps = 0.01, min_samples = 4"] * 2
    assert record.metrics["mAP"] == record.metrics["mAP_start"]
    torch.manual_seed(training.stream_seed(0, "initialisation"))
    start = space["BNNeck"](space["models"].build("resnet-small", weights=None)).state_dict()
    for name, value in space["model"].state_dict().items():
        assert torch.equal(value, start[name]), name
    assert space["history"]["loss"] == [0] * 6
    assert record.extra["outliers"] == 120
    assert all(record.extra[name] == 0 for name in ("clusters", "proxies", "classes_per_batch", *SHARES))


@pytest.mark.parametrize("sampler", ["cluster", "pk"])
def test_everything_in_one_cluster(run, caplog, sampler):
    with caplog.at_level("WARNING", "reidlib.clustering"):
        _, record = run("samplers", **SMALL | USUAL | {"eps": 0.99, "epochs": 1}, sampler=sampler)
    check(record, epochs=1)
    assert (record.extra["clusters"], record.extra["outliers"]) == (1, 0)
    assert record.extra["classes_per_batch"] == record.extra["coverage"] == 1
    assert any("all 120 images are in one cluster at eps = 0.99" in line for line in caplog.messages)


def test_one_camera(run, caplog, monkeypatch):
    load = data.load

    def loaded(*arguments, **options):
        people = load(*arguments, **options)
        cameras = people.frame["camid"].where(people.frame["split"] != "train", 0)
        return dataclasses.replace(people, frame=people.frame.assign(camid=cameras))

    monkeypatch.setattr(data, "load", loaded)
    for sampler in ("proxy", "multi_gallery"):
        space, record = run("samplers", **SMALL, sampler=sampler)
        check(record)
        assert torch.equal(space["epoch"].labels.proxies, space["epoch"].labels.clusters)
        assert record.extra["proxies"] == record.extra["clusters"] > 1
    assert any("all 120 images are from camera 0: every cluster is one proxy" in line for line in caplog.messages)


@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": "cluster", "k": 200},
        {"sampler": "proxy", "k": 100},
        {"sampler": "pk", "k": 64},
        {"sampler": "group", "group_size": 500},
        {"hard_negatives": 5000},
        {"batch_size": 300},
        {"k1": 500},
    ],
    ids=lambda settings: "-".join(map(str, settings)) + "-" + str(list(settings.values())[-1]),
)
def test_numbers_larger_than_what_there_is(run, settings):
    space, record = run("samplers", **SMALL | {"epochs": 1} | settings)
    check(record, epochs=1)
    if "hard_negatives" in settings:
        assert record.extra["proxies"] < settings["hard_negatives"]
        same = run("samplers", **SMALL | {"epochs": 1, "hard_negatives": int(record.extra["proxies"])})[0]
        assert same["history"]["loss"] == space["history"]["loss"]


# ---------------------------------------------------------------- the length of an epoch


class Stop(Exception):
    """Raised instead of training."""


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A folder in Market-1501's layout."""
    preset = dataclasses.replace(PRESETS["market-like"], name="samplers-test", train_ids=12, test_ids=10)
    frame, images, parts = draw(preset, size=(64, 32))
    root = tmp_path_factory.mktemp("market") / "Market-1501-v15.09.15"
    write_market1501(frame, images, parts, root)
    return root


@pytest.mark.parametrize(
    ("settings", "iterations"),
    [
        ({"dataset": "market-like"}, round(400 * 130 / 751)),  # 69
        ({"dataset": "market-like", "batch_size": 128}, round(100 * 130 / 751)),
        ({"dataset": "market-like", "evaluate_on": "validation"}, round(400 * 104 / 751)),
        ({"dataset": "market-like", "iterations": 5}, 5),
        ({"dataset": "market1501"}, 400),
        ({"dataset": "market1501", "iterations": 7, "batch_size": 64}, 7),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else str(value),
)
def test_the_length_of_an_epoch(run, market, monkeypatch, settings, iterations):
    asked = []

    def stop(*arguments, **options):
        asked.append(options["steps"])
        raise Stop

    monkeypatch.setattr(training, "train", stop)
    root = {"root": str(market)} if settings["dataset"] == "market1501" else {}
    with pytest.raises(Stop):
        run("samplers", **SMALL | {"iterations": None} | settings | root)
    assert asked == [2 * iterations]


def test_a_market1501_folder(run, market):
    space, record = run("samplers", **SMALL | {"dataset": "market1501", "root": str(market)}, sampler="group")
    check(record)
    assert record.data["images"] == len(space["frame"])
    assert (space["frame"]["pid"] == 0).any()
    assert record.data["fingerprint"].startswith("market1501-")


# ---------------------------------------------------------------- kills, errors, papermill


def test_a_killed_run_goes_on_from_its_last_epoch(run, monkeypatch):
    settings = SMALL | {"sampler": "proxy", "seed": 5}
    whole, expected = run("samplers", **settings)
    calls, original = [], proxy_contrast.proxy_contrast

    def failing(*arguments, **options):
        calls.append(options)
        if len(calls) == 5:  # the second step of the second epoch
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(proxy_contrast, "proxy_contrast", failing)
    with pytest.raises(KeyboardInterrupt):
        run("samplers", **settings)
    assert whole["checkpoint"].exists()
    again, record = run("samplers", **settings)
    assert len(calls) == 5 + 3  # the second epoch and no more
    assert record.id == expected.id
    assert record.metrics == expected.metrics
    assert record.history == expected.history
    assert record.per_query == expected.per_query
    assert again["history"]["loss"] == whole["history"]["loss"]
    for ours, theirs in zip(again["model"].state_dict().values(), whole["model"].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert not whole["checkpoint"].exists()


def test_a_run_killed_before_its_record_was_written_trains_no_more(run, monkeypatch):
    expected = run("samplers", **SMALL, seed=6)[1]

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(results, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            run("samplers", **SMALL, seed=6)
    monkeypatch.setattr(proxy_contrast, "proxy_contrast", killed)  # no step is taken
    record = run("samplers", **SMALL, seed=6)[1]
    assert record.metrics == expected.metrics
    assert record.history == expected.history


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampler": "clutser"}, "sampler = 'clutser': must be one of 'random', 'cluster', 'proxy'"),
        ({"sampler": "clutser"}, "did you mean 'cluster'?"),
        ({"batch_norm": "froze"}, "did you mean 'frozen'?"),
        ({"loss_mode": "eq2"}, "loss_mode = 'eq2': must be one of 'cap', 'eq1'"),
        ({"k": 0}, "k = 0: must be a number of at least 1"),
        ({"k": 2.5}, "k = 2.5: must be a whole number"),
        ({"group_size": 0}, "group_size = 0: must be a number of at least 1"),
        ({"eps": 1.5}, "eps = 1.5: must be a number from 0.01 to 0.99"),
        ({"iterations": 0}, "iterations = 0: must be a number of at least 1, or None"),
        ({"batch_size": 1}, "batch_size = 1: must be a number of at least 2"),
        ({"temperature": 0}, "temperature = 0: must be a number of at least 0.001"),
        ({"batch_norm": "split", "norm_images": 12}, "norm_images = 12: must divide batch_size = 32"),
        ({"stem_relu": "no"}, "stem_relu = 'no': must be True or False"),
        ({"backbone": "mildnet-small"}, "did you mean 'resnet-small'?"),
        ({"dataset": "marked-like"}, "did you mean 'market-like'?"),
        ({"dataset": "market1501"}, "pass root=FOLDER"),
        ({"root": "/tmp"}, "'viper-like' is drawn and reads no folder"),
        ({"weights": "/no/such/weights.pth"}, "no/such/weights.pth"),
        ({"samplr": "random"}, "no parameter 'samplr'"),
    ],
)
def test_wrong_values_say_what_to_do(run, given, message):
    with pytest.raises((ValueError, FileNotFoundError, RuntimeError)) as caught:
        run("samplers", **SMALL | given)
    assert message in str(caught.value)


def papermill(folder, build, *arguments):
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "samplers.ipynb"), "out.ipynb", *arguments]
    environment = {**os.environ, "REIDLIB_BUILD": str(build), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_papermill_from_another_folder(build, tmp_path):
    small = SMALL | {"epochs": 1}
    words = [word for name, value in small.items() for word in ("-p", name, str(value))]
    done = papermill(tmp_path, build, "-p", "sampler", "group", "-p", "group_size", "4", "-p", "seed", "1", *words)
    assert done.returncode == 0, done.stderr[-2000:]
    (record,) = results.load_all(tmp_path / "runs")
    assert (record.parameters["sampler"], record.parameters["group_size"], record.seed) == ("group", 4, 1)
    assert (tmp_path / "out.ipynb").exists()


def test_a_misspelt_parameter_stops_papermill(build, tmp_path):
    done = papermill(tmp_path, build, "-p", "samplr", "group")
    assert done.returncode != 0
    assert "unknown parameter 'samplr'; did you mean 'sampler'?" in done.stderr
    assert not (tmp_path / "runs").exists()
