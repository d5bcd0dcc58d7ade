"""The reconstruction chapter's notebook as a reader runs it: losses, switches, swapped images, kills, errors."""

import functools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from reidlib import data, dgnet, dgnet_start, figures, models, results, silhouettes, training, warmstart
from reidlib.data.augment import normalise
from reidlib.data.pedestrians import draw, write_market1501
from reidlib.dgnet_terms import Weights
from reidlib.losses import reconstruction
from reidlib.models.dgnet import DGNet, small
from reidlib.results import claims
from reidlib.retrieval import inception
from reidlib.retrieval.frechet import frechet_distance
from reidlib.workflow import grid

NOTEBOOK = "reconstruction"
SIZE = (32, 32)  # the coarsest scale of the discriminator needs more than 16 pixels a side, outlines multiples of 16
SMALL = {"height": 32, "width": 32, "weights": "none", "generator_start": "none", "steps": 4, "batch_size": 4}
SMALL |= {"teacher_steps": 2, "outline_steps": 2}
FEW = {"cameras": 3, "cameras_per_id": (2, 2), "images_per_camera": (1, 2), "train_ids": 30, "test_ids": 8}
SCORES = ("mAP", "mAP_trap", "R1", "R5", "R10", "R20")
QUALITY = {"frechet", "frechet_halves", "frechet_again", "identity", "identity_real", "reconstruction_error"}
OUTLINES = {"outline", "outline_real", "outline_other"}
ONE_STEP = {"steps": 1, "outline_steps": 1, "teacher": False}
LARGE = {"networks": "reference", "height": 48, "width": 48, "steps": 2, "batch_size": 2, "generator_start": "auto"}
LARGE |= {"evaluate_on": "validation"}  # fewer images to swap
GRID = figures.grid


@pytest.fixture(scope="module", autouse=True)
def few_people(shrunk):
    few = {"market-like": FEW, "duke-like": FEW | {"extra_ids": 4}, "warmstart": {"train_ids": 12}}
    with shrunk(few, ["resnet-small"], SIZE), shrunk(few, ["resnet-small"], (48, 48)):
        yield


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    """Rows of the pictures that a run shows, in place of the pictures themselves, which take longer than the run."""
    rows = []
    monkeypatch.setattr(figures, "grid", lambda table, **options: rows.append(table))
    return rows


def own(record):
    """All that may not differ between two runs of the same numbers."""
    extra = {name: value for name, value in record.extra.items() if name != "train_s"}
    return record.metrics, record.history, record.per_query, extra


def scores_of(record):
    """The scores of the encoder alone, which do not depend on the quality of images."""
    return {name: value for name, value in record.metrics.items() if name not in QUALITY | OUTLINES}


def same_weights(one, other):
    states = (one.state_dict().values(), other.state_dict().values())
    return all(torch.equal(a, b) for a, b in zip(*states, strict=True))


def near(one, other):
    """Images of one network, whose last digits depend on how many it sees at once."""
    return one.shape == other.shape and (one.short() - other.short()).abs().max() <= 1


# ---------------------------------------------------------------- records


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"recon": "l1+rmse", "dataset": "duke-like", "data_seed": 1},
        {"recon": "ml", "precision": "bfloat16"},
        {"recon": "huber-printed", "evaluate_on": "validation"},
        {"generator": False},
        {"teacher": False},
        {"live_code": True},
        {"alpha_fine": 0.0, "keep_model": True, "weights": "auto"},
        {"frechet_images": 20, "recon": "mrae"},
        {"warm_from": 1.0},
        LARGE,
    ],
    ids=lambda settings: "-".join(f"{name}={value}" for name, value in settings.items()) or "l1",
)
def test_every_switch_gives_a_sound_record(once, settings):
    space, record = once(**settings)
    settings = SMALL | {"generator": True, "teacher": True, "evaluate_on": "test", "alpha_fine": 0.5} | settings
    metrics, extra, history = record.metrics, record.extra, record.history
    assert record.experiment == "reconstruction"
    assert {name: record.parameters[name] for name in settings} == settings
    assert record.data["evaluated on"] == settings["evaluate_on"]
    assert record.data["images"] == len(space["train"]) + len(space["query"]) + len(space["gallery"])
    for ending in ("", "_alpha0", "_fine"):
        values = [metrics[name + ending] for name in SCORES]
        assert all(0 < value <= 100 for value in values[:2])
        assert values[1] <= values[0]
        assert values[2:] == sorted(values[2:])
    assert all(0 < metrics[f"mAP_{name}"] < 100 for name in ("start", "chance", "recalibrated"))
    assert len({metrics[f"mAP{ending}"] for ending in ("", "_fine", "_recalibrated", "_start")}) == 4
    assert metrics["mAP"] == pytest.approx(100 * np.mean(record.per_query["ap_std"]), abs=0.01)
    assert metrics["mAP_trap"] == pytest.approx(100 * np.mean(record.per_query["ap_trap"]), abs=0.01)
    assert metrics["R1"] == pytest.approx(100 * np.mean(np.equal(record.per_query["rank"], 1)), abs=0.01)
    assert (extra["steps"], extra["classes"]) == (settings["steps"], space["train"]["pid"].nunique())
    assert len(history["total"]) == settings["steps"]
    assert all(math.isfinite(value) for name in history for value in history[name])
    assert history["watch/step"][-1] == settings["steps"]
    assert history["watch/mAP"][-1] == pytest.approx(metrics["mAP"], abs=1e-3)
    assert set(metrics) & (QUALITY | OUTLINES) == (QUALITY | OUTLINES if settings["generator"] else set())
    assert ("appearance_code_gradient" in extra) == (settings["generator"] and settings.get("warm_from") != 1)
    if settings["generator"]:
        assert all(0 <= metrics[name] <= 100 for name in OUTLINES | {"identity", "identity_real"})
        assert metrics["frechet"] > metrics["frechet_halves"] > 0
        assert 0 < metrics["reconstruction_error"] < 100
        assert extra["frechet_images"] == len(space["swapped"]) == settings.get("frechet_images", len(space["real"]))
    files = {file.name for file in record.source.iterdir()}
    assert {"order.npz", "ranking.npz"} <= files
    assert (results.SHEET in files) == settings["generator"]
    assert ("model.safetensors" in files) == settings.get("keep_model", False)
    assert not space["checkpoint"].exists()


def test_records_hold_what_the_claims_read(once):
    kept = {"market-like": once()[1], "duke-like": once(recon="l1+rmse", dataset="duke-like", data_seed=1)[1]}
    live = once(live_code=True)[1]

    def values(arm, name, dataset):
        record = live if arm == "live-code" else kept[dataset]
        return dict.fromkeys(range(3), (record.metrics | record.extra)[name])

    told = [claim for claim in claims.load("P4") if claim.compare]
    assert len(told) == 12
    verdicts = {claim.id: claims.RULES["P4"][claim.id](claim.compare, values) for claim in told}
    assert "not run" not in {verdict.status for verdict in verdicts.values()}
    assert verdicts["P4-C12"].status == "reproduced"  # exactly zero, and above zero where the code is live


def test_arms_of_the_grid_are_parameters_that_the_notebook_takes(run, monkeypatch):
    """Every arm comes as far as the data, which is after all settings are checked."""

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "load", stop)
    for arm, parameters in grid.read(NOTEBOOK).arms.items():
        with pytest.raises(KeyboardInterrupt):
            run(NOTEBOOK, **SMALL | parameters | {"arm": arm})


# ---------------------------------------------------------------- the loss


def test_twice_l1_is_l1_with_twice_the_weight(once):
    (_, whole), (_, twice), (_, scaled) = once(), once(recon_weights=[2.0]), once(recon_scale=2.0)
    assert own(twice) == own(scaled)
    assert twice.id != scaled.id
    assert twice.history["image"][0] == 2 * whole.history["image"][0]
    assert twice.history["identity"][0] == whole.history["identity"][0]
    assert twice.history["image"][-1] != 2 * whole.history["image"][-1]
    assert twice.metrics["frechet"] != whole.metrics["frechet"]


def test_weights_of_a_sum(once):
    first = {
        name: once(recon=name, **ONE_STEP | more)[1].history["image"][0]
        for name, more in {"l1": {}, "mse": {}, "l1+mse": {"recon_weights": [0.4, 0.6], "recon_scale": 3.0}}.items()
    }
    assert first["l1+mse"] == pytest.approx(3 * (0.4 * first["l1"] + 0.6 * first["mse"]), rel=1e-5)
    assert first["l1"] != first["mse"]


@pytest.mark.parametrize("terms", ["image", "code", "cycle", "code+image"])
def test_other_terms_keep_l1(once, terms):
    """With a loss of weight 0 the terms that have it are 0, and the others those of L1."""
    named = {"image": ("image", "same_identity"), "code": ("structure_code", "appearance_code"), "cycle": ("cycle",)}
    history = once(recon="mse", recon_scale=0.0, apply_to=terms)[1].history
    assert {name: {max(history[of]) > 0 for of in named[name]} for name in named} == {
        name: {name not in terms.split("+")} for name in named
    }
    plain = once()[1].history
    for name in named["image"]:
        assert history[name][0] == (0 if "image" in terms else plain[name][0])


def test_cosine_as_printed_and_as_released(once):
    (printed, flat), (released, parts) = once(recon="cos", flat_cosine=True, **ONE_STEP), once(recon="cos", **ONE_STEP)
    x, target = torch.randn(2, 4, 3, 5, 5)
    assert printed["loss"](x, target) == reconstruction.cosine(x, target, flat=True)
    assert released["loss"](x, target) == reconstruction.cosine(x, target)
    assert flat.history["image"] != parts.history["image"]


def test_gradient_to_the_target(once):
    """The codes that are read again are compared with those of real images, whose encoder learns from that or not."""
    (fixed, held), (free, released) = once(recon="mse"), once(recon="mse", detach_target=False)
    for space, gradient in ((fixed, None), (free, -1.0)):
        x, target = torch.ones(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
        space["loss"](x, target).backward()
        assert x.grad.tolist() == [[1.0, 1.0]]
        assert (None if target.grad is None else target.grad[0, 0].item()) == gradient
    assert held.history["image"][:3] == released.history["image"][:3]  # one step with codes, and its own update after
    assert held.history["image"][3] != released.history["image"][3]


def test_the_appearance_code_has_a_gradient_only_where_it_is_live(once):
    (_, dead), (_, live) = once(), once(live_code=True)
    assert dead.extra["appearance_code_gradient"] == 0.0
    assert live.extra["appearance_code_gradient"] > 0
    assert dead.history["appearance_code"][:3] == live.history["appearance_code"][:3]
    assert dead.history["appearance_code"][3] != live.history["appearance_code"][3]


def test_settings_reach_the_training(run, monkeypatch):
    given, train = {}, dgnet.train

    def watched(*arguments, **options):
        given.update(options, terms=arguments[3])
        return train(*arguments, **options)

    monkeypatch.setattr(dgnet, "train", watched)
    rates = {"lr_generator": 1e-4, "lr_discriminator": 2e-4, "lr_appearance": 3e-4, "head_factor": 4.0}
    more = {"image_weight": 6.0, "adversarial_weight": 0.0, "warm_from": 0.9, "batch_size": 3, "seed": 2}
    space, record = run(NOTEBOOK, **SMALL | ONE_STEP | rates | more, arm="mine")
    wanted = rates | {"warm_from": 0.9, "batch": 3, "steps": 1, "seed": 2, "precision": "float32", "teacher": None}
    wanted |= {"weights": Weights(adversarial=0.0, image=6.0, same_identity=6.0), "description": "mine"}
    assert {name: given[name] for name in wanted} == wanted
    assert given["terms"] == dict.fromkeys(("image", "code", "cycle"), space["loss"])
    assert record.history["adversarial"] == record.history["discriminator"] == [0.0]
    assert record.history["image"][0] > 0


def test_bfloat16_trains_in_bfloat16(once):
    """A first step of one batch: close, and not the same."""
    exact, rough = (once(precision=name, **ONE_STEP)[1].history["image"][0] for name in ("float32", "bfloat16"))
    assert rough == pytest.approx(exact, rel=0.05)
    assert rough != exact


# ---------------------------------------------------------------- networks and starts


def test_reference_networks_are_those_of_the_paper(once):
    space, _ = once(**LARGE)  # whose start is not for these: they begin from noise
    count = {name: sum(w.numel() for w in part.parameters()) for name, part in space["model"].named_children()}
    assert (count["structure"], count["discriminator"]) == (380_544, 1_025_571)
    assert space["model"].structure.dilations == (3, 6, 9)
    assert once()[0]["model"].structure.maps == 32
    assert once()[0]["model"].appearance.width == 128


def test_runs_go_on_from_the_start_that_was_trained_elsewhere(run, once, monkeypatch):
    begin = functools.partial(dgnet_start.start_elsewhere, steps=2, progress=False)
    monkeypatch.setattr(dgnet_start, "start_elsewhere", begin)
    still = {"lr_generator": 0, "lr_discriminator": 0, "lr_appearance": 0}
    space, record = run(NOTEBOOK, **SMALL | ONE_STEP | still | {"generator_start": "auto"})
    begun = begin(small(models.build("resnet-small"), 30), SIZE)
    for name in ("structure", "decoder", "discriminator"):
        assert same_weights(getattr(space["model"], name), getattr(begun, name)), name
    ours, theirs = (model.appearance.trunk.parameters() for model in (space["model"], begun))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert record.metrics["mAP_start"] != once()[1].metrics["mAP_start"]
    noise, _ = run(NOTEBOOK, **SMALL | ONE_STEP | still)
    assert not same_weights(noise["model"].decoder, begun.decoder)


def test_a_warm_start_is_the_trunk_s_start(once):
    """The untrained trunk that stands for it has other weights than a run's own."""
    warm, own_start = once(alpha_fine=0.0, keep_model=True, weights="auto")[0], once()[0]
    assert warm["start"] == warmstart.path("resnet-small", SIZE)
    assert own_start["start"] is None
    assert warm["record"].metrics["mAP_start"] != own_start["record"].metrics["mAP_start"]


def test_half_of_the_feature_counts_by_alpha(once):
    (_, half), (space, none) = once(weights="auto"), once(alpha_fine=0.0, keep_model=True, weights="auto")
    assert half.metrics["mAP_alpha0"] == none.metrics["mAP_alpha0"] == none.metrics["mAP"]
    assert half.metrics["mAP"] != none.metrics["mAP"]
    assert half.metrics["mAP_fine"] == none.metrics["mAP_fine"]
    kept = load_file(none.source / "model.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in space["model"].state_dict().items())


def test_without_generator_or_teacher_the_encoder_is_the_same(once):
    """The control without images and that with images from which the encoder does not learn."""
    (alone, encoder), (beside, quiet), (taught, whole) = once(generator=False), once(teacher=False), once()
    assert scores_of(encoder) == scores_of(quiet)
    assert encoder.per_query == quiet.per_query
    assert alone["knows"] is beside["knows"] is None
    assert same_weights(alone["model"].appearance, beside["model"].appearance)
    assert not same_weights(alone["model"].decoder, beside["model"].decoder)
    assert set(encoder.history["image"]) == set(quiet.history["teacher"]) == {0.0}
    assert not same_weights(taught["model"].appearance, beside["model"].appearance)
    assert scores_of(whole) != scores_of(quiet)
    assert whole.history["image"][:3] == quiet.history["image"][:3]  # until the encoder learns from an image
    assert "image" not in encoder.metrics


def test_teacher_and_outline_network_are_trained_once_for_all_arms(run, monkeypatch):
    names, train = [], training.train

    def watched(*arguments, **options):
        names.append(options["description"])
        return train(*arguments, **options)

    monkeypatch.setattr(training, "train", watched)
    short = SMALL | {"steps": 1, "teacher_steps": 1, "outline_steps": 3, "weights": "auto"}
    for settings, made in (
        ({"generator": False}, []),
        ({"teacher": False}, ["silhouettes"]),
        ({"recon": "mse"}, ["teacher"]),
        ({"recon": "l1+rmse", "warm_from": 0.5}, []),
        ({"seed": 1}, ["teacher"]),
    ):
        names.clear()
        run(NOTEBOOK, **short | settings)
        assert names == made, settings


def test_same_seed_same_numbers_another_seed_others(run, once, monkeypatch):
    (space, first), (_, other) = once(), once(seed=1)
    monkeypatch.setattr(figures, "grid", GRID)
    again = run(NOTEBOOK, **SMALL)[1]
    assert first.id == again.id != other.id
    assert own(first) == own(again)
    assert other.history["image"][0] != first.history["image"][0]
    assert other.metrics["mAP_start"] != first.metrics["mAP_start"]
    assert torch.equal(once(seed=1)[0]["taken"], space["taken"])  # the same people are swapped


# ---------------------------------------------------------------- scores


def test_chance_is_the_share_of_right_images_in_a_list(once):
    space, record = once()
    shares = []
    for _, one in space["query"].iterrows():
        same = space["gallery"]["pid"] == one["pid"]
        near = space["gallery"]["camid"] == one["camid"]
        listed = ~(same & near) & (space["gallery"]["pid"] != -1)
        if (same & listed).any():
            shares.append((same & listed).sum() / listed.sum())
    assert (space["gallery"]["pid"] == -1).any()
    assert (space["gallery"]["pid"] == 0).any()
    assert record.metrics["mAP_chance"] == pytest.approx(100 * np.mean(shares), abs=1e-3)


def test_recalibrated_statistics_are_those_of_real_images(once):
    space, record = once()
    seen, statistics = [], {}
    for name in ("recalibrated", "model"):
        encoder = space[name] if name == "recalibrated" else space[name].appearance
        norm = next(module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d))
        statistics[name] = norm.running_mean
        hook = norm.register_forward_pre_hook(lambda module, given: seen.append(given[0].mean((0, 2, 3))))
        encoder.eval()
        with torch.no_grad():
            encoder(normalise(space["training_images"]))
        hook.remove()
    torch.testing.assert_close(statistics["recalibrated"], seen[0], rtol=1e-3, atol=1e-4)
    assert torch.equal(seen[0], seen[1])  # of the same weights
    assert not torch.allclose(statistics["model"], seen[0], rtol=1e-3, atol=1e-4)
    left, right = (space["halves"](name, space["recalibrated"]) for name in ("query", "gallery"))
    assert record.metrics["mAP_recalibrated"] == pytest.approx(
        space["scores_at"](0.5, left, right).summary()["mAP"], abs=1e-3
    )


def test_validation_swaps_people_that_were_not_trained_on(once):
    space, record = once(recon="huber-printed", evaluate_on="validation")
    test, _ = once()
    assert set(space["train"]["pid"]) < set(test["train"]["pid"])
    held = set(test["train"]["pid"]) - set(space["train"]["pid"])
    assert len(held) == 6
    assert set(space["query"]["pid"]) == set(space["gallery"]["pid"]) == held
    assert set(space["pids"].tolist()) == held
    assert len(space["real"]) == len(space["query"]) + len(space["gallery"]) == record.extra["frechet_images"]
    trained_on = {image.numpy().tobytes() for image in space["training_images"]}
    assert not {image.numpy().tobytes() for image in space["real"]} & trained_on
    assert torch.equal(test["real"], test["training_images"])
    assert {image.numpy().tobytes() for image in space["real"]} < {i.numpy().tobytes() for i in test["real"]}


# ---------------------------------------------------------------- swapped images


def test_swapped_images_are_compared_with_real_ones_by_one_fixed_network(once):
    space, record = once()
    judge = models.build("resnet-small", weights=warmstart.path("resnet-small", SIZE)).eval()
    assert same_weights(space["judge"].trunk, judge.trunk)
    real, given, taken = space["real"], space["given"], space["taken"]
    swapped = space["model"].swap(real[given], real[taken])
    with torch.no_grad():
        left, right, rebuilt = (
            judge.trunk_features(normalise(images)) for images in (swapped, real, space["model"].swap(real, real))
        )
    assert record.metrics["frechet"] == pytest.approx(frechet_distance(left, right), rel=1e-3)
    assert record.metrics["frechet_again"] == pytest.approx(frechet_distance(rebuilt, right), rel=1e-3)
    similar = nn.functional.normalize(left) @ nn.functional.normalize(right).T
    similar[torch.arange(len(left)), given] = -2
    right_ones = space["pids"][similar.argmax(1)] == space["pids"][given]
    assert record.metrics["identity"] == pytest.approx(100 * right_ones.float().mean().item(), abs=0.01)


@pytest.mark.parametrize("copied", ["appearance", "structure"])
def test_a_copy_of_one_of_the_two_images(run, monkeypatch, copied):
    """What the measures of swapped images are for generators that return one of their two images as it is."""
    monkeypatch.setattr(
        DGNet, "swap", lambda self, appearance, structure: appearance if copied == "appearance" else structure
    )
    people = data.load("market-like", size=SIZE).store
    outlines = {image.numpy().tobytes(): parts > 0 for image, parts in zip(people.images, people.parts, strict=True)}

    def exact(model, images):
        return torch.stack([outlines[image.numpy().tobytes()] for image in images])

    monkeypatch.setattr(silhouettes, "foreground", exact)
    space, record = run(NOTEBOOK, **SMALL | ONE_STEP)
    metrics, pids, given, taken = record.metrics, space["pids"], space["given"], space["taken"]
    assert metrics["frechet"] == pytest.approx(0, abs=1e-3)
    assert metrics["frechet_again"] == pytest.approx(0, abs=1e-3)
    assert metrics["reconstruction_error"] == 0
    assert torch.equal(space["swapped"], space["real"][given if copied == "appearance" else taken])
    right, wrong = ("outline", "outline_other") if copied == "structure" else ("outline_other", "outline")
    assert metrics[right] == metrics["outline_real"] == 100
    assert metrics[wrong] < 90
    if copied == "appearance":
        assert metrics["identity"] == metrics["identity_real"]
    else:
        found = (pids[taken] == pids[given]).float().mean()
        assert metrics["identity"] == pytest.approx(100 * found.item(), abs=0.01)
        assert metrics["identity"] < metrics["identity_real"]


def test_features_of_inception(run, monkeypatch, tmp_path):
    """Of a network that stands for it, since the real one is too large; only the Frechet distance is by it."""
    made = []

    def features(network, images, width):
        made.append((network, len(images), width))
        return images.double().mean((2, 3))

    (file := tmp_path / "weights.pth").touch()
    monkeypatch.setattr(inception, "load_inception", lambda file: nn.Tanh())
    monkeypatch.setattr(inception, "inception_features", features)
    settings = {
        "frechet_features": "inception",
        "inception_weights": str(file),
        "frechet_width": 64,
        "frechet_images": 30,
    }
    space, record = run(NOTEBOOK, **SMALL | ONE_STEP | settings)
    assert [(type(network), count, width) for network, count, width in made] == [
        (nn.Tanh, 30, 64),
        (nn.Tanh, len(space["real"]), 64),
    ]
    means = [images.double().mean((2, 3)) for images in (space["swapped"], space["real"])]
    assert record.metrics["frechet"] == pytest.approx(frechet_distance(*means), rel=1e-3)
    assert "frechet_again" not in record.metrics
    assert OUTLINES | {"identity", "identity_real"} <= set(record.metrics)


def test_the_sheet_holds_swaps_of_six_people_and_twelve_images_put_together_again(once):
    space, record = once()
    file = results.sheet_of(record)
    assert file == record.source / results.SHEET
    images = results.from_sheet(file, 48, SIZE).float()
    model, real, pids = space["model"], space["real"], space["pids"]
    people, again = space["shown_people"], space["shown_again"]
    assert (len(people), len(again)) == (6, 12)
    assert len(set(pids[again].tolist())) == 12
    assert torch.equal(again[:6], people)
    swaps = [model.swap(real[people], real[people[place].expand(6)]) for place in range(6)]
    assert near(space["grid"], torch.stack(swaps, 1).flatten(0, 1))  # appearances down, structures across
    assert near(space["again"][again], model.swap(real[again], real[again]))
    exact = torch.cat([space["grid"], space["again"][again]]).float()
    assert len(exact) == 48
    gaps = torch.cdist(images.flatten(1), exact.flatten(1))
    assert gaps.diagonal().max() < 0.5 * exact.flatten(1).norm(dim=1).min()
    assert torch.allclose(gaps.diagonal(), gaps.min(1).values, rtol=1e-3)  # a person's own swap is there twice
    with pytest.raises(ValueError, match="does not hold"):
        results.from_sheet(file, 49, SIZE)  # there are no more
    assert torch.equal(once(recon="mse")[0]["shown_again"], again)  # the same people in all runs


def test_pictures_of_drawn_people(run, shown, capsys):
    space, _ = run(NOTEBOOK, **SMALL | ONE_STEP)
    again, grid = shown
    assert [len(row) for row in again] == [12, 12]
    assert [len(row) for row in grid] == [7] * 7
    assert torch.equal(again[0][3], space["real"][space["shown_again"][3]])
    assert torch.equal(grid[2][3], space["grid"][6 * 1 + 2])
    assert torch.equal(grid[2][0], grid[0][2])
    shown.clear()
    run(NOTEBOOK, **SMALL | ONE_STEP | {"generator": False})
    assert shown == []
    assert "this run has no generator" in capsys.readouterr().out


# ---------------------------------------------------------------- data on disk


@pytest.fixture(scope="module")
def folder(few_people, tmp_path_factory):
    """A folder in the layout of Market-1501."""
    root = tmp_path_factory.mktemp("market")
    write_market1501(*draw("market-like", size=SIZE), root / "Market-1501-v15.09.15")
    return str(root)


def test_pictures_of_real_people_are_neither_shown_nor_kept(run, folder, shown, capsys, monkeypatch):
    def refused(*arguments, **options):
        raise AssertionError("a run on real people begins from noise")

    monkeypatch.setattr(dgnet_start, "start_elsewhere", refused)
    disk = {"dataset": "market1501", "root": folder, "generator_start": "auto", "seed": 1}
    space, record = run(NOTEBOOK, **SMALL | disk)
    assert "images of real people are not shown" in capsys.readouterr().out
    assert shown == []
    assert {file.suffix for file in record.source.iterdir()} == {".json", ".npz"}
    for name in ("order.npz", "ranking.npz"):
        with np.load(record.source / name) as kept:
            assert not [key for key in kept if kept[key].dtype == np.uint8 and kept[key].ndim > 2]
    assert set(record.metrics) & (QUALITY | OUTLINES) == QUALITY  # nobody knows their outlines
    assert record.data["fingerprint"].startswith("market1501-")
    assert set(space["train"]["pid"]).isdisjoint(space["query"]["pid"])
    assert record.extra["frechet_images"] == len(space["train"])


# ---------------------------------------------------------------- kills and errors


def test_a_killed_run_goes_on_from_its_checkpoint(run, once, monkeypatch):
    whole, expected = once(live_code=True)
    train, prepare, steps = dgnet.train, dgnet.prepare, []

    def often(*arguments, **options):
        assert options["checkpoint_every"] <= 100
        assert Path(options["checkpoint"]).parent == results.build_dir() / "checkpoints"
        return train(*arguments, **options | {"checkpoint_every": 3})

    def counted(images, labels, rows, seed, step, device):
        steps.append(step)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return prepare(images, labels, rows, seed, step, device)

    monkeypatch.setattr(dgnet, "train", often)
    monkeypatch.setattr(dgnet, "prepare", counted)
    with pytest.raises(KeyboardInterrupt):
        run(NOTEBOOK, **SMALL, live_code=True)
    assert whole["checkpoint"].exists()
    again, record = run(NOTEBOOK, **SMALL, live_code=True)
    assert steps == [0, 1, 2, 3, 3]
    assert own(record) == own(expected)  # the gradient of a step before the kill too
    assert same_weights(again["model"], whole["model"])
    assert not whole["checkpoint"].exists()


def test_a_run_killed_before_its_record_was_written_trains_no_more(run, once, monkeypatch):
    expected = once(seed=1)[1]

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(results, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            run(NOTEBOOK, **SMALL, seed=1)
    monkeypatch.setattr(dgnet, "prepare", killed)  # no step is taken
    assert own(run(NOTEBOOK, **SMALL, seed=1)[1]) == own(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recon": "l2"}, "unknown loss 'l2' in 'l2'"),
        ({"recon": "l1+rsme"}, "did you mean 'rmse'?"),
        ({"recon": ""}, "recon = '': must be a text in quotes"),
        ({"recon_weights": [1.0, 1.0]}, "weights of 'l1' must be 1, one for each loss, or none, got 2"),
        ({"recon": "l1+mse", "recon_weights": [1.0]}, "must be 2, one for each loss, or none, got 1"),
        ({"recon_weights": [-1.0]}, "recon_weights = [-1.0]: value 1 (-1.0) must be a number of at least 0"),
        ({"recon_weights": 2.0}, "recon_weights = 2.0: must be a list, or None"),
        ({"recon_scale": -1}, "recon_scale = -1: must be a number of at least 0"),
        ({"apply_to": "pictures"}, "apply_to = 'pictures': join some of image, code and cycle by +"),
        ({"apply_to": "image+"}, "apply_to = 'image+': join some of image, code and cycle by +"),
        ({"detach_target": 0}, "detach_target = 0: must be True or False"),
        ({"flat_cosine": "no"}, "flat_cosine = 'no': must be True or False"),
        ({"live_code": 1}, "live_code = 1: must be True or False"),
        ({"generator": None}, "generator = None: must be True or False"),
        ({"teacher": "no"}, "teacher = 'no': must be True or False"),
        ({"networks": "refrence"}, "did you mean 'reference'?"),
        ({"backbone": "resnet-smal"}, "did you mean 'resnet-small'?"),
        ({"backbone": "densenet121"}, "backbone = 'densenet121': must be one of 'resnet-small', 'resnet50'"),
        ({"weights": "imagenet"}, "no ImageNet weights for resnet-small"),
        ({"weights": "/no/such/weights.pth"}, "no/such/weights.pth"),
        ({"generator_start": "noise"}, "generator_start = 'noise': must be one of 'auto', 'none'"),
        ({"steps": 0}, "steps = 0: must be a number of at least 1"),
        ({"batch_size": 1}, "batch_size = 1: must be a number of at least 2"),
        ({"batch_size": 5000}, "batch must be between 2 and the"),
        ({"warm_from": 30}, "warm_from = 30: must be a number from 0 to 1"),
        ({"image_weight": -5.0}, "image_weight = -5.0: must be a number of at least 0"),
        ({"adversarial_weight": "1"}, "adversarial_weight = '1': must be a number of at least 0"),
        ({"lr_generator": -1e-3}, "lr_generator = -0.001: must be a number of at least 0"),
        ({"lr_discriminator": float("inf")}, "lr_discriminator = inf: must be a number of at least 0"),
        ({"lr_appearance": None}, "lr_appearance = None: must be a number of at least 0"),
        ({"head_factor": -1}, "head_factor = -1: must be a number of at least 0"),
        ({"teacher_steps": 0}, "teacher_steps = 0: must be a number of at least 1"),
        ({"outline_steps": 1.5}, "outline_steps = 1.5: must be a whole number of at least 1"),
        ({"alpha_fine": -0.5}, "alpha_fine = -0.5: must be a number of at least 0"),
        ({"frechet_features": "inceptoin"}, "did you mean 'inception'?"),
        ({"frechet_features": "inception"}, "needs inception_weights, a file or download, got None"),
        ({"frechet_features": "inception", "inception_weights": "/no/such/file"}, "or download, got '/no/such/file'"),
        ({"frechet_width": 100}, "frechet_width = 100: must be one of 64, 192, 768, 2048"),
        ({"frechet_images": 1}, "frechet_images = 1: must be a number of at least 2, or None"),
        ({"precision": "float16"}, "precision = 'float16': must be one of 'float32', 'bfloat16'"),
        ({"evaluate_on": "train"}, "evaluate_on = 'train': must be one of 'test', 'validation'"),
        ({"height": 12}, "height = 12: must be a number of at least 16"),
        ({"height": 50}, "must be multiples of 4, on drawn data of 16, got 50x32"),
        ({"height": 64, "networks": "reference"}, "images of 64x32 are too small for the reference networks: give 40"),
        ({"height": 16, "width": 16}, "images of 16x16 are too small"),
        ({"dataset": "market-lik"}, "did you mean 'market-like'?"),
        ({"dataset": "market1501"}, "pass root=FOLDER"),
        ({"root": "/tmp"}, "'market-like' is drawn and reads no folder"),
        ({"seed": -1}, "seed = -1: must be a number of at least 0"),
        ({"arm": ""}, "arm = '': must be a text in quotes, not empty, or None"),
        ({"recon_weight": 2.0}, "no parameter 'recon_weight'"),
    ],
    ids=lambda value: "-".join(f"{n}={v}" for n, v in value.items()) if isinstance(value, dict) else "",
)
def test_wrong_values_say_what_to_do(run, given, message):
    with pytest.raises((ValueError, FileNotFoundError, RuntimeError)) as caught:
        run(NOTEBOOK, **SMALL | given)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
