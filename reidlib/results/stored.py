"""Where finished runs lie: committed with the book, made by this build, or a reader's own."""

import io
import json
import os
from pathlib import Path

import numpy as np

from reidlib.results.provenance import build_dir, repository
from reidlib.results.records import load_all
from reidlib.results.runs import dataset_of

RECORDED, BUILT, YOURS = "recorded", "this build", "your runs"


def recorded_dir(experiment):
    """The folder of an experiment's committed records, or None without the repository."""
    root = repository()
    return root / "book" / "recorded" / experiment if root else None


def available(experiment):
    """`{source: records}` of an experiment: "recorded" (committed), "this build", and "your runs" ($REIDLIB_RUNS).

    "this build" holds the runs of the last plan ($REIDLIB_PLAN, else plan.json of the build folder): what else lies in
    build/runs was made by other code or for another purpose. A source without records has an empty list; "your runs"
    is there only when the variable names a folder.
    """
    recorded, planned = recorded_dir(experiment), _planned()
    found = {
        RECORDED: load_all(recorded) if recorded and recorded.is_dir() else [],
        BUILT: [r for r in load_all(build_dir() / "runs" / experiment) if r.id in planned],
    }
    if os.environ.get("REIDLIB_RUNS"):
        found[YOURS] = load_all(Path(os.environ["REIDLIB_RUNS"]) / experiment)
    return found


def _planned():
    """Ids of the runs that the last build wanted."""
    path = Path(os.environ.get("REIDLIB_PLAN") or build_dir() / "plan.json")
    plan = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"runs": [], "pages": []}
    return {run["id"] for run in plan["runs"]} | {page["own"] for page in plan["pages"]}


def largest(found):
    """Of `available`, the records of the source with most different (arm, data set, seed): what tables are made of.

    Sources are never mixed, so no table averages over two states of the code. A reader's own runs make the tables once
    they cover more of the grid than the others do; until then they stand beside (see `available`).
    """
    return max(found.values(), key=lambda rs: len({(r.arm, dataset_of(r), r.seed) for r in rs}), default=[])


def orders(experiment, arms, seed=0, dataset=None):
    """`{arm: int32 (queries, k)}`: gallery positions in ranked order, of this build's runs.

    dataset: of runs on this data set only. Raises ValueError where the runs are on several, whose galleries differ.
    """
    found, places = {}, set()
    for record in available(experiment)[BUILT]:
        file = record.source / "order.npz"
        wanted = record.arm in arms and record.seed == seed and dataset in (None, dataset_of(record))
        if wanted and file.exists():
            places.add(dataset_of(record))
            with np.load(file) as stored:
                found[record.arm] = stored["order"]
    if len(places) > 1:
        raise ValueError(f"{experiment} has ranked lists on {', '.join(sorted(places))}; pass dataset= to say which")
    return {arm: found[arm] for arm in arms if arm in found}


def as_npz(**arrays):
    """Named arrays as the bytes of a compressed .npz file, to be saved beside a record."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.asarray(value) for name, value in arrays.items()})
    return buffer.getvalue()


def agreement(experiment):
    """Pairs (live, recorded) of this build's runs and the committed runs of the same arm, data, seed, parameters."""
    found = available(experiment)
    recorded = {_key(r): r for r in found[RECORDED]}
    pairs = [(r, recorded.get(_key(r))) for r in found[BUILT]]
    return [(live, other) for live, other in pairs if other is not None]


def _key(record):
    parameters = sorted((name, repr(value)) for name, value in record.parameters.items())
    return record.arm, record.seed, dataset_of(record), tuple(parameters)
