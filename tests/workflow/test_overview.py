"""Keeping the records of a sweep."""

import json
from types import SimpleNamespace

from reidlib.workflow import overview


def test_a_kept_record_replaces_older_ones_of_its_arm_seed_and_device_only(tmp_path, monkeypatch):
    def record(path, **content):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

    recorded = tmp_path / "book" / "recorded" / "e"
    record(recorded / "old-a0.json", arm="a", seed=0, device="cpu")
    record(recorded / "gpu-a0.json", arm="a", seed=0, device="cuda")
    record(recorded / "old-a1.json", arm="a", seed=1, device="cpu")
    record(recorded / "old-b0.json", arm="b", seed=0, device="cpu")
    record(tmp_path / "runs" / "new-a0" / "record.json", arm="a", seed=0, device="cpu", new=True)
    runs = [SimpleNamespace(id="new-a0", seed=0), SimpleNamespace(id="never-run", seed=0)]
    monkeypatch.setattr(overview.project, "root", lambda: tmp_path)
    monkeypatch.setattr(overview.project, "record", lambda name, i: tmp_path / "runs" / i / "record.json")
    monkeypatch.setattr(overview.grid, "resolve", lambda experiment, section: (experiment, section))
    monkeypatch.setattr(overview.grid, "read", lambda name: None)
    monkeypatch.setattr(overview.grid, "expand", lambda one, section: runs)
    for _ in range(2):  # again: nothing changes
        assert overview.keep("e") == (recorded, 1, 1)
        names = {path.name for path in recorded.iterdir()}
        assert names == {"new-a0.json", "gpu-a0.json", "old-a1.json", "old-b0.json"}


def test_the_sheet_of_seed_0_is_kept_and_an_older_one_goes(tmp_path, monkeypatch):
    recorded = tmp_path / "book" / "recorded" / "e"
    recorded.mkdir(parents=True)
    for name, seed in {"old": 0, "other": 1}.items():
        (recorded / f"{name}.json").write_text(json.dumps({"arm": "a", "seed": seed, "device": "cpu"}))
        (recorded / f"{name}.webp").write_bytes(b"before")
    for name, seed in {"new-0": 0, "new-1": 1, "bare-0": 0}.items():
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        arm = "b" if name == "bare-0" else "a"
        (folder / "record.json").write_text(json.dumps({"arm": arm, "seed": seed, "device": "cpu"}))
        if name != "bare-0":
            (folder / "sheet.webp").write_bytes(name.encode())
    runs = [SimpleNamespace(id=name, seed=int(name[-1])) for name in ("new-0", "new-1", "bare-0")]
    monkeypatch.setattr(overview.project, "root", lambda: tmp_path)
    monkeypatch.setattr(overview.project, "record", lambda name, i: tmp_path / "runs" / i / "record.json")
    monkeypatch.setattr(overview.grid, "resolve", lambda experiment, section: (experiment, section))
    monkeypatch.setattr(overview.grid, "read", lambda name: None)
    monkeypatch.setattr(overview.grid, "expand", lambda one, section: runs)
    for _ in range(2):
        assert overview.keep("e") == (recorded, 3, 0)
        sheets = {path.name: path.read_bytes() for path in recorded.glob("*.webp")}
        assert sheets == {"new-0.webp": b"new-0"}
    (recorded / "new-0.webp").unlink()
    assert overview.keep("e", "tune") == (recorded, 3, 0)
    assert not list(recorded.glob("*.webp"))
