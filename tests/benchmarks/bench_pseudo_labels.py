"""Features to pseudo labels (Jaccard distances and DBSCAN) against dense tables, as SpCL and CAP make them."""

import clustered
import numpy as np
import torch
from side_by_side import Case, Way, main

MARKET = {"n": 12_936, "people": 751, "cameras": 6}
MSMT17 = {"n": 32_621, "people": 1041, "cameras": 15}
TINY = {"n": 60, "people": 8, "cameras": 3}


def inputs_of(noise, data_set):
    def inputs(size, folder):
        numbers = data_set if size == "full" else TINY
        rng = np.random.default_rng(0)
        pids = rng.integers(1, numbers["people"] + 1, numbers["n"])
        camids = rng.integers(0, numbers["cameras"], numbers["n"])
        return {"features": clustered.features(pids, camids, noise).numpy(), "camids": camids}

    return inputs


def reidlib(features, camids):
    from reidlib.clustering import pseudo_labels

    features, camids = torch.from_numpy(features), torch.from_numpy(camids)
    return lambda: {"labels": pseudo_labels(features, camids).clusters.numpy()}


def dense(features, camids, k1=20, k2=6, eps=0.5, min_samples=4):
    """n x n tables, filled row after row; neighbours by a full product."""
    from sklearn.cluster import DBSCAN

    features = torch.from_numpy(features)
    n = len(features)

    def nearest():
        return torch.cat([(part @ features.T).topk(k1).indices for part in features.split(1024)]).numpy()

    def encoded(near):
        def reciprocal(i, k):
            return near[i, : k + 1][(near[near[i, : k + 1], : k + 1] == i).any(axis=1)]

        whole, half = ([reciprocal(i, k) for i in range(n)] for k in (k1, round(k1 / 2)))
        v = np.zeros((n, n), np.float32)
        for i in range(n):
            added = [half[c] for c in whole[i] if len(np.intersect1d(half[c], whole[i])) > 2 / 3 * len(half[c])]
            grown = np.unique(np.concatenate([whole[i], *added]))
            v[i, grown] = torch.softmax(2 * features[grown] @ features[i] - 2, dim=0).numpy()
        return np.stack([v[row].mean(axis=0) for row in near[:, :k2]])

    def run():
        v = encoded(nearest())
        holders = [np.flatnonzero(column) for column in v.T]
        distances = np.ones((n, n), np.float32)
        for i in range(n):
            shared = np.zeros(n, np.float32)
            for g in np.flatnonzero(v[i]):
                shared[holders[g]] += np.minimum(v[i, g], v[holders[g], g])
            distances[i] = np.maximum(1 - shared / (2 - shared), 0)
        return {"labels": DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(distances)}

    return run


def half_product(features, camids):
    return clustered.half_product(features)


def equal(results):
    labels = [result["labels"] for result in results.values() if "labels" in result]
    differing = [int((labels[0] != some).sum()) for some in labels[1:]]
    assert not any(differing), f"{max(differing)} of {len(labels[0])} images have another label"
    return {"labels": max(differing)} if differing else {}


CASES = [
    Case(
        name="pseudo-labels",
        title="features to pseudo labels",
        size="Market-1501's training set: 12,936 images, 2,048 numbers each",
        ways=(
            Way("reidlib", reidlib),
            Way("dense tables", dense, "the published algorithm of SpCL, written for this comparison", rounds=2),
            Way("half of the product", half_product, "oneDNN"),
        ),
        inputs=inputs_of(1.0, MARKET),
        check=equal,
        floor="half of the product",
        at_least=5,
        at_most_mib=200,
        limit="the product of all features with each other, half of which is made",
    ),
    Case(
        name="pseudo-labels-msmt17",
        title="features to pseudo labels",
        size="MSMT17's training set: 32,621 images, 2,048 numbers each",
        ways=(
            Way("reidlib", reidlib, rounds=1),
            Way("half of the product", half_product, "oneDNN", rounds=1),
        ),
        inputs=inputs_of(1.0, MSMT17),
        check=equal,
        floor="half of the product",
        limit="the product of all features with each other, half of which is made",
        threads=("one",),
    ),
]

if __name__ == "__main__":
    main(__file__, CASES)
