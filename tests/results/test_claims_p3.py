"""The rules of the chapter on label smoothing, each on made-up runs that it must pass, fail or leave open."""

import pytest

from reidlib.results import claims
from reidlib.results.claims import p3
from reidlib.workflow import grid

SETS = ("market-like", "duke-like", "cuhk03-like", "viper-like")
METRICS = ("R1", "mAP", "mAP_trap")
CLUSTERS = {2: "k2", 3: "slsr", 4: "k4", 5: "k5"}


@pytest.fixture
def judge(make):
    """judge(claim, {arm: run} on market-like or {dataset: {arm: run}}) -> Verdict.

    A run is a dict of metrics or one value of them all; a value is the mean of three seeds one point apart, or a list
    of the values of the seeds.
    """

    def records(runs, suffix, seeds):
        for dataset, found in runs.items():
            data = {"dataset": dataset, "fingerprint": dataset}
            for arm, run in found.items():
                run = run if isinstance(run, dict) else dict.fromkeys(("R1", "mAP_trap", "mAP_trap_rerank"), run)
                values = {
                    name: value if isinstance(value, list) else [value + seed - 1 for seed in range(seeds)]
                    for name, value in run.items()
                }
                for seed in range(max(map(len, values.values()))):
                    extra = {name: group[seed] for name, group in values.items() if seed < len(group)}
                    metrics = {name: extra.pop(name) for name in METRICS if name in extra}
                    yield make(arm + suffix, seed, experiment="label_smoothing", extra=extra, data=data, **metrics)

    def judge(claim, runs, settings="paper", seeds=3, dataset=None):
        runs = runs if set(runs) & set(SETS) else {"market-like": runs}
        suffix = "@paper" if settings == "paper" else ""
        return claims.verdict(claim, list(records(runs, suffix, seeds)), settings, dataset)

    return judge


# ---------------------------------------------------------------- which arms and data sets


def test_every_claim_has_a_rule_arms_and_known_data_sets():
    assert list(p3.RULES) == [claim.id for claim in claims.load("P3")]
    for claim in claims.load("P3"):
        assert p3.arms(claim.compare, optional=False), claim.id
        assert set(claim.compare["datasets"]) <= set(SETS), claim.id


def test_every_arm_of_a_claim_is_in_the_grid_at_both_settings():
    known = grid.read("label_smoothing").arms
    for claim in claims.load("P3"):
        for arm in p3.arms(claim.compare):
            assert {arm, f"{arm}@paper"} <= set(known), (claim.id, arm)


@pytest.mark.parametrize(
    ("claim", "deciding", "told"),
    [
        ("P3-C1", ["slsr", "none", "dense-slsr", "dense-none"], []),
        ("P3-C2", ["slsr", "lsro"], ["lsr", "onehot", "none"]),
        ("P3-C4", ["slsr", "ratio3"], ["none", "ratio0.5", "ratio2"]),
        ("P3-C5", ["k2", "slsr", "k4", "k5"], []),
        ("P3-C9", ["dense-slsr", "slsr"], []),
        ("P3-C13", ["as-released", "slsr"], []),
    ],
)
def test_quoted_arms_are_optional(claim, deciding, told):
    compare = claims.get(claim).compare
    assert p3.arms(compare, optional=False) == deciding
    assert p3.arms(compare) == deciding + told


def test_without_runs_nothing_has_a_verdict():
    table = claims.table("P3", []).set_index("id")
    assert set(table["verdict"]) == set(table["verdict_chosen"]) == {"not run"}
    assert table.loc["P3-C2", "why"] == "no run of slsr@paper on market-like, lsro@paper on market-like"
    assert table.loc["P3-C2", "why_chosen"] == "no run of slsr on market-like, lsro on market-like"


def test_rules_are_of_the_papers_average_precision():
    # trapezoids on the market- and duke-like sets; R1 only on the others
    for claim in claims.load("P3"):
        assert "mAP" not in [claim.compare.get("metric"), *claim.compare.get("metrics", ())], claim.id
        if set(claim.compare["datasets"]) & {"cuhk03-like", "viper-like"}:
            assert "R1" in (claim.compare.get("metric"), *claim.compare.get("metrics", ())), claim.id


# ---------------------------------------------------------------- C1, C2, C4, C11: orderings

GOOD = {"slsr": 70, "none": 60, "dense-slsr": 75, "dense-none": 65, "lsro": 66, "ratio3": 65}


@pytest.mark.parametrize("settings", ["paper", "chosen"])
@pytest.mark.parametrize(("claim", "arm"), [("P3-C1", "none"), ("P3-C2", "lsro"), ("P3-C4", "ratio3")])
def test_orderings(judge, claim, arm, settings):
    assert judge(claim, GOOD, settings).status == "reproduced"
    assert judge(claim, GOOD | {arm: 69.5}, settings).status == "weak"
    assert judge(claim, GOOD | {arm: 70}, settings).status == "inconclusive"
    assert judge(claim, GOOD | {arm: 80}, settings).status == "contradicted"
    assert judge(claim, GOOD, settings, seeds=2).status == "inconclusive"
    assert judge(claim, {name: run for name, run in GOOD.items() if name != arm}, settings).status == "not run"


@pytest.mark.parametrize("metric", ["R1", "mAP_trap"])
@pytest.mark.parametrize("arm", ["none", "dense-none"])
def test_c1_needs_both_metrics_and_both_backbones(judge, arm, metric):
    other = {"R1": GOOD[arm], "mAP_trap": GOOD[arm]}
    assert judge("P3-C1", GOOD | {arm: other}).status == "reproduced"
    assert judge("P3-C1", GOOD | {arm: other | {metric: 90}}).status == "contradicted"


def test_c1_says_every_part(judge):
    verdict = judge("P3-C1", GOOD | {"dense-none": {"R1": 74.5, "mAP_trap": 65}})
    assert verdict.text == (
        "weak: market: reproduced, slsr 70.0 vs none 60.0 R1 (+10.0, sd 1.0, 3 of 3 seeds); "
        "market: weak, dense-slsr 75.0 vs dense-none 74.5 R1 (+0.5, sd 1.0, 3 of 3 seeds); "
        "market: reproduced, slsr 70.0 vs none 60.0 mAP_trap (+10.0, sd 1.0, 3 of 3 seeds); "
        "market: reproduced, dense-slsr 75.0 vs dense-none 65.0 mAP_trap (+10.0, sd 1.0, 3 of 3 seeds); "
        "n=3 (market-like, CPU)"
    )


def test_c2_quotes_the_other_targets_which_decide_nothing(judge):
    alone = judge("P3-C2", {"slsr": 70, "lsro": 66})
    verdict = judge("P3-C2", {"slsr": 70, "lsro": 66, "lsr": 90, "onehot": 40, "none": 90})
    assert alone.status == verdict.status == "reproduced"
    assert "also" not in alone.reason
    assert "also market contradicted, slsr 70.0 vs lsr 90.0 mAP_trap (-20.0, sd 1.0, 0 of 3 seeds)" in verdict.reason
    assert "also market reproduced, slsr 70.0 vs onehot 40.0 mAP_trap" in verdict.reason
    assert "also market contradicted, lsro 66.0 vs none 90.0 mAP_trap" in verdict.reason
    assert judge("P3-C2", {"slsr": {"mAP_trap": 70, "R1": 10}, "lsro": {"mAP_trap": 66, "R1": 90}}).status == (
        "reproduced"
    )


def test_c4_is_decided_after_re_ranking_and_tells_the_curve(judge):
    runs = {
        "slsr": {"mAP_trap_rerank": 70, "mAP_trap": 60},
        "ratio3": {"mAP_trap_rerank": 65, "mAP_trap": 65},
        "none": {"mAP_trap_rerank": 50},
        "ratio2": {"mAP_trap_rerank": 68},
    }
    verdict = judge("P3-C4", runs)
    assert verdict.text == (
        "reproduced: market: slsr 70.0 vs ratio3 65.0 mAP_trap_rerank (+5.0, sd 1.0, 3 of 3 seeds); "
        "also market contradicted, slsr 60.0 vs ratio3 65.0 mAP_trap (-5.0, sd 1.0, 0 of 3 seeds); "
        "market mAP_trap_rerank by generated images to a real one (0: 50.0, 1: 70.0, 2: 68.0, 3: 65.0); "
        "n=3 (market-like, CPU)"
    )


@pytest.mark.parametrize(
    ("status", "slsr"),
    [
        ("reproduced", [60, 62] * 4 + [50, 50]),  # 8 of 10
        ("weak", [60, 62] * 3 + [61] + [49] * 3),  # 7 of 10
        ("contradicted", [40] * 10),
        ("inconclusive", [51, 49] * 4 + [48, 50]),
    ],
)
def test_c11_is_of_the_splits_of_the_viper_like_set(judge, status, slsr):
    verdict = judge("P3-C11", {"viper-like": {"slsr": {"R1": slsr}, "none": {"R1": [50] * 10}}})
    assert (verdict.status, verdict.n) == (status, 10), verdict.text
    assert judge("P3-C11", GOOD).status == "not run"


# ---------------------------------------------------------------- C3: silhouette and accuracy


def clusters(r1, pca2=(0.4, 0.6, 0.5, 0.3), full=(0.5, 0.2, 0.1, 0.1)):
    """Runs with these R1 after re-ranking for two to five clusters, and silhouettes in those of slsr."""
    runs = {arm: {"R1_rerank": value} for arm, value in zip(CLUSTERS.values(), r1, strict=True)}
    for name, values in (("pca2", pca2), ("full", full)):
        runs["slsr"] |= {f"silhouette_{name}_k{k}": [v] * 5 for k, v in zip(CLUSTERS, values, strict=True)}
    return runs


@pytest.mark.parametrize(
    ("status", "runs"),
    [
        ("reproduced", clusters([80, 85, 83, 81])),
        ("weak", clusters([80, 85, 84.5, 81])),  # 4 is within one sd
        ("weak", clusters([84, 85, 80, 80])),  # exactly one sd is not ahead
        ("inconclusive", clusters([80, 85, 85.5, 81])),  # 4 is best, but not clearly
        ("contradicted", clusters([80, 85, 88, 81])),  # 4 is clearly best
        ("contradicted", clusters([88, 85, 80, 80])),
        ("contradicted", clusters([80, 85, 83, 81], pca2=(0.7, 0.6, 0.5, 0.3))),  # silhouette best at 2
        ("contradicted", clusters([88, 85, 83, 81], pca2=(0.7, 0.6, 0.5, 0.3))),  # best at 2 in both is not the claim
        ("inconclusive", clusters([[80, 80], [85, 85], [83, 83], [81, 81]])),  # two seeds
    ],
)
def test_c3_three_clusters_best_in_both(judge, status, runs):
    verdict = judge("P3-C3", runs)
    assert verdict.status == status, verdict.text


def test_c3_says_both_silhouettes_and_what_is_within_noise(judge):
    assert judge("P3-C3", clusters([80, 85, 84.5, 81])).text == (
        "weak: market: silhouette_pca2 best at k=3 (2: 0.40, 3: 0.60, 4: 0.50, 5: 0.30), "
        "silhouette_full best at k=2 (2: 0.50, 3: 0.20, 4: 0.10, 5: 0.10), "
        "R1_rerank best at k=3 (2: 80.0, 3: 85.0, 4: 84.5, 5: 81.0), k=3 not ahead by one sd of k=4; "
        "n=3 (market-like, CPU)"
    )
    two = judge("P3-C3", clusters([[80, 80], [85, 85], [83, 83], [81, 81]]))
    assert two.n == 2
    assert "3 seeds are needed" in two.reason


def test_c3_compares_the_seeds_that_all_have(judge):
    # with its own two further seeds slsr would be far behind
    verdict = judge("P3-C3", clusters([80, [84, 85, 86, 10, 10], 83, 81]))
    assert (verdict.status, verdict.n) == ("reproduced", 3)
    assert "3: 85.0" in verdict.reason


def test_c3_needs_silhouettes_as_shares(judge):
    runs = clusters([80, 85, 83, 81])
    del runs["slsr"]["silhouette_pca2_k5"]
    assert judge("P3-C3", runs).text.startswith("not run: market: no runs with silhouette_pca2 at every k")
    for k in CLUSTERS:
        runs["slsr"].pop(f"silhouette_full_k{k}")
    runs["slsr"]["silhouette_pca2_k5"] = [0.1] * 3
    without = judge("P3-C3", runs)
    assert without.status == "reproduced"
    assert "full" not in without.reason
    assert judge("P3-C3", {arm: {"R1": 5} for arm in CLUSTERS.values()}).status == "not run"
    with pytest.raises(ValueError, match="silhouette_pca2_k2 of arm slsr must lie in -1 to 1"):
        judge("P3-C3", clusters([80, 85, 83, 81], pca2=(40, 60, 50, 30)))


# ---------------------------------------------------------------- C5: slope over the number of clusters


def curve(*values):
    return {arm: {"mAP_trap_rerank": value} for arm, value in zip(CLUSTERS.values(), values, strict=True)}


@pytest.mark.parametrize(
    ("status", "runs"),
    [
        ("reproduced", curve(73, 72, 71, 70)),
        ("reproduced", curve(73, 70, 73, 70)),
        ("weak", curve(70.8, 70.6, 70.4, 70)),  # a fall of 0.8 with a sd of 1
        ("contradicted", curve(70, 71, 72, 73)),
        ("inconclusive", curve(70, 70.2, 70.4, 70.6)),
        ("inconclusive", curve(70, 70, 70, 70)),
        ("weak", curve([75, 75, 70], [73, 73, 70], [72, 72, 71], [70, 70, 72])),  # negative in two of three seeds
        ("reproduced", curve(*([v] * 4 + [70 - v / 100] for v in (73, 72, 71, 70)))),  # four of five
        ("contradicted", curve(*([v] * 4 + [70 - v / 100] for v in (70, 71, 72, 73)))),
        ("inconclusive", curve([73, 73], [72, 72], [71, 71], [70, 70])),  # two seeds
        ("not run", curve([73], [None, 72], [71], [70])),  # no common seed
    ],
)
def test_c5_slope(judge, status, runs):
    verdict = judge("P3-C5", runs)
    assert verdict.status == status, verdict.text


def test_c5_is_the_least_squares_slope_by_seed(judge):
    # slopes of (2, 3, 4, 5) against deviations -1.5, -0.5, 0.5, 1.5: (1.5 * 6 + 0.5 * 2) / 5 = 2
    verdict = judge("P3-C5", curve(76, 74, 72, 70))
    assert verdict.text == (
        "reproduced: market: slope -2.00 a cluster, negative in 3 of 3 seeds "
        "(sd 1.0; mAP_trap_rerank at k: 2: 76.0, 3: 74.0, 4: 72.0, 5: 70.0); n=3 (market-like, CPU)"
    )
    # (1.5 * 1 - 0.5 * 1) / 5 = 0.2: the points in the middle count less
    assert "slope -0.20 a cluster" in judge("P3-C5", curve(71, 70, 71, 70)).reason
    assert judge("P3-C5", curve(73, [72, 72, 72, 0, 0], 71, 70)).n == 3


# ---------------------------------------------------------------- C6: what the clusters follow


def information(**values):
    found = {"upper": 0.3, "lower": 0.1, "identity": 0.2, "camera": 0.05, "brightness": 0.1} | values
    return {"slsr": {f"information_{name}": v if isinstance(v, list) else [v] * 5 for name, v in found.items()}}


@pytest.mark.parametrize(
    ("status", "values"),
    [
        ("reproduced", {}),
        ("reproduced", {"upper": 0.0, "lower": 0.25}),  # one of the two is enough
        ("contradicted", {"identity": 0.31}),
        ("contradicted", {"camera": 0.31}),
        ("contradicted", {"brightness": 0.31}),
        ("inconclusive", {"camera": 0.3}),
        ("reproduced", {"upper": [0.5, 0.3, 0.1], "camera": [0.2, 0.2, 0.4]}),  # by the mean over runs
        ("inconclusive", {"upper": [0.3, 0.3]}),  # two seeds
        ("reproduced", {"camera": -0.01}),
        ("not run", {"brightness": [None]}),
    ],
)
def test_c6_colour_tells_most(judge, status, values):
    runs = information(**values)
    runs = {"slsr": {name: group for name, group in runs["slsr"].items() if group != [None]}}
    verdict = judge("P3-C6", runs)
    assert verdict.status == status, verdict.text


def test_c6_says_all_values_in_order(judge):
    assert judge("P3-C6", information()).text == (
        "reproduced: market: shared with the clusters: upper 0.300, identity 0.200, lower 0.100, brightness 0.100, "
        "camera 0.050; n=5 (market-like, CPU)"
    )
    with pytest.raises(ValueError, match="information_upper of arm slsr must lie in -1 to 1"):
        judge("P3-C6", information(upper=30))


# ---------------------------------------------------------------- C7, C8: two metrics of the same runs


@pytest.mark.parametrize(
    ("status", "rerank"),
    [("reproduced", 80), ("weak", 70.5), ("inconclusive", 70), ("contradicted", 60), ("inconclusive", [80, 80])],
)
def test_c7_re_ranking_in_the_runs_of_densenet(judge, status, rerank):
    run = {"mAP_trap": 70, "mAP_trap_rerank": rerank, "R1": 90, "R1_rerank": 88}
    verdict = judge("P3-C7", {"dense-slsr": run, "slsr": {"mAP_trap": 99, "mAP_trap_rerank": 1}})
    assert verdict.status == status, verdict.text
    assert "also market dense-slsr contradicted, R1_rerank 88.0 vs R1 90.0 (-2.0" in verdict.reason
    del run["R1_rerank"]
    assert (judge("P3-C7", {"dense-slsr": run}).status, "also" in judge("P3-C7", {"dense-slsr": run}).reason) == (
        status, False,
    )  # fmt: skip


def test_c7_without_re_ranked_values(judge):
    assert judge("P3-C7", {"dense-slsr": {"mAP_trap": 70}}).status == "not run"
    assert judge("P3-C7", {"slsr": {"mAP_trap": 70, "mAP_trap_rerank": 80}}).status == "not run"


@pytest.mark.parametrize("arm", ["slsr", "dense-slsr"])
@pytest.mark.parametrize("name", ["R1", "mAP_trap"])
def test_c8_needs_both_metrics_of_both_backbones(judge, arm, name):
    good = {"mAP_trap": 70, "mAP_trap_multi": 80, "R1": 90, "R1_multi": 95}
    runs = {"slsr": dict(good), "dense-slsr": dict(good)}
    assert judge("P3-C8", runs).status == "reproduced"
    for value, status in ((good[name] + 0.5, "weak"), (good[name], "inconclusive"), (50, "contradicted")):
        assert judge("P3-C8", runs | {arm: good | {f"{name}_multi": value}}).status == status
    assert judge("P3-C8", {arm: good}).status == "not run"


# ---------------------------------------------------------------- C9, C10, C12: other data sets


def backbones(**changes):
    runs = {name: {"dense-slsr": {"R1": 70}, "slsr": {"R1": 60}} for name in SETS}
    runs["cuhk03-like"] = {"dense-slsr": {"R1": 60}, "slsr": {"R1": 70}}
    for name, values in changes.items():
        runs[f"{name}-like"] = {arm: {"R1": value} for arm, value in zip(("dense-slsr", "slsr"), values, strict=True)}
    return runs


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        ("reproduced", {}),
        ("weak", {"duke": (60.5, 60)}),
        ("weak", {"cuhk03": (60, 60.5)}),
        ("inconclusive", {"viper": (60, 60)}),
        ("contradicted", {"cuhk03": (70, 60)}),  # there the printed order is the other one
        ("contradicted", {"market": (60, 70)}),
    ],
)
def test_c9_reports_the_order_on_each_set(judge, status, changes):
    verdict = judge("P3-C9", backbones(**changes))
    assert verdict.status == status, verdict.text
    assert verdict.reason.count("dense-slsr") == 4
    assert verdict.reason.endswith("n=3 (market-like, duke-like, viper-like, cuhk03-like, CPU)")


def test_c9_of_some_of_the_sets(judge):
    runs = backbones()
    del runs["viper-like"]
    assert judge("P3-C9", runs).status == "not run"
    assert judge("P3-C9", runs, "chosen").status == "reproduced"
    assert "slsr 70.0 vs dense-slsr 60.0 R1" in judge("P3-C9", runs, dataset="cuhk03-like").reason
    elsewhere = {"msmt17-like": {"dense-slsr": {"R1": 70}, "slsr": {"R1": 60}}, "market-like": {"slsr": {"R1": 0}}}
    assert judge("P3-C9", elsewhere, dataset="msmt17-like").text.startswith(
        "not run: the claim says nothing of msmt17-like"
    )


def gains(cuhk03, market, base=50):
    def runs(gain):
        group = [base + g for g in gain] if isinstance(gain, list) else base + gain
        return {"slsr": {"R1": group}, "none": {"R1": [base] * 5 if isinstance(gain, list) else base}}

    return {"cuhk03-like": runs(cuhk03), "market-like": runs(market)}


@pytest.mark.parametrize(
    ("status", "cuhk03", "market"),
    [
        ("reproduced", 15, 2),
        ("weak", 7, 2),  # exactly five points
        ("reproduced", 7.1, 2),
        ("reproduced", 2, -4),
        ("inconclusive", 2, 2),
        ("contradicted", 2, 4),  # all seeds gain less, with a sd of 0
        ("weak", [30, 0, 30], [5, 5, 5]),  # two of three seeds
        ("reproduced", [15, 14, 16], [2, 1, 3, 90, 90]),  # the seeds that both sets have
        ("inconclusive", [15, 15], [2, 2]),
    ],
)
def test_c10_the_gain_is_larger_on_the_cuhk03_like_set(judge, status, cuhk03, market):
    verdict = judge("P3-C10", gains(cuhk03, market))
    assert verdict.status == status, verdict.text


def test_c10_says_the_gains_and_needs_both_sets(judge):
    assert judge("P3-C10", gains(15, 2)).text == (
        "reproduced: gain in R1 of slsr over none: cuhk03 15.0 vs market 2.0 (+13.0, sd 0.0, 3 of 3 seeds); "
        "asked for a gap above 5; n=3 (cuhk03-like, market-like, CPU)"
    )
    one = {"cuhk03-like": gains(15, 2)["cuhk03-like"]}
    assert judge("P3-C10", one).status == "not run"
    assert judge("P3-C10", one, "chosen").text.startswith("not run: it compares cuhk03-like with market-like")
    assert judge("P3-C10", gains(15, 2), dataset="market-like").status == "not run"


@pytest.mark.parametrize(
    ("status", "r1", "mAP"),
    [
        ("reproduced", 70, 75),  # R1 level
        ("reproduced", 60, 75),  # R1 behind
        ("weak", 70.5, 75),
        ("contradicted", 75, 75),  # R1 improves
        ("weak", 70, 70.5),
        ("inconclusive", 70, 70),
        ("contradicted", 70, 60),
        ("inconclusive", [70, 70], [75, 75]),  # two seeds
    ],
)
def test_c12_mAP_improves_and_R1_does_not(judge, status, r1, mAP):
    runs = {"slsr": {"R1": r1, "mAP_trap": mAP}, "none": {"R1": 70, "mAP_trap": 70}}
    verdict = judge("P3-C12", {"duke-like": runs})
    assert verdict.status == status, verdict.text


def test_c12_says_both_parts(judge):
    runs = {"slsr": {"R1": 75, "mAP_trap": 75}, "none": {"R1": 70, "mAP_trap": 70}}
    assert judge("P3-C12", {"duke-like": runs}).text == (
        "contradicted: duke: contradicted, no lead asked, slsr 75.0 vs none 70.0 R1 (+5.0, sd 1.0, 3 of 3 seeds); "
        "duke: reproduced, slsr 75.0 vs none 70.0 mAP_trap (+5.0, sd 1.0, 3 of 3 seeds); n=3 (duke-like, CPU)"
    )
    assert judge("P3-C12", {"duke-like": {arm: {"R1": 70} for arm in runs}}).status == "not run"


# ---------------------------------------------------------------- C13: the released code's target


@pytest.mark.parametrize(
    ("status", "released"),
    [
        ("reproduced", 70.9),
        ("reproduced", 69.1),
        ("contradicted", 71.2),
        ("contradicted", 68),
        ("reproduced", [66, 68, 71.1]),  # 1.6 behind with a sd of 1.9
        ("inconclusive", [75, 72, 70.9]),  # 2.6 ahead, but not in every seed
        ("inconclusive", [70, 70]),
    ],
)
def test_c13_within_one_standard_deviation(judge, status, released):
    verdict = judge("P3-C13", {"as-released": {"mAP_trap": released}, "slsr": {"mAP_trap": 70}})
    assert verdict.status == status, verdict.text
