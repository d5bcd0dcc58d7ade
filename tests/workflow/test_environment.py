"""What is installed: pyproject.toml, environment.yml and constraints.txt agree; tools/bootstrap.py makes .venv."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ASKED_FOR = {"jupyter", "jupyter-book", "papermill", "torch", "torchvision", "scikit-learn", "seaborn", "pandas"}
ASKED_FOR |= {"faiss-gpu", "ipywidgets"}


def of_pyproject() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in ("notebooks", "book", "test"):
        lines += project["optional-dependencies"][extra]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one for one in found if one.name != "reidlib"}


def of_conda() -> dict[str, Requirement]:
    parts = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    lines = next(part["pip"] for part in parts if isinstance(part, dict))
    assert "--constraint constraints.txt" in lines
    assert "--editable ." in lines
    found = [Requirement(line) for line in lines if not line.startswith("--")]
    return {canonicalize_name(one.name): one for one in found}


def test_conda_and_pip_ask_for_the_same():
    pip, conda = of_pyproject(), of_conda()
    assert {name: str(one) for name, one in pip.items()} == {name: str(one) for name, one in conda.items()}
    assert set(pip) >= ASKED_FOR


def test_every_requirement_has_an_exact_version_that_satisfies_it():
    lines = [
        line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines() if line.strip() and line[0] != "#"
    ]
    exact = dict(line.split("==") for line in lines)
    exact = {canonicalize_name(name): version for name, version in exact.items()}
    for name, requirement in of_pyproject().items():
        if requirement.marker is None or requirement.marker.evaluate({"sys_platform": "linux"}):
            assert name in exact, name
            assert requirement.specifier.contains(exact[name]), (str(requirement), exact[name])


@pytest.fixture
def bootstrap(tmp_path, monkeypatch):
    """The script as a module, with a repository of its own and a pip that only notes that it was called."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "tools" / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    module.calls = []
    monkeypatch.setattr(module, "follow", lambda command: module.calls.append(command))

    def venv(command):
        module.calls.append(command)
        (tmp_path / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / ".venv" / "bin" / "python").touch()

    monkeypatch.setattr(module, "call", venv)
    return module


def run(module, tmp_path):
    module.calls.clear()
    return module.main(["--venv", str(tmp_path / ".venv")])


def test_an_install_is_made_once_and_updated_when_requirements_change(bootstrap, tmp_path, capsys):
    assert run(bootstrap, tmp_path) == 0
    assert [call[2] for call in bootstrap.calls] == ["venv", "pip"]
    assert "8 GB on disk" in capsys.readouterr().out
    assert run(bootstrap, tmp_path) == 0
    assert bootstrap.calls == []
    with open(tmp_path / "constraints.txt", "a") as file:
        file.write("# newer\n")
    assert run(bootstrap, tmp_path) == 0
    assert [call[2] for call in bootstrap.calls] == ["pip"]


def test_an_install_that_did_not_end_is_made_anew(bootstrap, tmp_path, monkeypatch, capsys):
    def fail(command):
        raise bootstrap.Unfit("pip failed: no route to host")

    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "follow", fail)
        assert run(bootstrap, tmp_path) == 1
    assert capsys.readouterr().err == "bootstrap: pip failed: no route to host\n"
    assert run(bootstrap, tmp_path) == 0
    assert [call[2] for call in bootstrap.calls] == ["venv", "pip"]


def test_what_a_machine_lacks_is_said_first(bootstrap, tmp_path, monkeypatch, capsys):
    def told(name, value):
        with monkeypatch.context() as patch:
            patch.setattr(*name, value)
            assert run(bootstrap, tmp_path) == 1
            assert bootstrap.calls == []
        return capsys.readouterr().err

    usage = shutil.disk_usage(tmp_path)._replace(free=2**30)
    assert "8 GB of disk are needed, 1.0 GB are free" in told((bootstrap.shutil, "disk_usage"), lambda path: usage)
    assert "apt install python3-venv" in told((bootstrap.importlib.util, "find_spec"), lambda name: None)
    assert "cannot be written to" in told((bootstrap.os, "access"), lambda *call: False)
    assert "Python 3.11 or newer is needed" in told((bootstrap.sys, "version_info"), (3, 10, 2))


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end a process with its parent")
def test_a_killed_install_leaves_no_process(tmp_path):
    (tmp_path / "tools").mkdir()
    for name in ("tools/bootstrap.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    bin = tmp_path / ".venv" / "bin"
    bin.mkdir(parents=True)
    (bin / "python").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pip.pid\nexec sleep 600\n")
    (bin / "python").chmod(0o755)
    install = subprocess.Popen([sys.executable, tmp_path / "tools" / "bootstrap.py"], stdout=subprocess.DEVNULL)
    end = time.time() + 20
    while not ((tmp_path / "pip.pid").exists() and (tmp_path / "pip.pid").read_text().strip()):
        assert time.time() < end
        time.sleep(0.05)
    pip = int((tmp_path / "pip.pid").read_text())
    install.send_signal(signal.SIGKILL)
    install.wait()
    while os.path.exists(f"/proc/{pip}") and "(sleep) Z" not in Path(f"/proc/{pip}/stat").read_text():
        assert time.time() < end
        time.sleep(0.05)
    assert not (tmp_path / ".venv" / "installed").exists()
    assert (tmp_path / ".venv" / "installing").exists()


def test_make_lists_its_verbs():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    verbs = {line.split()[1] for line in done.stdout.splitlines()}
    assert verbs >= {"demo", "book", "test", "sweep", "runs", "serve", "bench", "lint", "clean", "help"}
