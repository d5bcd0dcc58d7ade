"""Grids: which runs an experiment's tables need, read from `book/papers/grids/<experiment>.yml`.

    experiment: triplet
    notebook: notebooks/triplet.ipynb        # this is the default
    common: {dataset: market-like}           # parameters of every run
    arms:                                    # name -> the parameters in which it differs
      triplet: {loss: triplet}
      lossless: {loss: lossless, learning_rate: 1e-3}
    tune:                                    # arm -> lists: arms tune-<arm>-<values>, one for each combination
      triplet: {learning_rate: [1e-3, 3e-3], split: val, for: [triplet-*]}
    page: {loss: triplet}                    # parameters of the chapter's own single run
    reads: [samplers]                        # other experiments whose runs the chapter shows
    sections:
      book: {arms: all, seeds: [0, 1, 2]}    # what every build runs
      full: {arms: all, seeds: [0, 1, 2, 3, 4], datasets: [market-like, duke-like]}
      tiny: {arms: [triplet], seeds: [0], common: {steps: 20}}
      wide:                                  # groups: a run that several ask for is one run
        - {arms: all, seeds: [0, 1, 2]}
        - {arms: [lossless], seeds: [3, 4]}

Patterns name arms too (`lossless*`); `all` is every arm but those of `tune`, which are the section `tune`, with
seed 0 and on validation identities. The experiment `triplet-tune` is that section of `triplet`.

`datasets` runs every arm on each data set; an arm whose own parameters name a `dataset` runs on that one only, and not
at all where it is not listed. `for` names further arms that take the setting that was tuned, see `takers`.
"""

import fnmatch
import itertools
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from reidlib.workflow import driver, project
from reidlib.workflow.checked_yaml import GridError, known, mapping, read_yaml

_KEYS = {"experiment", "notebook", "common", "arms", "tune", "page", "reads", "sections"}
_SECTION_KEYS = {"arms", "seeds", "datasets", "common", "page"}


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
    """One run of a grid: `parameters` are those that are given to the notebook, without `out`.

    dataset: its data set, told by the label; empty where the section has one only.
    """

    experiment: str
    arm: str
    seed: int
    parameters: dict
    id: str
    dataset: str = ""

    @property
    def label(self) -> str:
        place = f" on {self.dataset}" if self.dataset else ""
        return f"{self.experiment} {self.arm}{place} seed {self.seed}"


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
        names = ", ".join(experiments()) or "none yet"
        raise GridError(f"there is no experiment {experiment!r} ({driver.shown(path)}); there are: {names}")
    content = mapping(path, "the file", read_yaml(path))
    known(path, "the file", content, _KEYS)
    if content.get("experiment", experiment) != experiment:
        raise GridError(
            f"{driver.shown(path)}: experiment is {content['experiment']!r}, the file's name says {experiment!r}"
        )
    notebook = project.root() / content.get("notebook", f"notebooks/{experiment}.ipynb")
    parts = {key: mapping(path, key, content.get(key) or {}) for key in ("common", "arms", "tune", "page", "sections")}
    if parts["tune"]:
        parts["sections"].setdefault(
            "tune", {"arms": ["tune-*"], "seeds": [0], "common": {"evaluate_on": "validation"}}
        )
    for name in ("arms", "tune"):
        parts[name] = {key: mapping(path, f"{name}: {key}", value or {}) for key, value in parts[name].items()}
    parts["sections"] = {key: _groups(path, key, value) for key, value in parts["sections"].items()}
    try:
        defaults = driver.defaults(driver.read(notebook), notebook)
        grid = Grid(path, experiment, notebook, defaults=defaults, reads=tuple(content.get("reads", ())), **parts)
        for given in (grid.common, grid.page, *grid.arms.values(), *map(_choices, grid.tune.values())):
            driver.reject_unknown(given, defaults, notebook)
    except driver.NotebookError as error:
        raise GridError(f"{driver.shown(path)}: {error}") from error
    return grid


def expand(grid: Grid, section: str) -> list[Run]:
    """The runs of one section: group by group, arm by arm, data set by data set, seed by seed. Raises GridError.

    A run that a later group asks for again is one run; within a group it is an error.
    """
    found: dict[str, Run] = {}
    for group in groups_of(grid, section):
        own: dict[str, Run] = {}
        for run in _expand(grid, section, group):
            other = own.get(run.id) or found.get(run.id)
            if other and (run.id in own or other.label != run.label):
                raise GridError(
                    f"{_where(grid, section)}: {other.label} and {run.label} are the same run: "
                    "they have the same parameters"
                )
            own[run.id] = run
        found |= own
    several = len({run.dataset for run in found.values()}) > 1
    return [run if several else replace(run, dataset="") for run in found.values()]


def _expand(grid: Grid, section: str, group: dict):
    """The runs of one group of a section."""
    where, all_arms = _where(grid, section), {**grid.arms, **_tuned(grid)}
    arms = list(grid.arms) if group.get("arms", "all") == "all" else group["arms"]
    seeds = group.get("seeds")
    if not isinstance(arms, list) or not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise GridError(f"{where}: needs `arms` (all, or a list of names) and `seeds` (a list of whole numbers)")
    for arm in arms:
        if not fnmatch.filter(all_arms, str(arm)):
            raise GridError(f"{where}: there is no arm {arm!r}; there are: {', '.join(all_arms)}")
    named = [name for pattern in arms for name in fnmatch.filter(all_arms, str(pattern))]
    for arm in dict.fromkeys(named):
        given = {**grid.common, **all_arms[arm], **(group.get("common") or {})}
        datasets = [name for name in group.get("datasets", ()) if all_arms[arm].get("dataset", name) == name]
        for place in [{"dataset": name} for name in datasets] if "datasets" in group else [{}]:
            for seed in seeds:
                yield _run(grid, arm, seed, {**given, **place})


def _tuned(grid: Grid) -> dict:
    """Arm -> parameters for every combination of the lists of `tune`."""
    found = {}
    for arm, choices in grid.tune.items():
        if arm not in grid.arms:
            raise GridError(f"{driver.shown(grid.path)}: tune names the arm {arm!r}; there are: {', '.join(grid.arms)}")
        choices = _choices(choices)
        lists = {name: values for name, values in choices.items() if isinstance(values, list)}
        for values in itertools.product(*lists.values()):
            name = "-".join(["tune", arm, *map(str, values)])
            found[name] = {**grid.arms[arm], **choices, **dict(zip(lists, values, strict=True))}
    return found


def _choices(tune: dict) -> dict:
    """The parameters of an entry of `tune`."""
    return {name: value for name, value in tune.items() if name != "for"}


def takers(grid: Grid) -> dict[str, str]:
    """Arm -> the arm of `tune` whose choice it takes: that arm itself, and those that the entry's `for` names.

    `for` is a list of names and patterns; one without an @ leaves out arms with an @, which have a paper's settings.
    Raises GridError.
    """
    found: dict[str, str] = {}
    for tuned, entry in grid.tune.items():
        named, patterns = [tuned], entry.get("for", [])
        if not isinstance(patterns, list):
            raise GridError(f"{driver.shown(grid.path)}: tune: {tuned}: for must be a list of arms, not {patterns!r}")
        for pattern in patterns:
            matches = [arm for arm in fnmatch.filter(grid.arms, str(pattern)) if "@" in str(pattern) or "@" not in arm]
            if not matches:
                raise GridError(
                    f"{driver.shown(grid.path)}: tune: {tuned} is for {pattern!r}, but there is no such arm"
                )
            named += matches
        for arm in dict.fromkeys(named):
            if arm in found:
                raise GridError(
                    f"{driver.shown(grid.path)}: {arm} would take the choices of both {found[arm]} and {tuned}"
                )
            found[arm] = tuned
    return found


def groups_of(grid: Grid, section: str) -> list[dict]:
    """The groups of a section (often one) as they were read, their names checked. Raises GridError."""
    if section not in grid.sections:
        raise GridError(f"{driver.shown(grid.path)} has no section {section!r}; it has: {', '.join(grid.sections)}")
    where = _where(grid, section)
    for group in grid.sections[section]:
        known(grid.path, f"section {section}", group, _SECTION_KEYS)
        given = {
            key: mapping(grid.path, f"section {section}: {key}", group.get(key) or {}) for key in ("common", "page")
        }
        datasets = group.get("datasets", [])
        if not isinstance(datasets, list) or ("datasets" in group and not datasets):
            raise GridError(f"{where}: datasets must be a list of names, not {datasets!r}")
        if datasets and "dataset" in given["common"]:
            raise GridError(f"{where}: names data sets twice, in `datasets` and in `common`")
        try:
            for parameters in (*given.values(), {"dataset": datasets} if datasets else {}):
                driver.reject_unknown(parameters, grid.defaults, grid.notebook)
        except driver.NotebookError as error:
            raise GridError(f"{where}: {error}") from error
    return grid.sections[section]


def page_parameters(grid: Grid, section: str) -> dict:
    """Parameters of the chapter's own single run in a section; an arm named there brings its parameters.

    Of a section with several groups the first one's `common` and `page` count.
    """
    chosen = next(iter(groups_of(grid, section)), {})
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
    sections = {project.section(): [{"arms": [], "seeds": []}]}
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
    dataset = str(parameters.get("dataset", grid.defaults.get("dataset")) or "")
    return Run(grid.experiment, arm, seed, parameters, identity(grid, parameters), dataset)


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


def _where(grid: Grid, section: str) -> str:
    return f"{driver.shown(grid.path)}, section {section}"


def _groups(path: Path, section: str, value) -> list[dict]:
    groups = value if isinstance(value, list) else [value or {}]
    return [mapping(path, f"sections: {section}", group) for group in groups]
