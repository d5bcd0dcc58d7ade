"""Time and memory of the evaluator against a reference that sorts, alternating in one run on one core.

    python tests/benchmarks/bench_evaluate.py            distances of Market-1501's size, three qualities of features
    python tests/benchmarks/bench_evaluate.py --msmt17   features of MSMT17's size, 2048 dimensions (minutes)

Columns: milliseconds (best of the rounds), MiB needed beyond the input, ratio of times. "top 50" also orders the best
matches.
"""

import argparse
import time

import numpy as np
import pandas as pd
import torch

from reidlib.retrieval import evaluate, evaluate_distances

MARKET = {"queries": 3368, "gallery": 15_913, "distractors": 2798, "people": 750, "cameras": 6}
QUALITIES = {"trained": 0.85, "half-trained": 1.2, "untrained": 6.0}  # noise against the spread of identities


def frames(queries, gallery, distractors, people, cameras, seed=0):
    """Query and gallery frame with random people and cameras, ordered by person."""
    rng = np.random.default_rng(seed)
    pids = np.concatenate([np.zeros(distractors, np.int64), rng.integers(1, people + 1, gallery - distractors)])
    stored = pd.DataFrame({"pid": pids, "camid": rng.integers(0, cameras, gallery)})
    asked = pd.DataFrame({"pid": rng.integers(1, people + 1, queries), "camid": rng.integers(0, cameras, queries)})
    return asked, stored.sort_values(["pid", "camid"], ignore_index=True)


def features(frame, noise, people, cameras, width=64, seed=1):
    """Unit vectors: a centre for the person, a shift for the camera, noise."""
    centres, shifts = (np.random.default_rng(0).normal(size=(n, width)) for n in (people + 1, cameras))
    rng = np.random.default_rng(seed)
    vectors = centres[frame.pid] + 0.5 * shifts[frame.camid] + noise * rng.normal(size=(len(frame), width))
    other = frame.pid.to_numpy() == 0
    vectors[other] = rng.normal(size=(other.sum(), width)) * (1.25 + noise**2) ** 0.5
    return torch.nn.functional.normalize(torch.from_numpy(vectors).float())


def by_sorting(distances, query, gallery, block=256):
    """AP-std and first-hit rank of each query by a stable argsort of the whole gallery, in blocks."""
    pids, cams, wanted, seen = (torch.tensor(f[c].to_numpy()) for f in (gallery, query) for c in ("pid", "camid"))
    scores = []
    for at in range(0, len(distances), block):
        order = distances[at : at + block].argsort(dim=1, stable=True)
        same = pids[order] == wanted[at : at + block, None]
        keep = ~(same & (cams[order] == seen[at : at + block, None]))
        hit = same & keep
        rank, number = keep.cumsum(1), hit.cumsum(1)
        ap = (hit * number / rank.clamp(min=1)).sum(1) / hit.sum(1)
        scores.append(torch.stack([ap, rank.gather(1, hit.int().argmax(1, keepdim=True))[:, 0]]))
    return torch.cat(scores, dim=1).numpy()


def peak_mib(function):
    """MiB that `function` needs at its peak beyond what the process holds before; nan where Linux cannot tell."""

    def status(name):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))

    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = status("VmRSS")
        function()
        return status("VmHWM") - before
    except OSError:
        return float("nan")


def market(rounds):
    query, gallery = frames(**MARKET)
    print(f"{len(query)} x {len(gallery)} distances, torch {torch.__version__}, numpy {np.__version__}, one thread")
    print(f"{'features':13s}{'mAP':>6s}{'':4s}{'counting':>16s}{'counting, top 50':>20s}{'sorting':>18s}{'ratio':>7s}")
    for name, noise in QUALITIES.items():
        a, b = (features(f, noise, MARKET["people"], MARKET["cameras"], seed=s) for s, f in ((1, query), (2, gallery)))
        distances = torch.cdist(a, b).square_()
        ways = {
            "counting": lambda d=distances: evaluate_distances(d, query, gallery, top_k=0),
            "top 50": lambda d=distances: evaluate_distances(d, query, gallery, top_k=50),
            "sorting": lambda d=distances: by_sorting(d, query, gallery),
        }
        memory = {way: peak_mib(function) for way, function in ways.items()}
        best, results = dict.fromkeys(ways, float("inf")), {}
        for n in range(rounds):
            for way, function in ways.items():
                if way == "sorting" and n >= 2:  # slow
                    continue
                began = time.perf_counter()
                results[way] = function()
                best[way] = min(best[way], time.perf_counter() - began)
        scores, (ap, rank) = results["counting"], results["sorting"]
        np.testing.assert_allclose(scores.ap_std, ap, atol=1e-5)
        np.testing.assert_array_equal(scores.rank, rank)
        cells = [f"{1000 * best[w]:7.0f} ms {memory[w]:4.0f} MiB" for w in ways]
        print(f"{name:13s}{100 * scores.mAP:6.1f}{'':4s}{cells[0]}{cells[1]:>20s}{cells[2]:>18s}", end="")
        print(f"{best['sorting'] / best['counting']:7.1f}")


def msmt17(width=2048):
    query, gallery = frames(11_659, 82_161, 0, 3060, 15)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(len(f), width, generator=generator) for f in (query, gallery))
    began = time.perf_counter()
    memory = peak_mib(lambda: evaluate(a, b, query, gallery, unmatched="skip"))
    seconds = time.perf_counter() - began
    print(f"MSMT17 size: {seconds:.0f} s with distances and top 50, {memory:.0f} MiB beyond the features", end=" ")
    print(f"({(a.nbytes + b.nbytes) / 2**20:.0f} MiB)")
    distances = (a[:256] @ b.T).neg_()
    began = time.perf_counter()
    evaluate_distances(distances, query[:256], gallery, unmatched="skip")
    print(f"of which counting about {(time.perf_counter() - began) * len(query) / 256:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--msmt17", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    msmt17() if options.msmt17 else market(options.rounds)
