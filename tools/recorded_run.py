"""A whole recorded run of one chapter on an accelerator, in one call of under ten minutes on one recent GPU.

    python tools/recorded_run.py triplet              # P1: ResNet-50 and MILDNet, 256x128, drawn people, 3 seeds
    python tools/recorded_run.py samplers             # P0: four strategies, ResNet-50, 256x128, drawn people
    python tools/recorded_run.py clothing             # P2: Table II and the masked picture, ResNet-50, 384x192
    python tools/recorded_run.py label_smoothing      # P3: four targets, ResNet-50, 256x128, GANs of 128x128, one seed
    python tools/recorded_run.py reconstruction       # P4: five losses, DG-Net's own networks, 256x128, one seed
    python tools/recorded_run.py samplers --minutes 5 --epochs 25 --out /tmp/records

It needs reidlib's requirements, matplotlib and seaborn, no Jupyter: the notebook's cells run as plain Python. The drawn
people are made and the warm starts trained first, once for each machine. Then all arms run for the first seed, then for
the second. Each finished run is a record at once; what does not fit into the time is left out and said, and the same
call once more goes on from there. The table of all scores is printed last. Copy the records to
book/recorded/<chapter>/ to have the pages show them.

At the published size, which takes longer than ten minutes to draw and to train on:

    reidlib data draw market1501-full DIR --size 256 128 --no-masks
    python -m reidlib.warmstart --backbone resnet50 --height 256 --width 128 --device cuda     # prints FILE
    python tools/recorded_run.py samplers --dataset market1501 --root DIR --weights FILE --minutes 600

and for the chapter on clothes, with the label maps beside the pictures (or prcc-full and prcc):

    reidlib data draw ltcc-full DIR --size 384 192
    python -m reidlib.warmstart --backbone resnet50 --height 384 --width 192 --device cuda     # prints FILE
    python tools/recorded_run.py clothing --dataset ltcc --root DIR --weights FILE --minutes 600

where `--epochs 60 --stage1-epochs 20` trains as long as the usual code does. The photographs of LTCC or PRCC are read
in the same way, with `--parsing lip` or the other label set of the maps in DIR/parts, which a human parser writes (see
`reidlib.data.parsing`). Triples in which clothes mislead are drawn for the built-in data only.

The chapter on label smoothing trains its clusters and generators before the runs too, and puts a sheet of their images
beside the records (of drawn people only). Its numbers of steps are 30 epochs of market-like; for market1501-full or
Market-1501, drawn or read as above:

    python tools/recorded_run.py label_smoothing --dataset market1501 --root DIR --weights FILE --minutes 600 \\
        --parent-steps 6064 --gan-steps 2021 --images-seen 1681680

The chapter on reconstruction losses trains DG-Net from noise, its teachers and the network that finds outlines before
the runs, and puts a sheet of what each arm makes beside the records (of drawn people only). Its 250 steps are a four
hundredth of DG-Net's, so that all arms are estimated to fit into one call: how far they come is no more than a start.
With DG-Net's own schedule, five hours an arm by the same estimate:

    python tools/recorded_run.py reconstruction --dataset market1501 --root DIR --weights FILE --minutes 2000 \\
        --steps 100000 --lr-generator 1e-4 --lr-discriminator 1e-4 --teacher-steps 48000
"""

import argparse
import concurrent.futures
import contextlib
import io
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from recorded_experiments import COMMON, EXPERIMENTS, HELP, PRECISIONS

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# Chapters whose runs share networks: a parameter that tells the chapter, its notebook, and what makes its run short.
SHARED = {
    "gan_base": ("label_smoothing", {"images_seen": 1}),  # clusters and generated images
    "outline_steps": ("reconstruction", {"steps": 1, "frechet_images": 2}),  # the teacher, and what finds outlines
}


def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    os.environ.setdefault("TQDM_DISABLE", "1")
    begun, times, records, left_out, failed = time.monotonic(), [], [], [], []
    plan = [(arm, seed, given(chosen, arm, seed)) for seed in range(chosen.seeds) for arm in chosen.experiment.arms]
    prepare([parameters for _, _, parameters in plan])
    print(f"{time.monotonic() - begun:5.0f} s  people drawn, warm starts trained", flush=True)
    for arm, seed, parameters in plan:
        start = time.monotonic()
        if (record := finished(chosen, parameters)) is None:
            if times and start - begun + max(times) > 60 * chosen.minutes:
                left_out.append(f"{arm} seed {seed}")
                continue
            try:
                record = run(chosen, parameters)
            except Exception:  # the other arms do not need this one
                failed.append(f"{arm} seed {seed}")
                traceback.print_exc()
                continue
            times.append(time.monotonic() - start)
        records.append(record)
        print(f"{time.monotonic() - begun:5.0f} s  {arm} seed {seed}: mAP {record.metrics['mAP']:.1f}", flush=True)
    print(f"\n{len(records)} records in {chosen.out}; left out for time: {', '.join(left_out) or 'none'}")
    print(f"failed: {', '.join(failed) or 'none'}\n")
    if file := sheet(chosen, records):
        print(f"generated images: {file}\n")
    if records:
        print(table(records, chosen.experiment.scores))
    return 0 if records and not failed else 1


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    chapters = parser.add_subparsers(dest="name", required=True, metavar="chapter")
    for name, experiment in EXPERIMENTS.items():
        own = chapters.add_parser(name, help=experiment.help, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        for setting, default in (COMMON | experiment.settings).items():
            kind = int if setting == "iterations" else str if default is None else type(default)
            choices = PRECISIONS if setting == "precision" else None
            text = HELP.get(setting, "as in the notebook")
            own.add_argument(f"--{setting.replace('_', '-')}", type=kind, default=default, choices=choices, help=text)
        text = "all arms run for one seed before the next"
        own.add_argument("--seeds", type=int, default=experiment.seeds, help=text)
        own.add_argument(
            "--minutes", type=float, default=8.0, help="no new run is begun that would end later than this"
        )
        own.add_argument("--out", type=Path, default=ROOT / "runs-accelerator", help="folder of the records")
    chosen = parser.parse_args(arguments)
    chosen.experiment = EXPERIMENTS[chosen.name]
    return chosen


def given(chosen, arm: str, seed: int) -> dict:
    """The notebook's parameters for one run."""
    options = {name: getattr(chosen, name) for name in COMMON | chosen.experiment.settings}
    options |= chosen.experiment.arms[arm] | {"arm": arm, "seed": seed, "out": str(chosen.out)}
    if options["backbone"] == "mildnet" and chosen.backbone.endswith("-small"):
        options["backbone"] = "mildnet-small"
    return options


def prepare(plan: list[dict]) -> None:
    """Draw the people and train the warm starts that the runs need, so that no run's seconds hold them."""
    from reidlib.warmstart import warm_start

    one = plan[0]
    size, spawn = (one["height"], one["width"]), multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as beside:
        drawn = None if one["root"] else beside.submit(draw, one["dataset"], size)
        looks = {"shared_looks": one["triple_looks"]} if drawn and "triple_looks" in one else None
        crowd = beside.submit(draw_crowd, one["dataset"], size, looks) if looks else None
        trunks = [parameters["backbone"] for parameters in plan] if drawn and one["weights"] == "auto" else []
        trunks += ["resnet-small"] * bool(SHARED.keys() & one.keys())  # it judges the generated images
        for backbone in dict.fromkeys(trunks):
            warm_start(backbone, size, device=one["device"], progress=False)
        if drawn:
            drawn.result()
        if crowd:
            keep_crowd(one["dataset"], size, looks, *crowd.result())
    for name, (chapter, least) in SHARED.items():
        for parameters in {p["seed"]: p for p in plan}.values():  # the last arm of each seed has generated images
            if name in parameters:
                make_shared(chapter, parameters | least)


def draw(dataset: str, size: tuple[int, int]) -> None:
    from reidlib import data

    data.load(dataset, size=size, progress=False)


def draw_crowd(dataset: str, size: tuple[int, int], changes: dict) -> tuple:
    """Frame, images and label maps of `drawn.draw_test`; as arrays, since tensors travel through shared memory."""
    from reidlib.data import drawn

    frame, images, parts = drawn.draw_test(dataset, size, **changes)
    return frame, images.numpy(), parts.numpy()


def keep_crowd(dataset: str, size: tuple[int, int], changes: dict, frame, images, parts) -> None:
    """Let `drawn.draw_test` return these people from now on, which each run would otherwise draw anew for a minute."""
    import torch

    from reidlib.data import drawn

    anew, found = drawn.draw_test, (frame, torch.from_numpy(images), torch.from_numpy(parts))

    def draw_test(preset, wanted, data_seed=0, **others):
        same = (preset, tuple(wanted), data_seed, others) == (dataset, size, 0, changes)
        return found if same else anew(preset, wanted, data_seed, **others)

    drawn.draw_test = draw_test


def make_shared(chapter: str, parameters: dict) -> None:
    """What all runs of a seed find (see SHARED), by a run of one step that is not kept."""
    with tempfile.TemporaryDirectory() as out:
        run_notebook(chapter, parameters | {"out": out})


def finished(chosen, parameters: dict):
    """The record of this very run (same parameters, code and data) if it is there already, else None."""
    from reidlib import data, results

    size = parameters["height"], parameters["width"]
    fingerprint = data.fingerprint(parameters["dataset"], parameters["root"], size=size)
    folder = results.run_directory(chosen.name, results.run_id(chosen.name, parameters, fingerprint), chosen.out)
    return results.load(folder) if folder.is_dir() else None


def run(chosen, parameters: dict):
    """One run of the notebook; returns its record, with the GPU's peak memory where there is one."""
    import torch

    from reidlib.results import load

    on_gpu = torch.device(parameters["device"]).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(parameters["device"])
    space = run_notebook(chosen.name, parameters)
    record = load(space["folder"])
    record.gpu_mib = torch.cuda.max_memory_allocated(parameters["device"]) / 2**20 if on_gpu else None
    record.real = space["real"][space["shown_again"]] if "shown_again" in space else None
    return record


def run_notebook(name: str, parameters: dict) -> dict:
    """The namespace after a notebook's cells; what they print and plot is dropped."""
    import matplotlib.pyplot as plt

    from reidlib.workflow.cells import run_cells

    with contextlib.redirect_stdout(io.StringIO()):
        space = run_cells(ROOT / "notebooks" / f"{name}.ipynb", parameters)
    plt.close("all")
    return space


def sheet(chosen, records) -> Path | None:
    """Picture beside the records: real images, and what the runs made of them or like them.

    None where no run has such images, and for data on disk, since images of real people are not shown.
    """
    from reidlib import figures

    if not records or chosen.root:
        return None
    rows, seed = generated(chosen, records) or put_together(chosen, records) or (None, None)
    if rows is None:
        return None
    figure = figures.grid([list(images) for images in rows.values()], labels=list(rows))
    file = records[0].source.parent / f"generated-seed-{seed}.png"
    figure.savefig(file, dpi=150)
    return file


def generated(chosen, records):
    """({label: images}, seed): training images, and what each generator drew for the first run that kept its own."""
    import numpy as np
    import torch

    from reidlib import data
    from reidlib.data.frame import rows_of

    drawn = [record for record in records if (record.source / "generated.npz").exists()]
    if not drawn:
        return None
    people = data.load(chosen.dataset, size=(chosen.height, chosen.width), progress=False)
    trained_on = torch.as_tensor(rows_of(people.frame, "train"))
    rows = {"real": people.store.images[trained_on[:: max(1, len(trained_on) // 12)][:12]]}
    kept = np.load(drawn[0].source / "generated.npz")
    for cluster in np.unique(kept["clusters"]):
        rows[f"generator of cluster {cluster}"] = kept["images"][kept["clusters"] == cluster][:12]
    return rows, drawn[0].seed


def put_together(chosen, records):
    """({label: images}, seed): of each arm, twelve images put together again, and six swaps, from the runs' sheets.

    Above them the real images, the six that gave the appearance of the swaps, and below these those that gave their
    structure; without them where no run of this call brings them.
    """
    from reidlib import results

    size, seed = (chosen.height, chosen.width), records[0].seed
    own = [r for r in records if r.seed == seed and results.sheet_of(r)]
    if not own:
        return None
    real = next((r.real for r in own if getattr(r, "real", None) is not None), None)
    rows = {}
    if real is not None:
        rows["real, appearance"] = [*real, *real[:6]]
        rows["structure"] = [None] * 12 + [real[(i + 1) % 6] for i in range(6)]
    for record in own:
        images = results.from_sheet(results.sheet_of(record), 48, size)
        rows[record.arm] = [*images[36:], *(images[6 * i + (i + 1) % 6] for i in range(6))]
    return rows, seed


def table(records, scores) -> str:
    """Mean, 95% interval and seeds of each arm's scores, (metric, digits) each, and what its runs cost.

    That is seconds a run, with its scoring; training images a second; memory.
    """
    import pandas as pd

    from reidlib.results import by_seed, format_interval

    rows = []
    for arm in dict.fromkeys(r.arm for r in records):
        own = [r for r in records if r.arm == arm]
        found = {name: format_interval(by_seed(own, arm, name), digits) for name, digits in scores}
        seconds = sum(r.wall_s for r in own)
        on_gpu = [r.gpu_mib for r in own if getattr(r, "gpu_mib", None)]
        cost = {
            "seconds": f"{seconds / len(own):.0f}",
            "images/s": f"{sum(map(images_shown, own)) / seconds:.0f}",
            "peak MiB (GPU)": f"{max(on_gpu):.0f}" if on_gpu else "-",
            "peak MiB (host)": f"{max(r.peak_memory_mib for r in own):.0f}",
        }
        rows.append({"arm": arm, **found, **cost, "device": own[0].machine})
    return pd.DataFrame(rows).to_string(index=False)


def images_shown(record) -> int:
    """Training images of a run, repeated ones included; with two streams, how often one went through either."""
    if "passes" in record.extra:
        return record.extra["passes"]
    if "recon" in record.parameters:  # two batches, and as many partners
        return 4 * record.extra["steps"] * record.parameters["batch_size"]
    if "images_seen" in record.parameters and "generated" not in record.extra:  # those come on top
        return record.parameters["images_seen"]
    return record.extra["steps"] * record.parameters["batch_size"]


if __name__ == "__main__":
    sys.exit(main())
