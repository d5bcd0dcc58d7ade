"""Sphinx extension: the book shows executed copies of its notebooks, and numbers that a build wrote.

The table of contents lists the sources, `notebooks/X`; when a source is read, its executed copy takes its place. A copy
that is missing, or whose last execution failed, is a warning and says so on its page. `{{ name }}` in a page is
replaced from numbers.json, and `_generated/` by the folder beside it. No page asks another host for anything.
"""

import json
import os
import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
# MathJax's bundle, its fonts, and the TeX extensions that it loads when a formula needs one
MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2/", "input/tex/extensions/")


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", load_numbers, priority=100)
    app.connect("source-read", read_source, priority=100)
    app.connect("html-page-context", drop_remote, priority=900)
    app.connect("build-finished", clean_output, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def folder(source: str | Path) -> Path:
    """What the build wrote for these pages: build/, or build/<section>/ for a demo or a test."""
    build = Path(os.environ.get("REIDLIB_BUILD") or Path(source) / "build").absolute()
    section = os.environ.get("REIDLIB_SECTION") or "book"
    return build if section == "book" else build / section


def load_numbers(app: Sphinx, config) -> None:
    path = folder(app.srcdir) / "book" / "numbers.json"
    if path.is_file():
        config.myst_substitutions = {**config.myst_substitutions, **json.loads(path.read_text(encoding="utf-8"))}


def read_source(app: Sphinx, name: str, source: list[str]) -> None:
    if name.startswith("notebooks/"):
        source[0] = json.dumps(executed_copy(app, name, json.loads(source[0])))
        return
    here = Path(app.srcdir, name).parent
    generated = os.path.relpath(folder(app.srcdir) / "book", here).replace(os.sep, "/")
    app.env.note_dependency(str(folder(app.srcdir) / "book" / "numbers.json"))
    source[0] = re.sub(r"(?<![\w/])_generated/", f"{generated}/", source[0])


def executed_copy(app: Sphinx, name: str, source: dict) -> dict:
    """The executed notebook, or the source with a note of what went wrong."""
    path = folder(app.srcdir) / "executed" / f"{Path(name).name}.ipynb"
    failed = path.with_suffix(".failed.json")
    app.env.note_dependency(str(path))
    app.env.note_dependency(str(failed))
    book = clean(json.loads(path.read_text(encoding="utf-8")) if path.is_file() else source)
    problem = None
    if failed.is_file():
        report = json.loads(failed.read_text(encoding="utf-8"))
        cell = (
            f"Cell {report['cell']} (`{report['first_line']}`) of this chapter failed"
            if report.get("cell")
            else "Failed"
        )
        problem = f"{cell}: {report['cause']}"
        shown = "What follows are results of an earlier version." if path.is_file() else "What follows has no results."
        problem += f"\n\n{shown} Repeat it with `make book`."
    elif not path.is_file():
        problem = "This chapter was not executed, so it has no results here. `make book` executes it."
    if problem:
        if (os.environ.get("REIDLIB_SECTION") or "book") == "book":
            logger.warning("%s", problem.replace("\n\n", " "), location=name)
        insert_note(book, problem)
    return book


def clean(book: dict) -> dict:
    """Without what only a kernel could use, the injected parameters hidden."""
    book["metadata"].pop("widgets", None)
    for cell in book["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        if "injected-parameters" in tags:
            tags.append("remove-cell")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                data.pop("application/vnd.jupyter.widget-view+json", None)
    return book


def insert_note(book: dict, text: str) -> None:
    """A note below the chapter's title."""
    note = f":::{{warning}}\n{text}\n:::"
    titled = book["cells"] and book["cells"][0]["cell_type"] == "markdown"
    cell = {"cell_type": "markdown", "id": "not-executed", "metadata": {}, "source": note}
    book["cells"].insert(1 if titled else 0, cell)


def drop_remote(app: Sphinx, pagename: str, template: str, context: dict, doctree) -> None:
    """Leave out scripts of other hosts, and of thebe, which would start a kernel there."""
    for key in ("script_files", "css_files"):
        context[key] = [file for file in context.get(key, []) if not _remote(file)]


def _remote(file) -> bool:
    name, attributes = str(getattr(file, "filename", file) or ""), getattr(file, "attributes", {}) or {}
    body = str(attributes.get("body") or "")
    return name.startswith(("http:", "https:", "//")) or "thebe" in name.lower() or "thebe" in body.lower()


def clean_output(app: Sphinx, error: Exception | None) -> None:
    """Drop font preloads (a browser refuses them for a file on disk) and the parts of MathJax that are not used."""
    if error is not None or app.builder.format != "html":
        return
    preload = re.compile(r'\s*<link rel="preload" as="font"[^>]*>')
    for page in Path(app.outdir).rglob("*.html"):
        if "_static" in page.relative_to(app.outdir).parts:
            continue
        text = page.read_text(encoding="utf-8")
        page.write_text(preload.sub("", text), encoding="utf-8")
    mathjax = Path(app.outdir, "_static", "mathjax")
    for path in [*mathjax.rglob("*")]:
        if path.is_file() and not path.relative_to(mathjax).as_posix().startswith(MATHJAX):
            path.unlink()
    for path in sorted(mathjax.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    shutil.rmtree(Path(app.outdir, "_static", "thebe"), ignore_errors=True)
