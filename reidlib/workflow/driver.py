"""Execute one notebook with papermill, and check what papermill does not.

An unknown parameter, a missing or doubled `parameters` cell, an output that would overwrite its source: errors before
anything runs. A result appears under its name only when every cell has run; what a failed run wrote is kept beside it
as `NAME.failed.ipynb` and `NAME.failed.json`. The kernel dies with this process, however this process ends.
"""

import difflib
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat

from reidlib.workflow.parameters import assigned, value_of
from reidlib.workflow.processes import tied_to_me

_ENVIRONMENT = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONHASHSEED": "0", "TQDM_MININTERVAL": "1"}
_NUMBER = "driver_cell"


class NotebookError(ValueError):
    """The notebook, its parameters or its output cannot be used; nothing was run."""


class RunFailed(RuntimeError):
    """A cell failed, or the kernel died. `report` says where and why, in the words that FILE.failed.json keeps."""

    def __init__(self, report: dict):
        self.report = report
        super().__init__(sentence(report))


def sentence(report: dict) -> str:
    """One sentence of a failure report: notebook, cell, cause."""
    cell = f", cell {report['cell']} (`{report['first_line']}`)" if report.get("cell") else ""
    return f"{report['notebook']}{cell}: {report['cause']}"


def run_notebook(
    notebook: str | Path,
    output: str | Path,
    parameters: dict | None = None,
    page: bool = False,
    timeout: float | None = None,
    kernel: str = "python3",
    log: str | Path | None = None,
    environment: dict | None = None,
    need: Path | None = None,
    metadata: dict | None = None,
) -> Path:
    """Execute `notebook` with `parameters` and write the executed copy to `output`; returns its path.

    page: keep the cells tagged `page`; they are dropped otherwise.
    timeout: seconds that one cell may take; None: no limit.
    log: named in a failure's report, where the caller sends this process's output to a file.
    environment: variables for the kernel; OMP_NUM_THREADS is 1 unless it is set here or by the caller's environment.
    need: a file that the notebook must have written. metadata: kept in the executed copy as its metadata `reidlib`.
    Raises NotebookError before anything runs, RunFailed after.
    """
    notebook, output, parameters = Path(notebook).absolute(), Path(output).absolute(), dict(parameters or {})
    if output == notebook or (output.exists() and notebook.exists() and output.samefile(notebook)):
        raise NotebookError(f"the output {shown(output)} is the notebook itself: give another file")
    book = read(notebook)
    known = defaults(book, notebook)
    reject_unknown(parameters, known, notebook)
    for number, cell in enumerate(book.cells, 1):
        cell.metadata[_NUMBER] = number
    if not page:
        book.cells = [cell for cell in book.cells if "page" not in cell.metadata.get("tags", [])]
    output.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{output.stem}.", suffix=".part", dir=output.parent))
    try:
        executed = _execute(book, work, parameters, timeout, kernel, environment or {})
        if need is not None and not Path(need).is_file():
            raise RuntimeError(f"the notebook ran but did not write {shown(Path(need))}")
        executed.metadata["reidlib"] = dict(metadata or {})
        _finish(executed, notebook, work / "final.ipynb")
        os.replace(work / "final.ipynb", output)
        for stale in failure_files(output):
            stale.unlink(missing_ok=True)
    except Exception as error:
        report = _report(error, work / "out.ipynb", (notebook, output, parameters, page), log)
        raise RunFailed(report) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return output


def read(notebook: Path) -> nbformat.NotebookNode:
    """The notebook, in nbformat 4. Raises NotebookError."""
    if not notebook.is_file():
        raise NotebookError(f"there is no notebook {shown(notebook)}")
    try:
        return nbformat.read(notebook, as_version=4)
    except Exception as error:
        raise NotebookError(f"{shown(notebook)} is not a notebook: {error}") from error


def defaults(book: nbformat.NotebookNode, notebook: Path) -> dict:
    """Name -> default of the one cell tagged `parameters`, in its order; the cell is executed alone.

    Raises NotebookError where there is no such cell, or more than one, or it needs anything but plain Python.
    """
    cells = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise NotebookError(f"{shown(notebook)} has {len(cells)} cells tagged `parameters`: it needs exactly one")
    names, namespace = assigned(cells[0].source), {}
    try:
        exec(cells[0].source, namespace)
    except Exception as error:
        raise NotebookError(f"{shown(notebook)}: its parameters cell must hold plain values: {error!r}") from error
    return {name: value for name, value in namespace.items() if name in names}


def reject_unknown(parameters: dict, known, notebook: Path) -> None:
    """NotebookError for the first name in `parameters` that the notebook does not have."""
    for name in parameters:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise NotebookError(f"{shown(notebook)} has no parameter {name!r}; {hint}")


def failure_files(output: Path) -> tuple[Path, Path]:
    """Where a failed run of `output` leaves its partial notebook and its report."""
    return output.with_suffix(".failed.ipynb"), output.with_suffix(".failed.json")


def shown(path: Path) -> str:
    """A path as a person in the current folder would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir + os.sep + os.pardir) else relative


def command(notebook: Path, output: Path, parameters: dict, page: bool = False) -> str:
    """The command line that repeats a run."""
    words = [shown(Path(sys.executable)), "-m", "reidlib.workflow.cli", "run", shown(notebook), "--out", shown(output)]
    words += ["--page"] if page else []
    for name, value in parameters.items():
        if not isinstance(value, list | dict) and value_of(str(value)) == value:
            words += ["-p", name, str(value)]
        else:
            words += ["-y", f"{name}: {json.dumps(value)}"]
    return " ".join(shlex.quote(word) for word in words)


def _execute(book, work: Path, parameters: dict, timeout, kernel: str, environment: dict):
    import papermill
    from jupyter_client.manager import AsyncKernelManager

    class TiedKernelManager(AsyncKernelManager):
        async def _async_pre_start_kernel(self, **options):
            return await super()._async_pre_start_kernel(preexec_fn=tied_to_me(), **options)

        pre_start_kernel = _async_pre_start_kernel

    source = work / "in.ipynb"
    nbformat.write(book, source)
    with _environment({**_ENVIRONMENT, "JUPYTER_RUNTIME_DIR": str(work / "runtime"), **environment}):
        return papermill.execute_notebook(
            str(source),
            str(work / "out.ipynb"),
            parameters,
            kernel_name=kernel,
            language="python",
            progress_bar=False,
            start_timeout=180,
            execution_timeout=timeout,
            autosave_cell_every=0,
            kernel_manager_class=TiedKernelManager,
            extra_arguments=["--IPKernelApp.log_level=40"],
        )


@contextmanager
def _environment(values: dict):
    values = {**values, "OMP_NUM_THREADS": values.get("OMP_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS", "1")}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _finish(book, notebook: Path, target: Path) -> None:
    """Without the marks that this driver needed, and without the folders of this machine."""
    for cell in book.cells:
        cell.metadata.pop(_NUMBER, None)
    facts = book.metadata.get("papermill", {})
    facts.pop("output_path", None)
    facts["input_path"] = notebook.name
    nbformat.write(book, target)


def _report(error: Exception, partial: Path, call: tuple, log) -> dict:
    notebook, output = call[:2]
    report = {"notebook": shown(notebook), "cell": None, "first_line": None, "cause": _cause(error)}
    kept, report_file = failure_files(output)
    if partial.is_file():
        book = nbformat.read(partial, as_version=4)
        cell = _failed_cell(book)
        if cell is not None and type(error) is not RuntimeError:
            report["cell"] = cell.metadata.get(_NUMBER) or "with the injected parameters"
            report["first_line"] = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")[:80]
        _finish(book, notebook, partial)
        os.replace(partial, kept)
        report["partial"] = shown(kept)
    report["log"] = shown(Path(log)) if log else None
    report["command"] = command(*call)
    report["time"] = time.time()
    part = report_file.with_suffix(".json.part")
    part.write_text(json.dumps(report, indent=1))
    os.replace(part, report_file)
    return report


def _cause(error: Exception) -> str:
    name = type(error).__name__
    if name == "PapermillExecutionError":
        lines = [line.strip() for line in str(error.evalue).splitlines() if line.strip()]
        return f"{error.ename}: {' / '.join(lines[:4])}" if lines else str(error.ename)
    if name == "DeadKernelError":
        return "the kernel died: it was killed, or the machine ran out of memory"
    if name == "CellTimeoutError":
        return f"the cell ran past its time limit: {str(error).splitlines()[0]}"
    return f"{name}: {(str(error).splitlines() or [''])[0]}"


def _failed_cell(book):
    """The cell with an error, else the last one that was begun."""
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    wrong = [cell for cell in code if any(output.output_type == "error" for output in cell.outputs)]
    begun = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
    return (wrong or begun[-1:] or [None])[0]
