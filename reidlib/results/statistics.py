"""Means and intervals of runs over seeds, and of scores over queries.

A group of runs is a mapping `{seed: value}`; two groups are compared over the seeds that both have.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean with its interval; `low` and `high` are nan where one value allows none, `n` counts the values."""

    mean: float
    low: float
    high: float
    n: int
    sd: float = math.nan

    def __str__(self):
        return format_interval(self)


def t_interval(values, level=0.95):
    """Mean of independent runs with its Student-t interval (n - 1 degrees of freedom).

    values: iterable of floats, or a mapping `{seed: value}`; None and nan are left out.
    Without any value the mean is nan; with one value the interval is nan.
    """
    from scipy.special import stdtrit

    values = numbers_of(values)
    n = len(values)
    if n < 2:
        return Interval(float(values[0]) if n else math.nan, math.nan, math.nan, n)
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * sd / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, sd)


def common_seeds(a, b):
    """Seeds that both groups have, sorted."""
    a, b = clean(a), clean(b)
    return sorted(a.keys() & b.keys())


def paired_differences(a, b):
    """`{seed: a - b}` over the seeds that both mappings have."""
    a, b = clean(a), clean(b)
    return {seed: a[seed] - b[seed] for seed in common_seeds(a, b)}


def pooled_sd(a, b):
    """Pooled standard deviation, sqrt(((na - 1) sa^2 + (nb - 1) sb^2) / (na + nb - 2)); nan for fewer than 3 values."""
    a, b = numbers_of(a), numbers_of(b)
    freedom = len(a) + len(b) - 2
    if freedom < 1 or not len(a) or not len(b):
        return math.nan
    squares = ((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()
    return float(math.sqrt(squares / freedom))


def bootstrap(values, generator, resamples=2000, level=0.95):
    """Mean over queries with its percentile bootstrap interval.

    values: (q,) per-query scores; generator: numpy.random.Generator. Returns an Interval in the unit of `values`
    (`n` counts queries). For a paired difference of two models pass the differences of their per-query scores.
    """
    values = numbers_of(values)
    n = len(values)
    if not n:
        raise ValueError("bootstrap needs at least one query; none was given")
    means = np.empty(resamples)
    block = max(1, 4_000_000 // n)  # at most 32 MB of indices at a time
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        means[start : start + rows] = values[generator.integers(0, n, size=(rows, n))].mean(axis=1)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(values.mean()), float(low), float(high), n, float(values.std(ddof=1)) if n > 1 else math.nan)


def format_interval(values, digits=1):
    """'55.5 [53.1, 57.9], n=3' from an Interval, a mapping by seed or a list; 'not run' when empty."""
    interval = values if isinstance(values, Interval) else t_interval(values)
    if not interval.n:
        return "not run"
    if math.isnan(interval.low):
        return f"{interval.mean:.{digits}f}, n={interval.n}"
    return f"{interval.mean:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}], n={interval.n}"


def clean(group):
    """`{seed: float}` without None and nan."""
    if not isinstance(group, Mapping):
        raise TypeError(f"a group of runs is a mapping from seed to value, got {type(group).__name__}")
    return {seed: float(value) for seed, value in group.items() if value is not None and not math.isnan(value)}


def numbers_of(values):
    """Values of an iterable or a mapping as floats, (n,), without None and nan."""
    if isinstance(values, Mapping):
        values = values.values()
    numbers = np.asarray([math.nan if value is None else value for value in values], dtype=float)
    return numbers[~np.isnan(numbers)]
