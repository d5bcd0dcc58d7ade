"""Time and peak memory of re-ranking, one thread, each way in a process of its own; difference from the dense way.

    python tests/benchmarks/bench_rerank.py                     Market-1501's size: 3,368 queries, 15,913 gallery images
    python tests/benchmarks/bench_rerank.py --size small --compare    also the dense way, which needs (q + g)^2 tables
    python tests/benchmarks/bench_rerank.py --size msmt17 --width 128 --ways features    MSMT17's: 11,659 and 82,161

Features are unit vectors around one centre a person; "noise" is the length of the noise against the centre's. Ways:
"features" takes blocks of queries and drops them, "distances" three tables of squared distances (made beforehand),
"dense" the same tables and does what is commonly done. Columns: seconds on the clock and of the processor; "beyond" is
MiB needed beyond what the process held with its input loaded, "process" all that it held while it worked; "largest" is
the largest difference from the dense result, "differ" the share of results that differ by more than 1e-5: products
rounded otherwise order a few nearly equal neighbours otherwise.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from reidlib.retrieval.rerank import rerank_blocks, rerank_distances

SIZES = {"small": (400, 2000, 100), "market": (3368, 15_913, 750), "msmt17": (11_659, 82_161, 3060)}
WAYS = ("features", "distances")


def unit_features(n, people, noise, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(people, width, generator=generator)
    features = torch.randn(n, width, generator=generator).mul_(noise)
    for part in torch.arange(n).split(1024):
        features[part] += centres[part % people]
        features[part] /= torch.linalg.vector_norm(features[part], dim=1, keepdim=True)
    return features[torch.randperm(n, generator=generator)]


def squared_distances(one, other):
    result = torch.empty(len(one), len(other))
    for at in range(0, len(one), 1024):
        torch.mm(one[at : at + 1024], other.T, out=result[at : at + 1024])
    return result.mul_(-2).add_(2).clamp_(min=0)


def dense_rerank(query_query, query_gallery, gallery_gallery, k1=20, k2=6, weight=0.3):
    """The same with dense tables, row after row, as it is commonly done."""
    q = len(query_query)
    near = np.block([[query_query.numpy(), query_gallery.numpy()], [query_gallery.numpy().T, gallery_gallery.numpy()]])
    np.fill_diagonal(near, 0)
    near /= near.max(axis=1, keepdims=True)
    n = len(near)
    order = np.empty((n, max(k1 + 1, k2)), np.int64)
    for i in range(n):
        order[i] = np.argsort(np.where(np.arange(n) == i, -1, near[i]), kind="stable")[: order.shape[1]]

    def reciprocal(i, k):
        forward = order[i, : k + 1]
        return forward[(order[forward, : k + 1] == i).any(axis=1)]

    half = [reciprocal(i, round(k1 / 2)) for i in range(n)]
    v = np.zeros((n, n), np.float32)
    for i in range(n):
        own = reciprocal(i, k1)
        grown = np.unique(np.concatenate([own, *(half[c] for c in own if _within(half[c], own))]))
        weights = np.exp(-near[i, grown])
        v[i, grown] = weights / weights.sum()
    if k2 > 1:
        v = np.stack([v[row].mean(axis=0) for row in order[:, :k2]])
    holders = [np.flatnonzero(column) for column in v.T]
    result = near[:q, q:].copy()
    for i in range(q):
        shared = np.zeros(n, np.float32)
        for g in np.flatnonzero(v[i]):
            shared[holders[g]] += np.minimum(v[i, g], v[holders[g], g])
        result[i] = (1 - weight) * (1 - shared[q:] / (2 - shared[q:])) + weight * result[i]
    return torch.from_numpy(result)


def _within(some, others):
    return 3 * len(np.intersect1d(some, others)) > 2 * len(some)


def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))


def measure(way, q, g, people, noise, width, kept):
    """Print one line. Linux only: the peak is the kernel's, reset before the work."""
    torch.set_num_threads(1)
    features = unit_features(q + g, people, noise, width)
    given = features[:q], features[q:]
    small = features[:64].clone()
    rerank_distances(*(squared_distances(small, small) for _ in range(3)))  # first calls load libraries: not counted
    if way != "features":
        query, gallery = given
        given = [squared_distances(*pair) for pair in ((query, query), (query, gallery), (gallery, gallery))]
    del features
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    held, began, worked = status("VmRSS"), time.perf_counter(), time.process_time()
    if way == "features":
        blocks = [block if kept else None for _, block in rerank_blocks(*given)]
    else:
        blocks = [(dense_rerank if way == "dense" else rerank_distances)(*given)]
    seconds, work, peak = time.perf_counter() - began, time.process_time() - worked, status("VmHWM")
    print(f"{way:10s}{noise:7.1f}{seconds:9.1f}{work:8.1f}{peak - held:12.0f}{peak:13.0f}", end="", flush=True)
    if kept:
        result = torch.cat(blocks)
        file = Path(kept, f"{noise}.pt")
        if way == "dense":
            torch.save(result, file)
        else:
            apart = (result - torch.load(file)).abs_()
            print(f"{float(apart.max()):10.1e}{float((apart > 1e-5).float().mean()):10.1e}", end="")
    print(flush=True)


def main(size, noises, width, ways, compare):
    q, g, people = SIZES[size]
    print(f"torch {torch.__version__}, numpy {np.__version__}, one thread; {q} + {g} images, {width} wide")
    print(f"{'way':10s}{'noise':>7s}{'seconds':>9s}{'cpu':>8s}{'beyond MiB':>12s}{'process MiB':>13s}", end="")
    print(f"{'largest':>10s}{'differ':>10s}" if compare else "", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for noise in noises:
            for way in ("dense", *ways) if compare else ways:
                arguments = (way, q, g, people, noise, width, folder if compare else None)
                child = multiprocessing.get_context("spawn").Process(target=measure, args=arguments)
                child.start()
                child.join()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="market")
    parser.add_argument("--noise", type=float, nargs="*", default=(1.0, 3.0))
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    parser.add_argument("--compare", action="store_true")
    options = parser.parse_args()
    main(options.size, options.noise, options.width, options.ways, options.compare)
