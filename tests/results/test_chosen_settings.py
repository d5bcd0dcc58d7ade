"""The settings in the grids are what the recorded validation runs chose, by no other rule than the best mean score."""

import itertools
import re

import numpy as np
import pytest

from reidlib import results
from reidlib.results import stored
from reidlib.results.runs import dataset_of
from reidlib.workflow import grid

TUNED = [name for name in grid.experiments() if grid.read(name).tune]
# By what a chapter chooses, and whether the highest (1) or the lowest (-1) mean is the best; the others by mAP.
CRITERIA = {"reconstruction": ("frechet", -1)}
BY_MAP = ("mAP", 1)


def tuning(experiment):
    return [r for r in results.load_all(stored.recorded_dir(experiment)) if str(r.arm).startswith("tune-")]


def places_of(read):
    """All (tune arm, data set, seed) that a grid asks for."""
    dataset = read.defaults.get("dataset")
    return {(run.arm, run.parameters.get("dataset", dataset), run.seed) for run in grid.expand(read, "tune")}


def own_settings(read, arm):
    return {**read.defaults, **read.common, **read.arms[arm]}


def held(entry, **stated):
    """A `tune` entry with only those of its combinations that have the stated values."""
    return {**entry, **{name: [tried for tried in entry[name] if tried == value] for name, value in stated.items()}}


def rates_at_the_stated_weight(clothing, records):
    """{arm: learning rate} of the best of the clothing grid's tune runs that have the paper's lambda."""
    tune = {arm: held(clothing.tune[arm], contrast_weight=1.0) for arm in ("cbd", "ifd-cl", "ifd")}
    return {arm: found["learning_rate"] for arm, found in chosen(tune, records, places_of(clothing)).items()}


def combinations(entry):
    """(end of the arm's name, settings) of every combination of the lists of a `tune` entry."""
    lists = {name: values for name, values in entry.items() if isinstance(values, list) and name != "for"}
    for values in itertools.product(*lists.values()):
        yield "-".join(map(str, values)), dict(zip(lists, values, strict=True))


def chosen(tune, records, places, criterion=BY_MAP):
    """{tuned arm: settings with the best mean over data sets of what a chapter chooses by, such as mAP}.

    places: all (tune arm, data set, seed) of a grid. criterion: (metric, sign), see CRITERIA.
    """
    metric, sign = criterion
    scores = {(r.arm, dataset_of(r), r.seed): sign * r.metrics[metric] for r in records}
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
    assert chosen(tune, records, places, ("mAP", -1)) == {"a": {"eps": 0.5}}
    with pytest.raises(AssertionError, match="no recorded run of"):
        chosen(tune, records[1:], places)


def test_the_reconstruction_chapter_chooses_the_lowest_frechet_distance(make):
    """Not the scale with the best mAP."""

    def runs(best):
        """Made runs of the whole of the grid's section, where `best` is the choice of each arm."""
        for run in grid.expand(chapter, "tune"):
            scale = run.parameters["recon_scale"]
            away = abs(np.log2(scale / best[re.match("tune-(.*)-[^-]+$", run.arm)[1]]))
            record = make(run.arm, run.seed, data={"dataset": run.parameters["dataset"]}, mAP=50 + away)
            record.metrics["frechet"] = 2 + away + run.seed
            yield record

    assert set(CRITERIA) <= set(TUNED)
    chapter = grid.read("reconstruction")
    places = places_of(chapter)
    for number in (0, -1):
        best = {arm: entry["recon_scale"][number] for arm, entry in chapter.tune.items()}
        assert set(best) >= {"l1", "l1+rmse"}
        records = list(runs(best))
        found = chosen(chapter.tune, records, places, CRITERIA["reconstruction"])
        assert found == {arm: {"recon_scale": scale} for arm, scale in best.items()}
        by_map = chosen(chapter.tune, records, places)
        assert all(by_map[arm] != found[arm] for arm in best)
    with pytest.raises(AssertionError, match="no recorded run of"):
        chosen(chapter.tune, records[1:], places, CRITERIA["reconstruction"])


@pytest.mark.parametrize("experiment", TUNED)
def test_arms_have_the_settings_with_the_best_validation_score(experiment):
    read, records = grid.read(experiment), tuning(experiment)
    assert {r.parameters["evaluate_on"] for r in records} <= {"validation"}
    choices = chosen(read.tune, records, places_of(read), CRITERIA.get(experiment, BY_MAP))
    for arm, tuned in grid.takers(read).items():
        own = own_settings(read, arm)
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


def test_learning_rates_at_the_stated_weight_are_the_best_there():
    clothing = grid.read("clothing")
    rates = rates_at_the_stated_weight(clothing, tuning("clothing"))
    stated = {arm: own_settings(clothing, f"{arm}@paper") for arm in rates}
    assert {arm: own["learning_rate"] for arm, own in stated.items()} == rates
    assert {own["contrast_weight"] for own in stated.values()} == {1.0}


def test_variants_at_the_stated_weight_have_the_rate_of_the_arm_that_they_vary():
    clothing = grid.read("clothing")
    tuned = {f"{arm}@paper" for arm in clothing.tune}
    variants = {arm for arm in clothing.arms if re.fullmatch("ifd-.*@paper", arm)} - tuned
    assert {"ifd-t1@paper", "ifd-pk@paper", "ifd-ras@paper", "ifd-t1-heavier@paper"} <= variants
    rate = own_settings(clothing, "ifd@paper")["learning_rate"]
    assert {arm: own_settings(clothing, arm)["learning_rate"] for arm in variants} == dict.fromkeys(variants, rate)
    of_paper = {arm for arm in clothing.arms if arm.endswith("@paper")}
    assert of_paper == variants | (tuned & of_paper) | (set(grid.takers(clothing)) & of_paper)  # none is forgotten


def test_the_rate_at_the_stated_weight_is_chosen_among_runs_with_that_weight(make):
    clothing = grid.read("clothing")
    best = {"cbd": 3.0e-3, "ifd-cl": 1.0e-2, "ifd": 1.0e-3}

    def score(run):
        """Best of all at another weight and rate; at the stated weight the mean over sets and seeds decides."""
        place, parameters = 10 * (run.parameters["dataset"] == "prcc-like") + run.seed, run.parameters
        rate, arm = parameters["learning_rate"], re.match("tune-(.*)-[^-]+-[^-]+$", run.arm)[1]
        if parameters["contrast_weight"] != 1.0:
            return 90.0 - (rate == best[arm])
        return 60.0 + place if rate == best[arm] else 50.0 + 2 * place  # ahead on one set with the other rates

    runs = [run for run in grid.expand(clothing, "tune") if re.match("tune-(cbd|ifd-cl|ifd)-[^a-z]", run.arm)]
    assert len(runs) == 3 * 6 * 4
    records = [make(run.arm, run.seed, data={"dataset": run.parameters["dataset"]}, mAP=score(run)) for run in runs]
    assert rates_at_the_stated_weight(clothing, records) == best
    with pytest.raises(AssertionError, match="no recorded run of"):
        rates_at_the_stated_weight(clothing, [r for r in records if r.arm != "tune-ifd-0.01-1.0"])
    with pytest.raises(AssertionError, match="no recorded run of"):
        rates_at_the_stated_weight(clothing, [r for r in records if (r.arm, r.seed) != ("tune-cbd-0.001-1.0", 1)])
    with pytest.raises(AssertionError, match="no recorded run of"):
        rates_at_the_stated_weight(clothing, [])
