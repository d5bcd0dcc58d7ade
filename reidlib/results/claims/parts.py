"""What rules over several data sets share: arms of a `compare` entry, the best of many, and one verdict of parts."""

import numpy as np

from reidlib.results.statistics import clean
from reidlib.results.verdicts import MIN_SEEDS, Verdict, all_of


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


def joined(parts, notes=()):
    """One verdict of [(label, Verdict)]: the worst decides; where they differ, each part says its own status."""
    worst = all_of(verdict for _, verdict in parts)
    differ = len({verdict.status for _, verdict in parts}) > 1
    texts = [f"{label}: {f'{part.status}, ' if differ else ''}{part.reason}" for label, part in parts]
    return Verdict(worst.status, "; ".join([*texts, *notes, f"n={worst.n}"]), worst.n)
