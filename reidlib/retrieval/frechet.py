"""The Frechet distance of two sets of features: how far a set of generated images is from one of real images.

Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (2017).
"""

import torch
from torch import Tensor

WIDE = 512  # numbers a feature from which half products and eigenvalues pay
COLUMNS = 256  # of a symmetric product that are made at once


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the Gaussians fitted to two sets of features, 0 or more.

    one: (n, d) and other: (m, d), features of one network; n and m of 2 or more, also below d. mu are the means and S
    the unbiased covariances (divided by n - 1), in float64. The result is in squared units of the features, so only
    distances by the same network compare; with the pooled features of Inception-v3 it is known as FID.
    It is biased: it falls as the sets grow, and two sets drawn from one distribution are above 0. Compare only
    distances between sets of the same sizes.
    No root of a matrix is taken. With S = A^T A, the trace of (S1 S2)^(1/2) is the sum of the singular values of
    A1 A2^T, which holds for singular covariances too; A are the centred features, or their triangular factor (d, d).
    Wide features of many images go through `frechet_of_gaussians`, which is faster.
    Raises ValueError for shapes that do not fit, fewer than 2 rows, and values that are not finite.

    >>> frechet_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [7.0]]))  # means 1, 5; variances 2, 8
    18.0
    """
    mean1, scaled1 = _centred(one, "first")
    mean2, scaled2 = _centred(other, "second")
    d = _common_width(mean1, mean2)
    mean2, scaled2 = mean2.to(mean1.device), scaled2.to(mean1.device)
    if WIDE <= d < min(len(scaled1), len(scaled2)):
        return frechet_of_gaussians(mean1, _gram(scaled1), mean2, _gram(scaled2))
    factor1, factor2 = (
        torch.linalg.qr(scaled, mode="r").R if len(scaled) > d else scaled for scaled in (scaled1, scaled2)
    )
    root = torch.linalg.svdvals(factor1 @ factor2.T).sum()
    return _distance(mean1, factor1.square().sum(), mean2, factor2.square().sum(), root)


def frechet_of_gaussians(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """`frechet_distance` of two Gaussians: means (d,) and covariances (d, d).

    Tensors, or arrays as tools for FID store them; computed in float64. With a Cholesky factor S1 = L L^T the trace is
    the sum of the roots of the eigenvalues of the symmetric L^T S2 L. Where a covariance is singular, or so nearly that
    these would lose digits (fewer images than dimensions), it is the sum of the singular values of the product of the
    symmetric roots: slower, and as exact.
    Raises ValueError for shapes that do not fit, values that are not finite, and what is no covariance: not symmetric,
    or with a variance below 0.

    >>> frechet_of_gaussians(torch.tensor([1.0]), torch.tensor([[2.0]]), torch.tensor([5.0]), torch.tensor([[8.0]]))
    18.0
    """
    mean1, covariance1, mean2, covariance2 = map(torch.as_tensor, (mean1, covariance1, mean2, covariance2))
    for which, mean, covariance in (("first", mean1, covariance1), ("second", mean2, covariance2)):
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)) or len(mean) == 0:
            raise ValueError(
                f"the {which} Gaussian must be a mean (d,) and a covariance (d, d), "
                f"got {tuple(mean.shape)} and {tuple(covariance.shape)}"
            )
        if not (torch.isfinite(mean).all() and torch.isfinite(covariance).all()):
            raise ValueError(f"the {which} Gaussian holds NaN or infinity: check the features that it was fitted to")
        if not torch.allclose(covariance, covariance.T, rtol=1e-3, atol=1e-6 * float(covariance.abs().max())):
            raise ValueError(f"the {which} covariance is not symmetric: pass covariances, not factors of them")
        if (covariance.diagonal() < 0).any():
            raise ValueError(f"the {which} covariance has a variance below 0: it is no covariance")
    _common_width(mean1, mean2)
    mean1, covariance1, mean2, covariance2 = (
        part.detach().to(mean1.device, torch.float64) for part in (mean1, covariance1, mean2, covariance2)
    )
    root = _trace_of_root(covariance1, covariance2)
    return _distance(mean1, covariance1.trace(), mean2, covariance2.trace(), root)


def _distance(mean1: Tensor, trace1: Tensor, mean2: Tensor, trace2: Tensor, root: Tensor) -> float:
    distance = (mean1 - mean2).square().sum() + trace1 + trace2 - 2 * root
    return max(distance.item(), 0.0)


def _common_width(mean1: Tensor, mean2: Tensor) -> int:
    if mean1.shape != mean2.shape:
        raise ValueError(
            f"the sets have features of {len(mean1)} and {len(mean2)} numbers: take both from the same network"
        )
    return len(mean1)


def _centred(features: Tensor, which: str) -> tuple[Tensor, Tensor]:
    """Mean (d,) and A (n, d), the centred features scaled so that A^T A is their covariance, float64."""
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
    return mean, (features - mean) / (len(features) - 1) ** 0.5


def _trace_of_root(one: Tensor, other: Tensor) -> Tensor:
    """Trace of (one other)^(1/2), of two symmetric matrices (d, d) without negative eigenvalues."""
    factor, failed = torch.linalg.cholesky_ex(one)
    if not failed:
        values = torch.linalg.eigvalsh(_conjugated(factor, other))
        if values[0] > len(values) * torch.finfo(torch.float64).eps * values[-1]:
            return values.sqrt().sum()
    roots = []
    for matrix in (one, other):
        values, vectors = torch.linalg.eigh(matrix)
        roots.append(values.clamp(min=0).sqrt() * vectors)
    return torch.linalg.svdvals(roots[0].T @ roots[1]).sum()


def _gram(features: Tensor) -> Tensor:
    """features^T features, (n, d) to (d, d): each half once."""
    d = features.shape[1]
    result = features.new_empty(d, d)
    for at in range(0, d, COLUMNS):
        part = features[:, at : at + COLUMNS].T @ features[:, at:]
        result[at : at + COLUMNS, at:] = part
        result[at:, at : at + COLUMNS] = part.T
    return result


def _conjugated(factor: Tensor, matrix: Tensor) -> Tensor:
    """The lower half of factor^T matrix factor, for a lower triangular factor and a symmetric matrix, all (d, d)."""
    d = len(matrix)
    result = torch.zeros_like(matrix)
    for at in range(0, d, COLUMNS):
        part = factor[at:, at : at + COLUMNS].T @ matrix[at:]
        result[at:, at : at + COLUMNS] = (part[:, at:] @ factor[at:, at:]).T
    return result
