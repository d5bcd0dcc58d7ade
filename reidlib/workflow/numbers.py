"""What the prose pages read: sentences, tables and one picture, all from run records and the papers' tables.

Written to the folder `project.numbers()`: numbers.json ({{ name }} in a page), CSV tables, contact-sheet.png, and
findings.txt, which the build prints at its end.
"""

import csv
import io
import json
import os
from collections import Counter

import matplotlib

from reidlib import figures, results
from reidlib.data.drawn import source_hash
from reidlib.results.runs import dataset_of
from reidlib.results.verdicts import STATUSES
from reidlib.workflow import grid, project

SIGNS = {"reproduced": "✓ ", "contradicted": "✗ "}


def main(arguments: list[str] | None = None) -> None:
    """Write everything; each file is replaced whole."""
    folder = project.numbers()
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: results.available(name) for name in grid.experiments()}
    shown = {name: [r for r in results.largest(sources) if not _tuning(r)] for name, sources in found.items()}
    claims = _claims(shown)
    _table(folder / "papers.csv", ["id", "paper", "claims", "verdicts so far"], _papers(claims))
    rows = [(c["id"], c["claim"], *(_said(c, kind) for kind in ("", "_chosen"))) for c in claims]
    _table(folder / "claims.csv", ["id", "claim", "at the paper's stated settings", "at chosen settings"], rows)
    _table(folder / "build.csv", ["what", "value"], _build())
    _table(folder / "packages.csv", ["package", "version"], sorted(results.versions().items()))
    header = ["experiment", "runs", "where", "data", "seeds", "device", "threads", "seconds a run", "code"]
    _table(folder / "records.csv", header, _records(found))
    _table(folder / "agreement.csv", ["data set", "arm", "seed", "mAP now", "mAP recorded", "same"], _agreement(found))
    _contact_sheet(folder / "contact-sheet.png")
    findings = _findings(claims)
    _write(folder / "findings.txt", "".join(f"{line}\n" for line in findings).encode())
    sentences = {
        "findings_sentence": " ".join(findings),
        "data_sentence": _data(shown),
        "machine_sentence": _machine(shown),
        "runs_sentence": _runs(found, shown),
    }
    _write(folder / "numbers.json", json.dumps(sentences, indent=1, ensure_ascii=False).encode())


def _tuning(record) -> bool:
    return str(record.arm).startswith("tune-")


def _claims(shown: dict) -> list[dict]:
    records = [record for group in shown.values() for record in group]
    return [
        row
        for paper in results.tables.papers()
        for row in results.claims.table(paper["id"], records).to_dict("records")
    ]


def _said(claim: dict, kind: str) -> str:
    verdict = claim[f"verdict{kind}"]
    return f"{SIGNS.get(verdict, '')}{verdict}: {claim[f'why{kind}']}"


def _papers(claims: list[dict]) -> list[tuple]:
    rows = []
    for paper in results.tables.papers():
        counts = Counter(c["verdict"] for c in claims if c["id"].startswith(paper["id"]))
        verdicts = ", ".join(f"{SIGNS.get(v, '')}{counts[v]} {v}" for v in STATUSES if counts[v])
        year = f", {paper['year']}" if paper.get("year") else ""
        rows.append(
            (paper["id"], f"{paper['title']} ({_authors(paper['authors'])}{year})", sum(counts.values()), verdicts)
        )
    return rows


def _authors(authors) -> str:
    names = [authors] if isinstance(authors, str) else list(authors)
    return names[0] if len(names) == 1 else f"{names[0]} and others"


def _findings(claims: list[dict]) -> list[str]:
    """One sentence a paper that has runs: how many claims hold, and which do not."""
    lines = []
    for paper in results.tables.papers():
        own = [c for c in claims if c["id"].startswith(paper["id"]) and c["verdict"] != "not run"]
        if not any(c["n"] for c in own):  # only claims that need no run, such as one about printed numbers
            continue
        groups = {v: [c["id"] for c in own if c["verdict"] == v] for v in STATUSES}
        parts = [f"{len(ids)} {verdict} ({', '.join(ids)})" for verdict, ids in groups.items() if ids]
        lines.append(f"{paper['id']}, {paper['short']}, at the paper's stated settings: {'; '.join(parts)}.")
    return lines or ["No claim has been tested by enough runs yet."]


def _build() -> list[tuple]:
    state, here = results.git_state(), results.environment()
    commit = state["git_commit"] or "not a git checkout"
    return [
        ("section of the grids", project.section()),
        ("commit", commit + (" with changes that are not committed" if state["git_dirty"] else "")),
        ("processor", f"{here['machine']}, {here['cores']} cores, {here['threads']} thread a run"),
    ]


def _records(found: dict) -> list[tuple]:
    rows = []
    for experiment, sources in found.items():
        for source, records in sources.items():
            for tuning in (False, True):
                group = [r for r in records if _tuning(r) == tuning]
                if group:
                    rows.append(_summary(experiment + (" (choosing settings)" if tuning else ""), source, group))
    return rows


def _summary(experiment: str, source: str, records: list) -> tuple:
    def values(name):
        return ", ".join(sorted({str(getattr(r, name)) for r in records}))

    old = sum(not results.is_current(r) for r in records)
    seconds = sorted(r.wall_s for r in records if r.wall_s)
    datasets = sorted({r.data.get("dataset", "?") for r in records})
    return (
        experiment,
        len(records),
        source,
        ", ".join(datasets),
        values("seed"),
        f"{values('device')} ({values('machine')})",
        values("threads"),
        f"{seconds[len(seconds) // 2]:.0f}" if seconds else "",
        f"{old} older than the code" if old else "as it is now",
    )


def _agreement(found: dict) -> list[tuple]:
    rows = []
    for experiment in found:
        for live, recorded in results.agreement(experiment):
            same = all(abs(live.metrics[m] - recorded.metrics.get(m, float("nan"))) < 1e-3 for m in live.metrics)
            mark = "✓ yes" if same else f"✗ no ({live.machine} against {recorded.machine})"
            scores = (f"{record.metrics['mAP']:.2f}" for record in (live, recorded))
            rows.append((dataset_of(live), live.arm, live.seed, *scores, mark))
    return rows


def _data(shown: dict) -> str:
    records = [record for group in shown.values() for record in group]
    names = sorted({r.data.get("dataset", "?") for r in records})
    if not names:
        return "No run has been made yet."
    drawn = all(name.endswith("-like") for name in names)
    return f"{'Drawn pedestrians, preset' if drawn else 'Data set'} {', '.join(names)}."


def _machine(shown: dict) -> str:
    records = [record for group in shown.values() for record in group]
    kinds = Counter((r.device, r.machine, r.threads) for r in records)
    return "; ".join(
        f"{_count(count, 'run')} on {device.upper()} ({machine}), {_count(threads, 'thread')} each"
        for (device, machine, threads), count in kinds.items()
    ) + ("." if kinds else "None yet.")


def _runs(found: dict, shown: dict) -> str:
    parts = []
    for experiment, records in shown.items():
        source = next((s for s, group in found[experiment].items() if records and records[0] in group), "none")
        arms, seeds = {r.arm for r in records}, {r.seed for r in records}
        if records:
            counts = f"{len(records)} runs ({source}), {len(arms)} arms, {_count(len(seeds), 'seed')}"
            parts.append(f"{experiment}: {counts}")
    return ("Tables and verdicts rest on " + "; ".join(parts) + ".") if parts else "No run has been made yet."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _contact_sheet(path) -> None:
    """Twelve people of the market-like preset, two a row, each camera once."""
    key, drawing = path.with_suffix(".key"), source_hash()
    if path.exists() and key.exists() and key.read_text() == drawing:
        return
    matplotlib.use("Agg")
    _, people, _ = figures.drawn("market-like", lambda frame: figures.by_camera(frame, 12, 6))
    buffer = io.BytesIO()
    figures.grid([left + right for left, right in zip(people[::2], people[1::2], strict=True)]).savefig(buffer, dpi=110)
    _write(path, buffer.getvalue())
    _write(key, drawing.encode())


def _table(path, header: list[str], rows: list[tuple]) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    with open(part, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *(rows or [("none yet", *[""] * (len(header) - 1))])])
    os.replace(part, path)


def _write(path, content: bytes) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)


if __name__ == "__main__":
    main()
