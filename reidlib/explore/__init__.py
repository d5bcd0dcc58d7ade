"""Pictures to play with, in a notebook and, without a kernel, in the static book.

`Ranking` holds what was ranked for each query and needs no browser; `RankingExplorer` shows it. `MetricsPlayground`
lets a reader move results of made-up lists, `Pictures` steps through images and layers, `choices` picks among figures,
and `explore` ranks a data set with a checkpoint and opens the explorer. All but `Ranking` and `rank` need anywidget.
"""

import importlib

from reidlib.explore.ranking import Ranking, rank, rank_distances

_WIDGETS = {
    "RankingExplorer": "explorer",
    "MetricsPlayground": "playground",
    "Pictures": "pictures",
    "SamplerPicture": "batches",
    "choices": "controls",
    "explore": "session",
    "load_model": "session",
    "rankings_of": "session",
}

__all__ = ["Ranking", "rank", "rank_distances", *sorted(_WIDGETS)]


def __getattr__(name: str):
    if name not in _WIDGETS:
        raise AttributeError(f"module 'reidlib.explore' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"reidlib.explore.{_WIDGETS[name]}")
    except ModuleNotFoundError as error:
        if error.name not in ("anywidget", "ipywidgets", "traitlets"):
            raise
        raise ImportError(
            f"reidlib.explore.{name} needs the package {error.name}: pip install 'reidlib[notebooks]'"
        ) from error
    return getattr(module, name)
