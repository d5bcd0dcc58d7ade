"""One epoch of each sampler against those of torchreid, pytorch-metric-learning and open-metric-learning."""

import numpy as np
import torch
from side_by_side import Case, Way, main

SIZES = {"market": (12_936, 751, 6), "msmt17": (32_621, 1041, 15)}
BATCH, EACH = 32, 4


def inputs_of(data_set):
    def inputs(size, folder):
        """Clusters (a tenth of the images are outliers), people, cameras and outfits of all images."""
        images, people, cameras = SIZES[data_set] if size == "full" else (120, 12, 3)
        rng = np.random.default_rng(0)
        pids = np.concatenate([np.arange(people), rng.integers(0, people, images - people)])
        clusters = np.where(rng.random(images) < 0.1, -1, pids)
        return {
            "pids": pids,
            "clusters": clusters,
            "camids": rng.integers(0, cameras, images),
            "clothes": 3 * pids + rng.integers(0, 3, images),
        }

    return inputs


def epoch(sampler):
    """Batches of one epoch, as a list of row numbers a batch."""
    return lambda: {"rows": np.array(list(sampler))}


def ours(make):
    def prepare(pids, clusters, camids, clothes):
        labels = {name: torch.from_numpy(part) for name, part in locals().items() if name != "make"}
        generator = torch.Generator().manual_seed(0)
        return epoch(make(generator=generator, **labels))

    return prepare


def class_sampler(clusters, generator, **others):
    from reidlib.samplers import ClassSampler

    return ClassSampler(clusters, EACH, BATCH, iterations=len(clusters) // BATCH, generator=generator)


def random_sampler(clusters, generator, **others):
    from reidlib.samplers import RandomSampler

    return RandomSampler(clusters, BATCH, iterations=len(clusters) // BATCH, generator=generator)


def group_sampler(clusters, generator, **others):
    from reidlib.samplers import GroupSampler

    return GroupSampler(clusters, 8, BATCH, iterations=len(clusters) // BATCH, generator=generator)


def multiple_gallery_sampler(clusters, camids, generator, **others):
    from reidlib.samplers import MultipleGallerySampler

    return MultipleGallerySampler(clusters, camids, EACH, BATCH, len(clusters) // BATCH, generator)


def pk_sampler(pids, generator, **others):
    from reidlib.samplers import PKSampler

    return PKSampler(pids, BATCH // EACH, EACH, len(pids) // BATCH, generator)


def appearance_sampler(pids, clothes, generator, **others):
    from reidlib.appearance_sampler import AppearanceSampler

    batches = len(pids) // BATCH
    return AppearanceSampler(pids, clothes, BATCH // EACH, 2, EACH, batches_per_epoch=batches, generator=generator)


def in_batches(indices):
    rows = np.array(list(indices))
    return {"rows": rows[: len(rows) // BATCH * BATCH].reshape(-1, BATCH)}


def torchreid_sampler(pids, camids, **others):
    from torchreid.reid.data.sampler import RandomIdentitySampler

    rows = [("", int(pid), int(camid), 0) for pid, camid in zip(pids, camids, strict=True)]
    sampler = RandomIdentitySampler(rows, BATCH, EACH)
    return lambda: in_batches(sampler)


def metric_learning_sampler(pids, **others):
    from pytorch_metric_learning.samplers import MPerClassSampler

    sampler = MPerClassSampler(pids, EACH, BATCH, length_before_new_iter=len(pids))
    return lambda: in_batches(sampler)


def open_metric_learning_sampler(pids, **others):
    from oml.samplers.balance import BalanceSampler

    sampler = BalanceSampler(pids.tolist(), n_labels=BATCH // EACH, n_instances=EACH)
    return lambda: {"rows": np.array(list(sampler))}


def whole_batches(results):
    """Draws are random and cannot be equal; all give batches of 32 row numbers of the data set."""
    for name, result in results.items():
        rows = result["rows"]
        assert rows.shape[1:] == (BATCH,), f"{name} gave {rows.shape}"
        assert rows.min() >= 0, f"{name} gave row {rows.min()}"
    return {f"batches of {name}": len(result["rows"]) for name, result in results.items()}


CASES = [
    Case(
        name=f"samplers-{data_set}",
        title="one epoch of batches",
        size=f"{words}: {SIZES[data_set][0]:,} images, batches of {BATCH}",
        ways=(
            Way("triplet sampling (ClassSampler)", ours(class_sampler), rounds=7),
            Way("torchreid", torchreid_sampler, "torchreid 0.2.5, RandomIdentitySampler", True),
            Way("random (RandomSampler)", ours(random_sampler), rounds=7),
            Way("group (GroupSampler)", ours(group_sampler), rounds=7),
            Way("multiple gallery (MultipleGallerySampler)", ours(multiple_gallery_sampler), rounds=7),
            Way("P x K (PKSampler)", ours(pk_sampler), rounds=7),
            Way("appearances (AppearanceSampler)", ours(appearance_sampler), rounds=7),
            Way("pytorch-metric-learning", metric_learning_sampler, "2.9.0, MPerClassSampler", True),
            Way("open-metric-learning", open_metric_learning_sampler, "4.0.0, BalanceSampler", True),
        ),
        inputs=inputs_of(data_set),
        check=whole_batches,
        at_most_ms=limit,
        limit="one call of the random generator a list; a batch, where batches are drawn one by one",
        threads=("one",),
    )
    for data_set, words, limit in (("market", "Market-1501's size", 2), ("msmt17", "MSMT17's size", 6))
]

if __name__ == "__main__":
    main(__file__, CASES)
