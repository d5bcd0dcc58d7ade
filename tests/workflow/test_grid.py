"""Grids: what a file expands to, and what is said about a file that is wrong."""

import json

import pytest
from toy import GRID, notebook

from reidlib.workflow import grid


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A folder with the toy's notebook; returns a function that writes its grid and reads it."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "toy.ipynb").write_text(json.dumps(notebook()))
    (tmp_path / "book" / "papers" / "grids").mkdir(parents=True)
    monkeypatch.setattr("reidlib.workflow.project.root", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)

    def write(text=GRID):
        (tmp_path / "book" / "papers" / "grids" / "toy.yml").write_text(text)
        return grid.read("toy")

    return write


def test_a_section_is_expanded_arm_by_arm_and_seed_by_seed(toy):
    runs = grid.expand(toy(), "book")
    assert [(run.arm, run.seed, run.parameters["loss"]) for run in runs] == [
        ("a", 0, "triplet"),
        ("a", 1, "triplet"),
        ("b", 0, "lossless"),
        ("b", 1, "lossless"),
    ]
    assert runs[3].label == "toy b seed 1"
    assert runs[3].parameters == {"loss": "lossless", "arm": "b", "seed": 1}
    assert len({run.id for run in runs}) == 4


def test_common_parameters_give_way_to_arms_and_arms_to_a_section(toy):
    text = "common: {wait: 1, loss: triplet}\narms:\n  a: {loss: lossless, wait: 2}\n  b:\n"
    text += "sections:\n  book: {seeds: [0]}\n  tiny: {arms: [b, a], seeds: [0], common: {wait: 1e-3}}\n"
    read = toy(text)
    assert [(run.parameters["wait"], run.parameters["loss"]) for run in grid.expand(read, "book")] == [
        (2, "lossless"),
        (1, "triplet"),
    ]
    assert [run.parameters["wait"] for run in grid.expand(read, "tiny")] == [0.001, 0.001]


def test_tuned_arms_are_every_combination(toy):
    read = toy(GRID + "tune:\n  a: {seed: [5, 6], wait: [0.1, 0.2], fail: false}\n  b: {wait: [0.5]}\n")
    with pytest.raises(grid.GridError, match="no parameter 'evaluate_on'"):
        grid.expand(read, "tune")
    read.sections["tune"].pop("common")
    runs = grid.expand(read, "tune")
    assert [run.arm for run in runs] == ["tune-a-5-0.1", "tune-a-5-0.2", "tune-a-6-0.1", "tune-a-6-0.2", "tune-b-0.5"]
    assert runs[1].parameters["loss"] == "triplet"
    assert len(grid.expand(read, "book")) == 4
    assert grid.resolve("toy-tune", "full") == ("toy", "tune")
    assert grid.resolve("toy", "full") == ("toy", "full")


def test_the_page_takes_its_arms_parameters(toy):
    assert grid.page_parameters(toy(GRID.replace("page: {arm: a}", "page: {arm: b, seed: 7}")), "book") == {
        "loss": "lossless",
        "arm": "b",
        "seed": 7,
    }


def test_an_id_is_one_of_content(toy):
    read = toy()
    first = grid.identity(read, {"loss": "triplet"})
    assert grid.identity(read, {}) == grid.identity(read, {"out": "elsewhere", "wait": 0}) == first
    assert grid.identity(read, {"seed": 1}) != first


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arms: {a: {los: x}}", "has no parameter 'los'; did you mean 'loss'?"),
        ("armes: {}", "the file has no entry 'armes'; it can have arms, common"),
        ("arms: [a]", "arms must be `name: value` pairs"),
        ("arms: {a: 3}", "arms: a must be `name: value` pairs"),
        ("experiment: other", "experiment is 'other', the file's name says 'toy'"),
        ("arms:\n  a: {loss: x\n", "toy.yml, line 3"),
        ("arms:\n  a: {loss: x}\n  a: {loss: y}\n", "'a' stands twice"),
        ("- a", "the file must be `name: value` pairs"),
        ("notebook: notebooks/other.ipynb", "there is no notebook notebooks/other.ipynb"),
    ],
)
def test_a_grid_that_cannot_be_read(toy, text, words):
    with pytest.raises(grid.GridError) as caught:
        toy(text)
    assert words in str(caught.value)
    assert "book/papers/grids/toy.yml" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{arms: [c], seeds: [0]}", "there is no arm 'c'; there are: a, b"),
        ("{arms: [a]}", "needs `arms`"),
        ("{arms: [a], seeds: [x]}", "needs `arms`"),
        ("{arms: all, seeds: [0], comon: {}}", "section book has no entry 'comon'"),
        ("{arms: all, seeds: [0], common: {sed: 1}}", "has no parameter 'sed'; did you mean 'seed'?"),
        ("{arms: all, seeds: [0, 0]}", "toy a seed 0 and toy a seed 0 are the same run"),
    ],
)
def test_a_section_that_cannot_be_expanded(toy, section, words):
    read = toy(f"arms: {{a: {{}}, b: {{loss: lossless}}}}\nsections: {{book: {section}}}\n")
    with pytest.raises(grid.GridError) as caught:
        grid.expand(read, "book")
    assert words in str(caught.value)


def test_unknown_experiments_and_sections(toy):
    read = toy()
    with pytest.raises(grid.GridError, match=r"there is no experiment 'tripplet' .*; there are: toy"):
        grid.read("tripplet")
    with pytest.raises(grid.GridError, match=r"has no section 'ful'; it has: book, tiny"):
        grid.expand(read, "ful")
