"""One notebook through papermill: checked before it runs, whole or not there after."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from reidlib.workflow import driver
from reidlib.workflow.driver import NotebookError, RunFailed, run_notebook

PARAMETERS = ("parameters", "loss = 'triplet'\nseed = 0\nsizes = [1]")


def write(path: Path, *cells) -> Path:
    book = nbformat.v4.new_notebook()
    for tag, source in cells:
        book.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": [tag]} if tag else {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)
    return path


def printed(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return [output.text for cell in cells if cell.cell_type == "code" for output in cell.outputs if "text" in output]


def test_a_run_with_other_parameters_from_another_folder(tmp_path, monkeypatch):
    code = "import os\nprint(loss, seed, sizes, *map(os.environ.get, ['OMP_NUM_THREADS', 'PYTHONHASHSEED', 'X']))"
    write(tmp_path / "a" / "n.ipynb", PARAMETERS, (None, code), ("page", "print('page')"))
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    out = run_notebook("../a/n.ipynb", "out/n.ipynb", {"loss": "lossless", "sizes": [2, 3]}, environment={"X": "y"})
    assert out == tmp_path / "b" / "out" / "n.ipynb"
    assert printed(out) == ["lossless 0 [2, 3] 1 0 y\n"]
    assert [path.name for path in out.parent.iterdir()] == ["n.ipynb"]
    text = out.read_text()
    assert str(tmp_path) not in text
    assert "TCP" not in text
    assert "frozen" not in text
    assert "OMP_NUM_THREADS" not in os.environ


def test_pages_are_executed_on_demand_only(tmp_path):
    source = write(tmp_path / "n.ipynb", PARAMETERS, ("page", "print('page')"))
    assert printed(run_notebook(source, tmp_path / "o.ipynb", page=True, metadata={"key": "k"})) == ["page\n"]
    assert json.loads((tmp_path / "o.ipynb").read_text())["metadata"]["reidlib"] == {"key": "k"}


def test_what_is_wrong_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = write(tmp_path / "n.ipynb", PARAMETERS)
    none = write(tmp_path / "none.ipynb", (None, "a = 1"))
    two = write(tmp_path / "two.ipynb", PARAMETERS, PARAMETERS)
    (tmp_path / "text.ipynb").write_text("hello")
    (tmp_path / "link.ipynb").symlink_to(good)
    before = good.read_bytes()
    for arguments, words in [
        ((good, "o.ipynb", {"los": 1}), "n.ipynb has no parameter 'los'; did you mean 'loss'?"),
        ((good, "o.ipynb", {"zzz": 1}), "n.ipynb has no parameter 'zzz'; it has loss, seed, sizes"),
        ((none, "o.ipynb"), "none.ipynb has 0 cells tagged `parameters`: it needs exactly one"),
        ((two, "o.ipynb"), "two.ipynb has 2 cells tagged `parameters`: it needs exactly one"),
        ((good, good), "the output n.ipynb is the notebook itself: give another file"),
        ((good, "link.ipynb"), "the output link.ipynb is the notebook itself: give another file"),
        (("missing.ipynb", "o.ipynb"), "there is no notebook missing.ipynb"),
        (("text.ipynb", "o.ipynb"), "text.ipynb is not a notebook"),
    ]:
        with pytest.raises(NotebookError) as caught:
            run_notebook(*arguments)
        assert str(caught.value).startswith(words)
    assert good.read_bytes() == before
    assert not (tmp_path / "o.ipynb").exists()


def test_a_failing_cell_is_named_and_the_partial_notebook_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fail = (None, "\n# the work\nif seed == 1:\n    raise KeyError('no such camera')")
    source = write(tmp_path / "n.ipynb", PARAMETERS, (None, "print('first')"), ("page", "1"), fail)
    with pytest.raises(RunFailed) as caught:
        run_notebook(source, "o.ipynb", {"seed": 1, "sizes": [4], "loss": "7"}, log="the.log")
    assert str(caught.value) == "n.ipynb, cell 4 (`# the work`): KeyError: 'no such camera'"
    report = json.loads((tmp_path / "o.failed.json").read_text())
    assert (report["notebook"], report["cell"], report["first_line"], report["log"]) == (
        "n.ipynb",
        4,
        "# the work",
        "the.log",
    )
    assert "first\n" in printed(tmp_path / "o.failed.ipynb")
    assert not (tmp_path / "o.ipynb").exists()
    words = shlex.split(report["command"])
    assert words[1:6] == ["-m", "reidlib.workflow.cli", "run", "n.ipynb", "--out"]
    assert words[7:] == ["-p", "seed", "1", "-y", "sizes: [4]", "-y", 'loss: "7"']
    run_notebook(source, "o.ipynb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.ipynb", "o.ipynb"]


def test_a_kernel_that_is_killed_and_a_cell_that_takes_too_long(tmp_path):
    code = "import os, signal, time\nos.kill(os.getpid(), signal.SIGKILL) if seed else time.sleep(60)"
    source = write(tmp_path / "n.ipynb", PARAMETERS, (None, "1"), (None, code), (None, "2"))
    with pytest.raises(RunFailed, match=r"cell 3 .*the kernel died"):
        run_notebook(source, tmp_path / "o.ipynb", {"seed": 1})
    with pytest.raises(RunFailed, match=r"cell 3 .*ran past its time limit"):
        run_notebook(source, tmp_path / "o.ipynb", timeout=1)


def test_a_notebook_that_leaves_no_record_has_failed(tmp_path):
    source = write(tmp_path / "n.ipynb", PARAMETERS)
    with pytest.raises(RunFailed, match="ran but did not write"):
        run_notebook(source, tmp_path / "o.ipynb", need=tmp_path / "record.json")
    assert json.loads((tmp_path / "o.failed.json").read_text())["cell"] is None


def test_the_command_line(tmp_path):
    source = write(tmp_path / "n.ipynb", PARAMETERS, (None, "print(loss, seed, sizes)"))
    call = [sys.executable, "-m", "reidlib.workflow.cli", "run", str(source)]
    environment = os.environ | {"PYTHONPATH": str(Path(driver.__file__).parents[2])}
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "env": environment}
    done = subprocess.run([*call, "-p", "seed", "5", "-p", "loss", "lossless", "-y", "sizes: [9]"], **options)
    assert done.returncode == 0, done.stderr
    assert printed(Path(done.stdout.strip())) == ["lossless 5 [9]\n"]
    wrong = subprocess.run([*call, "-p", "los", "lossless"], **options)
    assert (wrong.returncode, wrong.stderr) == (1, "reidlib: n.ipynb has no parameter 'los'; did you mean 'loss'?\n")
