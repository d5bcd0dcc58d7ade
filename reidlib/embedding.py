"""Embeddings of stored images by a model in eval mode."""

import torch

from reidlib.data.augment import normalise, remove_background
from reidlib.data.store import ImageStore


@torch.no_grad()
def embed(
    model: torch.nn.Module, store: ImageStore, rows=None, batch: int = 256, masked: bool = False, trunk: bool = False
) -> torch.Tensor:
    """Embeddings (len(rows), d) float32 on the CPU, in the order of `rows` (all rows of the store when None).

    `masked` blanks the background by the store's part maps first; `trunk` returns the pooled features under the head.
    """
    rows = torch.arange(len(store)) if rows is None else torch.as_tensor(rows)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    forward = model.trunk_features if trunk else model
    found = []
    for part in rows.split(batch):
        images, maps = store.batch(part)
        if masked:
            images = remove_background(images, maps)
        images = normalise(images.to(device)).contiguous(memory_format=torch.channels_last)
        found.append(forward(images).float().cpu())
    model.train(was_training)
    return torch.cat(found) if found else torch.empty(0, 0)
