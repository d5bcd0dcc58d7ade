"""Recall@10 and speed of the faiss indexes against the exact search, one thread, rounds alternating.

python tests/benchmarks/bench_index.py [--gallery 15913] [--queries 3368] [--width 128]
"""

import argparse

import torch

from reidlib.retrieval import recall_at, search

WAYS = {
    "exact": {},
    "flat": {},
    "hnsw, search 16": {"ef_search": 16},
    "hnsw, search 64": {"ef_search": 64},
    "hnsw, search 256": {"ef_search": 256},
    "ivf, 1 probe": {"probes": 1},
    "ivf, 8 probes": {"probes": 8},
    "ivf, 32 probes": {"probes": 32},
}


def clustered(count, people, width, generator):
    """Unit vectors scattered around `people` centres, as features of a trained model are."""
    centres = torch.randn(people, width, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(count, width, generator=generator)
    return torch.nn.functional.normalize(centres[torch.randint(people, (count,), generator=generator)] + noise)


def main(queries, gallery, width, rounds=2):
    import faiss

    faiss.omp_set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    a, b = (clustered(n, 750, width, generator) for n in (queries, gallery))
    truth = search(a, b, 10)
    found = {}
    for _ in range(rounds):
        for name, settings in WAYS.items():
            result = search(a, b, 10, index=name.split(",")[0], **settings)
            if name not in found or result.search_s < found[name].search_s:
                found[name] = result
    print(f"{queries} queries, {gallery} x {width}, faiss {faiss.__version__}, one thread")
    print(f"{'index':18s}{'recall@10':>10s}{'build s':>9s}{'search s':>10s}{'speed-up':>10s}")
    for name, result in found.items():
        recall, ratio = recall_at(result.indices, truth.indices), found["exact"].search_s / result.search_s
        print(f"{name:18s}{recall:10.4f}{result.build_s:9.2f}{result.search_s:10.3f}{ratio:10.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("queries", 3368), ("gallery", 15_913), ("width", 128)):
        parser.add_argument(f"--{option}", type=int, default=default)
    torch.set_num_threads(1)
    main(**vars(parser.parse_args()))
