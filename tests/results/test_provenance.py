import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import torch

import reidlib
from reidlib.results import machine, provenance
from reidlib.results.closure import reached
from reidlib.results.provenance import (
    NOT_HASHED,
    PACKAGE,
    code_cells,
    code_hash,
    default_parameters,
    is_current,
    module_hash,
    run_id,
)

TRIPLET = [
    "reidlib.data.load",
    "reidlib.data.augment.Augment",
    "reidlib.data.market1501.read",  # found by the name of the data set
    "reidlib.losses.triplet.batch_hard",
    "reidlib.losses.triplet.lossless",
    "reidlib.mining.triplet_batches",
    "reidlib.models.build",
    "reidlib.models.resnet.SmallResNet",
    "reidlib.models.weights.load_trunk",
    "reidlib.retrieval.counting.ranks",
    "reidlib.retrieval.evaluate.evaluate",
    "reidlib.samplers.PKSampler",
    "reidlib.training.train",
    "reidlib.warmstart.warm_start",
]


def triplet():
    return "\n".join(code_cells(provenance.notebook_path("triplet")))


def test_a_chapter_rests_on_the_definitions_that_it_uses():
    found = {".".join(one) for one in reached(code=triplet(), root=PACKAGE, leave_out=NOT_HASHED)}
    assert set(TRIPLET) <= found
    assert not {"reidlib.losses.triplet.triplet_statistics", "reidlib.retrieval.index.search"} & found
    assert not [one for one in found if one.startswith(NOT_HASHED)]


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("losses/triplet.py", "def lossless(", "def lossless(more=1, *, ", True),
        ("models/weights.py", "SUFFIXES = (", "SUFFIXES = (0, ", True),
        ("samplers.py", "class PKSampler", "class NewSampler:\n    pass\n\n\nclass PKSampler", False),
        ("models/__init__.py", "BACKBONES =", "def another():\n    return build\n\n\nBACKBONES =", False),
        ("results/provenance.py", "SKIPPED_TAGS =", "MORE = 1\nSKIPPED_TAGS =", False),
    ],
)
def test_a_change_counts_where_the_chapter_uses_it(tmp_path, file, old, new, counts):
    root = tmp_path / "reidlib"
    shutil.copytree(PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))
    before = module_hash(code=triplet(), root=root)
    assert before == module_hash(code=triplet())
    text = (root / file).read_text()
    assert text.count(old) == 1
    (root / file).write_text(text.replace(old, new))
    assert (module_hash(code=triplet(), root=root) != before) == counts


def test_a_module_by_name_counts_with_all_of_its_definitions(tmp_path):
    assert module_hash("reidlib.warmstart") == module_hash(["reidlib.warmstart"])
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "a.py").write_text("def f():\n    pass\n")
    before = module_hash([f"{tmp_path.name}.a"], root=tmp_path)
    (tmp_path / "a.py").write_bytes(b"# why\r\ndef f():\r\n    pass\r\n")
    assert module_hash([f"{tmp_path.name}.a"], root=tmp_path) == before
    (tmp_path / "a.py").write_text("def f():\n    pass\n\n\nnew = 1\n")
    assert module_hash([f"{tmp_path.name}.a"], root=tmp_path) != before


def test_layout_and_comments_of_a_cell_do_not_count(tmp_path):
    hashes = set()
    for source in ("f(a, b)  # why", "f(\n    a,\n    b,\n)", "%time\nf(a,b)", "f(b, a)"):
        (tmp_path / "n.ipynb").write_text(json.dumps({"cells": [cell(source)]}))
        hashes.add(code_hash(tmp_path / "n.ipynb"))
    assert len(hashes) == 3  # a magic stands for a statement


def cell(source, *tags, kind="code"):
    extra = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "source": source.splitlines(keepends=True), "metadata": {"tags": list(tags)}, **extra}


def write(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


CELLS = [
    cell("# Title", kind="markdown"),
    cell("loss = 'triplet'  # or lossless\nlr = 1e-4\nseed: int = 0\nroot = None\nout = 'runs'", "parameters"),
    cell("%matplotlib inline\nfrom reidlib.results import save\nprint(1)"),
    cell("show()", "page"),
]


def test_only_code_that_makes_numbers_counts(tmp_path):
    path = write(tmp_path / "n.ipynb", *CELLS)
    before = code_hash(path)
    title, parameters, code, page = CELLS
    write(path, cell("# Other", kind="markdown"), parameters, code, page)
    assert code_hash(path) == before
    write(path, title, parameters, code, cell("show(2)", "page"))
    assert code_hash(path) == before
    write(path, title, cell("loss = 1", "parameters"), code, page)
    assert code_hash(path) == before
    executed = dict(code, outputs=[{"output_type": "stream", "name": "stdout", "text": "1"}], execution_count=3)
    write(path, title, parameters, executed, page)
    assert code_hash(path) == before
    write(path, title, parameters, cell("print(2)"), page)
    assert code_hash(path) != before


def test_defaults_are_read_from_the_parameters_cell(tmp_path):
    path = write(tmp_path / "n.ipynb", *CELLS)
    assert default_parameters(path) == {"loss": "triplet", "lr": 1e-4, "seed": 0, "root": None, "out": "runs"}
    write(path, cell("a = f()", "parameters"))
    with pytest.raises(ValueError, match="parameter 'a' must be a literal"):
        default_parameters(path)


def test_a_broken_notebook_is_named(tmp_path):
    (tmp_path / "n.ipynb").write_text("{")
    with pytest.raises(ValueError, match=r"n\.ipynb is no notebook"):
        code_hash(tmp_path / "n.ipynb")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository around a small package, with a notebook `exp`."""
    monkeypatch.delenv("REIDLIB_BUILD", raising=False)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "clone" / "reidlib")
    (tmp_path / "clone" / "reidlib").mkdir(parents=True)
    (tmp_path / "clone" / "pyproject.toml").write_text("")
    write(tmp_path / "clone" / "notebooks" / "exp.ipynb", *CELLS)
    return tmp_path / "clone"


def test_the_repository_is_right_above_the_package(clone, monkeypatch):
    assert provenance.repository() == clone
    assert provenance.build_dir() == clone / "build"
    assert provenance.notebook_path("exp") == clone / "notebooks" / "exp.ipynb"
    assert provenance.notebook_path("none") is None
    (clone / "pyproject.toml").unlink()
    assert provenance.repository() is None
    assert provenance.build_dir() == Path.home() / ".cache" / "reidlib"
    monkeypatch.setenv("REIDLIB_BUILD", str(clone / "elsewhere"))
    assert provenance.build_dir() == clone / "elsewhere"


def test_a_run_id_reads_well_and_is_stable(clone):
    first = run_id("exp", {"loss": "lossless", "seed": 1, "out": "/tmp/x"}, "f")
    assert first.rpartition("-")[0] == "exp-lossless-seed-1"
    assert len(first.rpartition("-")[2]) == 12
    assert int(first.rpartition("-")[2], 16) >= 0
    assert run_id("exp", {"seed": 1, "loss": "lossless", "out": "elsewhere"}, "f") == first


def test_defaults_given_or_not_are_the_same_run(clone):
    first = run_id("exp", {"seed": 1})
    assert run_id("exp", {"seed": 1, "loss": "triplet", "lr": 0.0001, "root": None}) == first
    assert run_id("exp", {"seed": 1, "lr": 1}) == run_id("exp", {"seed": 1, "lr": 1.0})


def test_whatever_decides_a_run_changes_its_id(clone):
    path = clone / "notebooks" / "exp.ipynb"
    ids = [run_id("exp", {"seed": 1}, "f")]
    ids += [
        run_id("exp", {"seed": 2}, "f"),
        run_id("exp", {"seed": 1}, "g"),
        run_id("exp", {"seed": 1, "lr": 0.1}, "f"),
    ]
    write(path, CELLS[0], cell("loss = 'lossless'\nlr = 1e-4\nseed = 0\nroot = None", "parameters"), *CELLS[2:])
    ids.append(run_id("exp", {"seed": 1}, "f"))
    write(path, *CELLS, cell("more()"))
    ids.append(run_id("exp", {"seed": 1}, "f"))
    assert len({one.rpartition("-")[2] for one in ids}) == len(ids)


def test_a_long_slug_is_cut(clone):
    one = run_id("exp", {"root": "/data/Market-1501-v15.09.15", "names": ["x"] * 50, "seed": 3})
    assert one.startswith("exp-market-1501-v15.09.15-names-")
    assert len(one) < 90
    assert set(one) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")


def test_a_cell_that_is_no_python_is_named(clone):
    write(clone / "notebooks" / "exp.ipynb", CELLS[1], cell("fine = 1"), cell("def ("))
    with pytest.raises(ValueError, match=r"exp\.ipynb: code cell 2 is no valid Python"):
        run_id("exp", {})


def test_without_the_notebook_the_record_says_so(clone):
    assert provenance.code_identity("none")["notebook"] == provenance.NO_NOTEBOOK
    assert run_id("none", {"seed": 1}) != run_id("exp", {"seed": 1})


def test_records_grow_older_than_the_code(clone, make):
    parameters = {"loss": "lossless", "seed": 1}
    record = make(experiment="exp", parameters=parameters, id=run_id("exp", parameters, "f"))
    assert is_current(record)
    write(clone / "notebooks" / "exp.ipynb", *CELLS, cell("# note", kind="markdown"))
    assert is_current(record)
    write(clone / "notebooks" / "exp.ipynb", *CELLS, cell("more()"))
    assert not is_current(record)


def test_an_id_is_fast():
    run_id("triplet", {"seed": 1})
    start = time.perf_counter()
    run_id("triplet", {"seed": 2})
    assert time.perf_counter() - start < 0.1


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def test_git_state(clone):
    nothing = {"git_commit": None, "git_dirty": None}
    assert machine.git_state() == nothing
    git(clone, "init")
    assert machine.git_state() == nothing
    git(clone, "add", ".")
    git(clone, "commit", "-m", "first")
    state = machine.git_state()
    assert len(state["git_commit"]) == 40
    assert state["git_dirty"] is False
    (clone / "reidlib" / "new.py").write_text("")
    assert machine.git_state() == state | {"git_dirty": True}


def test_a_repository_around_the_clone_is_not_ours(clone):
    git(clone.parent, "init")
    git(clone.parent, "add", ".")
    git(clone.parent, "commit", "-m", "first")
    assert machine.git_state() == {"git_commit": None, "git_dirty": None}


def test_versions_and_machine():
    versions = machine.versions()
    assert versions["reidlib"] == reidlib.__version__
    assert {"python", "torch", "numpy"} <= set(versions)
    found = machine.environment("cpu")
    assert found["device"] == "cpu"
    assert found["machine"]
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] >= 1
    assert machine.peak_memory_mib() > 10
