"""Groups of comparable runs: which records may stand in one table, and a value of theirs by seed."""

import math
from dataclasses import dataclass

# Parameters that set the scale of an experiment: runs that differ in one of them are never compared with each other.
SCALE = ("height", "width", "data_seed", "images_seen", "steps", "evaluate_on")


@dataclass(frozen=True)
class RunSet:
    """Comparable runs: the same data, the same kind of device, the same scale; `name` says which, in words."""

    name: str
    records: tuple


def dataset_of(record):
    """Name of the data set that a run was made on, such as "market-like"."""
    return record.data.get("dataset") or record.parameters.get("dataset", "unknown data")


def run_sets(records):
    """Records split into RunSets; of the same arm and seed the newest record counts.

    The name of a set gives its data and device, and those of `SCALE` in which the sets differ.
    """
    groups = {}
    for record in records:
        scale = tuple(str(record.parameters.get(name)) for name in SCALE)
        device = record.machine if record.device not in ("", "cpu") else "CPU"
        group = groups.setdefault((dataset_of(record), record.data.get("fingerprint"), device, scale), {})
        known = group.get((record.arm, record.seed))
        if known is None or record.created > known.created:
            group[record.arm, record.seed] = record
    differ = [i for i in range(len(SCALE)) if len({key[3][i] for key in groups}) > 1]
    return [
        RunSet(", ".join([key[0], key[2], *(f"{SCALE[i]} {key[3][i]}" for i in differ)]), tuple(group.values()))
        for key, group in groups.items()
    ]


def choose_set(records, arms, dataset=None):
    """The largest set of comparable runs for these arms: most arms present, then most seeds common to them.

    Between equals the one with more runs is taken, then runs on a CPU, then the newer ones.

    dataset: consider the runs on this data set only. Returns an empty RunSet if there is no run.
    """
    arms = list(dict.fromkeys(arms))

    def size(run_set):
        seeds = [{r.seed for r in run_set.records if r.arm == arm} for arm in arms]
        present = [group for group in seeds if group]
        common = len(set.intersection(*present)) if present else 0
        runs, on_cpu = run_set.records, all(r.device in ("", "cpu") for r in run_set.records)
        return len(present), common, sum(map(len, present)), len(runs), on_cpu, max(r.created for r in runs)

    sets = [s for s in run_sets(records) if dataset in (None, dataset_of(s.records[0]))]
    best = max(sets, key=size, default=RunSet("no runs", ()))
    return best if best.records and size(best)[0] else RunSet("no runs", ())


def by_seed(records, arm, name, dataset=None):
    """`{seed: value}` of one arm for a metric, or else an entry of `extra`; runs that lack it are left out.

    dataset: read the runs on this data set only. Raises ValueError where runs on several data sets would be mixed.
    """
    own = [r for r in records if r.arm == arm and dataset in (None, dataset_of(r))]
    places = sorted({dataset_of(record) for record in own})
    if len(places) > 1:
        raise ValueError(f"arm {arm!r} has runs on {', '.join(places)}; pass dataset= to say which are meant")
    values = {}
    for record in own:
        value = record.metrics.get(name, record.extra.get(name))
        if value is not None and not math.isnan(value):
            values[record.seed] = float(value)
    return values
