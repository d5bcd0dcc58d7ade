import numpy as np
import pandas as pd
import pytest

from reidlib.data.frame import COLUMNS, FrameError, make_frame, rows_of, validate, validation_split


def row(pid, camid, image=0, split="train", **more):
    return {"path": f"{split}/{pid:04d}_c{camid}_{image}.jpg", "split": split, "pid": pid, "camid": camid, **more}


def train(images):
    """A training frame from {pid: [images of camera 0, of camera 1, ...]}."""
    return make_frame(
        [row(pid, camid, k) for pid, counts in images.items() for camid, n in enumerate(counts) for k in range(n)]
    )


def test_defaults_dtypes_and_order():
    test = [row(2, 0, split="query"), row(0, 0, split="gallery"), row(2, 1, split="gallery")]
    frame = make_frame([*test, row(1, 1), row(1, 0)])
    assert tuple(frame.columns) == COLUMNS
    assert frame["split"].tolist() == ["train", "train", "query", "gallery", "gallery"]
    assert frame["pid"].tolist() == [1, 1, 2, 0, 2]
    assert frame["camid"].tolist() == [0, 1, 0, 0, 1]
    assert frame["clothes"].tolist() == [-1] * 5
    assert all(mask is None for mask in frame["mask"])
    assert all(frame[c].dtype == np.int64 for c in ("pid", "camid", "clothes"))
    assert frame.index.tolist() == list(range(5))


def test_columns_and_numbers_as_text_are_accepted_and_extras_kept():
    names = {"path": ["b.jpg", "a.jpg"], "split": ["train"] * 2}
    frame = make_frame(names | {"pid": ["0002", "0001"], "camid": [0, 0], "look": [7, 8]})
    assert frame["pid"].tolist() == [1, 2]
    assert frame["look"].tolist() == [8, 7]
    assert frame["path"].tolist() == ["a.jpg", "b.jpg"]


def test_a_frame_is_its_own_frame():
    frame = make_frame([row(1, 0, mask="m.png"), row(1, 1)])
    pd.testing.assert_frame_equal(make_frame(frame), frame)
    assert frame["mask"].tolist() == ["m.png", None]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "lacks the column"),
        ([{"path": "a", "split": "train", "pid": 1}], "lacks the column.* camid"),
        ([row(1, 0, split="test")], "unknown split 'test'"),
        ([row(-2, 0)], "pid is -2"),
        ([row(1, -1)], "camid is -1"),
        ([row(0, 0)], "pid 0 in split 'train'"),
        ([row(-1, 0, split="query"), row(1, 0, split="gallery")], "pid -1 in split 'query'"),
        ([row(1, 0, split="gallery")], "zero queries"),
        ([row(1, 0, split="query")], "no gallery image"),
        ([row(1, 0), row(1, 0, split="query"), row(2, 0, split="gallery")], "pid 1.*unique over the whole data set"),
        ([row(1, 0), row(1, 0, split="gallery"), row(2, 0, split="query")], "both in train"),
        ([row(1, 0), row(1, 0)], "occurs twice in split 'train'"),
        ([row(1, 0) | {"path": None}], "has no path"),
        ([row(1, 0) | {"path": "/data/a.jpg"}], "relative to the root"),
        ([row(1, 0) | {"path": "a\\b.jpg"}], "forward slashes"),
        ([{"path": "a", "split": "train", "pid": 1.5, "camid": 0}], "whole number"),
        ([{"path": "a", "split": "train", "pid": "x", "camid": 0}], "not a whole number"),
        ([row(1, 0, clothes=3), row(2, 0, clothes=3)], "clothes 3 is worn by 2 persons"),
    ],
)
def test_what_is_wrong_is_said(rows, words):
    with pytest.raises(FrameError, match=words):
        make_frame(rows)


def test_validate_refuses_a_frame_that_was_not_made_by_make_frame():
    frame = make_frame([row(1, 0), row(1, 1)])
    with pytest.raises(FrameError, match="int32"):
        validate(frame.astype({"pid": "int32"}))
    with pytest.raises(FrameError, match=r"index is not 0\.\.n-1"):
        validate(frame.iloc[1:])
    with pytest.raises(FrameError, match="no rows"):
        validate(frame.iloc[:0])


def test_the_same_file_may_be_query_and_gallery_and_junk_may_share_clothes():
    rows = [row(1, 0, split="query") | {"path": "x.jpg"}, row(1, 0, split="gallery") | {"path": "x.jpg"}]
    rows += [row(-1, 0, split="gallery", clothes=3), row(2, 0, split="gallery", clothes=3)]
    assert len(make_frame(rows)) == 4


def test_rows_of():
    frame = make_frame([row(1, 0), row(2, 0, split="query"), row(2, 1, split="gallery")])
    assert rows_of(frame, "query").tolist() == [1]
    assert rows_of(frame.assign(row=[10, 11, 12]), "gallery").tolist() == [12]
    assert rows_of(frame, "multi").dtype == np.int64
    with pytest.raises(FrameError, match="unknown split"):
        rows_of(frame, "test")


@pytest.mark.parametrize("seed", range(5))
def test_validation_split_properties(seed):
    counts = np.random.default_rng(seed).integers(0, 4, (30, 4))
    counts[counts.sum(1) == 0, 0] = 1
    frame = train({pid + 1: list(map(int, c)) for pid, c in enumerate(counts)})
    split = validation_split(frame, 6, seed)
    train_pids, query_pids = set(split[split.split == "train"].pid), set(split[split.split == "query"].pid)
    gallery = split[split.split == "gallery"]
    assert len(query_pids) == 6
    assert query_pids == set(gallery.pid)
    assert not train_pids & query_pids
    assert train_pids | query_pids == set(frame.pid)
    assert len(split) == len(frame)
    assert not split.duplicated("path").any()
    query = split[split.split == "query"]
    assert not query.duplicated(["pid", "camid"]).any()
    for _, q in query.iterrows():
        assert ((gallery.pid == q.pid) & (gallery.camid != q.camid)).any()
    assert frame.path[split.row].tolist() == split.path.tolist()
    pd.testing.assert_frame_equal(validation_split(frame, 6, seed), split)


def test_each_camera_gives_one_query_unless_nothing_would_be_left_to_find():
    counts = {1: [2, 3, 1], 2: [2, 1], 3: [1, 1], 4: [5], 5: [1, 1, 1]}
    split = validation_split(train(counts), 4)
    queries = split[split.split == "query"].groupby("pid").size()
    assert queries.to_dict() == {1: 3, 2: 1, 3: 1, 5: 2}
    assert set(split[split.split == "train"].pid) == {4}


def test_validation_seeds_differ_and_a_share_is_of_the_training_identities():
    frame = train({pid: [2, 2] for pid in range(1, 51)})
    held = [frozenset(s[s.split == "query"].pid) for s in (validation_split(frame, 0.2, seed) for seed in range(4))]
    assert all(len(h) == 10 for h in held)
    assert len(set(held)) == 4


def test_validation_drops_test_rows_and_keeps_the_rows_of_a_split_frame():
    rows = [row(p, c, k) for p in (1, 2, 3) for c in (0, 1) for k in (0, 1)]
    rows += [row(9, 0, split="query"), row(9, 1, split="gallery"), row(0, 1, split="gallery")]
    frame = make_frame(rows).assign(row=lambda f: f.index + 100)
    split = validation_split(frame, 1)
    assert 9 not in set(split.pid)
    assert 0 not in set(split.pid)
    assert split.row.min() == 100
    assert frame.set_index("row").path[split.row].tolist() == split.path.tolist()


@pytest.mark.parametrize(
    ("identities", "words"),
    [(3, "at least one must be held out and one left"), (0, "hold out 0"), (1.5, "share"), (2, "only 1 of 3")],
)
def test_impossible_validation_splits(identities, words):
    with pytest.raises(FrameError, match=words):
        validation_split(train({1: [1, 1], 2: [3], 3: [0, 2]}), identities)
