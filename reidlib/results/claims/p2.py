"""Verdicts on the claims of P2, identity-aware feature decoupling (IFD) for clothing change.

A rule takes the claim's `compare` entry and `values(arm, name, dataset) -> {seed: value}`, and returns a Verdict. The
parts of a claim, such as its data sets, must all hold: the worst of them decides. Of the runs' metrics, R1 is that of
the clothes-change mode and R1_same that of the same-clothes mode.
"""

import numpy as np

from reidlib.results.claims.parts import each_pair, joined, mean, names_in, shares, short
from reidlib.results.statistics import clean, common_seeds, paired_differences, pooled_sd
from reidlib.results.tables import lookup
from reidlib.results.verdicts import MIN_SEEDS, Verdict, needed, ordering_verdict

TINY = 1e-9  # allows a lead of exactly one point its rounding error, and keeps a ratio finite


def arms(compare, optional=True):
    """Arms that a `compare` entry names; optional=False: only those without which there is no verdict."""
    roles = ("a", "b", "pairs", "also") if optional else ("a", "b", "pairs")
    return list(dict.fromkeys(arm for role in roles if role in compare for arm in names_in(compare[role])))


def ordering(compare, values):
    """C1 to C6, C8: in every pair the first arm beats the second on the metric.

    Pairs in `also` and the arms' means of the entries in `quote` (name: what it is) are told and decide nothing.
    """
    notes = [
        note
        for dataset in compare["datasets"]
        for name, text in compare.get("quote", {}).items()
        for note in _means(names_in(compare["pairs"]), name, text, values, dataset)
    ]
    return each_pair(compare, values, unit=compare["metric"], notes=notes)


def _means(arms, name, text, values, dataset):
    """A note on the arms' means, in a list; arms without a value are left out, and without any the note."""
    found = {arm: clean(values(arm, name, dataset)) for arm in arms}
    numbers = ", ".join(f"{arm} {mean(group):.1f}" for arm, group in found.items() if group)
    return [f"{short(dataset)} {text}: {numbers}"] if numbers else []


def triples(compare, values):
    """C10: the first arm ranks a larger share of the hard triples rightly than the second, by the ordering rule.

    On which side of half each arm is, the person's or the outfit's, is told and decides nothing.
    """
    notes = [
        f"{short(dataset)}: {text}"
        for dataset in compare["datasets"]
        for pair in compare["pairs"]
        if (text := _preferences(pair[::-1], compare["metric"], values, dataset))
    ]
    return each_pair(compare, values, unit="% of triples", notes=notes)


def _preferences(arms, name, values, dataset):
    """What two arms prefer, "a prefers the outfit (8%), b the person (80%)"; empty without common seeds."""
    groups = [clean(values(arm, name, dataset)) for arm in arms]
    seeds = common_seeds(*groups)
    if not seeds:
        return ""
    found = [round(mean({seed: group[seed] for seed in seeds}), 1) for group in groups]
    sides = ["neither" if share == 50 else "the person" if share > 50 else "the outfit" for share in found]
    second = f"so does {arms[1]}" if sides[0] == sides[1] else f"{arms[1]} {sides[1]}"
    return f"{arms[0]} prefers {sides[0]} ({found[0]:g}%), {second} ({found[1]:g}%)"


def no_lead(compare, values):
    """C7: arm a is at most `within` points ahead of arm b in all of 3 seeds, 4 of 5; `quoted` sets decide nothing.

    "weak" if that holds for the mean of the paired differences only; "contradicted" if arm a is ahead by more in as
    many seeds, and by more than one pooled sd on average.
    """
    parts = [(short(dataset), _no_lead(compare, values, dataset)) for dataset in compare["datasets"]]
    quoted = [(short(dataset), _no_lead(compare, values, dataset)) for dataset in compare.get("quoted", ())]
    notes = [f"also {label} {part.status}, {part.reason}" for label, part in quoted if part.status != "not run"]
    return joined(parts, [f"a lead of up to {compare['within']:g} is allowed", *notes])


def _no_lead(compare, values, dataset):
    names, limit = (compare["a"], compare["b"]), compare["within"] + TINY
    groups = [clean(values(arm, compare["metric"], dataset)) for arm in names]
    order = ordering_verdict(*groups, names=names)
    if order.status == "not run" or order.n < MIN_SEEDS:
        return order
    leads = np.array(list(paired_differences(*groups).values()))
    seeds = common_seeds(*groups)
    groups = [{seed: group[seed] for seed in seeds} for group in groups]
    n, lead, sd, inside = len(seeds), float(leads.mean()), pooled_sd(*groups), int((leads <= limit).sum())
    if inside >= needed(n):
        status = "reproduced"
    elif n - inside >= needed(n) and lead > sd:
        status = "contradicted"
    else:
        status = "weak" if lead <= limit else "inconclusive"
    texts = [f"{name} {mean(group):.1f}" for name, group in zip(names, groups, strict=True)]
    unit = compare["metric"]
    return Verdict(status, f"{' vs '.join(texts)} {unit} ({lead:+.1f}, sd {sd:.1f}, so in {inside} of {n} seeds)", n)


def attention(compare, values):
    """C9: mean attention weight on head over that on clothes; above 1 in every seed, or it is not reproduced.

    "weak" if only the mean ratio is above 1, "contradicted" if the ratio is below 1 in all of 3 seeds, 4 of 5. The
    weights on the regions in `quote`, and the ratio of the weights whose names have the endings in `other_ratios`
    (ending: what it is), are told and decide nothing.
    """
    return joined([(short(dataset), _attention(compare, values, dataset)) for dataset in compare["datasets"]])


def _attention(compare, values, dataset):
    arm, sides = compare["a"], (compare["high"], compare["low"])
    ratios = _ratios(arm, sides, values, dataset)
    if not len(ratios):
        return Verdict("not run", f"no run of {arm} with {' and '.join(sides)}")
    n, above = len(ratios), int((ratios > 1).sum())
    if n < MIN_SEEDS:
        status = "inconclusive"
    elif above == n:
        status = "reproduced"
    elif (ratios < 1).sum() >= needed(n):
        status = "contradicted"
    else:
        status = "weak" if ratios.mean() > 1 else "inconclusive"
    found = {name: shares(values(arm, name, dataset), name, arm) for name in (*sides, *compare.get("quote", ()))}
    weights = ", ".join(f"{name.partition('_')[2]} {mean(group):.2f}" for name, group in found.items() if group)
    others = {
        text: _ratios(arm, [f"{name}{ending}" for name in sides], values, dataset)
        for ending, text in compare.get("other_ratios", {}).items()
    }
    beside = "".join(f", {text} {found.mean():.2f}" for text, found in others.items() if len(found))
    ratio = f"head over clothes {ratios.mean():.2f}, above 1 in {above} of {n} seeds ({weights}){beside}"
    return Verdict(status, ratio if n >= MIN_SEEDS else f"{ratio}, {MIN_SEEDS} seeds are needed", n)


def _ratios(arm, names, values, dataset):
    """First over second of two weights of an arm, in each seed that has both, as an array."""
    high, low = (shares(values(arm, name, dataset), name, arm) for name in names)
    return np.array([high[seed] / max(low[seed], TINY) for seed in common_seeds(high, low)])


def margins(compare, values):
    """C11: one printed variant's lead over another, in the papers' tables, is the printed margin on every data set."""
    texts, agree = [], True
    for dataset, margin in compare["margins"].items():
        ours, earlier = (
            lookup(compare["table"], compare[side], dataset, compare["metric"]) for side in ("ours", "earlier")
        )
        lead = round(ours - earlier, 1)
        agree &= lead == margin
        texts.append(f"{dataset}: {ours:.1f} - {earlier:.1f} = {lead:.1f}, printed {margin:.1f}")
    names = f"{compare['ours']} and {compare['earlier']}, {compare['metric']}"
    return Verdict("reproduced" if agree else "contradicted", f"{names}: {'; '.join(texts)}; no run is needed")


RULES = {
    "P2-C1": ordering,
    "P2-C2": ordering,
    "P2-C3": ordering,
    "P2-C4": ordering,
    "P2-C5": ordering,
    "P2-C6": ordering,
    "P2-C7": no_lead,
    "P2-C8": ordering,
    "P2-C9": attention,
    "P2-C10": triples,
    "P2-C11": margins,
}
