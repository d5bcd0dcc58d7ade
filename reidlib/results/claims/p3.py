"""Verdicts on the claims of P3, sparse label smoothing (SLSR) of generated images.

A rule takes the claim's `compare` entry and `values(arm, name, dataset) -> {seed: value}`, and returns a Verdict. The
parts of a claim, such as its data sets, pairs of arms and metrics, must all hold: the worst of them decides.

Metrics are those of single queries, in percent. mAP is the paper's average precision (`mAP_trap`, by trapezoids) on
market- and duke-like sets and the finite sum (`mAP`) on cuhk03- and viper-like ones; the endings _rerank and _multi
mark those after re-ranking and of several query images.
"""

import numpy as np

from reidlib.results.claims.p0 import same
from reidlib.results.claims.parts import also, gap_asked, joined, mean, names_in, order, short
from reidlib.results.statistics import clean, paired_differences, pooled_sd
from reidlib.results.verdicts import MIN_SEEDS, Verdict, needed, ordering_verdict


def arms(compare, optional=True):
    """Arms that a `compare` entry names; optional=False: only those without which there is no verdict.

    Optional are those under `also` and, but for arms that decide too, those under `told`.
    """
    roles = ("a", "b", "pairs", "by_set", "arms", "curve", *(("also", "told") if optional else ()))
    return list(dict.fromkeys(arm for role in roles if role in compare for arm in names_in(compare[role])))


def ordering(compare, values):
    """C1, C2, C4, C11: in every pair the first arm beats the second, on every one of `metrics`.

    The pairs in `also`, all pairs on the metrics in `quote`, and the means of the arms in `told` ({x: arm}, along
    `along`) are told and decide nothing.
    """
    metrics, sets, pairs = compare["metrics"], compare["datasets"], compare["pairs"]
    parts = [
        (short(dataset), order(*((arm, values(arm, metric, dataset)) for arm in pair), unit=metric))
        for dataset in sets
        for metric in metrics
        for pair in pairs
    ]
    notes = [
        note
        for metrics, pairs in ((metrics, compare.get("also", ())), (compare.get("quote", ()), pairs))
        for metric in metrics
        for note in also(pairs, sets, compare | {"metric": metric}, values, metric)
    ]
    notes += [text for dataset in sets if (text := _told(compare, values, dataset))]
    return joined(parts, notes)


def _told(compare, values, dataset):
    """A note on the means along `told`: "market mAP_trap_rerank by ratio: 0 70.0, 0.5 71.2"; empty without runs."""
    metric = compare["metrics"][0]
    groups = {x: clean(values(arm, metric, dataset)) for x, arm in compare.get("told", {}).items()}
    numbers = _numbers({x: mean(group) for x, group in groups.items() if group}, 1)
    return numbers and f"{short(dataset)} {metric} by {compare['along']} ({numbers})"


def by_set(compare, values):
    """C9: on each data set the arm beats the other that the paper prints as the better one there (`by_set`)."""
    metric, pairs = compare["metric"], compare["by_set"]
    if not set(compare["datasets"]) <= set(pairs):
        return Verdict("not run", f"the claim says nothing of {', '.join(set(compare['datasets']) - set(pairs))}")
    parts = [
        (short(dataset), order(*((arm, values(arm, metric, dataset)) for arm in pairs[dataset]), unit=metric))
        for dataset in compare["datasets"]
    ]
    return joined(parts)


def lifted(compare, values):
    """C7, C8: in the runs of each arm the first metric of a pair in `lifts` is above the second, by the ordering rule.

    Pairs of metrics in `quote` are told and decide nothing.
    """

    def lift(arm, pair, dataset):
        return order(*((name, values(arm, name, dataset)) for name in pair))

    places = [(dataset, arm) for dataset in compare["datasets"] for arm in compare["arms"]]
    parts = [(f"{short(d)} {arm}", lift(arm, pair, d)) for d, arm in places for pair in compare["lifts"]]
    quoted = [(f"{short(d)} {arm}", lift(arm, pair, d)) for d, arm in places for pair in compare.get("quote", ())]
    return joined(parts, [f"also {label} {part.status}, {part.reason}" for label, part in quoted if part.n])


def same_best(compare, values):
    """C3: the number of clusters in `best` has the highest silhouette and the highest mean of the metric.

    "weak" if both hold, but some other number is within one pooled sd of it on the metric; "contradicted" if another
    number has a higher silhouette, or beats it on the metric by the ordering rule; otherwise "inconclusive".
    """
    return joined([(short(dataset), _same_best(compare, values, dataset)) for dataset in compare["datasets"]])


def _same_best(compare, values, dataset):
    best, metric = compare["best"], compare["metric"]
    points = _points(compare, values, dataset)
    found = {name: _silhouettes(name, compare, values, dataset) for name in (compare["silhouette"], compare["quote"])}
    if not points or len(found[compare["silhouette"]]) < len(points):
        what = f"{compare['silhouette']} at every k" if points else f"{metric} at every k with one seed"
        return Verdict("not run", f"no runs with {what}")
    n = len(points[best])
    peaks = {name: max(numbers, key=numbers.get) for name, numbers in found.items() if numbers}
    top = max(points, key=lambda k: mean(points[k]))
    others = {k: group for k, group in points.items() if k != best}
    beaten = [k for k, group in others.items() if ordering_verdict(group, points[best]).status == "reproduced"]
    lead = {k: mean(points[best]) - mean(group) for k, group in others.items()}
    near = [k for k, group in others.items() if n >= MIN_SEEDS and lead[k] <= pooled_sd(points[best], group)]
    if n < MIN_SEEDS:
        status = "inconclusive"
    elif peaks[compare["silhouette"]] != best or beaten:
        status = "contradicted"
    elif top != best:
        status = "inconclusive"
    else:
        status = "weak" if near else "reproduced"
    texts = [f"{name} best at k={k} ({_numbers(found[name], 2)})" for name, k in peaks.items()]
    texts.append(f"{metric} best at k={top} ({_numbers({k: mean(group) for k, group in points.items()}, 1)})")
    if n < MIN_SEEDS:
        texts.append(f"{MIN_SEEDS} seeds are needed")
    elif near:
        texts.append(f"k={best} not ahead by one sd of k={', '.join(map(str, near))}")
    return Verdict(status, ", ".join(texts), n)


def _silhouettes(name, compare, values, dataset):
    """{k: mean over the runs of `holder`}, the numbers of clusters without a value left out."""
    arm = compare["holder"]
    groups = {k: _parts_of_one(values(arm, f"{name}_k{k}", dataset), f"{name}_k{k}", arm) for k in compare["curve"]}
    return {k: mean(group) for k, group in groups.items() if group}


def _parts_of_one(group, name, arm):
    """`{seed: value}` without None and nan; ValueError for a value outside of -1 to 1, such as one in percent."""
    group = clean(group)
    if any(not -1 <= value <= 1 for value in group.values()):
        raise ValueError(f"{name} of arm {arm} must lie in -1 to 1, got {group}")
    return group


def _points(compare, values, dataset):
    """`{x: {seed: value}}` of the arms in `curve`, of the seeds that all of them have; empty without such a seed."""
    points = {x: clean(values(arm, compare["metric"], dataset)) for x, arm in compare["curve"].items()}
    seeds = sorted(set.intersection(*(set(group) for group in points.values())))
    return {x: {seed: group[seed] for seed in seeds} for x, group in points.items()} if seeds else {}


def _numbers(numbers, digits):
    """Numbers of {x: value} in one text: "2: 70.1, 3: 71.0"."""
    return ", ".join(f"{x:g}: {value:.{digits}f}" for x, value in numbers.items())


def falls(compare, values):
    """C5: the slope of the metric over the numbers of clusters, a straight line through each seed's runs, is negative.

    Reproduced if it is negative in all of 3 seeds, 4 of 5, and the mean line falls over the grid by more than the
    pooled sd of the arms; "weak" if the mean slope is negative, "contradicted" if it is positive by the same rule.
    """
    return joined([(short(dataset), _falls(compare, values, dataset)) for dataset in compare["datasets"]])


def _falls(compare, values, dataset):
    points = _points(compare, values, dataset)
    if not points:
        return Verdict("not run", f"no runs with {compare['metric']} at every k with one seed")
    xs, table = list(points), np.array([list(group.values()) for group in points.values()])
    n = table.shape[1]
    numbers = f"{compare['metric']} at k: {_numbers({x: mean(group) for x, group in points.items()}, 1)}"
    if n < MIN_SEEDS:
        return Verdict("inconclusive", f"{numbers}, n={n} where {MIN_SEEDS} seeds are needed", n)
    steps = np.array(xs) - np.mean(xs)
    slopes = steps @ (table - table.mean(axis=0)) / (steps**2).sum()
    down, up, slope = int((slopes < 0).sum()), int((slopes > 0).sum()), float(slopes.mean())
    sd = float(np.sqrt(table.var(axis=1, ddof=1).mean()))
    clear = abs(slope) * (max(xs) - min(xs)) > sd
    if down >= needed(n) and clear and slope < 0:
        status = "reproduced"
    elif up >= needed(n) and clear and slope > 0:
        status = "contradicted"
    else:
        status = "weak" if slope < 0 else "inconclusive"
    return Verdict(status, f"slope {slope:+.2f} a cluster, negative in {down} of {n} seeds (sd {sd:.1f}; {numbers})", n)


def follows_colour(compare, values):
    """C6: the clusters tell more of one of the `colours` than of any of the `others`, in means over the runs.

    "contradicted" if one of the others is above all colours.
    """
    return joined([(short(dataset), _follows_colour(compare, values, dataset)) for dataset in compare["datasets"]])


def _follows_colour(compare, values, dataset):
    (arm,) = compare["arms"]
    names = [*compare["colours"], *compare["others"]]
    groups = {name: _parts_of_one(values(arm, name, dataset), name, arm) for name in names}
    lacking = [name for name in names if not groups[name]]
    if lacking:
        return Verdict("not run", f"no run of {arm} with {' and '.join(lacking)}")
    n, means = min(map(len, groups.values())), {name: mean(group) for name, group in groups.items()}
    colour, other = (max(means[name] for name in compare[side]) for side in ("colours", "others"))
    status = "reproduced" if colour > other else "contradicted" if colour < other else "inconclusive"
    texts = [f"{name.partition('_')[2]} {means[name]:.3f}" for name in sorted(names, key=means.get, reverse=True)]
    if n < MIN_SEEDS:
        status = "inconclusive"
        texts.append(f"{MIN_SEEDS} seeds are needed")
    return Verdict(status, f"shared with the clusters: {', '.join(texts)}", n)


def larger_gain(compare, values):
    """C10: the gain of arm a over arm b is larger on the `larger` data set than on the `smaller`, by more than min_gap.

    By the ordering rule over the gains of the seeds that both data sets have.
    """
    larger, smaller = compare["larger"], compare["smaller"]
    if not {larger, smaller} <= set(compare["datasets"]):
        return Verdict("not run", f"it compares {larger} with {smaller}")
    a, b, metric = compare["a"], compare["b"], compare["metric"]
    gains = [(short(d), paired_differences(*(values(arm, metric, d) for arm in (a, b)))) for d in (larger, smaller)]
    label = f"gain in {metric} of {a} over {b}"
    return joined([(label, order(*gains, min_gap=compare["min_gap"]))], gap_asked(compare))


def one_gains(compare, values):
    """C12: arm a does not lead arm b on the metric `level`, and beats it on the metric `above`.

    The first part is "reproduced" if the mean gap is not above 0, "weak" if it is, and "contradicted" if arm a beats
    arm b by the ordering rule; the second is that rule.
    """
    pair, parts = (compare["a"], compare["b"]), []
    for dataset in compare["datasets"]:
        for metric in (compare["level"], compare["above"]):
            part = order(*((arm, values(arm, metric, dataset)) for arm in pair), unit=metric)
            if metric == compare["level"] and part.n >= MIN_SEEDS:
                turned = {"reproduced": "contradicted", "weak": "weak"}.get(part.status, "reproduced")
                part = Verdict(turned, f"no lead asked, {part.reason}", part.n)
            parts.append((short(dataset), part))
    return joined(parts)


RULES = {
    "P3-C1": ordering,
    "P3-C2": ordering,
    "P3-C3": same_best,
    "P3-C4": ordering,
    "P3-C5": falls,
    "P3-C6": follows_colour,
    "P3-C7": lifted,
    "P3-C8": lifted,
    "P3-C9": by_set,
    "P3-C10": larger_gain,
    "P3-C11": ordering,
    "P3-C12": one_gains,
    "P3-C13": same,
}
