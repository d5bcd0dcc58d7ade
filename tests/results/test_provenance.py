import json
import subprocess
import time
from pathlib import Path

import pytest
import torch

import reidlib
from reidlib.results import machine, provenance
from reidlib.results.provenance import code_hash, default_parameters, imported_modules, is_current, module_hash, run_id


@pytest.fixture
def package(tmp_path):
    """A package `pack`: a -> b (in a function) -> sub.c (relative); `other` and sub.d are imported by nobody."""
    files = {
        "__init__.py": "",
        "a.py": "import numpy\n\ndef f():\n    from pack import b\n    return b\n",
        "b.py": "from .sub import c, thing\n",
        "sub/__init__.py": "from .f import thing\n",
        "sub/f.py": "thing = 1\n",
        "sub/c.py": "try:\n    from .. import e\nexcept ImportError:\n    e = None\n",
        "sub/d.py": "",
        "e.py": "import pack.a\n",
        "other.py": "from pack.sub import d\n",
    }
    for name, text in files.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "pack"


SUB = {"pack", "pack.sub", "pack.sub.f"}
COVERED = SUB | {"pack.a", "pack.b", "pack.sub.c", "pack.e"}


def test_imports_are_followed(package):
    assert imported_modules(["pack.a"], root=package) == COVERED
    assert imported_modules(code="from pack.a import f", root=package) == COVERED
    assert imported_modules(code="import pack.sub.d as d, os", root=package) == SUB | {"pack.sub.d"}
    assert imported_modules(code="from pack.sub import *", root=package) == SUB
    assert imported_modules(code="import packed", root=package) == set()
    assert imported_modules(["pack.a"], root=package, leave_out=["pack.sub"]) == {"pack", "pack.a", "pack.b"}


@pytest.mark.parametrize("name", ["__init__", "a", "b", "sub/__init__", "sub/c", "sub/f", "e"])
def test_a_change_behind_an_import_changes_the_hash(package, name):
    before = module_hash(["pack.a"], root=package)
    path = package / f"{name}.py"
    path.write_text(path.read_text() + "x = 1\n")
    assert module_hash(["pack.a"], root=package) != before


@pytest.mark.parametrize("name", ["other", "sub/d"])
def test_a_change_elsewhere_does_not(package, name):
    before = module_hash(["pack.a"], root=package)
    (package / f"{name}.py").write_text("x = 1\n")
    (package / "new.py").write_text("")
    assert module_hash(["pack.a"], root=package) == before


def test_a_new_import_brings_its_module_in(package):
    before = module_hash(["pack.a"], root=package)
    (package / "e.py").write_text("import pack.other\n")
    grown = imported_modules(["pack.a"], root=package)
    assert grown == COVERED | {"pack.other", "pack.sub.d"}
    assert module_hash(["pack.a"], root=package) != before


def test_the_hash_is_of_contents_not_of_dates_or_line_ends(package):
    before = module_hash(["pack.a"], root=package)
    path = package / "b.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert module_hash(["pack.a"], root=package) == before


def test_an_unknown_module_is_refused(package):
    with pytest.raises(ValueError, match=r"no module 'pack\.z'"):
        module_hash(["pack.z"], root=package)


def test_what_only_keeps_or_shows_results_is_not_hashed():
    code = "from reidlib.results import save, claims\nimport reidlib.workflow\nfrom reidlib import training, figures"
    assert imported_modules(code=code) == {"reidlib", "reidlib.training"}


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
