"""The pages on data sets say what the readers expect, and the notebook for one's own pictures runs."""

import json
import re
from pathlib import Path

import pytest

from reidlib.data import layouts, reader_of
from reidlib.workflow.cells import run_cells

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "book" / "datasets"
NOTEBOOK = ROOT / "notebooks" / "your_data.ipynb"


def table(page):
    """{first cell: further cells} of all tables of a page."""
    rows = [
        line.strip("|").split("|") for line in (PAGES / f"{page}.md").read_text().splitlines() if line.startswith("|")
    ]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def shown(number):
    return "" if number is None else f"{number:,}"


@pytest.mark.parametrize(
    ("page", "dataset"), [(n, n) for n in ("market1501", "dukemtmc", "viper", "prcc", "ltcc")] + [("msmt17", "msmt17")]
)
def test_counts_on_the_pages_are_those_of_the_readers(page, dataset):
    reader = reader_of(dataset)
    found = table(page)
    expected = reader.expected() if hasattr(reader, "expected") else reader.EXPECTED
    for part, numbers in expected.items():
        identities = "" if part == "multi" else shown(numbers["identities"])
        assert found[part] == [shown(numbers["images"]), identities], part


def test_counts_on_the_page_of_cuhk03():
    text = (PAGES / "cuhk03.md").read_text()
    classic, again = (reader_of(name).EXPECTED for name in ("cuhk03", "cuhk03-np"))
    for boxes in ("detected", "labelled"):
        everything = classic[boxes]["all"]
        assert f"| all, {boxes} | {everything['images']:,} | {everything['identities']:,} |" in text
    for part in ("train", "query", "gallery"):
        pair = [f"{again[boxes][part]['images']:,}" for boxes in ("detected", "labelled")]
        assert f"| {part} | {pair[0]} | {pair[1]} | {again['detected'][part]['identities']:,} |" in text


def test_label_sets_on_the_overview():
    from reidlib.data import parsing

    rows = table("overview")
    for scheme, labels in parsing.CLASSES.items():
        cells = rows[f"`{scheme}`"]
        assert cells[0] == str(len(labels))
        for name, cell in zip(("upper", "lower", "shoes", "head", "skin"), cells[1:], strict=True):
            first, to, last = cell.partition(" to ")
            numbers = range(int(first), int(last) + 1) if to else [int(n) for n in cell.split(",") if n.strip()]
            assert tuple(numbers) == parsing.members(scheme, name), (scheme, name)


def test_every_help_names_a_page_that_exists():
    for name in ("dukemtmc", "msmt17", "cuhk03", "cuhk03-np", "viper", "prcc", "ltcc", "folder", "csv"):
        page = re.search(r"book/datasets/\w+\.md", reader_of(name).HELP)
        assert page, name
        assert (ROOT / page[0]).is_file()


def test_no_link_leads_to_a_copy_of_a_data_set():
    for page in PAGES.glob("*.md"):
        assert not re.findall(r"https?://", page.read_text()), page.name


# --- notebooks/your_data.ipynb


def test_the_notebook_is_committed_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in code) == 1


def run(tmp_path, layout, **parameters):
    root = layouts.draw("market-like", tmp_path / "crops", layout, size=(32, 16), identities=4, progress=False)
    given = {"height": 32, "width": 16, "weights": "none", "out": str(tmp_path / "out"), "root": str(root)}
    return run_cells(NOTEBOOK, given | parameters), tmp_path / "out"


def test_a_folder_of_crops_becomes_a_score_and_a_page(tmp_path, capsys):
    found, out = run(tmp_path, "folder", train=0.25, steps=3)
    assert found["frame"].groupby("split")["pid"].nunique().to_dict() == {"train": 2, "query": 6, "gallery": 6}
    assert found["neck"] is not None
    assert found["scores"].card["name"] == "cross-camera"
    assert len(found["scores"].query_rows) == (found["frame"]["split"] == "query").sum()
    said = capsys.readouterr().out
    assert "folder is whole" in said
    assert "mAP" in said
    for page in ("data.html", "rankings.html"):
        assert not re.search(r"(?:src|href)=.?https?://", (out / page).read_text())


def test_people_without_cameras_are_scored_too(tmp_path):
    pattern = r"person_(?P<pid>\d+)/.*"
    found, _ = run(tmp_path, "persons", pattern=pattern, shown="none")
    assert found["name"] == "any-camera"
    assert (found["frame"]["split"] == "query").sum() == found["frame"]["pid"].nunique()


def test_a_table_and_outfits(tmp_path):
    found, _ = run(tmp_path, "csv", dataset="csv", protocol="same-clothes")
    assert found["scores"].card["name"] == "same-clothes"


def test_without_a_root_drawn_people_are_made(tmp_path, monkeypatch):
    made = layouts.draw
    monkeypatch.setattr(
        layouts, "draw", lambda *a, **options: made(*a, **options | {"size": (32, 16), "identities": 3})
    )
    given = {"height": 32, "width": 16, "weights": "none", "out": str(tmp_path)}
    found = run_cells(NOTEBOOK, given)
    assert found["drawn"]
    assert found["frame"]["pid"].nunique() == 6


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dataset": "market-like"}, "dataset = 'market-like': must be one of 'market1501'"),
        ({"train": 2}, "train = 2: must be a number from 0 to 0.95"),
        ({"shown": "yes"}, "shown = 'yes': must be one of 'blurred'"),
        ({"height": 4}, "height = 4: must be a number of at least 16"),
    ],
)
def test_wrong_parameters_are_refused(wrong, words, tmp_path):
    with pytest.raises(ValueError, match=re.escape(words)):
        run_cells(NOTEBOOK, {"out": str(tmp_path)} | wrong)
