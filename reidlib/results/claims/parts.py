"""What rules share: arms of a `compare` entry, the best of many, pairs of arms, and one verdict of several parts."""

import numpy as np

from reidlib.results.statistics import clean
from reidlib.results.verdicts import MIN_SEEDS, Verdict, all_of, ordering_verdict


def names_in(entry):
    """All arms in a part of a `compare` entry: a name, a list, or a mapping, nested as may be."""
    if isinstance(entry, str):
        return [entry]
    inner = entry.values() if isinstance(entry, dict) else entry
    return list(dict.fromkeys(arm for part in inner for arm in names_in(part)))


def short(dataset):
    """A data set as a reason calls it: "market" for "market-like"."""
    return dataset.removesuffix("-like")


def mean(group):
    """Mean of a non-empty `{seed: value}`."""
    return float(np.mean(list(group.values())))


def curve(points, values, compare, dataset, name=None):
    """`{x: {seed: value}}` of `{x: arm}`; an arm under `optional` counts only if it has the seeds that a verdict needs.

    name: the metric, by default `compare["metric"]`.
    """
    found = {x: clean(values(arm, name or compare["metric"], dataset)) for x, arm in points.items()}
    may_lack = {x for x, arm in points.items() if arm in compare.get("optional", ())}
    return {x: group for x, group in found.items() if x not in may_lack or len(group) >= MIN_SEEDS}


def best(arms, values, metric, dataset):
    """(arm, {seed: value}) with the highest mean; arms with too few seeds count only if no arm has enough."""
    groups = {arm: clean(values(arm, metric, dataset)) for arm in arms}
    enough = min(MIN_SEEDS, max(map(len, groups.values())))
    if not enough:
        return arms[0], {}
    name = max((arm for arm in arms if len(groups[arm]) >= enough), key=lambda arm: mean(groups[arm]))
    return name, groups[name]


def shares(group, name, arm):
    """`{seed: share}` without None and nan; ValueError for a value outside of 0 to 1, such as one in percent."""
    group = clean(group)
    if any(not 0 <= share <= 1 for share in group.values()):
        raise ValueError(f"{name} of arm {arm} must be a share from 0 to 1, got {group}")
    return group


def order(one, other, **options):
    """Does the first (arm, {seed: value}) beat the second? A brief ordering verdict; options: of ordering_verdict."""
    (a, first), (b, second) = one, other
    return ordering_verdict(first, second, names=(a, b), brief=True, **options)


def also(pairs, datasets, compare, values, unit=""):
    """Notes on pairs of arms that decide nothing; pairs without runs are left out."""
    quoted = [(short(d), _pair(*pair, compare, values, d, unit=unit)) for d in datasets for pair in pairs]
    return [f"also {label} {part.status}, {part.reason}" for label, part in quoted if part.status != "not run"]


def gap_asked(compare):
    """A note on the gap that a `compare` entry asks for, in a list; empty where it asks for none."""
    return [f"asked for a gap above {compare['min_gap']:g}"] if "min_gap" in compare else []


def each_pair(compare, values, unit="", notes=()):
    """In every pair of `pairs` the first arm beats the second, by more than `min_gap` if that is given.

    The same pairs on further data sets (`quoted`), further pairs (`also`) and `notes` are quoted and decide nothing.
    """
    pairs, gap = compare["pairs"], compare.get("min_gap")
    parts = [
        (short(dataset), _pair(*pair, compare, values, dataset, min_gap=gap, unit=unit))
        for dataset in compare["datasets"]
        for pair in pairs
    ]
    elsewhere = also(pairs, compare.get("quoted", ()), compare, values, unit)
    further = also(compare.get("also", ()), compare["datasets"], compare, values, unit)
    return joined(parts, [*gap_asked(compare), *elsewhere, *further, *notes])


def _pair(one, other, compare, values, dataset, **options):
    return order(*((arm, values(arm, compare["metric"], dataset)) for arm in (one, other)), **options)


def joined(parts, notes=()):
    """One verdict of [(label, Verdict)]: the worst decides; where they differ, each part says its own status."""
    worst = all_of(verdict for _, verdict in parts)
    differ = len({verdict.status for _, verdict in parts}) > 1
    texts = [f"{label}: {f'{part.status}, ' if differ else ''}{part.reason}" for label, part in parts]
    return Verdict(worst.status, "; ".join([*texts, *notes, f"n={worst.n}"]), worst.n)
