import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reidlib.results import records
from reidlib.results.records import RecordError, frame_of, load, load_all, new_record, save


def test_a_record_comes_back_as_it_was(make, tmp_path):
    record = make(mAP=55.5, R1=80.25, per_query={"ap_std": [0.5, 1.0], "rank": [3, 1]}, history={"loss": [1.0, 0.5]})
    target = save(record, tmp_path / "runs" / record.id, {"order.bin": b"12", "copy.txt": Path(__file__)})
    assert load(target) == record
    assert load(target).source == target
    assert (target / "order.bin").read_bytes() == b"12"
    assert (target / "copy.txt").read_text() == Path(__file__).read_text()
    assert sorted(p.name for p in target.parent.iterdir()) == [record.id]


def test_numbers_are_rounded_but_parameters_are_not(make, tmp_path):
    record = make(
        mAP=55.123456789,
        per_query={"ap_std": torch.tensor([1 / 3, 2 / 3]), "rank": np.array([1, 7])},
        history={"loss": [1 / 3, math.nan, math.inf], "step": np.int64(4)},
        parameters={"rate": 0.000123456789123, "root": Path("/data")},
        wall_s=1 / 3,
    )
    found = load(save(record, tmp_path / "a"))
    assert found.metrics == {"mAP": 55.1235}
    assert found.per_query == {"ap_std": [0.3333, 0.6667], "rank": [1, 7]}
    assert found.history == {"loss": [0.333333, None, None], "step": 4}
    assert found.parameters == {"rate": 0.000123456789123, "root": "/data"}
    assert found.wall_s == 0.333333


def test_what_json_cannot_hold_is_named(make, tmp_path):
    with pytest.raises(RecordError, match=r"cannot hold .* of type set"):
        save(make(extra={"cameras": {1, 2}}), tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_there_is_left_as_it_is(make, tmp_path):
    target = save(make(mAP=1.0), tmp_path / "a")
    before = (target / "record.json").read_bytes(), (target / "record.json").stat().st_mtime_ns
    assert save(make(mAP=2.0), tmp_path / "a", {"more": b""}) == target
    assert ((target / "record.json").read_bytes(), (target / "record.json").stat().st_mtime_ns) == before
    assert not (target / "more").exists()


def test_another_run_is_not_overwritten(make, tmp_path):
    save(make(seed=0), tmp_path / "a")
    with pytest.raises(RecordError, match="already holds the run triplet-triplet-0"):
        save(make(seed=1), tmp_path / "a")


def test_files_of_the_user_are_not_deleted(make, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RecordError, match=r"holds files but no record\.json"):
        save(make(), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_broken_record_and_an_empty_folder_are_replaced(make, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "record.json").write_text('{"schema": 1,')
    (tmp_path / "b").mkdir()
    for name in "ab":
        assert load(save(make(mAP=3.0), tmp_path / name)).metrics == {"mAP": 3.0}


@pytest.mark.parametrize("at", ["files", "record", "rename"])
def test_a_failure_leaves_nothing_behind(make, tmp_path, monkeypatch, at):
    def fail(*arguments):
        raise OSError("disk full")

    files = {"extra.bin": tmp_path / "does not exist"} if at == "files" else {}
    if at == "record":
        monkeypatch.setattr(records.os, "fsync", fail)
    if at == "rename":
        monkeypatch.setattr(records.os, "rename", fail)
    with pytest.raises(OSError):  # noqa: PT011  (which one depends on the case)
        save(make(), tmp_path / "runs" / "a", files)
    assert not list((tmp_path / "runs").iterdir())


def test_losing_a_race_to_the_same_run_is_fine(make, tmp_path, monkeypatch):
    rename = os.rename

    def late(source, target):
        other = tmp_path / "other"
        other.mkdir()
        (other / "record.json").write_text(records.to_json(make(mAP=9.0)))
        rename(other, target)
        rename(source, target)

    monkeypatch.setattr(records.os, "rename", late)
    assert load(save(make(mAP=1.0), tmp_path / "a")).metrics == {"mAP": 9.0}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


KILLED = """
import os, signal, sys
from reidlib.results import records
os.fsync = records.os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
records.save(records.Record("triplet", "x-0123456789ab", {}, 0, {}), sys.argv[1])
"""


def test_a_killed_writer_leaves_no_run_and_the_next_one_sweeps_up(make, tmp_path):
    target = tmp_path / "a"
    done = subprocess.run([sys.executable, "-c", KILLED, target], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    assert [p.name.startswith(".a.") for p in tmp_path.iterdir()] == [True]
    assert load_all(tmp_path) == []
    save(make(), target)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_living_writers_folder_is_not_swept(tmp_path):
    import socket

    partial = tmp_path / f".a.{socket.gethostname()}.{os.getpid()}.partial"
    partial.mkdir()
    elsewhere = tmp_path / ".a.another-machine.1.partial"
    elsewhere.mkdir()
    records.remove_partials(tmp_path)
    assert partial.exists()
    assert elsewhere.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 1,', "is broken .* run again"),
        ("[1, 2]", "no schema number"),
        ('{"experiment": "triplet"}', "no schema number"),
        ('{"schema": 99}', "newer reidlib .schema 99, this one reads up to 1.: update reidlib"),
        ('{"schema": 1, "experiment": "triplet"}', "lacks id, parameters, seed, metrics"),
        (
            '{"schema": 1, "experiment": "t", "id": "i", "parameters": [], "seed": 0, "metrics": {}}',
            "parameters must be a mapping",
        ),
    ],
)
def test_bad_records_say_what_is_wrong(tmp_path, text, message):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(RecordError, match=message):
        load(tmp_path)


def test_no_record_and_a_newer_one_are_told_apart_when_saving(make, tmp_path):
    with pytest.raises(RecordError, match=r"no record\.json in"):
        load(tmp_path / "nowhere")
    (tmp_path / "record.json").write_text('{"schema": 99}')
    with pytest.raises(RecordError, match="newer"):
        save(make(), tmp_path)


def test_a_field_of_later_is_passed_over(make, tmp_path):
    content = json.loads(records.to_json(make(mAP=1.0))) | {"mood": "good"}
    (tmp_path / "record.json").write_text(json.dumps(content))
    assert load(tmp_path).metrics == {"mAP": 1.0}


def test_load_all_reads_both_layouts_and_nothing_else(make, tmp_path):
    save(make(seed=1), tmp_path / "triplet" / "run")
    (tmp_path / "triplet" / "triplet-2-0123456789ab.json").write_text(records.to_json(make(seed=2)))
    (tmp_path / "triplet" / "notes.json").write_text("not a record")
    (tmp_path / "triplet" / ".triplet-3-0123456789ab.json").write_text("half-writ")
    assert sorted(record.seed for record in load_all(tmp_path)) == [1, 2]
    assert load_all(tmp_path / "nowhere") == []
    (tmp_path / "triplet" / "triplet-4-0123456789ab.json").write_text("half-writ")
    with pytest.raises(RecordError, match="is broken"):
        load_all(tmp_path)


@pytest.mark.parametrize("name", ["../escape", "a/b", "record.json", ""])
def test_files_beside_a_record_have_plain_names(make, tmp_path, name):
    with pytest.raises(RecordError, match="plain name"):
        save(make(), tmp_path / "a", {name: b""})


def test_frame_has_one_row_per_run(make):
    frame = frame_of([make("triplet", 0, mAP=50.0, R1=70.0), make("lossless", 1, mAP=40.0)])
    assert list(frame["arm"]) == ["triplet", "lossless"]
    assert list(frame["seed"]) == [0, 1]
    assert list(frame["mAP"]) == [50.0, 40.0]
    assert math.isnan(frame["R1"][1])
    assert list(frame["images_seen"]) == [350, 350]
    assert list(frame["device"]) == ["cpu", "cpu"]
    assert list(frame["threads"]) == [1, 1]
    assert frame_of([]).empty


def test_frame_keeps_a_parameter_apart_from_a_column_of_its_name(make):
    frame = frame_of([make(mAP=1.0, parameters={"device": "cuda:1", "arm": "triplet", "k": 8})])
    assert frame.loc[0, "device"] == "cpu"
    assert frame.loc[0, "parameter_device"] == "cuda:1"
    assert frame.loc[0, "parameter_arm"] == "triplet"
    assert frame.loc[0, "k"] == 8


def test_new_record_knows_where_it_ran():
    record = new_record(
        "triplet", {"loss": "triplet", "seed": 4}, 4, {"mAP": 1.0}, {"dataset": "d", "fingerprint": "f"}, arm="a"
    )
    assert record.id.startswith("triplet-")
    assert record.device == "cpu"
    assert record.threads == torch.get_num_threads()
    assert record.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert record.peak_memory_mib > 10
    assert set(record.code) == {"notebook", "modules"}
    assert record.created.endswith("+00:00")
    assert record.arm == "a"
