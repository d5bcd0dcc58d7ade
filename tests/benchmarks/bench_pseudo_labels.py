"""Time and peak memory from features to pseudo labels, one thread, each size in a process of its own.

    python tests/benchmarks/bench_clustering.py                  Market-1501's size: 12,936 x 2,048
    python tests/benchmarks/bench_clustering.py --size msmt17    MSMT17's size: 32,621 x 2,048 (a minute or two)
    python tests/benchmarks/bench_clustering.py --compare        also the dense way, which needs two n x n tables

Features are unit vectors around one centre a person; "noise" is the length of the noise against the centre's.
Columns: seconds on the clock and of the processor; "beyond" is MiB needed beyond what the process held with features
loaded, "process" all that it held.
"""

import argparse
import multiprocessing
import time

import numpy as np
import torch
from sklearn.cluster import DBSCAN

from reidlib.clustering import dbscan, pseudo_labels
from reidlib.jaccard import jaccard_distances

SIZES = {"market": (12_936, 751, 6), "msmt17": (32_621, 1041, 15)}
NOISES = (0.5, 1.0, 2.0, 6.0)


def unit_features(n, people, noise, width=2048, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(people, width, generator=generator)
    features = torch.randn(n, width, generator=generator).mul_(noise)
    for part in torch.arange(n).split(1024):
        features[part] += centres[part % people]
        features[part] /= torch.linalg.vector_norm(features[part], dim=1, keepdim=True)
    return features[torch.randperm(n, generator=generator)]


def dense_labels(features, k1=20, k2=6, eps=0.5, min_samples=4):
    """The same with dense tables, row after row, as it is commonly done; neighbours by a full product."""
    n = len(features)
    nearest = torch.cat([(part @ features.T).topk(k1).indices for part in features.split(1024)]).numpy()

    def reciprocal(i, k):
        return nearest[i, : k + 1][(nearest[nearest[i, : k + 1], : k + 1] == i).any(axis=1)]

    whole, half = ([reciprocal(i, k) for i in range(n)] for k in (k1, round(k1 / 2)))
    v = np.zeros((n, n), np.float32)
    for i in range(n):
        near = [half[c] for c in whole[i] if len(np.intersect1d(half[c], whole[i])) > 2 / 3 * len(half[c])]
        grown = np.unique(np.concatenate([whole[i], *near]))
        v[i, grown] = torch.softmax(2 * features[grown] @ features[i] - 2, dim=0).numpy()
    v = np.stack([v[row].mean(axis=0) for row in nearest[:, :k2]])
    holders = [np.flatnonzero(column) for column in v.T]
    distances = np.ones((n, n), np.float32)
    for i in range(n):
        shared = np.zeros(n, np.float32)
        for g in np.flatnonzero(v[i]):
            shared[holders[g]] += np.minimum(v[i, g], v[holders[g], g])
        distances[i] = np.maximum(1 - shared / (2 - shared), 0)
    return DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(distances)


def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))


def measure(way, n, people, cameras, noise):
    """Print one line. Linux only: the peak is the kernel's, reset before the work."""
    torch.set_num_threads(1)
    features = unit_features(n, people, noise)
    camids = torch.arange(n) % cameras
    small = features[:64].clone()
    dbscan(jaccard_distances(small))  # what libraries load on their first call is not counted
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    held, began, worked = status("VmRSS"), time.perf_counter(), time.process_time()
    labels = torch.from_numpy(dense_labels(features)) if way == "dense" else pseudo_labels(features, camids).clusters
    seconds, work, peak = time.perf_counter() - began, time.process_time() - worked, status("VmHWM")
    counts = f"{int(labels.max()) + 1:10d}{int((labels < 0).sum()):10d}"
    print(f"{way:8s}{n:8d}{noise:7.1f}{seconds:9.1f}{work:8.1f}{peak - held:12.0f}{peak:12.0f}{counts}", flush=True)


def main(size, noises, compare):
    print(f"torch {torch.__version__}, numpy {np.__version__}, one thread")
    print(
        f"{'way':8s}{'images':>8s}{'noise':>7s}{'seconds':>9s}{'cpu':>8s}{'beyond MiB':>12s}{'process MiB':>12s}",
        end="",
    )
    print(f"{'clusters':>10s}{'outliers':>10s}", flush=True)
    for noise in noises:
        for way in ("sparse", "dense") if compare else ("sparse",):
            child = multiprocessing.get_context("spawn").Process(target=measure, args=(way, *SIZES[size], noise))
            child.start()
            child.join()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="market")
    parser.add_argument("--noise", type=float, nargs="*", default=NOISES)
    parser.add_argument("--compare", action="store_true")
    options = parser.parse_args()
    main(options.size, options.noise, options.compare)
