"""Losses of camera-aware proxies: hand values, a dense reference for each sample, gradients, the memory."""

import doctest
import math
import sys

import pytest
import torch
import torch.nn.functional as F

from reidlib.losses.proxy_contrast import ProxyMemory, inter_camera, intra_camera, per_camera_sum, proxy_contrast

# 12 proxies of 5 clusters and 4 cameras: cluster 3 is seen in one camera, camera 9 has one proxy
CLUSTER = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 4, 4, 4, 4])
CAMERA = torch.tensor([0, 1, 2, 0, 1, 1, 2, 0, 0, 1, 2, 9])
PROXIES = torch.tensor([4, 0, 7, 11, 4, 8, 2, 5, 4, 0])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def unit_rows(n, d, seed=0, dtype=torch.float64):
    return F.normalize(torch.randn(n, d, generator=rng(seed), dtype=dtype), dim=1)


def memory(dtype=torch.float64, momentum=0.2):
    return ProxyMemory(unit_rows(12, 6, 1, dtype), CLUSTER, CAMERA, momentum)


def features(dtype=torch.float64):
    return unit_rows(10, 6, 2, dtype).requires_grad_()


def slow_inter(f, cluster, vectors, clusters, temperature, hard_negatives):
    """Eq. 1 of one sample, term by term."""
    s = [f @ vector / temperature for vector in vectors]
    pos = [j for j, c in enumerate(clusters.tolist()) if c == cluster]
    neg = [j for j, c in enumerate(clusters.tolist()) if c != cluster]
    neg = sorted(neg, key=lambda j: -s[j].item())[:hard_negatives]
    total = sum(torch.exp(s[j]) for j in pos + neg)
    return -sum(torch.log(torch.exp(s[u]) / total) for u in pos) / len(pos)


def slow_intra(f, proxy, vectors, cameras, temperature):
    s = [f @ vector / temperature for vector in vectors]
    same = [j for j, c in enumerate(cameras.tolist()) if c == cameras[proxy]]
    return -torch.log(torch.exp(s[proxy]) / sum(torch.exp(s[j]) for j in same))


def slow_losses(f, proxies, memory, temperature, hard_negatives):
    rows = list(zip(f, proxies.tolist(), strict=True))
    vectors, clusters, cameras = memory.vectors, memory.cluster_of_proxy, memory.camera_of_proxy
    inter = [slow_inter(x, clusters[p].item(), vectors, clusters, temperature, hard_negatives) for x, p in rows]
    return torch.stack(inter), torch.stack([slow_intra(x, p, vectors, cameras, temperature) for x, p in rows])


# ---------------------------------------------------------------- the two losses


@pytest.mark.parametrize("hard_negatives", [1, 2, 5, 8, 11, 12, 50])
@pytest.mark.parametrize("temperature", [0.09, 1.0])
def test_both_losses_and_their_gradients_agree_with_a_slow_reference(hard_negatives, temperature):
    """Samples have 8 to 11 negatives: hard_negatives takes some, all of some, and all of every sample."""
    m, x, y = memory(), features(), features()
    expected = slow_losses(x, PROXIES, m, temperature, hard_negatives)
    got = (
        inter_camera(y, CLUSTER[PROXIES], m, temperature, hard_negatives),
        intra_camera(y, PROXIES, m, temperature),
    )
    weights = torch.rand(2, 10, generator=rng(3), dtype=torch.float64)
    for a, b in zip(got, expected, strict=True):
        assert a.shape == (10,)
        assert torch.allclose(a, b, rtol=0, atol=1e-9)
    for result, w in ((got, y), (expected, x)):
        (result[0] @ weights[0] + result[1] @ weights[1]).backward()
        assert w.grad is not None
    assert torch.allclose(x.grad, y.grad, rtol=0, atol=1e-8)
    assert x.grad.abs().max() > 0.01


def test_losses_by_hand():
    """Proxies along the axes; at temperature 0.5 the sample (0.6, 0.8, 0) has s = 1.2, 1.6, 0, -1.2."""
    vectors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0]])
    m = ProxyMemory(vectors, torch.tensor([0, 1, 0, 2]), torch.tensor([0, 0, 1, 1]))
    x = torch.tensor([[0.6, 0.8, 0]])
    one, two, zero, minus = math.exp(1.2), math.exp(1.6), 1.0, math.exp(-1.2)
    # cluster 0: Pos are proxies 0 and 2; the hardest negative is proxy 1
    hardest = -(math.log(one / (one + zero + two)) + math.log(zero / (one + zero + two))) / 2
    assert inter_camera(x, torch.tensor([0]), m, 0.5, 1).item() == pytest.approx(hardest, rel=1e-6)
    everything = one + two + zero + minus
    both = -(math.log(one / everything) + math.log(zero / everything)) / 2
    assert inter_camera(x, torch.tensor([0]), m, 0.5, 2).item() == pytest.approx(both, rel=1e-6)
    # proxy 0 shares camera 0 with proxy 1 only
    intra = -math.log(one / (one + two))
    assert intra_camera(x, torch.tensor([0]), m, 0.5).item() == pytest.approx(intra, rel=1e-6)
    cap = proxy_contrast(x, torch.tensor([0]), m, 0.5, 1)
    assert cap.item() == pytest.approx(intra + 0.5 * hardest, rel=1e-6)


def test_only_the_hardest_negatives_have_a_part():
    m, x = memory(), features()
    scores = (x.detach() @ m.vectors.T).masked_fill(CLUSTER[PROXIES][:, None] == CLUSTER, -torch.inf)
    before = inter_camera(x, CLUSTER[PROXIES], m, hard_negatives=3)[0]
    easy, hard = scores[0].argsort(descending=True)[[4, 1]]  # not among the three hardest, and among them
    m.vectors[easy] *= 0.99
    assert inter_camera(x, CLUSTER[PROXIES], m, hard_negatives=3)[0] == before
    m.vectors[hard] *= 0.99
    assert inter_camera(x, CLUSTER[PROXIES], m, hard_negatives=3)[0] != before


def test_a_camera_with_one_proxy_gives_zero_and_no_gradient():
    m, x = memory(), features()
    losses = intra_camera(x, PROXIES, m)
    assert losses[3] == 0, "proxy 11 is the only one of camera 9"
    assert (losses[[0, 1, 2]] > 0).all()
    losses.sum().backward()
    assert (x.grad[3] == 0).all()
    assert x.grad.isfinite().all()


def test_one_cluster_only_leaves_a_softmax_over_its_proxies():
    vectors = unit_rows(3, 6)
    m = ProxyMemory(vectors, torch.zeros(3, dtype=torch.int64), torch.arange(3))
    x = unit_rows(4, 6, 5).requires_grad_()
    losses = inter_camera(x, torch.zeros(4, dtype=torch.int64), m, 0.5)
    assert torch.allclose(losses, -(x @ vectors.T / 0.5).log_softmax(1).mean(1))
    assert (losses >= math.log(3)).all(), "cross-entropy against the uniform target"
    losses.sum().backward()
    assert x.grad.isfinite().all()
    single = ProxyMemory(vectors[:1], torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    assert proxy_contrast(x, torch.zeros(4, dtype=torch.int64), single) == 0


@pytest.mark.parametrize("proxies", [[9] * 8, [8, 9, 10, 11] * 2], ids=["one proxy", "one cluster"])
def test_a_batch_of_one_class(proxies):
    m, x, proxies = memory(), unit_rows(8, 6, 4).requires_grad_(), torch.tensor(proxies)
    loss = proxy_contrast(x, proxies, m)
    inter, intra = slow_losses(x, proxies, m, 0.09, 50)
    cameras = CAMERA[proxies]
    expected = sum((intra + 0.5 * inter)[cameras == c].mean() for c in cameras.unique())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    loss.backward()
    assert x.grad.isfinite().all()
    m.update(x, proxies)
    assert torch.allclose(m.vectors.norm(dim=1), torch.ones(12, dtype=torch.float64))


def test_far_scores_stay_finite():
    m = ProxyMemory(torch.eye(4), torch.arange(4), torch.zeros(4, dtype=torch.int64))
    x = torch.eye(4)[[0, 1]].requires_grad_()
    for proxies in (torch.tensor([0, 1]), torch.tensor([2, 3])):
        loss = proxy_contrast(x, proxies, m, temperature=1e-3)
        assert loss.isfinite()
        assert torch.autograd.grad(loss, x)[0].isfinite().all()
    assert loss.item() == pytest.approx(1.5 * 1000, rel=1e-5), "1000 below the nearest"


# ---------------------------------------------------------------- the batch


def test_cap_sums_the_means_of_the_cameras():
    losses = torch.tensor([1.0, 10.0, 3.0, 20.0, 100.0, 5.0])
    camids = torch.tensor([4, 0, 4, 0, 7, 4])
    assert per_camera_sum(losses, camids).item() == pytest.approx(3 + 15 + 100)
    assert per_camera_sum(losses, torch.zeros(6, dtype=torch.int64)).item() == pytest.approx(139 / 6)


@pytest.mark.parametrize("hard_negatives", [2, 50])
def test_the_modes_of_the_batch_loss(hard_negatives):
    m, x = memory(), features()
    inter, intra = slow_losses(x, PROXIES, m, 0.07, hard_negatives)
    cameras = CAMERA[PROXIES]

    def summed(losses):
        return sum(losses[cameras == c].mean() for c in cameras.unique()).item()

    settings = {"temperature": 0.07, "hard_negatives": hard_negatives}
    assert proxy_contrast(x, PROXIES, m, **settings).item() == pytest.approx(summed(intra + 0.5 * inter), rel=1e-9)
    assert proxy_contrast(x, PROXIES, m, **settings, intra_only=True).item() == pytest.approx(summed(intra), rel=1e-9)
    eq1 = proxy_contrast(x, PROXIES, m, **settings, mode="eq1")
    assert eq1.item() == pytest.approx(inter.mean().item(), rel=1e-9)
    assert eq1.ndim == 0


def test_the_defaults_are_the_study_s():
    m, x = memory(), features()
    expected = proxy_contrast(x, PROXIES, m, temperature=0.09, hard_negatives=50, mode="cap", intra_only=False)
    assert proxy_contrast(x, PROXIES, m) == expected
    assert m.momentum == 0.2


def test_gradients_reach_the_features_only():
    centroids = unit_rows(12, 6, 1).requires_grad_()
    m = ProxyMemory(centroids, CLUSTER, CAMERA)
    assert not m.vectors.requires_grad
    x = features()
    proxy_contrast(x, PROXIES, m).backward()
    assert centroids.grad is None
    assert m.vectors.grad is None
    assert (x.grad.abs().sum(1) > 0).all()
    m.update(x, PROXIES)
    assert not m.vectors.requires_grad


def test_float32_also_under_autocast_and_for_half_precision():
    m, x = memory(torch.float32), features(torch.float32)
    expected = proxy_contrast(x, PROXIES, m)
    assert expected.dtype == torch.float32
    assert expected.item() == pytest.approx(proxy_contrast(x.double(), PROXIES, m).item(), rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(proxy_contrast(x, PROXIES, m), expected)
        other = memory(torch.float32)
        other.update(x, PROXIES)
    m.update(x, PROXIES)
    assert torch.equal(other.vectors, m.vectors)
    half = x.detach().bfloat16()
    assert torch.equal(proxy_contrast(half, PROXIES, m), proxy_contrast(half.float(), PROXIES, m))
    assert ProxyMemory(half, PROXIES, PROXIES).vectors.dtype == torch.float32


# ---------------------------------------------------------------- the memory


@pytest.mark.parametrize("momentum", [0.0, 0.2, 0.9, 1.0])
def test_an_update_moves_one_sample_after_the_other(momentum):
    m = memory(momentum=momentum)
    proxies = torch.cat((torch.randint(12, (40,), generator=rng(5)), torch.full((32,), 6)))
    x = unit_rows(72, 6, 6)
    expected = m.vectors.clone()
    for f, proxy in zip(x, proxies.tolist(), strict=True):
        v = momentum * expected[proxy] + (1 - momentum) * f
        expected[proxy] = v / v.norm()
    before = m.vectors.clone()
    m.update(x, proxies)
    assert torch.allclose(m.vectors, expected, rtol=0, atol=1e-12)
    assert (momentum == 1) == torch.allclose(before, m.vectors)


def test_an_update_by_hand_keeps_the_batch_order_and_the_other_proxies():
    centroids = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    m = ProxyMemory(centroids, torch.tensor([0, 1]), torch.tensor([0, 0]), momentum=0.5)
    assert m.vectors.tolist() == [[1, 0], [0, 1]]
    m.update(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    # (1, 1)/2 is at 45 degrees; half of that and half of (0, 1) is at 67.5 degrees
    angle = math.radians(67.5)
    assert m.vectors.flatten().tolist() == pytest.approx([math.cos(angle), math.sin(angle), 0, 1])
    m.update(torch.tensor([[-1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 1]))
    assert m.vectors[1].tolist() == pytest.approx([-math.cos(angle), math.sin(angle)]), "the last sample weighs most"
    assert centroids.tolist() == [[2, 0], [0, 1]], "the centroids are the caller's"


def test_an_update_between_loss_and_backward_is_refused():
    m, x = memory(), features()
    loss = proxy_contrast(x, PROXIES, m)
    m.update(x, PROXIES)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("proxy", [-1, 12])
def test_a_proxy_that_is_not_in_the_memory_is_refused(proxy):
    m, x = memory(), unit_rows(2, 6)
    for call in (intra_camera, proxy_contrast):
        with pytest.raises(ValueError, match=f"proxy {proxy} is not among the 12 of the memory; leave outliers"):
            call(x, torch.tensor([3, proxy]), m)
    before = m.vectors.clone()
    with pytest.raises(ValueError, match=f"proxy {proxy} is not among"):
        m.update(x, torch.tensor([3, proxy]))
    assert torch.equal(m.vectors, before)


def test_a_cluster_without_a_proxy_is_refused():
    for cluster in (-1, 5):
        with pytest.raises(ValueError, match=f"cluster {cluster} has no proxy in the memory"):
            inter_camera(unit_rows(2, 6), torch.tensor([3, cluster]), memory())


@pytest.mark.parametrize(
    ("shape", "count"), [((10, 5), 10), ((10, 6), 9), ((6,), 6), ((0, 6), 0)], ids=["dim", "count", "one", "none"]
)
def test_shapes_that_do_not_fit_are_refused(shape, count):
    m, x, proxies = memory(), torch.zeros(shape), torch.zeros(count, dtype=torch.int64)
    for call in (inter_camera, intra_camera, proxy_contrast):
        with pytest.raises(ValueError, match=rf"{call.__name__} needs features \(b, 6\) and \w+ \(b,\)"):
            call(x, proxies, m)
    with pytest.raises(ValueError, match=r"update needs features \(b, 6\) and proxies \(b,\)"):
        m.update(x, proxies)


def test_other_wrong_arguments_are_refused():
    m, x = memory(), unit_rows(10, 6)
    with pytest.raises(
        ValueError, match=r"per_camera_sum needs losses \(b,\) and camids \(b,\), got \(3,\) and \(2,\)"
    ):
        per_camera_sum(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        proxy_contrast(x, PROXIES, m, temperature=0)
    with pytest.raises(ValueError, match="hard_negatives of 1 or more, got 0"):
        proxy_contrast(x, PROXIES, m, hard_negatives=0)
    with pytest.raises(ValueError, match="unknown mode 'both': choose 'cap' or 'eq1'"):
        proxy_contrast(x, PROXIES, m, mode="both")
    with pytest.raises(ValueError, match="drop intra_only"):
        proxy_contrast(x, PROXIES, m, mode="eq1", intra_only=True)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 1.5"):
        ProxyMemory(x, PROXIES, PROXIES, momentum=1.5)
    with pytest.raises(ValueError, match=r"got \(10, 6\) and \(10,\) and \(12,\)"):
        ProxyMemory(x, PROXIES, CAMERA)
    with pytest.raises(ValueError, match="m of 1 or more"):
        ProxyMemory(torch.zeros(0, 6), torch.zeros(0), torch.zeros(0))


def test_examples_in_docstrings():
    results = doctest.testmod(sys.modules[ProxyMemory.__module__])
    assert results.attempted >= 1
    assert results.failed == 0
