"""The rules of the chapter on samplers, each on made-up runs that it must pass, fail or leave open."""

import pytest

from reidlib.results import claims
from reidlib.results.claims import p0, p0_cause, p1
from reidlib.workflow import grid

SETS = ("market-like", "duke-like", "msmt17-like")
KS = (1, 2, 4, 8, 16, 32)
# mAP by K as the paper has it in kind: a peak inside, a collapse at 32
CLUSTER = dict(zip(KS, (36, 48, 78, 82, 45, 1), strict=True))
PROXY = dict(zip(KS, (65, 76, 81, 83, 56, 2), strict=True))
GROUP = dict(zip(KS, (11, 37, 41, 77, 76, 73), strict=True))


def arms(cluster=CLUSTER, proxy=PROXY, group=GROUP, **others):
    """{arm: mAP} of three curves, of random and of cap."""
    curves = {"cluster-k": cluster, "proxy-k": proxy, "group-n": group}
    found = {f"{kind}{k}": value for kind, curve in curves.items() for k, value in curve.items()}
    return {**found, "random": 11, "cap": 70} | {name.replace("_", "-"): value for name, value in others.items()}


@pytest.fixture
def judge(make):
    """judge(claim, {arm: mAP or dict} for all data sets, or {dataset: {arm: ...}}) -> Verdict; seeds 1 mAP apart."""

    def records(runs, suffix, seeds):
        for dataset, found in runs.items():
            data = {"dataset": dataset, "fingerprint": dataset}
            for arm, run in found.items():
                run = run if isinstance(run, dict) else {"mAP": run}
                name = arm if "@" in arm else arm + suffix
                for seed in range(seeds):
                    values = {key: v if key == "coverage" else v + seed - 1 for key, v in run.items()}
                    metrics = {key: values.pop(key) for key in ("mAP",) if key in values}
                    yield make(name, seed, experiment="samplers", extra=values, data=data, **metrics)

    def judge(claim, runs, settings="paper", seeds=3, dataset=None):
        runs = runs if set(runs) & set(SETS) else dict.fromkeys(SETS, runs)
        suffix = "@paper" if settings == "paper" else ""
        return claims.verdict(claim, list(records(runs, suffix, seeds)), settings, dataset)

    return judge


def test_every_claim_has_a_rule_and_arms():
    assert list(p0.RULES) == [claim.id for claim in claims.load("P0")]
    for claim in claims.load("P0"):
        assert p0.arms(claim.compare, optional=False), claim.id
        assert set(claim.compare["datasets"]) <= set(SETS)


@pytest.mark.parametrize("experiment", ["samplers", "triplet"])
def test_every_arm_of_a_claim_is_in_the_grid_at_both_settings(experiment):
    paper, module = {"samplers": ("P0", p0), "triplet": ("P1", p1)}[experiment]
    known = grid.read(experiment).arms
    for claim in claims.load(paper):
        for arm in module.arms(claim.compare):
            assert arm in known, (claim.id, arm)
            assert f"{arm}@paper" in known or paper == "P1", (claim.id, arm)


def test_without_runs_a_claim_names_few_of_the_missing_arms(judge):
    table = claims.table("P0", []).set_index("id")
    assert set(table["verdict"]) == set(table["verdict_chosen"]) == {"not run"}
    assert table.loc["P0-C13", "why"] == "no run of group-n1@paper on market-like and 5 more"
    assert table.loc["P0-C13", "why_chosen"] == "no run of group-n1 on market-like and 5 more"
    runs = {dataset: arms() for dataset in SETS}
    del runs["duke-like"]["random"]
    assert judge("P0-C13", runs).text == "not run: no run of random@paper on duke-like"


def test_a_second_verdict_may_be_of_fewer_data_sets_and_says_so(judge):
    runs = {"market-like": arms(), "duke-like": {"random": 11}, "msmt17-like": {}}
    assert judge("P0-C1", runs).status == "not run"
    second = judge("P0-C1", runs, "chosen")
    assert second.status == "reproduced"
    assert "duke" not in second.reason
    assert second.reason.endswith("(market-like, CPU)")


def test_k_of_12_may_lack_but_counts_when_it_is_there(judge):
    assert judge("P0-C1", arms()).status == "reproduced"
    verdict = judge("P0-C1", arms(cluster=CLUSTER | {12: 90}))
    assert "market: cluster-k12 90.0 vs random 11.0 (+79.0" in verdict.reason
    assert judge("P0-C5", arms()).reason == "no run of cluster-k12@paper on market-like, proxy-k12@paper on market-like"


def test_settings_and_experiments_are_not_mixed(judge, make):
    assert judge("P0-C1", arms(), "chosen").status == "reproduced"
    records = [make("random@paper", s, mAP=1.0) for s in range(3)]
    assert claims.verdict("P0-C13", records).status == "not run"


def test_a_reason_names_its_runs_and_seeds(judge):
    verdict = judge("P0-C13", arms())
    assert verdict.reason == (
        "market: group-n1 11.0 vs random 11.0 (+0.0, sd 1.0, 0 of 3 seeds); "
        "duke: group-n1 11.0 vs random 11.0 (+0.0, sd 1.0, 0 of 3 seeds); "
        "msmt17: group-n1 11.0 vs random 11.0 (+0.0, sd 1.0, 0 of 3 seeds); "
        "up to 2 sd allowed; n=3 (market-like, duke-like, msmt17-like, CPU)"
    )
    assert verdict.n == 3


def test_one_data_set_can_be_asked_for(judge):
    runs = {"market-like": arms()}
    assert judge("P0-C1", runs).reason.startswith("no run of cluster-k1@paper on duke-like and ")
    assert judge("P0-C1", runs, dataset="market-like").status == "reproduced"
    assert judge("P0-C7", runs, dataset="market-like").status == "not run"
    assert judge("P0-C9", {"viper-like": arms(), "market-like": {}}, dataset="viper-like").reason.startswith(
        "the claim says nothing of viper-like"
    )


@pytest.mark.parametrize("claim", [f"P0-C{number}" for number in range(1, 16)])
def test_two_seeds_are_not_enough(judge, claim):
    found = {name: {"mAP": value} for name, value in arms(CLUSTER | {12: 80}, PROXY | {12: 80}).items()} | mechanism()
    for number, run in enumerate(found.values()):
        run |= {"mAP_start": 30, "mAP_chance": 2, "coverage": number / 100}
    verdict = judge(claim, found, seeds=2)
    assert verdict.status == "inconclusive", verdict.text
    assert verdict.n == 2
    assert "seeds are needed" in verdict.reason or "where 3 are needed" in verdict.reason


def test_c1_asks_for_20_map_on_every_set(judge):
    assert judge("P0-C1", arms()).status == "reproduced"
    runs = {dataset: arms() for dataset in SETS}
    runs["duke-like"] = arms(random=70)
    verdict = judge("P0-C1", runs)
    assert verdict.status == "weak"
    assert "market: reproduced, proxy-k8 83.0 vs random 11.0" in verdict.reason
    assert "duke: weak, proxy-k8 83.0 vs random 70.0" in verdict.reason
    assert "asked for a gap above 20; best by test mAP" in verdict.reason
    assert judge("P0-C1", arms(random=90)).status == "contradicted"


def test_c2_every_curve_peaks_inside(judge):
    verdict = judge("P0-C2", arms())
    assert verdict.status == "reproduced"
    assert "msmt17 proxy: K=8 83.0, ends K=1 65.0 and K=32 2.0" in verdict.reason
    runs = {dataset: arms() for dataset in SETS}
    runs["duke-like"] = arms(proxy=PROXY | {1: 90})
    assert judge("P0-C2", runs).status == "contradicted"
    assert "duke proxy: contradicted, ends K=1 90.0 and K=32 2.0" in judge("P0-C2", runs).reason
    runs["duke-like"] = arms(proxy=PROXY | {1: 82.5})
    assert judge("P0-C2", runs).status == "weak"


def started(cluster=1, proxy=2, best=83):
    return {
        "cluster-k32": {"mAP": cluster, "mAP_start": 30, "mAP_chance": 1.5},
        "proxy-k32": {"mAP": proxy, "mAP_start": 30, "mAP_chance": 1.5},
        "group-n8": best,
    }


def test_c3_falls_below_the_warm_start_and_half_of_the_best(judge):
    verdict = judge("P0-C3", started())
    assert verdict.status == "reproduced"
    assert "market cluster-k32: from 30.0 to 1.0 (sd 1.0, best 83.0, chance 1.5)" in verdict.reason
    assert judge("P0-C3", started(proxy=40)).status == "contradicted"
    assert judge("P0-C3", started(best=30)).status == "reproduced"
    assert judge("P0-C3", started(cluster=20, best=30)).status == "weak"
    assert judge("P0-C3", {"cluster-k32": 1, "proxy-k32": 1}).status == "not run"  # no mAP_start
    assert judge("P0-C3", {"group-n8": 80}).status == "not run"


def mechanism(fits=5, frozen=60, fits_frozen=60, b128=None, fits_b128=None, collapsed=5):
    """Arms of the crossed test; the warm start scores 30, the best arm 80."""
    scores = {"": collapsed, "-fits": fits, "-frozen": frozen, "-fits-frozen": fits_frozen}
    scores |= {"-b128": b128, "-fits-b128": fits_b128}
    found = {f"cluster-k32{end}": {"mAP": v, "mAP_start": 30} for end, v in scores.items() if v is not None}
    return found | {"cluster-k8": {"mAP": 80}}


@pytest.mark.parametrize(
    ("status", "says", "changes"),
    [
        ("contradicted", "one-class batches are the cause", {}),
        ("contradicted", "one-class batches are the cause", {"frozen": 5, "fits_frozen": 5, "b128": 70}),
        ("reproduced", "the budget is the cause", {"fits": 60, "frozen": 5}),
        ("weak", "removing either is enough", {"fits": 60}),
        ("inconclusive", "both must go", {"frozen": 5}),
        ("inconclusive", "neither explains", {"frozen": 5, "fits_frozen": 5}),
        ("inconclusive", "neither explains", {"fits": 29.5}),  # no longer a collapse by the rule, and no cure
        ("inconclusive", "no collapse to explain", {"collapsed": 50}),
        ("inconclusive", "neither explains", {"frozen": 28, "fits_frozen": 5}),  # better, but still a collapse
    ],
)
def test_c4_what_the_crossed_test_says(judge, status, says, changes):
    runs = {"market-like": mechanism(**changes)}
    if changes.get("fits") == 29.5:
        runs["market-like"]["cluster-k32-fits"] = {"mAP": 29.5, "mAP_start": 30}
        runs["market-like"]["cluster-k32"] = {"mAP": 28.8, "mAP_start": 30}
    verdict = judge("P0-C4", runs)
    assert verdict.status == status, verdict.text
    assert says in verdict.reason


def test_c4_quotes_its_arms(judge):
    found = mechanism(b128=50, fits_b128=55)
    found["cluster-k32"] |= {"coverage": 0.4, "mAP_recalibrated": 44}
    found["cluster-k32-fits"] |= {"coverage": 0.98}
    verdict = judge("P0-C4", {"market-like": found})
    assert verdict.reason == (
        "market: one-class batches are the cause, not the budget (cluster-k32 from 30.0 to 5.0 stays, "
        "cluster-k32-fits 5.0 stays, cluster-k32-frozen 60.0 vanishes, cluster-k32-fits-frozen 60.0 vanishes, "
        "cluster-k32-b128 50.0 vanishes, cluster-k32-fits-b128 55.0 vanishes, "
        "classes visited 0.40, 0.98 if the list fits, 44.0 with batch statistics re-estimated); n=3 (market-like, CPU)"
    )
    found["cluster-k32-context"] = {"mAP": 6, "mAP_start": 30}
    verdict = judge("P0-C4", {"market-like": found})
    assert verdict.status == "contradicted"
    assert "also cluster-k32-context 6.0 stays, classes" in verdict.reason
    del found["cluster-k32-fits-frozen"]
    assert judge("P0-C4", {"market-like": found}).text == (
        "not run: no run of cluster-k32-fits-frozen@paper on market-like"
    )


def test_the_states_of_a_collapse():
    start, best, collapsed = ({s: mean + s for s in range(3)} for mean in (30, 80, 5))
    for mean, state in ((5, p0_cause.STAYS), (28, p0_cause.STAYS), (60, p0_cause.VANISHES)):
        assert p0_cause.state({s: mean + s for s in range(3)}, start, best, collapsed) == state
    assert p0_cause.state({0: 60}, start, best, collapsed) == p0_cause.UNCLEAR


def test_c5_is_decided_on_one_set_and_quotes_others(judge):
    twelve = arms(CLUSTER | {12: 80}, PROXY | {12: 80})
    verdict = judge("P0-C5", {"market-like": twelve, "duke-like": arms(CLUSTER | {12: 20})})
    assert verdict.status == "reproduced"
    assert "also duke contradicted, cluster-k12 20.0 vs cluster-k16 45.0" in verdict.reason
    assert "duke proxy" not in verdict.reason
    assert judge("P0-C5", {"market-like": arms(CLUSTER | {12: 30}, PROXY | {12: 80})}).status == "contradicted"


def test_c6_at_both_small_k_and_on_all_sets(judge):
    verdict = judge("P0-C6", arms())
    assert verdict.status == "reproduced"
    assert "market: proxy-k1 65.0 vs cluster-k1 36.0 (+29.0, sd 1.0, 3 of 3 seeds)" in verdict.reason
    runs = {dataset: arms() for dataset in SETS} | {"msmt17-like": arms(proxy=PROXY | {2: 40})}
    assert judge("P0-C6", runs).status == "contradicted"
    assert judge("P0-C6", {name: runs[name] for name in SETS[:2]}).status == "not run"


@pytest.mark.parametrize(
    ("status", "msmt17", "text"),
    [
        ("reproduced", {"proxy": PROXY | {4: 90}}, "msmt17: best K cluster 8, proxy 4; market: best K cluster 8"),
        ("inconclusive", {"proxy": PROXY | {4: 82.5}}, "proxy 8; market"),  # 8 is best, but 4 within one sd
        ("contradicted", {}, "msmt17: best K cluster 8, proxy 8"),  # 8 clearly best for both
        ("contradicted", {"proxy": PROXY | {4: 90}, "cluster": CLUSTER | {16: 95}}, "best K cluster 16, proxy 4"),
    ],
)
def test_c7_best_k_is_smaller_with_many_cameras(judge, status, msmt17, text):
    verdict = judge("P0-C7", {"market-like": arms(), "msmt17-like": arms(**msmt17)})
    assert verdict.status == status, verdict.text
    assert text in verdict.reason


def test_c7_is_not_contradicted_where_no_k_could_have_agreed(judge):
    smallest = arms(cluster=CLUSTER | {1: 82.01})  # proxy labels cannot have a smaller best K than 1
    assert judge("P0-C7", {"market-like": arms(), "msmt17-like": smallest}).status == "inconclusive"


def test_c8_passes_only_by_a_clear_pattern(judge):
    ahead, behind = arms(proxy=PROXY | {8: 90}), arms(proxy=PROXY | {8: 70, 4: 70, 2: 70})
    level = arms(proxy=PROXY | {8: 82.5})
    verdict = judge("P0-C8", dict(zip(SETS, (ahead, behind, level), strict=True)))
    assert verdict.status == "reproduced"
    assert verdict.reason.startswith(
        "clearly ahead: market proxy, duke cluster, msmt17 neither (market: cluster-k8 82.0"
    )
    assert judge("P0-C8", dict(zip(SETS, (ahead, level, level), strict=True))).status == "inconclusive"
    assert judge("P0-C8", dict(zip(SETS, (ahead, ahead, level), strict=True))).status == "inconclusive"
    assert judge("P0-C8", ahead).status == "contradicted"
    assert judge("P0-C8", level).status == "inconclusive"
    assert judge("P0-C8", {"market-like": ahead}).status == "not run"


def test_c9_wants_each_sign(judge):
    many = arms(group=GROUP | {8: 90})
    runs = {dataset: arms() for dataset in SETS} | {"msmt17-like": many}
    verdict = judge("P0-C9", runs)
    assert verdict.status == "reproduced"
    assert "msmt17: group-n8 90.0 vs proxy-k8 83.0" in verdict.reason
    assert "market: proxy-k8 83.0 vs group-n8 77.0" in verdict.reason
    assert "of up to 14 triplet and 7 group settings" in verdict.reason
    assert judge("P0-C9", arms()).status == "contradicted"
    assert judge("P0-C9", many).status == "contradicted"


def test_c10_the_best_small_group_against_the_best_larger_one(judge):
    assert judge("P0-C10", arms()).status == "reproduced"
    assert "group-n8 77.0 vs group-n4 41.0" in judge("P0-C10", arms()).reason
    assert judge("P0-C10", arms(group=GROUP | {2: 80})).status == "contradicted"
    assert judge("P0-C10", arms(group=GROUP | {2: 76.8})).status == "weak"
    assert judge("P0-C10", {"group-n1": 5}).status == "not run"


def test_c11_asks_for_20_map_over_the_better_of_two(judge):
    verdict = judge("P0-C11", arms())
    assert verdict.status == "reproduced"
    assert "group-n32 73.0 vs proxy-k32 2.0" in verdict.reason
    assert judge("P0-C11", arms(cluster=CLUSTER | {32: 60})).status == "weak"
    assert judge("P0-C11", arms(group=GROUP | {32: 0})).status == "contradicted"
    assert judge("P0-C11", {"group-n32": 70, "cluster-k32": 5}).status == "not run"


def test_c12_compares_ranges(judge):
    verdict = judge("P0-C12", arms())
    assert verdict.status == "reproduced"
    assert "market: group 4.0 vs triplet 81.0" in verdict.reason
    flat = arms(cluster=dict.fromkeys(KS, 50))
    assert judge("P0-C12", flat).status == "contradicted"
    runs = arms(cluster=CLUSTER | {12: 200})
    assert "triplet 81.0" in judge("P0-C12", runs).reason  # 12 counts only if both have it
    del runs["group-n16"]
    assert judge("P0-C12", runs).status == "not run"


def test_c13_within_two_standard_deviations(judge):
    assert judge("P0-C13", arms(random=12.9)).status == "reproduced"
    assert judge("P0-C13", arms(random=14)).status == "contradicted"
    assert judge("P0-C13", {"random": 5}).status == "not run"


@pytest.mark.parametrize("settings", ["paper", "chosen"])
def test_c14_asks_for_more_than_cap_at_the_same_settings(judge, settings):
    runs = arms()
    verdict = judge("P0-C14", runs, settings)
    assert verdict.status == "reproduced"
    assert "market: proxy-k8 83.0 vs cap 70.0" in verdict.reason
    assert "also market reproduced, proxy-k4 81.0 vs cap 70.0" in verdict.reason
    assert judge("P0-C14", arms(cap=90), settings).status == "contradicted"
    del runs["cap"]
    lacking = "cap@paper" if settings == "paper" else "cap"
    assert judge("P0-C14", runs, settings).reason == (
        f"no run of {lacking} on market-like, {lacking} on duke-like, {lacking} on msmt17-like"
    )


def covered(shares):
    """K of 8, 16 and 32 for both labels with these shares of classes visited; mAP falls with K."""
    runs = {}
    for kind, curve in (("cluster-k", CLUSTER), ("proxy-k", PROXY)):
        runs |= {
            f"{kind}{k}": {"mAP": curve[k], "coverage": share} for k, share in zip((8, 16, 32), shares, strict=True)
        }
    return runs


@pytest.mark.parametrize(
    ("status", "shares", "text"),
    [
        ("reproduced", (1.0, 0.5, 0.2), "correlation +0.96 over 6 arms (0.20 to 1.00 of the classes visited)"),
        ("contradicted", (0.2, 0.5, 1.0), "correlation -0.96"),
        ("weak", (0.5, 1.0, 0.2), "correlation +0.48"),
        ("inconclusive", (0.5, 0.2, 1.0), "correlation -0.48"),
        ("inconclusive", (1.0, 1.0, 1.0), "nothing to correlate"),
    ],
)
def test_c15_rank_correlation_over_large_k(judge, status, shares, text):
    verdict = judge("P0-C15", covered(shares))
    assert verdict.status == status, verdict.text
    assert text in verdict.reason
    assert judge("P0-C15", {arm: run["mAP"] for arm, run in covered(shares).items()}).status == "not run"
