"""The settings in the grids are what the recorded validation runs chose, by no other rule than the best mean mAP."""

import itertools
import re

import numpy as np
import pytest

from reidlib import results
from reidlib.results import stored
from reidlib.results.runs import dataset_of
from reidlib.workflow import grid

TUNED = [name for name in grid.experiments() if grid.read(name).tune]


def tuning(experiment):
    return [r for r in results.load_all(stored.recorded_dir(experiment)) if str(r.arm).startswith("tune-")]


def combinations(entry):
    """(end of the arm's name, settings) of every combination of the lists of a `tune` entry."""
    lists = {name: values for name, values in entry.items() if isinstance(values, list) and name != "for"}
    for values in itertools.product(*lists.values()):
        yield "-".join(map(str, values)), dict(zip(lists, values, strict=True))


def chosen(tune, records, places):
    """{tuned arm: settings with the best mean mAP over data sets}; places: all (tune arm, data set, seed) of a grid."""
    scores = {(r.arm, dataset_of(r), r.seed): r.metrics["mAP"] for r in records}
    found = {}
    for arm, entry in tune.items():
        means = []
        for end, settings in combinations(entry):
            wanted = [place for place in places if place[0] == f"tune-{arm}-{end}"]
            assert wanted, f"{arm} {end} is not run"
            missing = [place for place in wanted if place not in scores]
            assert not missing, f"no recorded run of {missing}"
            means.append((np.mean([scores[place] for place in wanted]), settings))
        found[arm] = max(means, key=lambda pair: pair[0])[1]
    return found


def test_the_choice_is_the_best_mean_over_data_sets(make):
    def run(value, dataset, score):
        return make(f"tune-a-{value}", data={"dataset": dataset}, mAP=score)

    tune = {"a": {"eps": [0.5, 0.6], "for": ["b"]}}
    records = [run(0.5, "m", 90.0), run(0.5, "d", 10.0), run(0.6, "m", 60.0), run(0.6, "d", 50.0)]
    places = {(r.arm, dataset_of(r), 0) for r in records}
    assert chosen(tune, records, places) == {"a": {"eps": 0.6}}
    assert chosen(tune, records, {place for place in places if place[1] == "m"}) == {"a": {"eps": 0.5}}
    with pytest.raises(AssertionError, match="no recorded run of"):
        chosen(tune, records[1:], places)


@pytest.mark.parametrize("experiment", TUNED)
def test_arms_have_the_settings_with_the_best_validation_map(experiment):
    read, records = grid.read(experiment), tuning(experiment)
    assert {r.parameters["evaluate_on"] for r in records} <= {"validation"}
    places = {
        (run.arm, run.parameters.get("dataset", read.defaults.get("dataset")), run.seed)
        for run in grid.expand(read, "tune")
    }
    choices = chosen(read.tune, records, places)
    for arm, tuned in grid.takers(read).items():
        own = {**read.defaults, **read.common, **read.arms[arm]}
        assert {name: own[name] for name in choices[tuned]} == choices[tuned], (arm, tuned)


@pytest.mark.parametrize("experiment", TUNED)
def test_no_arm_was_chosen_on_test_queries(experiment):
    read = grid.read(experiment)
    for run in grid.expand(read, "tune"):
        assert run.parameters["evaluate_on"] == "validation"
    for run in grid.expand(read, "full"):
        assert run.parameters.get("evaluate_on", read.defaults["evaluate_on"]) == "test"


def test_the_triplet_chapter_is_among_those():
    assert "triplet" in TUNED


def test_margins_at_the_stated_learning_rate_are_the_best_there():
    triplet = grid.read("triplet")
    for arm in ("triplet", "mildnet"):
        stated = triplet.arms[f"{arm}@paper"]
        tried = [r for r in tuning("triplet") if re.fullmatch(rf"tune-{arm}(-[\d.e-]+)+", str(r.arm))]
        tried = [r for r in tried if r.parameters["learning_rate"] == stated["learning_rate"]]
        assert len(tried) == 3
        assert max(tried, key=lambda r: r.metrics["mAP"]).parameters["margin"] == stated["margin"]
