"""The clothing protocols: hand-made cases, and an independent slow implementation on random frames."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from reidlib.retrieval import AnyCamera, CrossCamera, evaluate, evaluate_distances
from reidlib.retrieval.clothing import ClothesChange, General, SameClothes, prcc_queries

RULES = {  # (positive, ignored) of a gallery image of the query's person, written out
    CrossCamera: lambda other_cam, other_look: (other_cam, not other_cam),
    General: lambda other_cam, other_look: (other_cam, not other_cam),
    AnyCamera: lambda other_cam, other_look: (True, False),
    ClothesChange: lambda other_cam, other_look: (other_cam and other_look, not (other_cam and other_look)),
    SameClothes: lambda other_cam, other_look: (other_cam and not other_look, not other_cam or other_look),
}


def frame(pids, camids, clothes):
    columns = {"pid": pids, "camid": camids, "clothes": clothes}
    return pd.DataFrame({name: np.asarray(values, np.int64) for name, values in columns.items()})


QUERY = frame([1, 1, 2], [0, 1, 0], [10, 11, 20])
GALLERY = frame(
    #        other cam     same cam  junk, distractor, other person, person 2 in one outfit
    [1, 1, 1, 1, 1, -1, 0, 3, 2, 2],
    [1, 1, 2, 0, 0, 2, 2, 2, 1, 2],
    [10, 11, 11, 10, 11, -1, -1, 30, 20, 20],
)


@pytest.mark.parametrize(
    ("protocol", "positives", "ignored"),
    [
        (General(), [[0, 1, 2], [2, 3, 4], [8, 9]], [[3, 4], [0, 1], []]),
        (ClothesChange(), [[1, 2], [3], []], [[0, 3, 4], [0, 1, 2, 4], [8, 9]]),
        (SameClothes(), [[0], [2, 4], [8, 9]], [[1, 2, 3, 4], [0, 1, 3], []]),
    ],
)
def test_ltcc_rules_by_hand(protocol, positives, ignored):
    match = protocol.match(QUERY, GALLERY)
    assert [match.positives[i].tolist() for i in range(3)] == positives
    assert [match.ignored[i].tolist() for i in range(3)] == ignored
    assert np.flatnonzero(match.ignored_everywhere).tolist() == [5]


def test_scores_by_hand():
    """Query 0, clothes-change: gallery order 5 junk, 3 ignored, 6 distractor, 1 hit, 0 ignored, 7 wrong, 2 hit, ..."""
    order = [5, 3, 6, 1, 0, 7, 2, 8, 9, 4]
    distances = torch.empty(1, 10)
    distances[0, order] = torch.arange(10.0)
    scores = evaluate_distances(distances, QUERY[:1], GALLERY, ClothesChange())
    assert scores.hits.tolist() == [2, 4]
    assert scores.mAP == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert scores.mAP_trap == pytest.approx(((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
    assert scores.order[0, :4].tolist() == [6, 1, 7, 2]


def test_queries_whose_every_positive_is_excluded():
    distances = torch.rand(3, 10, generator=torch.Generator().manual_seed(0))
    words = r"query 0002 \(camera 1\) has no match in another camera and other clothes; 1 such query"
    with pytest.raises(ValueError, match=words):
        evaluate_distances(distances, QUERY, GALLERY, ClothesChange())
    scores = evaluate_distances(distances, QUERY, GALLERY, ClothesChange(), unmatched="skip")
    assert scores.query_rows.tolist() == [0, 1]
    assert scores.left_out.tolist() == [2]
    assert scores.card["unmatched"] == "left out of every mean"


def reference(distances, query, gallery, rule):
    """Sort each list with Python, drop what is ignored, walk down."""
    out = []
    people, looks = gallery.pid.tolist(), gallery.clothes.tolist()
    cams = gallery.camid.tolist()
    for i, (pid, cam, look) in enumerate(
        zip(query.pid.tolist(), query.camid.tolist(), query.clothes.tolist(), strict=True)
    ):
        good, rank = [], 0
        for _, j in sorted((d, j) for j, d in enumerate(distances[i].tolist())):
            if people[j] == -1:
                continue
            positive, ignored = rule(cams[j] != cam, looks[j] != look) if people[j] == pid else (False, False)
            if ignored:
                continue
            rank += 1
            if positive:
                good.append(rank)
        if good:
            std = sum((n + 1) / r for n, r in enumerate(good)) / len(good)
            trap = sum(((n / (r - 1) if r > 1 else 1.0) + (n + 1) / r) / 2 for n, r in enumerate(good)) / len(good)
            out.append((i, good, std, trap))
    return out


@pytest.mark.parametrize("protocol", RULES, ids=lambda protocol: protocol.__name__)
def test_200_random_frames_against_the_slow_reference(protocol):
    """Few people, cameras and outfits; junk, distractors; distances with many ties; people who never change."""
    excluded = matched = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        q, g = int(rng.integers(1, 8)), int(rng.integers(1, 50))
        pid = rng.integers(1, 5, q), rng.integers(-1, 5, g)
        worn = int(rng.integers(1, 4))
        sides = [
            frame(p, rng.integers(0, 3, len(p)), np.where(p > 0, 10 * p + rng.integers(0, worn, len(p)), -1))
            for p in pid
        ]
        distances = torch.from_numpy(
            rng.integers(0, 4, (q, g)).astype(np.float32) if seed % 2 else rng.random((q, g), np.float32)
        )
        expected = reference(distances, *sides, RULES[protocol])
        excluded += q - len(expected)
        matched += len(expected)
        if not expected:
            with pytest.raises(ValueError, match="no query is left to evaluate"):
                evaluate_distances(distances, *sides, protocol(), unmatched="skip")
            continue
        scores = evaluate_distances(distances, *sides, protocol(), unmatched="skip", top_k=5)
        assert scores.query_rows.tolist() == [i for i, *_ in expected]
        for n, (_, good, std, trap) in enumerate(expected):
            assert scores.hits[scores.hit_start[n] : scores.hit_start[n + 1]].tolist() == good
            assert scores.ap_std[n] == pytest.approx(std, abs=1e-12)
            assert scores.ap_trap[n] == pytest.approx(trap, abs=1e-12)
    assert excluded > 50
    assert matched > 300


def test_prcc_picked_queries_score_as_all_queries_with_skip():
    rng = np.random.default_rng(0)
    rows = [(p, c, 2 * p + (c == 2), n) for p in range(1, 9) for c in range(3) for n in range(4)]
    whole = frame([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    query, gallery = (whole[keep].reset_index(drop=True) for keep in (whole.camid > 0, whole.camid == 0))
    features = torch.from_numpy(rng.normal(size=(len(query), 6))), torch.from_numpy(rng.normal(size=(len(gallery), 6)))
    for protocol, camera in ((ClothesChange(), 2), (SameClothes(), 1)):
        chosen = prcc_queries(query, protocol)
        assert set(query.camid[chosen]) == {camera}
        picked = evaluate(features[0][chosen], features[1], query.iloc[chosen], gallery, protocol)
        skipped = evaluate(*features, query, gallery, protocol, unmatched="skip")
        assert picked.summary() == skipped.summary()
        assert not protocol.match(query.iloc[chosen], gallery).ignored.counts.any()
    assert len(prcc_queries(query, General())) == len(query)
    with pytest.raises(ValueError, match="no query is from camera C"):
        prcc_queries(query[query.camid == 1], ClothesChange())


def test_unknown_outfits_are_refused():
    unknown = frame([1], [0], [-1])
    with pytest.raises(ValueError, match=r"1 of 1 query images have no outfit.*use CrossCamera"):
        ClothesChange().match(unknown, GALLERY)
    with pytest.raises(ValueError, match=r"the query frame has no column 'clothes'"):
        SameClothes().match(unknown.drop(columns="clothes"), GALLERY)
    General().match(unknown, GALLERY)


@pytest.mark.parametrize("protocol", [General(), ClothesChange(), SameClothes()])
def test_cards_are_plain_and_say_what_counts(protocol):
    card = protocol.card()
    assert json.loads(json.dumps(card)) == card
    assert card["name"] in ("general", "clothes-change", "same-clothes")
    assert "other camera" in card["positive"]
    assert card["ignored"].startswith("same person, same camera")
