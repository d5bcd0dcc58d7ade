"""A notebook as plain Python, without Jupyter."""

import json
import subprocess
import sys

import pytest

from reidlib.workflow.cells import run_cells


def write(path, *cells):
    made = [
        {"cell_type": "code", "metadata": {"tags": [tag] if tag else []}, "source": source} for tag, source in cells
    ]
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "metadata": {}, "source": "# T"}, *made]}))
    return path


def test_cells_share_a_namespace_and_parameters_win(tmp_path, capsys):
    cells = [("parameters", "a, b = 1, 2\nc = 'x'"), (None, "%time\nd = a + b\nd"), (None, "d;"), ("page", "1 / 0")]
    space = run_cells(write(tmp_path / "n.ipynb", *cells, (None, "display(c)\n{}.get(1)")), {"b": 10})
    assert space["d"] == 11
    assert capsys.readouterr().out == "11\nx\n"


def test_unknown_parameters_and_failing_cells(tmp_path):
    path = write(tmp_path / "n.ipynb", ("parameters", "seed = 0"), (None, "1 / seed"))
    with pytest.raises(ValueError, match="has no parameter 'sed'; it has seed"):
        run_cells(path, {"sed": 1})
    with pytest.raises(ZeroDivisionError) as caught:
        run_cells(path)
    assert caught.value.__notes__ == [f"in cell 3 of {path}"]
    with pytest.raises(ValueError, match="has 0 cells tagged"):
        run_cells(write(tmp_path / "m.ipynb", (None, "1")))


def test_the_command_needs_no_jupyter(tmp_path):
    path = write(tmp_path / "n.ipynb", ("parameters", "seed = 0"), (None, "print(100 // seed)"))
    code = (
        "import sys\n"
        "for name in ('papermill', 'nbformat', 'IPython', 'ipykernel', 'yaml', 'snakemake'): sys.modules[name] = None\n"
        "from reidlib.workflow.cells import main\nsys.exit(main(sys.argv[1:]))"
    )
    good = subprocess.run([sys.executable, "-c", code, path, "-p", "seed", "7"], capture_output=True, text=True)
    assert (good.returncode, good.stdout) == (0, "14\n"), good.stderr
    bad = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stderr.splitlines()[-1].endswith("ZeroDivisionError: integer division or modulo by zero")
