"""How samplers fill batches: one epoch of each, batch by batch, over a map of the training set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import traitlets

from reidlib.explore.static import KernelFree, Packer
from reidlib.explore.thumbnails import COLUMNS, PER_SHEET, sheets

MOST = 20_000  # images of one page

# name of a sampler -> (its title, the letter of its parameter, how it fills a list)
_KNOWN = {
    "random": ("Random", "", "Shuffles all images: which clusters meet in a batch is left to chance."),
    "cluster": (
        "Triplet, by cluster",
        "K",
        "Shuffles the clusters and takes K images of each. A cluster with fewer than K images repeats some of them.",
    ),
    "proxy": (
        "Triplet, by proxy",
        "K",
        "Shuffles the proxies (a proxy: the images of a cluster from one camera) and takes K images of each. "
        "A proxy with fewer than K images repeats some of them.",
    ),
    "group": (
        "Group",
        "N",
        "Shuffles the images of each cluster and cuts them into groups of N (the rest makes a smaller one), "
        "then shuffles the groups. A list holds every image once.",
    ),
}


class SamplerPicture(KernelFree):
    """Batches of an epoch, as the samplers of `reidlib.samplers` drew them: a reader chooses one and steps through.

    Source: Figure 1 of the paper on sampling strategies (random, triplet by cluster label, triplet by proxy label,
    group sampling), drawn from real lists of draws.
    clusters: ints (n,), one an image, negative for outliers. proxies, camids: ints (n,); cameras are shown from 1.
    lists: {sampler: {parameter, or None where there is none: the batches of one epoch}}, a batch being `batch_size` row
    numbers. "random", "cluster", "proxy" and "group" have titles and a sentence; other names stand for themselves. The
    classes of a sampler in `by_proxy` are proxies, those of the others clusters.
    images: uint8 (n, 3, h, w) puts thumbnails on the cells; drawn says whether these are drawn people: pictures of real
    ones are refused.
    Live, `sampler`, `parameter` and `batch` (from 0) follow the reader and may be set; `numbers()` rates the batch
    shown, `table()` whole epochs.
    Raises ValueError for arrays that do not fit each other, batches of another size, rows of no image or of outliers.
    """

    MODULE = "batches"
    STATE = ("sampler", "parameter", "batch")
    sampler = traitlets.Unicode().tag(sync=True)
    parameter = traitlets.Int(None, allow_none=True).tag(sync=True)
    batch = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        clusters,
        proxies,
        camids,
        lists: Mapping[str, Mapping[int | None, Sequence[Sequence[int]]]],
        batch_size: int = 32,
        images: torch.Tensor | None = None,
        drawn: bool = False,
        title: str = "",
        by_proxy: Sequence[str] = ("proxy",),
    ):
        self.clusters, self.proxies, cameras = _labels(clusters, proxies, camids)
        if not lists or not all(lists.values()):
            raise ValueError("there is no batch to show; pass {'cluster': {4: batches, 8: batches}, ...}")
        self.lists = {
            str(name): {
                None if value is None else int(value): self._batches(str(name), value, batches, batch_size)
                for value, batches in some.items()
            }
            for name, some in lists.items()
        }
        self.by_proxy = tuple(by_proxy)
        packer = Packer()
        meta = {
            "title": title,
            "size": batch_size,
            "samplers": [self._packed(packer, name) for name in self.lists],
            "cluster": packer.add(self.clusters, "i4"),
            "proxy": packer.add(self.proxies, "i4"),
            "camera": packer.add(cameras, "u2"),
            "order": packer.add(_map_order(self.clusters, cameras), "u2"),
            "sheets": None if images is None else _pictures(packer, images, len(self.clusters), drawn),
        }
        first = next(iter(self.lists))
        super().__init__(meta=meta, blob=packer.blob(), sampler=first, parameter=next(iter(self.lists[first])))

    def _batches(self, name: str, value, batches, size: int) -> np.ndarray:
        """int64 (batches, size), checked."""
        where = f"sampler {name!r}" + ("" if value is None else f", parameter {value}")
        batches = [np.asarray(batch, np.int64).ravel() for batch in batches]
        if not batches:
            raise ValueError(f"{where} has no batch; pass the batches of one epoch")
        for at, batch in enumerate(batches):
            here = f"{where}: batch {at}"
            if len(batch) != size:
                raise ValueError(f"{here} has {len(batch)} rows, but batch_size is {size}; pass whole batches only")
            outside = batch[(batch < 0) | (batch >= len(self.clusters))]
            if len(outside):
                raise ValueError(f"{here} draws row {outside[0]}, but there are {len(self.clusters)} images")
            outliers = batch[self.clusters[batch] < 0]
            if len(outliers):
                raise ValueError(f"{here} draws row {outliers[0]}, which is an outlier; samplers leave outliers out")
        return np.stack(batches)

    def _packed(self, packer: Packer, name: str) -> dict:
        title, letter, note = _KNOWN.get(name, (name, "", ""))
        values = list(self.lists[name])
        return {
            "name": name, "title": title, "letter": letter or "parameter", "note": note, "proxy": name in self.by_proxy,
            "settings": [{"value": v, "rows": packer.add(self.lists[name][v].ravel(), "u2")} for v in values],
        }  # fmt: skip

    @traitlets.validate("sampler")
    def _valid_sampler(self, proposal):
        if proposal["value"] not in self.lists:
            raise traitlets.TraitError(f"there is no sampler {proposal['value']!r}; there are {', '.join(self.lists)}")
        return proposal["value"]

    @traitlets.validate("parameter")
    def _valid_parameter(self, proposal):
        offered = self.lists[self.sampler]
        if proposal["value"] not in offered:
            raise traitlets.TraitError(f"{self.sampler!r} was drawn with {[*offered]}, not with {proposal['value']}")
        return proposal["value"]

    @traitlets.validate("batch")
    def _valid_batch(self, proposal):
        last = len(self.lists[self.sampler][self.parameter]) - 1
        if not 0 <= proposal["value"] <= last:
            raise traitlets.TraitError(f"there is no batch {proposal['value']}; this epoch has batches 0 to {last}")
        return proposal["value"]

    @traitlets.observe("sampler", "parameter")
    def _settle(self, change):
        offered = self.lists[self.sampler]
        if self.parameter not in offered:
            self.parameter = next(iter(offered))
        self.batch = min(self.batch, len(offered[self.parameter]) - 1)

    def numbers(self) -> dict[str, int]:
        """Counts of the batch shown, of the epoch up to it, and of what the epoch leaves out, by the names below.

        classes, different, duplicates: in the batch; classes_seen, images_seen: up to and with it; never: images
        without a draw in the whole epoch; all_classes, all_images: what could be seen (outliers could not).
        """
        batches = self.lists[self.sampler][self.parameter]
        classes, now, past = self._classes(self.sampler), batches[self.batch], batches[: self.batch + 1]
        everyone = self.clusters >= 0
        return {
            "classes": len(np.unique(classes[now])),
            "different": len(np.unique(now)),
            "duplicates": len(now) - len(np.unique(now)),
            "classes_seen": len(np.unique(classes[past])),
            "images_seen": len(np.unique(past)),
            "never": int(everyone.sum()) - len(np.unique(batches)),
            "all_classes": len(np.unique(classes[everyone])),
            "all_images": int(everyone.sum()),
        }

    def table(self, sampler: str | None = None) -> dict[int | None, dict[str, float]]:
        """{parameter: what one epoch of the sampler (None: the chosen one) does}.

        coverage, image_coverage: shares of the classes and of the images (outliers apart) drawn at least once;
        duplicates: share of the draws that repeat an image of their batch; classes_per_batch: mean.
        """
        sampler = self.sampler if sampler is None else sampler
        classes, found = self._classes(sampler), {}
        inliers = self.clusters >= 0
        for value, batches in self.lists[sampler].items():
            found[value] = {
                "coverage": len(np.unique(classes[batches])) / len(np.unique(classes[inliers])),
                "image_coverage": len(np.unique(batches)) / int(inliers.sum()),
                "duplicates": 1 - sum(len(np.unique(batch)) for batch in batches) / batches.size,
                "classes_per_batch": float(np.mean([len(np.unique(classes[batch])) for batch in batches])),
            }
        return found

    def _classes(self, sampler: str) -> np.ndarray:
        return self.proxies if sampler in self.by_proxy else self.clusters

    def describe(self) -> str:
        inliers, lines = self.clusters >= 0, []
        for packed in self.meta["samplers"]:
            shares = [
                ("" if value is None else f"{packed['letter']} {value}: ")
                + f"{100 * epoch['image_coverage']:.1f}% and {100 * epoch['duplicates']:.1f}%"
                for value, epoch in self.table(packed["name"]).items()
            ]
            lines.append(f"{packed['title']}, {', '.join(shares)}")
        of = f"{int(inliers.sum()):,} images in {len(np.unique(self.clusters[inliers])):,} clusters"
        return (
            f"How samplers fill batches of {self.meta['size']} from {of}: the share of images that one epoch draws, "
            f"and the share of draws that repeat an image of their batch. {'. '.join(lines)}."
        )


def _labels(clusters, proxies, camids) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    given = (x.cpu().numpy() if isinstance(x, torch.Tensor) else x for x in (clusters, proxies, camids))
    clusters, proxies, camids = (np.array(x, np.int64) for x in given)
    for name, values in (("proxies", proxies), ("camids", camids)):
        if clusters.ndim != 1 or values.shape != clusters.shape:
            raise ValueError(f"{name} are {values.shape} for clusters {clusters.shape}; pass one an image, (n,)")
    if len(clusters) > MOST:
        raise ValueError(f"{len(clusters):,} images are too many for one page, which holds {MOST:,}; pass fewer")
    lone = np.flatnonzero((clusters >= 0) & (proxies < 0))
    if len(lone):
        raise ValueError(f"image {lone[0]} is in cluster {clusters[lone[0]]} but in no proxy ({proxies[lone[0]]})")
    if len(camids) and camids.min() < 0:
        raise ValueError(f"image {camids.argmin()} has camera {camids.min()}; cameras count from 0")
    return clusters, proxies, camids


def _map_order(clusters: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Rows as the map shows them: large clusters first, by camera inside each, outliers last."""
    _, place, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    return np.lexsort((np.arange(len(clusters)), cameras, clusters, -counts[place], clusters < 0))


def _pictures(packer: Packer, images, count: int, drawn: bool) -> dict:
    if not drawn:
        raise ValueError("pictures of real people do not belong on this page; pass drawn=True for drawn ones")
    images = torch.as_tensor(images)
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[:2] != (count, 3):
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}; pass uint8 ({count}, 3, h, w)")
    made = sheets(lambda part: images[part.to(images.device)].cpu(), np.arange(count), height=48, quality=60)
    return {
        "files": [packer.add(file, made.mime) for file in made.files], "size": list(made.size), "columns": COLUMNS,
        "perSheet": PER_SHEET, "missing": [], "count": count,
    }  # fmt: skip
