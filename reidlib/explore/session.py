"""From a data set and checkpoints to an explorer, and from run records to rankings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from reidlib import data, models
from reidlib.data.augment import normalise
from reidlib.data.frame import rows_of
from reidlib.embedding import embed
from reidlib.explore.explorer import RankingExplorer
from reidlib.explore.ranking import CROSS_CAMERA, Ranking, rank
from reidlib.models.weights import WeightsError, read_state
from reidlib.retrieval import Protocol, search

BATCH = 256
HEAD = ("dropout", "final_relu")  # of MILDNet, as run records name them


def explore(
    dataset: str,
    checkpoint,
    root=None,
    size: tuple[int, int] = (64, 32),
    backbone: str = "resnet-small",
    *,
    data_seed: int = 0,
    index: str = "exact",
    protocol: Protocol = CROSS_CAMERA,
    device="cpu",
    queries=200,
    top: int = 100,
    seed: int = 0,
    real_people: bool = False,
    blur: bool = True,
    on_error: str = "raise",
    progress: bool = True,
    title: str = "",
) -> RankingExplorer:
    """Embed a data set with each checkpoint, rank every query, and open the explorer.

    dataset, root, size (height, width), data_seed, on_error: as `reidlib.data.load`. checkpoint: a run's folder with
    its kept model, a weights file of `backbone`, a list of these, or {name: one of these}. index: "exact" (torch), or
    faiss's "flat", "hnsw", "ivf", whose lists hold what the index found. Queries without a match are left out. Other
    options as `RankingExplorer`. New pictures can be ranked in the live widget.
    """
    people = data.load(dataset, root=root, size=size, data_seed=data_seed, on_error=on_error, progress=progress)
    query, gallery = (people.frame[people.frame["split"] == split] for split in ("query", "gallery"))
    rows = {split: rows_of(people.frame, split) for split in ("query", "gallery")}
    if not len(query):
        raise ValueError(f"data set {dataset!r} has no queries, so there is nothing to rank")
    rankings, sources = {}, {}
    for name, place in named(checkpoint).items():
        model, masked = load_model(place, backbone)
        if masked and people.store.parts is None:
            raise ValueError(f"the model {name!r} was trained on images without background, which needs part maps")
        model.to(device)
        found = {s: _embedded(model, people.store, rows[s], masked, f"{name}: {s}", progress) for s in rows}
        rankings[name] = _ranked(found["query"], found["gallery"], query, gallery, protocol, index, top)
        sources[name] = found["gallery"], None if masked else _embedder(model, device)
    made = RankingExplorer(
        rankings, query, gallery, people.store, rows["query"], rows["gallery"], queries=queries, top=top, seed=seed,
        real_people=real_people, blur=blur, protocol=protocol, title=title or f"Rankings of {dataset}",
    )  # fmt: skip
    for name, (features, embedder) in sources.items():
        made.attach(name, features, embedder)
    return made


def named(checkpoint) -> dict[str, Path]:
    """{name: path} of a path, a list of paths or a mapping; names are those of the files, made different."""
    if isinstance(checkpoint, Mapping):
        return {str(name): Path(place) for name, place in checkpoint.items()}
    places = [checkpoint] if isinstance(checkpoint, str | Path) else list(checkpoint)
    if not places:
        raise ValueError("there is no checkpoint; pass a weights file, a run's folder, or {name: one of these}")
    found = {}
    for place in map(Path, places):
        name = place.stem if place.is_file() else place.name
        found[name if name not in found else f"{name} ({len(found) + 1})"] = place
    return found


def load_model(place, backbone: str = "resnet-small") -> tuple[torch.nn.Module, bool]:
    """(model in eval mode, was it trained without background) from a run's folder or a file of a whole model's weights.

    A run's record says which backbone it is. A file with the trunk alone gives the trunk and a random head, and is
    refused. Raises WeightsError, FileNotFoundError.
    """
    place, options, masked = Path(place), {}, False
    if place.is_dir():
        from reidlib.results import records

        parameters = records.load(place).parameters
        backbone = parameters.get("backbone", backbone)
        options = {"normalize": parameters.get("normalize", True)}
        if backbone.startswith("mildnet"):
            options |= {name: parameters[name] for name in HEAD if name in parameters}
        masked = parameters.get("background") == "remove"
        files = [place / name for name in ("model.safetensors", "model.pth")]
        place = next((file for file in files if file.exists()), files[0])
        if not place.exists():
            raise FileNotFoundError(f"{place.parent} keeps no model; run it again with keep_model = True")
    state = read_state(place)
    model = models.build(backbone, weights=None, **options)
    own = model.state_dict()
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    if wrong:
        near = difflib.get_close_matches(wrong[0], state, n=1)
        raise WeightsError(
            f"{place} does not hold the weights of a whole {backbone}: {wrong[0]} is missing or has another shape"
            f"{f' (there is {near[0]})' if near else ''}; name its backbone, and save model.state_dict()"
        )
    model.load_state_dict({name: state[name] for name in own})
    return model.eval(), masked


def rankings_of(
    records: Iterable, query_frame: pd.DataFrame, gallery_frame: pd.DataFrame, protocol: Protocol = CROSS_CAMERA
) -> dict[str, Ranking]:
    """{arm, or arm and seed: Ranking} of run records that stored `ranking.npz`, or at least their top-k `order.npz`.

    With the order alone, AP is that of the list cut at k. Records without either are left out.
    """
    records, found = list(records), {}
    arms = [record.arm for record in records]
    for record in records:
        name = record.arm or record.id
        name = name if arms.count(record.arm) == 1 else f"{name}, seed {record.seed}"
        whole, part = (Path(record.source) / file for file in ("ranking.npz", "order.npz"))
        if whole.exists():
            found[name] = Ranking.load(whole)
        elif part.exists():
            with np.load(part) as stored:
                found[name] = Ranking.from_order(
                    stored["order"], stored["distances"], query_frame, gallery_frame, protocol=protocol
                )
    return found


def _ranked(query, gallery, query_frame, gallery_frame, protocol, index: str, top: int) -> Ranking:
    if index == "exact":
        return rank(query, gallery, query_frame, gallery_frame, protocol, unmatched="skip", top=top)
    match = protocol.match(query_frame, gallery_frame)
    kept = (match.positives.counts > 0).nonzero()[0]
    if not len(kept):
        raise ValueError(f"no query has a {protocol.wanted}")
    ignored = int(match.ignored_everywhere.sum() + match.ignored.counts.max(initial=0))
    many = len(gallery) if index == "flat" else min(len(gallery), top + min(ignored, top))
    found = search(query[torch.as_tensor(kept)], gallery, many, index=index)
    order, distances = found.indices.numpy(), found.distances.numpy()
    return Ranking.from_order(order, distances, query_frame, gallery_frame, kept, protocol)


def _embedded(model, store, rows, masked: bool, name: str, progress: bool) -> torch.Tensor:
    parts = torch.as_tensor(rows).split(BATCH)
    if progress:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            pass
        else:
            parts = tqdm(parts, desc=name, unit="batch", leave=False)
    return torch.cat([embed(model, store, part, masked=masked) for part in parts])


def _embedder(model, device):
    @torch.no_grad()
    def embedded(images: torch.Tensor) -> torch.Tensor:
        return model(normalise(images.to(device))).float().cpu()

    return embedded
