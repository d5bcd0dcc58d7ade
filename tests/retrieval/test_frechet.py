"""The Frechet distance: hand values, a reference with a matrix square root, and its properties."""

import doctest

import numpy as np
import pytest
import scipy.linalg
import torch

from reidlib.retrieval import frechet
from reidlib.retrieval.frechet import frechet_distance, frechet_of_gaussians


def normal(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mixed(n, d, seed):
    """Features with correlated columns and a mean of their own."""
    return normal(n, d, seed) @ normal(d, d, seed + 100) + normal(1, d, seed + 200)


def reference(one, other):
    """The definition, with scipy's square root of a matrix."""
    one, other = one.numpy(), other.numpy()
    s1, s2 = np.atleast_2d(np.cov(one, rowvar=False)), np.atleast_2d(np.cov(other, rowvar=False))
    root = scipy.linalg.sqrtm(s1 @ s2)
    return np.sum((one.mean(0) - other.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * np.real(root))


@pytest.mark.parametrize(("n", "m", "d"), [(500, 500, 64), (500, 300, 64), (70, 500, 64), (50, 60, 1), (9, 8, 7)])
def test_against_a_square_root_of_a_matrix(n, m, d):
    one, other = mixed(n, d, 1), mixed(m, d, 2)
    assert frechet_distance(one, other) == pytest.approx(reference(one, other), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(6, 9), (6, 40), (40, 6), (2, 2)])
def test_fewer_images_than_dimensions(n, m):
    """Padded to non-singular covariances the definition can be taken, and the padding made small."""
    d, small = 12, 1e-9
    one, other = mixed(n, d, 1), mixed(m, d, 2)
    s1, s2 = (np.cov(part.numpy(), rowvar=False) + small * np.eye(d) for part in (one, other))
    values = np.linalg.eigvals(s1 @ s2).real.clip(min=0)
    expected = (one.mean(0) - other.mean(0)).square().sum().item() + np.trace(s1 + s2) - 2 * np.sqrt(values).sum()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-3)


def test_one_dimension_by_hand():
    one, other = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [7.0]])  # means 1 and 5, variances 2 and 8
    assert frechet_distance(one, other) == pytest.approx((5 - 1) ** 2 + (8**0.5 - 2**0.5) ** 2)


def test_diagonal_covariances_by_hand():
    signs = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])  # columns orthogonal, variance 4 / 3
    one, other = signs * torch.tensor([1.0, 2, 3]), signs * torch.tensor([5.0, 2, 1])
    assert frechet_distance(one, other) == pytest.approx(4 / 3 * (4**2 + 0 + 2**2))
    assert frechet_distance(one, other + torch.tensor([0.0, 1, 2])) == pytest.approx(4 / 3 * 20 + 5)


@pytest.mark.parametrize(("n", "d"), [(300, 20), (10, 40)])
def test_a_set_is_at_0_from_itself_and_its_copies(n, d):
    features = mixed(n, d, 3)
    assert 0 <= frechet_distance(features, features) < 1e-3
    assert 0 <= frechet_distance(features.float(), features.float().flip(0)) < 1e-3


def test_symmetric():
    one, other = mixed(60, 30, 4), mixed(25, 30, 5)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-9)


@pytest.mark.parametrize("n", [200, 8])
def test_a_shift_adds_its_squared_length(n):
    features = mixed(n, 10, 6)
    assert frechet_distance(features, features + torch.arange(10.0)) == pytest.approx(285, rel=1e-6)


def test_a_rotation_of_both_changes_nothing_and_a_scale_squares():
    one, other = mixed(80, 12, 7), mixed(90, 12, 8)
    turn = torch.linalg.qr(normal(12, 12, 9)).Q
    assert frechet_distance(one @ turn, other @ turn) == pytest.approx(frechet_distance(one, other))
    assert frechet_distance(3 * one, 3 * other) == pytest.approx(9 * frechet_distance(one, other))


def test_grows_with_added_noise():
    features = normal(400, 16, 10)
    found = [frechet_distance(features, features + scale * normal(400, 16, 11)) for scale in (0, 0.3, 1, 3)]
    assert found == sorted(found)
    assert found[1] > found[0] + 0.01


def test_the_bias_falls_with_the_number_of_images():
    found = [frechet_distance(normal(n, 8, 12), normal(n, 8, 13)) for n in (20, 200, 2000)]
    assert found[0] > 3 * found[1] > 9 * found[2] > 0


def test_far_from_the_origin_it_is_as_exact():
    one, other = mixed(100, 8, 14), mixed(100, 8, 15)
    assert frechet_distance(one + 1e4, other + 1e4) == pytest.approx(frechet_distance(one, other), rel=1e-6)


def test_errors():
    good = normal(5, 3)
    for bad in (normal(1, 3), normal(0, 3), normal(5, 0), torch.zeros(5)):
        with pytest.raises(ValueError, match=r"the first set must be features \(n, d\) of 2 images or more"):
            frechet_distance(bad, good)
        with pytest.raises(ValueError, match="the second set must be features"):
            frechet_distance(good, bad)
    with pytest.raises(ValueError, match="features of 3 and 4 numbers"):
        frechet_distance(good, normal(5, 4))
    for value in (torch.nan, torch.inf):
        bad = good.clone()
        bad[2:4, 1] = value
        with pytest.raises(ValueError, match=r"row 2 of the second set holds NaN or infinity \(2 such rows\)"):
            frechet_distance(good, bad)


def test_examples():
    failed, tried = doctest.testmod(frechet)
    assert tried > 0
    assert failed == 0


# ---------------------------------------------------------------- Gaussians


def gaussian(features):
    return features.mean(0), torch.from_numpy(np.atleast_2d(np.cov(features.numpy(), rowvar=False)))


@pytest.mark.parametrize(("n", "m", "d"), [(500, 500, 64), (500, 300, 64), (70, 500, 64), (50, 60, 1), (9, 8, 7)])
def test_gaussians_against_a_square_root_of_a_matrix(n, m, d):
    one, other = mixed(n, d, 1), mixed(m, d, 2)
    found = frechet_of_gaussians(*gaussian(one), *gaussian(other))
    assert found == pytest.approx(reference(one, other), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(6, 9), (6, 40), (40, 6), (2, 2), (40, 40), (13, 12)])
@pytest.mark.parametrize("dead", [0, 3])
def test_gaussians_equal_features_also_where_covariances_are_singular(n, m, dead):
    """dead: features that are 0 in every image of both sets, as unused channels are."""
    one, other = mixed(n, 12, 1), mixed(m, 12, 2)
    one[:, :dead] = other[:, :dead] = 0
    found = frechet_of_gaussians(*gaussian(one), *gaussian(other))
    assert found == pytest.approx(frechet_distance(one, other), rel=1e-6)


@pytest.mark.parametrize("columns", [1, 5, 7, 64])
def test_half_products_equal_whole_ones(columns, monkeypatch):
    monkeypatch.setattr(frechet, "COLUMNS", columns)
    features, matrix = normal(9, 7, 3), normal(7, 7, 4)
    factor, matrix = matrix.tril(), matrix + matrix.T
    torch.testing.assert_close(frechet._gram(features), features.T @ features)
    half = frechet._conjugated(factor, matrix).tril()
    torch.testing.assert_close(half, (factor.T @ matrix @ factor).tril())


@pytest.mark.parametrize(("n", "m"), [(60, 50), (25, 60), (60, 25)])
def test_wide_features_take_the_way_of_gaussians(n, m, monkeypatch):
    one, other = mixed(n, 30, 1), mixed(m, 30, 2)
    expected, calls = frechet_distance(one, other), []
    monkeypatch.setattr(frechet, "WIDE", 30)
    monkeypatch.setattr(frechet, "frechet_of_gaussians", lambda *given: calls.append(1) or frechet_of_gaussians(*given))
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert len(calls) == (min(n, m) > 30)  # fewer images than numbers: the images themselves are the smaller factor


def test_gaussians_may_be_arrays():
    one, other = gaussian(mixed(50, 6, 1)), gaussian(mixed(60, 6, 2))
    arrays = [part.numpy() for part in (*one, *other)]
    assert frechet_of_gaussians(*arrays) == frechet_of_gaussians(*one, *other)


def test_bad_gaussians_are_named():
    mean, covariance = torch.zeros(3), torch.eye(3)
    with pytest.raises(ValueError, match="same network"):
        frechet_of_gaussians(mean, covariance, torch.zeros(4), torch.eye(4))
    with pytest.raises(ValueError, match=r"second Gaussian must be .* got \(3,\) and \(3, 4\)"):
        frechet_of_gaussians(mean, covariance, mean, torch.zeros(3, 4))
    with pytest.raises(ValueError, match="second Gaussian holds NaN"):
        frechet_of_gaussians(mean, covariance, mean, covariance / 0)
    with pytest.raises(ValueError, match=r"first Gaussian must be .* got \(\) and \(\)"):
        frechet_of_gaussians(torch.tensor(0.0), torch.tensor(1.0), mean, covariance)
    with pytest.raises(ValueError, match="second covariance has a variance below 0"):
        frechet_of_gaussians(mean, covariance, mean, -covariance)
    with pytest.raises(ValueError, match="first covariance is not symmetric"):
        frechet_of_gaussians(mean, torch.arange(9.0).view(3, 3), mean, covariance)
