"""Results kept on disk: made once, whole or not at all, under keys that depend on everything."""

import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from reidlib.cache import kept, key

CONTENT = {"weights": {"a": torch.arange(6.0).view(2, 3)}, "losses": [0.5, 1.5], "name": "x", "steps": 3, "none": None}


def forbidden():
    raise AssertionError("this was made already")


def same(one, other):
    assert one.keys() == other.keys()
    assert torch.equal(one["weights"]["a"], other["weights"]["a"])
    assert {name: one[name] for name in one if name != "weights"} == {n: other[n] for n in other if n != "weights"}


def test_made_once_and_read_afterwards(tmp_path):
    file = tmp_path / "deep" / "folder" / "it.pt"
    same(kept(file, lambda: CONTENT), CONTENT)
    same(kept(str(file), forbidden), CONTENT)
    assert sorted(path.name for path in file.parent.iterdir()) == ["it.pt", "it.pt.lock"]


def test_what_is_returned_first_is_what_is_read_later(tmp_path):
    made = {"tensor": torch.ones(2, requires_grad=True).bfloat16(), "pair": (1, 2), "flag": torch.tensor(True)}
    first, later = kept(tmp_path / "it.pt", lambda: made), kept(tmp_path / "it.pt", forbidden)
    assert first["tensor"].dtype == later["tensor"].dtype == torch.bfloat16
    assert first["pair"] == later["pair"] == (1, 2)
    assert first["flag"].shape == later["flag"].shape == ()


def broken_files(whole: bytes):
    middle = whole.index(torch.arange(6.0).numpy().tobytes())
    yield b""
    yield b"no torch file"
    yield whole[: len(whole) // 2]
    yield whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]  # one bit of one weight


def test_broken_files_are_made_anew(tmp_path):
    file = tmp_path / "it.pt"
    kept(file, lambda: CONTENT)
    for content in list(broken_files(file.read_bytes())):
        file.write_bytes(content)
        made = []
        same(kept(file, lambda made=made: made.append(1) or CONTENT), CONTENT)
        assert made == [1]
        same(kept(file, forbidden), CONTENT)


def test_another_programs_torch_file_is_made_anew(tmp_path):
    for content in (CONTENT, torch.ones(3), {"content": [1], "digest": key([1])}):
        torch.save(content, tmp_path / "it.pt")
        same(kept(tmp_path / "it.pt", lambda: CONTENT), CONTENT)


def test_what_a_killed_process_left_is_no_obstacle(tmp_path):
    (tmp_path / "it.pt.part").write_bytes(b"half of")
    (tmp_path / "it.pt.lock").touch()
    same(kept(tmp_path / "it.pt", lambda: CONTENT), CONTENT)
    assert not (tmp_path / "it.pt.part").exists()


def test_a_failure_leaves_nothing_and_is_passed_on(tmp_path):
    def fail():
        raise FileNotFoundError("from make")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FileNotFoundError, match="from make"):
            kept(tmp_path / "it.pt", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["it.pt.lock"]
    same(kept(tmp_path / "it.pt", lambda: CONTENT), CONTENT)


def test_without_a_place_it_is_made_each_time_with_a_warning(tmp_path):
    (tmp_path / "file").touch()
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"it\.pt cannot be kept in .*file"):
            same(kept(tmp_path / "file" / "it.pt", lambda: CONTENT), CONTENT)


@pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("PytorchStreamWriter failed")])
def test_a_full_disk_is_a_warning(tmp_path, monkeypatch, error):
    def save(*_):
        raise error

    monkeypatch.setattr(torch, "save", save)
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert kept(tmp_path / "it.pt", lambda: CONTENT) is CONTENT


@pytest.mark.parametrize("value", [{1, 2}, torch.nn.Linear(1, 1), torch.float32])
def test_values_that_cannot_be_read_back(tmp_path, value):
    with pytest.raises(TypeError, match="numbers"):
        kept(tmp_path / "it.pt", lambda: {"value": value})
    assert not list(tmp_path.glob("*.pt"))
    assert not list(tmp_path.glob("*.part"))


def test_of_two_that_want_it_one_makes_it(tmp_path):
    """Threads here: the lock is one of open files, which holds between processes in the same way."""
    made, both = [], threading.Barrier(2)

    def make():
        made.append(1)
        time.sleep(0.3)
        return CONTENT

    def want(_):
        both.wait(timeout=10)
        return kept(tmp_path / "it.pt", make)

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(want, range(2)):
            same(found, CONTENT)
    assert made == [1]


# ---------------------------------------------------------------- keys


def test_keys_depend_on_everything():
    ones = torch.ones(2, 3)
    facts = [
        (),
        (1,),
        ("1",),
        (1.5,),
        (None,),
        (1, 2),
        ([1, 2],),
        ({"a": 1},),
        ({"a": 2},),
        ({"b": 1},),
        (ones,),
        (ones.T,),
        (ones.double(),),
        (ones.int(),),
        (torch.zeros(2, 3),),
        (torch.zeros(0, 3),),
        (torch.zeros(0, 4),),
        (torch.tensor(1.0),),
        (torch.tensor([1.0]),),
        ([ones], 1),
        ({"a": ones}, 1),
    ]
    keys = [key(*fact) for fact in facts]
    assert len(set(keys)) == len(facts)
    assert all(len(found) == 16 and int(found, 16) >= 0 for found in keys)


def test_keys_do_not_depend_on_anything_else():
    table = torch.arange(6).view(2, 3)
    assert key(table.T) == key(table.T.contiguous())
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert key((64, 32)) == key([64, 32]) == key(torch.Size([64, 32]))
    assert key(torch.ones(2, requires_grad=True)) == key(torch.ones(2))
    assert key("a", 1, [0.5, None, True]) == "cc20bba47cbb9678"  # the same on every machine


def test_no_key_of_other_things():
    with pytest.raises(TypeError, match="Path can be no part of a key"):
        key(type("Path", (), {})())
