"""Verdicts on the claims of P0, sampler strategies in unsupervised training.

A rule takes the claim's `compare` entry and `values(arm, name, dataset) -> {seed: value}`, and returns a Verdict. The
parts of a claim, such as its data sets, must all hold: the worst of them decides.

"Best" arms are picked by their mean mAP on the test queries, since the paper picks them so: the mean of the best of
many settings is optimistic, and more so for the side with more settings.
"""

from reidlib.results.claims.p0_cause import cause
from reidlib.results.claims.parts import also, best, curve, each_pair, gap_asked, joined, mean, names_in, order, short
from reidlib.results.statistics import clean, pooled_sd
from reidlib.results.verdicts import MIN_SEEDS, Verdict, collapse_verdict, same_verdict, shape_verdict

ROLES = ("a", "b", "pairs", "curves", "triplet", "group", "collapsed", "fits", "cures")
KINDS = ("cluster", "proxy")
PICKED = "best by test mAP, as in the paper"


def arms(compare, optional=True):
    """Arms that a `compare` entry names; optional=False: only those without which there is no verdict.

    Optional are those listed under `optional`, those under `best`, of which any number may be there, and quoted ones.
    """
    roles = (*ROLES, "best", "quoted_pairs", "quoted_arms") if optional else ROLES
    names = [arm for role in roles if role in compare for arm in names_in(compare[role])]
    left_out = () if optional else compare.get("optional", ())
    return [arm for arm in dict.fromkeys(names) if arm not in left_out]


def better(compare, values):
    """C1, C10, C11, C14: the best arm of a (of many, or the one) beats the best arm of b."""
    many = any(len(names_in(compare[side])) > 1 for side in ("a", "b"))
    parts = []
    for dataset in compare["datasets"]:
        tops = [best(names_in(compare[side]), values, compare["metric"], dataset) for side in ("a", "b")]
        parts.append((short(dataset), order(*tops, min_gap=compare.get("min_gap"))))
    quoted = also(compare.get("quoted_pairs", ()), compare["datasets"], compare, values)
    return joined(parts, [*gap_asked(compare), *[PICKED] * many, *quoted])


def middle(compare, values):
    """C2: mAP peaks inside the grid of K, on every data set and for both kinds of labels."""
    parts = []
    for dataset in compare["datasets"]:
        for kind, points in compare["curves"].items():
            found = curve(points, values, compare, dataset)
            shape = shape_verdict(found, "K")
            if shape.n >= MIN_SEEDS:
                means = {k: mean(group) for k, group in found.items()}
                top, ends = max(means, key=means.get), (min(means), max(means))
                tops = "" if top in ends else f"K={top} {means[top]:.1f}, "
                numbers = f"{tops}ends K={ends[0]} {means[ends[0]]:.1f} and K={ends[1]} {means[ends[1]]:.1f}"
                shape = Verdict(shape.status, numbers, shape.n)
            parts.append((f"{short(dataset)} {kind}", shape))
    return joined(parts)


def collapses(compare, values):
    """C3: each arm falls below its own warm start, and below half of the best arm."""
    parts = []
    for dataset in compare["datasets"]:
        top = best(names_in(compare["best"]), values, compare["metric"], dataset)[1]
        for arm in compare["collapsed"]:
            roles = ("metric", "start", "chance")
            final, start, chance = (clean(values(arm, compare[role], dataset)) for role in roles)
            verdict = collapse_verdict(final, start, top, mean(chance) if chance else None, brief=True)
            parts.append((f"{short(dataset)} {arm}", verdict))
    return joined(parts, ["mAP from warm start to end"])


def smaller_best(compare, values):
    """C7: best K by the mean curves: with many cameras no larger than with few, and there smaller for proxies.

    "contradicted" if a part fails clearly: its best K is more than one pooled sd above every K that would have agreed.
    """
    many, few = compare["many_cameras"], compare["few_cameras"]
    if not {many, few} <= set(compare["datasets"]):
        return Verdict("not run", f"it compares {many} with {few}")
    found = {(d, kind): curve(compare["curves"][kind], values, compare, d) for d in (many, few) for kind in KINDS}
    n = min(len(group) for points in found.values() for group in points.values())
    if not n:
        return Verdict("not run", f"a point without {compare['metric']}")
    tops = {key: max(points, key=lambda k: mean(points[k])) for key, points in found.items()}
    agree = [(found[many, kind], tops[many, kind], range(tops[few, kind] + 1)) for kind in KINDS]
    agree.append((found[many, "proxy"], tops[many, "proxy"], range(tops[many, "cluster"])))
    failed = [part for part in agree if part[1] not in part[2]]
    status = "reproduced"
    if failed:
        status = "contradicted" if any(_clear(*part) for part in failed) else "inconclusive"
    texts = [f"{short(d)}: best K {', '.join(f'{kind} {tops[d, kind]}' for kind in KINDS)}" for d in (many, few)]
    few_seeds = [] if n >= MIN_SEEDS else [f"{MIN_SEEDS} seeds are needed"]
    return Verdict("inconclusive" if few_seeds else status, "; ".join([*texts, *few_seeds, f"n={n}"]), n)


def _clear(points, top, agreeing):
    """Does the best point lie more than one pooled sd above every point that would have agreed?"""
    others = [points[k] for k in points if k in agreeing]
    return bool(others) and all(mean(points[top]) - mean(group) > pooled_sd(points[top], group) for group in others)


def pattern(compare, values):
    """C8: which kind of labels is better on which data set.

    The printed gaps are near the noise, so it passes ("reproduced") only if two data sets have opposite signs that
    both pass the ordering rule, and a fail only if all of several do with one sign; anything else is "inconclusive".
    """
    parts = []
    for dataset in compare["datasets"]:
        tops = [best(names_in(compare["curves"][kind]), values, compare["metric"], dataset) for kind in KINDS]
        parts.append((short(dataset), order(*tops)))
    names = {"reproduced": "cluster", "contradicted": "proxy"}
    text = joined([(label, Verdict("inconclusive", part.reason, part.n)) for label, part in parts], [PICKED])
    if any(part.status == "not run" for _, part in parts):
        return Verdict("not run", text.reason, text.n)
    ahead = [names.get(part.status, "neither") for _, part in parts]
    status = "inconclusive"
    if {"cluster", "proxy"} <= set(ahead):
        status = "reproduced"
    elif len(ahead) > 1 and len(set(ahead)) == 1 and ahead[0] != "neither":
        status = "contradicted"
    pairs = ", ".join(f"{label} {side}" for (label, _), side in zip(parts, ahead, strict=True))
    return Verdict(status, f"clearly ahead: {pairs} ({text.reason})", text.n)


def signs(compare, values):
    """C9: on each data set the side that the paper says is ahead: best of group or best of triplet sampling."""
    parts = []
    for dataset in compare["datasets"]:
        side = compare["ahead"].get(dataset)
        if side is None:
            return Verdict("not run", f"the claim says nothing of {dataset}")
        sides = (side, "group" if side == "triplet" else "triplet")
        tops = [best(names_in(compare[name]), values, compare["metric"], dataset) for name in sides]
        parts.append((short(dataset), order(*tops)))
    many, few = (len(names_in(compare[name])) for name in ("triplet", "group"))
    return joined(parts, [f"{PICKED}, of up to {many} triplet and {few} group settings"])


def ranges(compare, values):
    """C12: max - min of mAP over the parameter's large values, seed by seed, is smaller for group sampling."""
    parts = []
    for dataset in compare["datasets"]:
        curves = [curve(compare[side], values, compare, dataset) for side in ("group", "triplet")]
        shared = curves[0].keys() & curves[1].keys()
        spans = [_range([points[k] for k in sorted(shared)]) for points in curves]
        spans = zip(("group", "triplet"), spans, strict=True)
        parts.append((short(dataset), order(*spans, higher=False)))
    return joined(parts, ["range of mAP"])


def _range(groups):
    seeds = set.intersection(*(set(group) for group in groups)) if groups else ()
    return {seed: max(g[seed] for g in groups) - min(g[seed] for g in groups) for seed in sorted(seeds)}


def same(compare, values):
    """C13: arms a and b differ by at most `within_sd` pooled standard deviations."""
    names = compare["a"], compare["b"]
    parts = [
        (
            short(dataset),
            same_verdict(*(values(arm, compare["metric"], dataset) for arm in names), compare["within_sd"], names),
        )
        for dataset in compare["datasets"]
    ]
    return joined(parts, [f"up to {compare['within_sd']:g} sd allowed"])


def follows(compare, values):
    """C15: rank correlation (Spearman), over arms, of the share of classes visited and mAP, both means over seeds.

    "weak" if it is positive but not above the threshold, "contradicted" if it is below the negative threshold.
    """
    return joined([(short(d), _correlation(compare, values, d)) for d in compare["datasets"]])


def _correlation(compare, values, dataset):
    from scipy.stats import spearmanr

    shares, scores = (
        [g for points in compare["curves"].values() for g in curve(points, values, compare, dataset, name).values()]
        for name in (compare["share"], compare["metric"])
    )
    n = min((len(group) for group in (*shares, *scores)), default=0)
    if not n or len(shares) != len(scores):
        return Verdict("not run", f"an arm without {compare['share']} or {compare['metric']}")
    xs, ys = ([mean(group) for group in groups] for groups in (shares, scores))
    visited = f"{min(xs):.2f} to {max(xs):.2f} of the classes visited"
    if n < MIN_SEEDS or len(set(xs)) == 1 or len(set(ys)) == 1:
        why = f"n={n}, {MIN_SEEDS} seeds are needed" if n < MIN_SEEDS else "nothing to correlate"
        return Verdict("inconclusive", f"{visited}, {why}", n)
    rho, above = float(spearmanr(xs, ys).statistic), compare["above"]
    status = "reproduced" if rho > above else "weak" if rho > 0 else "contradicted" if rho < -above else "inconclusive"
    return Verdict(status, f"correlation {rho:+.2f} over {len(xs)} arms ({visited})", n)


RULES = {
    "P0-C1": better,
    "P0-C2": middle,
    "P0-C3": collapses,
    "P0-C4": cause,
    "P0-C5": each_pair,
    "P0-C6": each_pair,
    "P0-C7": smaller_best,
    "P0-C8": pattern,
    "P0-C9": signs,
    "P0-C10": better,
    "P0-C11": better,
    "P0-C12": ranges,
    "P0-C13": same,
    "P0-C14": better,
    "P0-C15": follows,
}
