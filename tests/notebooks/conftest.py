"""Notebooks run as plain Python in this process, with their builds in a folder of their own."""

from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def no_windows():
    matplotlib.use("Agg")


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """One build folder for all notebook tests, so that data is drawn once."""
    return tmp_path_factory.mktemp("build")


@pytest.fixture
def run(build, tmp_path, monkeypatch):
    """run(notebook, **parameters) -> (namespace, the record or None)."""
    import matplotlib.pyplot as plt

    from reidlib import results
    from reidlib.workflow.cells import run_cells

    monkeypatch.setenv("REIDLIB_BUILD", str(build))
    monkeypatch.setenv("TQDM_DISABLE", "1")

    def runner(notebook, **parameters):
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        space = run_cells(ROOT / "notebooks" / f"{notebook}.ipynb", parameters | {"out": str(out)})
        plt.close("all")
        (record,) = results.load_all(out)
        return space, record

    return runner
