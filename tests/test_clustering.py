"""Clustering: distances against the definition, DBSCAN against the dense one, proxies, centroids, edge cases."""

import logging

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import DBSCAN

from reidlib import jaccard
from reidlib.clustering import PseudoLabels, centroids, dbscan, proxy_labels, pseudo_labels
from reidlib.jaccard import jaccard_distances


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def clustered(n, people, noise, seed=0, width=32):
    """Unit features scattered around one centre a person."""
    generator = rng(seed)
    centres = torch.randn(people, width, generator=generator)
    people = torch.randint(people, (n,), generator=generator)
    features = centres[people] + noise * torch.randn(n, width, generator=generator)
    return torch.nn.functional.normalize(features)


def nearest_by_definition(features, k):
    """The k nearest of each image, itself first, then by falling cosine, ties by number: lists."""
    cosines = features @ features.T
    n = len(cosines)
    return [sorted(range(n), key=lambda j, i=i: (j != i, -cosines[i, j], j))[:k] for i in range(n)]


def jaccard_by_definition(features, k1, k2):
    """Dense k-reciprocal Jaccard distances from the definition, by loops over sets, in double precision."""
    x = features.double().numpy()
    n, nearest = len(x), nearest_by_definition(x, k1)

    def reciprocal(i, k):
        return {j for j in nearest[i][: k + 1] if i in nearest[j][: k + 1]}

    v = np.zeros((n, n))
    for i in range(n):
        own, grown = reciprocal(i, k1), set(reciprocal(i, k1))
        for c in own:
            other = reciprocal(c, round(k1 / 2))  # Python rounds halves to the even number too
            if len(other & own) > 2 / 3 * len(other):
                grown |= other
        members = sorted(grown)
        weights = np.exp(-(2 - 2 * x[members] @ x[i]))
        v[i, members] = weights / weights.sum()
    if k2 > 1:
        v = np.stack([v[nearest[i][:k2]].mean(axis=0) for i in range(n)])
    shared = np.stack([np.minimum(v, row).sum(axis=1) for row in v])
    return np.maximum(1 - shared / (2 - shared), 0)


# ---------------------------------------------------------------- distances


@pytest.mark.parametrize(
    ("n", "people", "noise", "k1", "k2"),
    [
        (60, 6, 0.5, 20, 6),
        (150, 12, 0.7, 20, 6),
        (150, 12, 0.7, 30, 6),
        (200, 1, 9.0, 20, 6),  # no structure at all
        (90, 9, 1.0, 7, 1),  # no query expansion; 7 / 2 is rounded to 4
        (90, 9, 1.0, 5, 3),  # 5 / 2 is rounded to 2
        (80, 5, 0.6, 4, 6),  # k2 above k1
        (50, 5, 0.5, 1, 1),
        (40, 4, 0.5, 40, 40),  # every image is everyone's neighbour
    ],
)
def test_distances_equal_the_definition(n, people, noise, k1, k2):
    features = clustered(n, people, noise)
    truth = jaccard_by_definition(features, k1, k2)
    dense = jaccard_distances(features, k1, k2, dense=True)
    assert dense.dtype == torch.float32
    np.testing.assert_allclose(dense.numpy(), truth, rtol=0, atol=1e-6)
    graph = jaccard_distances(features, k1, k2)
    assert isinstance(graph, sparse.csr_array)
    assert graph.dtype == np.float32
    rows = np.repeat(np.arange(n), np.diff(graph.indptr))
    np.testing.assert_array_equal(graph.data, dense.numpy()[rows, graph.indices])
    assert graph.nnz == (dense < 1).sum()
    assert (np.diff(rows * n + graph.indices) > 0).all()


def test_hand_computed_distances():
    # Two pairs far from each other; k1 = 2, k2 = 1: each image's set is its pair, with weights e^0 and e^-d.
    near = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [0, 0, 1.0], [0, 0.6, 0.8]])
    own = 1 / (1 + np.exp(-0.4))  # d = 2 - 2 * 0.8
    shared = 2 * (1 - own)
    expected = np.ones((4, 4))
    expected[[0, 1, 2, 3], [1, 0, 3, 2]] = 1 - shared / (2 - shared)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(jaccard_distances(near, k1=2, k2=1, dense=True), expected, atol=1e-6)


def test_expansion_needs_more_than_two_thirds():
    # A chain, k1 = 3, h = 2: R(c, h) = R(c, k1) has three members, of which a neighbour in the chain shares two.
    numbers = np.array([[0, 1, 2], [1, 0, 2], [2, 1, 3], [3, 2, 4], [4, 3, 5], [5, 4, 3]])
    sets = jaccard._expanded(numbers).toarray() > 0
    members = [set(np.flatnonzero(row)) for row in sets]
    assert members == [{0, 1}, {0, 1, 2}, {1, 2, 3}, {2, 3, 4}, {3, 4, 5}, {4, 5}]
    # k1 = 4, h = 2: R(0, 4) = {0, 1, 2, 3} holds all of R(2, 2) = {0, 1, 2}, but two of three of R(1, 2) = {1, 2, 4}.
    numbers = np.array([[0, 1, 2, 3], [1, 4, 2, 0], [2, 1, 0, 3], [3, 0, 2, 1], [4, 1, 5, 0], [5, 4, 1, 0]])
    assert set(np.flatnonzero(jaccard._expanded(numbers).toarray()[0])) == {0, 1, 2, 3}


@pytest.mark.parametrize("below", [0.1, 0.5, 0.9])
def test_only_distances_below_the_bound_are_kept(below):
    features = clustered(120, 10, 0.7)
    dense = jaccard_distances(features, dense=True).numpy()
    graph = jaccard_distances(features, below=below)
    kept = np.zeros_like(dense, dtype=bool)
    kept[np.repeat(np.arange(120), np.diff(graph.indptr)), graph.indices] = True
    np.testing.assert_array_equal(kept, dense < np.float32(below))
    assert (graph.diagonal() == 0).all()
    assert 120 < graph.nnz < 120 * 120


@pytest.mark.parametrize("products", [1, 100, 5000])
def test_blocks_do_not_change_the_distances(monkeypatch, products):
    features = clustered(100, 8, 0.7)
    whole = jaccard_distances(features)
    monkeypatch.setattr(jaccard, "PRODUCTS", products)
    parts = jaccard_distances(features)
    np.testing.assert_array_equal(parts.indices, whole.indices)
    np.testing.assert_allclose(parts.data, whole.data, atol=1e-7)


@pytest.mark.parametrize("deep", [1, 2, 16])
@pytest.mark.parametrize("block", [1, 7, 25, 26, 100])
def test_neighbours_are_exact_and_ties_go_by_number(monkeypatch, block, deep):
    monkeypatch.setattr(jaccard, "DEEP", deep)
    # Entries of -1/2 and 1/2 in four dimensions: sixteen different features, every product exact, ties everywhere.
    features = torch.randint(2, (100, 4), generator=rng()) - 0.5
    for k in (1, 5, 20, 99, 100):
        numbers, cosines = jaccard._nearest(features, k, block)
        assert numbers.tolist() == nearest_by_definition(features.numpy(), k)
        np.testing.assert_array_equal(cosines, (features @ features.T).gather(1, numbers))


@pytest.mark.parametrize("deep", [1, 2, 7, 16])
@pytest.mark.parametrize("cells", [1, 1000, 1 << 20])
def test_largest_equals_a_stable_sort(monkeypatch, deep, cells):
    monkeypatch.setattr(jaccard, "DEEP", deep)
    monkeypatch.setattr(jaccard, "CELLS", cells)
    for n, k in ((1, 1), (2, 1), (40, 1), (64, 2), (65, 2), (700, 9), (700, 700)):
        smooth = torch.randn(12, n, generator=rng(n))
        tables = [smooth, smooth.round(), smooth.clamp(max=0), torch.zeros(12, n)]
        tables.append(smooth.round().where(smooth < 1, torch.inf).where(smooth > -1, -torch.inf))
        tables.append(torch.zeros(n, 12).T)  # columns next to each other
        for values in tables:
            expected = values.sort(dim=1, descending=True, stable=True)
            top, places = jaccard.largest(values.clone(), k)
            assert torch.equal(top, expected.values[:, :k])
            assert torch.equal(places, expected.indices[:, :k])


def test_renumbering_the_images_renumbers_the_distances():
    features = clustered(150, 12, 0.7)
    order = torch.randperm(150, generator=rng(1))
    before, after = (jaccard_distances(x, dense=True) for x in (features, features[order]))
    torch.testing.assert_close(after, before[order][:, order], rtol=0, atol=1e-6)


def test_rotating_the_features_changes_nothing():
    features = clustered(100, 8, 0.7)
    turn = torch.linalg.qr(torch.randn(32, 32, generator=rng(2))).Q
    before, after = (jaccard_distances(x, dense=True) for x in (features, features @ turn))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


def test_distances_need_no_gradient_and_take_other_floats():
    features = clustered(60, 6, 0.5)
    expected = jaccard_distances(features, dense=True)
    assert not jaccard_distances(features.clone().requires_grad_(), dense=True).requires_grad
    torch.testing.assert_close(jaccard_distances(features.double(), dense=True), expected)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (torch.empty(0, 8), {}, "one row an image or more"),
        (torch.ones(4), {}, "table"),
        (torch.eye(4) * 2, {}, "4 such features"),
        (torch.tensor([[1.0, 0], [torch.nan, 0]]), {}, "feature 1 is not of length 1"),
        (torch.eye(4), {"k1": 0}, "k1"),
        (torch.eye(4), {"k2": 0}, "k2"),
        (torch.eye(4), {"below": 0.0}, "below"),
        (torch.eye(4), {"below": 1.5}, "below"),
    ],
)
def test_unusable_features_are_refused(features, options, message):
    with pytest.raises(ValueError, match=message):
        jaccard_distances(features, **options)


def test_k1_above_the_number_of_images_becomes_that_number(caplog):
    features = clustered(9, 3, 0.3)
    with caplog.at_level(logging.WARNING, "reidlib.clustering"):
        result = jaccard_distances(features, k1=20, dense=True)
    assert "k1 = 20 is more than the 9 images: using k1 = 9" in caplog.text
    np.testing.assert_allclose(result, jaccard_by_definition(features, 9, 6), atol=1e-6)


# ---------------------------------------------------------------- DBSCAN


@pytest.mark.parametrize("noise", [0.5, 0.8, 1.2])
@pytest.mark.parametrize("eps", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("min_samples", [1, 4])
def test_labels_equal_those_of_the_dense_matrix(noise, eps, min_samples):
    features = clustered(160, 14, noise, seed=3)
    dense = jaccard_distances(features, dense=True).numpy()
    expected = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(dense)
    found = dbscan(jaccard_distances(features), eps, min_samples)
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found, expected)
    cut = pseudo_labels(features, torch.arange(160) % 3, eps=eps, min_samples=min_samples)
    np.testing.assert_array_equal(cut.clusters, expected)


def test_a_distance_of_eps_is_near_and_an_absent_one_is_far():
    # A chain 0 - 1 - 2 at exactly eps, 3 just too far from 2, 4 with no entry at all.
    distances = np.full((5, 5), 9, np.float32)
    distances[[0, 1, 1, 2], [1, 0, 2, 1]] = 0.1
    distances[[2, 3], [3, 2]] = np.nextafter(np.float32(0.1), np.float32(1))
    np.fill_diagonal(distances, 0)
    rows, columns = np.nonzero(distances < 1)
    graph = sparse.csr_array((distances[rows, columns], (rows, columns)), shape=(5, 5))
    assert dbscan(graph, eps=0.1, min_samples=2).tolist() == [0, 0, 0, -1, -1]
    assert dbscan(graph, eps=0.1, min_samples=3).tolist() == [0, 0, 0, -1, -1]
    assert dbscan(graph, eps=0.1, min_samples=4).tolist() == [-1] * 5
    assert dbscan(graph, eps=0.2, min_samples=2).tolist() == [0, 0, 0, 0, -1]


@pytest.mark.parametrize(
    ("shape", "options"), [((0, 0), {}), ((3, 4), {}), ((3, 3), {"eps": 0.0}), ((3, 3), {"min_samples": 0})]
)
def test_dbscan_refuses_what_it_cannot_use(shape, options):
    with pytest.raises(ValueError, match="got"):
        dbscan(sparse.csr_array(shape, dtype=np.float32), **options)


# ---------------------------------------------------------------- proxies and centroids


def test_proxies_by_hand():
    clusters = torch.tensor([1, 0, -1, 1, 0, 1, 0])
    camids = torch.tensor([4, 2, 0, 1, 2, 4, 7])
    proxies, cluster_of_proxy, camera_of_proxy = proxy_labels(clusters, camids)
    assert proxies.tolist() == [3, 0, -1, 2, 0, 3, 1]
    assert cluster_of_proxy.tolist() == [0, 0, 1, 1]
    assert camera_of_proxy.tolist() == [2, 7, 1, 4]
    assert {values.dtype for values in (proxies, cluster_of_proxy, camera_of_proxy)} == {torch.int64}


def test_proxies_of_outliers_only():
    proxies, cluster_of_proxy, camera_of_proxy = proxy_labels(torch.full((3,), -1), torch.arange(3))
    assert proxies.tolist() == [-1, -1, -1]
    assert len(cluster_of_proxy) == len(camera_of_proxy) == 0
    assert cluster_of_proxy.dtype == torch.int64


def test_proxies_need_one_camera_an_image():
    with pytest.raises(ValueError, match="one length"):
        proxy_labels(torch.zeros(3), torch.zeros(4))


def test_centroids_by_hand():
    features = torch.tensor([[1.0, 0], [0, 1.0], [0.6, 0.8], [1.0, 0]])
    result = centroids(features, torch.tensor([1, 1, 0, -1]))
    torch.testing.assert_close(result, torch.tensor([[0.6, 0.8], [0.5**0.5, 0.5**0.5]]))
    assert result.dtype == torch.float32
    assert centroids(features, torch.full((4,), -1)).shape == (0, 2)


def test_centroids_equal_a_loop():
    features, labels = clustered(80, 6, 0.8), torch.randint(-1, 7, (80,), generator=rng(5))
    expected = torch.stack([features[labels == label].mean(0) for label in range(7)])
    torch.testing.assert_close(centroids(features.double(), labels), expected / expected.norm(dim=1, keepdim=True))


def test_centroids_name_a_label_without_images():
    with pytest.raises(ValueError, match="label 1 has no image"):
        centroids(torch.eye(3), torch.tensor([0, 2, 2]))
    with pytest.raises(ValueError, match="shape"):
        centroids(torch.eye(3), torch.tensor([0, 0]))


# ---------------------------------------------------------------- pseudo labels and edge cases


def logged(caplog, *arguments, **options):
    """The pseudo labels, and the lines logged on the way."""
    with caplog.at_level(logging.INFO, "reidlib.clustering"):
        labels = pseudo_labels(*arguments, **options)
    return labels, [record.getMessage() for record in caplog.records if record.name == "reidlib.clustering"]


def test_clear_groups_are_found_without_a_word(caplog):
    people = torch.arange(120) % 4
    features = torch.nn.functional.normalize(torch.eye(4)[people] + 0.05 * torch.randn(120, 4, generator=rng()))
    camids = torch.arange(120) // 4 % 3
    labels, lines = logged(caplog, features, camids)
    assert lines == []
    assert labels.clusters.tolist() == people.tolist()
    assert labels.proxies.tolist() == (people * 3 + camids).tolist()
    assert labels.summary() == {
        "clusters": 4.0,
        "outliers": 0.0,
        "proxies": 12.0,
        "images_per_cluster": 30.0,
        "images_per_proxy": 10.0,
    }
    assert all(type(value) is float for value in labels.summary().values())


def test_summary_leaves_outliers_out():
    labels = PseudoLabels(torch.tensor([0, 0, 0, -1]), torch.tensor([0, 1, 0, -1]), torch.zeros(2), torch.arange(2))
    assert (labels.n_clusters, labels.n_outliers, labels.n_proxies) == (1, 1, 2)
    assert labels.summary()["images_per_cluster"] == 3
    assert labels.summary()["images_per_proxy"] == 1.5


def test_no_cluster_leaves_only_outliers_and_says_so(caplog):
    labels, lines = logged(caplog, clustered(80, 1, 9.0, width=256), torch.arange(80) % 2, eps=0.05)
    assert lines == ["no cluster found: all 80 images are outliers at eps = 0.05, min_samples = 4"]
    assert (labels.clusters == -1).all()
    assert (labels.proxies == -1).all()
    assert (labels.n_clusters, labels.n_outliers, labels.n_proxies) == (0, 80, 0)
    assert labels.summary()["images_per_cluster"] == 0
    assert labels.summary()["images_per_proxy"] == 0


def test_one_cluster_with_everything_is_told(caplog):
    labels, lines = logged(caplog, clustered(20, 1, 0.1), torch.arange(20) % 2)
    assert lines == ["all 20 images are in one cluster at eps = 0.5: nothing to tell apart"]
    assert labels.n_clusters == 1


def test_one_camera_makes_one_proxy_a_cluster(caplog):
    labels, lines = logged(caplog, clustered(100, 5, 0.3), torch.full((100,), 6))
    assert lines == ["all 100 images are from camera 6: every cluster is one proxy"]
    assert labels.proxies.tolist() == labels.clusters.tolist()
    assert labels.camera_of_proxy.tolist() == [6] * labels.n_clusters
    assert labels.n_clusters > 1


def test_fewer_images_than_min_samples(caplog):
    labels, lines = logged(caplog, clustered(3, 1, 0.1), torch.arange(3))
    assert lines == [
        "k1 = 20 is more than the 3 images: using k1 = 3",
        "3 images are fewer than min_samples = 4: no cluster is possible",
        "no cluster found: all 3 images are outliers at eps = 0.5, min_samples = 4",
    ]
    assert labels.clusters.tolist() == [-1, -1, -1]


def test_one_image(caplog):
    labels, _ = logged(caplog, torch.eye(1), torch.tensor([0]), min_samples=1)
    assert labels.clusters.tolist() == [0]


def test_duplicates_are_at_distance_0_and_told(caplog):
    features = clustered(60, 6, 0.5)
    features = torch.cat([features, features[:2]])
    np.testing.assert_allclose(jaccard_distances(features, dense=True)[[0, 1], [60, 61]], 0, atol=1e-6)
    labels, lines = logged(caplog, features, torch.arange(62) % 2)
    assert lines == ["2 of 62 images repeat the features of another one: duplicates?"]
    assert labels.clusters[:2].tolist() == labels.clusters[60:].tolist()


def test_more_duplicates_than_neighbours_stay_together(caplog):
    # 50 copies of each of two images: ties fill every neighbour list.
    features = torch.eye(8)[torch.arange(100) % 2]
    labels, lines = logged(caplog, features, torch.arange(100) % 3)
    assert labels.clusters.tolist() == [0, 1] * 50
    assert len(lines) == 1
    assert "duplicates?" in lines[0]
    np.testing.assert_allclose(
        jaccard_distances(features, dense=True), jaccard_by_definition(features, 20, 6), atol=1e-6
    )


@pytest.mark.parametrize(
    ("features", "camids", "options", "message"),
    [
        (torch.empty(0, 8), torch.empty(0), {}, "one row an image or more"),
        (torch.eye(4), torch.zeros(3), {}, "one number an image"),
        (torch.eye(4), torch.zeros(4), {"eps": 1.0}, "between 0 and 1"),
        (torch.eye(4), torch.zeros(4), {"eps": 0.0}, "between 0 and 1"),
    ],
)
def test_pseudo_labels_refuse_what_they_cannot_use(features, camids, options, message):
    with pytest.raises(ValueError, match=message):
        pseudo_labels(features, camids, **options)


def test_same_input_same_labels():
    features, camids = clustered(150, 12, 0.7), torch.arange(150) % 5
    first, second = (pseudo_labels(features, camids) for _ in range(2))
    assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in PseudoLabels.__annotations__)
