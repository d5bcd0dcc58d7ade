"""The Frechet distance of two sets of features: how far a set of generated images is from one of real images."""

import torch
from torch import Tensor


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the Gaussians fitted to two sets of features, 0 or more.

    one: (n, d) and other: (m, d), features of one network; n and m of 2 or more, also below d. mu are the means and S
    the unbiased covariances (divided by n - 1), in float64. The result is in squared units of the features, so only
    distances by the same network compare; with the pooled features of Inception-v3 it is known as FID.
    It is biased: it falls as the sets grow, and two sets drawn from one distribution are above 0. Compare only
    distances between sets of the same sizes.
    No root of a matrix is taken. With S = A^T A, the trace of (S1 S2)^(1/2) is the sum of the singular values of
    A1 A2^T, which holds for singular covariances too; A are the centred features, or their triangular factor (d, d).
    Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (2017).
    Raises ValueError for shapes that do not fit, fewer than 2 rows, and values that are not finite.

    >>> frechet_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [7.0]]))  # means 1, 5; variances 2, 8
    18.0
    """
    mean1, factor1 = _gaussian(one, "first")
    mean2, factor2 = _gaussian(other, "second")
    if len(mean1) != len(mean2):
        raise ValueError(
            f"the sets have features of {len(mean1)} and {len(mean2)} numbers: take both from the same network"
        )
    mean2, factor2 = mean2.to(mean1.device), factor2.to(mean1.device)
    root = torch.linalg.svdvals(factor1 @ factor2.T).sum()
    distance = (mean1 - mean2).square().sum() + factor1.square().sum() + factor2.square().sum() - 2 * root
    return max(distance.item(), 0.0)


def _gaussian(features: Tensor, which: str) -> tuple[Tensor, Tensor]:
    """Mean (d,) and A (min(n, d), d) with A^T A the covariance, float64."""
    if features.ndim != 2 or len(features) < 2 or features.shape[1] == 0:
        raise ValueError(
            f"the {which} set must be features (n, d) of 2 images or more, got {tuple(features.shape)}: "
            f"a covariance needs 2"
        )
    features = features.detach().to(torch.float64)
    bad = (~torch.isfinite(features).all(1)).nonzero()[:, 0]
    if len(bad):
        raise ValueError(
            f"row {int(bad[0])} of the {which} set holds NaN or infinity ({len(bad)} such rows): "
            f"check the network that made it"
        )
    mean = features.mean(0)
    factor = (features - mean) / (len(features) - 1) ** 0.5
    return mean, torch.linalg.qr(factor, mode="r").R if len(factor) > factor.shape[1] else factor
