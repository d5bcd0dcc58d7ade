"""What every committed notebook must keep."""

import ast
import json
from pathlib import Path

import pytest

from reidlib.workflow.parameters import assigned

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [("".join(c["source"]), c["metadata"].get("tags", []), c) for c in cells if c["cell_type"] == "code"]


def test_there_are_notebooks():
    assert {"triplet", "data", "metrics"} <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_one_parameters_cell_and_a_rule_for_each_parameter(path):
    cells = code_cells(path)
    assert not any(cell["outputs"] or cell["execution_count"] for _, _, cell in cells)
    (parameters,) = [source for source, tags, _ in cells if "parameters" in tags]
    calls = [
        node
        for source, _, _ in cells
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "check"
    ]
    assert len(calls) == 1
    assert {keyword.arg for keyword in calls[0].keywords} == assigned(parameters)
    assert all("#" in line or "=" not in line for line in parameters.splitlines()) or path.stem != "triplet"
