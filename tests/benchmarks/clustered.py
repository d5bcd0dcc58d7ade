"""Data sets of the published sizes with made-up people and features, by seed."""

import numpy as np
import pandas as pd
import torch

from reidlib.products import product
from reidlib.retrieval import CrossCamera

MARKET = {"queries": 3368, "gallery": 15_913, "distractors": 2798, "people": 750, "cameras": 6}
MSMT17 = {"queries": 11_659, "gallery": 82_161, "distractors": 0, "people": 3060, "cameras": 15}
TINY = {"queries": 12, "gallery": 60, "distractors": 8, "people": 6, "cameras": 3}


def query_gallery(queries, gallery, distractors, people, cameras, seed=0):
    """Query and gallery frame with random people and cameras, ordered by person; distractors have number 0."""
    rng = np.random.default_rng(seed)
    pids = np.concatenate([np.zeros(distractors, np.int64), rng.integers(1, people + 1, gallery - distractors)])
    stored = pd.DataFrame({"pid": pids, "camid": rng.integers(0, cameras, gallery)})
    asked = pd.DataFrame({"pid": rng.integers(1, people + 1, queries), "camid": rng.integers(0, cameras, queries)})
    return with_a_match(asked, stored), stored.sort_values(["pid", "camid"], ignore_index=True)


def with_a_match(asked, stored):
    """Queries without an image in another camera give way to the first query that has one."""
    found = CrossCamera().match(asked, stored).positives.counts > 0
    return asked.iloc[np.where(found, np.arange(len(asked)), found.argmax())].reset_index(drop=True)


def features(pids, camids, noise, width=2048, seed=1):
    """Unit vectors, float32 (n, width): a centre for each person, half as strong a shift for each camera, and noise.

    noise: its length against the centre's. Person 0 (distractors) has no centre: such images are alike in nothing.
    """
    shared, own = (torch.Generator().manual_seed(number) for number in (0, seed))
    centres, shifts = (
        torch.randn(int(numbers.max()) + 1, width, generator=shared)
        for numbers in (np.asarray(pids), np.asarray(camids))
    )
    centres[0] = 0
    pids, camids = torch.as_tensor(np.array(pids)), torch.as_tensor(np.array(camids))
    result = torch.empty(len(pids), width)
    for part in torch.arange(len(pids)).split(4096):
        made = (
            torch.randn(len(part), width, generator=own).mul_(noise) + centres[pids[part]] + 0.5 * shifts[camids[part]]
        )
        result[part] = torch.nn.functional.normalize(made, dim=1)
    return result


def half_product(features):
    """The products that nobody can leave out who looks for the neighbours of all features among each other."""
    features = torch.from_numpy(features)
    starts = range(0, len(features), 1536)
    return lambda: {"ends": np.array([float(product(features[i : i + 1536], features[i:])[-1, -1]) for i in starts])}
