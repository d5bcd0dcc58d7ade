"""Swapped images: which appearance meets which structure, and do they show the appearance's person?

For networks that put the clothes of one image on the body of another: Zheng et al., Joint Discriminative and Generative
Learning for Person Re-identification (CVPR 2019), as trained in Shah, Person Re-identification in Surveillance Video
(2022).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib import training

BLOCK = 1024  # generated images that are compared with all real ones at once


def swap_pairs(n: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Which of n images give appearance and which structure, for `count` swaps: two int64 (count,) of rows.

    Appearances go through the images in order, 0 to n - 1 and over again. The structure is a random other image, never
    the appearance's own; in each full round of n swaps every image gives structure exactly once, and rounds are drawn
    apart. A longer list with the same n and seed starts with the shorter ones.
    Raises ValueError for n below 2 or a count below 0.

    >>> appearance, structure = swap_pairs(3, 5, seed=0)
    >>> appearance.tolist(), (appearance != structure).all().item()
    ([0, 1, 2, 0, 1], True)
    """
    if n < 2:
        raise ValueError(f"a swap needs an appearance and another image for the structure, got n={n}: give 2 or more")
    if count < 0:
        raise ValueError(f"cannot list {count} swaps: give a count of 0 or more")
    rounds = [_others(n, training.stream(seed, "swaps", number)) for number in range(-(-count // n))]
    structure = torch.cat(rounds) if rounds else torch.empty(0, dtype=torch.int64)
    return torch.arange(count) % n, structure[:count]


def _others(n: int, generator: torch.Generator) -> Tensor:
    """A random permutation of 0 to n - 1 that is a single cycle, so that it leaves no number in its place."""
    order = torch.randperm(n, generator=generator)
    others = torch.empty_like(order)
    others[order] = order.roll(-1)
    return others


@torch.no_grad()
def same_person_first(generated: Tensor, sources: Tensor, pids: Tensor, features: Tensor) -> Tensor:
    """Is the real image nearest to each generated one of its appearance's person? bool (k,), k of m rows or fewer.

    Nearest is by cosine similarity; the image that gave the appearance is left out, so that a copy of it is no answer.
    Rows whose person has no other image cannot be right and are dropped: the mean of the result is the share of right
    ones among the others, in their order. The ceiling is what the real images themselves reach:
    `same_person_first(features[sources], sources, pids, features)`, which drops the same rows.

    generated: float (m, d), features of generated images; sources: integers (m,), the row of the image that gave the
    appearance of each; pids: integers (n,) and features: float (n, d), identities and features of the real images, by
    the same network. Computed in float32 (float64 stays) on the device of `features`, where the result is too.
    Raises ValueError for shapes or types that do not fit, rows beyond the real images, features that are not finite,
    and where no row is left.

    >>> real = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> made, sources = torch.tensor([[1.0, 0.1], [0.1, 1.0]]), torch.tensor([0, 1])
    >>> same_person_first(made, sources, torch.tensor([7, 7, 8]), real)
    tensor([ True, False])
    """
    for name, rows in (("generated", generated), ("features", features)):
        if rows.ndim != 2 or not rows.is_floating_point() or rows.shape[1] != features.shape[-1]:
            raise ValueError(
                f"generated (m, d) and features (n, d) must be float and of one width, got {name} {rows.dtype} "
                f"{tuple(rows.shape)} beside features {tuple(features.shape)}: take both from the same network"
            )
        bad = (~torch.isfinite(rows).all(1)).nonzero()[:, 0]
        if len(bad):
            raise ValueError(f"row {int(bad[0])} of {name} holds NaN or infinity ({len(bad)} such rows)")
    sources, pids = (torch.as_tensor(values).to(features.device) for values in (sources, pids))
    _check_numbers("sources", sources, len(generated), "generated image")
    _check_numbers("pids", pids, len(features), "real image")
    if len(sources) and not 0 <= int(sources.min()) <= int(sources.max()) < len(features):
        wrong = sources[(sources < 0) | (sources >= len(features))][0]
        raise ValueError(f"source {int(wrong)} is no row of the real images, which are 0 to {len(features) - 1}")
    _, person, images = pids.unique(return_inverse=True, return_counts=True)
    rows = (images[person[sources]] > 1).nonzero()[:, 0]
    if not len(rows):
        raise ValueError(
            f"none of the {len(sources)} generated images has an appearance whose person has another real image: "
            f"there is nothing to find"
        )
    real, found = _directions(features), []
    for some in rows.split(BLOCK):
        own = sources[some]
        similarities = _directions(generated[some.to(generated.device)]).to(real) @ real.T
        similarities[torch.arange(len(own), device=own.device), own] = -torch.inf
        found.append(pids[similarities.argmax(1)] == pids[own])
    return torch.cat(found)


def _directions(rows: Tensor) -> Tensor:
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)))


def _check_numbers(name: str, values: Tensor, count: int, of: str) -> None:
    if values.shape != (count,) or values.is_floating_point() or values.dtype == torch.bool:
        raise ValueError(
            f"{name} must be one integer for each {of}, ({count},), got {values.dtype} {tuple(values.shape)}"
        )
