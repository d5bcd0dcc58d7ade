"""P0-C4: does the collapse of one-class batches come from the epoch's budget?

A crossed test: the list of draws is longer than an epoch, or fits; the batch statistics are trained, or something else
is done about batches of a single class (statistics frozen, or several classes in a larger batch).
"""

from reidlib.results.claims.parts import best, joined, mean, names_in, short
from reidlib.results.statistics import clean
from reidlib.results.verdicts import MIN_SEEDS, Verdict, collapse_verdict, ordering_verdict

STAYS, VANISHES, UNCLEAR = "stays", "vanishes", "unclear"


def cause(compare, values):
    """C4: the paper's cause is supported only if the collapse vanishes when the list fits.

    The collapse *stays* in an arm where the rule of collapse holds; it *vanishes* where that rule does not hold and the
    arm beats the collapsed one by the ordering rule. With the list fitting:

    - it vanishes: "reproduced", or "weak" if a cure of one-class batches is enough as well (two causes, either needed);
    - it stays, and vanishes by a cure of one-class batches alone: "contradicted", these are the cause;
    - anything else, such as no collapse, or one that only both together remove: "inconclusive".

    Arms under `quoted_arms` are told with their states and decide nothing.
    """
    return joined([(short(dataset), _cause(compare, values, dataset)) for dataset in compare["datasets"]])


def _cause(compare, values, dataset):
    def get(arm, name="metric"):
        return clean(values(arm, compare[name], dataset))

    collapsed, fits = compare["collapsed"], compare["fits"]
    if not get(collapsed) or not get(collapsed, "start") or not get(fits):
        return Verdict("not run", f"no {compare['metric']} of {collapsed} or {fits}")
    top = best(names_in(compare["best"]), values, compare["metric"], dataset)[1]
    cures = {alone: both for alone, both in compare["cures"] if get(alone) or get(both)}
    tested = [collapsed, fits, *(arm for pair in cures.items() for arm in pair if get(arm))]
    quoted = [arm for arm in compare.get("quoted_arms", ()) if get(arm)]
    found = {arm: state(get(arm), get(arm, "start"), top, get(collapsed)) for arm in [*tested, *quoted]}
    n = min(len(get(arm)) for arm in tested)
    alone, both = ([found[arm] for arm in group if arm in found] for group in (cures.keys(), cures.values()))
    status, says = decide(found[collapsed], found[fits], alone, both)
    if n < MIN_SEEDS:
        status, says = "inconclusive", f"n={n}, {MIN_SEEDS} seeds are needed"
    numbers = [f"{arm} {mean(get(arm)):.1f} {found[arm]}" for arm in tested[1:]]
    numbers += [f"also {arm} {mean(get(arm)):.1f} {found[arm]}" for arm in quoted]
    start = f"{collapsed} from {mean(get(collapsed, 'start')):.1f} to {mean(get(collapsed)):.1f} {found[collapsed]}"
    shares = [get(arm, "share") for arm in (collapsed, fits)]
    if all(shares):
        numbers.append("classes visited {:.2f}, {:.2f} if the list fits".format(*map(mean, shares)))
    again = get(collapsed, "recalibrated")
    if again:
        numbers.append(f"{mean(again):.1f} with batch statistics re-estimated")
    return Verdict(status, f"{says} ({start}, {', '.join(numbers)})", n)


def state(final, start, top, collapsed):
    """STAYS, VANISHES or UNCLEAR: what became of the collapse in an arm; all arguments are `{seed: mAP}`."""
    rule = collapse_verdict(final, start, top).status
    if rule == "reproduced":
        return STAYS
    known = rule != "not run" and ordering_verdict(final, collapsed).status == "reproduced"
    return VANISHES if known else UNCLEAR


def decide(collapsed, fits, alone, both):
    """(status, what the data say) from the states; alone and both: of the cures without and with a list that fits."""
    if collapsed != STAYS:
        return "inconclusive", "no collapse to explain"
    if fits == VANISHES:
        if VANISHES in alone:
            return "weak", "two causes, the budget and one-class batches: removing either is enough"
        return "reproduced", "the budget is the cause"
    if fits == STAYS and VANISHES in alone:
        return "contradicted", "one-class batches are the cause, not the budget"
    if fits == STAYS and VANISHES in both:
        return "inconclusive", "two causes, the budget and one-class batches: both must go"
    return "inconclusive", "neither explains the collapse"
