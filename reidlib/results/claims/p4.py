"""Verdicts on the claims of P4, DG-Net with sums of reconstruction losses.

A rule takes the claim's `compare` entry and `values(arm, name, dataset) -> {seed: value}`, and returns a Verdict. The
parts of a claim, such as its data sets, losses and metrics, must all hold: the worst of them decides.

Of the runs' metrics, `frechet` is the distance of generated from real images (FID), of which less is better; R1, mAP
(the finite sum) and mAP_trap (the paper's, by trapezoids) are in percent, of which more is better.
"""

from reidlib.results.claims.parts import joined, mean, names_in, order, short
from reidlib.results.statistics import clean, common_seeds, pooled_sd
from reidlib.results.tables import lookup
from reidlib.results.verdicts import MIN_SEEDS, Verdict, all_of, collapse_verdict, threshold_verdict

LOWER = ("frechet",)  # metrics of which less is better
TINY = 1e-9  # keeps a ratio finite


def arms(compare, optional=True):
    """Arms that a `compare` entry names; optional=False: only those without which there is no verdict.

    Optional are those under `also` and `told`, but for arms that decide too.
    """
    roles = ("a", "b", "control", "others", "pairs", *(("also", "told") if optional else ()))
    return list(dict.fromkeys(arm for role in roles if role in compare for arm in names_in(compare[role])))


def _better(pair, metric, values, dataset):
    """Is the first arm of a pair better than the second on the metric, which for those of LOWER means below it?"""
    digits = 2 if metric in LOWER else 1
    groups = ((arm, values(arm, metric, dataset)) for arm in pair)
    return order(*groups, higher=metric not in LOWER, unit=metric, digits=digits)


def _also(compare, metrics, values, dataset):
    """Notes on the pairs in `also`, which decide nothing; pairs without runs are left out."""
    parts = [_better(pair, metric, values, dataset) for metric in metrics for pair in compare.get("also", ())]
    return [_note(part, dataset) for part in parts if part.status != "not run"]


def _note(part, dataset):
    return f"also {short(dataset)} {part.status}, {part.reason}"


def _table(arms, metric, values, dataset):
    """`{arm: {seed: value}}` over the seeds that all arms have; empty without such a seed."""
    groups = {arm: clean(values(arm, metric, dataset)) for arm in arms}
    seeds = sorted(set.intersection(*(set(group) for group in groups.values())))
    return {arm: {seed: group[seed] for seed in seeds} for arm, group in groups.items()} if seeds else {}


def _ranked(table, metric, worst=False):
    """Arms of a table from the one with the best mean to that with the worst, or the other way round."""
    return sorted(table, key=lambda arm: mean(table[arm]), reverse=(metric in LOWER) == worst)


def _means(arms, metric, values, dataset):
    """A note on the arms' means, the best first: "frechet by mean: l1 19.70, mse 21.40"; without any value empty."""
    groups = {arm: group for arm in arms if (group := clean(values(arm, metric, dataset)))}
    digits = 2 if metric in LOWER else 1
    numbers = ", ".join(f"{arm} {mean(groups[arm]):.{digits}f}" for arm in _ranked(groups, metric))
    return [f"{short(dataset)} {metric} by mean: {numbers}"] if numbers else []


def best_of_all(compare, values):
    """C1: arm a has the best mean of the metric, and beats the second best (of `others`) by the ordering rule.

    Means are over the seeds that all arms have. "weak" if only its mean is the best; if another arm's is, that arm is
    compared: "contradicted" if it beats arm a by the rule, else "inconclusive". Means of all arms, and of those under
    `told`, are told.
    """
    one, metric, parts, notes = compare["a"], compare["metric"], [], []
    losses = [one, *names_in(compare["others"])]
    for dataset in compare["datasets"]:
        table = _table(losses, metric, values, dataset)
        parts.append((short(dataset), _best_of_all(one, metric, table)))
        notes += _means([*losses, *compare.get("told", ())], metric, values, dataset)
    return joined(parts, notes)


def _best_of_all(one, metric, table):
    if not table:
        return Verdict("not run", f"no seed with {metric} of every loss")
    rival = next(arm for arm in _ranked(table, metric) if arm != one)
    return _better((one, rival), metric, lambda arm, name, dataset: table[arm], None)


def extreme(compare, values):
    """C4, C7: of arm a and `others`, a has the best mean of every one of `metrics`; with `worst`, the worst.

    Means are over the seeds that all arms have. Another arm's lead by the ordering rule is "contradicted", any other
    "inconclusive". How far arm a is from the nearest other, and whether by the ordering rule, is told.
    """
    one, worst, parts = compare["a"], compare.get("worst", False), []
    for dataset in compare["datasets"]:
        for metric in compare["metrics"]:
            table = _table([one, *names_in(compare["others"])], metric, values, dataset)
            parts.append((short(dataset), _extreme(one, metric, table, worst)))
    return joined(parts)


def _extreme(one, metric, table, worst):
    if not table:
        return Verdict("not run", f"no seed with {metric} of every loss")
    rival = next(arm for arm in _ranked(table, metric, worst) if arm != one)
    first, second, n = table[one], table[rival], len(table[one])
    sign = 1 if (metric in LOWER) == worst else -1  # 1: what is asked for is the highest mean
    what = f"{'worst' if worst else 'best'} {metric}"
    better = order((one, first), (rival, second), higher=sign > 0, unit=metric, digits=2 if metric in LOWER else 1)
    if n < MIN_SEEDS:
        return Verdict("inconclusive", f"{what}: {better.reason}", n)
    if sign * (mean(first) - mean(second)) > 0:
        far = "" if better.status == "reproduced" else f", {rival} within the noise"
        return Verdict("reproduced", f"{what} is {one}'s: {better.reason}{far}", n)
    status = "contradicted" if better.status == "contradicted" else "inconclusive"
    return Verdict(status, f"{what} is not {one}'s: {better.reason}", n)


def sums(compare, values):
    """C2: on the metric each arm in `a` beats arm b by the ordering rule, and the control, twice as much of b alone.

    A sum gives the reconstruction more weight than b alone does, so that its lead over b may be that of the weight. The
    text says against which of the two the claim fails, and how the control does against b. An empty control, as at
    chosen settings, where twice a loss is that loss at another weight, leaves the second part out.
    """
    metric, parts, notes = compare["metric"], [], []
    bases = [compare["b"], *names_in(compare["control"])]
    for dataset in compare["datasets"]:
        for base in bases:
            pairs = (_better((arm, base), metric, values, dataset) for arm in names_in(compare["a"]))
            parts.append((base, short(dataset), all_of(pairs)))
        controls = [_better((base, compare["b"]), metric, values, dataset) for base in bases[1:]]
        notes += [_note(part, dataset) for part in controls if part.status != "not run"]
    worst = all_of(part for *_, part in parts)
    missed = [base for base in bases if any(part.status != "reproduced" for name, _, part in parts if name == base)]
    texts = [f"{place} against {base}: {part.status} ({part.reason})" for base, place, part in parts]
    head = [_holds(bases, missed)] if worst.n >= MIN_SEEDS else []
    return Verdict(worst.status, "; ".join([*head, *texts, *notes, f"n={worst.n}"]), worst.n)


def _holds(bases, missed):
    """Against which arms every sum leads, and against which not, in words."""
    if not missed:
        return f"every sum leads {' and '.join(bases)}"
    if missed == bases:
        return f"not every sum leads {' or '.join(bases)}"
    held = next(base for base in bases if base not in missed)
    reason = ", so that a heavier weight alone may explain the lead" if missed == bases[1:] else ""
    return f"every sum leads {held}, but not every one leads {missed[0]}{reason}"


def ordering(compare, values):
    """C3, C8: in every pair the first arm is better than the second, on every one of `metrics`.

    The pairs in `also` are told and decide nothing.
    """
    metrics, sets = compare["metrics"], compare["datasets"]
    parts = [
        (short(dataset), _better(pair, metric, values, dataset))
        for dataset in sets
        for metric in metrics
        for pair in compare["pairs"]
    ]
    return joined(parts, [note for dataset in sets for note in _also(compare, metrics, values, dataset)])


def none_beats(compare, values):
    """C5: no arm of `others` is better than arm a by more than one pooled sd of the two, on the metric.

    "contradicted" if one beats it by the ordering rule, "inconclusive" if one is ahead by more, but not in enough
    seeds. Whether the arms in `ties` are within one sd is told.
    """
    one, metric, parts, notes = compare["a"], compare["metric"], [], []
    for dataset in compare["datasets"]:
        found = {arm: _no_better(arm, one, metric, values, dataset) for arm in names_in(compare["others"])}
        parts += [(short(dataset), part) for part, _ in found.values()]
        for arm in compare.get("ties", ()):
            level = found[arm][1]
            if level is not None:
                notes.append(f"{short(dataset)}: {arm} {'ties' if level else 'does not tie'} with {one}")
    return joined(parts, [*notes, "up to 1 sd ahead is allowed"])


def _no_better(arm, one, metric, values, dataset):
    """(Verdict that the arm is not better than the other by one sd, is it within one sd; None where unknown)."""
    part = _better((arm, one), metric, values, dataset)
    if part.status == "not run" or part.n < MIN_SEEDS:
        return part, None
    groups = [clean(values(name, metric, dataset)) for name in (arm, one)]
    seeds = common_seeds(*groups)
    first, second = ({seed: group[seed] for seed in seeds} for group in groups)
    lead, sd = (mean(first) - mean(second)) * (-1 if metric in LOWER else 1), pooled_sd(first, second)
    status = "contradicted" if part.status == "reproduced" else "inconclusive" if lead > sd else "reproduced"
    return Verdict(status, part.reason, part.n), abs(lead) <= sd


def many_times(compare, values):
    """C6: the metric of arm a is more than `times` that of arm b, in all of 3 seeds, 4 of 5.

    `quote`: metrics on which the two are compared beside it, which decide nothing.
    """
    pair, metric, parts, notes = (compare["a"], compare["b"]), compare["metric"], [], []
    for dataset in compare["datasets"]:
        first, second = (clean(values(arm, metric, dataset)) for arm in pair)
        ratios = {seed: first[seed] / max(second[seed], TINY) for seed in common_seeds(first, second)}
        part = threshold_verdict(ratios, compare["times"], name=f"{metric} of {pair[0]} over that of {pair[1]}")
        parts.append((short(dataset), Verdict(part.status, part.reason.removesuffix(f"; n={part.n}"), part.n)))
        notes += _means(pair, metric, values, dataset)
        notes += [note for name in compare.get("quote", ()) for note in _means(pair, name, values, dataset)]
    return joined(parts, notes)


def collapses(compare, values):
    """C9: one arm in `a` or more collapses, and arm b does not.

    An arm collapses if its metric ends below its own start by more than one sd, and below half of the best arm.
    "contradicted" if no arm in `a` does; "inconclusive" if arm b does too, and with too few seeds. The arms in `told`
    are told and decide nothing.
    """
    parts = [(short(dataset), _collapses(compare, values, dataset)) for dataset in compare["datasets"]]
    return joined(parts, [f"{compare['metric']} from start to end"])


def _collapses(compare, values, dataset):
    base, sums = compare["b"], names_in(compare["a"])
    groups = {arm: clean(values(arm, compare["metric"], dataset)) for arm in (base, *sums, *compare.get("told", ()))}
    top = max((groups[arm] for arm in (base, *sums) if groups[arm]), key=mean, default={})
    found = {}
    for arm, group in groups.items():
        start, chance = (clean(values(arm, compare[role], dataset)) for role in ("start", "chance"))
        found[arm] = collapse_verdict(group, start, top, mean(chance) if chance else None, brief=True)
    parts = {arm: found[arm] for arm in (base, *sums)}
    texts = ", ".join(f"{arm} {part.reason}" for arm, part in found.items() if arm in parts or part.status != "not run")
    n, lost = min(part.n for part in parts.values()), [arm for arm in sums if parts[arm].status == "reproduced"]
    if any(part.status == "not run" for part in parts.values()):
        return Verdict("not run", texts, n)
    if n < MIN_SEEDS:
        return Verdict("inconclusive", texts, n)
    if parts[base].status == "reproduced":
        return Verdict("inconclusive", f"{base} itself collapses ({texts})", n)
    if not lost:
        return Verdict("contradicted", f"no sum collapses ({texts})", n)
    return Verdict("reproduced", f"{' and '.join(lost)} collapse{'s' * (len(lost) == 1)}, {base} does not ({texts})", n)


def printed_drop(compare, values):
    """C10: the drop, in percent, from one printed number to another is the printed one, as far as rounding allows.

    The two numbers are of the papers' tables and rounded to two digits, so that each may be off by 0.005. The change
    of the metric in `quote` between the same two rows is told: it is another gain than that of the metric.
    """
    metric, dataset = compare["metric"], compare["printed_on"]
    rows = [(compare[side]["table"], compare[side]["variant"], dataset) for side in ("from", "to")]
    start, end = (lookup(*row, metric) for row in rows)
    drop, half = 100 * (start - end) / start, 0.005
    low, high = (100 * (1 - (end + sign * half) / (start - sign * half)) for sign in (1, -1))
    agrees = low <= compare["drop"] <= high
    text = (
        f"{metric} {start:.2f} to {end:.2f}, a drop of {drop:.2f}%, printed {compare['drop']:.2f}% "
        f"({low:.2f} to {high:.2f} by rounding)"
    )
    first, second = (lookup(*row, compare["quote"]) for row in rows)
    beside = f"{compare['quote']} of the same two {first:.2f} to {second:.2f}, {100 * (second - first) / first:+.2f}%"
    return Verdict("reproduced" if agrees else "contradicted", f"{text}; {beside}; no run is needed")


def differ(compare, values):
    """C11: the metric of arms a and b differs by the ordering rule, whichever is ahead; else "inconclusive"."""
    parts = []
    for dataset in compare["datasets"]:
        part = _better((compare["a"], compare["b"]), compare["metric"], values, dataset)
        if part.status != "not run" and part.n >= MIN_SEEDS:
            clear = part.status in ("reproduced", "contradicted")
            said = "they differ" if clear else "not told apart"
            part = Verdict("reproduced" if clear else "inconclusive", f"{said}, {part.reason}", part.n)
        parts.append((short(dataset), part))
    return joined(parts)


def no_gradient(compare, values):
    """C12: the largest gradient entry of the term is exactly 0 in every run of arm a, and above 0 in the control.

    "contradicted" if it is above 0 in a run of arm a; "inconclusive" if it is 0 in a run of the control too, where the
    term is made to count: then the measure shows nothing. An empty control leaves that part out. Raises ValueError for
    a negative value.
    """
    return joined([(short(dataset), _no_gradient(compare, values, dataset)) for dataset in compare["datasets"]])


def _no_gradient(compare, values, dataset):
    name, one, controls = compare["metric"], compare["a"], names_in(compare["control"])
    groups = {arm: clean(values(arm, name, dataset)) for arm in (one, *controls)}
    if lacking := [arm for arm, group in groups.items() if not group]:
        return Verdict("not run", f"no run of {' and '.join(lacking)} with {name}")
    if negative := [arm for arm, group in groups.items() if min(group.values()) < 0]:
        raise ValueError(f"{name} of arm {negative[0]} must be 0 or more, got {groups[negative[0]]}: it is absolute")
    n, largest = len(groups[one]), max(groups[one].values())
    zero = sum(value == 0 for value in groups[one].values())
    texts = [f"{name} of {one} {largest:.2g} at most, 0 in {zero} of {n} seeds"]
    texts += [f"of {arm} {min(groups[arm].values()):.2g} at least" for arm in controls]
    if largest > 0:
        status = "contradicted"
    elif any(min(groups[arm].values()) == 0 for arm in controls):
        status = "inconclusive"
        texts.append("a control that should have one has none either")
    else:
        status = "reproduced" if n >= MIN_SEEDS else "inconclusive"
        texts += [] if n >= MIN_SEEDS else [f"{MIN_SEEDS} seeds are needed"]
    return Verdict(status, ", ".join(texts), n)


RULES = {
    "P4-C1": best_of_all,
    "P4-C2": sums,
    "P4-C3": ordering,
    "P4-C4": extreme,
    "P4-C5": none_beats,
    "P4-C6": many_times,
    "P4-C7": extreme,
    "P4-C8": ordering,
    "P4-C9": collapses,
    "P4-C10": printed_drop,
    "P4-C11": differ,
    "P4-C12": no_gradient,
}
