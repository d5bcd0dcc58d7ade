"""One whole recorded run of chapter P1 on an accelerator, in one call of under ten minutes on one recent GPU.

    python tools/recorded_run.py                      # ResNet-50 and MILDNet, 256x128, drawn people, 3 seeds, cuda
    python tools/recorded_run.py --minutes 5 --out /tmp/records

It needs reidlib's requirements, matplotlib and seaborn, no Jupyter: the notebook's cells run as plain Python. The drawn
people are made on the machine. Each finished run is a record at once; what does not fit into the time is left out and
said. The table of all scores is printed last. Copy the records to book/recorded/triplet/ to have the pages show them.
"""

import argparse
import contextlib
import io
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# the thesis's stated settings, so the arms have the names of the grid that end in @paper
ARMS = {
    "triplet@paper": {"margin": 0.5},
    "lossless@paper": {"loss": "lossless"},
    "mildnet@paper": {"backbone": "mildnet", "margin": 0.5},
    "lossless-offline2@paper": {"loss": "lossless", "mining": "offline2"},
    "lossless-batch-all@paper": {"loss": "lossless", "mining": "batch_all"},
}


def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    os.environ.setdefault("TQDM_DISABLE", "1")
    begun, times, records, left_out = time.monotonic(), [], [], []
    for seed in range(chosen.seeds):
        for arm, settings in ARMS.items():
            spent = time.monotonic() - begun
            if spent + max(times, default=0) > 60 * chosen.minutes:
                left_out.append(f"{arm} seed {seed}")
                continue
            start = time.monotonic()
            records.append(run(chosen, arm, settings | {"seed": seed}))
            times.append(time.monotonic() - start)
            print(f"{spent + times[-1]:5.0f} s  {arm} seed {seed}: mAP {records[-1].metrics['mAP']:.1f}", flush=True)
    print(f"\n{len(records)} records in {chosen.out}; left out for time: {', '.join(left_out) or 'none'}\n")
    print(table(records))
    return 0 if records else 1


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--dataset", default="market-like")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--backbone", default="resnet50", help="the trunk of every arm but mildnet")
    parser.add_argument("--weights", default="auto", help="auto: a warm start on other drawn people")
    parser.add_argument("--images-seen", type=int, default=96000)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=8.0, help="no new run is begun that would end later than this")
    parser.add_argument("--out", type=Path, default=ROOT / "runs-accelerator")
    return parser.parse_args(arguments)


def run(chosen, arm: str, settings: dict):
    """One run of the notebook; returns its record."""
    from reidlib.results import load_all
    from reidlib.workflow.cells import run_cells

    small = chosen.backbone.endswith("-small")
    backbone = "mildnet-small" if small else "mildnet"
    given = {
        "dataset": chosen.dataset,
        "height": chosen.height,
        "width": chosen.width,
        "backbone": backbone if settings.get("backbone") else chosen.backbone,
        "weights": chosen.weights,
        "images_seen": chosen.images_seen,
        "learning_rate": chosen.learning_rate,
        "device": chosen.device,
        "precision": chosen.precision,
        "arm": arm,
        "out": str(chosen.out),
    }
    settings = {name: value for name, value in settings.items() if name != "backbone"}
    with contextlib.redirect_stdout(io.StringIO()):
        space = run_cells(ROOT / "notebooks" / "triplet.ipynb", given | settings)
    import matplotlib.pyplot as plt

    plt.close("all")
    return load_all(space["folder"])[0]


def table(records) -> str:
    """Mean, 95% interval and seeds of each arm; seconds a run, scores included; training images a second; memory."""
    import pandas as pd

    from reidlib.results import by_seed, format_interval

    rows = []
    for arm in dict.fromkeys(r.arm for r in records):
        own = [r for r in records if r.arm == arm]
        scores = {name: format_interval(by_seed(own, arm, name)) for name in ("mAP", "R1")}
        seconds = sum(r.wall_s for r in own) / len(own)
        speed = sum(r.parameters["images_seen"] for r in own) / sum(r.wall_s for r in own)
        memory = max(r.peak_memory_mib for r in own)
        cost = {"seconds": f"{seconds:.0f}", "images/s": f"{speed:.0f}", "peak MiB (host)": f"{memory:.0f}"}
        rows.append({"arm": arm, **scores, **cost, "device": own[0].machine})
    return pd.DataFrame(rows).to_string(index=False)


if __name__ == "__main__":
    sys.exit(main())
