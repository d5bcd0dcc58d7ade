"""Intervals over seeds and queries, by hand and against a loop."""

import math

import numpy as np
import pytest

from reidlib.results.statistics import Interval, bootstrap, format_interval, paired_differences, pooled_sd, t_interval


@pytest.mark.parametrize(("n", "t"), [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262)])
def test_the_interval_uses_the_quantile_of_n_minus_1_degrees_of_freedom(n, t):
    values = list(range(n))
    interval = t_interval(values)
    sd = math.sqrt(sum((v - sum(values) / n) ** 2 for v in values) / (n - 1))
    assert interval.mean == sum(values) / n
    assert interval.sd == pytest.approx(sd)
    assert interval.high - interval.mean == pytest.approx(t * sd / math.sqrt(n), rel=0.0005 / 2.262)  # t has 3 decimals
    assert interval.mean - interval.low == pytest.approx(interval.high - interval.mean)


def test_interval_of_three_runs_by_hand():
    # mean 55, sd 1, half width 4.303 / sqrt(3) = 2.484
    assert format_interval({0: 54.0, 1: 55.0, 2: 56.0}) == "55.0 [52.5, 57.5], n=3"
    assert format_interval([54.0, 55.0, 56.0], digits=2) == "55.00 [52.52, 57.48], n=3"
    assert str(t_interval([54.0, 55.0, 56.0])) == "55.0 [52.5, 57.5], n=3"


def test_one_run_has_no_interval_and_none_is_not_run():
    assert format_interval({3: 55.04}) == "55.0, n=1"
    assert format_interval({}) == "not run"
    assert format_interval([None, math.nan]) == "not run"
    assert t_interval([7.0]).mean == 7.0
    assert math.isnan(t_interval([7.0]).low)


def test_paired_differences_use_the_seeds_that_both_have():
    a, b = {0: 5.0, 1: 7.0, 2: 1.0}, {1: 4.0, 2: 2.0, 9: 0.0}
    assert paired_differences(a, b) == {1: 3.0, 2: -1.0}
    assert t_interval(paired_differences(a, b)).mean == 1.0
    assert t_interval(paired_differences(a, b)).n == 2


def test_pooled_sd_by_hand():
    # variances 1 (n=3) and 4 (n=2): sqrt((2 * 1 + 1 * 4) / 3) = sqrt(2)
    assert pooled_sd([1.0, 2.0, 3.0], [0.0, 2 * math.sqrt(2)]) == pytest.approx(math.sqrt(2))
    assert math.isnan(pooled_sd([1.0], [2.0]))


def test_bootstrap_agrees_with_a_loop_and_with_the_normal_theory():
    values = np.random.default_rng(0).normal(0.6, 0.2, 400)
    found = bootstrap(values, np.random.default_rng(1))
    generator = np.random.default_rng(1)
    means = [values[generator.integers(0, 400, 400)].mean() for _ in range(2000)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    half = 1.96 * values.std(ddof=1) / 20
    assert found.high - found.mean == pytest.approx(half, rel=0.1)
    assert found.n == 400
    assert found == bootstrap(values, np.random.default_rng(1))


def test_bootstrap_in_blocks_has_the_same_spread():
    values = np.random.default_rng(0).random(30_000)  # 2,000 x 30,000 indices do not fit one block
    found = bootstrap(values, np.random.default_rng(1), resamples=300)
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(30_000), rel=0.25)


def test_bootstrap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one query"):
        bootstrap([], np.random.default_rng(0))


def test_intervals_compare_by_value():
    assert Interval(1.0, 0.0, 2.0, 3, 0.1) == Interval(1.0, 0.0, 2.0, 3, 0.1)
