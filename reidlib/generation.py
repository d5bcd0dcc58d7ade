"""Generated training images: GANs of all images and of each cluster, what they draw, and whether they collapsed.

Source: Ainam et al., Sparse Label Smoothing for Semi-supervised Person Re-Identification (2018), Algorithm 1.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reidlib import training
from reidlib.cache import kept, key
from reidlib.gan import check_images, sample, squashed, train_gan
from reidlib.results.provenance import module_hash

SPREAD = 0.25  # fakes of a spread below this share of that of real images have collapsed
REPEATS = 0.5  # fakes of which more than this share are repeats have collapsed
NEAR = 0.01  # quantile of the real images' nearest-neighbour distances within which a fake is a repeat


@dataclass(frozen=True)
class Generated:
    """Generated images and the GANs that drew them.

    images: uint8 (n, 3, h, w) at the size of the training images. cluster: int64 (n,), the cluster whose GAN drew each.
    parent: the GAN of all images, or None. gans: one a cluster in their order; where there are no clusters, the parent.
    """

    images: Tensor
    cluster: Tensor
    parent: dict | None
    gans: list[dict]


def generated_set(
    images: Tensor,
    clusters: Tensor | None,
    count: int,
    *,
    parent: bool = True,
    parent_steps: int,
    steps: int,
    seed: int,
    cache: Path | str,
    size: tuple[int, int] | None = None,
    base: int = 64,
    latent: int = 100,
    batch: int = 64,
    g_steps: int = 2,
    learning_rate: float = 2e-4,
    beta1: float = 0.5,
    device="cpu",
    progress: bool = True,
) -> Generated:
    """`count` generated images: an equal share from the GAN of every cluster, or all from one GAN of all images.

    With k clusters floor(count / k) + 1 images of each are drawn, pooled, shuffled and cut to `count`, whatever the
    sizes of the clusters are. The images of a cluster do not depend on `count` or on their number: a larger set holds
    a smaller one, but for what the cut took.

    images: uint8 (n, 3, h, w), the training images. clusters: integers (n,) from 0 to k - 1, the cluster of each; None
    gives one GAN of all of them, trained for `parent_steps`, and cluster 0 throughout (how LSRO generates).
    parent: train one GAN on all images for `parent_steps`, and start those of the clusters from it; else they start
    anew. steps: of each cluster's GAN. The other settings are those of `train_gan`; where `size` is given, the GANs
    work at it, and their images are brought back to the size of the training images.
    cache: a folder. Every GAN and the set itself are one file there, named by what they depend on (images, settings,
    seed, kind of device, the code), and made once, see `reidlib.cache.kept`. A count of 0 trains nothing.
    Raises ValueError for a cluster that is empty or has a single image, shapes that do not fit, and a negative count;
    otherwise what `train_gan` raises.
    """
    images = images.detach().cpu()
    groups = _groups(images, clusters)
    if count < 0:
        raise ValueError(f"cannot generate {count} images: give a count of 0 or more")
    if count == 0:
        empty = torch.empty(0, dtype=torch.int64)
        return Generated(torch.empty(0, *images.shape[1:], dtype=torch.uint8), empty, None, [])
    cache, kind = Path(cache), torch.device(device).type
    settings = {"size": size, "base": base, "latent": latent, "batch": batch, "g_steps": g_steps}
    settings |= {"learning_rate": learning_rate, "beta1": beta1}
    code = _code("train_gan")

    def trained(pixels: Tensor, name: str, start: tuple[str, dict] | None, **more) -> tuple[str, dict]:
        facts = key(pixels, settings | more, start[0] if start else None, kind, code)
        file = cache / f"gan-{facts}.pt"
        origin = start[1] if start else None
        options = settings | more | {"start": origin, "device": device, "description": name, "progress": progress}
        return facts, kept(file, lambda: train_gan(pixels, **options))

    whole = None
    if parent or clusters is None:
        own = training.stream_seed(seed, "parent GAN")
        whole = trained(images, "GAN of all images", None, steps=parent_steps, seed=own)
    gans = [whole] if clusters is None else []
    for cluster, rows in enumerate(groups if clusters is not None else []):
        own = training.stream_seed(seed, "GAN of a cluster", cluster)
        gans.append(trained(images[rows], f"GAN of cluster {cluster}", whole, steps=steps, seed=own))

    def drawn() -> dict:
        share = count // len(gans) + 1
        seeds = [training.stream_seed(seed, "images of a cluster", cluster) for cluster in range(len(gans))]
        pool = torch.cat(
            [sample(gan, share, seed=own, device=device) for (_, gan), own in zip(gans, seeds, strict=True)]
        )
        cluster = torch.arange(len(gans)).repeat_interleave(share)
        order = torch.randperm(len(pool), generator=training.stream(seed, "generated", "shuffle"))[:count]
        return {"images": squashed(pool[order], tuple(images.shape[2:])), "cluster": cluster[order]}

    facts = key([name for name, _ in gans], count, seed, images.shape[2:], kind, _code("generated_set"))
    found = kept(cache / f"generated-{facts}.pt", drawn)
    return Generated(found["images"], found["cluster"], whole[1] if whole else None, [gan for _, gan in gans])


def _groups(images: Tensor, clusters: Tensor | None) -> list[Tensor]:
    """Rows of the images of each cluster; checked before anything is trained."""
    check_images(images, "the generated set")
    if clusters is None:
        return [torch.arange(len(images))]
    clusters = torch.as_tensor(clusters).detach().cpu()
    if clusters.shape != images.shape[:1] or clusters.is_floating_point():
        raise ValueError(
            f"clusters must be one integer for each of the {len(images)} images, "
            f"got {clusters.dtype} {tuple(clusters.shape)}"
        )
    if clusters.min() < 0:
        raise ValueError(f"clusters are numbered from 0, got {int(clusters.min())}: leave out images without a cluster")
    groups = [(clusters == cluster).nonzero()[:, 0] for cluster in range(int(clusters.max()) + 1)]
    for cluster, rows in enumerate(groups):
        if len(rows) < 2:
            number = "no image" if len(rows) == 0 else "only 1 image"
            raise ValueError(f"cluster {cluster} has {number}, and its GAN needs 2 or more: use fewer clusters")
    return groups


def _code(name: str) -> str:
    """Hash of a function of this module and of all that it reaches."""
    return module_hash(code=f"from reidlib.generation import {name}\n{name}")


# ---------------------------------------------------------------- collapse


def health(fakes: Tensor, real: Tensor) -> dict[str, float]:
    """Has a GAN collapsed? Compares features of generated images with those of real ones.

    fakes: (n, d) and real: (m, d), features by one fixed network, 2 rows or more; sets of about equal size, as nearest
    neighbours come nearer in larger ones.

    Returns
    -------
    "spread": trace of the fakes' covariance over that of the real ones; 1 is as varied as real images.
    "repeats": share of fakes whose nearest other fake is no farther than the 1st percentile of the distances from a
    real image to its nearest other (Euclidean); about 0.01 for fakes that are spread like real images.
    "collapsed": 1.0 where spread is below 0.25 (`SPREAD`) or repeats above 0.5 (`REPEATS`), else 0.0.
    Raises ValueError for shapes that do not fit, values that are not finite, and real images that are all alike.
    """
    if fakes.ndim != 2 or real.ndim != 2 or fakes.shape[1] != real.shape[1] or min(len(fakes), len(real)) < 2:
        raise ValueError(
            f"health needs features (n, d) and (m, d) of 2 images or more by the same network, "
            f"got fakes {tuple(fakes.shape)} and real {tuple(real.shape)}"
        )
    for name, features in (("fakes", fakes), ("real", real)):
        bad = (~torch.isfinite(features).all(1)).nonzero()[:, 0]
        if len(bad):
            raise ValueError(f"row {int(bad[0])} of {name} holds NaN or infinity ({len(bad)} such rows)")
    fakes, real = fakes.detach().to(real.device, torch.float64), real.detach().to(torch.float64)
    varied = real.var(0).sum()
    if varied == 0:
        raise ValueError("the features of all real images are equal: there is nothing to compare the fakes with")
    spread = (fakes.var(0).sum() / varied).item()
    near = torch.quantile(_nearest_distances(real), NEAR)
    repeats = (_nearest_distances(fakes) <= near).double().mean().item()
    return {"spread": spread, "repeats": repeats, "collapsed": float(spread < SPREAD or repeats > REPEATS)}


def _nearest_distances(features: Tensor, block: int = 1024) -> Tensor:
    """Distance (n,) of each row to its nearest other row.

    Products in float32 find the neighbour, its distance is then taken exactly: 0 for a copy.
    """
    centred = (features - features.mean(0)).float()
    squares = centred.square().sum(1)
    found = []
    for start in range(0, len(features), block):
        rows = centred[start : start + block]
        squared = squares - 2 * rows @ centred.T  # of each row, up to its own square
        squared[torch.arange(len(rows)), torch.arange(start, start + len(rows))] = torch.inf
        nearest = features[squared.argmin(1)]
        found.append((features[start : start + block] - nearest).square().sum(1).sqrt())
    return torch.cat(found)
