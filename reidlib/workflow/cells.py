"""Run a notebook's code cells as plain Python, for a machine without Jupyter.

    python -m reidlib.workflow.cells notebooks/triplet.ipynb -p device cuda -p seed 1

Parameters are given as to papermill; cells tagged `page` are left out. Pictures are made and not shown.
"""

import argparse
import ast
import json
import os
import sys
import traceback
from pathlib import Path

from reidlib.workflow.parameters import assigned, value_of


def run_cells(notebook: str | Path, parameters: dict | None = None) -> dict:
    """Execute the cells in one namespace, `parameters` after the cell tagged so; returns the namespace.

    Raises ValueError for a parameter that the notebook does not have, or a notebook without exactly one such cell; and
    what a cell raises, with a note that says which cell.
    """
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    cells = [
        (n, "".join(c["source"]), c["metadata"].get("tags", []))
        for n, c in enumerate(cells, 1)
        if c["cell_type"] == "code"
    ]
    ruled = [source for _, source, tags in cells if "parameters" in tags]
    if len(ruled) != 1:
        raise ValueError(f"{notebook} has {len(ruled)} cells tagged `parameters`: it needs exactly one")
    unknown = sorted(set(parameters or {}) - assigned(ruled[0]))
    if unknown:
        raise ValueError(f"{notebook} has no parameter {unknown[0]!r}; it has {', '.join(sorted(assigned(ruled[0])))}")
    os.environ.setdefault("MPLBACKEND", "Agg")
    namespace = {"__name__": "__main__", "display": _display}
    for number, source, tags in cells:
        if "page" in tags:
            continue
        try:
            _run(source, f"{Path(notebook).name}, cell {number}", namespace)
        except Exception as error:
            error.add_note(f"in cell {number} of {notebook}")
            raise
        if "parameters" in tags:
            namespace.update(parameters or {})
    return namespace


def _run(source: str, name: str, namespace: dict) -> None:
    """Execute a cell and print the value of a last expression, as a notebook shows it."""
    plain = "\n".join("" if line.startswith(("%", "!")) else line for line in source.splitlines())
    body = ast.parse(plain, name).body
    silent = plain.rstrip().endswith(";")
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), name, "exec"), namespace)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
        if value is not None and not silent:
            _display(value)


def _display(*values) -> None:
    for value in values:
        if not type(value).__module__.startswith("matplotlib"):
            print(value)


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 1 after a cell that failed."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.workflow.cells", description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    chosen = parser.parse_args(arguments)
    try:
        run_cells(chosen.notebook, {name: value_of(word) for name, word in chosen.p})
    except Exception as error:
        traceback.print_exc(limit=-3)
        print(f"{chosen.notebook}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
