"""Protocols: which gallery rows are positive, ignored, or wrong."""

import json

import numpy as np
import pandas as pd
import pytest

from reidlib.retrieval import CrossCamera, Protocol


def frame(pids, camids):
    return pd.DataFrame({"pid": pids, "camid": camids})


def test_cross_camera_lists():
    query = frame([1, 2, 0, 4], [0, 1, 0, 0])
    gallery = frame([-1, 1, 2, 1, 0, 2, 1, -1], [0, 1, 1, 0, 1, 0, 2, 2])
    match = CrossCamera().match(query, gallery)
    assert [match.positives[i].tolist() for i in range(4)] == [[1, 6], [5], [], []]
    assert [match.ignored[i].tolist() for i in range(4)] == [[3], [2], [], []]
    assert match.positives.counts.tolist() == [2, 1, 0, 0]
    assert np.flatnonzero(match.ignored_everywhere).tolist() == [0, 7]


def test_lists_agree_with_a_double_loop():
    rng = np.random.default_rng(1)
    query = frame(rng.integers(0, 8, 40), rng.integers(0, 3, 40))
    gallery = frame(rng.integers(-1, 8, 120), rng.integers(0, 3, 120))
    match = CrossCamera().match(query, gallery)
    for i in range(40):
        same = [j for j in range(120) if gallery.pid[j] == query.pid[i] > 0]
        assert match.positives[i].tolist() == [j for j in same if gallery.camid[j] != query.camid[i]]
        assert match.ignored[i].tolist() == [j for j in same if gallery.camid[j] == query.camid[i]]


def test_card_is_plain_data():
    card = CrossCamera().card()
    assert json.loads(json.dumps(card)) == card
    assert {"name", "positive", "ignored", "ignored_everywhere", "distractors", "shots"} <= set(card)


def test_a_protocol_that_contradicts_itself_is_refused():
    class Both(Protocol):
        name = "both"

        def judge(self, query, gallery):
            yes = np.ones(len(query["camid"]), bool)
            return yes, yes

    with pytest.raises(ValueError, match="'both' calls the same gallery image positive and ignored"):
        Both().match(frame([1], [0]), frame([1], [1]))
