"""k-reciprocal re-ranking of given distances, and from features, against torchreid's."""

import clustered
import numpy as np
import torch
from side_by_side import Case, Way, main

PARTS = ("query_query", "query_gallery", "gallery_gallery")


def feature_sets(noise, width):
    def inputs(size, folder):
        sides = clustered.query_gallery(**clustered.MARKET if size == "full" else clustered.TINY)
        made = (clustered.features(side.pid, side.camid, noise, width, seed) for seed, side in enumerate(sides, 1))
        return dict(zip(("query", "gallery"), (part.numpy() for part in made), strict=True))

    return inputs


def tables(noise, width):
    """Euclidean distances, exactly symmetric and 0 between an image and itself."""

    def inputs(size, folder):
        sides = feature_sets(noise, width)(size, folder)
        query, gallery = sides["query"], sides["gallery"]
        made = {}
        for name, one, other in zip(PARTS, (query, query, gallery), (query, gallery, gallery), strict=True):
            table = np.sqrt(np.maximum(2 - 2 * one @ other.T, 0))
            if one is other:
                table = np.maximum(table, table.T)
                np.fill_diagonal(table, 0)
            made[name] = table
        return made

    return inputs


def reidlib_tables(**tables):
    from reidlib.retrieval.rerank import rerank_distances

    squared = [torch.from_numpy(np.power(tables[name], 2, out=tables[name])) for name in PARTS]
    return lambda: {"distances": rerank_distances(*squared).numpy()}


def torchreid_tables(query_query, query_gallery, gallery_gallery):
    """torchreid squares what it is given."""
    from torchreid.reid.utils.rerank import re_ranking

    return lambda: {"distances": re_ranking(query_gallery, query_query, gallery_gallery)}


def reading(**tables):
    parts = [torch.from_numpy(tables[name]) for name in PARTS]
    return lambda: {"largest": np.array([float(part.max()) for part in parts])}


def reidlib_features(query, gallery):
    from reidlib.retrieval.rerank import rerank

    query, gallery = torch.from_numpy(query), torch.from_numpy(gallery)
    return lambda: {"distances": rerank(query, gallery).numpy()}


def half_product(query, gallery):
    return clustered.half_product(np.concatenate([query, gallery]))


def equal(results):
    """torchreid's sort leaves open which of two equal distances is first, so a few rows may differ."""
    ours, *others = (result["distances"] for result in results.values() if "distances" in result)
    found = {}
    for other in others:
        apart = np.abs(ours - other)
        rows = (apart > 1e-6).any(axis=1)
        found = {"rows with another order of equal distances": rows.sum(), "largest elsewhere": apart[~rows].max()}
        assert rows.mean() < 0.02, f"{rows.sum()} rows differ by up to {apart.max()}"
    return found


CASES = [
    Case(
        name="rerank-distances",
        title="k-reciprocal re-ranking from distances",
        size="Market-1501's size: 19,281 x 19,281",
        ways=(
            Way("reidlib", reidlib_tables, rounds=5),
            Way("torchreid", torchreid_tables, "torchreid 0.2.5, which squares its input first", peer=True, rounds=2),
            Way("read the tables", reading, "torch.max", rounds=5),
        ),
        inputs=tables(3.0, 2048),
        check=equal,
        floor="read the tables",
        at_least=40,
        at_most_mib=720,
        limit="the search for the nearest in each row of the tables",
    ),
    Case(
        name="rerank-features",
        title="k-reciprocal re-ranking from features",
        size="Market-1501's size: 3,368 + 15,913 images, 2,048 numbers each",
        ways=(
            Way("reidlib", reidlib_features, rounds=3),
            Way("half of the product", half_product, "oneDNN", rounds=3),
        ),
        inputs=feature_sets(3.0, 2048),
        check=equal,
        floor="half of the product",
        limit="the product of all features with each other, half of which is made",
        threads=("one",),
    ),
]

if __name__ == "__main__":
    main(__file__, CASES)
