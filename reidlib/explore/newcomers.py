"""Queries that a reader adds to a live explorer: a new picture, embedded and ranked by every model."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from reidlib.data.decode import ImageError, decode_image
from reidlib.explore.ranking import Ranking
from reidlib.retrieval.blocks import distance_blocks


@dataclasses.dataclass
class Added:
    image: torch.Tensor
    pid: int
    camera: int
    rankings: dict[str, Ranking]


class Newcomers:
    """New queries, numbered -1, -2, ..., and what ranks them: gallery features and an embedder for each model."""

    def __init__(self):
        self.sources: dict[str, tuple[torch.Tensor, Callable | None]] = {}
        self.added: list[Added] = []

    def __len__(self) -> int:
        return len(self.added)

    def numbers(self) -> list[int]:
        return [-1 - i for i in range(len(self.added))]

    def attach(self, name: str, gallery: torch.Tensor, embed: Callable | None) -> None:
        self.sources[name] = (gallery, embed)

    def ready(self, models) -> bool:
        """Can every model rank a new picture?"""
        return all(self.sources.get(name, (None, None))[1] is not None for name in models)

    def forget(self, number: int) -> None:
        """Take back the newest query."""
        if number < 0 and number == -len(self.added):
            self.added.pop()

    def add(self, image, size, models, frames, protocol, pid, camera) -> int:
        """Rank `image` by every model; returns the query's number."""
        missing = [name for name in models if self.sources.get(name, (None, None))[1] is None]
        if missing:
            raise ValueError(
                f"the model {missing[0]!r} cannot rank a new picture: attach(name, gallery_features, embed) gives it "
                "the function that embeds it"
            )
        pixels = read(image, size)
        query = pd.DataFrame({"pid": [pid or 0], "camid": [-1 if camera is None else camera], "clothes": [-1]})
        rankings = {}
        for name in models:
            gallery, embed = self.sources[name]
            feature = torch.as_tensor(embed(pixels[None])).detach().to(gallery.device, gallery.dtype)
            if feature.shape != (1, gallery.shape[1]):
                raise ValueError(
                    f"embed of {name!r} gave {tuple(feature.shape)} for one image; expected (1, {gallery.shape[1]})"
                )
            distances = torch.cat([block.clone() for _, block in distance_blocks(feature, gallery)])
            order = distances.sort(dim=1, stable=True)
            whole = Ranking.from_order(
                order.indices.cpu().numpy(), order.values.cpu().numpy(), query, frames[1], protocol=protocol
            )
            rankings[name] = whole
        self.added.append(Added(pixels, pid or 0, -1 if camera is None else camera, rankings))
        return -len(self.added)

    def join(self, model: str, ranking: Ranking, top: int) -> Ranking:
        """`ranking` with the new queries behind its own."""
        if not self.added:
            return ranking
        parts = [ranking, *(added.rankings[model].take([0], top) for added in self.added)]
        names = ("order", "distances", "mark", "hits", "hit_rows", "positives")
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        lengths = {name: np.concatenate([np.diff(getattr(p, name)) for p in parts]) for name in ("start", "hit_start")}
        starts = {name: np.concatenate([[0], np.cumsum(each)]).astype(np.int64) for name, each in lengths.items()}
        rows = np.concatenate([ranking.query_rows, self.numbers()]).astype(np.int64)
        return dataclasses.replace(ranking, query_rows=rows, **joined, **starts)

    def extend(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The query frame with the new queries behind it."""
        rows = [{"pid": a.pid, "camid": a.camera, "clothes": -1} for a in self.added]
        return pd.concat([frame, pd.DataFrame(rows)], ignore_index=True) if rows else frame


def read(image, size: tuple[int, int] | None) -> torch.Tensor:
    """uint8 (3, h, w) of `size` from a file, its bytes, or a tensor. Raises ImageError, ValueError."""
    if isinstance(image, bytes | bytearray | memoryview):
        return _decoded(bytes(image), size or (128, 64))
    if isinstance(image, str | Path):
        return decode_image(image, size or (128, 64))
    image = torch.as_tensor(image)
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise ValueError(f"the image is {image.dtype} {tuple(image.shape)}; pass a file or uint8 (3, h, w)")
    if size is None or tuple(image.shape[1:]) == size:
        return image.cpu()
    scaled = torch.nn.functional.interpolate(image[None].cpu().float(), size=size, mode="bilinear", antialias=True)
    return scaled[0].round().clamp(0, 255).to(torch.uint8)


def _decoded(content: bytes, size: tuple[int, int]) -> torch.Tensor:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as file:
            pixels = torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1)
    except Exception as error:  # Pillow raises many kinds for broken files, all of which mean the same here
        raise ImageError(f"cannot decode these {len(content)} bytes as a picture ({type(error).__name__})") from error
    return torch.nn.functional.interpolate(pixels[None], size=size, mode="bilinear", antialias=True)[0]
