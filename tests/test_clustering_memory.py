"""Clustering never holds an n x n table: the peak memory of a process of its own, below one such table."""

import os
import subprocess
import sys

IMAGES = 12_000
CHILD = f'''
import os, sys, torch
from reidlib.clustering import dbscan, pseudo_labels
from reidlib.jaccard import jaccard_distances

def peak():
    """Peak MiB of this process; where there is no /proc, getrusage's, which may start at the parent's."""
    if not os.path.exists("/proc/self/status"):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))

generator = torch.Generator().manual_seed(0)
centres = torch.randn(600, 64, generator=generator)
features = torch.nn.functional.normalize(centres.repeat(20, 1) + torch.randn({IMAGES}, 64, generator=generator))
dbscan(jaccard_distances(features[:64]))  # loads what libraries load on their first call
before = peak()
labels = pseudo_labels(features, torch.arange({IMAGES}) % 6)
print(peak() - before, labels.n_clusters)
'''


def test_memory_stays_below_half_of_a_table_of_all_distances():
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=300, env=env)
    assert run.returncode == 0, run.stderr
    peak, clusters = run.stdout.split()
    assert float(peak) < IMAGES**2 * 4 / 2**20 / 2  # 275 MiB: half of a float32 table
    assert int(clusters) > 100
