"""Tables and bars of measured speed: hand-made records, and the book's own."""

import importlib
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from reidlib.results import speed
from reidlib.results.records import RecordError


def way(name, seconds, source="elsewhere 1.0", mib=0.0, tiny_ms=(1.0,)):
    return {"name": name, "source": source, "peer": False, "seconds": seconds, "extra_mib": mib, "tiny_ms": tiny_ms}


def record(case="sums", setting="one", ways=None, **more):
    ways = ways or [
        way("reidlib", [1.0, 2.0, 4.0], "reidlib", 50.0, [0.5, 0.7, 0.6]),
        way("slow", [20.0, 20.0, 28.0], mib=900.0, tiny_ms=[0.1, 0.3, 0.2]),
        way("reading", [0.5, 0.25, 0.5]),
    ]
    given = {"schema": 1, "case": case, "title": "Sums", "size": "1,000 numbers", "threads": 1, "setting": setting}
    given |= {"ways": ways, "floor": "reading", "machine": "a processor", "cores": 2, "versions": {}, "created": "2026"}
    return given | more


def write(folder, *records):
    for some in records:
        (folder / f"{some['case']}-{some['setting']}.json").write_text(json.dumps(some))
    return folder


def test_ratio_is_of_medians_and_spread_of_rounds():
    some = record()
    assert speed.ratio(some, some["ways"][1]) == (10.0, 7.0, 20.0)
    fewer = way("slow", [30.0])  # its only round ran beside our first, and the medians give less
    assert speed.ratio(some, fewer) == (15.0, 15.0, 30.0)


def test_tables_by_hand(tmp_path):
    records = speed.load(write(tmp_path, record(at_least=12, at_most_mib=40, limit="memory"), record(setting="all")))
    (row,) = speed.against(records, "one").to_dict("records")
    assert (row["against"], row["ratio"], row["reidlib ms"], row["other ms"]) == ("slow", 10.0, 2000.0, 20_000.0)
    assert (row["aim"], row["first"]) == (12, True)
    assert speed.against(records, "all")["aim"].isna().all()  # aims are about one thread
    (cost,) = speed.costs(records).to_dict("records")
    assert (cost["times the floor"], cost["reidlib MiB"], cost["other MiB"]) == (4.0, 50.0, 900.0)
    (little,) = speed.tiny(records).to_dict("records")
    assert little["longer by ms"] == pytest.approx(0.4)
    assert speed.unmet(records) == [
        "Sums (1,000 numbers): 10.0 times, aimed at 12.",
        "Sums (1,000 numbers): 50 MiB beyond the input, aimed at 40 at most.",
    ]
    assert speed.unmet([record(at_least=10, at_most_mib=50)]) == []


def test_a_limit_of_time_holds_for_each_of_ours():
    ways = [
        way("one sampler", [0.001], "reidlib"),
        way("theirs", [0.010]),
        way("another sampler", [0.004], "reidlib"),
    ]
    records = [record(ways=ways, floor=None, at_most_ms=2)]
    assert speed.times(records, "sums")["ms"].tolist() == [1, 10, 4]
    assert speed.unmet(records) == ["Sums (1,000 numbers), another sampler: 4.0 ms, aimed at 2."]
    assert np.isnan(speed.costs(records)["times the floor"][0])
    assert speed.against(records, "one")["against"].tolist() == ["theirs"]


def test_bad_folders_and_files_are_named(tmp_path):
    with pytest.raises(RecordError, match="no records of `make bench`"):
        speed.load(tmp_path)
    with pytest.raises(RecordError, match="no records of `make bench`"):
        speed.load(tmp_path / "missing")
    path = tmp_path / "some-one.json"
    for text, words in (
        ("{", "is broken"),
        ("[]", "no schema"),
        ('{"schema": 1}', "no case"),
        (json.dumps(record(schema=2)), "schema 2, not 1"),
    ):
        path.write_text(text)
        with pytest.raises(RecordError, match=words):
            speed.load(tmp_path)


def test_bars_show_each_row_with_its_aim():
    figure = speed.bars(speed.against([record(at_least=12), record("more", ways=record()["ways"])], "one"))
    axis = figure.axes[0]
    assert [bar.get_width() for bar in axis.patches] == [10, 10]
    assert sum(line.get_linestyle() == ":" for line in axis.lines) == 1
    assert sum("Sums, 1,000 numbers, against slow" in text.get_text() for text in axis.texts) == 2
    plt.close(figure)


def benchmarks():
    """Cases of all files in tests/benchmarks, by name."""
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    sys.path.insert(0, str(folder))
    try:
        names = [path.stem for path in folder.glob("bench_*.py") if "side_by_side" in path.read_text()]
        return {case.name: case for name in names for case in importlib.import_module(name).CASES}
    finally:
        sys.path.remove(str(folder))


def test_the_book_has_a_record_of_every_case_as_it_is_now():
    cases, records = benchmarks(), speed.load()
    wanted = {(name, setting) for name, case in cases.items() for setting in case.threads}
    assert {(some["case"], some["setting"]) for some in records} == wanted
    for some in records:
        case = cases[some["case"]]
        assert (some["title"], some["size"], some["floor"]) == (case.title, case.size, case.floor)
        assert [(way["name"], way["source"]) for way in some["ways"]] == [(way.name, way.source) for way in case.ways]
        aims = some["at_least"], some["at_most_ms"], some["at_most_mib"], some["limit"]
        assert aims == (case.at_least, case.at_most_ms, case.at_most_mib, case.limit)
    assert len({(some["machine"], some["cores"]) for some in records}) == 1  # the page says one machine


def test_a_folder_with_one_record_makes_every_table(tmp_path):
    records = speed.load(write(tmp_path, record(setting="all")))
    for table in (speed.against(records, "one"), speed.costs(records), speed.tiny(records), speed.differences(records)):
        assert table.empty
        assert "what" in table
    assert speed.times(records, "sums").empty
    assert speed.unmet(records) == []
    assert len(speed.machines(records)) == 1


def test_machines_and_differences_by_hand():
    first = record(differences={"sum": 0.00012345}, created="2026-03-01T10:00:00+00:00", versions={"torch": "2"})
    last = record("more", "all", created="2026-03-01T11:30:00+00:00", versions={"torch": "2"})
    (row,) = speed.machines([last, first]).to_dict("records")
    assert row["measured (UTC)"] == "2026-03-01 10:00 to 2026-03-01 11:30"
    assert (row["records"], row["versions"], row["cores"]) == (2, "torch 2", 2)
    (found,) = speed.differences([last, first]).to_dict("records")
    assert (found["case"], found["found"]) == ("sums", "sum 0.000123")
