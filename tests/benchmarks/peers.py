"""The environment of the toolkits that reidlib is measured against: build/peers, beside the project's own.

It sees all packages of the Python that made it (one PyTorch, one NumPy: equal libraries on both sides) and adds the
peers, whose requirements are not followed: they ask for older versions of PyTorch and NumPy than they need.
"""

import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "peers"
PYTHON = FOLDER / "bin" / "python"
PEERS = (
    "torchreid==0.2.5",
    "fastreid==1.4.0",
    "pytorch-fid==0.3.0",
    "clean-fid==0.1.35",
    "pytorch-metric-learning==2.9.0",
    "open-metric-learning==4.0.0",
)
NEEDED = ("cython", "setuptools", "tensorboard", "opencv-python-headless", "gdown", "omegaconf", "validators", "tqdm")
COMPILED = Path("fastreid", "evaluation", "rank_cylib")  # made from torchreid's, which its own package lacks


class Missing(Exception):
    """The peers cannot be installed; the message says why and what to do."""


def ensure() -> Path:
    """The Python of the peers' environment, which is made or brought up to date. Raises Missing."""
    stamp, wanted = FOLDER / "installed", _wanted()
    if not (stamp.is_file() and stamp.read_text() == wanted and PYTHON.exists()):
        print(f"installing {', '.join(PEERS)} into {FOLDER}: about a minute, once", flush=True)
        stamp.unlink(missing_ok=True)
        _call([sys.executable, "-m", "venv", "--clear", "--without-pip", str(FOLDER)])
        (packages() / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _call([*pip, "--no-deps", *PEERS])
        _call([*pip, "--constraint", str(ROOT / "constraints.txt"), *NEEDED])
        _call([str(PYTHON), "setup.py", "build_ext", "--inplace"], packages() / COMPILED)
        stamp.write_text(wanted)
    return PYTHON


def packages() -> Path:
    """Where the peers' packages lie."""
    return FOLDER / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def compiled_evaluator():
    """The module `rank_cy` of FastReID, imported without the rest of its package (which needs PyTorch 1)."""
    sys.path.insert(0, str(packages() / COMPILED))
    import rank_cy

    return rank_cy


def _wanted() -> str:
    text = " ".join((*PEERS, *NEEDED, sys.version, sys.prefix))
    return hashlib.sha256(text.encode()).hexdigest()


def _call(command: list[str], folder: Path = ROOT) -> None:
    log = ROOT / "build" / "logs" / "peers.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a") as file:
        done = subprocess.run(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, "CI": ""})
    if done.returncode:
        raise Missing(
            f"the peers could not be installed, see the end of {log}: a package index must be in reach, and a C "
            "compiler (Debian: apt install gcc python3-dev); run `make bench` again then"
        )
