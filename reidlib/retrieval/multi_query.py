"""Market-1501's multi-query setting: a query is asked with all images of its person in its camera, averaged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from reidlib.retrieval.protocols import CrossCamera


class MultiQuery(CrossCamera):
    """The cross-camera protocol on features of :func:`pool_queries`; the gallery is judged as for one image."""

    name = "multi-query"
    shots = (
        "multi-query: a query is the mean of the unit-length features of all images (gt_bbox) of its person in its "
        "camera; every gallery image of a person counts, one ranking a query"
    )


def pool_queries(
    query: torch.Tensor, query_frame: pd.DataFrame, multi: torch.Tensor, multi_frame: pd.DataFrame
) -> tuple[torch.Tensor, np.ndarray]:
    """Features of the queries, averaged over all `multi` images with the query's pid and camid.

    query (q, d) and multi (m, d): float features, row i belonging to row i of its frame. Each is scaled to unit length,
    averaged, and the mean scaled to unit length again (the order of a gallery of unit-length features is that of the
    mean itself). A query without such images keeps its own feature. Returns the features (q, d) and the number of
    images averaged (q,) int64, 0 for the query's own. Raises ValueError when lengths or widths do not agree, or no
    query has any image.
    """
    for side, features, frame in (("query", query, query_frame), ("multi", multi, multi_frame)):
        if features.ndim != 2 or len(features) != len(frame):
            raise ValueError(
                f"the {side} features have shape {tuple(features.shape)} and their frame {len(frame)} rows; pass one "
                "feature for each row"
            )
    if query.shape[1] != multi.shape[1]:
        raise ValueError(
            f"query features have {query.shape[1]} dimensions and multi features {multi.shape[1]}; take both from the "
            "same model"
        )
    pairs = pd.concat([frame[["pid", "camid"]] for frame in (query_frame, multi_frame)])
    group = pairs.groupby(["pid", "camid"]).ngroup().to_numpy(copy=True)
    asked, given = group[: len(query)], group[len(query) :]
    counts = np.bincount(given, minlength=group.max() + 1)
    if not counts[asked].any():
        raise ValueError(
            "no query has an image of its person and camera in the split 'multi'; has the data set a gt_bbox folder?"
        )
    units = torch.nn.functional.normalize(multi.float())
    sums = torch.zeros(len(counts), multi.shape[1], device=multi.device)
    sums.index_add_(0, torch.from_numpy(given).to(multi.device), units)
    pooled = sums[torch.from_numpy(asked).to(multi.device)].to(query.device)
    own = torch.from_numpy(counts[asked] == 0).to(query.device)
    pooled = torch.where(own[:, None], query.float(), pooled)
    return torch.nn.functional.normalize(pooled), counts[asked].astype(np.int64)
