import pytest

from reidlib.results.runs import by_seed, choose_set, dataset_of, run_sets


def test_runs_of_different_data_device_or_scale_are_kept_apart(make):
    parameters = {"images_seen": 100}
    records = [
        make(seed=0),
        make(seed=1, machine="another CPU"),
        make(seed=0, data={"dataset": "market-like", "fingerprint": "other size"}),
        make(seed=0, device="cuda", machine="NVIDIA H100"),
        make(seed=0, parameters=parameters),
    ]
    sets = run_sets(records)
    assert [len(s.records) for s in sets] == [2, 1, 1, 1]
    assert [s.name for s in sets] == [
        "market-like, CPU, images_seen 350",
        "market-like, CPU, images_seen 350",
        "market-like, NVIDIA H100, images_seen 350",
        "market-like, CPU, images_seen 100",
    ]


def test_the_newest_of_two_runs_of_an_arm_and_seed_counts(make):
    old, new = make(mAP=1.0, created="2026-01-01"), make(mAP=2.0, created="2026-02-01")
    for order in ([old, new], [new, old]):
        assert by_seed(choose_set(order, ["triplet"]).records, "triplet", "mAP") == {0: 2.0}


def test_a_set_with_all_arms_goes_before_a_larger_one(make):
    short = {"images_seen": 100}
    larger = [make("triplet", seed, mAP=1.0) for seed in range(9)]
    complete = [make(arm, seed, mAP=2.0, parameters=short) for arm in ("triplet", "lossless") for seed in range(3)]
    chosen = choose_set(larger + complete, ["triplet", "lossless"])
    assert chosen.name == "market-like, CPU, images_seen 100"
    assert choose_set(larger + complete, ["triplet"]).name == "market-like, CPU, images_seen 350"


def test_then_the_set_with_most_common_seeds(make):
    short = {"images_seen": 100}
    apart = [make("triplet", seed) for seed in (0, 1, 2)] + [make("lossless", seed) for seed in (2, 3, 4)]
    paired = [make(arm, seed, parameters=short) for arm in ("triplet", "lossless") for seed in (0, 1)]
    assert choose_set(apart + paired, ["triplet", "lossless"]).name == "market-like, CPU, images_seen 100"


def test_a_data_set_can_be_asked_for(make):
    records = [make(seed=s) for s in range(3)] + [make(data={"dataset": "market1501", "fingerprint": "m"})]
    assert choose_set(records, ["triplet"], "market1501").name.startswith("market1501, CPU")
    assert choose_set(records, ["triplet"], "viper").records == ()
    assert choose_set(records, ["no such arm"]).records == ()
    assert choose_set([], ["triplet"]).name == "no runs"


def test_values_come_from_metrics_then_extra(make):
    records = [
        make(seed=0, mAP=5.0, extra={"mAP": 7.0, "share": 0.5}),
        make(seed=1, extra={"share": None}),
        make("lossless", 0, mAP=9.0),
    ]
    assert by_seed(records, "triplet", "mAP") == {0: 5.0}
    assert by_seed(records, "triplet", "share") == {0: 0.5}


def on(dataset):
    return {"dataset": dataset, "fingerprint": dataset}


def test_runs_of_an_arm_and_seed_on_two_data_sets_are_two_runs(make):
    records = [make(mAP=5.0, data=on("market-like")), make(mAP=6.0, data=on("duke-like"))]
    assert [s.name for s in run_sets(records)] == ["market-like, CPU", "duke-like, CPU"]
    assert by_seed(records, "triplet", "mAP", dataset="duke-like") == {0: 6.0}
    with pytest.raises(ValueError, match="arm 'triplet' has runs on duke-like, market-like; pass dataset="):
        by_seed(records, "triplet", "mAP")


def test_the_data_set_of_a_record_without_data_is_its_parameter(make):
    record = make(data={}, parameters={"dataset": "duke-like"})
    assert dataset_of(record) == "duke-like"
    assert choose_set([record], ["triplet"], "duke-like").records == (record,)
