"""The Frechet distance against pytorch-fid and clean-fid, which take the root of a matrix with SciPy."""

import numpy as np
import torch
from side_by_side import Case, Way, main

GAUSSIAN = ("mean1", "covariance1", "mean2", "covariance2")


def activations(size, folder):
    """Features as a network makes them: mixed, not negative, few directions strong."""
    images, width = (5000, 2048) if size == "full" else (200, 32)
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(width, width, generator=generator) * torch.linspace(0.02, 1, width)
    one, other = (torch.randn(images, width, generator=generator) @ mixing for _ in range(2))
    return {"one": one.relu().numpy(), "other": (1.1 * other + 0.1).relu().numpy()}


def gaussians(size, folder):
    sides = activations(size, folder).values()
    parts = [part for side in sides for part in (side.mean(axis=0, dtype=np.float64), np.cov(side, rowvar=False))]
    return dict(zip(GAUSSIAN, parts, strict=True))


def reidlib_gaussians(**parts):
    from reidlib.retrieval.frechet import frechet_of_gaussians

    parts = [torch.from_numpy(parts[name]) for name in GAUSSIAN]
    return lambda: {"distance": frechet_of_gaussians(*parts)}


def pytorch_fid_gaussians(**parts):
    from pytorch_fid.fid_score import calculate_frechet_distance

    return lambda: {"distance": calculate_frechet_distance(*(parts[name] for name in GAUSSIAN))}


def clean_fid_gaussians(**parts):
    from cleanfid.fid import frechet_distance

    return lambda: {"distance": frechet_distance(*(parts[name] for name in GAUSSIAN))}


def eigenvalues(covariance1, **parts):
    matrix = torch.from_numpy(covariance1)
    return lambda: {"largest": torch.linalg.eigvalsh(matrix)[-1].numpy()}


def reidlib_features(one, other):
    from reidlib.retrieval.frechet import frechet_distance

    one, other = torch.from_numpy(one), torch.from_numpy(other)
    return lambda: {"distance": frechet_distance(one, other)}


def pytorch_fid_features(one, other):
    """Mean and covariance of float64 activations, as `calculate_activation_statistics` takes them."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    one, other = one.astype(np.float64), other.astype(np.float64)

    def statistics(side):
        return np.mean(side, axis=0), np.cov(side, rowvar=False)

    return lambda: {"distance": calculate_frechet_distance(*statistics(one), *statistics(other))}


def products(one, other):
    """Both covariances, whole."""
    one, other = torch.from_numpy(one).double(), torch.from_numpy(other).double()
    return lambda: {"corners": np.array([float((side.T @ side)[0, 0]) for side in (one, other)])}


def equal(results):
    ours, *others = (float(result["distance"]) for result in results.values() if "distance" in result)
    apart = max(abs(other / ours - 1) for other in others)
    assert apart < 1e-6, f"relative difference {apart}"
    return {"relative": apart}


CASES = [
    Case(
        name="frechet-gaussians",
        title="Frechet distance of stored means and covariances",
        size="2,048 numbers a feature",
        ways=(
            Way("reidlib", reidlib_gaussians),
            Way("pytorch-fid", pytorch_fid_gaussians, "pytorch-fid 0.3.0", peer=True, rounds=3),
            Way("one set of eigenvalues", eigenvalues, "torch.linalg.eigvalsh"),
            Way("clean-fid", clean_fid_gaussians, "clean-fid 0.1.35", peer=True, rounds=1),
        ),
        inputs=gaussians,
        check=equal,
        floor="one set of eigenvalues",
        at_least=8,
        limit="the eigenvalues of one symmetric matrix in float64",
    ),
    Case(
        name="frechet-features",
        title="Frechet distance of features",
        size="2 x 5,000 images, 2,048 numbers each",
        ways=(
            Way("reidlib", reidlib_features, rounds=3),
            Way("pytorch-fid", pytorch_fid_features, "pytorch-fid 0.3.0", peer=True, rounds=2),
            Way("two products", products, "torch.mm", rounds=3),
        ),
        inputs=activations,
        check=equal,
        floor="two products",
        limit="two covariances in float64, half of each product, and the eigenvalues",
        threads=("one",),
    ),
]

if __name__ == "__main__":
    main(__file__, CASES)
