"""Ranked lists with ignored images, against hand-made cases, the evaluator and a slow reference."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from reidlib.explore import Ranking, rank, rank_distances
from reidlib.explore.ranking import IGNORED, RIGHT, WRONG
from reidlib.retrieval import AnyCamera, CrossCamera, evaluate, evaluate_distances

QUERY = pd.DataFrame({"pid": [1, 2], "camid": [0, 1]})
GALLERY = pd.DataFrame({"pid": [1, 1, 2, 0, -1, 1, 2], "camid": [0, 1, 0, 1, 1, 2, 1]})
# query 0: the rows by distance are 0 (ignored), 3 (wrong), 1 (right), 4 (junk), 2 (wrong), 5 (right), 6 (wrong)
DISTANCES = torch.tensor([[0.1, 0.3, 0.5, 0.2, 0.4, 0.5, 0.6], [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]])


def test_a_list_by_hand():
    ranking = rank_distances(DISTANCES, QUERY, GALLERY)
    assert ranking.order[:7].tolist() == [0, 3, 1, 4, 2, 5, 6]
    assert ranking.mark[:7].tolist() == [IGNORED, WRONG, RIGHT, IGNORED, WRONG, RIGHT, WRONG]
    assert ranking.distances[:3].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert ranking.hits.tolist() == [2, 4, 3]  # query 1: all equal, so by row; of 0, 1, 2 the third
    assert ranking.hit_rows.tolist() == [1, 5, 2]
    assert ranking.positives.tolist() == [2, 1]
    std, trap = ranking.average_precision
    assert std.tolist() == pytest.approx([(1 / 2 + 2 / 4) / 2, 1 / 3])
    assert trap.tolist() == pytest.approx([((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2, (0 + 1 / 3) / 2])


def test_top_counts_what_is_not_ignored():
    ranking = rank_distances(DISTANCES, QUERY, GALLERY, top=2)
    assert ranking.order[: ranking.start[1]].tolist() == [0, 3, 1]
    assert ranking.hits.tolist() == [2, 4, 3]  # of the whole gallery
    assert rank_distances(DISTANCES, QUERY, GALLERY).take([0], top=2).order.tolist() == [0, 3, 1]
    one = rank_distances(DISTANCES, QUERY, GALLERY).take([1])
    assert (one.query_rows.tolist(), one.start.tolist(), one.hits.tolist()) == ([1], [0, 7], [3])


@pytest.mark.parametrize("protocol", [CrossCamera(), AnyCamera()])
def test_features_rank_as_the_evaluator_does(people, protocol):
    query, gallery = people.features["bad"]
    ranking = rank(query, gallery, people.query, people.gallery, protocol, top=None)
    scores = evaluate(query, gallery, people.query, people.gallery, protocol, top_k=30)
    assert np.array_equal(ranking.hits, scores.hits)
    std, trap = ranking.average_precision
    assert np.array_equal(std, scores.ap_std)
    assert np.array_equal(trap, scores.ap_trap)
    assert ranking.summary()["R1"] == pytest.approx(scores.summary()["R1"])
    for i in range(len(ranking)):
        part = slice(ranking.start[i], ranking.start[i + 1])
        order, mark = ranking.order[part], ranking.mark[part]
        assert np.array_equal(np.sort(order), np.arange(len(people.gallery)))
        assert np.array_equal(order[mark != IGNORED][:30], scores.order[i])
        pid, camera = (people.gallery[c].to_numpy()[order] for c in ("pid", "camid"))
        same = pid == people.query["pid"].iloc[i]
        near = same & (camera == people.query["camid"].iloc[i]) & isinstance(protocol, CrossCamera)
        assert np.array_equal(mark == IGNORED, near | (pid == -1))
        assert np.array_equal(mark == RIGHT, same & ~near)
        found = slice(ranking.hit_start[i], ranking.hit_start[i + 1])
        assert np.array_equal(ranking.hit_rows[found], order[mark == RIGHT])


def test_half_precision_distances_are_sorted_as_they_are_scored():
    ranking = rank_distances(DISTANCES.half(), QUERY, GALLERY)
    assert np.array_equal(ranking.hits, evaluate_distances(DISTANCES.half(), QUERY, GALLERY).hits)


def test_a_file_gives_back_the_ranking(tmp_path, people):
    ranking = rank(*people.features["good"], people.query, people.gallery)
    (tmp_path / "ranking.npz").write_bytes(ranking.as_npz())
    again = Ranking.load(tmp_path / "ranking.npz")
    assert all(np.array_equal(getattr(again, name), value) for name, value in vars(ranking).items())
    np.savez(tmp_path / "other.npz", order=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz holds no ranking: query_rows is missing"):
        Ranking.load(tmp_path / "other.npz")


def test_from_scores_keeps_the_exact_precision(people):
    scores = evaluate(*people.features["bad"], people.query, people.gallery, top_k=12)
    ranking = Ranking.from_scores(scores, people.query, people.gallery)
    assert np.array_equal(ranking.average_precision[0], scores.ap_std)
    assert np.array_equal(ranking.order.reshape(-1, 12), scores.order)
    assert not (ranking.mark == IGNORED).any()
    assert np.array_equal(ranking.hit_rows >= 0, ranking.hits <= 12)
    with pytest.raises(ValueError, match="hold no ranked images"):
        Ranking.from_scores(
            evaluate(*people.features["bad"], people.query, people.gallery, top_k=0), people.query, people.gallery
        )


def test_a_list_that_is_cut_scores_what_it_found():
    ranking = Ranking.from_order([[3, 1, -1], [4, 2, 6]], np.zeros((2, 3)), QUERY, GALLERY)
    assert (ranking.start.tolist(), ranking.depth) == ([0, 2, 5], 3)
    assert ranking.hits.tolist() == [2, 1]
    std, trap = ranking.average_precision  # query 0: one of its two at rank 2; query 1: its one at rank 1, junk ignored
    assert std.tolist() == pytest.approx([1 / 4, 1])
    assert trap.tolist() == pytest.approx([1 / 8, 1])
    with pytest.raises(ValueError, match="gallery row 9, but the gallery frame has 7 rows"):
        Ranking.from_order([[9], [0]], np.zeros((2, 1)), QUERY, GALLERY)
    with pytest.raises(ValueError, match="1 lists for 2 queries"):
        Ranking.from_order([[3]], np.zeros((1, 1)), QUERY, GALLERY)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="gallery row 2 is nan"):
        rank_distances(torch.where(DISTANCES == 0.5, torch.nan, DISTANCES), QUERY, GALLERY)
    with pytest.raises(ValueError, match="2 query images are scored but the query frame has 1 rows"):
        rank_distances(DISTANCES, QUERY[:1], GALLERY)
    with pytest.raises(ValueError, match=r"query 0009 .* has no match in another camera"):
        rank_distances(DISTANCES, QUERY.assign(pid=[1, 9]), GALLERY)
    assert len(rank_distances(DISTANCES, QUERY.assign(pid=[1, 9]), GALLERY, unmatched="skip")) == 1
    with pytest.raises(ValueError, match="top=0"):
        rank_distances(DISTANCES, QUERY, GALLERY, top=0)


def test_rankings_need_no_widgets():
    code = (
        "import sys\n"
        "for name in ('anywidget', 'ipywidgets'): sys.modules[name] = None\n"
        "from reidlib import explore\n"
        "print(explore.Ranking.__name__)\n"
        "try: explore.RankingExplorer\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "Ranking", done.stderr
    assert "needs the package anywidget" in done.stdout
