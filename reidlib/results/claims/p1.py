"""Verdicts on the claims of P1, the triplet thesis.

A rule takes the claim's `compare` entry and `values(arm, name) -> {seed: value}`, and returns a Verdict.
"""

import math

import numpy as np

from reidlib.results.claims.parts import shares
from reidlib.results.statistics import clean, common_seeds, paired_differences, pooled_sd
from reidlib.results.verdicts import MIN_SEEDS, Verdict, all_of, needed, ordering_verdict, threshold_verdict

FLOOR = math.log(2)  # the lossless loss of a perfect embedding: orthogonal classes, beta = 4


def arms(compare, optional=True):
    """Arms that a `compare` entry names; optional=False: only those without which there is no verdict."""
    names = [compare[role] for role in ("a", "b", "none", "some", "all") if role in compare]
    if optional:
        names += [compare["most"]] if "most" in compare else []
        names += [arm for pair in compare.get("also", ()) for arm in pair]
    return list(dict.fromkeys(names))


def ordering(compare, values):
    """C1, C3, C10: arm a beats arm b on every metric; further pairs are quoted and decide nothing."""
    a, b = compare["a"], compare["b"]
    parts = [
        ordering_verdict(values(a, metric), values(b, metric), names=(a, b), unit=metric)
        for metric in compare["metrics"]
    ]
    return _quote(all_of(parts), compare, values, compare["metrics"][-1])


def looks(compare, values):
    """C2: R1 falls more, from queries with a unique outfit to those with a shared one, for arm a than for arm b."""
    a, b = compare["a"], compare["b"]
    falls = [paired_differences(values(arm, compare["unique"]), values(arm, compare["shared"])) for arm in (a, b)]
    return ordering_verdict(*falls, names=(f"fall of {a}", f"fall of {b}"), unit="R1 from unique to shared outfits")


def zero_loss(compare, values):
    """C4: the triplets of arm a are nearly all without loss at half of the training, arm b keeps a loss to its end."""
    a, b = compare["a"], compare["b"]
    found = shares(values(a, compare["share"]), compare["share"], a)
    share = threshold_verdict(found, compare["above_share"], name=f"zero-loss share of {a}")
    losses = values(b, compare["loss"])
    loss = threshold_verdict(losses, compare["above_loss"], name=f"final loss of {b}")
    result = all_of([share, loss])
    if not losses:
        return result
    above = np.mean(list(losses.values())) - FLOOR
    return Verdict(result.status, f"{result.reason}; {above:+.2f} from the floor ln 2 of {b}", result.n)


def faster(compare, values):
    """C5: arm a needs fewer iterations to 90% of its final mAP."""
    a, b = compare["a"], compare["b"]
    steps = [values(arm, compare["metric"]) for arm in (a, b)]
    return ordering_verdict(*steps, higher=False, names=(a, b), unit="iterations to 90% of final mAP", digits=0)


def not_behind(compare, values):
    """C6: arm a is ahead of arm b, or behind by less than `within`."""
    names = compare["a"], compare["b"]
    groups = [clean(values(arm, compare["metric"])) for arm in names]
    order = ordering_verdict(*groups, names=names, unit=compare["metric"])
    if order.status == "not run" or order.n < MIN_SEEDS:
        return order
    gaps = np.array(list(paired_differences(*groups).values()))
    gap, behind = float(gaps.mean()), int((gaps < 0).sum())
    seeds = common_seeds(*groups)
    sd = pooled_sd(*({seed: group[seed] for seed in seeds} for group in groups))
    if gap > -compare["within"]:
        status = "reproduced"
    else:
        status = "contradicted" if behind >= needed(len(gaps)) and -gap > sd else "inconclusive"
    reason = f"{order.reason}, where up to {compare['within']:g} {compare['metric']} behind is allowed"
    return _quote(Verdict(status, reason, order.n), compare, values, compare["metric"])


def hard_share(compare, values):
    """C7: the share of hard triplets in the first epoch."""
    a = compare["a"]
    found = shares(values(a, compare["share"]), compare["share"], a)
    return threshold_verdict(found, compare["above_share"], name=f"share of hard triplets of {a}")


def collapse(compare, values):
    """C8: some hard triplets do no harm and only hard ones do, or these shrink the embeddings' spread by half."""
    metric = compare["metric"]
    none, some, most, every = (clean(values(compare[role], metric)) for role in ("none", "some", "most", "all"))
    names = (compare["some"], compare["all"])
    order = ordering_verdict(some, every, names=names, unit=metric)
    spread_some, spread_all = (clean(values(arm, compare["spread"])) for arm in names)
    seeds = common_seeds(spread_some, spread_all)
    shrunk = sum(spread_all[seed] < 0.5 * spread_some[seed] for seed in seeds)
    harmless = bool(none) and np.mean(list(some.values())) >= np.mean(list(none.values()))
    status = order.status
    if len(seeds) >= MIN_SEEDS and shrunk >= needed(len(seeds)):
        status = "reproduced"
    elif status == "reproduced" and not harmless:
        status = "weak"
    means = {
        arm: f"{arm} {np.mean(list(group.values())):.1f}"
        for arm, group in ((compare["none"], none), (compare["most"], most))
        if group
    }
    reason = f"{order.reason}; {', '.join(means.values())}; spread below half in {shrunk} of {len(seeds)} seeds"
    return Verdict(status, reason, order.n)


def not_testable(compare, values):
    """C9: a comparison with quoted methods on the real data set."""
    return Verdict("not testable here", "it compares with quoted numbers on the real Market-1501")


def _quote(verdict, compare, values, metric):
    """The verdict with the further pairs of `also` quoted behind its reason."""
    quoted = [
        ordering_verdict(values(a, metric), values(b, metric), names=(a, b), unit=metric)
        for a, b in compare.get("also", ())
    ]
    extra = "".join(f"; also {other.text}" for other in quoted if other.status != "not run")
    return Verdict(verdict.status, verdict.reason + extra, verdict.n)


RULES = {
    "P1-C1": ordering,
    "P1-C2": looks,
    "P1-C3": ordering,
    "P1-C4": zero_loss,
    "P1-C5": faster,
    "P1-C6": not_behind,
    "P1-C7": hard_share,
    "P1-C8": collapse,
    "P1-C9": not_testable,
    "P1-C10": ordering,
}
