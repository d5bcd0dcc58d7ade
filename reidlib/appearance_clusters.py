"""Clusters of images that look alike, the classes in each, how distinct they are, and what they follow.

Source: Ainam et al., Sparse Label Smoothing for Semi-supervised Person Re-Identification (2018), Algorithm 1 and
Eq. 9. One generator is trained on the images of each cluster. Features are those of a network, taken as they are;
distances are Euclidean. Everything runs on the CPU and depends on its arguments and the seed only.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

STARTS = 10  # k-means runs from random images, of which the best counts
SPACES = ("full", "pca2")
CHUNK = 1024  # images whose pixels are looked at at once


def kmeans(features: Tensor, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """k-means clusters: labels int64 (n,), 0 to k - 1, and centroids float32 (k, d), on the CPU.

    Lloyd's algorithm (scikit-learn) from k images drawn at random, as in Algorithm 1 of the paper; of 10 such starts
    that with the least sum of squared distances to the centroids counts. No cluster is empty.

    features: float (n, d), not normalised. Raises ValueError unless 1 <= k <= n, for features that are not finite, and
    where fewer than k images differ.
    """
    points = _points("kmeans", features)
    if not 1 <= k <= len(points):
        raise ValueError(f"k-means needs 1 to n = {len(points)} clusters for n images, got k = {k}")
    return _fit(points, k, seed)


def nearest_cluster(features: Tensor, centroids: Tensor) -> Tensor:
    """The cluster whose centroid is nearest, the first of equals: int64 (m,) on features' device.

    features: float (m, d); centroids: float (k, d), k of 1 or more. Raises ValueError for shapes that do not fit.
    """
    if features.ndim != 2 or centroids.ndim != 2 or features.shape[1] != centroids.shape[1] or len(centroids) == 0:
        found = f"{tuple(features.shape)} and {tuple(centroids.shape)}"
        raise ValueError(f"nearest_cluster needs features (m, d) and centroids (k, d) of one width d, got {found}")
    rows, centres = features.float(), centroids.to(features.device).float()
    return torch.cdist(rows, centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)


def silhouette(features: Tensor, k: int, space: str = "full", seed: int = 0) -> float:
    """Mean silhouette of k-means clusters, -1 to 1: how much nearer the images are to their own than to another one.

    An image gives (b - a) / max(a, b): a is its mean distance to the others of its cluster, b the smallest of its mean
    distances to the images of another cluster; 0 where it is alone in its cluster. Time grows with n^2.

    space: "full" clusters and measures in the features; "pca2" does both anew on their first two principal components,
    as the paper's released code does: its values are higher, since the directions in which clusters overlap are gone,
    and are not of the clusters that `kmeans` finds in the features.
    features: float (n, d). Raises ValueError unless 2 <= k < n, for another space, for "pca2" of one-dimensional
    features, and as `kmeans`.
    """
    from sklearn.metrics import silhouette_score

    if space not in SPACES:
        raise ValueError(f"unknown space {space!r} for a silhouette; one of {', '.join(SPACES)}")
    points = _points("silhouette", features)
    if not 2 <= k < len(points):
        raise ValueError(f"a silhouette needs from 2 to n - 1 = {len(points) - 1} clusters of n images, got k = {k}")
    if space == "pca2":
        points = _first_two(points)
    labels, _ = _fit(points, k, seed)
    with _one_thread():
        return float(silhouette_score(points, labels.numpy()))


def class_sets(clusters: Tensor, labels: Tensor, k: int, classes: int) -> Tensor:
    """C_k of Eq. 9, the classes with at least one image in each cluster: bool (k, classes) on clusters' device.

    clusters: integers (n,), 0 to k - 1; labels: integers (n,), 0 to classes - 1, or -1 for an image without a label,
    which adds no class. The row of a cluster without labelled images is empty: `sparse` targets refuse it.
    Raises ValueError for shapes and numbers that do not fit.
    """
    labels = labels.to(clusters.device)
    if clusters.ndim != 1 or clusters.shape != labels.shape:
        found = f"{tuple(clusters.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"clusters and labels must be two lists of one length, got shapes {found}")
    _in_range("clusters", clusters, 0, k)
    _in_range("labels", labels, -1, classes)
    sets = torch.zeros(k, classes, dtype=torch.bool, device=clusters.device)
    known = labels >= 0
    sets[clusters[known].long(), labels[known].long()] = True
    return sets


def overlap(class_sets: Tensor) -> float:
    """Mean size of a cluster's class set as a share of all classes, 0 to 1.

    At 1 every class is in every cluster, and sparse label smoothing is uniform (LSRO); with each class in one cluster
    it is 1 / k. class_sets: bool (k, K). Raises ValueError for another shape or type, and for an empty table.
    """
    if class_sets.ndim != 2 or class_sets.dtype != torch.bool or class_sets.numel() == 0:
        found = f"{class_sets.dtype} {tuple(class_sets.shape)}"
        raise ValueError(f"overlap needs class sets as bool (clusters, classes), got {found}")
    return class_sets.double().mean().item()


def colour_bins(images: Tensor, parts: Tensor, members: Sequence[int], bins: int = 8, seed: int = 0) -> Tensor:
    """A number for the colour of one garment in each image: int64 (n,), 0 to bins - 1, -1 where it is not visible.

    The mean red, green and blue of its pixels, put into bins by `kmeans`; where there are fewer different mean colours
    than bins, each has its own. images: uint8 (n, 3, h, w); parts: uint8 (n, h, w), the part that each pixel shows;
    members: the part numbers that make up the garment. Raises ValueError for shapes and types that do not fit, no
    members, and bins below 1.
    """
    fits = images.ndim == 4 and images.shape[1] == 3 and parts.shape == (len(images), *images.shape[2:])
    if not fits or images.dtype != torch.uint8:
        found = f"{images.dtype} {tuple(images.shape)} and {tuple(parts.shape)}"
        raise ValueError(f"colour_bins needs images uint8 (n, 3, h, w) and parts (n, h, w), got {found}")
    if bins < 1 or len(members) == 0:
        raise ValueError(f"colour_bins needs a part number or more and a bin or more, got {list(members)} and {bins}")
    colours = torch.full((len(images), 3), torch.nan)
    wanted = torch.tensor(list(members), device=parts.device)
    for rows in torch.arange(len(images)).split(CHUNK):
        mask = torch.isin(parts[rows], wanted).to(images.device)
        pixels = mask.sum((1, 2))[:, None]
        sums = (images[rows] * mask[:, None]).sum((2, 3), dtype=torch.int64)
        colours[rows] = (sums / pixels).cpu()  # nan without a pixel
    seen = ~colours[:, 0].isnan()
    numbers = torch.full((len(images),), -1)
    if seen.any():
        different = len(torch.unique(colours[seen], dim=0))
        numbers[seen] = kmeans(colours[seen], min(bins, different), seed)[0]
    return numbers


def shared_information(
    clusters: Tensor, attributes: Mapping[str, Tensor | np.ndarray], average: str = "arithmetic"
) -> dict[str, float]:
    """How much clusters and each attribute of the images tell about each other: {name: adjusted mutual information}.

    The mutual information beyond chance as a share of an average of the two entropies (scikit-learn's
    adjusted_mutual_info_score): about 0 (a little below, too) where they have no more in common than by chance.
    average: "arithmetic", with which an attribute of many values stays far below 1 even where it gives the cluster; or
    "min", the smaller entropy, with which it is 1 where the attribute gives the cluster: the share of the clusters that
    it explains, as long as it has more values than there are clusters.

    clusters: integers (n,); attributes: integers (n,) each, such as colour bins or camera numbers; images with a
    negative one are left out of that attribute. Raises ValueError, naming the attribute, for another length, numbers
    that are not integers (put measures such as brightness into bins first), and where no image is left.
    """
    from sklearn.metrics import adjusted_mutual_info_score

    own, found = torch.as_tensor(clusters).cpu().numpy(), {}
    for name, values in attributes.items():
        values = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        if own.ndim != 1 or values.shape != own.shape:
            raise ValueError(f"attribute {name!r} must be one number an image: got {values.shape} for {own.shape}")
        if values.dtype.kind not in "iub":
            raise ValueError(f"attribute {name!r} must be integers, got {values.dtype}: put its values into bins first")
        known = values >= 0
        if not known.any():
            raise ValueError(f"attribute {name!r} is unknown for all {len(own)} images: leave it out")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
            found[name] = float(adjusted_mutual_info_score(values[known], own[known], average_method=average))
    return found


def _points(function: str, features: Tensor) -> np.ndarray:
    """features (n, d) as a float32 array, checked."""
    if features.ndim != 2 or not features.is_floating_point():
        found = f"{features.dtype} {tuple(features.shape)}"
        raise ValueError(f"{function} needs features as floats of shape (n, d), got {found}")
    points = np.ascontiguousarray(features.detach().float().cpu().numpy())
    if not np.isfinite(points).all():
        row = int((~np.isfinite(points)).any(1).argmax())
        raise ValueError(f"{function} needs finite features, but those of image {row} are not: check the network")
    return points


def _fit(points: np.ndarray, k: int, seed: int) -> tuple[Tensor, Tensor]:
    labels, centres = _lloyd(points, k, seed)
    if len(np.unique(labels)) < k:  # a start may draw equal images twice: draw among the different ones
        points, each, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
        if len(points) < k:
            raise ValueError(f"only {len(points)} features differ, too few for {k} clusters that have images: lower k")
        labels, centres = _lloyd(points, k, seed, counts)
        labels = labels[each]
    return torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(centres.astype(np.float32))


def _lloyd(points: np.ndarray, k: int, seed: int, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels and centroids by scikit-learn; weights: how many images each point stands for."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with _one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of clusters without images, which `_fit` handles
        found = KMeans(n_clusters=k, init="random", n_init=STARTS, random_state=seed).fit(points, sample_weight=weights)
    return found.labels_, found.cluster_centers_


def _first_two(points: np.ndarray) -> np.ndarray:
    """Coordinates of points on their first two principal components, float32 (n, 2)."""
    from sklearn.decomposition import PCA

    n, d = points.shape
    if d < 2:
        raise ValueError('space "pca2" needs features of two dimensions or more, got one: use "full"')
    solver = "covariance_eigh" if n >= d else "full"
    with _one_thread():
        return PCA(n_components=2, svd_solver=solver).fit_transform(points.astype(np.float64)).astype(np.float32)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of computation: sums by several threads change their order, and results by rounding, between runs."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def _in_range(name: str, values: Tensor, first: int, end: int) -> None:
    if values.is_floating_point() or values.dtype == torch.bool:
        raise ValueError(f"{name} must be integers, got {values.dtype}")
    wrong = (values < first) | (values >= end)
    if wrong.any():
        raise ValueError(f"{name} must lie in {first} to {end - 1}, got {int(values[wrong][0])}")
