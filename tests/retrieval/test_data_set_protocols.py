"""Each data set's own protocol on drawn people in its layout: from files to a score, with raw pixels as features."""

import numpy as np
import pytest
import torch

from reidlib.data import layouts, load
from reidlib.data.frame import rows_of
from reidlib.retrieval import CrossCamera, evaluate
from reidlib.retrieval.clothing import ClothesChange, General, SameClothes, prcc_queries
from reidlib.retrieval.multi_query import MultiQuery, pool_queries
from reidlib.retrieval.single_shot import single_shot


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """(features, query and gallery frames) of a data set, drawn once."""
    made = {}

    def get(preset, dataset, **options):
        root = tmp_path_factory.getbasetemp() / f"protocols-{dataset}"
        if dataset not in made:
            made[dataset] = layouts.draw(preset, root, size=(32, 16), identities=6, masks=False, progress=False)
        data = load(dataset, root=root, size=(32, 16), progress=False, **options)
        pixels = torch.nn.functional.normalize(data.store.images.flatten(1).float() - 127.5)
        sides = [data.frame[data.frame["split"] == split] for split in ("query", "gallery")]
        return [pixels[rows_of(data.frame, split)] for split in ("query", "gallery")], sides

    return get


def test_ltcc_settings(people):
    features, sides = people("ltcc-like", "ltcc")
    scores = {
        protocol.name: evaluate(*features, *sides, protocol, unmatched="skip")
        for protocol in (General(), ClothesChange(), SameClothes())
    }
    changing = sides[1].groupby("pid")["clothes"].nunique() > 1
    asked = sides[0]["pid"].map(changing).to_numpy()
    assert set(scores["clothes-change"].query_rows) <= set(np.flatnonzero(asked))
    assert scores["same-clothes"].mAP > scores["clothes-change"].mAP  # pixels see clothes
    total = sum(scores[name].hits.size for name in ("same-clothes", "clothes-change"))
    assert total == scores["general"].hits.size


def test_prcc_settings(people):
    features, sides = people("prcc-like", "prcc")
    found = {}
    for protocol in (SameClothes(), ClothesChange()):
        chosen = prcc_queries(sides[0], protocol)
        part = (features[0][chosen], features[1], sides[0].iloc[chosen], sides[1])
        found[protocol.name] = evaluate(*part, protocol).mAP
        draws = single_shot(*part, protocol, draws=10, drawn="gallery")
        assert draws.rank.shape == (10, len(chosen))
        assert (draws.rank > 0).all()
        assert 1 <= draws.rank.max() <= sides[1]["pid"].nunique()
    assert found["same-clothes"] > found["clothes-change"]


def test_cuhk03_over_splits_and_draws(people):
    scores = []
    for split in range(3):
        features, sides = people("cuhk03-like", "cuhk03", split=split)
        draws = single_shot(*features, *sides, draws=20, seed=split)
        assert draws.rank.max() <= sides[1]["pid"].nunique()
        assert len(draws.query_rows) == len(sides[0])
        scores.append(draws.summary())
    assert all(one["mAP"] >= one["R1"] for one in scores)


def test_viper_over_splits_and_directions(people):
    scores = []
    for split in range(10):
        for camera in "ab":
            features, sides = people("viper-like", "viper", split=split, query=camera)
            plain = evaluate(*features, *sides)
            drawn = single_shot(*features, *sides, draws=1)
            assert drawn.summary() == pytest.approx(plain.summary())
            scores.append(plain.cmc(1))
    assert len(set(scores)) > 1


def test_market_multi_query(people):
    """Gallery images of the query's own camera stand in for gt_bbox: they are ignored in its list anyway."""
    features, sides = people("market-like", "market1501")
    extra = np.flatnonzero(sides[1]["pid"] > 0)
    pooled, counts = pool_queries(features[0], sides[0], features[1][extra], sides[1].iloc[extra])
    assert counts.min() >= 1
    single, multi = evaluate(*features, *sides, CrossCamera()), evaluate(pooled, features[1], *sides, MultiQuery())
    assert multi.card["name"] == "multi-query"
    assert multi.hits.size == single.hits.size
    assert multi.mAP != single.mAP
