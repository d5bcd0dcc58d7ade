"""Nearest-neighbour search: exact against a sort, approximate against exact."""

import sys

import pytest
import torch

from reidlib.retrieval import recall_at, search


def features(n, seed, width=16):
    return torch.nn.functional.normalize(torch.randn(n, width, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 3, 10, 40])
def test_exact_is_a_stable_sort(k, dtype):
    generator = torch.Generator().manual_seed(k)
    a, b = (torch.randint(-1, 2, (n, 3), generator=generator).to(dtype) for n in (17, 40))  # whole numbers: many ties
    wanted = (a[:, None] - b[None]).square().sum(2).sort(dim=1, stable=True)
    for block in (1, 5, None):
        distances, indices = search(a, b, k, block=block)
        assert torch.equal(indices, wanted.indices[:, :k])
        assert torch.equal(distances, wanted.values[:, :k])


@pytest.mark.parametrize("index", ["flat", "hnsw", "ivf"])
def test_faiss_finds_what_exact_finds(index):
    pytest.importorskip("faiss")
    a, b = features(50, 0), features(2000, 1)
    truth = search(a, b, 10)
    found = search(a, b, 10, index=index, probes=20)
    recall = recall_at(found.indices, truth.indices)
    assert recall == 1 if index == "flat" else recall > 0.9
    true = (a[:, None] - b[found.indices]).square().sum(2)
    torch.testing.assert_close(found.distances, true, atol=1e-5, rtol=1e-5)
    again = search(a, b, 10, index=index, probes=20)
    assert torch.equal(found.indices, again.indices)
    assert found.parameters["index"] == index
    assert ("seed" in found.parameters) == (index != "flat")


def test_more_probes_find_more():
    pytest.importorskip("faiss")
    a, b = features(50, 0), features(3000, 1)
    truth = search(a, b, 10).indices
    few, all_cells = (recall_at(search(a, b, 10, index="ivf", lists=50, probes=p).indices, truth) for p in (1, 50))
    assert few < 0.9 < all_cells == 1


def test_recall():
    truth = torch.tensor([[0, 1, 2], [3, 4, 5]])
    assert recall_at(torch.tensor([[2, 1, 9], [3, 8, 7]]), truth) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert recall_at(torch.tensor([[2, 1, 9], [3, 8, 7]]), truth, k=1) == 0.5
    assert recall_at(torch.full((2, 3), -1), truth) == 0
    with pytest.raises(ValueError, match="recall@5"):
        recall_at(truth, truth, k=5)


def test_errors():
    a, b = features(2, 0), features(5, 1)
    with pytest.raises(ValueError, match="'hsnw' is unknown; known are exact, flat, hnsw, ivf"):
        search(a, b, 1, index="hsnw")
    with pytest.raises(ValueError, match="k=6 does not fit a gallery of 5 images"):
        search(a, b, 6)
    b[3] = float("nan")
    for index in ("exact", "flat"):
        with pytest.raises(ValueError, match=r"gallery features hold NaN.*first in row 3"):
            search(a, b, 1, index=index)


def test_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    a, b = features(2, 0), features(5, 1)
    assert search(a, b, 1).indices.shape == (2, 1)
    with pytest.raises(ImportError, match="needs faiss, which is not installed; install faiss-gpu or faiss-cpu"):
        search(a, b, 1, index="hnsw")
