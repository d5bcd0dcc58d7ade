"""Pseudo labels for unsupervised training: k-reciprocal Jaccard distances, DBSCAN, camera-aware proxies.

Source: Wang et al. (2021), "Camera-aware Proxies" (CAP). The distances are those of `reidlib.jaccard`.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn.functional import normalize

from reidlib.jaccard import jaccard_distances

log = logging.getLogger("reidlib.clustering")


@dataclass(frozen=True)
class PseudoLabels:
    """What clustering made of n images: int64 tensors on the CPU.

    clusters (n,): 0..c-1, or -1 for an outlier. proxies (n,): 0..m-1, the images of one cluster in one camera, -1 for
    an outlier. cluster_of_proxy, camera_of_proxy (m,).
    """

    clusters: Tensor
    proxies: Tensor
    cluster_of_proxy: Tensor
    camera_of_proxy: Tensor

    @property
    def n_clusters(self) -> int:
        return int(self.clusters.max()) + 1

    @property
    def n_outliers(self) -> int:
        return int((self.clusters < 0).sum())

    @property
    def n_proxies(self) -> int:
        return len(self.cluster_of_proxy)

    def summary(self) -> dict[str, float]:
        """Counts, and mean images of a cluster and of a proxy (0 where there is none)."""
        inliers = len(self.clusters) - self.n_outliers
        return {
            "clusters": float(self.n_clusters),
            "outliers": float(self.n_outliers),
            "proxies": float(self.n_proxies),
            "images_per_cluster": inliers / max(1, self.n_clusters),
            "images_per_proxy": inliers / max(1, self.n_proxies),
        }


def pseudo_labels(
    features: Tensor, camids: Tensor, k1: int = 20, k2: int = 6, eps: float = 0.5, min_samples: int = 4
) -> PseudoLabels:
    """Cluster features by `jaccard_distances` and `dbscan`, split clusters by camera with `proxy_labels`.

    features: float (n, d), L2-normalised; camids: integers (n,). eps: 0 < eps < 1. The defaults are CAP's.
    Logs a line when nothing or everything came together, when there is one camera only, when there are fewer images
    than min_samples, and when images are duplicates. Raises ValueError as the three functions do.
    """
    camids = torch.as_tensor(camids).cpu()
    if camids.ndim != 1 or len(camids) != len(features):
        raise ValueError(f"camids must be one number an image: got {tuple(camids.shape)} for {len(features)} features")
    if not 0 < eps < 1:
        raise ValueError(f"eps must be between 0 and 1 (pairs without a common neighbour have distance 1), got {eps}")
    distances = jaccard_distances(features, k1, k2, below=np.nextafter(np.float32(eps), np.float32(2)))
    clusters = dbscan(distances, eps, min_samples)
    labels = PseudoLabels(clusters, *proxy_labels(clusters, camids))
    _log_oddities(labels, features, camids, eps, min_samples)
    return labels


def dbscan(distances: sparse.csr_array, eps: float = 0.5, min_samples: int = 4) -> Tensor:
    """DBSCAN on a sparse graph of distances: int64 (n,) on the CPU, clusters 0..c-1, -1 for an outlier.

    distances: csr (n, n), symmetric; a pair without an entry is farther than eps, so a graph that was cut must hold all
    distances <= eps. scikit-learn's rule: neighbours are at a distance <= eps (compared in the graph's own float type),
    an image is its own neighbour, and it is a core image with min_samples neighbours or more.
    Raises ValueError when the graph is not square or is empty, or eps or min_samples is not positive.
    """
    from sklearn.cluster import DBSCAN

    if distances.shape[0] != distances.shape[1] or distances.shape[0] == 0:
        raise ValueError(f"distances must be a square table of one image or more, got {distances.shape}")
    if not eps > 0 or min_samples < 1:
        raise ValueError(f"need eps above 0 and min_samples of 1 or more, got eps={eps}, min_samples={min_samples}")
    near = distances.data <= distances.dtype.type(eps)
    indptr = np.concatenate([[0], near.cumsum(dtype=np.int64)])[distances.indptr]
    kept = sparse.csr_array((distances.data[near], distances.indices[near], indptr), shape=distances.shape)
    found = DBSCAN(eps=float(distances.dtype.type(eps)), min_samples=min_samples, metric="precomputed").fit(kept)
    return torch.from_numpy(found.labels_.astype(np.int64))


def proxy_labels(clusters: Tensor, camids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split clusters by camera (CAP): proxies (n,), cluster_of_proxy (m,), camera_of_proxy (m,), all int64.

    clusters: integers (n,), negative for an outlier, whose proxy is -1; camids: integers (n,). Proxies are numbered by
    cluster, then camera. Raises ValueError when the two differ in shape.
    """
    clusters, camids = torch.as_tensor(clusters).long(), torch.as_tensor(camids).long()
    if clusters.ndim != 1 or clusters.shape != camids.shape:
        raise ValueError(
            f"clusters and camids must be two lists of one length, "
            f"got shapes {tuple(clusters.shape)} and {tuple(camids.shape)}"
        )
    inlier = clusters >= 0
    pairs = torch.stack((clusters, camids.to(clusters.device)), dim=1)[inlier]
    proxies = torch.full_like(clusters, -1)
    if len(pairs) == 0:
        return proxies, clusters.new_empty(0), clusters.new_empty(0)
    found, proxies[inlier] = torch.unique(pairs, dim=0, return_inverse=True)
    return proxies, found[:, 0].contiguous(), found[:, 1].contiguous()


def centroids(features: Tensor, labels: Tensor) -> Tensor:
    """L2-normalised mean feature of each label: float32 (c, d) on features' device, c the largest label + 1.

    features: float (n, d); labels: integers (n,), of clusters or proxies; images with a negative label are left out.
    Raises ValueError when a label from 0 to c - 1 has no image, or the lengths differ.
    """
    labels = torch.as_tensor(labels).to(features.device).long()
    if labels.ndim != 1 or features.ndim != 2 or len(labels) != len(features):
        raise ValueError(f"got labels of shape {tuple(labels.shape)} for features of shape {tuple(features.shape)}")
    counts = torch.bincount(labels[labels >= 0])
    if (counts == 0).any():
        raise ValueError(f"label {int((counts == 0).nonzero()[0, 0])} has no image: number the labels from 0 to c - 1")
    order = torch.argsort(labels, stable=True)[(labels < 0).sum() :]
    sums = [features[rows].float().mean(dim=0) for rows in order.split(counts.tolist())]
    return normalize(torch.stack(sums)) if sums else features.new_empty(0, features.shape[1]).float()


def _log_oddities(labels: PseudoLabels, features: Tensor, camids: Tensor, eps: float, min_samples: int) -> None:
    count = len(camids)
    if count < min_samples:
        log.warning("%d images are fewer than min_samples = %d: no cluster is possible", count, min_samples)
    if labels.n_clusters == 0:
        log.warning(
            "no cluster found: all %d images are outliers at eps = %g, min_samples = %d", count, eps, min_samples
        )
    elif labels.n_clusters == 1 and labels.n_outliers == 0:
        log.warning("all %d images are in one cluster at eps = %g: nothing to tell apart", count, eps)
    if len(camids.unique()) == 1:
        log.warning("all %d images are from camera %d: every cluster is one proxy", count, int(camids[0]))
    different = len({hash(row.tobytes()) for row in features.detach().float().cpu().numpy()})
    if different < count:
        log.warning("%d of %d images repeat the features of another one: duplicates?", count - different, count)
