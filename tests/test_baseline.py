"""The supervised baseline, its embeddings and the cached warm start, on a small drawn data set."""

import dataclasses
import itertools

import pytest
import torch

from reidlib import baseline, data, models, warmstart
from reidlib.data import ImageStore
from reidlib.data.augment import normalise, remove_background
from reidlib.data.frame import rows_of
from reidlib.data.pedestrians import PRESETS, draw
from reidlib.embedding import embed
from reidlib.retrieval import CrossCamera, evaluate


@pytest.fixture(scope="module")
def people():
    preset = dataclasses.replace(PRESETS["viper-like"], name="baseline-test")
    frame, images, parts = draw(preset, size=(32, 16))
    return frame, ImageStore(images, parts)


def score(frame, features):
    query, gallery = (frame[frame["split"] == s] for s in ("query", "gallery"))
    features = torch.nn.functional.normalize(features)
    found = (features[rows_of(frame, split)] for split in ("query", "gallery"))
    return evaluate(*found, query, gallery, CrossCamera()).mAP


def test_training_raises_the_score_and_is_deterministic(people):
    frame, store = people
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = models.build("resnet-small", weights=None)
        before = score(frame, embed(model, store, trunk=True))
        neck = baseline.fit(model, frame, store, steps=40, seed=0, persons=8, views=2, progress=False)
        with torch.no_grad():
            after = score(frame, neck.eval()(embed(model, store, trunk=True)))
        found.append((before, after))
    assert found[0] == found[1]
    assert found[0][1] > found[0][0] + 0.05


def test_embed_equals_one_image_at_a_time_and_keeps_the_mode(people):
    _, store = people
    torch.manual_seed(0)
    model = models.build("resnet-small", weights=None).train()
    rows = [5, 0, 17]
    together = embed(model, store, rows, batch=2)
    assert model.training
    model.eval()
    with torch.no_grad():
        for row, vector in zip(rows, together, strict=True):
            torch.testing.assert_close(model(normalise(store.images[row : row + 1]))[0], vector, rtol=1e-4, atol=1e-5)
        blank = model(normalise(remove_background(store.images[:1], store.parts[:1])))[0]
    torch.testing.assert_close(embed(model, store, [0], masked=True)[0], blank, rtol=1e-4, atol=1e-5)
    assert embed(model, store, rows, trunk=True).shape == (3, model.trunk_width)


def test_warm_start_is_cached_named_by_its_recipe_and_loads(people, tmp_path, monkeypatch):
    frame, store = people
    monkeypatch.setenv("REIDLIB_BUILD", str(tmp_path))
    trained = frame[frame["split"] == "train"].reset_index(drop=True)
    small = data.Data("warmstart", trained, ImageStore(store.images[rows_of(frame, "train")]), "x", None)
    calls = []
    monkeypatch.setattr(warmstart.data, "load", lambda *a, **k: calls.append(k["size"]) or small)
    monkeypatch.setattr(warmstart.baseline, "fit", lambda m, f, s, **k: baseline_fit(m, f, s, **k))
    path = warmstart.warm_start("resnet-small", (32, 16), steps=2, progress=False)
    assert path == warmstart.path("resnet-small", (32, 16), steps=2)
    stamp = path.stat().st_mtime_ns
    assert warmstart.warm_start("resnet-small", (32, 16), steps=2, progress=False) == path
    assert path.stat().st_mtime_ns == stamp
    assert calls == [(32, 16)]
    assert [f.name for f in path.parent.iterdir()] == [path.name]
    choices = itertools.product(("resnet-small", "mildnet-small"), ((32, 16), (64, 32)), (0, 1), ("cpu",), (2, 3))
    names = {warmstart.path(*choice) for choice in choices}
    assert len(names) == 16
    first = embed(models.build("resnet-small", weights=path), store, [0], trunk=True)
    torch.testing.assert_close(first, embed(models.build("resnet-small", weights=path), store, [0], trunk=True))
    assert not torch.allclose(first, embed(models.build("resnet-small", weights=None), store, [0], trunk=True))


def test_a_warm_start_trains_as_many_steps_as_asked_and_500_otherwise(people, tmp_path, monkeypatch):
    frame, store = people
    monkeypatch.setenv("REIDLIB_BUILD", str(tmp_path))
    monkeypatch.setattr(warmstart.data, "load", lambda *a, **k: data.Data("warmstart", frame, store, "x", None))
    trained = []
    monkeypatch.setattr(warmstart.baseline, "fit", lambda m, f, s, **options: trained.append(options["steps"]))
    made = [warmstart.warm_start("resnet-small", (32, 16), **asked) for asked in ({}, {"steps": 25}, {"steps": 500})]
    assert trained == [500, 25]
    assert made[0] == made[2] == warmstart.path("resnet-small", (32, 16))
    assert made[1] == warmstart.path("resnet-small", (32, 16), steps=25) != made[0]


_fit = baseline.fit


def baseline_fit(model, frame, store, **options):
    return _fit(model, frame, store, **options | {"persons": 4, "views": 2})
