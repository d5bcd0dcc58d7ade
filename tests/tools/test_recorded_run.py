"""The recorded runs for an accelerator, on the CPU and small, where there is no Jupyter."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest
import torch

from reidlib import data, generation, models, results, training, warmstart
from reidlib.data import drawn
from reidlib.results import load_all
from reidlib.workflow import grid

ROOT = Path(__file__).parents[2]
SMALL = ["--device", "cpu", "--precision", "float32", "--dataset", "viper-like", "--height", "64", "--width", "32"]
SMALL += ["--backbone", "resnet-small", "--weights", "none", "--seeds", "2"]
SHORT = {"triplet": ["--images-seen", "192"], "samplers": ["--epochs", "2", "--iterations", "3"]}
SHORT["clothing"] = ["--dataset", "ltcc-like", "--height", "32", "--width", "16", "--epochs", "1"]
SHORT["clothing"] += ["--stage1-epochs", "1"]
SHORT["label_smoothing"] = ["--height", "32", "--width", "16", "--images-seen", "64", "--cluster-epochs", "1"]
SHORT["label_smoothing"] += ["--gan-height", "48", "--gan-width", "32", "--gan-base", "2", "--gan-batch", "8"]
SHORT["label_smoothing"] += ["--parent-steps", "2", "--gan-steps", "1"]
SHORT["reconstruction"] = ["--networks", "small", "--steps", "2", "--batch-size", "4", "--teacher-steps", "1"]
SHORT["reconstruction"] += ["--outline-steps", "1"]
DATA = {"clothing": "ltcc-like"}  # the others: viper-like
STATED = {
    "triplet": {"images_seen": 192, "learning_rate": 1e-4},
    "samplers": {"epochs": 2, "batch_size": 32, "eps": 0.5, "temperature": 0.09, "learning_rate": 3.5e-4},
    "clothing": {"epochs": 1, "stage1_epochs": 1, "learning_rate": 3.5e-4, "kernel": 7, "height": 32},
    "label_smoothing": {"learning_rate": 0.01, "batch_size": 32, "gan_rate": 2e-4, "g_steps": 2, "gan_height": 48},
    "reconstruction": {"networks": "small", "generator_start": "none", "steps": 2, "lr_generator": 1e-3},
}
PICTURED = ("label_smoothing", "reconstruction")  # with a sheet of images beside the records
MISSING = """
import sys
class Missing:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in ("papermill", "nbformat", "IPython", "ipykernel", "jupyter_client", "anywidget",
                                  "faiss", "snakemake"):
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Missing)
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The tool as a module, its builds in a folder of their own."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.setenv("REIDLIB_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    import recorded_run

    for size in ((32, 16), (64, 32)):
        trunk = warmstart.path("resnet-small", size)  # an untrained one judges the generated images
        trunk.parent.mkdir(parents=True, exist_ok=True)
        models.save_trunk(models.build("resnet-small"), trunk)
    return recorded_run


@pytest.fixture
def main(tool, monkeypatch):
    """The tool's call with nothing made beforehand: the runs make what they miss."""
    monkeypatch.setattr(tool, "prepare", lambda plan: None)
    return tool.main


def words(chapter, tmp_path, *options):
    return [chapter, *SMALL, *SHORT[chapter], "--out", str(tmp_path / "r"), *options]


@pytest.mark.parametrize("chapter", SHORT)
def test_it_writes_records_keeps_to_its_time_goes_on_and_prints_its_table_last(chapter, tool, main, tmp_path, capsys):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(MISSING)
    command = [sys.executable, ROOT / "tools" / "recorded_run.py", *words(chapter, tmp_path, "--minutes", "0")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path / "without")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    (first,) = load_all(tmp_path / "r")
    arms = list(tool.EXPERIMENTS[chapter].arms)
    assert (first.experiment, first.arm, first.seed) == (chapter, arms[0], 0)
    assert "1 records in" in done.stdout
    left_out = [f"{arm} seed {seed}" for seed in (0, 1) for arm in arms][1:]
    assert f"left out for time: {', '.join(left_out)}\nfailed: none\n" in done.stdout
    header, row = done.stdout.splitlines()[-2:]
    assert header.split()[:3] == ["arm", "mAP", "R1"]
    assert (header.split()[3:6] == ["frechet", "identity", "outline"]) == (chapter == "reconstruction")
    assert "seconds" in header.split()
    assert row.split()[:2] == [arms[0], f"{first.metrics['mAP']:.1f},"]

    assert main(words(chapter, tmp_path, "--minutes", "0")) == 0
    records = sorted(load_all(tmp_path / "r"), key=lambda r: arms.index(r.arm))
    assert [(r.arm, r.seed) for r in records] == [(arm, 0) for arm in arms[:2]]
    assert (records[0].id, records[0].created) == (first.id, first.created)
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()[-2:]] == arms[:2]
    sheet = tmp_path / "r" / chapter / "generated-seed-0.png"
    assert (f"generated images: {sheet}\n" in said) == sheet.exists() == (chapter in PICTURED)


@pytest.mark.parametrize("chapter", SHORT)
def test_arms_are_those_of_the_grid_at_the_stated_settings(chapter, tool, tmp_path):
    chosen = tool.parse(words(chapter, tmp_path))
    of_grid = grid.read(chapter)
    for arm in chosen.experiment.arms:
        parameters = tool.given(chosen, arm, 1)
        small = {"backbone": "mildnet-small"} if arm.startswith("mildnet") else {}
        assert parameters["seed"] == 1
        assert parameters["arm"] == arm
        wanted = (
            of_grid.common | of_grid.arms[arm] | STATED[chapter] | small | {"dataset": DATA.get(chapter, "viper-like")}
        )
        assert {name: parameters.get(name) for name in wanted} == wanted


def test_an_arm_that_fails_leaves_the_others(tool, main, tmp_path, monkeypatch, capsys):
    run = tool.run

    def failing(chosen, parameters):
        if parameters["arm"] == "random@paper":
            raise RuntimeError("out of memory")
        return run(chosen, parameters)

    monkeypatch.setattr(tool, "run", failing)
    assert main(words("samplers", tmp_path, "--seeds", "1", "--epochs", "1")) == 1
    said = capsys.readouterr()
    assert "out of memory" in said.err
    assert "4 records in" in said.out
    assert "left out for time: none\nfailed: random@paper seed 0\n" in said.out
    assert "random@paper" not in said.out.splitlines()[-4:]


def test_people_and_warm_starts_are_made_before_the_runs(tool, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(warmstart, "warm_start", lambda backbone, size, **options: made.append((backbone, size)))
    for chapter, extra, backbones in (
        ("triplet", ["--weights", "auto"], ["resnet-small", "mildnet-small"]),
        ("samplers", ["--weights", "auto"], ["resnet-small"]),
        ("samplers", ["--weights", "auto", "--dataset", "market1501", "--root", "/data"], []),
        ("samplers", [], []),
        ("clothing", ["--weights", "auto", "--dataset", "prcc", "--root", "/data"], []),
    ):
        chosen = tool.parse(words(chapter, tmp_path, *extra))
        tool.prepare([tool.given(chosen, arm, 0) for arm in chosen.experiment.arms])
        assert made == [(backbone, (64, 32)) for backbone in backbones]
        made.clear()


def test_people_of_the_triples_are_drawn_once_for_all_runs(tool, tmp_path, monkeypatch):
    """`drawn.draw_test` gives what it gave before, without drawing where the run asks for the tool's own people."""
    draw_test, calls = drawn.draw_test, []

    def counted(preset, size, data_seed=0, **changes):
        calls.append((preset, size, data_seed, changes))
        return draw_test(preset, size, data_seed, **changes)

    monkeypatch.setattr(drawn, "draw_test", counted)
    chosen = tool.parse(words("clothing", tmp_path, "--triple-looks", "0.5"))
    tool.prepare([tool.given(chosen, arm, 0) for arm in chosen.experiment.arms])
    for data_seed, looks in ((0, 0.5), (0, 0.5), (0, 0.6), (1, 0.5)):
        given = ("ltcc-like", (32, 16), data_seed)
        frame, images, parts = drawn.draw_test(*given, shared_looks=looks)
        whole, pictures, maps = draw_test(*given, shared_looks=looks)
        assert frame.equals(whole)
        assert torch.equal(images, pictures)
        assert torch.equal(parts, maps)
    assert calls == [("ltcc-like", (32, 16), seed, {"shared_looks": looks}) for seed, looks in ((0, 0.6), (1, 0.5))]
    calls.clear()
    record = tool.run(chosen, tool.given(chosen, "ifd@paper", 0))
    assert calls == []  # the notebook asks for the very people that were prepared
    assert record.extra["triples"] > 0
    assert tool.images_shown(record) == 921 // 64 * 64 * (1 + 2)  # a first stage, then both streams


def test_clusters_and_generators_are_made_before_the_runs(tool, tmp_path, monkeypatch):
    """One generator of all images and one a cluster; the runs find them, and their images are put on a sheet."""
    made, train_gan = [], generation.train_gan

    def watched(*arguments, **options):
        made.append((options["description"], options["size"], options["steps"]))
        return train_gan(*arguments, **options)

    monkeypatch.setattr(generation, "train_gan", watched)
    chosen = tool.parse(words("label_smoothing", tmp_path, "--weights", "auto", "--seeds", "1"))
    plan = [tool.given(chosen, arm, 0) for arm in chosen.experiment.arms]
    tool.prepare(plan)
    clusters = [(f"GAN of cluster {n}", (48, 32), 1) for n in range(3)]
    assert made == [("GAN of all images", (48, 32), 2), *clusters]
    made.clear()
    files = sorted((tmp_path / "build" / "generated").iterdir())
    assert load_all(tmp_path) == []
    records = [tool.run(chosen, parameters) for parameters in plan]
    assert made == []
    assert sorted((tmp_path / "build" / "generated").iterdir()) == files
    assert {record.id for record in load_all(tmp_path / "r")} == {record.id for record in records}
    assert [record.extra["generated"] for record in records] == [0, 120, 120, 120]
    assert [tool.images_shown(record) for record in records] == [64, 128, 128, 128]
    by_arm = {record.arm: record.metrics for record in records}
    assert by_arm["as-released@paper"] == by_arm["lsro@paper"]

    assert tool.sheet(chosen, records[:1]) is None
    picture = matplotlib.image.imread(tool.sheet(chosen, records))
    assert picture.shape[1] > picture.shape[0] > 300
    chosen.root = "/data"
    assert tool.sheet(chosen, records) is None


def test_generators_of_every_seed_are_made(tool, tmp_path, monkeypatch):
    made, trunks = [], []
    monkeypatch.setattr(tool, "run_notebook", lambda name, parameters: made.append((name, parameters)))
    monkeypatch.setattr(warmstart, "warm_start", lambda backbone, size, **options: trunks.append(backbone))
    chosen = tool.parse(words("label_smoothing", tmp_path, "--dataset", "market1501", "--root", "/data"))
    plan = [tool.given(chosen, arm, seed) for seed in (0, 1) for arm in chosen.experiment.arms]
    tool.prepare(plan)
    assert [(name, parameters["seed"], parameters["target"]) for name, parameters in made] == [
        ("label_smoothing", seed, "as_released") for seed in (0, 1)
    ]
    assert trunks == ["resnet-small"]


def test_teachers_and_outlines_are_made_before_the_runs(tool, tmp_path, monkeypatch):
    """One teacher a seed and one network that finds outlines; the runs find them, and what they make is on a sheet."""
    made, train = [], training.train

    def watched(*arguments, **options):
        made.append(options["description"])
        return train(*arguments, **options)

    def spied(*arguments):
        spaces.append(notebook(*arguments))
        return spaces[-1]

    spaces, notebook = [], tool.run_notebook
    monkeypatch.setattr(tool, "run_notebook", spied)
    monkeypatch.setattr(training, "train", watched)
    chosen = tool.parse(words("reconstruction", tmp_path, "--weights", "auto"))
    plan = [tool.given(chosen, arm, seed) for seed in (0, 1) for arm in chosen.experiment.arms]
    tool.prepare(plan)
    assert made == ["teacher", "silhouettes", "teacher"]
    assert load_all(tmp_path) == []
    for found in (made, spaces):
        found.clear()
    wanted = [("l1@paper", 0), ("2xl1@paper", 0), ("l1@paper", 1)]
    asked = {(parameters["arm"], parameters["seed"]): parameters for parameters in plan}
    records = [tool.run(chosen, asked[run]) for run in wanted]
    assert made == []
    assert [(record.arm, record.seed) for record in records] == wanted
    assert {tool.images_shown(record) for record in records} == {4 * 2 * 4}

    rows, seed = tool.put_together(chosen, records)
    assert (list(rows), seed) == (["real, appearance", "structure", "l1@paper", "2xl1@paper"], 0)
    assert {len(images) for images in rows.values()} == {18}
    people = {image.numpy().tobytes() for image in data.load("viper-like").store.images}
    real = [image.numpy().tobytes() for image in rows["real, appearance"]]
    assert len(set(real)) == 12
    assert set(real) <= people
    assert [image.numpy().tobytes() for image in rows["structure"][12:]] == [*real[1:6], real[0]]
    ones = torch.stack(rows["real, appearance"])
    swaps = spaces[0]["model"].swap(ones, torch.stack([*ones[:12], *rows["structure"][12:]]))
    gaps = torch.cdist(torch.stack(rows["l1@paper"]).flatten(1).float(), swaps.flatten(1).float())
    assert torch.equal(gaps.argmin(1), torch.arange(18))
    picture = matplotlib.image.imread(tool.sheet(chosen, records))
    assert picture.shape[1] > picture.shape[0] > 300
    again = [results.load(record.source) for record in records[:2]]  # finished by an earlier call
    assert list(tool.put_together(chosen, again)[0]) == ["l1@paper", "2xl1@paper"]
    chosen.root = "/data"
    assert tool.sheet(chosen, records) is None


def test_chapters_have_their_own_size_and_seeds(tool):
    chosen = tool.parse(["clothing"])
    first = tool.given(chosen, "ifd@paper", 0)
    assert (first["height"], first["width"], first["dataset"], first["backbone"]) == (384, 192, "ltcc-like", "resnet50")
    assert (tool.parse(["samplers"]).height, tool.parse(["samplers"]).seeds) == (256, 3)
    chosen = tool.parse(["label_smoothing"])
    first = tool.given(chosen, "slsr@paper", 0)
    assert (first["height"], first["gan_height"], first["gan_width"], first["gan_base"]) == (256, 128, 128, 64)
    assert (chosen.seeds, first["backbone"], first["precision"]) == (1, "resnet50", "bfloat16")
    chosen = tool.parse(["reconstruction", "--steps", "400"])
    first = tool.given(chosen, "2xl1@paper", 0)
    assert (first["networks"], first["generator_start"], first["backbone"]) == ("reference", "none", "resnet50")
    assert (first["height"], first["width"], first["steps"], first["recon_weights"]) == (256, 128, 400, [2.0])
    assert (chosen.seeds, tool.parse(["reconstruction"]).steps) == (1, 250)
    chosen = tool.parse(["clothing", "--dataset", "prcc", "--root", "/data", "--parsing", "lip", "--epochs", "60"])
    other = tool.given(chosen, "masked@paper", 2)
    assert {name: other[name] for name in ("dataset", "root", "parsing", "epochs", "main_input", "ikt", "seed")} == {
        "dataset": "prcc",
        "root": "/data",
        "parsing": "lip",
        "epochs": 60,
        "main_input": "masked",
        "ikt": False,
        "seed": 2,
    }


@pytest.mark.parametrize(
    ("parameters", "extra", "images"),
    [
        ({"images_seen": 192}, {"steps": 3}, 192),
        ({"batch_size": 32}, {"steps": 6}, 6 * 32),
        ({"persons": 8, "views": 8}, {"steps": 14, "passes": 64 * 14 * 3}, 64 * 14 * 3),
        ({"images_seen": 192, "batch_size": 32}, {"steps": 12, "generated": 192}, 12 * 32),
        ({"images_seen": 192, "batch_size": 32}, {"steps": 6, "generated": 0}, 192),
        ({"recon": "l1", "batch_size": 8}, {"steps": 3}, 3 * 4 * 8),
    ],
    ids=["triplet", "samplers", "clothing", "generated", "not-generated", "reconstruction"],
)
def test_training_images_of_a_run(tool, parameters, extra, images):
    place = {"dataset": "viper-like", "fingerprint": "f"}
    record = results.Record("any", "any-0", parameters, 0, {"mAP": 50.0}, data=place, extra=extra)
    assert tool.images_shown(record) == images


def test_an_unknown_chapter_or_option_is_refused(tool, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tool.main(["tripplet"])
    assert "invalid choice: 'tripplet'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tool.main(words("samplers", tmp_path, "--images-seen", "5"))
    assert "unrecognized arguments: --images-seen" in capsys.readouterr().err
