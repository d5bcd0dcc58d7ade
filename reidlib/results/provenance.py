"""Where a number comes from: the hash of the code and the id of the run.

A run's id hashes its parameters, the code cells of its notebook, every definition of `reidlib` that these cells reach
(transitively) and the fingerprint of the data. So an id says whether a stored run is still what the code would do.
"""

import ast
import functools
import hashlib
import json
import os
import re
from pathlib import Path

import reidlib
from reidlib.results.closure import reached
from reidlib.source import code_digest

PACKAGE = Path(reidlib.__file__).resolve().parent
# Modules that store, read or show finished runs, or start them: no number depends on them, so they are not hashed.
NOT_HASHED = ("reidlib.results", "reidlib.workflow", "reidlib.explore", "reidlib.figures")
NO_NOTEBOOK = "no notebook: installed without the repository"
SKIPPED_TAGS = {"page", "parameters", "record"}
EXCLUDED_PARAMETERS = {"out"}


def repository():
    """The folder that holds pyproject.toml and notebooks/ right above reidlib, or None when installed without it."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def build_dir():
    """Where runs and built pages go: $REIDLIB_BUILD, else build/ of the repository, else ~/.cache/reidlib."""
    if os.environ.get("REIDLIB_BUILD"):
        return Path(os.environ["REIDLIB_BUILD"]).expanduser().absolute()
    root = repository()
    return root / "build" if root else Path.home() / ".cache" / "reidlib"


def notebook_path(experiment):
    """The notebook of an experiment, or None when reidlib is installed without the repository or it has none."""
    root = repository()
    path = root / "notebooks" / f"{experiment}.ipynb" if root else None
    return path if path and path.is_file() else None


# ---------------------------------------------------------------- hashes of code


def module_hash(names=(), code="", root=PACKAGE, leave_out=NOT_HASHED):
    """Hash (16 hex digits) of the package's definitions that `names` and the Python source `code` reach, transitively.

    See reidlib.results.closure: of the modules in `names` all definitions count, of others those that are used.
    Modules under a name in `leave_out` are neither hashed nor followed. root: the package's folder. Raises ValueError
    for a name in `names` that does not exist.
    """
    names = [names] if isinstance(names, str) else names
    lines = [f"{module} {name} {digest}\n" for (module, name), digest in reached(names, code, root, leave_out).items()]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]


def code_cells(path):
    """Source of a notebook's code cells that decide its numbers: those without a tag of SKIPPED_TAGS."""
    return [source for source, tags in _cells(path) if not tags & SKIPPED_TAGS]


def code_hash(path):
    """Hash (16 hex digits) over code_cells: outputs, markdown, comments, and cells that are skipped do not count.

    Raises ValueError for a cell that is no Python.
    """
    return hashlib.sha256("".join(map(_cell_digest, _python_cells(path))).encode()).hexdigest()[:16]


_cell_digest = functools.lru_cache(maxsize=1024)(code_digest)  # a build asks for the ids of hundreds of runs


def _python_cells(path):
    """code_cells without magics. Raises ValueError for a cell that is no Python."""
    cells = [_without_magics(source) for source in code_cells(path)]
    for number, source in enumerate(cells, 1):
        try:
            _cell_digest(source)
        except SyntaxError as error:
            raise ValueError(f"{path}: code cell {number} is no valid Python ({error})") from None
    return cells


def default_parameters(path):
    """`{name: value}` of the assignments in a notebook's `parameters` cell; only plain literals are read."""
    defaults = {}
    for source, tags in _cells(path):
        if "parameters" in tags:
            for node in ast.parse(_without_magics(source)).body:
                target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
                if isinstance(target, ast.Name) and node.value is not None:
                    try:
                        defaults[target.id] = ast.literal_eval(node.value)
                    except ValueError:
                        raise ValueError(f"{path}: the default of parameter {target.id!r} must be a literal") from None
    return defaults


def _cells(path):
    path = Path(path)
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no notebook ({error!r})") from None
    return [
        ("".join(cell["source"]), set(cell.get("metadata", {}).get("tags", [])))
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def _without_magics(source):
    return re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source)


def code_identity(experiment):
    """`{"notebook": hash, "modules": hash}` of an experiment as the code is now.

    Without the notebook the first is a sentence that says so, and the second covers the whole package.
    """
    path = notebook_path(experiment)
    if path is None:
        files = [file.relative_to(PACKAGE.parent).with_suffix("") for file in PACKAGE.rglob("*.py")]
        modules = [".".join(file.parts).removesuffix(".__init__") for file in files]
        return {"notebook": NO_NOTEBOOK, "modules": module_hash(modules)}
    return {"notebook": code_hash(path), "modules": module_hash(code="\n".join(_python_cells(path)))}


# ---------------------------------------------------------------- run ids


def run_id(experiment, parameters, data_fingerprint=None):
    """`experiment-readable-slug-<12 hex digits>` of a run; the same for the same run, here or on another machine.

    Parameters that are not given take the defaults of the notebook's `parameters` cell; `out` does not count. The
    slug names the parameters that differ from the defaults. The hash covers the parameters, the notebook's code, the
    definitions that it reaches and data_fingerprint.
    """
    full, defaults = effective_parameters(experiment, parameters)
    content = {"experiment": experiment, "parameters": full, "data": data_fingerprint, **code_identity(experiment)}
    text = json.dumps(content, sort_keys=True)
    return f"{_slug(experiment, full, defaults)}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def effective_parameters(experiment, parameters):
    """(all parameters that decide a run, the notebook's defaults): given values over the defaults, without `out`.

    Types follow the default, so that 1 and 1.0, given for a float, are the same run.
    """
    from reidlib.results.records import plain

    path = notebook_path(experiment)
    defaults = plain(default_parameters(path)) if path else {}
    full = defaults | plain(dict(parameters))
    for name, value in full.items():
        if isinstance(defaults.get(name), float) and type(value) is int:
            full[name] = float(value)
    return {name: value for name, value in full.items() if name not in EXCLUDED_PARAMETERS}, defaults


def _slug(experiment, full, defaults, longest=60):
    """Parameters that differ from the defaults: texts by value, others by name and value; the seed last."""
    words = []
    for name, value in full.items():
        if name == "seed" or value is None or (name in defaults and defaults[name] == value):
            continue
        if isinstance(value, str):
            words.append(Path(value).name if "/" in value else value)
        elif isinstance(value, bool):
            words.append(name if value else f"no-{name}")
        else:
            words.append(f"{name}-{value}")
    slug = re.sub(r"[^a-z0-9.]+", "-", "-".join([experiment, *words]).lower()).strip("-.")[:longest].rstrip("-.")
    return f"{slug}-seed-{full['seed']}" if "seed" in full else slug


def is_current(record):
    """Would today's code, given the record's parameters, give it the same id? Else it is older than the code."""
    return any(run_id(record.experiment, record.parameters, data) == record.id for data in {_fingerprint(record), None})


def _fingerprint(record):
    """The fingerprint that the record's data has today: drawn data follows the drawing code, files are as they were."""
    kept, given = record.data.get("fingerprint"), record.parameters
    if not str(given.get("dataset")).endswith("-like") or not {"height", "width"} <= set(given):
        return kept
    return _drawn(given["dataset"], (given["height"], given["width"]), given.get("data_seed", 0))


@functools.lru_cache(maxsize=256)
def _drawn(dataset, size, data_seed):
    """Fingerprint of a drawn data set; it hashes the drawing code, which is read once in a process."""
    from reidlib.data import fingerprint

    return fingerprint(dataset, size=size, data_seed=data_seed)
