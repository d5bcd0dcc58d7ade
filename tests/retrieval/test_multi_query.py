import json

import numpy as np
import pandas as pd
import pytest
import torch

from reidlib.retrieval import CrossCamera, evaluate
from reidlib.retrieval.multi_query import MultiQuery, pool_queries


def frame(pids, camids):
    return pd.DataFrame({"pid": np.asarray(pids, np.int64), "camid": np.asarray(camids, np.int64)})


def test_means_of_unit_features_by_hand():
    query = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    multi = torch.tensor([[3.0, 0.0], [0.0, 0.5], [5.0, 5.0]])
    pooled, counts = pool_queries(query, frame([1, 2], [0, 0]), multi, frame([1, 1, 1], [0, 0, 1]))
    assert counts.tolist() == [2, 0]
    assert torch.allclose(pooled, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))


def test_against_a_loop():
    rng = np.random.default_rng(0)
    query, multi = (
        frame(rng.integers(1, 6, 20), rng.integers(0, 3, 20)),
        frame(rng.integers(1, 6, 90), rng.integers(0, 3, 90)),
    )
    features, many = torch.randn(20, 8), torch.randn(90, 8)
    pooled, counts = pool_queries(features, query, many, multi)
    for i in range(20):
        rows = [j for j in range(90) if (multi.pid[j], multi.camid[j]) == (query.pid[i], query.camid[i])]
        assert counts[i] == len(rows)
        mean = sum(many[j] / many[j].norm() for j in rows) if rows else features[i]
        assert torch.allclose(pooled[i], mean / mean.norm(), atol=1e-6)


def test_averaging_helps_noisy_features_and_the_card_says_so():
    rng = np.random.default_rng(1)
    centres = torch.from_numpy(rng.normal(size=(30, 16))).float()

    def seen(pids):
        return torch.nn.functional.normalize(
            centres[pids] + 1.2 * torch.from_numpy(rng.normal(size=(len(pids), 16))).float()
        )

    query, gallery, multi = (
        frame(range(1, 31), [0] * 30),
        frame([*range(1, 31)] * 3, [1] * 90),
        frame([*range(1, 31)] * 8, [0] * 240),
    )
    features = [seen(part.pid.to_numpy() - 1) for part in (query, gallery, multi)]
    pooled, _ = pool_queries(features[0], query, features[2], multi)
    one = evaluate(features[0], features[1], query, gallery, CrossCamera())
    many = evaluate(pooled, features[1], query, gallery, MultiQuery())
    assert many.mAP > one.mAP + 0.05
    assert json.loads(json.dumps(many.card)) == many.card
    assert "multi-query" in many.card["shots"]


def test_refusals():
    one, other = frame([1], [0]), frame([1], [1])
    with pytest.raises(ValueError, match="no query has an image of its person and camera in the split 'multi'"):
        pool_queries(torch.ones(1, 2), one, torch.ones(1, 2), other)
    with pytest.raises(ValueError, match="2 dimensions and multi features 3"):
        pool_queries(torch.ones(1, 2), one, torch.ones(1, 3), one)
    with pytest.raises(ValueError, match=r"the multi features have shape \(2, 2\) and their frame 1 rows"):
        pool_queries(torch.ones(1, 2), one, torch.ones(2, 2), one)
