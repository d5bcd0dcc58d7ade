"""The recorded run for an accelerator, on the CPU and small."""

import os
import subprocess
import sys
from pathlib import Path

from reidlib.results import load_all
from reidlib.workflow import grid

ROOT = Path(__file__).parents[2]
SMALL = ["--device", "cpu", "--precision", "float32", "--dataset", "viper-like", "--height", "64", "--width", "32"]
SMALL += ["--backbone", "resnet-small", "--weights", "none", "--images-seen", "192", "--seeds", "2"]


def test_it_writes_records_keeps_to_its_time_and_prints_its_table_last(tmp_path):
    environment = {**os.environ, "REIDLIB_BUILD": str(tmp_path / "build"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, ROOT / "tools" / "recorded_run.py", *SMALL, "--out", tmp_path / "r", "--minutes", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    records = load_all(tmp_path / "r")
    assert records
    assert {r.arm for r in records} <= {arm for arm in grid.read("triplet").arms if arm.endswith("@paper")}
    assert f"{len(records)} records in" in done.stdout
    lines = done.stdout.rstrip().splitlines()
    assert "seed 1" in done.stdout.split("left out for time: ")[1]  # six seconds do not hold ten runs
    assert len(lines[-1].split()) >= 4
    assert lines[-1].split()[0] == list(dict.fromkeys(r.arm for r in sorted(records, key=lambda r: r.created)))[-1]
