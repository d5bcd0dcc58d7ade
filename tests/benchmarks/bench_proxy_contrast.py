"""The loss of camera-aware proxies and its gradient against a loop over the samples, as CAP's released code has one."""

import numpy as np
import torch
from side_by_side import Case, Way, main

BATCH, WIDTH, CAMERAS, TEMPERATURE, HARD = 32, 2048, 6, 0.09, 50


def inputs_of(proxies):
    def inputs(size, folder):
        count, width = (proxies, WIDTH) if size == "full" else (60, 16)
        rng = np.random.default_rng(0)
        clusters = np.sort(rng.integers(0, count // 4, count))
        clusters = np.unique(clusters, return_inverse=True)[1]
        unit = [
            rows / np.linalg.norm(rows, axis=1, keepdims=True)
            for rows in (rng.normal(size=(n, width)).astype(np.float32) for n in (count, BATCH))
        ]
        own = rng.integers(0, count, BATCH)
        features = unit[1] + unit[0][own]  # near their proxies
        return {
            "vectors": unit[0],
            "features": features / np.linalg.norm(features, axis=1, keepdims=True),
            "clusters": clusters,
            "cameras": rng.integers(0, CAMERAS, count),
            "proxies": own,
        }

    return inputs


def loss_and_gradient(loss, features):
    features = torch.from_numpy(features).requires_grad_()

    def run():
        features.grad = None
        value = loss(features)
        value.backward()
        return {"loss": value.detach().numpy(), "gradient": features.grad.numpy()}

    return run


def reidlib(mode):
    def prepare(vectors, features, clusters, cameras, proxies):
        from reidlib.losses.proxy_contrast import ProxyMemory, proxy_contrast

        memory = ProxyMemory(*(torch.from_numpy(part) for part in (vectors, clusters, cameras)))
        proxies = torch.from_numpy(proxies)
        return loss_and_gradient(lambda x: proxy_contrast(x, proxies, memory, TEMPERATURE, HARD, mode), features)

    return prepare


def by_sample(mode, copies):
    """Sample after sample: its positives, its hardest negatives by a sort of all proxies, one softmax over both.

    copies: as in CAP's released code, which gathers all proxies in each step and turns a copy of them for each camera;
    otherwise one product with all of them serves the batch.
    """

    def prepare(vectors, features, clusters, cameras, proxies):
        vectors, clusters, cameras, proxies = (torch.from_numpy(part) for part in (vectors, clusters, cameras, proxies))

        def inter(scores, own):
            positive = (clusters == clusters[own]).nonzero()[:, 0]
            others = scores.detach().clone()
            others[positive] = -10_000
            hardest = others.sort().indices[-HARD:]
            chosen = torch.cat([scores[positive], scores[hardest]])
            target = torch.zeros(len(chosen))
            target[: len(positive)] = 1 / len(positive)
            return -(torch.log_softmax(chosen, dim=0) * target).sum()

        def intra(scores, own):
            same = (cameras == cameras[own]).nonzero()[:, 0]
            return torch.nn.functional.cross_entropy(scores[same][None], (same == own).nonzero()[:, 0])

        def loss(x):
            memory = vectors.clone() if copies else vectors
            at_once = None if copies else x @ memory.T / TEMPERATURE
            total = 0
            for camera in cameras[proxies].unique():
                rows = (cameras[proxies] == camera).nonzero()[:, 0]
                scores = x[rows] @ memory.T.clone() / TEMPERATURE if copies else at_once[rows]
                for row, own in zip(scores, proxies[rows], strict=True):
                    if mode == "eq1":
                        total = total + inter(row, own) / len(x)
                    else:
                        total = total + (intra(row, own) + 0.5 * inter(row, own)) / len(rows)
            return total

        return loss_and_gradient(loss, features)

    return prepare


def product_alone(vectors, features, **parts):
    from reidlib.products import LARGE_STEP, product

    vectors, features = torch.from_numpy(vectors), torch.from_numpy(features)
    return lambda: {"product": product(features, vectors, large=LARGE_STEP).numpy()}


def equal(results):
    ours, *others = (result for result in results.values() if "loss" in result)
    scale = np.abs(ours["gradient"]).max()
    found = {
        "loss": max(abs(float(other["loss"]) / float(ours["loss"]) - 1) for other in others),
        "gradient": max(np.abs(ours["gradient"] - other["gradient"]).max() for other in others) / scale,
    }
    assert max(found.values()) < 1e-5, f"{found}"
    return found


CASES = [
    Case(
        name=f"proxy-contrast-{mode}-{proxies}",
        title=f"proxy loss and gradient, {words}",
        size=f"batch of {BATCH}, {proxies:,} proxies, {WIDTH:,} numbers each",
        ways=(
            Way("reidlib", reidlib(mode), rounds=9),
            Way("loop, as CAP's code", by_sample(mode, True), "the published algorithm, written for this comparison"),
            Way("product alone", product_alone, "oneDNN", rounds=9),
            Way("loop, one product", by_sample(mode, False), "the same without copies of the proxies"),
        ),
        inputs=inputs_of(proxies),
        check=equal,
        floor="product alone",
        at_least=at_least,
        limit=limit,
        threads=("one", "all") if proxies == 10_000 else ("one",),
    )
    for mode, words, limit in (
        ("eq1", "inter-camera (Eq. 1)", "the product with all proxies; its gradient is sparse"),
        (
            "cap",
            "intra- and inter-camera",
            "the product with all proxies, which each part makes, and the gradient of the intra-camera part",
        ),
    )
    for proxies, at_least in ((2000, 10), (10_000, 15))
]

if __name__ == "__main__":
    main(__file__, CASES)
