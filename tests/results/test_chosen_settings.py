"""The settings in the grid are what the recorded validation runs chose, by no other rule than the best mAP."""

import re

from reidlib import results
from reidlib.results import stored
from reidlib.workflow import grid


def test_arms_have_the_settings_with_the_best_validation_map():
    triplet = grid.read("triplet")
    records = [r for r in results.load_all(stored.recorded_dir("triplet")) if str(r.arm).startswith("tune-")]
    assert {r.parameters["evaluate_on"] for r in records} == {"validation"}
    for arm, choices in triplet.tune.items():
        lists = {name: values for name, values in choices.items() if isinstance(values, list)}
        tried = [r for r in records if re.fullmatch(rf"tune-{re.escape(arm)}(-[\d.e-]+)+", r.arm)]
        count = 1
        for values in lists.values():
            count *= len(values)
        assert len(tried) == count, arm
        best = max(tried, key=lambda r: r.metrics["mAP"])
        for name in lists:
            assert triplet.arms[arm][name] == best.parameters[name], (arm, name)


def test_no_arm_was_chosen_on_test_queries():
    triplet = grid.read("triplet")
    for run in grid.expand(triplet, "tune"):
        assert run.parameters["evaluate_on"] == "validation"
    for run in grid.expand(triplet, "full"):
        assert run.parameters.get("evaluate_on", triplet.defaults["evaluate_on"]) == "test"


def test_margins_at_the_stated_learning_rate_are_the_best_there():
    triplet = grid.read("triplet")
    records = results.load_all(stored.recorded_dir("triplet"))
    for arm in ("triplet", "mildnet"):
        stated = triplet.arms[f"{arm}@paper"]
        tried = [r for r in records if re.fullmatch(rf"tune-{arm}(-[\d.e-]+)+", str(r.arm))]
        tried = [r for r in tried if r.parameters["learning_rate"] == stated["learning_rate"]]
        assert len(tried) == 3
        assert max(tried, key=lambda r: r.metrics["mAP"]).parameters["margin"] == stated["margin"]
