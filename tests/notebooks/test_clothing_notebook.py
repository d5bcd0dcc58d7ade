"""The clothing chapter's notebook as a reader runs it: arms, stages, kills, data on disk, errors, the same numbers."""

import dataclasses
import functools
import itertools
import math
import shutil

import numpy as np
import pytest
import torch

from reidlib import data, results, training
from reidlib.data import augment, clothing, drawn, layouts
from reidlib.data.frame import make_frame
from reidlib.data.pedestrians import PRESETS, draw, write_market1501
from reidlib.losses import clothing_contrast
from reidlib.models import ifd

SMALL = {"dataset": "prcc-like", "height": 32, "width": 16, "weights": "none", "epochs": 1, "stage1_epochs": 1}
SMALL |= {"persons": 4, "views": 4, "learning_rate": 1e-3}
IMAGES, PER_EPOCH, BATCH = 12 * 3 * 4, 9, 16  # training images of the people below, batches of an epoch, images of one
BASELINE = {"ikt": False, "cbd": False, "sampler": "pk"}
IKT = {"cbd": False, "sampler": "pk"}
MASKED = BASELINE | {"main_input": "masked"}
ALWAYS = {"mAP", "mAP_trap", "R1", "R5", "R10", "R20", "mAP_start", "mAP_same", "R1_same", "mAP_general", "R1_general"}
WITH_ATTENTION = {f"{metric}_{name}" for metric in ("mAP", "R1") for name in ("attention", "both", "unweighted")}
LOOKED_AT = {f"attention_{name}" for name in ("head", "clothes", "limbs", "background", "outline", "spread")}
HARD = {"triples", "triples_right", "triple_people"}


@pytest.fixture(scope="module", autouse=True)
def few_people(tmp_path_factory):
    """The drawn data sets with few people, which are kept apart from the whole ones."""
    with pytest.MonkeyPatch.context() as patched:
        changes = {"train_ids": 12, "test_ids": 10}
        patched.setitem(
            PRESETS, "prcc-like", dataclasses.replace(PRESETS["prcc-like"], **changes, images_per_camera=(4, 4))
        )
        for name in ("ltcc-like", "market-like"):
            patched.setitem(PRESETS, name, dataclasses.replace(PRESETS[name], **changes))
        cache = tmp_path_factory.mktemp("drawn")
        patched.setattr(drawn, "cache_folder", lambda: cache)
        patched.setattr(drawn, "source_hash", functools.cache(drawn.source_hash))
        yield


@pytest.fixture
def stages(monkeypatch):
    """What each call of `training.train` found and left: pairs of a model's states, stage by stage."""
    found, train = [], training.train

    def copied(model):
        return {name: value.clone() for name, value in model.state_dict().items()}

    def watched(model, *arguments, **options):
        before = copied(model)
        history = train(model, *arguments, **options)
        found.append((before, copied(model)))
        return history

    monkeypatch.setattr(training, "train", watched)
    return found


@pytest.fixture
def shown(monkeypatch):
    """What every training batch showed, in the order in which they were made: views, and the main stream's pictures."""
    found, views, erase = [], clothing.views, augment.random_erasing

    def watched(*arguments, **options):
        seen = views(*arguments, **options)
        if options.get("generator") is not None:
            found.append({"picture": seen.images, "masked": seen.masked, "clothing": seen.clothing})
        return seen

    def erased(*arguments, **options):
        found[-1]["erased"] = erase(*arguments, **options)
        return found[-1]["erased"]

    monkeypatch.setattr(clothing, "views", watched)
    monkeypatch.setattr(augment, "random_erasing", erased)
    return found


@pytest.fixture
def passed(monkeypatch):
    """Numbers of images that went through a trunk in training."""
    found, feature_maps = [], ifd.feature_maps

    def counted(base):
        trunk = feature_maps(base)

        def count(trunk, inputs, _):
            found.append(len(inputs[0]) * trunk.training)

        trunk.register_forward_hook(count)
        return trunk

    monkeypatch.setattr(ifd, "feature_maps", counted)
    return found


def check(space, record, settings=None, real=False):
    """What holds for every record of the chapter."""
    settings = SMALL | (settings or {})
    metrics, extra, steps = record.metrics, record.extra, record.extra["steps"]
    two, crowd = settings.get("ikt", True), not real and settings.get("evaluate_on") != "validation"
    assert record.experiment == "clothing"
    assert set(metrics) >= ALWAYS
    assert set(metrics) & WITH_ATTENTION == (WITH_ATTENTION if two else set())
    assert all(0 <= value <= 100 for value in metrics.values())
    assert 0 < metrics["mAP_trap"] <= metrics["mAP"]
    assert metrics["R1"] <= metrics["R5"] <= metrics["R10"] <= metrics["R20"]
    assert metrics["mAP_same"] > 0
    assert metrics["mAP_general"] > 0
    if settings.get("shot") != "single10":
        assert metrics["mAP"] == pytest.approx(100 * np.mean(record.per_query["ap_std"]), abs=0.01)
        assert metrics["R1"] == pytest.approx(100 * np.mean(np.equal(record.per_query["rank"], 1)), abs=0.01)
    batch = settings["persons"] * settings["views"]
    per_epoch = len(space["train"]) // batch
    assert steps == settings["epochs"] * per_epoch
    joint, alone = settings["epochs"] * (2 if two else 1), settings["stage1_epochs"] if two else 0
    assert extra["passes"] == batch * per_epoch * (joint + alone)
    assert len(space["history"]["loss"]) == steps
    assert all(math.isfinite(value) for value in space["history"]["loss"])
    assert extra["final_train_loss"] == pytest.approx(np.mean(space["history"]["loss"][-20:]), rel=1e-3)
    contrasted = settings.get("cbd", True) and settings.get("contrast") != "none"
    assert ("clothing" in space["history"]) == contrasted
    assert record.history["watch/step"] == sorted(record.history["watch/step"])
    assert record.history["watch/step"][-1] == steps
    assert space["optimizer"].param_groups[0]["lr"] == pytest.approx(settings["learning_rate"] / 100)
    looked_at = {name: value for name, value in extra.items() if name.startswith("attention_")}
    assert set(looked_at) >= LOOKED_AT if two else not looked_at
    assert all(0 < value < 1 for value in looked_at.values())
    assert extra["outfits_a_person"] >= 1
    assert 0 <= extra["pairs_changed"] < 1
    assert set(extra) & HARD == (HARD if crowd else set())
    if crowd:
        assert extra["triples"] > 50
        assert 2 <= extra["triple_people"] <= 10
        assert 0 <= extra["triples_right"] <= 100
    files = {"order.npz", "ranking.npz"} | ({"maps.npz"} if crowd else set())
    assert files <= {file.name for file in record.source.iterdir()}
    assert (record.source / "maps.npz").exists() == crowd
    assert (record.source / "model.safetensors").exists() == settings.get("keep_model", False)
    assert not space["checkpoint"].exists()


@pytest.mark.parametrize(
    "settings",
    [
        BASELINE | {"flip_test": False},
        MASKED | {"erasing": 0.0, "cloth_classes": "upper + lower + shoes + carried"},
        IKT | {"kernel": 5, "stop_gradient": True},
        IKT | {"attention_input": "image", "attention_at_test": False},
        {"ikt": False, "T": 1, "dataset": "ltcc-like", "keep_model": True},
        {"contrast": "supcon", "sampler": "ras", "temperature": 0.5},
        {"contrast": "none", "triplet_weight": 1.0, "sampler": "pk"},
        {"cloth_classes": "clothes", "precision": "bfloat16"},
        {"evaluate_on": "validation", "T": 2},
        {"persons": 2, "appearances": 1, "views": 8, "contrast_weight": 0.1, "stage1_epochs": 0},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_every_switch_gives_a_sound_record(run, settings):
    space, record = run("clothing", **SMALL | settings)
    check(space, record, settings)
    assert {name: record.parameters[name] for name in settings} == settings
    if settings.get("flip_test") is False:
        assert record.history["watch/mAP"][-1] == pytest.approx(record.metrics["mAP"], abs=1e-3)
    same = record.metrics["mAP"] == pytest.approx(record.metrics.get("mAP_unweighted", -1), abs=1e-6)
    assert same == (settings.get("attention_at_test") is False)
    if settings.get("contrast") == "supcon":  # its least value, for 3 positives of each anchor
        assert min(space["history"]["clothing"]) >= math.log(3)


def test_one_image_a_person_changes_the_clothes_change_scores_alone(run):
    (_, multi), (space, single) = (run("clothing", **SMALL, shot=shot) for shot in ("multi", "single10"))
    check(space, single, {"shot": "single10"})
    assert "10 draws" in single.extra["protocol"]["shots"]
    assert "10 draws" not in str(multi.extra["protocol"])
    assert single.metrics["R10"] == 100 > multi.metrics["R10"]  # ten people, one image of each
    assert single.metrics["mAP"] > multi.metrics["mAP"]
    others = (ALWAYS | WITH_ATTENTION) - {"mAP", "mAP_trap", "R1", "R5", "R10", "R20"}
    assert {name: single.metrics[name] for name in others} == {name: multi.metrics[name] for name in others}
    assert single.extra["triples_right"] == multi.extra["triples_right"]


def scores(space, positive):
    """mAP and R1 of the run's features, computed query by query."""
    query, gallery = space["query"].reset_index(drop=True), space["gallery"].reset_index(drop=True)
    precisions, first = [], []
    for i in range(len(query)):
        one = query.iloc[i]
        right = (gallery["pid"] == one["pid"]) & positive(gallery, one)
        kept = (right | (gallery["pid"] != one["pid"])).to_numpy()
        if not right.any():
            continue
        far = (space["features"]["gallery"] - space["features"]["query"][i]).double().square().sum(1).numpy()
        order = [j for j in np.argsort(far, kind="stable") if kept[j]]
        ranks = [rank for rank, j in enumerate(order, 1) if right[j]]
        precisions.append(np.mean([hit / rank for hit, rank in enumerate(ranks, 1)]))
        first.append(ranks[0] == 1)
    return 100 * np.mean(precisions), 100 * np.mean(first)


@pytest.mark.parametrize("dataset", ["prcc-like", "ltcc-like"])
def test_scores_are_where_clothes_change_where_they_stay_and_all_together(run, dataset):
    space, record = run("clothing", **SMALL | BASELINE | {"dataset": dataset})
    modes = {
        "": lambda other, one: (other["camid"] != one["camid"]) & (other["clothes"] != one["clothes"]),
        "_same": lambda other, one: (other["camid"] != one["camid"]) & (other["clothes"] == one["clothes"]),
        "_general": lambda other, one: other["camid"] != one["camid"],
    }
    for ending, positive in modes.items():
        expected = scores(space, positive)
        assert record.metrics["mAP" + ending] == pytest.approx(expected[0], abs=1e-3)
        assert record.metrics["R1" + ending] == pytest.approx(expected[1], abs=1e-3)


def test_kept_files_hold_the_ranking_and_the_maps_of_a_few_triples(run):
    space, record = run("clothing", **SMALL)
    order, ranking, maps = (np.load(record.source / f"{name}.npz") for name in ("order", "ranking", "maps"))
    assert order["order"].shape == order["distances"].shape == (10 * 4, 40)  # queries of camera C, gallery of A
    assert np.array_equal(order["order"], space["scores"].order)
    assert len(ranking.files) > 1
    n = len(maps["triples"])
    assert maps["triples"].shape == (n, 3)
    assert maps["cams"].shape == maps["attention"].shape == (n, 3, 4, 2)
    assert maps["similarity"].shape == (n, 3)
    assert all(0 <= maps[name].min() <= maps[name].max() <= 1 for name in ("cams", "attention"))
    assert np.array_equal(maps["similarity"][:, 0], maps["similarity"][:, 1])  # of query and positive, either way
    asked, right, wrong = (space["crowd"].iloc[maps["triples"][:, k]].reset_index(drop=True) for k in range(3))
    assert len(set(asked["pid"])) == n > 1
    assert (asked["pid"] == right["pid"]).all()
    assert (asked["look"] != right["look"]).all()
    assert (asked["pid"] != wrong["pid"]).all()
    assert (asked["look"] == wrong["look"]).all()
    _, alone = run("clothing", **SMALL | BASELINE)
    plain = np.load(alone.source / "maps.npz")
    assert set(plain.files) == {"triples", "cams", "similarity"}
    assert np.array_equal(plain["triples"], maps["triples"])  # the same pictures for every model


@pytest.mark.parametrize(
    ("settings", "streams"),
    [
        (BASELINE, 1),  # the main stream
        (IKT, 3),  # stage 1, and both streams jointly
        ({"stage1_epochs": 0}, 2),
        ({"epochs": 2, "attention_at_test": False}, 5),
        (MASKED | {"views": 8, "epochs": 2}, 2),
    ],
    ids=["baseline", "ikt", "joint", "two-epochs", "masked"],
)
def test_passes_are_the_images_that_went_through_a_trunk_in_training(run, passed, settings, streams):
    _, record = run("clothing", **SMALL | settings)
    batch = settings.get("views", 4) * 4
    assert sum(passed) == record.extra["passes"] == streams * batch * (IMAGES // batch)


def test_same_seed_same_numbers_another_seed_others(run):
    (space, first), (_, again), (other_space, other) = (run("clothing", **SMALL, seed=seed) for seed in (3, 3, 4))
    assert first.id == again.id != other.id
    assert first.metrics == again.metrics
    assert first.history == again.history
    assert first.per_query == again.per_query
    left_out = ("train_s",)
    ours, theirs = ({n: v for n, v in r.extra.items() if n not in left_out} for r in (first, again))
    assert ours == theirs
    assert space["history"]["loss"] != other_space["history"]["loss"]
    assert first.metrics["mAP_start"] != other.metrics["mAP_start"]


def test_arms_share_their_streams(run, shown, stages):
    """Arms of a seed and a sampler see the same pictures in the same crops, and their trunks start alike."""
    arms = {"baseline": BASELINE, "masked": MASKED, "ikt": IKT, "cbd": {"ikt": False}, "ifd-cl": {"contrast": "supcon"}}
    arms |= {"ifd": {}}
    joint, first, starts, found = {}, {}, {}, {}
    for arm, settings in arms.items():
        found[arm] = run("clothing", **SMALL | settings)[1].metrics["mAP_start"]
        joint[arm], first[arm], starts[arm] = shown[-PER_EPOCH:], shown[:-PER_EPOCH], stages[0][0]
        shown.clear()
        stages.clear()
    assert {arm: found[arm] == found["baseline"] for arm in arms} == dict.fromkeys(arms, True) | {"masked": False}
    for group in (("baseline", "masked", "ikt"), ("cbd", "ifd-cl", "ifd")):
        for arm in group[1:]:
            for ours, theirs in zip(joint[arm], joint[group[0]], strict=True):
                alike = {name: torch.equal(ours[name], theirs[name]) for name in ours}
                assert alike == dict.fromkeys(alike, True) | {"erased": arm != "masked"}  # there the masked picture
    assert not torch.equal(joint["ifd"][0]["picture"], joint["ikt"][0]["picture"])  # another sampler
    assert not torch.equal(joint["ifd"][0]["picture"], joint["ifd"][0]["erased"])
    assert [len(first[arm]) for arm in arms] == [0, 0, PER_EPOCH, 0, PER_EPOCH, PER_EPOCH]
    assert all(
        torch.equal(ours["masked"], theirs["masked"])
        for ours, theirs in zip(first["ifd"], first["ifd-cl"], strict=True)
    )
    assert not torch.equal(first["ifd"][0]["masked"], joint["ifd"][0]["masked"])
    for arm in arms:
        for name, value in starts["baseline"].items():
            if name.startswith("main."):
                assert torch.equal(value, starts[arm][name]), (arm, name)
    for name, value in starts["ifd"].items():
        if name.startswith("attention"):
            assert torch.equal(value, starts["ikt"][name]), name


def changed(stage):
    """Names of what a stage changed."""
    before, after = stage
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_the_first_stage_moves_the_attention_stream_and_the_second_the_rest(run, stages, stop_gradient):
    run("clothing", **SMALL, stop_gradient=stop_gradient)
    first, joint = stages
    everything = set(first[0])
    own = {name for name in everything if name.startswith(("attention.", "attention_neck.", "attention_classifier."))}
    assert changed(first) == own
    conv = {"attention_conv.weight"}
    assert changed(joint) == everything - (conv if stop_gradient else set())


def test_without_a_first_stage_training_starts_jointly(run, stages):
    space, _ = run("clothing", **SMALL | {"stage1_epochs": 0})
    assert len(stages) == 1
    torch.manual_seed(training.stream_seed(0, "initialisation"))
    for prefix in ("main.", "attention."):
        trunk = ifd.feature_maps(space["models"].build("resnet-small", weights=None))
        assert all(torch.equal(stages[0][0][prefix + name], value) for name, value in trunk.state_dict().items())


def test_the_whole_loss_is_the_sum_of_its_parts(run):
    space, _ = run("clothing", **SMALL | {"stage1_epochs": 0})
    p, model = space["p"], space["model"].train()
    batch = next(iter(space["batches"]("sampler", 0)))

    def loss(**settings):
        kept = {name: getattr(p, name) for name in settings}
        vars(p).update(settings)
        with torch.no_grad():
            total, parts = space["joint_loss"](model, batch, 0)
        vars(p).update(kept)
        return float(total), {name: float(part) for name, part in parts.items()}

    plain, nothing = loss(contrast="none")
    assert nothing == {}
    for contrast in ("ccl", "supcon"):
        for weight in (0.0, 1.0, 2.5):
            total, parts = loss(contrast=contrast, contrast_weight=weight)
            assert total == pytest.approx(plain + weight * parts["clothing"], rel=1e-5)
    pairs = [loss(T=T)[1]["clothing"] for T in (0.25, 0.5, 1, 2)]
    for greater, less in itertools.pairwise(pairs):
        assert greater > less > 0
    across = pairs[1] - pairs[2]  # the share of the pairs in two outfits, which T alone weighs
    assert pairs[0] == pytest.approx(pairs[2] + 3 * across, rel=1e-4)
    assert pairs[3] == pytest.approx(pairs[2] - across / 2, rel=1e-4)
    weighed = [loss(triplet_weight=weight)[0] - loss()[0] for weight in (1.0, 2.0)]
    assert weighed[1] == pytest.approx(2 * weighed[0], rel=1e-4)
    assert weighed[0] > 0
    assert loss(temperature=1.0)[1]["clothing"] != pairs[1]


def test_samplers_draw_outfits_as_they_say(run):
    _, record = run("clothing", **SMALL | {"ikt": False, "sampler": "ras"})
    assert record.extra["outfits_a_person"] == 2
    assert record.extra["pairs_changed"] == pytest.approx(4 / 6, rel=1e-4)  # of the pairs of two and two images
    space, _ = run("clothing", **SMALL | BASELINE | {"dataset": "ltcc-like", "views": 8})
    clothes, identities = space["train_clothes"], space["identities"]
    seen = {}
    for sampler in ("pk", "ras", "ras_prop"):
        space["p"].sampler = sampler
        five = itertools.islice(space["batches"]("sampler", 0), 5)
        persons = [chunk for batch in five for chunk in torch.tensor(batch).split(8)]
        assert all(len(set(identities[chunk].tolist())) == 1 for chunk in persons)
        seen[sampler] = [sorted(torch.unique(clothes[chunk], return_counts=True)[1].tolist()) for chunk in persons]
    assert {tuple(counts) for counts in seen["ras"]} == {(4, 4), (8,)}
    assert all(len(counts) <= 2 for counts in seen["ras_prop"])
    assert any(counts not in ([4, 4], [8]) for counts in seen["ras_prop"])
    assert any(len(counts) > 2 for counts in seen["pk"])


# ---------------------------------------------------------------- degenerate data


def loaded(monkeypatch, change):
    """Let `data.load` return what `change(people)` makes of it."""
    load = data.load
    monkeypatch.setattr(data, "load", lambda *arguments, **options: change(load(*arguments, **options)))


@pytest.mark.parametrize("sampler", ["ras", "ras_prop"])
def test_people_in_a_single_outfit(run, monkeypatch, sampler):
    def alone(people):
        frame = people.frame
        outfits = frame["clothes"].where(frame["split"] != "train", 8 * frame["pid"])
        return dataclasses.replace(people, frame=frame.assign(clothes=outfits))

    loaded(monkeypatch, alone)
    space, record = run("clothing", **SMALL, sampler=sampler)
    check(space, record)
    assert (space["train"].groupby("pid")["clothes"].nunique() == 1).all()
    assert (record.extra["outfits_a_person"], record.extra["pairs_changed"]) == (1, 0)
    assert min(space["history"]["clothing"]) > 0
    _, again = run("clothing", **SMALL, sampler=sampler, T=2)  # no pair differs in outfit
    assert again.metrics == record.metrics


def test_no_image_shows_clothing(run, monkeypatch, capsys):
    def bare(people):
        return dataclasses.replace(people, store=data.ImageStore(people.store.images, people.store.parts * 0))

    loaded(monkeypatch, bare)
    space, record = run("clothing", **SMALL)
    assert f"{IMAGES} of {IMAGES} images (train) show no clothing" in capsys.readouterr().out
    assert space["history"]["clothing"] == [0] * PER_EPOCH
    assert math.isfinite(record.extra["final_train_loss"])


# ---------------------------------------------------------------- data on disk


@pytest.fixture(scope="module")
def folders(few_people, tmp_path_factory):
    """Folders in the layouts of PRCC, LTCC and Market-1501, with label maps."""
    root = tmp_path_factory.mktemp("folders")
    for name in ("prcc", "ltcc"):
        layouts.draw(f"{name}-like", root / name, size=(32, 16), progress=False)
    write_market1501(*draw("market-like", size=(32, 16)), root / "Market-1501-v15.09.15")
    return root


def copied(folders, name, tmp_path):
    return shutil.copytree(folders / name, tmp_path / name)


@pytest.mark.parametrize("dataset", ["prcc", "ltcc"])
def test_a_folder_on_disk(run, folders, capsys, dataset):
    on_disk = {"dataset": dataset, "root": str(folders / dataset), "parsing": "drawn"}
    space, record = run("clothing", **SMALL | on_disk)
    check(space, record, on_disk, real=True)
    said = capsys.readouterr().out
    assert "images of real people are not shown" in said
    assert f"0 of {len(space['train'])} images (train) show no clothing" in said
    assert record.data["images"] == len(space["frame"])
    assert record.data["fingerprint"].startswith(f"{dataset}-")
    if dataset == "prcc":
        assert set(space["query"]["camid"]) == {1, 2}
        assert set(space["gallery"]["camid"]) == {0}


@pytest.mark.parametrize("settings", [{}, MASKED], ids=["ifd", "masked"])
@pytest.mark.parametrize(("folder", "split"), [("train", "train"), ("test/A", "gallery")])
def test_a_missing_label_map_is_said(run, folders, tmp_path, capsys, settings, folder, split):
    root = copied(folders, "prcc", tmp_path)
    sorted((root / "parts" / "rgb" / folder).rglob("*.png"))[5].unlink()
    on_disk = settings | {"dataset": "prcc", "root": str(root)}
    space, record = run("clothing", **SMALL | on_disk)
    check(space, record, on_disk, real=True)
    said = capsys.readouterr().out
    for name in ("train", "query", "gallery"):
        assert f"\n{int(name == split)} of {len(space[name])} images ({name}) show no clothing" in said


def test_a_mode_without_queries_is_left_out(run, monkeypatch, capsys):
    def without_camera_b(people):
        rows = people.frame.assign(row=people.frame.index)
        return dataclasses.replace(people, frame=make_frame(rows[(rows["split"] != "query") | (rows["camid"] == 2)]))

    loaded(monkeypatch, without_camera_b)
    _, record = run("clothing", **SMALL)
    assert "the mode 'same clothes' is left out: " in capsys.readouterr().out
    assert record.metrics["mAP"] == record.metrics["mAP_general"] > 0
    assert "mAP_same" not in record.metrics
    assert "watch/mAP_same" not in record.history


@pytest.mark.parametrize(
    ("settings", "runs"),
    [
        ({}, False),
        (IKT, False),
        ({"ikt": False}, False),
        (MASKED, False),
        (BASELINE, True),
        (IKT | {"attention_input": "image"}, True),
    ],
    ids=["ifd", "ikt", "cbd", "masked", "baseline", "ikt-image"],
)
def test_without_label_maps_what_needs_no_clothing_runs(run, folders, tmp_path, settings, runs):
    root = copied(folders, "prcc", tmp_path)
    shutil.rmtree(root / "parts")
    given = SMALL | settings | {"dataset": "prcc", "root": str(root)}
    if not runs:
        with pytest.raises(ValueError, match="the clothes can only be found with label maps, and this data set has no"):
            run("clothing", **given)
        return
    space, record = run("clothing", **given)
    assert 0 < record.metrics["mAP"] < 100
    assert len(space["history"]["loss"]) == record.extra["steps"]
    assert not [name for name in record.extra if name.startswith("attention_")]


# ---------------------------------------------------------------- kills and errors


@pytest.mark.parametrize("stage", ["first", "joint"])
def test_a_killed_run_goes_on_from_its_checkpoint(run, monkeypatch, stage):
    settings = SMALL | {
        "seed": 5,
        "epochs": 12 if stage == "joint" else 1,
        "stage1_epochs": 12 if stage == "first" else 1,
    }
    steps = 12 * PER_EPOCH  # a checkpoint after 100 of them
    whole, expected = run("clothing", **settings)
    calls, first_steps = [], []
    contrast, alone = clothing_contrast.clothing_contrast, ifd.IFD.attention_only

    def failing(calls, original, when, *arguments, **options):
        calls.append(1)
        if stage == when and len(calls) == steps - 2:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    def attention_only(model, masked):
        return failing(first_steps, alone, "first", model, masked) if model.training else alone(model, masked)

    monkeypatch.setattr(ifd.IFD, "attention_only", attention_only)
    monkeypatch.setattr(clothing_contrast, "clothing_contrast", functools.partial(failing, calls, contrast, "joint"))
    with pytest.raises(KeyboardInterrupt):
        run("clothing", **settings)
    assert whole["checkpoint"].exists()
    again, record = run("clothing", **settings)
    once = steps - 2 + steps - 100  # up to the kill, and what the checkpoint does not hold
    assert (len(first_steps), len(calls)) == ((once, PER_EPOCH) if stage == "first" else (PER_EPOCH, once))
    assert record.id == expected.id
    assert record.metrics == expected.metrics
    assert record.history == expected.history
    assert record.per_query == expected.per_query
    for ours, theirs in zip(again["model"].state_dict().values(), whole["model"].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert not whole["checkpoint"].exists()


def test_a_run_killed_before_its_record_was_written_trains_no_more(run, monkeypatch):
    expected = run("clothing", **SMALL, seed=6)[1]

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(results, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            run("clothing", **SMALL, seed=6)
    monkeypatch.setattr(clothing_contrast, "clothing_contrast", killed)  # no step is taken
    record = run("clothing", **SMALL, seed=6)[1]
    assert record.metrics == expected.metrics
    assert record.history == expected.history


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"persons": 13}, "a batch needs persons=13 identities but there are 12"),
        ({"persons": 13, "sampler": "pk"}, "a batch needs p=13 identities but there are 12"),
        ({"views": 1}, "views = 1: a loss on pairs needs at least 2 images of a person"),
        (
            {"views": 1, "appearances": 1, **BASELINE, "triplet_weight": 1.0},
            "views = 1: a loss on pairs needs at least 2",
        ),
        ({"views": 1, "contrast": "none"}, "cannot show appearances=2 outfits"),
        ({"kernel": 6}, "the kernel of the attention must be odd and at least 1, got 6"),
        ({"kernel": 0}, "kernel = 0: must be a number of at least 1"),
        ({"cloth_classes": "hats"}, "unknown set 'hats' of classes; the sets are person, clothes"),
        ({"cloth_classes": "hats", **BASELINE}, "unknown set 'hats' of classes; the sets are person, clothes"),
        ({"cloth_classes": "shoes", "parsing": "pascal"}, "the label set 'pascal' has no class in 'shoes'"),
        ({"parsing": "pascal"}, "the label map holds the value 7, but 'pascal' has the classes 0..6"),
        ({"parsing": "schp"}, "parsing = 'schp': must be one of 'lip', 'atr', 'pascal', 'drawn'"),
        ({"main_input": "mask"}, "did you mean 'masked'?"),
        ({"attention_input": "picture"}, "attention_input = 'picture': must be one of 'masked', 'image'"),
        ({"contrast": "cc"}, "did you mean 'ccl'?"),
        ({"sampler": "ras-prop"}, "did you mean 'ras_prop'?"),
        ({"shot": "single"}, "did you mean 'single10'?"),
        ({"precision": "float61"}, "did you mean 'float16'?"),
        ({"evaluate_on": "train"}, "evaluate_on = 'train': must be one of 'test', 'validation'"),
        ({"T": 0}, "T = 0: must be a number of at least 0.001"),
        ({"temperature": 0}, "temperature = 0: must be a number of at least 0.001"),
        ({"persons": 1}, "persons = 1: must be a number of at least 2"),
        ({"epochs": 0}, "epochs = 0: must be a number of at least 1"),
        ({"stage1_epochs": -1}, "stage1_epochs = -1: must be a number of at least 0"),
        ({"erasing": 1.5}, "erasing = 1.5: must be a number from 0 to 1"),
        ({"triple_looks": 2}, "triple_looks = 2: must be a number from 0 to 1"),
        ({"ikt": "no"}, "ikt = 'no': must be True or False"),
        ({"backbone": "mildnet-small"}, "did you mean 'resnet-small'?"),
        ({"dataset": "prc-like"}, "did you mean 'prcc-like'?"),
        ({"dataset": "prcc"}, "pass root=FOLDER"),
        ({"root": "/tmp"}, "'prcc-like' is drawn and reads no folder"),
        ({"weights": "/no/such/weights.pth"}, "no/such/weights.pth"),
        ({"kernal": 3}, "no parameter 'kernal'"),
    ],
    ids=lambda value: "-".join(map(str, value)) + f"={next(iter(value.values()))}" if isinstance(value, dict) else "",
)
def test_wrong_values_say_what_to_do(run, given, message):
    with pytest.raises((ValueError, FileNotFoundError, RuntimeError)) as caught:
        run("clothing", **SMALL | given)
    assert message in str(caught.value)


@pytest.mark.parametrize("settings", [{}, BASELINE], ids=["ifd", "baseline"])
def test_people_who_never_change_are_refused(run, folders, settings):
    on_disk = {"dataset": "market1501", "root": str(folders)}
    for name, given in {"market1501": on_disk, "market-like": {"dataset": "market-like"}}.items():
        with pytest.raises(ValueError, match=f"dataset = '{name}' shows nobody in two outfits: choose one with"):
            run("clothing", **SMALL | settings | given)
