"""Run records with their provenance, the papers' tables, statistics over seeds, and the verdict on each claim."""

from reidlib.results import claims, provenance, records, statistics, tables
from reidlib.results.machine import environment, git_state, versions
from reidlib.results.provenance import build_dir, effective_parameters, is_current, repository, run_id
from reidlib.results.records import Record, RecordError, frame_of, load, load_all, new_record, run_directory, save
from reidlib.results.runs import RunSet, by_seed, choose_set, run_sets
from reidlib.results.sheets import SHEET, as_sheet, from_sheet, sheet_of
from reidlib.results.statistics import Interval, bootstrap, format_interval, t_interval
from reidlib.results.stored import agreement, as_npz, available, largest, orders
from reidlib.results.verdicts import Verdict

__all__ = [
    "SHEET",
    "Interval",
    "Record",
    "RecordError",
    "RunSet",
    "Verdict",
    "agreement",
    "as_npz",
    "as_sheet",
    "available",
    "bootstrap",
    "build_dir",
    "by_seed",
    "choose_set",
    "claims",
    "effective_parameters",
    "environment",
    "format_interval",
    "frame_of",
    "from_sheet",
    "git_state",
    "is_current",
    "largest",
    "load",
    "load_all",
    "new_record",
    "orders",
    "provenance",
    "records",
    "repository",
    "run_directory",
    "run_id",
    "run_sets",
    "save",
    "sheet_of",
    "statistics",
    "t_interval",
    "tables",
    "versions",
]
