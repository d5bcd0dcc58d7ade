"""The recorded runs for an accelerator, on the CPU and small, where there is no Jupyter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reidlib import warmstart
from reidlib.results import load_all
from reidlib.workflow import grid

ROOT = Path(__file__).parents[2]
SMALL = ["--device", "cpu", "--precision", "float32", "--dataset", "viper-like", "--height", "64", "--width", "32"]
SMALL += ["--backbone", "resnet-small", "--weights", "none", "--seeds", "2"]
SHORT = {"triplet": ["--images-seen", "192"], "samplers": ["--epochs", "2", "--iterations", "3"]}
STATED = {
    "triplet": {"images_seen": 192, "learning_rate": 1e-4},
    "samplers": {"epochs": 2, "batch_size": 32, "eps": 0.5, "temperature": 0.09, "learning_rate": 3.5e-4},
}
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
    assert header.split()[:4] == ["arm", "mAP", "R1", "seconds"]
    assert row.split()[:2] == [arms[0], f"{first.metrics['mAP']:.1f},"]

    assert main(words(chapter, tmp_path, "--minutes", "0")) == 0
    records = sorted(load_all(tmp_path / "r"), key=lambda r: arms.index(r.arm))
    assert [(r.arm, r.seed) for r in records] == [(arm, 0) for arm in arms[:2]]
    assert (records[0].id, records[0].created) == (first.id, first.created)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]] == arms[:2]


@pytest.mark.parametrize("chapter", SHORT)
def test_arms_are_those_of_the_grid_at_the_stated_settings(chapter, tool, tmp_path):
    chosen = tool.parse(words(chapter, tmp_path))
    of_grid = grid.read(chapter)
    for arm in chosen.experiment.arms:
        parameters = tool.given(chosen, arm, 1)
        small = {"backbone": "mildnet-small"} if arm.startswith("mildnet") else {}
        assert parameters["seed"] == 1
        assert parameters["arm"] == arm
        wanted = of_grid.common | of_grid.arms[arm] | STATED[chapter] | small | {"dataset": "viper-like"}
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
    ):
        chosen = tool.parse(words(chapter, tmp_path, *extra))
        tool.prepare([tool.given(chosen, arm, 0) for arm in chosen.experiment.arms])
        assert made == [(backbone, (64, 32)) for backbone in backbones]
        made.clear()


def test_an_unknown_chapter_or_option_is_refused(tool, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tool.main(["tripplet"])
    assert "invalid choice: 'tripplet'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tool.main(words("samplers", tmp_path, "--images-seen", "5"))
    assert "unrecognized arguments: --images-seen" in capsys.readouterr().err
