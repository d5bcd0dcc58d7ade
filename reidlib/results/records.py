"""Run records: what was run, on what, and what came out, as one JSON file in a directory of its own."""

import dataclasses
import datetime
import glob
import json
import math
import os
import re
import shutil
import socket
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

SCHEMA = 1
FILE = "record.json"


class RecordError(ValueError):
    """A record that cannot be read or written; the message says which, why and what to do."""


@dataclass
class Record:
    """One finished run.

    metrics are in percent; per_query holds lists over the kept queries (`ap_std`, `ap_trap` in 0..1, `rank` from 1);
    history `{name: list}`; extra whatever a chapter needs; wall_s seconds; peak_memory_mib MiB; data
    `{dataset, fingerprint, ...}`; code the hashes behind the id; created UTC, ISO 8601.
    `source` is the directory that it was read from, and is not stored.
    """

    experiment: str
    id: str
    parameters: dict
    seed: int
    metrics: dict
    arm: str | None = None
    ap_definition: str = "std"
    per_query: dict = field(default_factory=dict)
    history: dict = field(default_factory=dict)
    extra: dict = field(default_factory=dict)
    wall_s: float | None = None
    peak_memory_mib: float | None = None
    device: str = ""
    machine: str = ""
    cores: int | None = None
    threads: int | None = None
    versions: dict = field(default_factory=dict)
    git_commit: str | None = None
    git_dirty: bool | None = None
    code: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    created: str = ""
    schema: int = SCHEMA
    source: Path | None = field(default=None, compare=False, repr=False)


def new_record(experiment, parameters, seed, metrics, data, device="cpu", **fields):
    """A Record with its id and all provenance filled in: environment, versions, git state, memory, time.

    parameters: the effective parameters of the run; data: a mapping with at least `dataset` and `fingerprint`;
    fields: further Record fields (arm, per_query, history, extra, wall_s, ap_definition).
    """
    from reidlib.results import machine, provenance

    data = dict(data)
    filled = {
        "id": provenance.run_id(experiment, parameters, data.get("fingerprint")),
        "code": provenance.code_identity(experiment),
        "versions": machine.versions(),
        "peak_memory_mib": machine.peak_memory_mib(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **machine.environment(device),
        **machine.git_state(),
    }
    given = {"experiment": experiment, "parameters": dict(parameters), "seed": seed, "metrics": metrics, "data": data}
    return Record(**{**filled, **given, **fields})


def run_directory(experiment, run_id, out=None):
    """Where a run's record lies: `out`/experiment/id, by default below the build folder's `runs`."""
    from reidlib.results import provenance

    runs = provenance.build_dir() / "runs" if out is None else Path(out)
    return runs / experiment / run_id


def save(record, directory, files=types.MappingProxyType({})):
    """Write a record (and files beside it) to `directory`, all or nothing, and return the directory.

    files: `{name: bytes or path of a file to copy}`. Everything is written to a temporary folder beside the target,
    which is then renamed. A directory that already holds the same run is left as it is. Raises RecordError where
    the directory holds another run, a newer record or files that are no record.
    """
    directory = Path(directory)
    names = [name for name in files if Path(name).name != name or name in ("", FILE)]
    if names:
        raise RecordError(f"file name {names[0]!r} beside a record must be a plain name other than {FILE}")
    if _holds(directory, record):
        return directory
    text = to_json(record)
    directory.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(directory.parent, directory.name)
    partial = directory.parent / f".{directory.name}.{socket.gethostname()}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        for name, content in files.items():
            if isinstance(content, bytes):
                (partial / name).write_bytes(content)
            else:
                shutil.copyfile(content, partial / name)
        with open(partial / FILE, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if directory.exists() and any(directory.iterdir()):  # a broken record of ours: _holds refused all else
            shutil.rmtree(directory)
        try:
            os.rename(partial, directory)
        except OSError:
            if not _holds(directory, record):  # else another process finished the same run first
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def _holds(directory, record):
    """True if `directory` holds this very run already; False if it may be written; RecordError otherwise."""
    if not directory.exists() or not any(directory.iterdir()):
        return False
    if not (directory / FILE).exists():
        raise RecordError(f"{directory} holds files but no {FILE}: give another directory or empty this one")
    try:
        found = load(directory)
    except NewerRecord:
        raise
    except RecordError:
        return False
    if found.id != record.id:
        raise RecordError(f"{directory} already holds the run {found.id}, not {record.id}: give another directory")
    return True


def remove_partials(folder, name=None):
    """Delete what killed runs of this machine left half-written in `folder` (of one target, or of all)."""
    host = socket.gethostname()
    for partial in Path(folder).glob(f".{glob.escape(name) if name else '*'}.*.partial"):
        owner, _, pid = partial.name.removesuffix(".partial").rpartition(".")
        if owner.endswith(f".{host}") and pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(partial, ignore_errors=True)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class NewerRecord(RecordError):
    """A record written by a newer reidlib."""


def load(directory):
    """Read the record of a run's directory, or of a JSON file by itself. Raises RecordError, NewerRecord."""
    path = Path(directory)
    path = path if path.suffix == ".json" and not path.is_dir() else path / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"no {path.name} in {path.parent}: this is not the directory of a finished run") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is broken ({error}): delete its directory and run again") from None
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise RecordError(f"{path} is no run record (it has no schema number): delete its directory and run again")
    if content["schema"] > SCHEMA:
        raise NewerRecord(
            f"{path} was written by a newer reidlib (schema {content['schema']}, this one reads up to {SCHEMA}): "
            "update reidlib"
        )
    known = {f.name: f for f in dataclasses.fields(Record) if f.name != "source"}
    required = [name for name, f in known.items() if f.default is f.default_factory is dataclasses.MISSING]
    missing = [name for name in required if name not in content]
    if missing:
        raise RecordError(f"{path} lacks {', '.join(missing)}: delete its directory and run again")
    for name in ("parameters", "metrics", "per_query", "history", "extra", "data"):
        if not isinstance(content.get(name, {}), dict):
            raise RecordError(f"{path}: {name} must be a mapping: delete its directory and run again")
    return Record(**{name: value for name, value in content.items() if name in known}, source=path.parent)


def load_all(*directories):
    """Every record below the given directories, sorted by path.

    Both layouts are read: `<id>/record.json` of a run's directory and a single file `<id>.json`. Hidden files and
    folders (half-written runs) and other JSON files are passed over; a broken record raises RecordError.
    """
    records = []
    for directory in map(Path, directories):
        for path in sorted(directory.rglob("*.json")):
            hidden = any(part.startswith(".") for part in path.relative_to(directory).parts)
            if not hidden and (path.name == FILE or re.search(r"-[0-9a-f]{12}$", path.stem)):
                records.append(load(path))
    return records


def to_json(record):
    """The record as JSON text: floats rounded, tensors and arrays as lists, nan and infinity as null."""
    content = {f.name: getattr(record, f.name) for f in dataclasses.fields(record) if f.name != "source"}
    for name, value in content.items():
        if name == "parameters":
            content[name] = plain(value)
        elif name in ("metrics", "per_query"):
            content[name] = plain(value, lambda number: round(number, 4))
        else:
            content[name] = plain(value, lambda number: float(f"{number:.6g}"))
    lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"  # a line per field: small, and readable in a diff


def plain(value, rounded=float):
    """`value` with JSON types only; floats pass through `rounded`. Raises RecordError for what JSON cannot hold."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item, rounded) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic | np.ndarray) or hasattr(value, "tolist"):  # a tensor too
        return plain(value.tolist(), rounded)
    if isinstance(value, list | tuple):
        return [plain(item, rounded) for item in value]
    raise RecordError(f"a record cannot hold {value!r} of type {type(value).__name__}: store numbers, texts or lists")


def frame_of(records):
    """One row per run: experiment, id, arm, seed, the parameters, the metrics, and what it ran on.

    A parameter whose name is taken by another column (`device`, a metric) appears as `parameter_<name>`.
    """
    rows = []
    for record in records:
        row = {"experiment": record.experiment, "id": record.id, "arm": record.arm, "seed": record.seed}
        after = {
            **record.metrics,
            "ap_definition": record.ap_definition,
            "data": record.data.get("dataset"),
            "device": record.device,
            "machine": record.machine,
            "threads": record.threads,
            "wall_s": record.wall_s,
            "peak_memory_mib": record.peak_memory_mib,
            "created": record.created,
        }
        for name, value in record.parameters.items():
            if name != "seed":
                row[f"parameter_{name}" if name in after or name in row else name] = value
        rows.append({**row, **after})
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["experiment", "id", "arm", "seed"])
