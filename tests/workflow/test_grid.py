"""Grids: what a file expands to, and what is said about a file that is wrong."""

import json

import pytest
from toy import CELLS, GRID, notebook

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
    read.sections["tune"][0].pop("common")
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


@pytest.fixture
def placed(toy, tmp_path, monkeypatch):
    """The toy with a parameter `dataset`; arms a and b, c on market-like only."""
    cells = [(tag, source.replace("seed = 0", "seed = 0\ndataset = 'market-like'")) for tag, source in CELLS]
    (tmp_path / "notebooks" / "toy.ipynb").write_text(json.dumps(notebook(cells)))
    monkeypatch.setattr(grid, "_fingerprint_of", lambda dataset, *rest: f"content of {dataset}")

    def write(*sections, more=""):
        arms = "arms: {a: {}, b: {loss: lossless}, c: {wait: 1, dataset: market-like}}\n"
        return toy(arms + more + "sections:\n" + "".join(f"  {section}\n" for section in sections))

    return write


def places(runs):
    return [(run.arm, run.parameters.get("dataset"), run.seed) for run in runs]


def test_a_section_over_several_data_sets(placed):
    runs = grid.expand(placed("book: {seeds: [0, 1], datasets: [market-like, duke-like]}"), "book")
    assert places(runs) == [
        *[("a", dataset, seed) for dataset in ("market-like", "duke-like") for seed in (0, 1)],
        *[("b", dataset, seed) for dataset in ("market-like", "duke-like") for seed in (0, 1)],
        ("c", "market-like", 0),
        ("c", "market-like", 1),
    ]
    assert len({run.id for run in runs}) == 10
    assert runs[2].label == "toy a on duke-like seed 0"
    assert runs[-1].label == "toy c on market-like seed 1"


def test_an_arm_of_another_data_set_is_left_out_and_one_data_set_is_not_told(placed):
    runs = grid.expand(placed("book: {seeds: [0], datasets: [duke-like]}"), "book")
    assert places(runs) == [("a", "duke-like", 0), ("b", "duke-like", 0)]
    assert runs[0].label == "toy a seed 0"


def test_data_sets_of_a_section_go_before_the_common_one(placed):
    read = placed("book: {arms: [a], seeds: [0], datasets: [duke-like]}", more="common: {dataset: msmt17-like}\n")
    assert places(grid.expand(read, "book")) == [("a", "duke-like", 0)]


def test_groups_of_a_section_and_runs_that_two_ask_for(placed):
    read = placed(
        "book:",
        "  - {arms: [a, b], seeds: [0], datasets: [market-like, duke-like]}",
        "  - {arms: [a], seeds: [0, 1], common: {dataset: market-like}}",
        "  - {arms: [b], seeds: [0], common: {wait: 2}}",
    )
    runs = grid.expand(read, "book")
    assert places(runs) == [
        ("a", "market-like", 0),
        ("a", "duke-like", 0),
        ("b", "market-like", 0),
        ("b", "duke-like", 0),
        ("a", "market-like", 1),
        ("b", None, 0),
    ]
    assert [run.parameters.get("wait") for run in runs][-1] == 2
    assert runs[4].label == "toy a on market-like seed 1"


def test_the_page_takes_the_first_groups_parameters(placed):
    read = placed(
        "book:",
        "  - {arms: [a], seeds: [0], common: {wait: 3}, page: {arm: b}}",
        "  - {arms: [b], seeds: [0], common: {wait: 4}}",
    )
    assert grid.page_parameters(read, "book") == {"loss": "lossless", "wait": 3, "arm": "b"}


def test_two_arms_with_the_same_parameters_are_refused_across_groups_too(placed, tmp_path):
    without_arm = [(tag, source.replace("arm = 'a'\n", "").replace("arm=text(), ", "")) for tag, source in CELLS]
    (tmp_path / "notebooks" / "toy.ipynb").write_text(json.dumps(notebook(without_arm)))
    text = "arms: {a: {}, b: {loss: triplet}}\nsections:\n  book:\n  - {arms: [a], seeds: [0]}\n"
    (tmp_path / "book" / "papers" / "grids" / "toy.yml").write_text(text + "  - {arms: [b], seeds: [0]}\n")
    with pytest.raises(grid.GridError, match="toy a seed 0 and toy b seed 0 are the same run"):
        grid.expand(grid.read("toy"), "book")


def test_tuning_on_several_data_sets(placed):
    read = placed(
        "tune: {arms: [tune-*], seeds: [0], datasets: [market-like, duke-like]}", more="tune: {b: {wait: [1, 2]}}\n"
    )
    assert places(grid.expand(read, "tune")) == [
        (f"tune-b-{wait}", dataset, 0) for wait in (1, 2) for dataset in ("market-like", "duke-like")
    ]


TAKERS = "arms: {k1: {}, k4: {wait: 1}, k32: {wait: 2}, 'k1@paper': {wait: 3}, other: {wait: 4}}\n"


def test_arms_that_take_the_choice_of_another(toy):
    read = toy(TAKERS + "tune:\n  k4: {wait: [1, 2], for: ['k*']}\n  other: {wait: [1]}\n")
    assert grid.takers(read) == {"k4": "k4", "k1": "k4", "k32": "k4", "other": "other"}
    read.sections["tune"][0].pop("common")
    assert [run.arm for run in grid.expand(read, "tune")] == ["tune-k4-1", "tune-k4-2", "tune-other-1"]
    assert all("for" not in run.parameters for run in grid.expand(read, "tune"))
    assert "k1@paper" in grid.takers(toy(TAKERS + "tune: {k4: {wait: [1], for: ['k1@*']}}\n"))


@pytest.mark.parametrize(
    ("tune", "words"),
    [
        ("k4: {wait: [1], for: [k5]}", "tune: k4 is for 'k5', but there is no such arm"),
        ("k4: {wait: [1], for: k1}", "tune: k4: for must be a list of arms, not 'k1'"),
        ("k4: {wait: [1], for: [other]}, other: {wait: [1]}", "other would take the choices of both k4 and other"),
    ],
)
def test_a_choice_that_nobody_or_two_would_take(toy, tune, words):
    with pytest.raises(grid.GridError) as caught:
        grid.takers(toy(TAKERS + f"tune: {{{tune}}}\n"))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{seeds: [0], datasets: duke-like}", "datasets must be a list of names, not 'duke-like'"),
        ("{seeds: [0], datasets: []}", "datasets must be a list of names, not []"),
        ("{seeds: [0], datasets: [a], common: {dataset: b}}", "names data sets twice"),
        ("[{seeds: [0]}, 3]", "sections: book must be `name: value` pairs, not 3"),
        ("{arms: [a], seeds: [0], datasets: [x, x]}", "toy a on x seed 0 and toy a on x seed 0 are the same run"),
    ],
)
def test_data_sets_and_groups_that_cannot_be_expanded(placed, section, words):
    with pytest.raises(grid.GridError) as caught:
        grid.expand(placed(f"book: {section}"), "book")
    assert words in str(caught.value)


def test_data_sets_need_a_notebook_that_takes_one(toy):
    with pytest.raises(grid.GridError, match="has no parameter 'dataset'"):
        grid.expand(toy("arms: {a: {}}\nsections: {book: {seeds: [0], datasets: [x]}}\n"), "book")
