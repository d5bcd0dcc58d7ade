"""Where things lie: the repository, its grids, and what a build writes.

Runs are named by their content, so every section shares `build/runs`. Pages are not: the section `book` has them in
`build/` and `_build/html`, any other (a demo, a test) in `build/<section>/`. Environment: REIDLIB_BUILD,
REIDLIB_SECTION, REIDLIB_RUNS.
"""

import os
from pathlib import Path


def root() -> Path:
    """The repository. Raises FileNotFoundError where reidlib is installed without it."""
    from reidlib.results.provenance import repository

    found = repository()
    if found is None:
        raise FileNotFoundError(
            "reidlib is installed without its repository: clone it and install with `pip install -e .`"
        )
    return found


def build() -> Path:
    """What a build writes: $REIDLIB_BUILD, or build/ of the repository."""
    return (
        Path(os.environ["REIDLIB_BUILD"]).expanduser().absolute()
        if os.environ.get("REIDLIB_BUILD")
        else root() / "build"
    )


def section() -> str:
    """The section of the grids that pages are made from: $REIDLIB_SECTION, or `book`."""
    return os.environ.get("REIDLIB_SECTION") or "book"


def grids() -> Path:
    return root() / "book" / "papers" / "grids"


def runs() -> Path:
    """Records: runs/<experiment>/<id>/record.json."""
    return build() / "runs"


def record(experiment: str, run_id: str) -> Path:
    return runs() / experiment / run_id / "record.json"


def own_runs() -> Path | None:
    """A reader's own records that shall enter the pages: `make book RUNS=DIR`."""
    return Path(os.environ["REIDLIB_RUNS"]).expanduser().absolute() if os.environ.get("REIDLIB_RUNS") else None


def executed_run(run_id: str) -> Path:
    """The notebook of one run as it was executed, kept to look into."""
    return build() / "executed" / "runs" / f"{run_id}.ipynb"


def logs() -> Path:
    return build() / "logs"


def pages() -> Path:
    """The folder for what belongs to one section's pages."""
    return build() if section() == "book" else build() / section()


def executed(name: str) -> Path:
    """A chapter as it was executed."""
    return pages() / "executed" / f"{name}.ipynb"


def numbers() -> Path:
    """Numbers, tables and figures that pages read: numbers.json, *.csv, findings.txt."""
    return pages() / "book"


def html() -> Path:
    """The book that is read: _build/html of the repository, html/ of another build folder or section."""
    return root() / "_build" / "html" if pages() == root() / "build" else pages() / "html"


def relative(path: Path) -> str:
    """A path as it is from the repository's root, where the pipeline's processes work."""
    path = Path(path).absolute()
    return str(path.relative_to(root())) if path.is_relative_to(root()) else str(path)
