"""The label smoothing chapter's notebook as a reader runs it: targets, generators, splits, kills, folders, errors."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from reidlib import data, generation, results, training
from reidlib.data import layouts
from reidlib.data.frame import make_frame
from reidlib.data.pedestrians import draw, write_market1501
from reidlib.losses import label_smoothing
from reidlib.results import claims

NOTEBOOK = "label_smoothing"
SMALL = {"dataset": "market-like", "height": 32, "width": 16, "weights": "none", "images_seen": 256}
SMALL |= {"cluster_epochs": 1, "parent_steps": 3, "gan_steps": 2, "gan_base": 4}
PEOPLE = {"market-like": (12, 8), "viper-like": (20, 20), "cuhk03-like": (12, 6)}  # to train on and to test on
SCORES = ("mAP", "mAP_trap", "R1", "R5", "R10", "R20")
ATTRIBUTES = {f"information_{name}" for name in ("identity", "camera", "brightness", "upper", "lower")}
QUALITY = {"frechet", "frechet_real", "spread", "repeats", "collapsed", "in_own_cluster"}
SINGLE = {"dataset": "cuhk03-like"}
SHORT = SMALL | {"images_seen": 32}
NEITHER = ("train_s", "protocol")  # what two runs of the same numbers may differ in


@pytest.fixture(scope="module", autouse=True)
def few_people(shrunk):
    changes = {name: dict(zip(("train_ids", "test_ids"), people, strict=True)) for name, people in PEOPLE.items()}
    with shrunk(changes, ("resnet-small", "densenet-small"), (32, 16)):
        yield


@pytest.fixture
def trained(monkeypatch):
    """What was trained, in order: the descriptions of networks and of generators."""
    names, train, train_gan = [], training.train, generation.train_gan

    def network(*arguments, **options):
        names.append(options["description"])
        return train(*arguments, **options)

    def gan(*arguments, **options):
        names.append(options["description"])
        return train_gan(*arguments, **options)

    monkeypatch.setattr(training, "train", network)
    monkeypatch.setattr(generation, "train_gan", gan)
    return names


def facts(record):
    return {name: value for name, value in record.extra.items() if name not in NEITHER}


def assert_same_numbers(one, other):
    assert one.metrics == other.metrics
    assert one.history == other.history
    assert one.per_query == other.per_query
    # the network of the clusters gives features of another rounding when it comes from its file
    ours, theirs = facts(one), facts(other)
    assert ours.pop("images_key", None) == theirs.pop("images_key", None)
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


def check(space, record, settings):
    """What holds for every record of the chapter."""
    settings = SMALL | {"target": "slsr", "fake_ratio": 1.0, "k_clusters": 3, "batch_size": 32} | settings
    metrics, extra, history = record.metrics, record.extra, record.history
    assert record.experiment == "label_smoothing"
    assert {name: record.parameters[name] for name in settings} == settings
    single = settings["dataset"].startswith("cuhk03") or settings.get("shot") == "single"
    several = not single and not settings["dataset"].startswith("viper")
    for ending in ("", "_rerank", *["_multi"] * several):
        values = [metrics[name + ending] for name in SCORES]
        assert all(0 < value <= 100 for value in values)
        assert values[1] <= values[0]
        assert values[2:] == sorted(values[2:])
    assert ("R1_multi" in metrics) == several
    assert 0 < metrics["mAP_start"] < 100
    assert metrics["mAP"] == pytest.approx(100 * np.mean(record.per_query["ap_std"]), abs=0.01)
    assert metrics["mAP_trap"] == pytest.approx(100 * np.mean(record.per_query["ap_trap"]), abs=0.01)
    assert metrics["R1"] == pytest.approx(100 * np.mean(np.equal(record.per_query["rank"], 1)), abs=0.01)
    count = 0 if settings["target"] == "none" else round(settings["fake_ratio"] * extra["labelled_images"])
    assert extra["generated"] == count
    share = count / (extra["labelled_images"] + count)
    assert extra["steps"] == max(1, round(settings["images_seen"] / (1 - share)) // settings["batch_size"])
    assert len(history["loss"]) == extra["steps"]
    assert all(math.isfinite(value) for value in history["loss"])
    assert extra["final_train_loss"] == pytest.approx(np.mean(history["loss"][-20:]), rel=1e-3)
    assert np.mean(history["generated"]) == pytest.approx(share, abs=0.15)
    assert history["watch/step"][-1] == extra["steps"]
    assert history["watch/mAP"][-1] == pytest.approx(metrics["mAP"], abs=1e-3)
    assert 1 / settings["k_clusters"] - 1e-6 <= extra["set_overlap"] <= 1
    assert all(-1 <= extra[f"silhouette_{space}_k{k}"] <= 1 for space in ("full", "pca2") for k in (2, 3, 4, 5))
    chosen = f"silhouette_{settings.get('silhouette_space', 'pca2')}_k{settings['k_clusters']}"
    assert extra.get("silhouette") == (extra[chosen] if settings["k_clusters"] > 1 else None)
    if settings["k_clusters"] > 1:
        known = {name for name in ATTRIBUTES if "root" not in settings or name[12:] not in ("upper", "lower")}
        assert set(extra) & ATTRIBUTES == known
        assert all(-1 <= extra[name] <= 1 for name in known)
    assert set(extra) & QUALITY == (QUALITY if count > 1 else {"in_own_cluster"} if count else set())
    files = {file.name for file in record.source.iterdir()}
    assert {"order.npz", "ranking.npz", "reranked.npz"} <= files
    assert ("generated.npz" in files) == (count > 0)
    assert ("model.safetensors" in files) == settings.get("keep_model", False)
    assert not space["checkpoint"].exists()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target": "lsro"},
        {"target": "lsr", "epsilon": 0.2, "precision": "bfloat16"},
        {"target": "onehot_cluster", "noise_layer": "post_softmax"},
        {"target": "as_released", "erasing": 0.8, "head_factor": 5.0},
        {"target": "none"},
        {"target": "none", "noise_layer": "post_softmax", "lr_mode": "inv", "keep_model": True},
        {"backbone": "densenet-small", "weights": "auto"},
        {"fake_source": "parent"},
        {"fake_source": "drawn", "flip_test": False},
        {"labelled": 2, "hold_out": True, "fake_ratio": 2.0},
        {"fake_ratio": 0.5, "gan_height": 48, "gan_width": 32, "parent_gan": False},
        {"fake_ratio": 0.0},
        {"fake_ratio": 0.005},  # a single image
        {"k_clusters": 5, "shuffled_sets": True, "silhouette_space": "full"},
        {"k_clusters": 1},
        {"evaluate_on": "validation"},
        {"dataset": "viper-like"},
        {"dataset": "viper-like", "evaluate_on": "validation", "hold_out": True},
        SINGLE,
        SINGLE | {"shot": "all"},
        {"shot": "single"},
    ],
    ids=lambda settings: "-".join(f"{name}={value}" for name, value in settings.items()) or "slsr",
)
def test_every_switch_gives_a_sound_record(once, settings):
    space, record = once(**settings)
    if settings == SINGLE | {"shot": "all"}:
        assert "R1_multi" in record.metrics
        assert "multi-shot" in record.extra["protocol"]["shots"]
        return
    check(space, record, settings)


def test_records_hold_what_the_claims_read(once):
    kept = {"market-like": once()[1], "cuhk03-like": once(**SINGLE)[1], "viper-like": once(dataset="viper-like")[1]}
    kept["duke-like"] = kept["market-like"]

    def values(arm, name, dataset):
        value = (kept[dataset].metrics | kept[dataset].extra)[name]
        return dict.fromkeys(range(3), value)

    told = [claim for claim in claims.load("P3") if claim.compare]
    assert len(told) > 10
    for claim in told:
        assert claims.RULES["P3"][claim.id](claim.compare, values).status != "not run", claim.id


# ---------------------------------------------------------------- targets


def of_generated(space):
    """Targets of the generated images, after a look at those of the real ones."""
    real = len(space["real"])
    assert torch.equal(space["targets"][:real].argmax(1), space["identities"][space["real"]])
    assert torch.equal(space["targets"][:real].sum(1), torch.ones(real))
    return space["targets"][real:]


def test_targets_are_what_the_chapter_says(once):
    names = ("slsr", "lsro", "lsr", "onehot_cluster")
    spaces = {name: once(**{} if name == "slsr" else {"target": name})[0] for name in names[:2]}
    spaces["lsr"], _ = once(target="lsr", epsilon=0.2, precision="bfloat16")
    spaces["onehot_cluster"], _ = once(target="onehot_cluster", noise_layer="post_softmax")
    targets = {name: of_generated(space) for name, space in spaces.items()}
    for name, found in targets.items():
        assert len(found) == len(spaces[name]["fakes"])
        assert found.sum(1) == pytest.approx(1, abs=1e-5)
    space, classes = spaces["slsr"], targets["slsr"].shape[1]
    clusters, identities = space["clusters"], space["identities"]
    for cluster in range(3):
        members = torch.unique(identities[clusters == cluster])
        expected = torch.zeros(classes).index_fill_(0, members, 1 / len(members))
        own = targets["slsr"][space["fake_clusters"] == cluster]
        assert torch.allclose(own, expected.expand_as(own))
    assert torch.equal(targets["lsro"], torch.full_like(targets["lsro"], 1 / classes))
    sets = spaces["onehot_cluster"]["sets"][spaces["onehot_cluster"]["fake_clusters"]]
    assert torch.equal(targets["onehot_cluster"].sort(1).values[:, -1], torch.ones(len(sets)))
    assert sets.gather(1, targets["onehot_cluster"].argmax(1, keepdim=True)).all()  # an identity of the cluster
    assert targets["lsr"].min() == pytest.approx(0.2 / classes)
    assert targets["lsr"].max() == pytest.approx(0.8 + 0.2 / classes)


def test_as_released_trains_as_lsro_does(once):
    (_, released), (_, lsro), (_, slsr) = (once(target=name) for name in ("as_released", "lsro", "slsr"))
    assert_same_numbers(released, lsro)
    assert released.id != lsro.id
    assert slsr.history["loss"] != lsro.history["loss"]


def test_with_one_cluster_slsr_is_lsro(once):
    (sparse, one), (uniform, other) = once(k_clusters=1), once(k_clusters=1, target="lsro")
    assert torch.equal(sparse["fakes"], uniform["fakes"])
    assert one.extra["set_overlap"] == 1
    assert_same_numbers(one, other)


def test_targets_change_nothing_but_the_loss(once):
    """The same start, the same real and generated images in the same batches."""
    (ours, slsr), (theirs, lsro), (none, plain) = once(), once(target="lsro"), once(target="none")
    assert torch.equal(ours["pool"], theirs["pool"])
    assert slsr.history["generated"] == lsro.history["generated"]
    assert slsr.metrics["mAP_start"] == lsro.metrics["mAP_start"] == plain.metrics["mAP_start"]
    assert torch.equal(none["pool"], ours["pool"][: len(none["pool"])])
    assert plain.extra["steps"] * 32 == SMALL["images_seen"]


def test_wrong_clusters_get_the_identities_of_another_one(once):
    space, _ = once(k_clusters=5, shuffled_sets=True, silhouette_space="full")
    support = of_generated(space) > 0
    for cluster in range(5):
        rows = support[space["fake_clusters"] == cluster]
        assert (rows == rows[0]).all()
        others = [other for other in range(5) if other != cluster and torch.equal(space["sets"][other], rows[0])]
        assert others


# ---------------------------------------------------------------- generators


def test_every_cluster_gives_the_same_number_of_images_of_its_own_generator(once):
    space, record = once()
    share = torch.bincount(space["fake_clusters"], minlength=3)
    assert share.sum() == len(space["train"])
    assert share.max() <= len(space["train"]) // 3 + 1
    kept = np.load(record.source / "generated.npz")
    assert kept["images"].shape[1:] == (3, 32, 16)
    assert kept["images"].dtype == np.uint8
    assert np.bincount(kept["clusters"]).max() <= 24
    for cluster in range(3):
        of_one = space["fakes"][space["fake_clusters"] == cluster]
        assert np.array_equal(kept["images"][kept["clusters"] == cluster][0], of_one[0].numpy())


def test_generators_are_trained_once_for_all_arms(run, trained):
    own = {"gan_steps": 1, "parent_steps": 2, "images_seen": 32}

    def again(**settings):
        trained.clear()
        space, record = run("label_smoothing", **SMALL | own | settings)
        return space, record, [name for name in trained if name.startswith(("GAN", "cluster"))]

    whole, clusters = "GAN of all images", [f"GAN of cluster {n}" for n in range(3)]
    first, kept, made = again(gan_seed=7)
    assert made == ["cluster network", whole, *clusters]
    second, same, nothing = again(gan_seed=7)
    assert nothing == []
    assert_same_numbers(kept, same)
    assert torch.equal(first["clusters"], second["clusters"])
    assert torch.allclose(first["raw"], second["raw"], atol=1e-5)
    for settings in ({"target": "lsro"}, {"seed": 3}, {"backbone": "densenet-small"}, {"learning_rate": 0.1}):
        space, _, nothing = again(gan_seed=7, **settings)
        assert nothing == []
        assert torch.equal(space["fakes"], first["fakes"])
    assert again(gan_seed=7, k_clusters=2)[2] == clusters[:2]  # from the generator of all images that is there
    other, _, made = again(gan_seed=8)
    assert made == ["cluster network", whole, *clusters]
    assert not torch.equal(other["fakes"], first["fakes"])
    assert again(gan_seed=7, parent_gan=False)[2] == clusters


@pytest.mark.parametrize("settings", [{"target": "none"}, {"fake_ratio": 0.0}], ids=["none", "ratio0"])
def test_without_generated_images_no_generator_is_trained(run, trained, settings):
    space, record = run("label_smoothing", **SHORT | settings, gan_seed=11)
    assert not [name for name in trained if name.startswith("GAN")]
    assert len(space["pool"]) == len(space["real"])
    assert set(record.history["generated"]) == {0}


def test_one_generator_of_all_images(run, once, trained):
    space, _ = run("label_smoothing", **SHORT | {"fake_source": "parent"}, gan_seed=12)
    assert [name for name in trained if name.startswith("GAN")] == ["GAN of all images"]
    gap = torch.cdist(space["raw_features"](space["cluster_model"], space["fakes"]), space["centroids"])
    assert torch.equal(space["fake_clusters"], gap.argmin(1))
    assert once(fake_source="parent")[1].extra["in_own_cluster"] == 1


def test_a_perfect_generator_draws_other_people(run, once, trained):
    space, _ = run("label_smoothing", **SHORT | {"fake_source": "drawn"}, gan_seed=13)
    assert not [name for name in trained if name.startswith("GAN")]
    here = {image.numpy().tobytes() for image in space["people"].store.images}
    fakes = [image.numpy().tobytes() for image in space["fakes"]]
    assert len(set(fakes)) == len(fakes) == len(space["train"])
    assert not here & set(fakes)
    ours, theirs = (once(fake_source=source)[1].extra["frechet"] for source in ("drawn", "clusters"))
    assert ours < theirs


# ---------------------------------------------------------------- who trains


def test_few_labels_and_held_out_images(once):
    whole, _ = once()
    few, record = once(labelled=2, hold_out=True, fake_ratio=2.0)
    counts = torch.bincount(few["identities"][few["real"]])
    assert set(counts.tolist()) == {2}
    assert (record.extra["labelled_images"], record.extra["generated"]) == (24, 48)
    assert torch.equal(few["training_images"], whole["training_images"])  # the generators see all
    labelled, apart = once(labelled=2, target="none")[0]["real"], once(hold_out=True, target="none")[0]["real"]
    everything = set(range(len(whole["train"])))
    held = everything - set(apart.tolist())
    identities = whole["identities"]
    assert sorted(identities[list(held)].tolist()) == list(range(12))  # one image of each
    assert not held & set(few["real"].tolist())
    assert set(torch.bincount(identities[labelled]).tolist()) == {2}
    assert set(whole["real"].tolist()) == everything
    of_labelled = torch.zeros_like(few["sets"])
    of_labelled[few["clusters"][few["real"]], identities[few["real"]]] = True
    assert torch.equal(few["sets"], of_labelled)


def test_the_seed_draws_the_half_of_viper_that_trains(once):
    viper = {"dataset": "viper-like"}
    spaces = {seed: once(**viper, seed=seed, target="none")[0] for seed in (0, 1, 11)}
    spaces["split"] = once(**viper, split=1, target="none")[0]
    halves = {}
    for name, space in spaces.items():
        halves[name], tested = set(space["train"]["pid"]), set(space["query"]["pid"])
        assert not halves[name] & tested
        assert set(space["gallery"]["pid"]) == tested
        assert len(halves[name]) == len(tested) == 20
        assert set(space["query"]["camid"]) == {0}
        assert set(space["gallery"]["camid"]) == {1}
        assert len(space["train"]) == 40
    assert halves[0] != halves[1]
    assert halves[1] == halves[11] == halves["split"]


def test_single_shot_draws_on_cuhk03_and_its_likeness(once):
    space, record = once(**SINGLE)
    assert "10 draws" in record.extra["protocol"]["shots"]
    assert record.metrics["R10"] == 100  # six people, one image of each
    assert set(record.metrics) >= {f"{name}_rerank" for name in SCORES}
    _, whole = once(**SINGLE, shot="all")
    assert whole.metrics["mAP"] != record.metrics["mAP"]
    assert len(np.load(record.source / "order.npz")["order"]) == len(space["query"])


def test_same_seed_same_numbers_another_seed_others(run, once, capsys):
    (_, first), (_, again), (_, other) = once(), run("label_smoothing", **SMALL), once(seed=4, gan_seed=0)
    assert "COLLAPSED: collapsed" in capsys.readouterr().out
    assert first.id == again.id != other.id
    assert_same_numbers(first, again)
    assert first.history["loss"] != other.history["loss"]
    assert first.extra["set_overlap"] == other.extra["set_overlap"]


# ---------------------------------------------------------------- data on disk


@pytest.fixture(scope="module")
def folders(few_people, tmp_path_factory):
    """Folders in the layouts of Market-1501, VIPeR and CUHK03."""
    root = tmp_path_factory.mktemp("folders")
    write_market1501(*draw("market-like", size=(32, 16)), root / "market" / "Market-1501-v15.09.15")
    for name in ("viper", "cuhk03"):
        layouts.draw(f"{name}-like", root / name, size=(32, 16), progress=False)
    return root


@pytest.mark.parametrize(("dataset", "folder"), [("market1501", "market"), ("viper", "viper"), ("cuhk03", "cuhk03")])
def test_a_folder_on_disk(run, folders, capsys, dataset, folder):
    on_disk = {"dataset": dataset, "root": str(folders / folder)}
    space, record = run("label_smoothing", **SMALL | on_disk, seed=1)
    check(space, record, on_disk)
    assert "images of real people are not shown" in capsys.readouterr().out
    assert record.data["fingerprint"].startswith(f"{dataset}-")
    assert set(space["train"]["pid"]).isdisjoint(space["query"]["pid"])
    if dataset == "viper":
        tested = set(space["query"]["pid"])
        assert set(run("label_smoothing", **SMALL | on_disk, target="none")[0]["query"]["pid"]) != tested


# ---------------------------------------------------------------- kills and errors


def test_a_killed_run_goes_on_from_its_checkpoint(run, monkeypatch):
    settings = SMALL | {"images_seen": 1760, "seed": 5, "gan_seed": 0}
    whole, expected = run("label_smoothing", **settings)
    assert expected.extra["steps"] == 110  # a checkpoint after 100
    calls, loss = [], label_smoothing.soft_cross_entropy

    def failing(logits, targets):
        calls.append(1)
        if len(calls) == 107:
            raise KeyboardInterrupt
        return loss(logits, targets)

    monkeypatch.setattr(label_smoothing, "soft_cross_entropy", failing)
    with pytest.raises(KeyboardInterrupt):
        run("label_smoothing", **settings)
    assert whole["checkpoint"].exists()
    again, record = run("label_smoothing", **settings)
    assert len(calls) == 107 + 10
    assert_same_numbers(record, expected)
    for ours, theirs in zip(again["model"].state_dict().values(), whole["model"].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert not whole["checkpoint"].exists()


def test_a_run_killed_among_its_generators_keeps_those_it_has(run, trained, monkeypatch):
    gan = generation.train_gan

    def failing(*arguments, **options):
        if options["description"] == "GAN of cluster 1":
            raise KeyboardInterrupt
        return gan(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(generation, "train_gan", failing)
        with pytest.raises(KeyboardInterrupt):
            run("label_smoothing", **SHORT, gan_seed=21)
    assert trained == ["cluster network", "GAN of all images", "GAN of cluster 0"]
    trained.clear()
    run("label_smoothing", **SHORT, gan_seed=21)
    assert trained[:-1] == ["GAN of cluster 1", "GAN of cluster 2"]


def test_a_run_killed_before_its_record_was_written_trains_no_more(run, monkeypatch):
    expected = run("label_smoothing", **SHORT, seed=6, gan_seed=0)[1]

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(results, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            run("label_smoothing", **SHORT, seed=6, gan_seed=0)
    monkeypatch.setattr(label_smoothing, "soft_cross_entropy", killed)  # no step is taken
    record = run("label_smoothing", **SHORT, seed=6, gan_seed=0)[1]
    assert_same_numbers(record, expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gan_height": 32}, "gan_height and gan_width go together: give both, or neither"),
        ({"gan_width": 32}, "gan_height and gan_width go together: give both, or neither"),
        ({"gan_height": 40, "gan_width": 16}, "must be multiples of 16, got (40, 16)"),
        ({"fake_source": "drawn", "dataset": "market1501", "root": "/tmp"}, "fake_source = 'drawn' needs a drawn data"),
        ({"fake_source": "drawn", "fake_ratio": 9}, "are asked for: lower fake_ratio"),
        ({"fake_source": "gan"}, "fake_source = 'gan': must be one of 'clusters', 'parent', 'drawn'"),
        ({"target": "slrs"}, "did you mean 'slsr'?"),
        ({"target": "as-released"}, "did you mean 'as_released'?"),
        ({"shuffled_sets": True, "k_clusters": 1}, "shuffled_sets = True needs k_clusters of 2 or more"),
        ({"shuffled_sets": 1}, "shuffled_sets = 1: must be True or False"),
        ({"k_clusters": 0}, "k_clusters = 0: must be a number of at least 1"),
        ({"k_clusters": 400}, "clusters for n images, got k = 400"),
        ({"labelled": 0}, "labelled = 0: must be a number of at least 1, or None"),
        ({"epsilon": 1}, "epsilon = 1: must be a number from 0 to 0.99"),
        ({"fake_ratio": -1}, "fake_ratio = -1: must be a number of at least 0"),
        ({"gan_batch": 1}, "gan_batch = 1: must be a number of at least 2"),
        ({"noise_layer": "post-softmax"}, "did you mean 'post_softmax'?"),
        ({"backbone": "densnet121"}, "did you mean 'densenet121'?"),
        ({"backbone": "mildnet"}, "backbone = 'mildnet': must be one of"),
        ({"weights": "imagenet"}, "no ImageNet weights for resnet-small"),
        ({"weights": "/no/such/weights.pth"}, "no/such/weights.pth"),
        ({"silhouette_space": "pca"}, "did you mean 'pca2'?"),
        ({"lr_mode": "step"}, "did you mean 'step40'?"),
        ({"shot": "multi"}, "shot = 'multi': must be one of 'auto', 'all', 'single'"),
        ({"precision": "float61"}, "did you mean 'float16'?"),
        ({"evaluate_on": "train"}, "evaluate_on = 'train': must be one of 'test', 'validation'"),
        ({"rerank_weight": 2}, "rerank_weight = 2: must be a number from 0 to 1"),
        ({"dataset": "viper-lik"}, "did you mean 'viper-like'?"),
        ({"dataset": "market1501"}, "pass root=FOLDER"),
        ({"root": "/tmp"}, "'market-like' is drawn and reads no folder"),
        ({"k_cluster": 3}, "no parameter 'k_cluster'"),
    ],
    ids=lambda value: "-".join(f"{n}={v}" for n, v in value.items()) if isinstance(value, dict) else "",
)
def test_wrong_values_say_what_to_do(run, given, message):
    with pytest.raises((ValueError, FileNotFoundError, RuntimeError)) as caught:
        run("label_smoothing", **SMALL | given)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_image_alone_cannot_be_held_out(run, monkeypatch):
    load = data.load

    def one_each(*arguments, **options):
        people = load(*arguments, **options)
        rows = people.frame.assign(row=people.frame.index)
        again = (rows["split"] == "train") & rows.duplicated(["split", "pid"])
        return dataclasses.replace(people, frame=make_frame(rows[~again]))

    monkeypatch.setattr(data, "load", one_each)
    with pytest.raises(ValueError, match="hold_out leaves an identity of one image without any"):
        run("label_smoothing", **SMALL, hold_out=True)
