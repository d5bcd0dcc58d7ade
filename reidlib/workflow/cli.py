"""The command `reidlib`: run a notebook, build the book, sweep a grid, see what has been run."""

import argparse
import os
import sys
from pathlib import Path

_FAULTS = (ValueError, RuntimeError, FileNotFoundError, KeyError)


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
        print("reidlib: stopped; repeat the command to go on from here", file=sys.stderr)
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
    execute = verb("execute", _execute, "one step of a plan, as Snakemake calls it")
    execute.add_argument("step", choices=["warm", "run", "page", "numbers", "book"])
    execute.add_argument("name", nargs="?")
    execute.add_argument("--plan", type=Path, required=True)
    execute.add_argument("--log")
    return parser


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
