import json

import numpy as np
import pandas as pd
import pytest
import torch

from reidlib.retrieval import Protocol, evaluate
from reidlib.retrieval.clothing import SameClothes
from reidlib.retrieval.single_shot import single_shot, single_shot_distances


def frame(pids, camids):
    return pd.DataFrame({"pid": np.asarray(pids, np.int64), "camid": np.asarray(camids, np.int64)})


def line(*places):
    """Features on a line, so that distances are squared differences."""
    return torch.tensor(places, dtype=torch.float64)[:, None]


def random_case(seed, people=6):
    rng = np.random.default_rng(seed)
    gallery = frame(rng.integers(-1, people, 60), rng.integers(0, 2, 60))
    query = frame(rng.integers(1, people, 9), rng.integers(0, 2, 9))
    dtype = np.int64 if seed % 2 else np.float64
    features = [
        torch.from_numpy((3 * rng.normal(size=(len(f), 2))).astype(dtype).astype(np.float64)) for f in (query, gallery)
    ]
    return (*features, query, gallery)


def test_one_image_of_each_person_is_exact():
    """VIPeR: nothing is left to chance, so every draw equals the ordinary evaluation."""
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(2, 40, 4)))
    query, gallery = frame(range(1, 41), [0] * 40), frame(range(1, 41), [1] * 40)
    plain = evaluate(*features, query, gallery).summary()
    for drawn in ("query", "gallery"):
        draws = single_shot(*features, query, gallery, draws=3, seed=5, drawn=drawn)
        assert draws.summary() == pytest.approx(plain)
        assert (draws.rank == draws.rank[0]).all()


def test_shares_by_hand():
    """The query at 0; its positives at 1 and 3, person 2 at 2 and 5: rank 1 unless 3 and 2 are drawn together."""
    query, gallery = frame([1], [0]), frame([1, 1, 2, 2, 1, -1], [1, 1, 1, 1, 0, 1])
    draws = single_shot(line(0), line(1, 3, 2, 5, 0, 0), query, gallery, draws=40_000, seed=1)
    assert draws.cmc(1) == pytest.approx(0.75, abs=0.01)
    assert draws.cmc(2) == 1
    assert draws.mAP == pytest.approx(0.75 + 0.25 / 2, abs=0.01)
    assert draws.mAP_trap == pytest.approx(0.75 + 0.25 / 4, abs=0.01)
    assert draws.by_draw(1).mean() == pytest.approx(draws.cmc(1))


def test_a_shared_gallery_may_hold_the_ignored_image():
    """One image of person 1 a draw: the query's own camera in a third of the draws, which are left out."""
    query, gallery = frame([1], [0]), frame([1, 1, 1, 2], [1, 1, 0, 1])
    draws = single_shot(line(0), line(1, 3, 0, 2), query, gallery, draws=30_000, seed=1, drawn="gallery")
    assert (draws.rank == 0).mean() == pytest.approx(1 / 3, abs=0.01)
    assert draws.cmc(1) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("drawn", ["query", "gallery"])
def test_bounds_by_the_best_and_the_worst_draw(drawn):
    """Each rank lies between what the luckiest and the unluckiest draw of others and positive give."""
    for seed in range(60):
        features, others, query, gallery = random_case(seed)
        draws = single_shot(features, others, query, gallery, draws=7, seed=seed, drawn=drawn, unmatched="skip")
        distances = torch.cdist(features, others).numpy() ** 2
        people = gallery.pid.to_numpy()
        for n, i in enumerate(draws.query_rows):
            mine = [j for j in range(60) if people[j] == query.pid[i] and gallery.camid[j] != query.camid[i]]
            rest = [[j] for j in range(60) if people[j] == 0]
            rest += [[j for j in range(60) if people[j] == p] for p in set(people) - {0, -1, query.pid[i]}]
            low = 1 + sum(max(distances[i, j] for j in one) < min(distances[i, mine]) for one in rest)
            high = 1 + sum(min(distances[i, j] for j in one) <= max(distances[i, mine]) for one in rest)
            ranks = draws.rank[:, n]
            ranks = ranks[ranks > 0]
            assert ((low <= ranks) & (ranks <= high)).all()


def test_ties_go_by_gallery_index():
    query, gallery = frame([1], [0]), frame([2, 1, 3, 0], [1, 1, 1, 1])
    assert single_shot(line(0), line(1, 1, 1, 1), query, gallery, draws=2).rank.tolist() == [[2], [2]]


def test_seed_and_number_of_draws_are_recorded_and_decide():
    case = random_case(3)
    one, same, other = (single_shot(*case, draws=20, seed=s, unmatched="skip") for s in (1, 1, 2))
    assert (one.rank == same.rank).all()
    assert (one.rank != other.rank).any()
    assert json.loads(json.dumps(one.card)) == one.card
    assert (one.card["draws"], one.card["seed"], one.card["drawn"]) == (20, 1, "query")
    assert one.summary()["mAP"] >= one.summary()["R1"]


def test_people_without_a_match_are_left_out_or_refused():
    query, gallery = frame([1, 2], [0, 0]), frame([1, 2], [1, 0])
    with pytest.raises(ValueError, match=r"query 0002 .* has no match in another camera"):
        single_shot(line(0, 0), line(0, 0), query, gallery)
    draws = single_shot(line(0, 0), line(0, 0), query, gallery, unmatched="skip")
    assert (draws.query_rows.tolist(), draws.left_out.tolist()) == ([0], [1])


def test_with_outfits():
    query, gallery = (frame([1], [0]), frame([1, 1, 2], [1, 1, 1]))
    query["clothes"], gallery["clothes"] = [5], [5, 6, 7]
    draws = single_shot(line(0), line(2, 0, 1), query, gallery, SameClothes(), draws=4)
    assert draws.rank.tolist() == [[2]] * 4


def test_refusals():
    case = (line(0), line(0), frame([1], [0]), frame([1], [1]))
    with pytest.raises(ValueError, match="drawn='both' is unknown"):
        single_shot(*case, drawn="both")
    for draws in (0, True, 2.5):
        with pytest.raises(ValueError, match="give the number of draws, at least 1"):
            single_shot(*case, draws=draws)

    class Strict(Protocol):
        name = "strict"

        def judge(self, query, gallery):
            other = query["camid"] != gallery["camid"]
            return other, other & False

    with pytest.raises(ValueError, match="'strict' counts some images of the query's own person as wrong"):
        single_shot(line(0), line(0, 1), frame([1], [0]), frame([1, 1], [1, 0]), Strict())


@pytest.mark.parametrize("drawn", ["query", "gallery"])
@pytest.mark.parametrize("seed", range(4))
def test_a_matrix_of_distances_scores_like_the_features_that_made_it(drawn, seed):
    query, gallery, query_frame, gallery_frame = random_case(seed)
    distances = torch.cdist(query, gallery) ** 2
    options = {"draws": 7, "seed": seed, "drawn": drawn, "unmatched": "skip"}
    plain = single_shot(query, gallery, query_frame, gallery_frame, **options)
    given = single_shot_distances(distances.round(decimals=9), query_frame, gallery_frame, **options)
    assert np.array_equal(plain.rank, given.rank)
    assert np.array_equal(plain.query_rows, given.query_rows)
    assert np.array_equal(plain.left_out, given.left_out)
    assert (plain.card["distance"], given.card["distance"]) == ("squared Euclidean", "as given")


def test_a_matrix_must_fit_the_frames():
    query, gallery = frame([1], [0]), frame([1, 2], [1, 1])
    with pytest.raises(ValueError, match="pass a matrix"):
        single_shot_distances(torch.zeros(2), query, gallery)
    with pytest.raises(ValueError, match="3 gallery images are scored but the gallery frame has 2 rows"):
        single_shot_distances(torch.zeros(1, 3), query, gallery)
