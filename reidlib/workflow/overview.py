"""What has been run: done, pending and stale runs; and keeping the records of a full sweep."""

import json
import shutil
from pathlib import Path

from reidlib.workflow import grid, project


def overview() -> str:
    """Runs of every experiment as text: for each section what is done and pending, then runs that no section has."""
    lines = []
    for experiment in grid.experiments():
        one = grid.read(experiment)
        here = {path.parent.name for path in (project.runs() / experiment).glob("*/record.json")}
        lines.append(experiment)
        planned: set[str] = set()
        for section in one.sections:
            runs = grid.expand(one, section)
            planned |= {run.id for run in runs}
            waiting = [run for run in runs if run.id not in here]
            lines.append(f"  {section}: {len(runs) - len(waiting)} done, {len(waiting)} pending")
            lines += [f"    pending: {run.label}" for run in waiting[:20]]
            lines += [f"    ... and {len(waiting) - 20} more"] if len(waiting) > 20 else []
        lines += [f"  {line}" for line in _others(experiment, sorted(here - planned))]
    return "\n".join(lines) or f"there is no experiment yet in {project.relative(project.grids())}"


def _others(experiment: str, ids: list[str]) -> list[str]:
    """Runs outside the grid: stale where today's code would give them another id, a reader's own otherwise."""
    from reidlib.results.provenance import is_current
    from reidlib.results.records import RecordError, load

    lines = []
    for run_id in ids:
        folder = project.runs() / experiment / run_id
        try:
            state = "not in the grid" if is_current(load(folder)) else "stale (older than the code)"
        except (RecordError, ValueError, OSError) as error:
            state = f"unreadable ({error})"
        lines.append(f"{state}: {run_id}")
    return lines


def keep(experiment: str, section: str = "full") -> tuple[Path, int, int]:
    """Copy the records of a section's runs to book/recorded/<experiment>/; returns (folder, copied, missing).

    A copy takes the place of older ones of the same arm and seed on the same kind of device. The sheet of pictures of
    a run with seed 0 goes with it, as <id>.webp, but for runs that only choose settings: no page shows those.
    """
    from reidlib.results.sheets import SHEET

    name, section = grid.resolve(experiment, section)
    runs = grid.expand(grid.read(name), section)
    target = project.root() / "book" / "recorded" / name
    target.mkdir(parents=True, exist_ok=True)
    copied, older = 0, {}
    for path in target.glob("*.json"):
        older.setdefault(_place(path), []).append(path)
    for run in runs:
        source = project.record(name, run.id)
        if source.is_file():
            part = target / f".{run.id}.part"
            shutil.copyfile(source, part)
            for old in older.get(_place(source), []):
                old.unlink(missing_ok=True)
                old.with_suffix(".webp").unlink(missing_ok=True)
            sheet = source.with_name(SHEET)
            if run.seed == 0 and section != "tune" and sheet.is_file():
                shutil.copyfile(sheet, target / f"{run.id}.webp")
            part.replace(target / f"{run.id}.json")
            copied += 1
    return target, copied, len(runs) - copied


def _place(path: Path) -> tuple:
    """What a record is one of: a data set, an arm, a seed and a kind of device."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content.get("data", {}).get("dataset"), *(content.get(name) for name in ("arm", "seed", "device"))
