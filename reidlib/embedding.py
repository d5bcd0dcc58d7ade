"""Embeddings of stored images by a model in eval mode."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib.data.augment import normalise, remove_background
from reidlib.data.clothing import Views, views
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


@torch.no_grad()
def embed_views(
    forward: Callable[[Views], dict[str, Tensor]],
    store: ImageStore,
    rows=None,
    *,
    scheme: str = "drawn",
    sets: str = "upper+lower",
    flip: bool = True,
    batch: int = 256,
) -> dict[str, Tensor]:
    """Embeddings of stored images by a model of several inputs: {name: (len(rows), d) float32 on the CPU, of length 1}.

    forward: takes the `Views` of a batch, on the store's device, and returns named float tensors (b, d) on any device;
    put the model into eval mode before, and move the views inside. flip: sum the embeddings of an image and of its
    mirror image before they are brought to length one. rows: rows of the store in the order wanted (None: all);
    scheme, sets: see `reidlib.data.clothing.clothing_pixels`. Of a store without label maps `masked` is the image
    itself and `clothing` False everywhere, so that a model of one input can be scored; no rows give an empty dict.
    Raises ValueError when `forward` returns something else, and for maps that do not fit the label set.
    """
    rows = torch.arange(len(store)) if rows is None else torch.as_tensor(rows)
    found: dict[str, list[Tensor]] = {}
    for start in range(0, len(rows), batch):
        seen = _plain_views(*store.batch(rows[start : start + batch]), scheme, sets)
        total = _float_rows(forward(seen), len(seen.images))
        if flip:
            mirrored = Views(seen.images.flip(-1), seen.masked.flip(-1), seen.clothing.flip(-1))
            other = _float_rows(forward(mirrored), len(seen.images))
            total = {name: features + other[name] for name, features in total.items()}
        for name, features in total.items():
            found.setdefault(name, []).append(F.normalize(features, dim=1).cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}


def _plain_views(images: Tensor, parts: Tensor | None, scheme: str, sets: str) -> Views:
    """Views without augmentation; of images without label maps nothing is masked."""
    if parts is not None:
        return views(images, parts, scheme=scheme, sets=sets)
    images = normalise(images)
    return Views(images, images, torch.zeros_like(images[:, 0], dtype=torch.bool))


def _float_rows(named: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    if not isinstance(named, dict) or not named:
        raise ValueError(f"forward returned {type(named).__name__}, not a dict of named embeddings (b, d)")
    for name, features in named.items():
        if features.ndim != 2 or len(features) != count:
            raise ValueError(
                f"forward returned {name!r} of shape {tuple(features.shape)} for {count} images; return ({count}, d)"
            )
    return {name: features.float() for name, features in named.items()}
