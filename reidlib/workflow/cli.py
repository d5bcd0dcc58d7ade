"""The command `reidlib`: run a notebook, build the book, sweep a grid, see what has been run, check or draw data."""

import argparse
import os
import sys
from pathlib import Path

_FAULTS = (ValueError, RuntimeError, OSError, KeyError, ImportError)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 1 after one sentence on the error output."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.verb is None:
        parser.print_help()
        return 0
    try:
        return chosen.act(chosen) or 0
    except _FAULTS as error:
        if os.environ.get("REIDLIB_TRACEBACK"):
            raise
        words = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"reidlib: {words}", file=sys.stderr)
        for name, key in (("log", "log"), ("as far as it came", "partial"), ("repeat it", "command")):
            if getattr(error, "report", {}).get(key):
                print(f"  {name}: {error.report[key]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = "nothing was written" if chosen.verb == "data" else "repeat the command to go on from here"
        print(f"reidlib: stopped; {kept}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reidlib", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")

    def verb(name, act, text):
        one = verbs.add_parser(name, help=text, description=text)
        one.set_defaults(act=act)
        return one

    run = verb("run", _run, "execute one notebook with other parameters")
    run.add_argument("notebook", type=Path)
    run.add_argument("--out", type=Path, help="the executed copy (default: NAME.executed.ipynb in this folder)")
    run.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    run.add_argument("-y", action="append", default=[], metavar="YAML", help="parameters as YAML: '{widths: [8, 16]}'")
    run.add_argument("--page", action="store_true", help="with the cells of the chapter: tables, verdicts, explorer")
    run.add_argument("--timeout", type=float, help="seconds that one cell may take")
    run.add_argument("--kernel", default="python3")
    for name, text in (("book", "run what is pending, build the book"), ("sweep", "run the full grid of experiments")):
        one = verb(name, _build, text)
        one.add_argument("experiments", nargs="*" if name == "book" else "+", metavar="EXPERIMENT")
        one.add_argument("--section", default="book" if name == "book" else "full", help="section of the grids")
        one.add_argument(
            "--snakemake", default="", metavar="OPTIONS", help="for Snakemake: '--executor slurm --jobs 40'"
        )
    verb("runs", _runs, "list what is done, pending and stale")
    record = verb("record", _record, "copy an experiment's records to book/recorded")
    record.add_argument("experiment")
    record.add_argument("--section", default="full")
    _data_parser(verb("data", None, "check a data set on disk, or draw one"))
    execute = verb("execute", _execute, "one step of a plan, as Snakemake calls it")
    execute.add_argument("step", choices=["warm", "run", "page", "numbers", "book"])
    execute.add_argument("name", nargs="?")
    execute.add_argument("--plan", type=Path, required=True)
    execute.add_argument("--log")
    return parser


def _data_parser(data) -> None:
    kinds = data.add_subparsers(dest="kind", metavar="check|draw", required=True)
    check = kinds.add_parser("check", help="is a data set whole, and is it what was published?")
    check.set_defaults(act=_data_check)
    check.add_argument("root", metavar="DIR", type=Path, help="folder of the data set, or a CSV file")
    check.add_argument("--dataset", help="its name; guessed from the layout when left out")
    check.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="reader's option")
    check.add_argument("--own", action="store_true", help="other data in this layout: no published numbers")
    check.add_argument("--report", type=Path, metavar="FILE.html", help="write the report as a page, too")
    check.add_argument("--no-pictures", action="store_true", help="leave pictures out of the page")
    check.add_argument("--quick", action="store_true", help="look at names and lists only, open no image")
    draw = kinds.add_parser("draw", help="write drawn people in the layout of a data set")
    draw.set_defaults(act=_data_draw)
    draw.add_argument("preset", help="market-like, ..., or market1501-full, msmt17-full, ltcc-full, prcc-full")
    draw.add_argument("root", metavar="DIR", type=Path, help="a new folder")
    draw.add_argument("--layout", help="market1501, dukemtmc, ..., folder, persons, csv (default: the preset's own)")
    draw.add_argument("--size", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="pixels")
    draw.add_argument("--identities", type=int, help="people for training and for the test (default: the preset's)")
    draw.add_argument("--seed", type=int, default=0, help="which people are drawn")
    draw.add_argument("--no-masks", action="store_true", help="write no label maps")


def _data_check(chosen) -> int:
    from reidlib.data import check, check_report
    from reidlib.workflow.parameters import value_of

    options = {name: value_of(word) for name, word in chosen.p}
    options |= {"own": chosen.own, "files": not chosen.quick, "progress": True}
    report = check.check_folder(chosen.root, chosen.dataset, **options)
    print(report.text())
    if chosen.report:
        print(f"\nthe page is {check_report.write(report, chosen.report, pictures=not chosen.no_pictures)}")
    return 0 if report.ok else 1


def _data_draw(chosen) -> None:
    from reidlib.data import layouts

    options = {"layout": chosen.layout, "size": chosen.size, "identities": chosen.identities}
    root = layouts.draw(chosen.preset, chosen.root, data_seed=chosen.seed, masks=not chosen.no_masks, **options)
    print(f"{root}: drawn people, no real person; reidlib data check {root}")


def _run(chosen) -> None:
    import yaml

    from reidlib.workflow import driver
    from reidlib.workflow.parameters import value_of

    parameters = {name: value_of(word) for name, word in chosen.p}
    for text in chosen.y:
        more = yaml.safe_load(text)
        if not isinstance(more, dict):
            raise ValueError(f"-y {text!r} must be `name: value` pairs")
        parameters |= more
    out = chosen.out or Path(f"{chosen.notebook.stem}.executed.ipynb")
    print(driver.run_notebook(chosen.notebook, out, parameters, chosen.page, chosen.timeout, chosen.kernel))


def _build(chosen) -> int:
    import shlex

    from reidlib.workflow import progress

    os.environ["REIDLIB_SECTION"] = chosen.section
    return progress.build(
        chosen.section, chosen.experiments, book=chosen.verb == "book", snakemake=shlex.split(chosen.snakemake)
    )


def _runs(chosen) -> None:
    from reidlib.workflow.overview import overview

    print(overview())


def _record(chosen) -> None:
    from reidlib.workflow.overview import keep

    folder, copied, missing = keep(chosen.experiment, chosen.section)
    print(f"{copied} records are in {folder}" + (f"; {missing} runs have none yet" if missing else ""))


def _execute(chosen) -> int:
    from reidlib.workflow import plan, project, steps

    steps.tie()
    todo = plan.load(chosen.plan)
    os.environ |= {"REIDLIB_BUILD": todo["build"], "REIDLIB_SECTION": todo["section"], "REIDLIB_PLAN": str(chosen.plan)}
    os.chdir(todo["root"])
    if chosen.step == "numbers":
        steps.numbers()
    elif chosen.step == "book":
        return 0 if steps.book(project.logs() / "book.log") else 1
    elif chosen.step == "warm":
        steps.warm(todo, chosen.name)
    else:
        getattr(steps, chosen.step)(todo, chosen.name, chosen.log)
    return 0


if __name__ == "__main__":
    sys.exit(main())
