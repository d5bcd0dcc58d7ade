"""The real book on its tiny grid, from nothing to pages in a browser; and again, with nothing to do."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reidlib.results import load_all

ROOT = Path(__file__).parents[2]
PAGES = [
    "book/welcome",
    "book/reading",
    "book/cluster",
    "book/provenance",
    "book/datasets/overview",
    "book/datasets/your_data",
]
CHAPTERS = ["data", "metrics", "samplers", "triplet", "clothing", "label_smoothing", "reconstruction"]
CHAPTERS += ["explore", "your_data", "speed"]
PAGES += [f"notebooks/{name}" for name in CHAPTERS]


def make_book(build):
    command = [sys.executable, "-m", "reidlib.workflow.cli", "book", "--section", "tiny"]
    environment = {**os.environ, "REIDLIB_BUILD": str(build), "OMP_NUM_THREADS": "1"}
    for name in ("REIDLIB_SECTION", "REIDLIB_PLAN", "REIDLIB_RUNS"):
        environment.pop(name, None)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """(build folder, what the build printed)."""
    build = tmp_path_factory.mktemp("build")
    done = make_book(build)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return build, done.stdout


def test_it_says_what_it_does_and_where_the_book_is(book):
    build, said = book
    assert "run 10/10, " in said
    chapters = {"triplet", "samplers", "clothing", "label_smoothing", "reconstruction"}
    assert chapters <= set(re.findall(r"run \d+/10, (\w+) ", said))
    assert str(build / "tiny" / "html" / "index.html") in said
    assert {r.arm for r in load_all(build / "runs")} == {
        "triplet",
        "lossless",
        "random@paper",
        "cluster-k8@paper",
        "baseline@paper",
        "ifd@paper",
        "none@paper",
        "slsr@paper",
        "l1@paper",
        "l1+rmse@paper",
    }


def test_a_second_build_has_nothing_to_do(book):
    build, _ = book
    kept = (path for path in build.rglob("*") if path.suffix in (".ipynb", ".html") or path.name == "record.json")
    before = {path: path.stat().st_mtime_ns for path in kept}
    start = time.monotonic()
    again = make_book(build)
    assert again.returncode == 0
    assert time.monotonic() - start < 30, again.stdout
    assert "run 1/" not in again.stdout
    assert [path.name for path in before if path.stat().st_mtime_ns != before[path]] == []


def test_every_chapter_was_executed_without_a_message_on_stderr(book):
    build, _ = book
    for name in CHAPTERS:
        cells = json.loads((build / "tiny" / "executed" / f"{name}.ipynb").read_text())["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        assert not [o for o in outputs if o["output_type"] == "error"]
        assert not ["".join(o["text"]) for o in outputs if o.get("name") == "stderr"]
        assert any({"image/png", "text/html"} & set(o.get("data", {})) for o in outputs)


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("page", PAGES)
def test_pages_in_a_browser(book, visit, page, width):
    build, _ = book
    address = (build / "tiny" / "html" / f"{page}.html").as_uri()
    with visit(address, viewport={"width": width, "height": 900}) as (tab, complaints, foreign):
        assert complaints == []
        assert foreign == []
        broken = "images => images.filter(i => !i.complete || i.naturalWidth === 0).map(i => i.src)"
        assert tab.eval_on_selector_all("img", broken) == []
        assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 1
        assert tab.inner_text("h1")
        assert "{{" not in tab.inner_text("article")
