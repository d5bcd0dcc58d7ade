"""The batches of one epoch of each sampler, and P x K batches against three toolkits'."""

from itertools import chain, islice, repeat

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


def batches_of(source, images):
    """As many batches of a sampler as the data set has, from as many of its epochs as that takes."""
    epochs = chain.from_iterable(repeat(source))
    return lambda: {"rows": np.array(list(islice(epochs, images // BATCH)))}


class InBatches:
    """A sampler of single images, cut into batches."""

    def __init__(self, sampler):
        self.sampler = sampler

    def __iter__(self):
        rows = list(self.sampler)
        return (rows[i : i + BATCH] for i in range(0, len(rows) // BATCH * BATCH, BATCH))


def ours(make):
    def prepare(pids, clusters, camids, clothes):
        parts = {"pids": pids, "clusters": clusters, "camids": camids, "clothes": clothes}
        generator = torch.Generator().manual_seed(0)
        sampler = make(generator=generator, **{name: torch.from_numpy(part) for name, part in parts.items()})
        return batches_of(sampler, len(pids))

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


def torchreid_sampler(pids, camids, **others):
    from torchreid.reid.data.sampler import RandomIdentitySampler

    rows = [("", int(pid), int(camid), 0) for pid, camid in zip(pids, camids, strict=True)]
    sampler = RandomIdentitySampler(rows, BATCH, EACH)
    return batches_of(InBatches(sampler), len(pids))


def metric_learning_sampler(pids, **others):
    from pytorch_metric_learning.samplers import MPerClassSampler

    sampler = MPerClassSampler(pids, EACH, BATCH, length_before_new_iter=len(pids))
    return batches_of(InBatches(sampler), len(pids))


def open_metric_learning_sampler(pids, **others):
    from oml.samplers.balance import BalanceSampler

    sampler = BalanceSampler(pids.tolist(), n_labels=BATCH // EACH, n_instances=EACH)
    return batches_of(sampler, len(pids))


def whole_batches(results):
    """Draws are random and cannot be equal; all give the same number of batches of row numbers."""
    shapes = {result["rows"].shape for result in results.values()}
    assert len(shapes) == 1, f"{shapes}"
    for name, result in results.items():
        assert result["rows"].min() >= 0, f"{name} gave row {result['rows'].min()}"
    return {}


def cases(data_set, words, limit):
    images = SIZES[data_set][0]
    size = f"{words}: {images // BATCH} batches of {BATCH} from {images:,} images"
    alike = (
        Way("PKSampler", ours(pk_sampler), rounds=7),
        Way("torchreid", torchreid_sampler, "torchreid 0.2.5, RandomIdentitySampler", True),
        Way("pytorch-metric-learning", metric_learning_sampler, "2.9.0, MPerClassSampler", True),
        Way("open-metric-learning", open_metric_learning_sampler, "4.0.0, BalanceSampler", True),
    )
    own = (
        Way("triplet sampling (ClassSampler)", ours(class_sampler), rounds=7),
        Way("random (RandomSampler)", ours(random_sampler), rounds=7),
        Way("group (GroupSampler)", ours(group_sampler), rounds=7),
        Way("multiple gallery (MultipleGallerySampler)", ours(multiple_gallery_sampler), rounds=7),
        Way("P x K (PKSampler)", ours(pk_sampler), rounds=7),
        Way("appearances (AppearanceSampler)", ours(appearance_sampler), rounds=7),
    )
    common = {"size": size, "inputs": inputs_of(data_set), "check": whole_batches, "threads": ("one",)}
    return [
        Case(
            name=f"samplers-{data_set}",
            title="batches of one epoch",
            ways=own,
            at_most_ms=limit,
            limit="one call of the random generator a list; a batch, where batches are drawn one by one",
            **common,
        ),
        Case(
            name=f"samplers-pk-{data_set}",
            title="batches of P identities with K images each",
            ways=alike,
            limit="three calls of the random generator a batch",
            **common,
        ),
    ]


CASES = [*cases("market", "Market-1501's size", 2), *cases("msmt17", "MSMT17's size", 6)]

if __name__ == "__main__":
    main(__file__, CASES)
