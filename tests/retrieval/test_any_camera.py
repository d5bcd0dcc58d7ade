"""The any-camera rule against a list scored by hand."""

import pandas as pd
import pytest
import torch

from reidlib.retrieval import AnyCamera, CrossCamera, evaluate_distances

QUERY = pd.DataFrame({"pid": [1], "camid": [0]})
GALLERY = pd.DataFrame({"pid": [1, 2, 1, 0, -1], "camid": [0, 0, 1, 1, 0]})
DISTANCES = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.05]])


def test_own_camera_counts_as_a_hit_and_junk_stays_out():
    scores = evaluate_distances(DISTANCES, QUERY, GALLERY, AnyCamera())
    assert scores.hits.tolist() == [1, 3]
    assert scores.mAP == pytest.approx((1 + 2 / 3) / 2)


def test_cross_camera_ignores_it():
    scores = evaluate_distances(DISTANCES, QUERY, GALLERY, CrossCamera())
    assert scores.hits.tolist() == [2]
    assert scores.mAP == pytest.approx(0.5)
