"""Samplers: which images make a batch."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler


class PKSampler(Sampler[list[int]]):
    """Batches of p random identities with k random images each, for mining within the batch.

    Source: Murthy (2020), section 3.2.3 "Online triplet mining" (its run: 8 and 8).

    labels: integers (n,), one an image; images with a negative label are never drawn. A batch lists one identity after
    the other. Identities differ within a batch; an identity with k images or more gives k different ones, a shorter one
    gives each of its images once and fills up with replacement. batches_per_epoch: None for images // (p * k), at
    least 1. The generator (on the CPU) is advanced as batches are drawn: its state decides all that follows.
    Raises ValueError when there are fewer than p identities, or p, k or batches_per_epoch is below 1.
    """

    def __init__(
        self,
        labels: Tensor,
        p: int = 8,
        k: int = 8,
        batches_per_epoch: int | None = None,
        generator: torch.Generator | None = None,
    ):
        if p < 1 or k < 1 or (batches_per_epoch is not None and batches_per_epoch < 1):
            raise ValueError(
                f"PKSampler needs p, k and batches_per_epoch of 1 or more, "
                f"got p={p}, k={k}, batches_per_epoch={batches_per_epoch}"
            )
        labels = torch.as_tensor(labels).cpu()
        rows = (labels >= 0).nonzero()[:, 0]
        self.rows = rows[torch.argsort(labels[rows], stable=True)]
        self.counts = torch.unique(labels[rows], return_counts=True)[1]
        self.starts = self.counts.cumsum(0) - self.counts
        if len(self.counts) < p:
            raise ValueError(f"a batch needs p={p} identities but there are {len(self.counts)}: choose a smaller p")
        self.p, self.k, self.generator = p, k, generator
        self.batches_per_epoch = batches_per_epoch or max(1, len(rows) // (p * k))

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.batches_per_epoch):
            identities = torch.randperm(len(self.counts), generator=self.generator)[: self.p]
            yield self._images(identities).flatten().tolist()

    def _images(self, identities: Tensor) -> Tensor:
        """k images of each identity: int64 (p, k)."""
        counts = self.counts[identities][:, None]
        places = torch.arange(max(int(counts.max()), self.k))
        keys = torch.rand(self.p, len(places), dtype=torch.float64, generator=self.generator)
        shuffled = keys.masked_fill(places >= counts, torch.inf).argsort(dim=1, stable=True)[:, : self.k]
        share = torch.rand(self.p, self.k, dtype=torch.float64, generator=self.generator)
        again = (share * counts).long()
        chosen = torch.where(shuffled < counts, shuffled, again)
        return self.rows[self.starts[identities][:, None] + chosen]


class ListSampler(Sampler[list[int]]):
    """What the samplers below share: batches are cut from a list of images that a subclass draws.

    draw() gives one list, int64 row numbers into `labels`. An epoch cuts it into batches of batch_size in its order: a
    class that does not fit stands in two batches, the last short batch is dropped, and a new list is drawn until
    `iterations` batches were given; what is left of a longer list is never seen. A list shorter than one batch is
    joined with the next ones until they fill one. iterations: None for the batches of one list, at least 1 (the
    paper: 400). The generator (on the CPU) is advanced when a list is drawn: its state decides all that follows.
    """

    def __init__(self, labels: Tensor, batch_size: int, iterations: int | None, generator: torch.Generator | None):
        _need_at_least_one(self, batch_size=batch_size, iterations=iterations)
        self.labels = torch.as_tensor(labels).cpu()
        if self.labels.ndim != 1:
            raise ValueError(f"labels must be of shape (n,), one an image, got {tuple(self.labels.shape)}")
        self.rows = (self.labels >= 0).nonzero()[:, 0]
        if len(self.rows) == 0:
            raise ValueError(
                f"no image to draw: all {len(self.labels)} labels are negative (outliers); "
                "cluster again with a larger eps, or skip this epoch"
            )
        self.batch_size, self.iterations, self.generator = batch_size, iterations, generator

    def draw(self) -> Tensor:
        """One list of images, newly shuffled: int64 (length,)."""
        raise NotImplementedError

    @property
    def length(self) -> int:
        """Images in one list."""
        return len(self.rows)

    def __len__(self) -> int:
        return self.iterations or max(1, self.length // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        left = len(self)
        while left:
            images = self.draw()
            while len(images) < self.batch_size:
                images = torch.cat((images, self.draw()))
            whole = min(left, len(images) // self.batch_size)
            yield from images[: whole * self.batch_size].view(whole, self.batch_size).tolist()
            left -= whole


class RandomSampler(ListSampler):
    """Random sampling: the images in random order, whatever their cluster; each occurs once in a list.

    labels: integers (n,), one an image; a negative label is an outlier and never drawn. For the other arguments see
    `ListSampler`. Raises ValueError when every image is an outlier, and when batch_size or iterations is below 1.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int = 32,
        iterations: int | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__(labels, batch_size, iterations, generator)

    def draw(self) -> Tensor:
        return self.rows[torch.randperm(len(self.rows), generator=self.generator)]


class ClassSampler(ListSampler):
    """Triplet sampling: every class once in a list, in random order, with k random images of each.

    A class of n >= k images gives k different ones. A smaller one is repeated k times and k of these n * k are taken,
    so an image can be missing: one of 3 is in 42% of the draws at k = 4. Any k >= 1 works, also above every n; a k that
    does not divide batch_size lets classes straddle two batches.
    Source: Cao et al., Exploring Sampler Strategies in Unsupervised Person Re-identification Training: "triplet
    sampling" by cluster or by camera-aware proxy, whichever `labels` number; small classes as in CAP's released code.

    labels: integers (n,), one an image; a negative label is an outlier and never drawn. For the other arguments see
    `ListSampler`. Raises ValueError when every image is an outlier, and when k, batch_size or iterations is below 1.
    """

    def __init__(
        self,
        labels: Tensor,
        k: int = 4,
        batch_size: int = 32,
        iterations: int | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__(labels, batch_size, iterations, generator)
        _need_at_least_one(self, k=k)
        self.k = k
        labels = self.labels[self.rows]
        rows = self.rows[torch.argsort(labels, stable=True)]
        counts = torch.unique(labels, return_counts=True)[1]
        self.sizes = torch.where(counts < k, counts * k, counts)
        firsts = (counts.cumsum(0) - counts).repeat_interleave(self.sizes)
        places = _runs(torch.zeros_like(counts), self.sizes)
        self.urns = rows[firsts + places % counts.repeat_interleave(self.sizes)]

    @property
    def length(self) -> int:
        return self.k * len(self.sizes)

    def draw(self) -> Tensor:
        classes = torch.randperm(len(self.sizes), generator=self.generator)
        starts = self.sizes.cumsum(0) - self.sizes
        return _without_replacement(self.urns, starts, self.sizes, self.k, self.generator)[classes].flatten()


class GroupSampler(ListSampler):
    """Group sampling: each cluster shuffled and cut into groups of group_size, the groups in random order.

    What is left of a cluster makes a smaller group of its own, so every image occurs once in a list. group_size=1 is
    random sampling. Source: Han et al., Rethinking Sampling Strategies for Unsupervised Person Re-identification
    (2022), in the form of Cao et al. (see `ClassSampler`), which leaves outliers out.

    as_released: as in Han et al.'s released code: the outliers follow the groups, shuffled, each a cluster of its own;
    the list is then cut into batches and the whole batches are shuffled (a short one stays last and is dropped).

    labels: integers (n,), one an image; a negative label is an outlier. For the other arguments see `ListSampler`.
    Raises ValueError when every image is an outlier, and when group_size, batch_size or iterations is below 1.
    """

    def __init__(
        self,
        labels: Tensor,
        group_size: int = 8,
        batch_size: int = 32,
        iterations: int | None = None,
        generator: torch.Generator | None = None,
        as_released: bool = False,
    ):
        super().__init__(labels, batch_size, iterations, generator)
        _need_at_least_one(self, group_size=group_size)
        self.as_released = as_released
        labels = self.labels[self.rows]
        self.rows = self.rows[torch.argsort(labels, stable=True)]
        self.outliers = (self.labels < 0).nonzero()[:, 0]
        counts = torch.unique(labels, return_counts=True)[1]
        self.clusters = torch.arange(len(counts), dtype=torch.float64).repeat_interleave(counts)
        groups = (counts + group_size - 1) // group_size
        before = _runs(torch.zeros_like(groups), groups) * group_size
        self.starts = (counts.cumsum(0) - counts).repeat_interleave(groups) + before
        self.sizes = (counts.repeat_interleave(groups) - before).clamp(max=group_size)

    @property
    def length(self) -> int:
        return len(self.labels) if self.as_released else len(self.rows)

    def draw(self) -> Tensor:
        keys = torch.rand(len(self.rows), dtype=torch.float64, generator=self.generator)
        shuffled = self.rows[(self.clusters + keys).argsort(stable=True)]
        groups = torch.randperm(len(self.sizes), generator=self.generator)
        images = shuffled[_runs(self.starts[groups], self.sizes[groups])]
        return self._with_outliers(images) if self.as_released else images

    def _with_outliers(self, images: Tensor) -> Tensor:
        order = torch.randperm(len(self.outliers), generator=self.generator)
        images = torch.cat((images, self.outliers[order]))
        whole = len(images) // self.batch_size
        batches = images[: whole * self.batch_size].view(whole, self.batch_size)
        batches = batches[torch.randperm(whole, generator=self.generator)]
        return torch.cat((batches.flatten(), images[whole * self.batch_size :]))


class MultipleGallerySampler(ListSampler):
    """Every cluster once in a list, in random order: one random image, the anchor, and k - 1 from other cameras.

    If the cluster has images of other cameras than the anchor's, the k - 1 are chosen among these, otherwise among its
    other images: all different when there are k - 1 or more, with replacement when there are fewer. The only image of a
    cluster is given k times.
    Source: the released code of SpCL (Ge et al. 2020) and of Cluster-Contrast (Dai et al. 2022), which draws with
    replacement also when there are just k - 1, and gives the only image of a cluster once.

    labels, camids: integers (n,), one an image; a negative label is an outlier and never drawn. For the other arguments
    see `ListSampler`. Raises ValueError when every image is an outlier, when k, batch_size or iterations is below 1,
    and when labels and camids differ in length.
    """

    def __init__(
        self,
        labels: Tensor,
        camids: Tensor,
        k: int = 4,
        batch_size: int = 32,
        iterations: int | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__(labels, batch_size, iterations, generator)
        _need_at_least_one(self, k=k)
        camids = torch.as_tensor(camids).cpu()
        if camids.shape != self.labels.shape:
            raise ValueError(
                f"MultipleGallerySampler needs one camera an image: {tuple(self.labels.shape)} labels "
                f"but {tuple(camids.shape)} camids"
            )
        self.k = k
        clusters = torch.unique(self.labels[self.rows], return_inverse=True)[1]
        cameras = torch.unique(camids[self.rows], return_inverse=True)[1]
        proxies = clusters * (cameras.max() + 1) + cameras
        self.rows = self.rows[torch.argsort(proxies, stable=True)]
        self.counts = torch.bincount(clusters)
        self.starts = self.counts.cumsum(0) - self.counts
        self.places = _runs(torch.zeros_like(self.counts), self.counts)
        self._choose_what_an_anchor_leaves_out(torch.unique(proxies, return_counts=True)[1])

    def _choose_what_an_anchor_leaves_out(self, proxy_counts: Tensor) -> None:
        """For the anchor at each place of self.rows: the images from `outs` on, `widths` of them, are not chosen."""
        size = self.counts.repeat_interleave(self.counts)
        camera = proxy_counts.repeat_interleave(proxy_counts)
        firsts = (proxy_counts.cumsum(0) - proxy_counts).repeat_interleave(proxy_counts)
        one_camera = camera == size
        self.outs = torch.where(one_camera, torch.arange(len(size)), firsts)
        self.widths = torch.where(one_camera, (size > 1).long(), camera)

    @property
    def length(self) -> int:
        return self.k * len(self.counts)

    def draw(self) -> Tensor:
        classes = torch.randperm(len(self.counts), generator=self.generator)
        share = torch.rand(self.k, len(self.counts), dtype=torch.float64, generator=self.generator)
        anchors = self.starts + (share[0] * self.counts).long()
        candidates = self.counts - self.widths[anchors]
        chosen = (share[1:] * candidates).long().T
        enough = candidates >= self.k - 1
        chosen[enough] = _without_replacement(
            self.places, self.starts[enough], candidates[enough], self.k - 1, self.generator
        )
        others = self.starts[:, None] + chosen
        others = others + self.widths[anchors][:, None] * (others >= self.outs[anchors][:, None])
        return self.rows[torch.cat((anchors[:, None], others), dim=1)][classes].flatten()


def _runs(starts: Tensor, sizes: Tensor) -> Tensor:
    """start, start + 1, ..., start + size - 1 of each run, one run after the other: int64 (sum of sizes,)."""
    before = sizes.cumsum(0) - sizes
    return torch.arange(int(sizes.sum())) + (starts - before).repeat_interleave(sizes)


def _without_replacement(
    urns: Tensor, starts: Tensor, sizes: Tensor, k: int, generator: torch.Generator | None
) -> Tensor:
    """k values of each urn, in random order: (urns, k). Urn i is the sizes[i] >= k entries of `urns` from starts[i] on.

    Fisher-Yates shuffling of all urns at once, stopped after k steps.
    """
    urns = urns.clone()
    steps = torch.arange(k)[:, None]
    share = torch.rand(k, len(sizes), dtype=torch.float64, generator=generator)
    places = starts + steps + (share * (sizes - steps)).long()
    values = torch.empty_like(places)
    for step in range(k):
        values[step] = urns[places[step]]
        urns[places[step]] = urns[starts + step]
    return values.T


def _need_at_least_one(sampler: ListSampler, **settings: int | None) -> None:
    for name, value in settings.items():
        if value is not None and value < 1:
            raise ValueError(f"{type(sampler).__name__} needs a {name} of 1 or more, got {name}={value}")
