"""Appearance clusters: hand cases, loops for the silhouette, class sets, colours, what clusters tell of attributes."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from reidlib.appearance_clusters import (
    class_sets,
    colour_bins,
    kmeans,
    nearest_cluster,
    overlap,
    shared_information,
    silhouette,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs(centres, count=20, spread=0.3, seed=0):
    """count points around each centre (k, d): (k * count, d)."""
    centres = torch.as_tensor(centres, dtype=torch.float32).repeat_interleave(count, 0)
    return centres + spread * torch.randn(centres.shape, generator=generator(seed))


def same_partition(one, other):
    """Do two labellings put the same images together?"""
    return torch.equal(one[:, None] == one[None, :], other[:, None] == other[None, :])


# ---------------------------------------------------------------- k-means


def test_kmeans_of_numbers_on_a_line():
    points = torch.tensor([[0.0], [10.0], [1.0], [2.0], [12.0], [100.0]])
    labels, centroids = kmeans(points, 3)
    assert labels.dtype == torch.int64
    assert centroids.dtype == torch.float32
    assert same_partition(labels, torch.tensor([0, 1, 0, 0, 1, 2]))
    assert centroids[labels][:, 0].tolist() == pytest.approx([1, 11, 1, 1, 11, 100])


def test_centroids_are_means_and_every_image_is_in_the_nearest_cluster():
    points = torch.randn(300, 7, generator=generator())
    labels, centroids = kmeans(points, 5)
    assert sorted(labels.unique().tolist()) == [0, 1, 2, 3, 4]
    means = torch.stack([points[labels == number].mean(0) for number in range(5)])
    assert torch.allclose(centroids, means, atol=1e-2), "Lloyd's steps end when centroids hardly move"
    assert torch.equal(nearest_cluster(points, centroids), labels)


def test_features_are_taken_as_they_are():
    # by direction, images 0 and 1 belong together; by Euclidean distance, 0 and 2
    points = torch.tensor([[1.0, 0.0], [100.0, 0.0], [0.0, 1.0]])
    assert same_partition(kmeans(points, 2)[0], torch.tensor([0, 1, 0]))


def test_the_best_of_ten_starts_counts():
    # two pairs of blobs: a start with two centroids in one pair and one in the other can end there
    points = blobs([[0.0], [10.0], [1000.0], [1010.0]], count=5)
    right = torch.arange(4).repeat_interleave(5)
    assert all(same_partition(kmeans(points, 4, seed)[0], right) for seed in range(15))


def test_kmeans_is_the_seeds_and_no_other_randomness():
    points = torch.randn(200, 6, generator=generator(1))
    np.random.seed(3)
    first = kmeans(points, 4, seed=7)
    np.random.seed(4)
    assert all(torch.equal(one, other) for one, other in zip(first, kmeans(points, 4, seed=7), strict=True))
    assert any(not torch.equal(first[0], kmeans(points, 4, seed=seed)[0]) for seed in range(4))
    assert torch.equal(kmeans(points.double(), 4, seed=7)[0], first[0])


def test_one_cluster_and_as_many_as_images():
    points = torch.randn(6, 3, generator=generator())
    labels, centroids = kmeans(points, 1)
    assert labels.tolist() == [0] * 6
    assert torch.allclose(centroids[0], points.mean(0), atol=1e-6)
    labels, centroids = kmeans(points, 6)
    assert sorted(labels.tolist()) == list(range(6))
    assert torch.allclose(centroids[labels], points, atol=1e-6)


@pytest.mark.parametrize("seed", [3, 6, 21, 30])
def test_many_equal_images(seed):
    # in these a start that draws one point more than once leaves a cluster empty
    base = 100 * torch.randn(8, 3, generator=(g := generator(seed)))
    points = base[torch.randint(0, 8, (300,), generator=g) ** 2 // 8]
    different = len(points.unique(dim=0))
    labels, centroids = kmeans(points, different, seed)
    assert torch.allclose(centroids[labels], points, atol=1e-3)
    with pytest.raises(ValueError, match=f"only {different} features differ, too few for {different + 1} clusters"):
        kmeans(points, different + 1, seed)


def test_with_equal_images_centroids_are_still_means_of_images():
    base = 100 * torch.randn(5, 2, generator=generator(172))  # the starts of this seed draw one of the points twice
    points = base[torch.tensor([0] * 60 + [1] * 40 + [2] * 30 + [3, 4])]
    labels, centroids = kmeans(points, 4, 172)
    means = torch.stack([points[labels == number].mean(0) for number in range(4)])
    assert torch.allclose(centroids, means, atol=1e-3)
    assert torch.equal(nearest_cluster(points, centroids), labels)


def test_kmeans_is_scikit_learns_from_ten_random_starts():
    points = torch.randn(150, 3, generator=generator(3))
    for seed in range(5):
        expected = KMeans(4, init="random", n_init=10, random_state=seed).fit(points.numpy())
        labels, centroids = kmeans(points, 4, seed)
        assert labels.tolist() == expected.labels_.tolist()
        assert torch.allclose(centroids, torch.from_numpy(expected.cluster_centers_), atol=1e-5)


def test_kmeans_refuses():
    points = torch.randn(5, 2, generator=generator())
    for k in (0, -1, 6):
        with pytest.raises(ValueError, match=rf"k-means needs 1 to n = 5 clusters for n images, got k = {k}"):
            kmeans(points, k)
    with pytest.raises(ValueError, match=r"kmeans needs features as floats .*, got torch.float32 \(10,\)"):
        kmeans(points.flatten(), 2)
    with pytest.raises(ValueError, match=r"kmeans needs features as floats .*, got torch.int64 \(5, 2\)"):
        kmeans(points.long(), 2)
    points[3, 1] = torch.nan
    with pytest.raises(ValueError, match="finite features, but those of image 3 are not"):
        kmeans(points, 2)


def test_nearest_cluster():
    centroids = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0]])
    points = torch.tensor([[1.0, 1.0], [3.0, 1.0], [2.0, 0.0], [-1.0, 5.0]])
    assert nearest_cluster(points, centroids).tolist() == [0, 1, 0, 2], "the first of equals"
    assert nearest_cluster(points[:0], centroids).shape == (0,)
    far = 10_000.0  # squared distances by products would lose these differences
    assert nearest_cluster(points + far, centroids + far).tolist() == [0, 1, 0, 2]
    for wrong in (centroids[:, :1], centroids[:0], centroids[0]):
        with pytest.raises(ValueError, match=r"needs features \(m, d\) and centroids \(k, d\) of one width"):
            nearest_cluster(points, wrong)


# ---------------------------------------------------------------- silhouette


def slow_silhouette(points, labels):
    """The definition, image by image."""
    points, labels = points.double(), labels.tolist()
    distances = [[(one - other).norm().item() for other in points] for one in points]
    values = []
    for i, own in enumerate(labels):
        groups = {k: [distances[i][j] for j, other in enumerate(labels) if other == k and j != i] for k in set(labels)}
        if not groups[own]:
            values.append(0.0)
            continue
        a = sum(groups[own]) / len(groups[own])
        b = min(sum(group) / len(group) for k, group in groups.items() if k != own)
        values.append((b - a) / max(a, b))
    return sum(values) / len(values)


def test_silhouette_by_hand():
    points = torch.tensor([[0.0], [1.0], [10.0], [12.0]])
    values = [(11 - 1) / 11, (10 - 1) / 10, (9.5 - 2) / 9.5, (11.5 - 2) / 11.5]
    assert silhouette(points, 2) == pytest.approx(sum(values) / 4, rel=1e-6)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_silhouette_against_loops(k):
    points = blobs(torch.randn(3, 4, generator=generator(2)) * 2, 15, spread=1.0)
    labels, _ = kmeans(points, k, seed=1)
    assert silhouette(points, k, seed=1) == pytest.approx(slow_silhouette(points, labels), abs=1e-5)


def test_an_image_alone_in_its_cluster_counts_zero():
    points = torch.tensor([[0.0], [1.0], [50.0]])
    assert silhouette(points, 2) == pytest.approx(((50 - 1) / 50 + (49 - 1) / 49 + 0) / 3, rel=1e-6)


def test_pca2_is_k_means_and_silhouette_on_two_components():
    # two directions carry the clusters, thirty carry noise
    signal = blobs([[6.0, 0.0], [-3.0, 5.0], [-3.0, -5.0]], 25, spread=0.5)
    noise = torch.randn(75, 30, generator=generator(5))
    turn = torch.linalg.qr(torch.randn(32, 32, generator=generator(6)))[0]
    points = torch.cat([signal, noise], 1) @ turn + 3
    centred = (points - points.mean(0)).double()
    plane = (centred @ torch.linalg.svd(centred, full_matrices=False)[2][:2].T).float()
    flat = silhouette(points, 3, "pca2")
    assert flat == pytest.approx(slow_silhouette(plane, kmeans(plane, 3)[0]), abs=1e-4)
    assert flat > silhouette(points, 3) + 0.2
    wide = torch.cat([points, torch.zeros(75, 100)], 1)  # fewer images than dimensions
    assert silhouette(wide, 3, "pca2") == pytest.approx(flat, abs=1e-4)
    assert silhouette(plane, 3, "full") == pytest.approx(silhouette(plane, 3, "pca2"), abs=1e-5)


@pytest.mark.parametrize("space", ["full", "pca2"])
def test_the_silhouette_is_highest_at_the_true_number(space):
    points = blobs([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 0.0]], 20, spread=0.8)
    found = {k: silhouette(points, k, space) for k in range(2, 6)}
    assert max(found, key=found.get) == 3
    assert all(-1 <= value <= 1 for value in found.values())
    assert silhouette(points, 3, space) == found[3]


def test_silhouette_refuses():
    points = torch.randn(6, 2, generator=generator())
    for k in (0, 1, 6, 7):
        with pytest.raises(ValueError, match=rf"needs from 2 to n - 1 = 5 clusters of n images, got k = {k}"):
            silhouette(points, k)
    with pytest.raises(ValueError, match="unknown space 'pca' for a silhouette; one of full, pca2"):
        silhouette(points, 2, "pca")
    with pytest.raises(ValueError, match='space "pca2" needs features of two dimensions or more'):
        silhouette(points[:, :1], 2, "pca2")
    with pytest.raises(ValueError, match="silhouette needs finite features, but those of image 2 are not"):
        silhouette(points.index_fill(0, torch.tensor([2]), torch.inf), 2)


# ---------------------------------------------------------------- class sets


def test_class_sets_and_their_overlap_by_hand():
    clusters = torch.tensor([0, 0, 1, 1, 1, 0, 2])
    labels = torch.tensor([0, 2, 2, 2, 1, -1, -1])
    sets = class_sets(clusters, labels, 3, 4)
    assert sets.int().tolist() == [[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert sets.dtype == torch.bool
    assert overlap(sets) == pytest.approx((2 + 2 + 0) / 3 / 4)
    assert overlap(torch.ones(3, 9, dtype=torch.bool)) == 1
    assert overlap(torch.eye(5, dtype=torch.bool)) == pytest.approx(1 / 5)


def test_class_sets_against_loops():
    g = generator(4)
    clusters, labels = torch.randint(0, 4, (60,), generator=g), torch.randint(-1, 30, (60,), generator=g)
    sets = class_sets(clusters, labels, 4, 30)
    pairs = set(zip(clusters.tolist(), labels.tolist(), strict=True))
    assert all(sets[k, c].item() == ((k, c) in pairs) for k in range(4) for c in range(30))
    order = torch.randperm(60, generator=g)
    assert torch.equal(class_sets(clusters[order].int(), labels[order].int(), 4, 30), sets)
    assert not class_sets(clusters[:0], labels[:0], 2, 3).any()


def test_class_sets_refuse():
    clusters, labels = torch.tensor([0, 1]), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"two lists of one length, got shapes \(2,\) and \(1,\)"):
        class_sets(clusters, labels[:1], 2, 2)
    with pytest.raises(ValueError, match="clusters must lie in 0 to 0, got 1"):
        class_sets(clusters, labels, 1, 2)
    with pytest.raises(ValueError, match="clusters must lie in 0 to 1, got -1"):
        class_sets(clusters - 1, labels, 2, 2)
    with pytest.raises(ValueError, match="labels must lie in -1 to 0, got 1"):
        class_sets(clusters, labels, 2, 1)
    with pytest.raises(ValueError, match="labels must lie in -1 to 1, got -2"):
        class_sets(clusters, labels - 2, 2, 2)
    with pytest.raises(ValueError, match=r"labels must be integers, got torch\.float32"):
        class_sets(clusters, labels.float(), 2, 2)
    for wrong in (torch.ones(2, 2), torch.ones(4, dtype=torch.bool), torch.ones(0, 3, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"overlap needs class sets as bool \(clusters, classes\)"):
            overlap(wrong)


# ---------------------------------------------------------------- colours


def dressed(colours, h=6, w=4):
    """Images of garments (part 2 and 5) in these colours on noise, and their parts."""
    g = generator(8)
    images = torch.randint(0, 256, (len(colours), 3, h, w), generator=g, dtype=torch.uint8)
    parts = torch.randint(0, 2, (len(colours), h, w), generator=g, dtype=torch.uint8)
    for image, part, colour in zip(images, parts, colours, strict=True):
        if colour is not None:
            image[:, 2:4] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
            part[2], part[3] = 2, 5
    return images, parts


def test_colours_of_a_garment_are_binned():
    red, green, dark = (250, 0, 0), (0, 240, 10), (5, 5, 5)
    shades = [red, green, None, (245, 5, 0), dark, (0, 0, 0), (5, 250, 0), red]
    numbers = colour_bins(*dressed(shades), members=[2, 5], bins=3)
    assert numbers.dtype == torch.int64
    assert numbers[2] == -1
    seen = torch.tensor([0, 1, 3, 4, 5, 6, 7])
    assert same_partition(numbers[seen], torch.tensor([0, 1, 0, 2, 2, 1, 0]))
    assert sorted(numbers[seen].unique().tolist()) == [0, 1, 2]


def test_the_mean_is_of_the_members_pixels_only():
    images, parts = dressed([(200, 0, 0), (0, 0, 200), (200, 0, 0), (0, 0, 200)])
    images[2:, :, 3] = 50  # part 5 of two images
    assert same_partition(colour_bins(images, parts, [2], bins=2), torch.tensor([0, 1, 0, 1]))
    assert same_partition(colour_bins(images, parts, [5], bins=3), torch.tensor([0, 1, 2, 2]))
    both = colour_bins(images, parts, [2, 5], bins=4)  # means of 200 and 50
    assert len(both.unique()) == 4
    assert (colour_bins(images, parts, [7]) == -1).all()


def test_mean_colours_against_loops(monkeypatch):
    g = generator(1)
    images = torch.randint(0, 256, (40, 3, 16, 8), generator=g, dtype=torch.uint8)
    parts = torch.randint(0, 5, (40, 16, 8), generator=g, dtype=torch.uint8)
    seen = []

    def spy(features, k, seed):
        seen.append((features, k, seed))
        return torch.zeros(len(features), dtype=torch.int64), None

    monkeypatch.setattr("reidlib.appearance_clusters.kmeans", spy)
    monkeypatch.setattr("reidlib.appearance_clusters.CHUNK", 7)
    colour_bins(images, parts, [1, 3], bins=6, seed=9)
    (features, k, seed), means = seen[0], []
    for image, part in zip(images.double(), parts, strict=True):
        inside = (part == 1) | (part == 3)
        means.append([channel[inside].mean().item() for channel in image])
    assert (k, seed) == (6, 9)
    assert torch.allclose(features.double(), torch.tensor(means, dtype=torch.float64), atol=1e-4)


def test_fewer_colours_than_bins_have_one_each():
    shades = [(9, 9, 9), (200, 1, 1), (9, 9, 9), (200, 1, 1), (1, 200, 1)]
    assert same_partition(colour_bins(*dressed(shades), members=[2]), torch.tensor([0, 1, 0, 1, 2]))
    images, parts = dressed(shades)
    assert torch.equal(colour_bins(images, parts, [2]), colour_bins(images, parts, [2]))
    assert colour_bins(images[:0], parts[:0], [2]).shape == (0,)


def test_colour_bins_refuse():
    images, parts = dressed([(1, 2, 3)] * 2)
    for wrong in ((images.float(), parts), (images[:1], parts), (images[:, :2], parts), (images, parts[:, :3])):
        with pytest.raises(ValueError, match=r"needs images uint8 \(n, 3, h, w\) and parts \(n, h, w\), got"):
            colour_bins(*wrong, [2])
    with pytest.raises(ValueError, match=r"a part number or more and a bin or more, got \[\] and 8"):
        colour_bins(images, parts, [])
    with pytest.raises(ValueError, match=r"a bin or more, got \[2\] and 0"):
        colour_bins(images, parts, [2], bins=0)


# ---------------------------------------------------------------- what clusters follow


def test_information_of_equal_independent_and_partial_attributes():
    g = generator(3)
    clusters = torch.randint(0, 3, (3000,), generator=g)
    half = torch.where(torch.rand(3000, generator=g) < 0.5, clusters, torch.randint(0, 3, (3000,), generator=g))
    renamed = torch.tensor([7, 0, 4])[clusters]
    found = shared_information(
        clusters,
        {
            "equal": clusters,
            "renamed": renamed,
            "half": half,
            "alone": torch.arange(3000),
            "random": torch.randint(0, 90, (3000,), generator=g).numpy(),
        },
    )
    assert list(found) == ["equal", "renamed", "half", "alone", "random"]
    assert found["equal"] == pytest.approx(1)
    assert found["renamed"] == pytest.approx(1)
    assert 0.1 < found["half"] < 0.5
    assert abs(found["random"]) < 0.01
    assert abs(found["alone"]) < 0.01, "numbers that every image has for itself tell nothing beyond chance"


def test_images_without_an_attribute_are_left_out_of_it_alone():
    clusters = torch.tensor([0, 0, 1, 1, 2, 2] * 5)
    known = torch.arange(30) < 24
    partly = torch.where(known, clusters, -1)
    found = shared_information(clusters, {"partly": partly, "other": clusters})
    assert found["partly"] == pytest.approx(1)
    assert shared_information(clusters, {"all": torch.where(known, clusters, 5)})["all"] < 0.9
    assert found["other"] == pytest.approx(1)
    assert shared_information(clusters, {}) == {}


def test_information_of_an_attribute_that_gives_the_cluster():
    """90 people, 30 in each of 3 clusters: people give the cluster, clusters do not give the person."""
    people = torch.arange(90).repeat(40)
    clusters = people % 3
    assert shared_information(clusters, {"people": people}, "min")["people"] == pytest.approx(1)
    expected = math.log(3) / ((math.log(3) + math.log(90)) / 2)
    assert shared_information(clusters, {"people": people})["people"] == pytest.approx(expected, abs=0.02)


def test_information_refuses():
    clusters = torch.tensor([0, 1, 1])
    with pytest.raises(ValueError, match=r"attribute 'camera' must be one number an image: got \(2,\) for \(3,\)"):
        shared_information(clusters, {"camera": torch.tensor([0, 1])})
    with pytest.raises(ValueError, match=r"attribute 'brightness' must be integers, got float32: .* into bins first"):
        shared_information(clusters, {"brightness": torch.rand(3)})
    with pytest.raises(ValueError, match=r"attribute 'upper' is unknown for all 3 images: leave it out"):
        shared_information(clusters, {"upper": np.array([-1, -1, -1])})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_features_on_a_gpu():
    points = blobs([[0.0, 0.0], [9.0, 9.0]])
    labels, centroids = kmeans(points.cuda(), 2)
    assert torch.equal(labels, kmeans(points, 2)[0])
    there = nearest_cluster(points.cuda(), centroids)
    assert there.is_cuda
    assert torch.equal(there.cpu(), labels)
    assert class_sets(there, labels, 2, 2).is_cuda
    assert silhouette(points.cuda(), 2) == silhouette(points, 2)
    images, parts = dressed([(1, 2, 3), (200, 2, 3)])
    assert torch.equal(colour_bins(images.cuda(), parts.cuda(), [2]), colour_bins(images, parts, [2]))
    assert shared_information(there, {"same": labels.cuda()})["same"] == pytest.approx(1)
