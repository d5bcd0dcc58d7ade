"""The plain supervised baseline: cross-entropy over identities and the batch-hard triplet loss on one neck.

The recipe of Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification (2019), cut to what a
small network needs. It makes the warm start, and tells how hard a data set is.
"""

import functools

import torch
from torch.nn.functional import cross_entropy, normalize

from reidlib import training
from reidlib.data.augment import Augment
from reidlib.data.frame import rows_of
from reidlib.losses.triplet import batch_hard, triplet
from reidlib.samplers import PKSampler


def fit(
    model: torch.nn.Module,
    frame,
    store,
    *,
    steps: int,
    seed: int,
    persons: int = 16,
    views: int = 4,
    learning_rate: float = 3e-3,
    margin: float = 0.3,
    label_smoothing: float = 0.1,
    progress: bool = True,
    description: str = "baseline",
) -> torch.nn.Module:
    """Train the trunk of `model` (an Embedder) in place on the `train` rows of `frame`; returns the neck.

    store: the frame's image store. A batch is `persons` identities x `views` images. The learning rate follows one
    cycle (15% up, then down) to `learning_rate` (Adam, weight decay 5e-4). The neck is the BatchNorm1d between pooled
    features and classifier; embed with `trunk_features`, then the neck.
    """
    rows = torch.as_tensor(rows_of(frame, "train"))
    labels = torch.unique(torch.tensor(frame.loc[frame["split"] == "train", "pid"].to_numpy()), return_inverse=True)[1]
    device = next(model.parameters()).device
    torch.manual_seed(training.stream_seed(seed, description, "head"))
    neck = torch.nn.BatchNorm1d(model.trunk_width)
    classifier = torch.nn.Linear(model.trunk_width, int(labels.max()) + 1, bias=False)
    network = torch.nn.ModuleDict({"model": model, "neck": neck, "classifier": classifier}).to(device)
    augment = Augment(padding=max(1, store.size[1] // 10), flip=0.5, erasing=0.5)
    pairs = functools.partial(triplet, margin=margin)

    def batches(start):
        def draw(epoch):
            generator = training.stream(seed, description, "sampler", epoch)
            return PKSampler(labels, p=persons, k=views, batches_per_epoch=50, generator=generator)

        return training.epochs(draw, start)

    def loss(network, batch, step):
        batch = torch.as_tensor(batch)
        generator = training.stream(seed, description, "augmentation", step)
        images, _ = augment(store.batch(rows[batch])[0], generator=generator)
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        features = network["neck"](network["model"].trunk_features(images))
        targets = labels[batch].to(device)
        identity = cross_entropy(network["classifier"](features), targets, label_smoothing=label_smoothing)
        return identity + batch_hard(normalize(features), targets, pairs), {}

    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, weight_decay=5e-4)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.15)
    training.train(
        network, batches, loss, optimizer, steps=steps, seed=seed, scheduler=cycle, description=description,
        progress=progress,
    )  # fmt: skip
    return neck
