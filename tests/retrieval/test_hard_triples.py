"""Triples in which clothes mislead, and how embeddings rank them: hand-made cases and slow references."""

import numpy as np
import pandas as pd
import pytest
import torch

from reidlib.data.drawn import draw_test
from reidlib.retrieval import clothing
from reidlib.retrieval.clothing import hard_triples, triple_ranks


def frame(pids, camids, clothes, looks):
    columns = {"pid": pids, "camid": camids, "clothes": clothes, "look": looks}
    return pd.DataFrame({name: np.asarray(values, np.int64) for name, values in columns.items()})


#              person 1 in look 5 and in look 6; person 2 in look 7, which nobody shares
QUERY = frame([1, 1, 2], [0, 1, 0], [10, 11, 20], [5, 6, 7])
GALLERY = frame(
    # 0 same look, 1 other look, 2 same camera, 3-4 person 3 in look 5 (3 under the query's camera), 5 junk, ...
    [1, 1, 1, 3, 3, -1, 0, 3, 2, 2],
    [1, 1, 0, 0, 2, 2, 2, 1, 1, 1],
    [10, 11, 11, 30, 30, -1, -1, 31, 20, 21],
    [5, 6, 6, 5, 5, 5, -1, 6, 7, 8],
)


def test_by_hand():
    assert hard_triples(QUERY, GALLERY).tolist() == [[0, 1, 4]]
    other_camera = GALLERY.assign(camid=2)
    assert hard_triples(QUERY, other_camera).tolist() == [[0, 1, 3], [0, 1, 4], [0, 2, 3], [0, 2, 4], [1, 0, 7]]


def test_rows_are_places_in_the_frames_given():
    query, gallery = QUERY.set_index(np.array([50, 9, 3])), GALLERY.set_index(np.arange(10) * 7)
    assert hard_triples(query, gallery).tolist() == [[0, 1, 4]]
    found = hard_triples(QUERY[::-1], GALLERY[::-1])
    assert found.tolist() == [[2, 8, 5]]


def test_an_unknown_look_is_shared_with_nobody():
    unknown = QUERY.assign(look=-1)
    found = hard_triples(unknown, GALLERY.assign(look=-1))
    assert found.shape == (0, 3)
    assert found.dtype == np.int64


def reference(query, gallery):
    found = []
    for q, p, n in np.ndindex(len(query), len(gallery), len(gallery)):
        anchor, positive, negative = query.iloc[q], gallery.iloc[p], gallery.iloc[n]
        right = (
            positive.pid == anchor.pid
            and positive.camid != anchor.camid
            and positive.clothes != anchor.clothes
            and negative.pid not in (anchor.pid, 0, -1)
            and negative.look == anchor.look
            and negative.camid != anchor.camid
        )
        if right:
            found.append([q, p, n])
    return found


@pytest.mark.parametrize("seed", range(8))
def test_against_three_loops(seed):
    rng = np.random.default_rng(seed)
    sides = []
    for lowest, count in ((1, 5), (-1, 14)):
        pid = rng.integers(lowest, 4, count)
        look = np.where(pid > 0, rng.integers(0, 4, count), -1)
        sides.append(frame(pid, rng.integers(0, 3, count), np.where(pid > 0, 10 * pid + look, -1), look))
    found = hard_triples(*sides)
    assert found.dtype == np.int64
    assert found.tolist() == reference(*sides)


@pytest.mark.parametrize("preset", ["prcc-like", "ltcc-like"])
def test_drawn_people(preset):
    drawn, _, _ = draw_test(preset, (16, 8), shared_looks=0.5)
    query, gallery = (drawn[drawn["split"] == split].reset_index(drop=True) for split in ("query", "gallery"))
    triples = hard_triples(query, gallery)
    assert len(triples) > 1000
    anchor, positive, negative = query.iloc[triples[:, 0]], gallery.iloc[triples[:, 1]], gallery.iloc[triples[:, 2]]
    assert (anchor["pid"].to_numpy() == positive["pid"].to_numpy()).all()
    assert (anchor["camid"].to_numpy() != positive["camid"].to_numpy()).all()
    assert (anchor["clothes"].to_numpy() != positive["clothes"].to_numpy()).all()
    assert (anchor["look"].to_numpy() != positive["look"].to_numpy()).all()
    assert (anchor["pid"].to_numpy() != negative["pid"].to_numpy()).all()
    assert (anchor["look"].to_numpy() == negative["look"].to_numpy()).all()
    assert (anchor["camid"].to_numpy() != negative["camid"].to_numpy()).all()
    # whoever goes by clothes ranks every triple wrongly, whoever goes by the person every one rightly
    by_look, by_person = (
        [torch.nn.functional.one_hot(torch.tensor(side[name].to_numpy())).float() for side in (query, gallery)]
        for name in ("look", "pid")
    )
    width = max(side.shape[1] for side in by_look)
    by_look = [torch.nn.functional.pad(side, (0, width - side.shape[1])) for side in by_look]
    assert not triple_ranks(*by_look, triples).any()
    assert triple_ranks(*by_person, triples).all()


def test_frames_that_lack_something():
    with pytest.raises(ValueError, match=r"the query frame has no column 'look', .* only drawn data have it"):
        hard_triples(QUERY.drop(columns="look"), GALLERY)
    with pytest.raises(ValueError, match="the gallery frame has no column 'look'"):
        hard_triples(QUERY, GALLERY.drop(columns="look"))
    with pytest.raises(ValueError, match="3 of 3 query images have no outfit"):
        hard_triples(QUERY.assign(clothes=-1), GALLERY)


# --- triple_ranks


def test_ranks_by_hand():
    query = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    gallery = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, -1.0], [1.0, 0.0]])
    triples = np.array([[0, 0, 1], [0, 1, 0], [0, 0, 2], [1, 3, 0], [1, 0, 1], [1, 1, 0]])
    found = triple_ranks(query, gallery, triples)
    assert found.dtype == bool
    assert found.tolist() == [True, False, False, True, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_ranks_against_a_loop(dtype, monkeypatch):
    features = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    query, gallery = features[:10], features[10:]
    rng = np.random.default_rng(0)
    triples = np.stack([rng.integers(0, 10, 300), rng.integers(0, 30, 300), rng.integers(0, 30, 300)], axis=1)
    expected = [
        float((query[q].double() - gallery[p].double()).square().sum())
        < float((query[q].double() - gallery[n].double()).square().sum())
        for q, p, n in triples.tolist()
    ]
    assert triple_ranks(query, gallery, triples).tolist() == expected
    assert 50 < sum(expected) < 250


def test_ranks_over_several_chunks():
    """Embeddings so wide that a chunk holds two triples."""
    width = 2**21
    gallery = torch.zeros(3, width)
    gallery[:, -1] = torch.tensor([1.0, 2.0, 3.0])
    triples = np.array([[0, 0, 1], [0, 1, 0], [0, 1, 2], [0, 2, 1], [0, 0, 2]])
    assert triple_ranks(torch.zeros(1, width), gallery, triples).tolist() == [True, False, True, False, True]


def test_ranks_are_compared_in_float64():
    """Squared distances 1 and 1 + 2e-8, which are one number in float32; and a tie, which is wrong."""
    query, gallery = torch.zeros(1, 2), torch.tensor([[1.0, 0.0], [1.0, 1.4e-4]])
    assert triple_ranks(query, gallery, np.array([[0, 0, 1], [0, 1, 0], [0, 0, 0]])).tolist() == [True, False, False]


def test_ranks_of_arrays_and_of_nothing():
    query, gallery = np.zeros((1, 2), np.float32), np.ones((2, 2), np.float32)
    assert triple_ranks(query, gallery, np.array([[0, 0, 1]])).tolist() == [False]
    found = triple_ranks(query, gallery, np.empty((0, 3), np.int64))
    assert found.shape == (0,)
    assert found.dtype == bool
    needs_gradient = torch.zeros(1, 2, requires_grad=True)
    assert triple_ranks(needs_gradient, gallery, np.array([[0, 0, 1]])).tolist() == [False]


def test_ranks_that_cannot_be():
    query, gallery = torch.zeros(2, 3), torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"needs embeddings \(q, d\) and \(g, d\), got \(2, 3\) and \(4, 2\)"):
        triple_ranks(query, gallery[:, :2], np.array([[0, 0, 1]]))
    with pytest.raises(ValueError, match=r"triples must be whole numbers \(t, 3\), got int64 \(1, 2\)"):
        triple_ranks(query, gallery, np.array([[0, 0]]))
    with pytest.raises(ValueError, match=r"got float64 \(1, 3\)"):
        triple_ranks(query, gallery, np.zeros((1, 3)))
    with pytest.raises(IndexError, match="query row 2 of a triple is not in the embeddings, which have 2 rows"):
        triple_ranks(query, gallery, np.array([[2, 0, 1]]))
    with pytest.raises(IndexError, match="gallery row -1 of a triple"):
        triple_ranks(query, gallery, np.array([[0, 0, -1]]))
    for side, features in (("query", (query / 0, gallery)), ("gallery", (query, gallery / 0))):
        with pytest.raises(ValueError, match=f"a {side} embedding is not finite"):
            triple_ranks(*features, np.array([[0, 0, 1]]))


def test_what_is_counted_agrees_with_the_protocol():
    """A query has a hard triple only if the clothes-change protocol has a match for it."""
    match = clothing.ClothesChange().match(QUERY, GALLERY)
    assert set(hard_triples(QUERY, GALLERY)[:, 0]) <= set(np.flatnonzero(match.positives.counts))
