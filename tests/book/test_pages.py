"""A small book, built with the real configuration and extension, read in a real browser."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]

TOC = """format: jb-book
root: book/welcome
parts:
  - caption: Papers
    chapters:
      - file: notebooks/done
      - file: notebooks/failed
      - file: notebooks/missing
"""
WELCOME = r"""# Welcome

{{ runs }} runs. The loss is $L = \max(0, d_{ap} - d_{an} + m)$, a vector $\boldsymbol{x}$, and

$$ \mathrm{AP} = \frac{1}{n}\sum_{i=1}^{n} \frac{i}{r_i}. $$ (ap)

See [the chapter](../notebooks/done.ipynb) and {eq}`ap`.

```{csv-table}
:file: _generated/scores.csv
:header-rows: 1
```
"""


def chapter(title: str, executed: bool) -> nbformat.NotebookNode:
    new = nbformat.v4
    widget = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "1"},
        "text/html": "<b class='explorer'>ranking</b>",
    }
    cells = [
        new.new_markdown_cell(f"# {title}\n\nText with $a^2$."),
        new.new_code_cell("seed = 0", metadata={"tags": ["parameters"]}),
        new.new_code_cell("run(seed)"),
    ]
    book = new.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    if executed:
        cells.insert(2, new.new_code_cell("seed = 77", metadata={"tags": ["injected-parameters"]}))
        cells[3].outputs = [new.new_output("stream", text="mAP 55.5\n"), new.new_output("display_data", data=widget)]
        book.metadata["widgets"] = {
            "application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2, "version_minor": 0}
        }
        book.cells = cells
    return book


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def make_book(root: Path, chapters: list[str]) -> Path:
    """Sources of a book of these chapters, and what a build would have written for it."""
    for name in ("_config.yml", "book/_ext", "book/_static"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, root / name)
    write(
        root / "_toc.yml",
        "".join(
            line for line in TOC.splitlines(True) if "notebooks/" not in line or line.split("/")[-1].strip() in chapters
        ),
    )
    write(root / "book" / "welcome.md", WELCOME)
    write(root / "build" / "book" / "numbers.json", json.dumps({"runs": "thirty-six"}))
    write(root / "build" / "book" / "scores.csv", "arm,mAP\ntriplet,55.5\n")
    for name in chapters:
        write(root / "notebooks" / f"{name}.ipynb", nbformat.writes(chapter(f"Chapter {name}", False)))
    write(root / "build" / "executed" / "done.ipynb", nbformat.writes(chapter("Chapter done", True)))
    failure = {
        "notebook": "notebooks/failed.ipynb",
        "cell": 3,
        "first_line": "run(seed)",
        "cause": "KeyError: 'camera'",
    }
    write(root / "build" / "executed" / "failed.failed.json", json.dumps(failure))
    return root


def build(root: Path, **environment) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        "-W",
        "-n",
        "--keep-going",
        "--all",
        ".",
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REIDLIB")}
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, env=clean | {"NO_COLOR": "1", **environment}
    )


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    root = make_book(tmp_path_factory.mktemp("book"), ["done"])
    done = build(root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return root / "_build" / "html"


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    root = make_book(tmp_path_factory.mktemp("book"), ["done", "failed", "missing"])
    return root / "_build" / "html", build(root)


def test_every_page_opens_without_a_complaint_or_a_foreign_request(good, visit):
    pages = [path for path in good.rglob("*.html") if "_static" not in path.parts]
    assert {path.name for path in pages} >= {"index.html", "welcome.html", "done.html", "search.html", "genindex.html"}
    for path in pages:
        with visit(path.as_uri()) as (page, complaints, foreign):
            assert complaints == [], path.name
            assert foreign == [], path.name
            assert page.locator("link[rel=icon], link[rel='shortcut icon']").count() or path.name == "index.html"


def test_numbers_tables_and_formulas_are_there(good, visit):
    with visit((good / "book" / "welcome.html").as_uri()) as (page, complaints, foreign):
        article = page.locator("article.bd-article")
        assert "thirty-six runs" in article.inner_text()
        assert article.locator("td").all_inner_texts() == ["triplet", "55.5"]
        page.wait_for_selector("mjx-container")
        assert page.locator("mjx-container").count() >= 3
        assert page.locator("mjx-merror").count() == 0
        loaded = page.evaluate(
            "[...document.fonts].filter(f => f.family.startsWith('MJX') && f.status === 'loaded').length"
        )
        assert loaded > 0
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        assert (complaints, foreign) == ([], [])


def test_the_executed_copy_takes_the_source_s_place(good, visit):
    with visit((good / "notebooks" / "done.html").as_uri()) as (page, _, _):
        text = page.locator("article.bd-article").inner_text()
        assert "mAP 55.5" in text
        assert "seed = 0" in text
        assert "seed = 77" not in text
        assert page.locator(".explorer").inner_text() == "ranking"
    assert "widget-state" not in (good / "notebooks" / "done.html").read_text()
    source = json.loads((good / "_sources" / "notebooks" / "done.ipynb").read_text())
    assert all(cell.get("outputs", []) == [] for cell in source["cells"])


def test_a_chapter_that_failed_or_is_missing_says_so_and_the_others_stand(broken):
    html, done = broken
    assert done.returncode != 0
    warnings = [line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line]
    assert len(warnings) == 2, warnings
    failed, missing = ((html / "notebooks" / f"{name}.html").read_text() for name in ("failed", "missing"))
    assert "Cell 3 (<code" in failed
    assert "KeyError:" in failed
    assert "This chapter was not executed" in missing
    assert "mAP 55.5" in (html / "notebooks" / "done.html").read_text()


def test_the_pages_are_not_heavy(good):
    size = sum(path.stat().st_size for path in good.rglob("*") if path.is_file())
    assert size < 12 * 2**20
    assert not list(good.rglob("*preload*"))
    assert all('as="font"' not in path.read_text() for path in good.rglob("*.html") if "_static" not in path.parts)


def test_a_demo_reads_its_own_folder(tmp_path):
    root = make_book(tmp_path, ["done", "missing"])
    shutil.move(root / "build", root / "other" / "demo")
    done = build(root, REIDLIB_BUILD=str(root / "other"), REIDLIB_SECTION="demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "thirty-six" in (root / "_build" / "html" / "book" / "welcome.html").read_text()
    assert "mAP 55.5" in (root / "_build" / "html" / "notebooks" / "done.html").read_text()
    assert "was not executed" in (root / "_build" / "html" / "notebooks" / "missing.html").read_text()
