"""The rules that decide whether a claim was reproduced, fixed before any run.

A group of runs is a mapping `{seed: value}`; two groups are compared over the seeds that both have.
"""

from dataclasses import dataclass

import numpy as np

from reidlib.results.statistics import clean, common_seeds, numbers_of, paired_differences, pooled_sd

STATUSES = ("reproduced", "weak", "contradicted", "inconclusive", "not testable here", "not run")
MIN_SEEDS = 3


@dataclass(frozen=True)
class Verdict:
    """What the runs say about a claim: `status` (one of STATUSES), one sentence with the numbers, seeds compared."""

    status: str
    reason: str
    n: int = 0

    def __post_init__(self):
        if self.status not in STATUSES:
            raise ValueError(f"unknown verdict {self.status!r}; one of {', '.join(STATUSES)}")

    @property
    def text(self):
        return f"{self.status}: {self.reason}"

    def __str__(self):
        return self.text


def needed(n):
    """How many of n seeds must agree: all of 3 (and of 4), 4 of 5, and four fifths of more."""
    return (4 * n + 4) // 5


def ordering_verdict(a, b, min_gap=None, higher=True, names=("A", "B"), unit="", digits=1, brief=False):
    """Is A better than B? Reproduced if the sign agrees in enough seeds and the mean gap exceeds one pooled sd.

    a, b: `{seed: value}`. min_gap: the mean gap must also exceed it. higher=False: smaller is better. brief: a reason
    that is a part of a longer one, "A 60.2 vs B 35.1 (+25.1, sd 1.2, 3 of 3 seeds)".
    "weak" if only the sign of the mean agrees, "contradicted" if the reversed sign passes the rule (min_gap aside),
    "inconclusive" otherwise and below three common seeds, "not run" if a group is empty.
    """
    short = _too_few(a, b, names)
    if short:
        return short
    seeds = common_seeds(a, b)
    a, b = ({seed: clean(group)[seed] for seed in seeds} for group in (a, b))
    sign = 1 if higher else -1
    gaps = np.array([sign * (a[seed] - b[seed]) for seed in seeds])
    n, gap, sd = len(seeds), float(gaps.mean()), pooled_sd(a, b)
    ahead, behind = int((gaps > 0).sum()), int((gaps < 0).sum())
    if ahead >= needed(n) and gap > sd and (min_gap is None or gap > min_gap):
        status = "reproduced"
    elif behind >= needed(n) and -gap > sd:
        status = "contradicted"
    else:
        status = "weak" if gap > 0 else "inconclusive"
    unit = f" {unit}" if unit else ""
    wanted = "" if min_gap is None else f", asked for more than {min_gap:g}"
    means = [float(np.mean(list(group.values()))) for group in (a, b)]
    if brief:
        texts = [f"{name} {mean:.{digits}f}" for name, mean in zip(names, means, strict=True)]
        gaps = f"({sign * gap:+.{digits}f}, sd {sd:.{digits}f}, {ahead} of {n} seeds)"
        return Verdict(status, f"{' vs '.join(texts)}{unit} {gaps}", n)
    reason = (
        f"{names[0]} {means[0]:.{digits}f} against {names[1]} {means[1]:.{digits}f}{unit}, "
        f"gap {sign * gap:+.{digits}f} (pooled sd {sd:.{digits}f}{wanted}), "
        f"{names[0]} better in {ahead} of {n} seeds; n={n}"
    )
    return Verdict(status, reason, n)


def same_verdict(a, b, sds=2, names=("A", "B"), unit="", digits=1):
    """Are A and B the same? Reproduced if their means differ by at most `sds` pooled standard deviations.

    a, b: `{seed: value}`. "contradicted" if they differ by more, with one sign in enough seeds. The reason is brief.
    """
    short = _too_few(a, b, names)
    if short:
        return short
    order = ordering_verdict(a, b, names=names, unit=unit, digits=digits, brief=True)
    gaps = np.array(list(paired_differences(a, b).values()))
    sd = pooled_sd(*({seed: group[seed] for seed in common_seeds(a, b)} for group in (a, b)))
    if abs(gaps.mean()) <= sds * sd:
        return Verdict("reproduced", order.reason, order.n)
    clear = max((gaps > 0).sum(), (gaps < 0).sum()) >= needed(order.n)
    return Verdict("contradicted" if clear else "inconclusive", order.reason, order.n)


def shape_verdict(curve, name="the parameter", unit="", digits=1):
    """Does the score peak strictly inside the grid, with both ends lower by more than one pooled sd?

    curve: `{x: {seed: value}}` with at least three x. "weak" if the peak is inside but an end is within one sd,
    "contradicted" if the peak is at an end and beats the best inner point by more than one sd.
    """
    curve = {x: clean(group) for x, group in sorted(curve.items())}
    empty = [x for x, group in curve.items() if not group]
    if len(curve) < 3 or empty:
        missing = ", ".join(str(x) for x in empty) or f"only {len(curve)} grid points"
        return Verdict("not run", f"a peak over {name} needs at least three grid points; missing: {missing}")
    n = min(len(group) for group in curve.values())
    if n < MIN_SEEDS:
        return Verdict("inconclusive", f"n={n} at a point of {name}, {MIN_SEEDS} seeds are needed", n)
    grid = list(curve)
    means = {x: float(np.mean(list(group.values()))) for x, group in curve.items()}
    best = max(grid, key=means.get)
    inner = max(grid[1:-1], key=means.get)
    ends = (grid[0], grid[-1])
    if best in ends:
        above = means[best] - means[inner] > pooled_sd(curve[best], curve[inner])
        status = "contradicted" if above else "inconclusive"
    else:
        clear = all(means[best] - means[x] > pooled_sd(curve[best], curve[x]) for x in ends)
        status = "reproduced" if clear else "weak"
    unit = f" {unit}" if unit else ""
    numbers = ", ".join(f"{x}: {means[x]:.{digits}f}" for x in grid)
    return Verdict(status, f"best at {name}={best} ({numbers}{unit}); n={n}", n)


def collapse_verdict(final, warm_start, best, chance=None, unit="mAP", digits=1, brief=False):
    """Did training collapse: below its own warm start by more than one sd, and below half of the best arm?

    The sd is that of the final scores over seeds: all may begin from one start.

    final, warm_start, best: `{seed: value}`; chance: the score of a random ranking, quoted in the reason. brief: a
    reason that is a part of a longer one, "from 38.1 to 20.3 (sd 1.0, best 70.2, chance 1.5)".
    "weak" if the mean fell below the warm start but a condition fails, "contradicted" if it rose by more than one sd.
    """
    short = _too_few(final, warm_start, ("the run", "its warm start")) or _too_few(final, best, ("the run", "best arm"))
    if short:
        return short
    seeds = common_seeds(final, warm_start)
    final, start = ({seed: clean(group)[seed] for seed in seeds} for group in (final, warm_start))
    best = list(clean(best).values())
    end, begin, top = (float(np.mean(list(group))) for group in (final.values(), start.values(), best))
    sd, n = float(numbers_of(final).std(ddof=1)), len(seeds)
    if begin - end > sd and end < 0.5 * top:
        status = "reproduced"
    elif end - begin > sd:
        status = "contradicted"
    else:
        status = "weak" if end < begin else "inconclusive"
    floor = "" if chance is None else f", chance {chance:.{digits}f}"
    if brief:
        around = f"(sd {sd:.{digits}f}, best {top:.{digits}f}{floor})"
        return Verdict(status, f"from {begin:.{digits}f} to {end:.{digits}f} {around}", n)
    reason = (
        f"ends at {end:.{digits}f} {unit} from a warm start of {begin:.{digits}f} (sd {sd:.{digits}f}); "
        f"best arm {top:.{digits}f}{floor}; n={n}"
    )
    return Verdict(status, reason, n)


def threshold_verdict(values, threshold, above=True, name="the value", digits=2):
    """Is a value above (or below) a threshold? By the ordering rule: all of 3 seeds, 4 of 5; "weak": the mean only.

    values: `{seed: value}`. "contradicted" if as many seeds are on the other side.
    """
    values = clean(values)
    n = len(values)
    if not n:
        return Verdict("not run", f"no run holds {name}")
    numbers = np.array(list(values.values()))
    sign = 1 if above else -1
    good, bad = int((sign * (numbers - threshold) > 0).sum()), int((sign * (numbers - threshold) < 0).sum())
    mean = float(numbers.mean())
    wanted = f"asked for {'above' if above else 'below'} {threshold:g}"
    reason = f"{name} {mean:.{digits}f} ({wanted}), so in {good} of {n} seeds; n={n}"
    if n < MIN_SEEDS:
        return Verdict("inconclusive", f"{reason}, {MIN_SEEDS} seeds are needed", n)
    if good >= needed(n):
        return Verdict("reproduced", reason, n)
    if bad >= needed(n):
        return Verdict("contradicted", reason, n)
    return Verdict("weak" if sign * (mean - threshold) > 0 else "inconclusive", reason, n)


def all_of(verdicts):
    """One verdict for "this and that": the worst part decides; every part's reason is kept.

    Worst first: not run, contradicted, inconclusive, weak, reproduced. n is the smallest.
    """
    verdicts = list(verdicts)
    order = ("not testable here", "not run", "contradicted", "inconclusive", "weak", "reproduced")
    worst = min((verdict.status for verdict in verdicts), key=order.index)
    differ = len({verdict.status for verdict in verdicts}) > 1
    reason = "; and ".join(f"{verdict.status}: {verdict.reason}" if differ else verdict.reason for verdict in verdicts)
    return Verdict(worst, reason, min(verdict.n for verdict in verdicts))


def _too_few(a, b, names):
    """A verdict when two groups cannot be compared, else None."""
    a, b = clean(a), clean(b)
    empty = [name for name, group in zip(names, (a, b), strict=True) if not group]
    if empty:
        return Verdict("not run", f"no value of {' and '.join(empty)}")
    n = len(common_seeds(a, b))
    if n >= MIN_SEEDS:
        return None
    means = [f"{name} {np.mean(list(group.values())):.1f}" for name, group in zip(names, (a, b), strict=True)]
    few = f"{n} common seed{'' if n == 1 else 's'} where {MIN_SEEDS} are needed"
    return Verdict("inconclusive", f"{' against '.join(means)}, but only {few}; n={n}", n)
