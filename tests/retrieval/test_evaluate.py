"""Scores against hand-computed values and an independent reference that sorts."""

import contextlib
import re

import numpy as np
import pandas as pd
import pytest
import torch

from reidlib.retrieval import Protocol, average_precision, counting, evaluate, evaluate_distances
from reidlib.retrieval.blocks import distance_blocks


def frame(pids, camids):
    return pd.DataFrame({"pid": np.asarray(pids, np.int64), "camid": np.asarray(camids, np.int64)})


def one_query(relevant, length, ignored=()):
    """Scores of one query with positives at the ranks `relevant` and same-camera images at `ignored`."""
    pids = np.where([i in relevant or i in ignored for i in range(1, length + 1)], 7, 9)
    camids = np.where([i in ignored for i in range(1, length + 1)], 0, 1)
    distances = torch.arange(length, dtype=torch.float32)[None]
    return evaluate_distances(distances, frame([7], [0]), frame(pids, camids))


def reference(distances, query, gallery):
    """Slow and plain: sort the gallery of each query with Python, drop junk, walk down the list."""
    out = []
    pids, cams = gallery.pid.tolist(), gallery.camid.tolist()
    for i, (pid, cam) in enumerate(zip(query.pid.tolist(), query.camid.tolist(), strict=True)):
        ranked = [j for _, j in sorted((d, j) for j, d in enumerate(distances[i]))]
        kept = [j for j in ranked if pids[j] != -1 and not (pids[j] == pid > 0 and cams[j] == cam)]
        good = [n + 1 for n, j in enumerate(kept) if pids[j] == pid > 0]
        if not good:
            continue
        std = sum((n + 1) / r for n, r in enumerate(good)) / len(good)
        trap = sum(((n / (r - 1) if r > 1 else 1.0) + (n + 1) / r) / 2 for n, r in enumerate(good)) / len(good)
        out.append((i, kept, good, std, trap))
    return out


def random_case(seed, dtype=np.float32):
    """Few identities, junk, distractors, rows in any order, many ties (half of the distances are whole numbers)."""
    rng = np.random.default_rng(seed)
    q, g = int(rng.integers(1, 12)), int(rng.integers(1, 1500 if seed % 5 == 0 else 60))
    query = frame(rng.integers(1, 6, q), rng.integers(0, 3, q))
    gallery = frame(rng.integers(-1, 6, g), rng.integers(0, 3, g))
    if seed % 3 == 0:
        gallery = gallery.sort_values(["pid", "camid"], ignore_index=True)
    distances = rng.integers(0, 5, (q, g)) if seed % 2 else rng.normal(size=(q, g))
    if seed % 4 == 2:  # positives in front, so that few images survive the first cut
        distances[query.pid.to_numpy()[:, None] == gallery.pid.to_numpy()] -= 3
        distances = distances.round(1)
    return torch.from_numpy(np.asarray(distances, dtype)), query, gallery


def check(scores, expected):
    assert scores.query_rows.tolist() == [i for i, *_ in expected]
    for n, (_, kept, good, std, trap) in enumerate(expected):
        assert scores.hits[scores.hit_start[n] : scores.hit_start[n + 1]].tolist() == good
        assert scores.rank[n] == good[0]
        assert scores.ap_std[n] == pytest.approx(std, abs=1e-12)
        assert scores.ap_trap[n] == pytest.approx(trap, abs=1e-12)
        best = [j for j in scores.order[n] if j >= 0]
        assert best == kept[: scores.order.shape[1]]


@pytest.mark.parametrize(
    ("relevant", "std", "trap"),
    [({1}, 1, 1), ({2}, 0.5, 0.25), ({1, 3}, 0.8333, 0.7917), ({2, 3, 10}, 0.4889, 0.3648), ({5}, 0.2, 0.1)],
)
def test_average_precision_check_vectors(relevant, std, trap):
    scores = one_query(relevant, 12)
    assert scores.mAP == pytest.approx(std, abs=5e-5)
    assert scores.mAP_trap == pytest.approx(trap, abs=5e-5)
    assert scores.rank.tolist() == [min(relevant)]


def test_average_precision_of_several_lists():
    std, trap = average_precision(np.array([1, 2, 3, 10, 5]), np.array([0, 1, 4, 5]))
    np.testing.assert_allclose(std, [1, (1 / 2 + 2 / 3 + 3 / 10) / 3, 1 / 5])
    np.testing.assert_allclose(trap, [1, (1 / 4 + (1 / 2 + 2 / 3) / 2 + (2 / 9 + 3 / 10) / 2) / 3, 1 / 10])


def test_junk_before_the_hit_is_removed():
    assert one_query({4}, 6, ignored={1, 3}).rank.tolist() == [2]
    assert one_query({1}, 6, ignored={3}).rank.tolist() == [1]
    assert one_query({4}, 6, ignored={1, 3}).order.tolist() == [[1, 3, 4, 5, -1, -1]]


def test_junk_boxes_leave_and_distractors_stay():
    distances = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    scores = evaluate_distances(distances, frame([3], [0]), frame([-1, 0, 3, 4], [1, 1, 1, 1]))
    assert scores.rank.tolist() == [2]
    assert scores.order.tolist() == [[1, 2, 3, -1]]
    assert scores.distances.tolist() == [[1.0, 2.0, 3.0, np.inf]]


def test_ties_go_by_gallery_index():
    distances = torch.zeros(1, 5)
    query = frame([3], [0])
    assert evaluate_distances(distances, query, frame([3, 1, 1, 1, 3], [1] * 5)).hits.tolist() == [1, 5]
    assert evaluate_distances(distances, query, frame([1, 3, 1, 3, 1], [1] * 5)).hits.tolist() == [2, 4]


def test_cmc_and_average_precision_at_k():
    distances = torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]])
    scores = evaluate_distances(distances, frame([1, 2], [0, 0]), frame([1, 2, 1, 2], [1] * 4))
    assert scores.hits.tolist() == [1, 3, 2, 4]
    assert [scores.cmc(k) for k in (1, 2, 3)] == [0.5, 1.0, 1.0]
    np.testing.assert_allclose(scores.cmc_curve(3), [0.5, 1, 1])
    np.testing.assert_allclose(scores.ap_at(1), [1 / 2, 0])
    np.testing.assert_allclose(scores.ap_at(2), [1 / 2, (1 / 2) / 2])
    np.testing.assert_allclose(scores.ap_at(4), scores.ap_std)
    assert set(scores.summary()) == {"mAP", "mAP_trap", "R1", "R5", "R10", "R20"}
    assert scores.summary()["R1"] == 50


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(60))
def test_equal_to_a_sorting_reference(seed, dtype):
    distances, query, gallery = random_case(seed, dtype)
    expected = reference(distances.tolist(), query, gallery)
    if not expected:
        with pytest.raises(ValueError, match="no query is left"):
            evaluate_distances(distances, query, gallery, unmatched="skip")
        return
    scores = evaluate_distances(distances, query, gallery, unmatched="skip", top_k=7)
    check(scores, expected)
    assert sorted([*scores.query_rows, *scores.left_out]) == list(range(len(query)))


def test_cases_cover_few_and_many_survivors(monkeypatch):
    """The random cases above reach both ways of counting, and more positives than fit in one comparison."""
    seen = {"few": 0, "many": 0, "wide": 0}
    among, compare = counting._among, counting._compare

    def spy_among(*args):
        seen["few"] += 1
        return among(*args)

    def spy_compare(row, positives, *args):
        seen["wide" if len(positives) == counting.WIDTH else "many"] += 1
        return compare(row, positives, *args)

    monkeypatch.setattr(counting, "_among", spy_among)
    monkeypatch.setattr(counting, "_compare", spy_compare)
    for seed in range(60):
        distances, query, gallery = random_case(seed)
        with contextlib.suppress(ValueError):  # nobody is seen by two cameras
            evaluate_distances(distances, query, gallery, unmatched="skip")
    assert min(seen.values()) > 20, seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_equal_distances_and_blocks_do_not_matter(dtype):
    rng = np.random.default_rng(3)
    query = frame(rng.integers(1, 6, 23), rng.integers(0, 3, 23))
    gallery = frame(rng.integers(-1, 6, 90), rng.integers(0, 3, 90))
    # whole numbers, so that every summation order gives the same distance; many ties
    a = torch.from_numpy(rng.integers(-2, 3, (23, 5))).to(dtype)
    b = torch.from_numpy(rng.integers(-2, 3, (90, 5))).to(dtype)
    distances = (a[:, None] - b[None]).square().sum(2)
    expected = reference(distances.tolist(), query, gallery)
    for block in (1, 4, 23, None):
        scores = evaluate(a, b, query, gallery, block=block, top_k=20, unmatched="skip")
        check(scores, expected)
        kept = distances[scores.query_rows].gather(1, torch.from_numpy(scores.order).long())
        torch.testing.assert_close(torch.from_numpy(scores.distances), kept.float())
    check(evaluate_distances(distances.half(), query, gallery, block=4, unmatched="skip"), expected)
    check(evaluate_distances(distances.T.contiguous().T, query, gallery, unmatched="skip"), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_distances_of_features(dtype):
    a, b = (torch.randn(n, 6, generator=torch.Generator().manual_seed(n)).to(dtype) for n in (9, 30))
    blocks = [(first, d.clone()) for first, d in distance_blocks(a, b, block=4)]
    assert [first for first, _ in blocks] == [0, 4, 8]
    wanted = (a.double()[:, None] - b.double()[None]).square().sum(2)
    torch.testing.assert_close(torch.cat([d for _, d in blocks]).double(), wanted, atol=1e-5, rtol=1e-5)


def test_permuting_a_gallery_without_ties_changes_nothing():
    rng = np.random.default_rng(0)
    query = frame(rng.integers(1, 9, 20), rng.integers(0, 4, 20))
    gallery = frame(rng.integers(-1, 9, 300), rng.integers(0, 4, 300))
    distances = torch.from_numpy(rng.permutation(20 * 300).reshape(20, 300).astype(np.float64))
    order = rng.permutation(300)
    whole = evaluate_distances(distances, query, gallery)
    mixed = evaluate_distances(distances[:, order], query, gallery.iloc[order])
    np.testing.assert_array_equal(whole.hits, mixed.hits)
    np.testing.assert_array_equal(whole.order, order[mixed.order])


def test_the_input_is_not_changed():
    distances, query, gallery = random_case(10)
    before = distances.clone()
    evaluate_distances(distances, query, gallery, unmatched="skip")
    assert torch.equal(before, distances)


def test_unmatched_queries():
    distances = torch.rand(3, 2, generator=torch.Generator().manual_seed(0))
    query, gallery = frame([123, 5, 9], [1, 0, 0]), frame([123, 5], [1, 1])
    sentence = (
        "query 0123 (camera 2) has no match in another camera; 2 such queries; pass unmatched='skip' to leave them out"
    )
    with pytest.raises(ValueError, match=re.escape(sentence)):
        evaluate_distances(distances, query, gallery)
    scores = evaluate_distances(distances, query, gallery, unmatched="skip")
    assert (scores.query_rows.tolist(), scores.left_out.tolist(), scores.ap_std.shape) == ([1], [0, 2], (1,))
    with pytest.raises(ValueError, match="1 such query; no query is left"):
        evaluate_distances(distances[:1], query[:1], gallery, unmatched="skip")
    with pytest.raises(ValueError, match="unmatched='drop' is unknown"):
        evaluate_distances(distances, query, gallery, unmatched="drop")


def test_distractor_query_has_no_match():
    with pytest.raises(ValueError, match="query 0000"):
        evaluate_distances(torch.zeros(1, 2), frame([0], [0]), frame([0, 0], [1, 1]))


def test_bad_input_is_named():
    query, gallery = frame([1, 2], [0, 0]), frame([1, 2, 0], [1, 1, 1])
    a, b = torch.ones(2, 4), torch.ones(3, 4)
    broken = torch.tensor([1.0, float("nan"), 1.0])[:, None] * b
    cases = [
        ((a[:0], b, query[:0], gallery), "no query images"),
        ((a, b[:0], query, gallery[:0]), "no gallery images"),
        ((a[:1], b, query, gallery), "1 query images are scored but the query frame has 2 rows"),
        ((a, b[:2], query, gallery), "2 gallery images are scored but the gallery frame has 3 rows"),
        ((a[:, :3], b, query, gallery), "3 dimensions and gallery features 4"),
        ((a.long(), b, query, gallery), "pass a float tensor"),
        ((a, b, query.drop(columns="camid"), gallery), "query frame has no column 'camid'"),
        ((a, broken, query, gallery), "gallery features hold NaN.*first in row 1"),
    ]
    for args, sentence in cases:
        with pytest.raises(ValueError, match=sentence):
            evaluate(*args)
    with pytest.raises(ValueError, match="no queries to evaluate"):
        evaluate_distances(torch.zeros(0, 3), query[:0], gallery)
    for bad in (float("nan"), float("inf")):
        distances = torch.zeros(2, 3)
        distances[1, 2] = bad
        with pytest.raises(ValueError, match="query row 1 to gallery row 2"):
            evaluate_distances(distances, query, gallery)
    with pytest.raises(ValueError, match="block=0"):
        evaluate(a, b, query, gallery, block=0)
    with pytest.raises(ValueError, match="top_k=-1"):
        evaluate(a, b, query, gallery, top_k=-1)


def test_features_that_carry_gradients():
    a = torch.eye(2).requires_grad_()
    scores = evaluate(a, a * 2, frame([1, 2], [0, 0]), frame([1, 2], [1, 1]))
    assert scores.rank.tolist() == [1, 1]


def test_without_best_matches():
    scores = evaluate_distances(torch.tensor([[0.0, 1.0]]), frame([1], [0]), frame([2, 1], [1, 1]), top_k=0)
    assert scores.order.shape == (1, 0)
    assert scores.rank.tolist() == [2]


class ClothesChange(Protocol):
    """Same person, other camera, other outfit; same camera or same outfit is ignored."""

    name, columns = "clothes change", ("camid", "clothes")
    wanted = "match in another camera and outfit"

    def judge(self, query, gallery):
        good = (query["camid"] != gallery["camid"]) & (query["clothes"] != gallery["clothes"])
        return good, ~good


def test_another_protocol_needs_no_other_evaluator():
    query = frame([1], [0]).assign(clothes=10)
    gallery = frame([1, 1, 1, 1, 2, 0], [0, 1, 1, 0, 1, 1]).assign(clothes=[10, 10, 11, 11, 20, -1])
    match = ClothesChange().match(query, gallery)
    assert match.positives[0].tolist() == [2]
    assert match.ignored[0].tolist() == [0, 1, 3]
    distances = torch.tensor([[0.0, 1.0, 5.0, 2.0, 3.0, 4.0]])
    scores = evaluate_distances(distances, query, gallery, protocol=ClothesChange())
    assert scores.rank.tolist() == [3]
    assert scores.card["name"] == "clothes change"
    with pytest.raises(ValueError, match="has no match in another camera and outfit; 1 such query"):
        evaluate_distances(distances, query, gallery.assign(clothes=10), protocol=ClothesChange())
