"""Notebooks run as plain Python in this process, with their builds in a folder of their own."""

import dataclasses
import functools
from contextlib import contextmanager
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


@pytest.fixture(scope="session")
def shrunk(build, tmp_path_factory):
    """A context manager, shrunk(changes, trunks, size): drawn data sets with few people, untrained warm starts.

    changes: {preset: {field: value}}; what is drawn is kept apart from the whole sets. trunks: backbones whose warm
    start at `size` (height, width) is an untrained trunk.
    """
    import torch

    from reidlib import models, warmstart
    from reidlib.data import drawn
    from reidlib.data.pedestrians import PRESETS

    @contextmanager
    def shrunk(changes, trunks, size):
        with pytest.MonkeyPatch.context() as patched:
            for name, own in changes.items():
                patched.setitem(PRESETS, name, dataclasses.replace(PRESETS[name], **own))
            cache = tmp_path_factory.mktemp("drawn")
            patched.setattr(drawn, "cache_folder", lambda: cache)
            patched.setattr(drawn, "source_hash", functools.cache(drawn.source_hash))
            patched.setenv("REIDLIB_BUILD", str(build))
            for trunk in trunks:
                file = warmstart.path(trunk, size)
                file.parent.mkdir(parents=True, exist_ok=True)
                with torch.random.fork_rng():
                    torch.manual_seed(1)
                    models.save_trunk(models.build(trunk), file)
            yield

    return shrunk


@pytest.fixture(scope="module")
def found():
    return {}


@pytest.fixture
def once(run, found, request):
    """once(**settings) -> (namespace, record) of a run that is made for the first test of the module that asks for it.

    The module says which notebook it is about, NOTEBOOK, and the settings of all of its runs, SMALL.
    """
    notebook, small = request.module.NOTEBOOK, request.module.SMALL

    def runner(**settings):
        name = repr(sorted(settings.items()))
        if name not in found:
            found[name] = run(notebook, **small | settings)
        return found[name]

    return runner
