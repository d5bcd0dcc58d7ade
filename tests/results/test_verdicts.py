"""The rules of a verdict: each status, and the numbers that its reason says."""

import math

import pytest

from reidlib.results.verdicts import (
    STATUSES,
    Verdict,
    all_of,
    collapse_verdict,
    needed,
    ordering_verdict,
    same_verdict,
    shape_verdict,
    threshold_verdict,
)


def seeds(*values):
    return dict(enumerate(values))


# 97.5% quantiles of Student's t from a printed table


def test_how_many_seeds_must_agree():
    assert [needed(n) for n in (3, 4, 5, 6, 10)] == [3, 4, 4, 5, 8]


ORDERINGS = [
    # gap 5 in every seed, sd 1
    ("reproduced", (15, 16, 17), (10, 11, 12)),
    # sign in 4 of 5 seeds, mean gap 3.8, pooled sd sqrt(4 * 7.2 / 8) = 1.9
    ("reproduced", (15, 15, 15, 15, 9), (10, 10, 10, 10, 10)),
    # sign in all seeds but a gap of 1 below the pooled sd of 5
    ("weak", (11, 16, 21), (10, 15, 20)),
    # mean ahead, one seed of three behind
    ("weak", (20, 20, 9), (10, 10, 10)),
    ("contradicted", (10, 11, 12), (15, 16, 17)),
    # reversed mean, but by less than a pooled sd
    ("inconclusive", (10, 15, 20), (11, 16, 21)),
    ("inconclusive", (10, 10, 10), (10, 10, 10)),
    ("inconclusive", (15, 16), (10, 11)),
    ("not run", (), (10, 11, 12)),
    ("not run", (1, 2, 3), ()),
]


@pytest.mark.parametrize(("status", "a", "b"), ORDERINGS)
def test_ordering(status, a, b):
    verdict = ordering_verdict(seeds(*a), seeds(*b), names=("new", "old"), unit="mAP")
    assert verdict.status == status, verdict.text
    assert verdict.n == min(len(a), len(b))
    assert verdict.text == f"{status}: {verdict.reason}"


def test_ordering_pairs_by_seed_not_by_position():
    a, b = {0: 10.0, 1: 20.0, 2: 30.0}, {2: 29.0, 1: 19.0, 0: 9.0, 7: 99.0}
    verdict = ordering_verdict(a, b)
    assert "better in 3 of 3 seeds" in verdict.reason
    assert verdict.n == 3
    assert verdict.status == "weak"  # the gap of 1 is far below the pooled sd of 10


def test_ordering_says_its_numbers():
    verdict = ordering_verdict(seeds(15, 16, 17), seeds(10, 11, 12), names=("new", "old"), unit="mAP")
    assert verdict.reason == (
        "new 16.0 against old 11.0 mAP, gap +5.0 (pooled sd 1.0), new better in 3 of 3 seeds; n=3"
    )


def test_a_minimal_gap_turns_reproduced_into_weak():
    a, b = seeds(15, 16, 17), seeds(10, 11, 12)
    assert ordering_verdict(a, b, min_gap=4.9).status == "reproduced"
    assert ordering_verdict(a, b, min_gap=20).status == "weak"


def test_fewer_can_be_better():
    a, b = seeds(100, 101, 102), seeds(200, 201, 202)
    assert ordering_verdict(a, b, higher=False).status == "reproduced"
    assert ordering_verdict(a, b).status == "contradicted"
    assert "gap -100.0" in ordering_verdict(a, b, higher=False).reason


def test_missing_values_are_no_seeds():
    verdict = ordering_verdict(seeds(15, 16, None, 17), seeds(10, 11, 12, math.nan))
    assert verdict.status == "inconclusive"
    assert "only 2 common seeds where 3 are needed" in verdict.reason


def test_lists_are_refused_since_they_have_no_seeds():
    with pytest.raises(TypeError, match="mapping from seed to value"):
        ordering_verdict([1, 2, 3], [1, 2, 3])


def around(mean):
    return seeds(mean - 1, mean, mean + 1)  # sd 1


@pytest.mark.parametrize(
    ("status", "curve"),
    [
        ("reproduced", {1: around(50), 4: around(60), 32: around(20)}),
        ("weak", {1: around(59.5), 4: around(60), 32: around(20)}),
        ("contradicted", {1: around(70), 4: around(60), 32: around(20)}),
        ("contradicted", {1: around(20), 4: around(60), 32: around(70)}),
        ("inconclusive", {1: around(60.5), 4: around(60), 32: around(20)}),
        ("inconclusive", {1: around(50), 4: seeds(60, 61), 32: around(20)}),
        ("not run", {1: around(50), 4: {}, 32: around(20)}),
        ("not run", {1: around(50), 4: around(60)}),
    ],
)
def test_shape(status, curve):
    assert shape_verdict(curve, "K").status == status


def test_shape_sorts_its_grid():
    verdict = shape_verdict({32: around(20), 4: around(60), 1: around(50)}, "K", unit="mAP")
    assert verdict.reason == "best at K=4 (1: 50.0, 4: 60.0, 32: 20.0 mAP); n=3"


@pytest.mark.parametrize(
    ("status", "final"),
    [
        ("reproduced", around(20)),  # below 38 by far, below half of 70
        ("weak", around(36)),  # below 38 by 2 sd, but not below 35
        ("weak", around(37.5)),
        ("inconclusive", around(38)),
        ("contradicted", around(60)),
        ("inconclusive", seeds(20, 21)),
        ("not run", {}),
    ],
)
def test_collapse(status, final):
    verdict = collapse_verdict(final, around(38), around(70), chance=1.5)
    assert verdict.status == status, verdict.text
    if verdict.n >= 3:
        assert "chance 1.5" in verdict.reason


@pytest.mark.parametrize(
    ("status", "values", "above"),
    [
        ("reproduced", (0.96, 0.97, 0.99), True),
        ("contradicted", (0.5, 0.6, 0.7), True),
        ("contradicted", (0.96, 0.97, 0.99), False),
        ("weak", (0.94, 0.99, 0.99), True),
        ("inconclusive", (0.5, 0.99, 0.99), True),
        ("reproduced", (0.9, 0.96, 0.96, 0.96, 0.96), True),
        ("inconclusive", (0.96, 0.97), True),
        ("not run", (), True),
    ],
)
def test_threshold(status, values, above):
    assert threshold_verdict(seeds(*values), 0.95, above).status == status


def test_the_worst_part_decides():
    parts = {status: Verdict(status, f"because {status}", n) for n, status in enumerate(STATUSES, 3)}
    assert all_of([parts["reproduced"], parts["weak"]]).status == "weak"
    assert all_of([parts["weak"], parts["inconclusive"]]).status == "inconclusive"
    assert all_of([parts["inconclusive"], parts["contradicted"]]).status == "contradicted"
    assert all_of([parts["contradicted"], parts["not run"]]).status == "not run"
    both = all_of([parts["reproduced"], parts["weak"]])
    assert both.reason == "reproduced: because reproduced; and weak: because weak"
    assert both.n == 3
    same = all_of([parts["weak"], parts["weak"]])
    assert same.reason == "because weak; and because weak"


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="unknown verdict 'fine'"):
        Verdict("fine", "no reason")


def test_a_brief_ordering_says_the_same_in_fewer_words():
    for status, a, b in ORDERINGS:
        assert ordering_verdict(seeds(*a), seeds(*b), brief=True).status == status
    verdict = ordering_verdict(seeds(15, 16, 17), seeds(10, 11, 12), names=("new", "old"), brief=True)
    assert verdict.reason == "new 16.0 vs old 11.0 (+5.0, sd 1.0, 3 of 3 seeds)"
    assert verdict.n == 3


def test_a_brief_collapse_says_the_same_in_fewer_words():
    verdict = collapse_verdict(around(20), around(38), around(70), chance=1.5, brief=True)
    assert verdict.text == "reproduced: from 38.0 to 20.0 (sd 1.0, best 70.0, chance 1.5)"


@pytest.mark.parametrize(
    ("status", "a", "b"),
    [
        ("reproduced", (11, 12, 13), (10, 11, 12)),  # a gap of 1, sd 1
        ("reproduced", (12, 13, 14), (10, 11, 12)),  # a gap of exactly 2 sd
        ("reproduced", (10, 11, 12), (12, 13, 14)),
        ("reproduced", (5, 5, 5), (5, 5, 5)),
        ("contradicted", (12.5, 13.5, 14.5), (10, 11, 12)),
        ("contradicted", (10, 11, 12), (12.5, 13.5, 14.5)),
        ("inconclusive", (20, 20, 20, 4), (1, 2, 3, 5)),  # a gap of 13.2, sd 5.8, but one seed of four the other way
        ("inconclusive", (10, 11), (10, 11)),
        ("not run", (), (10, 11, 12)),
    ],
)
def test_same(status, a, b):
    assert same_verdict(seeds(*a), seeds(*b)).status == status


def test_same_asks_for_as_many_sd_as_told():
    a, b = seeds(12.5, 13.5, 14.5), seeds(10, 11, 12)
    assert same_verdict(a, b, sds=3).status == "reproduced"
    assert same_verdict(a, b, names=("new", "old"), unit="mAP").reason == (
        "new 13.5 vs old 11.0 mAP (+2.5, sd 1.0, 3 of 3 seeds)"
    )
