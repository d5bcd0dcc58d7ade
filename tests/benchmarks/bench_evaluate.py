"""CMC and mAP: from a distance matrix, and from features, against torchreid's evaluator.

PyPI's torchreid falls back to an evaluator in Python, for its compiled one is not in the package. FastReID's package
has one that was made from it (and takes the mean inverse negative penalty too); it is compiled and called here.
"""

import clustered
import numpy as np
import peers
import torch
from side_by_side import Case, Way, main

MAX_RANK = 50  # of torchreid's CMC
QUALITIES = {"good": (2.5, "96% mAP"), "usual": (3.0, "72% mAP"), "poor": (4.0, "18% mAP")}
SIZES = {"market": clustered.MARKET, "msmt17": clustered.MSMT17}


def features(noise, data_set):
    def inputs(size, folder):
        query, gallery = clustered.query_gallery(**SIZES[data_set] if size == "full" else clustered.TINY)
        names = {f"{side}_{c}": f[c].to_numpy() for side, f in (("query", query), ("gallery", gallery)) for c in f}
        sets = {
            side: clustered.features(names[f"{side}_pid"], names[f"{side}_camid"], noise, seed=seed).numpy()
            for side, seed in (("query", 1), ("gallery", 2))
        }
        return {**names, **sets}

    return inputs


def distances(noise):
    def inputs(size, folder):
        made = features(noise, "market")(size, folder)
        product = made.pop("query") @ made.pop("gallery").T
        return {**made, "distances": 2 - 2 * product}

    return inputs


def frames(pids, camids):
    import pandas as pd

    return pd.DataFrame({"pid": pids, "camid": camids})


def scores(found):
    return {"mAP": found.mAP, "cmc": found.cmc_curve(min(MAX_RANK, len(found.ap_std)))}


def reidlib_distances(distances, query_pid, query_camid, gallery_pid, gallery_camid):
    from reidlib.retrieval import evaluate_distances

    table, sides = torch.from_numpy(distances), (frames(query_pid, query_camid), frames(gallery_pid, gallery_camid))
    return lambda: scores(evaluate_distances(table, *sides, top_k=0))


def reidlib_features(query, gallery, query_pid, query_camid, gallery_pid, gallery_camid):
    from reidlib.retrieval import evaluate

    query, gallery = torch.from_numpy(query), torch.from_numpy(gallery)
    sides = frames(query_pid, query_camid), frames(gallery_pid, gallery_camid)
    return lambda: scores(evaluate(query, gallery, *sides, top_k=0))


def compiled(distances, query_pid, query_camid, gallery_pid, gallery_camid):
    evaluate = peers.compiled_evaluator().evaluate_cy
    numbers = query_pid, gallery_pid, query_camid, gallery_camid

    def run():
        cmc, precision = evaluate(distances, *numbers, MAX_RANK)[:2]
        return {"mAP": np.mean(precision), "cmc": cmc}

    return run


def compiled_from_features(query, gallery, **numbers):
    from torchreid.reid.metrics.distance import compute_distance_matrix

    query, gallery = torch.from_numpy(query), torch.from_numpy(gallery)
    return lambda: compiled(compute_distance_matrix(query, gallery).numpy(), **numbers)()


def torchreid_python(distances, query_pid, query_camid, gallery_pid, gallery_camid):
    from torchreid.reid.metrics.rank import evaluate_rank

    def run():
        cmc, mean = evaluate_rank(distances, query_pid, gallery_pid, query_camid, gallery_camid, MAX_RANK)
        return {"mAP": mean, "cmc": cmc}

    return run


def reading(distances, **numbers):
    table = torch.from_numpy(distances)
    return lambda: {"largest": table.max().numpy()}


def product_alone(query, gallery, **numbers):
    from reidlib.products import product

    query, gallery = torch.from_numpy(query), torch.from_numpy(gallery)
    rows = max(64, 2**22 // len(gallery))
    return lambda: {"corners": np.array([float(product(part, gallery)[-1, -1]) for part in query.split(rows)])}


def equal(results):
    """mAP in a 10,000th of a percent: torchreid's adds it up in float32."""
    names = [name for name, result in results.items() if "mAP" in result]
    ours, *others = (results[name] for name in names)
    if not others:
        return {}
    apart = {"mAP": 0.0, "CMC": 0.0}
    for other in others:
        ranks = min(len(ours["cmc"]), len(other["cmc"]))
        apart["mAP"] = max(apart["mAP"], abs(float(ours["mAP"]) - float(other["mAP"])))
        apart["CMC"] = max(apart["CMC"], float(np.abs(ours["cmc"][:ranks] - other["cmc"][:ranks]).max()))
    assert max(apart.values()) < 1e-5, f"{apart}"
    return apart


MARKET_SIZE = "Market-1501's size: 3,368 x 15,913"
COMPILED = "FastReID 1.4.0's evaluator in Cython, made from torchreid's"
CASES = [
    Case(
        name=f"evaluate-distances-{quality}",
        title=f"CMC and mAP from distances, {quality} features ({score})",
        size=MARKET_SIZE,
        ways=(
            Way("reidlib", reidlib_distances, rounds=7),
            Way("torchreid, compiled", compiled, COMPILED, peer=True, rounds=5),
            Way("read the matrix", reading, "torch.max", rounds=7),
            *([Way("torchreid, Python", torchreid_python, "torchreid 0.2.5", True, 1)] if quality == "usual" else []),
        ),
        inputs=distances(noise),
        check=equal,
        floor="read the matrix",
        at_least=20,
        at_most_mib=20,
        limit="passes over each row of distances in the cache, and the overhead of a NumPy call",
        threads=("one", "all") if quality == "usual" else ("one",),
    )
    for quality, (noise, score) in QUALITIES.items()
]
CASES += [
    Case(
        name="evaluate-features",
        title="CMC and mAP from features",
        size=f"{MARKET_SIZE}, 2,048 numbers each",
        ways=(
            Way("reidlib", reidlib_features),
            Way("torchreid, compiled", compiled_from_features, COMPILED, peer=True, rounds=3),
            Way("product alone", product_alone, "oneDNN"),
        ),
        inputs=features(QUALITIES["usual"][0], "market"),
        check=equal,
        floor="product alone",
        at_least=2.5,
        at_most_mib=200,
        limit="the product of queries and gallery",
    ),
    Case(
        name="evaluate-features-msmt17",
        title="CMC and mAP from features",
        size="MSMT17's size: 11,659 x 82,161, 2,048 numbers each",
        ways=(
            Way("reidlib", reidlib_features, rounds=1),
            Way("product alone", product_alone, "oneDNN", rounds=1),
        ),
        inputs=features(QUALITIES["usual"][0], "msmt17"),
        check=equal,
        floor="product alone",
        at_most_mib=300,
        limit="the product of queries and gallery",
        threads=("one",),
    ),
]

if __name__ == "__main__":
    main(__file__, CASES)
