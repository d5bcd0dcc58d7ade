"""From a folder of images and checkpoints to an explorer, and from run records to rankings."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reidlib import data, models, results, training
from reidlib.data.frame import rows_of
from reidlib.data.pedestrians import write_market1501
from reidlib.embedding import embed
from reidlib.explore import explore, load_model, rank, rankings_of
from reidlib.explore.ranking import IGNORED
from reidlib.models.weights import WeightsError
from reidlib.retrieval import evaluate
from reidlib.workflow.cells import run_cells
from reidlib.workflow.parameters import ParameterError


@pytest.fixture(scope="module")
def folder(people, tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "mine"
    parts = torch.zeros_like(people.images[:, 0])
    write_market1501(people.frame, people.images, parts, root)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    path.write_bytes(training.as_safetensors(models.build("resnet-small", weights=None)))
    return path


@pytest.mark.parametrize("index", ["exact", "flat", "hnsw"])
def test_a_folder_of_images_and_a_checkpoint(folder, checkpoint, index):
    if index != "exact":
        pytest.importorskip("faiss")
    made = explore("market1501", {"net": checkpoint}, root=folder, index=index, queries=12, top=20, progress=False)
    assert made.meta["pictures"] == "left out"  # a folder may hold real people
    assert len(made.meta["queries"]) == 12
    people = data.load("market1501", root=folder, progress=False)
    rows = {split: torch.as_tensor(rows_of(people.frame, split)) for split in ("query", "gallery")}
    model, masked = load_model(checkpoint)
    found = {split: embed(model, people.store, chosen) for split, chosen in rows.items()}
    frames = [people.frame[people.frame["split"] == split] for split in rows]
    scores = evaluate(found["query"], found["gallery"], *frames, unmatched="skip")
    assert not masked
    overall = made.meta["models"][0]["all"]["mAP"]
    assert overall == pytest.approx(scores.summary()["mAP"], abs=8 if index == "hnsw" else 0.05)
    number = made.add_query(image=people.root / people.frame["path"].iloc[int(rows["gallery"][3])])
    assert made._newcomers.added[0].rankings["net"].order[0] == 3
    assert number == -1


def test_runs_are_opened_by_their_record(people, tmp_path):
    torch.manual_seed(1)
    model = models.build("mildnet-small", weights=None, dropout=0.3, final_relu=True)
    record = results.Record(
        "triplet",
        "triplet-x",
        {"backbone": "mildnet-small", "dropout": 0.3, "final_relu": True, "background": "remove"},
        0,
        {"mAP": 1.0},
    )
    place = results.save(record, tmp_path / "run", {"model.safetensors": training.as_safetensors(model)})
    loaded, masked = load_model(place)
    assert masked
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )
    (place / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="keeps no model; run it again with keep_model = True"):
        load_model(place)


def test_wrong_checkpoints_are_refused(checkpoint, tmp_path):
    with pytest.raises(WeightsError, match="does not hold the weights of a whole mildnet-small"):
        load_model(checkpoint, "mildnet-small")
    with pytest.raises(WeightsError, match="there is no weights file"):
        load_model(tmp_path / "none.safetensors")
    models.save_trunk(models.build("resnet-small", weights=None), tmp_path / "trunk.safetensors")
    with pytest.raises(WeightsError, match="does not hold the weights of a whole resnet-small: "):
        load_model(tmp_path / "trunk.safetensors")
    with pytest.raises(ValueError, match="no checkpoint"):
        explore("market-like", [])


def test_records_give_their_rankings(people, tmp_path):
    whole = rank(*people.features["good"], people.query, people.gallery)
    scores = evaluate(*people.features["bad"], people.query, people.gallery, top_k=30)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "ranking.npz").write_bytes(whole.as_npz())
    np.savez(tmp_path / "b" / "order.npz", order=scores.order, distances=scores.distances)
    records = [
        SimpleNamespace(arm=arm, seed=0, id=arm, source=tmp_path / name)
        for arm, name in (("x", "a"), ("y", "b"), ("z", "c"))
    ]
    found = rankings_of(records, people.query, people.gallery)
    assert list(found) == ["x", "y"]
    assert np.array_equal(found["x"].order, whole.order)
    assert found["y"].depth == 30
    assert np.allclose(found["y"].average_precision[0], scores.ap_at(30))
    assert not (found["y"].mark == IGNORED).any()


def test_the_notebook_opens_a_folder(folder, checkpoint, tmp_path, capsys):
    notebook = Path(__file__).parents[2] / "notebooks" / "explore.ipynb"
    page = tmp_path / "mine.html"
    parameters = {"dataset": "market1501", "root": str(folder), "checkpoints": str(checkpoint), "queries": 5}
    space = run_cells(notebook, parameters | {"page": str(page)})
    assert len(space["explorer"].meta["queries"]) == 5
    assert "Ranking explorer: 5 queries, ranked by net." in capsys.readouterr().out
    assert page.stat().st_size > 10_000
    with pytest.raises(ParameterError, match="checkpoints = 3: must be a path, a list of paths"):
        run_cells(notebook, {"checkpoints": 3})
