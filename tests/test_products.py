"""Products of tables of features: both libraries, with whole numbers, whose products no rounding can change."""

import numpy as np
import pandas as pd
import pytest
import torch

from reidlib import products
from reidlib.products import product
from reidlib.retrieval import evaluate
from reidlib.retrieval.rerank import rerank


def whole(*shape, seed=0, dtype=torch.float32):
    return torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.fixture(params=["small", "large"])
def size(request, monkeypatch):
    """Every product counts as small or as large."""
    monkeypatch.setattr(products, "LARGE", 0 if request.param == "large" else 10**12)
    return request.param


@pytest.mark.parametrize(("m", "n", "d"), [(1, 1, 1), (5, 3, 7), (40, 33, 129), (2, 64, 1), (3, 0, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, -2.0])
@pytest.mark.parametrize("with_bias", [False, True])
def test_equal_to_a_sum_by_hand(size, m, n, d, dtype, scale, with_bias):
    one, other, bias = whole(m, d, dtype=dtype), whole(n, d, seed=1, dtype=dtype), whole(n, seed=2, dtype=dtype)
    expected = scale * (one[:, None] * other[None]).sum(2) + (bias if with_bias else 0)
    given = one.clone(), other.clone()
    found = product(one, other, bias if with_bias else None, scale)
    assert found.dtype == dtype
    assert torch.equal(found, expected)
    assert torch.equal(one, given[0])
    assert torch.equal(other, given[1])


def test_views_turned_tables_and_gradients(size):
    one, other = whole(12, 30)[::2], whole(30, 9, seed=1).T.requires_grad_()
    found = product(one, other)
    assert torch.equal(found, (one[:, None] * other.detach()[None]).sum(2))
    assert not found.requires_grad


def test_only_large_float32_products_go_to_onednn(monkeypatch):
    used = []
    monkeypatch.setattr(products, "LARGE", 5 * 6 * 4)

    class Spy:
        def _linear_pointwise(self, one, other, *options):
            used.append(one.shape)
            return one @ other.T

    monkeypatch.setattr(torch.ops, "mkldnn", Spy(), raising=False)
    assert product(whole(5, 6), whole(4, 6)).shape == (5, 4)
    product(whole(5, 6), whole(3, 6))
    for dtype in (torch.float64, torch.float16):
        assert product(whole(5, 6, dtype=dtype), whole(4, 6, dtype=dtype)).dtype == dtype
    assert used == [(5, 6)]


def test_scores_and_reranked_distances_do_not_depend_on_the_library(monkeypatch):
    people = np.repeat(np.arange(1, 9), 6)
    frame = pd.DataFrame({"pid": people, "camid": np.tile(np.arange(3), 16)})
    features = whole(8, 20)[torch.from_numpy(people) - 1] + whole(48, 20, seed=1)
    asked, stored = frame[::4].reset_index(drop=True), frame
    found = []
    for large in (0, 10**12):
        monkeypatch.setattr(products, "LARGE", large)
        found.append((evaluate(features[::4], features, asked, stored), rerank(features[::4], features, k1=7, k2=3)))
    (some, again), (other, other_again) = found
    assert np.array_equal(some.hits, other.hits)
    assert np.array_equal(some.distances, other.distances)
    assert torch.equal(again, other_again)


@pytest.mark.parametrize("large", [0, 10**12])
@pytest.mark.parametrize("chosen", [45, 2, 0])
def test_scores_and_their_gradient_by_hand(monkeypatch, large, chosen):
    """chosen: how many scores the gradient is not 0 for; few are multiplied as a sparse table."""
    monkeypatch.setattr(products, "LARGE_STEP", large)
    features, table = whole(5, 7).requires_grad_(), whole(9, 7, seed=1)
    weights = whole(5, 9, seed=2)
    weights.view(-1)[chosen:] = 0
    found = products.scores(features, table)
    assert torch.equal(found, (features.detach()[:, None] * table[None]).sum(2))
    (found * weights).sum().backward()
    assert torch.equal(features.grad, (weights[:, :, None] * table[None]).sum(1))
    with torch.no_grad():
        again = products.scores(features, table)
    assert torch.equal(again, found)
    assert not again.requires_grad


@pytest.mark.parametrize("large", [0, 10**12])
def test_the_table_of_scores_gets_no_gradient(monkeypatch, large):
    monkeypatch.setattr(products, "LARGE_STEP", large)
    features, table = whole(2, 3).requires_grad_(), whole(4, 3, seed=1).requires_grad_()
    products.scores(features, table).sum().backward()
    assert features.grad is not None
    assert table.grad is None


def test_a_second_gradient_of_large_scores_is_refused(monkeypatch):
    monkeypatch.setattr(products, "LARGE_STEP", 0)
    features, table = whole(2, 3).requires_grad_(), whole(4, 3, seed=1)
    (first,) = torch.autograd.grad(products.scores(features, table).square().sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_scores_refuse_a_table_that_changed_since(monkeypatch):
    monkeypatch.setattr(products, "LARGE_STEP", 0)
    features, table = whole(2, 3).requires_grad_(), whole(4, 3, seed=1)
    found = products.scores(features, table).sum()
    table += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()
