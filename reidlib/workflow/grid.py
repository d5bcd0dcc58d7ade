"""Grids: which runs an experiment's tables need, read from `book/papers/grids/<experiment>.yml`.

    experiment: triplet
    notebook: notebooks/triplet.ipynb        # this is the default
    common: {dataset: market-like}           # parameters of every run
    arms:                                    # name -> the parameters in which it differs
      triplet: {loss: triplet}
      lossless: {loss: lossless, learning_rate: 1e-3}
    tune:                                    # arm -> lists: arms tune-<arm>-<values>, one for each combination
      triplet: {learning_rate: [1e-3, 3e-3], split: val}
    page: {loss: triplet}                    # parameters of the chapter's own single run
    reads: [samplers]                        # other experiments whose runs the chapter shows
    sections:
      book: {arms: all, seeds: [0, 1, 2]}    # what every build runs
      full: {arms: all, seeds: [0, 1, 2, 3, 4]}
      tiny: {arms: [triplet], seeds: [0], common: {steps: 20}}

Patterns name arms too (`lossless*`); `all` is every arm but those of `tune`, which are the section `tune`, with
seed 0 and on validation identities. The experiment `triplet-tune` is that section of `triplet`.
"""

import fnmatch
import itertools
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from reidlib.workflow import driver, project

_KEYS = {"experiment", "notebook", "common", "arms", "tune", "page", "reads", "sections"}
_SECTION_KEYS = {"arms", "seeds", "common", "page"}


class GridError(ValueError):
    """A grid file that cannot be used; the message names the file and the entry."""


@dataclass(frozen=True)
class Grid:
    """One grid file: `arms` and `sections` as read, `defaults` the notebook's parameters."""

    path: Path
    experiment: str
    notebook: Path
    common: dict
    arms: dict
    page: dict
    sections: dict
    defaults: dict
    tune: dict
    reads: tuple = ()


@dataclass(frozen=True)
class Run:
    """One run of a grid: `parameters` are those that are given to the notebook, without `out`."""

    experiment: str
    arm: str
    seed: int
    parameters: dict
    id: str

    @property
    def label(self) -> str:
        return f"{self.experiment} {self.arm} seed {self.seed}"


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as it is in Python, and a name that stands twice is an error."""

    def construct_mapping(self, node, deep=False):
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_yaml(path: Path):
    """The content of a YAML file. Raises GridError with the line of a fault."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{driver.shown(path)}, line {mark.line + 1}" if mark else driver.shown(path)
        raise GridError(f"{where}: {getattr(error, 'problem', None) or error}") from error


def experiments() -> list[str]:
    """Names of all grid files, sorted."""
    return sorted(path.stem for path in project.grids().glob("*.yml"))


def resolve(experiment: str, section: str) -> tuple[str, str]:
    """(grid, section) that are meant: `triplet-tune` is the section `tune` of `triplet`."""
    base = experiment.removesuffix("-tune")
    if base != experiment and not (project.grids() / f"{experiment}.yml").is_file():
        return base, "tune"
    return experiment, section


def read(experiment: str) -> Grid:
    """The grid of an experiment, checked against its notebook. Raises GridError."""
    path = project.grids() / f"{experiment}.yml"
    if not path.is_file():
        known = ", ".join(experiments()) or "none yet"
        raise GridError(f"there is no experiment {experiment!r} ({driver.shown(path)}); there are: {known}")
    content = _mapping(path, "the file", read_yaml(path))
    _known(path, "the file", content, _KEYS)
    if content.get("experiment", experiment) != experiment:
        raise GridError(
            f"{driver.shown(path)}: experiment is {content['experiment']!r}, the file's name says {experiment!r}"
        )
    notebook = project.root() / content.get("notebook", f"notebooks/{experiment}.ipynb")
    parts = {key: _mapping(path, key, content.get(key) or {}) for key in ("common", "arms", "tune", "page", "sections")}
    if parts["tune"]:
        parts["sections"].setdefault(
            "tune", {"arms": ["tune-*"], "seeds": [0], "common": {"evaluate_on": "validation"}}
        )
    for name in ("arms", "tune", "sections"):
        parts[name] = {key: _mapping(path, f"{name}: {key}", value or {}) for key, value in parts[name].items()}
    try:
        defaults = driver.defaults(driver.read(notebook), notebook)
        grid = Grid(path, experiment, notebook, defaults=defaults, reads=tuple(content.get("reads", ())), **parts)
        for given in (grid.common, grid.page, *grid.arms.values(), *grid.tune.values()):
            driver.reject_unknown(given, defaults, notebook)
    except driver.NotebookError as error:
        raise GridError(f"{driver.shown(path)}: {error}") from error
    return grid


def expand(grid: Grid, section: str) -> list[Run]:
    """The runs of one section, arm by arm, seed by seed. Raises GridError."""
    chosen = section_of(grid, section)
    where = f"{driver.shown(grid.path)}, section {section}"
    known = {**grid.arms, **_tuned(grid)}
    arms = list(grid.arms) if chosen.get("arms", "all") == "all" else chosen["arms"]
    seeds = chosen.get("seeds")
    if not isinstance(arms, list) or not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise GridError(f"{where}: needs `arms` (all, or a list of names) and `seeds` (a list of whole numbers)")
    for arm in arms:
        if not fnmatch.filter(known, str(arm)):
            raise GridError(f"{where}: there is no arm {arm!r}; there are: {', '.join(known)}")
    runs, seen = [], {}
    named = [name for pattern in arms for name in fnmatch.filter(known, str(pattern))]
    for arm in dict.fromkeys(named):
        for seed in seeds:
            run = _run(grid, arm, seed, {**grid.common, **known[arm], **(chosen.get("common") or {})})
            if run.id in seen:
                raise GridError(
                    f"{where}: {seen[run.id]} and {run.label} are the same run: they have the same parameters"
                )
            seen[run.id] = run.label
            runs.append(run)
    return runs


def _tuned(grid: Grid) -> dict:
    """Arm -> parameters for every combination of the lists of `tune`."""
    found = {}
    for arm, choices in grid.tune.items():
        if arm not in grid.arms:
            raise GridError(f"{driver.shown(grid.path)}: tune names the arm {arm!r}; there are: {', '.join(grid.arms)}")
        lists = {name: values for name, values in choices.items() if isinstance(values, list)}
        for values in itertools.product(*lists.values()):
            name = "-".join(["tune", arm, *map(str, values)])
            found[name] = {**grid.arms[arm], **choices, **dict(zip(lists, values, strict=True))}
    return found


def section_of(grid: Grid, section: str) -> dict:
    """One section as it was read, its names checked. Raises GridError."""
    if section not in grid.sections:
        raise GridError(f"{driver.shown(grid.path)} has no section {section!r}; it has: {', '.join(grid.sections)}")
    chosen = grid.sections[section]
    _known(grid.path, f"section {section}", chosen, _SECTION_KEYS)
    for key in ("common", "page"):
        given = _mapping(grid.path, f"section {section}: {key}", chosen.get(key) or {})
        try:
            driver.reject_unknown(given, grid.defaults, grid.notebook)
        except driver.NotebookError as error:
            raise GridError(f"{driver.shown(grid.path)}, section {section}: {error}") from error
    return chosen


def page_parameters(grid: Grid, section: str) -> dict:
    """Parameters of the chapter's own single run in a section; an arm named there brings its parameters."""
    chosen = section_of(grid, section)
    page = {**grid.page, **(chosen.get("page") or {})}
    arm = page.get("arm")
    if arm is not None and arm not in grid.arms:
        raise GridError(f"{driver.shown(grid.path)}: page names the arm {arm!r}; there are: {', '.join(grid.arms)}")
    return {**grid.common, **grid.arms.get(arm, {}), **(chosen.get("common") or {}), **page}


def alone(notebook: Path) -> Grid:
    """The grid of a notebook that has none: no runs, a page with the notebook's own parameters. Raises GridError."""
    try:
        defaults = driver.defaults(driver.read(notebook), notebook)
    except driver.NotebookError as error:
        raise GridError(str(error)) from error
    sections = {project.section(): {"arms": [], "seeds": []}}
    return Grid(notebook, notebook.stem, notebook, {}, {}, {}, sections, defaults, {})


def identity(grid: Grid, parameters: dict) -> str:
    """The id that a run with these parameters has: the name of its directory below `runs/<experiment>`."""
    from reidlib.results.provenance import run_id

    values = {name: _as(grid.defaults.get(name), value) for name, value in {**grid.defaults, **parameters}.items()}
    values.pop("out", None)
    return run_id(grid.experiment, values, _fingerprint(values))


def _as(default, value):
    return float(value) if isinstance(default, float) and type(value) is int else value


def _run(grid: Grid, arm: str, seed: int, parameters: dict) -> Run:
    parameters = {
        **parameters,
        **{name: value for name, value in (("arm", arm), ("seed", seed)) if name in grid.defaults},
    }
    return Run(grid.experiment, arm, seed, parameters, identity(grid, parameters))


def _fingerprint(values: dict) -> str | None:
    dataset = str(values.get("dataset"))
    if (
        not dataset.endswith("-like") and values.get("root") is None
    ):  # no data, or its folder is missing: the notebook says
        return None
    size = (values["height"], values["width"]) if {"height", "width"} <= set(values) else None
    return _fingerprint_of(values["dataset"], values.get("root"), size, values.get("data_seed", 0))


@lru_cache(maxsize=256)
def _fingerprint_of(dataset: str, root: str | None, size: tuple[int, int] | None, data_seed: int) -> str:
    from reidlib.data import fingerprint

    return fingerprint(dataset, root, data_seed=data_seed, **({"size": size} if size else {}))


def _mapping(path: Path, name: str, value) -> dict:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise GridError(f"{driver.shown(path)}: {name} must be `name: value` pairs, not {value!r}")
    return value


def _known(path: Path, name: str, value: dict, known: set) -> None:
    for key in value:
        if key not in known:
            raise GridError(
                f"{driver.shown(path)}: {name} has no entry {key!r}; it can have {', '.join(sorted(known))}"
            )
