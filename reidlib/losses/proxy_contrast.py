"""Contrast of features with a memory of camera-aware proxies: one vector for each (cluster, camera) pair.

Source: the camera-aware proxies of CAP (Wang et al., Camera-aware Proxies for Unsupervised Person Re-Identification,
2021), as Cao et al., Exploring Sampler Strategies in Unsupervised Person Re-identification Training, use them (Eq. 1).
Features are L2-normalised; s_j is the product of a feature with proxy j, divided by the temperature. Gradients reach
the features only: the memory is constant in the loss, and the choice of negatives is not differentiated. All is
computed in float32 (float64 stays), also under autocast.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib import products


class ProxyMemory:
    """One vector for each proxy, moved towards the features of its images.

    centroids: float (m, d), stored L2-normalised in `vectors`, a copy of at least float32 that never requires a
    gradient; cluster_of_proxy, camera_of_proxy: integers (m,). The memory lies on the device of the centroids.
    momentum: share of the old vector that an update keeps, in [0, 1] (CAP: 0.2).
    Raises ValueError for shapes that do not fit, for no proxy, and for a momentum outside [0, 1].
    """

    def __init__(self, centroids: Tensor, cluster_of_proxy: Tensor, camera_of_proxy: Tensor, momentum: float = 0.2):
        m = len(centroids)
        if centroids.ndim != 2 or m == 0 or cluster_of_proxy.shape != (m,) or camera_of_proxy.shape != (m,):
            raise ValueError(
                "ProxyMemory needs centroids (m, d), cluster_of_proxy (m,) and camera_of_proxy (m,), m of 1 or more, "
                f"got {_shapes(centroids, cluster_of_proxy, camera_of_proxy)}"
            )
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum is the share of the old vector that is kept, in [0, 1], got {momentum}")
        self.vectors = F.normalize(_at_least_float32(centroids.detach()), dim=1)
        self.cluster_of_proxy = cluster_of_proxy.to(centroids.device)
        self.camera_of_proxy = camera_of_proxy.to(centroids.device)
        self.momentum = momentum

    @torch.no_grad()
    def update(self, features: Tensor, proxies: Tensor) -> None:
        """Move the proxies of a batch: for one sample after the other, m <- normalise(momentum m + (1 - momentum) f).

        features: float (b, d), L2-normalised; proxies: integers (b,), the proxy of each sample. Call it after
        backward(), which refuses to run over a memory that has changed since the loss. A proxy with several samples
        takes them in batch order; samples of different proxies do not touch each other, so the r-th samples of all
        proxies move together. Raises ValueError for shapes that do not fit and for a proxy that is not in the memory.
        """
        _check(features, proxies, self, "update", "proxies")
        _check_in_memory(proxies, self)
        earlier = (proxies[:, None] == proxies[None, :]).tril(-1).sum(1)
        features = features.to(self.vectors.dtype)
        for now in earlier.argsort(stable=True).split(torch.bincount(earlier).tolist()):
            moved = self.momentum * self.vectors[proxies[now]] + (1 - self.momentum) * features[now]
            self.vectors[proxies[now]] = F.normalize(moved, dim=1)


def inter_camera(
    features: Tensor, clusters: Tensor, memory: ProxyMemory, temperature: float = 0.09, hard_negatives: int = 50
) -> Tensor:
    """Loss of each sample against the proxies of its own and of other clusters over all cameras: (b,) (Eq. 1).

    -1/|Pos| sum over u in Pos of log(exp s_u / sum over Pos and Neg of exp s_j): Pos are all proxies of the sample's
    cluster, Neg the `hard_negatives` proxies of other clusters with the largest s_j (all of them where there are
    fewer). It is log |Pos| or more. With one cluster only there is no negative and the softmax runs over Pos alone: 0
    for a single proxy.

    features: float (b, d), L2-normalised; clusters: integers (b,), as numbered in memory.cluster_of_proxy.
    Raises ValueError for shapes that do not fit, for a cluster without a proxy, and unless temperature is positive and
    hard_negatives 1 or more.
    """
    _check(features, clusters, memory, "inter_camera", "clusters")
    if hard_negatives < 1:
        raise ValueError(f"inter_camera needs hard_negatives of 1 or more, got {hard_negatives}")
    positive = clusters[:, None] == memory.cluster_of_proxy[None, :]
    known = positive.any(1)
    if not known.all():
        raise ValueError(
            f"cluster {int(clusters[~known][0])} has no proxy in the memory; leave outliers (-1) out of the batch"
        )
    scores = _scores(features, memory, temperature)
    negatives = scores.detach().masked_fill(positive, -torch.inf)
    hardest = negatives.topk(min(hard_negatives, scores.shape[1]), dim=1).indices
    kept = positive.scatter(1, hardest, True)  # where there are fewer negatives, the rest of `hardest` is in Pos
    total = scores.masked_fill(~kept, -torch.inf).logsumexp(1)
    return total - (scores * positive).sum(1) / positive.sum(1)


def intra_camera(features: Tensor, proxies: Tensor, memory: ProxyMemory, temperature: float = 0.09) -> Tensor:
    """Cross-entropy of each sample over the proxies of its own camera, its proxy being the target: (b,) (CAP).

    A camera with one proxy gives 0. features: float (b, d), L2-normalised; proxies: integers (b,), the proxy of each
    sample. Raises ValueError for shapes that do not fit, for a proxy that is not in the memory, and unless temperature
    is positive.
    """
    _check(features, proxies, memory, "intra_camera", "proxies")
    _check_in_memory(proxies, memory)
    elsewhere = memory.camera_of_proxy[proxies][:, None] != memory.camera_of_proxy[None, :]
    scores = _scores(features, memory, temperature).masked_fill(elsewhere, -torch.inf)
    return F.cross_entropy(scores, proxies, reduction="none")


def per_camera_sum(losses: Tensor, camids: Tensor) -> Tensor:
    """Mean loss of the samples of each camera, summed over the cameras: a scalar (CAP's released code).

    So a sample of a rare camera weighs more, and the loss grows with the number of cameras in the batch.
    losses: float (b,); camids: integers (b,). Raises ValueError when the two differ in shape.

    >>> per_camera_sum(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 7]))
    tensor(7.)
    """
    if losses.ndim != 1 or losses.shape != camids.shape:
        raise ValueError(f"per_camera_sum needs losses (b,) and camids (b,), got {_shapes(losses, camids)}")
    return (losses / (camids[:, None] == camids[None, :]).sum(1)).sum()


def proxy_contrast(
    features: Tensor,
    proxies: Tensor,
    memory: ProxyMemory,
    temperature: float = 0.09,
    hard_negatives: int = 50,
    mode: str = "cap",
    intra_only: bool = False,
) -> Tensor:
    """Loss of a batch: a scalar.

    mode "cap": `per_camera_sum` of intra_camera + 0.5 inter_camera; with intra_only (CAP: the first five epochs) of
    intra_camera alone. mode "eq1": mean of inter_camera over the batch, for which there is no intra_only.
    features: float (b, d), L2-normalised; proxies: integers (b,), the proxy of each sample, which tells its cluster
    and its camera. temperature: 0.09 in the study of samplers, 0.07 in CAP. Raises ValueError as the functions that it
    is made of do, for an unknown mode, and for "eq1" with intra_only.
    """
    if mode not in ("cap", "eq1"):
        raise ValueError(f"unknown mode {mode!r}: choose 'cap' or 'eq1'")
    if mode == "eq1" and intra_only:
        raise ValueError("mode 'eq1' has no intra-camera loss to keep: drop intra_only, or choose mode='cap'")
    _check(features, proxies, memory, "proxy_contrast", "proxies")
    _check_in_memory(proxies, memory)
    if mode == "eq1":
        return inter_camera(features, memory.cluster_of_proxy[proxies], memory, temperature, hard_negatives).mean()
    losses = intra_camera(features, proxies, memory, temperature)
    if not intra_only:
        clusters = memory.cluster_of_proxy[proxies]
        losses = losses + 0.5 * inter_camera(features, clusters, memory, temperature, hard_negatives)
    return per_camera_sum(losses, memory.camera_of_proxy[proxies])


def _scores(features: Tensor, memory: ProxyMemory, temperature: float) -> Tensor:
    """s_j of every sample and proxy: (b, m)."""
    if temperature <= 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    with torch.autocast(features.device.type, enabled=False):
        features = _at_least_float32(features)
        return products.scores(features, memory.vectors.to(features.dtype)) / temperature


def _check(features: Tensor, indices: Tensor, memory: ProxyMemory, function: str, name: str) -> None:
    fits = features.ndim == 2 and len(features) > 0 and features.shape[1] == memory.vectors.shape[1]
    if not fits or indices.shape != features.shape[:1]:
        raise ValueError(
            f"{function} needs features (b, {memory.vectors.shape[1]}) and {name} (b,) with b of 1 or more, "
            f"got {_shapes(features, indices)}"
        )


def _check_in_memory(proxies: Tensor, memory: ProxyMemory) -> None:
    outside = (proxies < 0) | (proxies >= len(memory.vectors))
    if outside.any():
        raise ValueError(
            f"proxy {int(proxies[outside][0])} is not among the {len(memory.vectors)} of the memory; "
            "leave outliers (-1) out of the batch"
        )


def _shapes(*tensors: Tensor) -> str:
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
