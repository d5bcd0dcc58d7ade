"""What an evaluation needs beyond its input, measured as the peak of a fresh process."""

import subprocess
import sys

import pytest

CHILD = """
import resource, sys
import numpy as np, pandas as pd, torch
from reidlib.retrieval import evaluate, evaluate_distances

torch.set_num_threads(1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
q, g = 1500, 30_000
frame = lambda n: pd.DataFrame({"pid": np.arange(n) % 500 + 1, "camid": np.arange(n) // 500 % 3})
query, gallery = frame(q), frame(g)
small = torch.rand(600, 64)
evaluate(small, small, frame(600), frame(600), unmatched="skip")  # loads what is loaded late
if sys.argv[1] == "features":
    a, b = torch.rand(q, 256), torch.rand(g, 256)
    before = peak()
    evaluate(a, b, query, gallery)
else:
    distances = torch.rand(q, g)
    before = peak()
    evaluate_distances(distances, query, gallery)
print(peak() - before)
"""


@pytest.mark.parametrize(("kind", "limit"), [("features", 120), ("distances", 30)])
def test_memory_beyond_the_input(kind, limit):
    """The matrix of distances alone takes 172 MiB: features get by on one block, a given matrix on a few rows."""
    pytest.importorskip("resource")
    run = subprocess.run([sys.executable, "-c", CHILD, kind], capture_output=True, text=True, check=True, timeout=120)
    assert float(run.stdout) < limit
