import pytest

from reidlib.results import claims, tables

COUNTS = {"P0": 15, "P1": 10, "P2": 11, "P3": 13, "P4": 12}


def test_all_claims_are_there():
    assert [claim.id for claim in claims.load()] == [
        f"{paper}-C{number}" for paper, count in COUNTS.items() for number in range(1, count + 1)
    ]
    assert len(claims.load()) == 61
    assert len(claims.load("P3")) == 13
    for claim in claims.load():
        assert claim.sentence.endswith(".")
        assert claim.test
        assert claim.rule
        assert claim.settings
        assert claim.evidence or claim.evidence_note, claim.id


def test_every_number_cited_as_evidence_is_in_the_tables():
    keys = [key for claim in claims.load() for key in claim.evidence]
    assert len(keys) > 200
    for key in keys:
        assert key["table"].startswith("P")
        tables.lookup(**key)


def test_a_claim_cites_its_own_paper():
    for claim in claims.load():
        assert {key["table"].partition(".")[0] for key in claim.evidence} <= {claim.paper}


def test_evidence_is_looked_up():
    assert claims.evidence_text(claims.get("P1-C3")) == (
        "ResNet-50 + lossless triplet loss: R1 92.1, mAP 81.9 (Table 4.2, Market-1501); "
        "ResNet-50 + triplet loss: R1 86.6, mAP 75.9 (Table 4.2, Market-1501)"
    )
    assert claims.evidence_text(claims.get("P1-C7")) == "section 4.2.3"


def test_the_printed_margins_of_the_arithmetic_claims():
    ifd, ccfa = (
        [tables.lookup("P2.I", variant, dataset, "R1") for dataset in ("LTCC(CC)", "PRCC(CC)")]
        for variant in ("IFD", "CCFA")
    )
    assert [round(a - b, 1) for a, b in zip(ifd, ccfa, strict=True)] == [19.0, 4.1]
    l1 = tables.lookup("P4.5.3", "L1", "Market-1501", "FID")
    best = tables.lookup("P4.5.4", "L1 + RMSE", "Market-1501", "FID")
    assert round(100 * (l1 - best) / l1, 2) == 20.58


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown claim 'P1-C99'"):
        claims.get("P1-C99")
    with pytest.raises(ValueError, match="unknown settings 'mine'; one of paper, chosen"):
        claims.verdict("P1-C1", [], "mine")
    with pytest.raises(ValueError, match="no claims of paper 'P9'"):
        claims.table("P9", [])


def test_without_runs_claims_are_not_run():
    for paper in ("P0", "P3"):
        table = claims.table(paper, [])
        assert set(table["verdict"]) == {"not run"}
        assert set(table["verdict_chosen"]) == {"not run"}


def test_without_runs_each_claim_of_p1_is_not_run_but_one():
    table = claims.table("P1", []).set_index("id")
    assert table.loc["P1-C9", "verdict"] == "not testable here"
    assert set(table.drop("P1-C9")["verdict"]) == {"not run"}
    assert table.loc["P1-C1", "why"] == "no run of triplet@paper, mildnet@paper"
    assert table.loc["P1-C1", "why_chosen"] == "no run of triplet, mildnet"


@pytest.fixture
def judge(make):
    """judge(claim, {arm: [values of a metric or dict of metrics and extras, per seed]}) -> Verdict."""

    def judge(claim, arms, settings="paper"):
        suffix = "@paper" if settings == "paper" else ""
        records = []
        for arm, runs in arms.items():
            for seed, run in enumerate(runs):
                run = run if isinstance(run, dict) else {"mAP": run, "R1": run}
                metrics = {name: value for name, value in run.items() if name in ("mAP", "R1")}
                extra = {name: value for name, value in run.items() if name not in metrics}
                records.append(make(arm + suffix, seed, extra=extra, **metrics))
        return claims.verdict(claim, records, settings)

    return judge


HIGH, LOW = [60.0, 61.0, 62.0], [50.0, 51.0, 52.0]


@pytest.mark.parametrize(
    ("claim", "a", "b"),
    [("P1-C1", "triplet", "mildnet"), ("P1-C3", "lossless", "triplet"), ("P1-C10", "triplet", "triplet-any-positive")],
)
@pytest.mark.parametrize("settings", ["paper", "chosen"])
def test_orderings(judge, claim, a, b, settings):
    assert judge(claim, {a: HIGH, b: LOW}, settings).status == "reproduced"
    assert judge(claim, {a: LOW, b: HIGH}, settings).status == "contradicted"
    assert judge(claim, {a: HIGH, b: [59.9, 60.9, 61.9]}, settings).status == "weak"
    assert judge(claim, {a: LOW, b: [50.1, 51.1, 52.1]}, settings).status == "inconclusive"
    assert judge(claim, {a: HIGH[:2], b: LOW[:2]}, settings).status == "inconclusive"
    assert judge(claim, {a: HIGH}, settings).status == "not run"
    verdict = judge(claim, {a: HIGH, b: LOW}, settings)
    assert "n=3" in verdict.reason
    assert verdict.n == 3
    assert "market-like, CPU" in verdict.reason


def test_settings_are_not_mixed(make):
    records = [make("lossless@paper", s, mAP=HIGH[s], R1=HIGH[s]) for s in range(3)]
    records += [make("triplet@paper", s, mAP=LOW[s], R1=LOW[s]) for s in range(3)]
    records += [make("lossless", s, mAP=LOW[s], R1=LOW[s]) for s in range(3)]
    records += [make("triplet", s, mAP=HIGH[s], R1=HIGH[s]) for s in range(3)]
    row = claims.table("P1", records).set_index("id").loc["P1-C3"]
    assert (row["verdict"], row["n"]) == ("reproduced", 3)
    assert (row["verdict_chosen"], row["n_chosen"]) == ("contradicted", 3)


def test_another_experiments_runs_do_not_count(make):
    def runs(experiment):
        arms = {"lossless@paper": HIGH, "triplet@paper": LOW}
        return [
            make(arm, seed, experiment=experiment, mAP=value, R1=value)
            for arm, values in arms.items()
            for seed, value in enumerate(values)
        ]

    assert claims.verdict("P1-C3", runs("triplet")).status == "reproduced"
    assert claims.verdict("P1-C3", runs("samplers")).status == "not run"


def test_both_metrics_must_agree(judge):
    a = [{"mAP": 60.0 + s, "R1": 70.0 + s} for s in range(3)]
    b = [{"mAP": 50.0 + s, "R1": 69.9 + s} for s in range(3)]
    verdict = judge("P1-C1", {"triplet": a, "mildnet": b})
    assert verdict.status == "weak"
    assert "weak: triplet 71.0 against mildnet 70.9 R1" in verdict.reason
    assert "reproduced: triplet 61.0 against mildnet 51.0 mAP" in verdict.reason


def test_other_betas_are_quoted_and_decide_nothing(judge):
    verdict = judge("P1-C3", {"lossless": HIGH, "triplet": LOW, "lossless-beta8": [20.0, 21.0, 22.0]})
    assert verdict.status == "reproduced"
    assert "also contradicted: lossless-beta8 21.0 against triplet 51.0 mAP" in verdict.reason
    assert "beta128" not in verdict.reason


def looks(unique, shared):
    return [{"R1_unique_look": unique + s, "R1_shared_look": shared + s} for s in range(3)]


def test_c2_compares_the_fall_from_unique_to_shared_outfits(judge):
    assert judge("P1-C2", {"mildnet": looks(70, 40), "triplet": looks(90, 80)}).status == "reproduced"
    assert judge("P1-C2", {"mildnet": looks(70, 65), "triplet": looks(90, 60)}).status == "contradicted"
    verdict = judge("P1-C2", {"mildnet": looks(70, 40), "triplet": looks(90, 80)})
    assert "fall of mildnet 30.0 against fall of triplet 10.0" in verdict.reason
    assert judge("P1-C2", {"mildnet": HIGH, "triplet": HIGH}).status == "not run"


def c4(share, loss):
    return {
        "triplet": [{"zero_loss_share_half": share + 0.001 * s} for s in range(3)],
        "lossless": [{"final_train_loss": loss + 0.01 * s} for s in range(3)],
    }


def test_c4_needs_both_parts(judge):
    assert judge("P1-C4", c4(0.96, 0.9)).status == "reproduced"
    assert judge("P1-C4", c4(0.87, 0.9)).status == "contradicted"
    assert judge("P1-C4", c4(0.96, 0.1)).status == "contradicted"
    verdict = judge("P1-C4", c4(0.87, 0.9))
    assert "reproduced: final loss of lossless 0.91" in verdict.reason
    assert "+0.22 from the floor ln 2" in verdict.reason
    with pytest.raises(ValueError, match="must be a share from 0 to 1"):
        judge("P1-C4", c4(96.0, 0.9))


def test_c5_fewer_iterations_are_better(judge):
    fast, slow = ([{"steps_to_90": base + s} for s in range(3)] for base in (100, 200))
    assert judge("P1-C5", {"lossless": fast, "triplet": slow}).status == "reproduced"
    assert judge("P1-C5", {"lossless": slow, "triplet": fast}).status == "contradicted"
    never = [{"steps_to_90": None}] * 3
    assert judge("P1-C5", {"lossless": never, "triplet": fast}).status == "not run"


@pytest.mark.parametrize(
    ("offline", "status"),
    [
        ([60.0, 61.0, 62.0], "reproduced"),  # ahead
        ([48.0, 49.0, 50.0], "reproduced"),  # 2 behind
        ([45.0, 46.0, 47.0], "contradicted"),  # 5 behind in every seed
        ([30.0, 53.0, 54.0], "inconclusive"),  # 5.3 behind through one seed
    ],
)
def test_c6_allows_three_map(judge, offline, status):
    verdict = judge("P1-C6", {"lossless-offline2": offline, "lossless-batch-all": LOW})
    assert verdict.status == status, verdict.text
    assert "where up to 3 mAP behind is allowed" in verdict.reason


def test_c7_asks_for_ten_percent(judge):
    for share, status in ((0.2, "reproduced"), (0.05, "contradicted")):
        assert judge("P1-C7", {"triplet": [{"hard_share_first_epoch": share}] * 3}).status == status


def c8(none, some, every, spread=0.9):
    runs = {"lossless-hard00": none, "lossless-offline2": some, "lossless-hard100": every}
    result = {arm: [{"mAP": value + s, "embedding_spread": 1.0} for s in range(3)] for arm, value in runs.items()}
    for run in result["lossless-hard100"]:
        run["embedding_spread"] = spread
    return result


def test_c8_collapse_by_score_or_by_spread(judge):
    assert judge("P1-C8", c8(50, 55, 20)).status == "reproduced"
    assert judge("P1-C8", c8(60, 55, 20)).status == "weak"  # 100% hurts, but so does 30%
    assert judge("P1-C8", c8(50, 55, 54.9)).status == "weak"
    assert judge("P1-C8", c8(50, 55, 70)).status == "contradicted"
    assert judge("P1-C8", c8(50, 55, 70, spread=0.4)).status == "reproduced"
    verdict = judge("P1-C8", c8(50, 55, 20) | {"lossless-hard60": [40.0, 40.0, 40.0]})
    assert "lossless-hard00 51.0, lossless-hard60 40.0" in verdict.reason
    without = c8(50, 55, 20)
    del without["lossless-hard00"]
    assert judge("P1-C8", without).reason == "no run of lossless-hard00@paper"


def test_c9_is_not_testable(judge):
    assert judge("P1-C9", {"lossless": HIGH}).status == "not testable here"
