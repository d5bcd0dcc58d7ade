"""The explorer's Python side: what it ships, its traits, new queries, and what it refuses."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from PIL import Image

from reidlib.data import ImageStore
from reidlib.explore import Ranking, RankingExplorer, payload, rank, thumbnails
from reidlib.retrieval import evaluate


def make(people, **options):
    return RankingExplorer.from_features(people.features, people.query, people.gallery, people.images, **options)


def test_the_page_starts_from_the_present_state(explorer):
    explorer.k = 7
    explorer.query = int(explorer.meta["queries"][3])
    html = explorer._repr_mimebundle_()[0]["text/html"]
    assert '"k": 7' in html
    assert f'"query": {explorer.meta["queries"][3]},' in html
    assert html == html.replace("http://", "").replace("https://", "") or "www.w3.org/2000/svg" in html
    assert "<script" not in html.split('type="application/json"')[1].split("</script>")[0]
    explorer.k = 10


def test_traits_refuse_what_is_not_there(explorer):
    with pytest.raises(traitlets.TraitError, match="query 99999 is not among"):
        explorer.query = 99999
    with pytest.raises(traitlets.TraitError, match="no model 'best'; the explorer has 'good', 'bad'"):
        explorer.model = "best"
    with pytest.raises(traitlets.TraitError, match="lists hold 1 to 100"):
        explorer.k = 101
    seen = []
    explorer.observe(lambda change: seen.append(change["new"]), "query")
    explorer.query = explorer.meta["queries"][1]
    explorer.compare = ""
    assert seen == [explorer.meta["queries"][1]]
    explorer.compare = "bad"


def test_queries_are_drawn_by_seed_or_named(people):
    some = make(people, queries=9, seed=3).meta["queries"]
    assert some == make(people, queries=9, seed=3).meta["queries"] == sorted(some)
    assert some != make(people, queries=9, seed=4).meta["queries"]
    assert make(people, queries=[5, 2]).meta["queries"] == [5, 2]
    with pytest.raises(ValueError, match="query row 9999 was not evaluated"):
        make(people, queries=[9999])


def test_what_is_too_large_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"1001 queries are too many .* pass queries=200"):
        payload.choose_queries(np.arange(2000), 1001, 0)
    wide = Ranking.from_order(
        np.arange(10_001)[None], np.zeros((1, 10_001)), pd.DataFrame({"pid": [1], "camid": [0]}),
        pd.DataFrame({"pid": np.arange(10_001), "camid": 1}),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"show 10,001 gallery images, too many .* smaller top"):
        payload.gallery_shown({"a": wide})


def test_frames_features_and_images_must_fit(people):
    with pytest.raises(ValueError, match=r"is over .* gallery images, the gallery frame has 3 rows"):
        RankingExplorer(
            {"a": rank(*people.features["good"], people.query, people.gallery)}, people.query, people.gallery[:3]
        )
    other = rank(*people.features["good"], people.query, people.gallery).take([0, 1])
    with pytest.raises(ValueError, match="are of different queries"):
        RankingExplorer(
            {"a": rank(*people.features["good"], people.query, people.gallery), "b": other},
            people.query,
            people.gallery,
        )
    with pytest.raises(ValueError, match=r"gallery image \d+ is not among the 20 images"):
        RankingExplorer.from_features(
            people.features, people.query, people.gallery, people.images[:20], query_rows=np.zeros(len(people.query))
        )
    with pytest.raises(ValueError, match="no ranking to show"):
        RankingExplorer({}, people.query, people.gallery)
    with pytest.raises(TypeError, match="not a Ranking"):
        RankingExplorer(
            {"a": evaluate(*people.features["good"], people.query, people.gallery)}, people.query, people.gallery
        )
    broken = rank(*people.features["good"], people.query, people.gallery)
    broken = dataclasses.replace(broken, distances=np.full_like(broken.distances, np.nan))
    with pytest.raises(ValueError, match="distances that are NaN"):
        RankingExplorer({"a": broken}, people.query, people.gallery)


def test_people_who_may_be_real_are_left_out_or_blurred(people):
    query, gallery = (frame.drop(columns="look") for frame in (people.query, people.gallery))
    shown = {
        name: RankingExplorer.from_features(people.features, query, gallery, people.images, **options)
        for name, options in {
            "left out": {},
            "blurred": {"real_people": True},
            "shown": {"real_people": True, "blur": False},
        }.items()
    }
    assert {name: made.meta["pictures"] for name, made in shown.items()} == {name: name for name in shown}
    assert shown["left out"].meta["sheets"]["files"] == []
    assert b"WEBP" not in shown["left out"].blob
    sharp, soft = (first_sheet(shown[name]) for name in ("shown", "blurred"))
    edges = [np.abs(np.diff(picture.astype(float), axis=0)).mean() for picture in (sharp, soft)]
    assert edges[1] < edges[0] / 3
    assert first_sheet(make(people)).shape == sharp.shape


def first_sheet(explorer):
    _, offset, length = explorer.meta["sheets"]["files"][0]
    return np.array(Image.open(io.BytesIO(explorer.blob[offset : offset + length])))


def test_thumbnails_are_the_images_in_order(people):
    made = thumbnails.sheets(lambda rows: people.images[rows], [5, 3, 40], height=64, quality=100)
    sheet = np.array(Image.open(io.BytesIO(made.files[0])))
    assert made.size == (64, 32)
    for place, row in enumerate((5, 3, 40)):
        assert np.array_equal(sheet[:64, place * 32 : place * 32 + 32], people.images[row].permute(1, 2, 0).numpy())
    assert thumbnails.sheets(lambda rows: people.images[rows], [1], height=32).size == (32, 16)


def test_an_image_that_could_not_be_read_is_marked(people):
    row = int(people.query.index[0])
    made = RankingExplorer.from_features(
        people.features, people.query, people.gallery, ImageStore(people.images, skipped=[row]), queries=[0]
    )
    assert made.meta["sheets"]["missing"] == [0]


def embedder(people, name):
    """Looks an image up among those that were embedded."""

    def embed(images):
        same = (people.images.flatten(1) == images.flatten(1)).all(1).nonzero()[:, 0]
        return people.features[name][1][[people.gallery.index.get_loc(int(same[0]))]]

    return embed


def test_a_new_picture_is_ranked_by_every_model(people):
    made = make(people, queries=5, embed={name: embedder(people, name) for name in people.features})
    assert made.meta["accepts"]
    position = int(np.flatnonzero(people.gallery["pid"] > 0)[4])
    picture = people.images[int(people.gallery.index[position])]
    number = made.add_query(image=picture)
    assert (number, made.query, made.meta["queries"][-1]) == (-1, -1, -1)
    new = made._newcomers.added[0].rankings["good"]
    assert new.order[0] == position
    assert new.positives.tolist() == [0]
    person = people.gallery.iloc[position]
    again = made.add_query(image=picture, pid=int(person["pid"]), camera=int(person["camid"]))
    expected = evaluate(
        people.features["good"][1][[position]],
        people.features["good"][1],
        people.gallery.iloc[[position]],
        people.gallery,
    )
    assert again == -2
    assert made._newcomers.added[1].rankings["good"].average_precision[0] == pytest.approx(expected.ap_std)
    with pytest.raises(ValueError, match="attach"):
        make(people).add_query(image=picture)
    with pytest.raises(ValueError, match="one of the two"):
        made.add_query()


def test_a_known_query_that_was_not_drawn_can_be_added(people):
    made = make(people, queries=3)
    row = next(i for i in range(len(people.query)) if i not in made.meta["queries"])
    assert made.add_query(row=row) == row == made.query
    assert len(made.meta["queries"]) == 4


def test_a_picture_that_cannot_be_read_is_said_in_the_widget(people):
    made = make(people, queries=5, embed={name: embedder(people, name) for name in people.features})
    made._received(made, {"kind": "picture"}, [b"no picture"])
    assert made.message.startswith("This picture could not be ranked: cannot decode these 10 bytes")
    assert len(made.meta["queries"]) == 5


def test_scores_without_ignored_images_can_be_shown(people):
    scores = {name: evaluate(*pair, people.query, people.gallery, top_k=20) for name, pair in people.features.items()}
    made = RankingExplorer.from_scores(scores, people.query, people.gallery, people.images)
    assert made.meta["top"] == 20
    assert made.meta["models"][0]["all"]["mAP"] == pytest.approx(scores["good"].summary()["mAP"])


def test_matrices_and_features_give_the_same_explorer(people):
    distances = {name: torch.cdist(*(f.double() for f in pair)).square() for name, pair in people.features.items()}
    made = RankingExplorer.from_distances(distances, people.query, people.gallery, people.images)
    assert made.meta["models"][1]["all"] == pytest.approx(make(people).meta["models"][1]["all"], abs=0.5)
