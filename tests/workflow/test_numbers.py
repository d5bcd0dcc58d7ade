"""The files that the prose pages read, from a few records made here."""

import csv
import json

import pytest

from reidlib import results
from reidlib.workflow import numbers, project


def made(arm, seed, map_, **more):
    parameters = {"loss": "triplet", "seed": seed}
    metrics = {"mAP": map_, "R1": map_ + 10}
    data = {"dataset": "market-like", "fingerprint": "f"}
    return results.new_record("triplet", parameters, seed, metrics, data, arm=arm, wall_s=20.0, **more)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "numbers", lambda: tmp_path)
    monkeypatch.setattr(numbers, "_contact_sheet", lambda path: None)
    return tmp_path


def write(folder, monkeypatch, recorded, built=()):
    found = {"recorded": list(recorded), "this build": list(built)}
    monkeypatch.setattr(numbers.grid, "experiments", lambda: ["triplet"])
    monkeypatch.setattr(results, "available", lambda name: found)
    monkeypatch.setattr(results, "agreement", lambda name: [(b, r) for b, r in zip(built, recorded, strict=False)])
    numbers.main()
    tables = {path.stem: list(csv.reader(path.read_text().splitlines())) for path in folder.glob("*.csv")}
    return json.loads((folder / "numbers.json").read_text()), tables, (folder / "findings.txt").read_text()


def test_verdicts_findings_and_sentences(folder, monkeypatch):
    arms = {"triplet@paper": 50.0, "mildnet@paper": 30.0}
    records = [made(arm, seed, map_ + seed / 10) for arm, map_ in arms.items() for seed in range(3)]
    records += [made("tune-triplet-0.1", 0, 99.0)]
    sentences, tables, findings = write(folder, monkeypatch, records)
    verdicts = {row[0]: row[2].split(":")[0] for row in tables["claims"][1:]}
    assert len(verdicts) == 61
    assert verdicts["P1-C1"] == "✓ reproduced"
    assert verdicts["P0-C1"] == "not run"
    assert "1 reproduced (P1-C1)" in findings
    assert findings.strip() == sentences["findings_sentence"]
    assert "6 runs (recorded), 2 arms, 3 seeds" in sentences["runs_sentence"]
    assert sentences["data_sentence"] == "Drawn pedestrians, preset market-like."
    assert [row[:3] for row in tables["records"][1:]] == [
        ["triplet", "6", "recorded"],
        ["triplet (choosing settings)", "1", "recorded"],
    ]
    assert sum(int(row[2]) for row in tables["papers"][1:]) == 61


def test_agreement_with_recorded_runs_is_marked(folder, monkeypatch):
    recorded = [made("triplet", 0, 50.0), made("triplet", 1, 51.0)]
    built = [made("triplet", 0, 50.0), made("triplet", 1, 51.5)]
    _, tables, _ = write(folder, monkeypatch, recorded, built)
    assert [(row[3], row[4], row[5][0]) for row in tables["agreement"][1:]] == [
        ("50.00", "50.00", "✓"),
        ("51.50", "51.00", "✗"),
    ]


def test_without_any_run_the_pages_still_have_tables(folder, monkeypatch):
    sentences, tables, findings = write(folder, monkeypatch, [])
    assert tables["records"][1][0] == "none yet"
    assert sentences["runs_sentence"] == "No run has been made yet."
    assert "No claim has been tested" in findings
