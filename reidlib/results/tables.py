"""The numbers that the papers print, and ours beside them."""

import difflib
import functools
from pathlib import Path

import pandas as pd

from reidlib.results.provenance import repository
from reidlib.results.runs import by_seed, choose_set
from reidlib.results.statistics import format_interval

ORIGINS = ("ours", "quoted", "counts")
KEY = ["table", "variant", "dataset", "metric"]


def papers_dir():
    """The folder of the papers' data (tables.csv, claims.yml, papers.yml). Raises FileNotFoundError without a clone."""
    root = repository()
    if root is None or not (root / "book" / "papers").is_dir():
        raise FileNotFoundError("the papers' tables and claims are in book/papers of the repository: use a clone")
    return root / "book" / "papers"


def papers():
    """The five papers as a list of mappings: id, short, title, authors, year, chapter, average_precision, datasets."""
    import yaml

    return yaml.safe_load((papers_dir() / "papers.yml").read_text(encoding="utf-8"))


def paper(paper_id):
    """One of papers() by its id, such as "P1". Raises ValueError listing the ids."""
    found = {entry["id"]: entry for entry in papers()}
    if paper_id not in found:
        raise ValueError(f"unknown paper {paper_id!r}; one of {', '.join(found)}")
    return found[paper_id]


def published(path=None):
    """All printed numbers, one a row: table, variant, dataset, metric, value (percent, except FID and counts), origin.

    origin: "ours" the paper's own runs, "quoted" a baseline that it quotes, "counts" sizes of data sets.
    """
    return _read(Path(path) if path else papers_dir() / "tables.csv").copy()


@functools.cache
def _read(path):
    return pd.read_csv(path, dtype={name: str for name in [*KEY, "origin"]} | {"value": float}, keep_default_na=False)


@functools.cache
def _values(path):
    frame = _read(path)
    return dict(zip(frame[KEY].itertuples(index=False, name=None), frame["value"], strict=True))


def lookup(table, variant, dataset, metric):
    """One printed number. Raises KeyError that names the nearest keys."""
    values = _values(papers_dir() / "tables.csv")
    key = (table, variant, dataset, metric)
    if key not in values:
        near = difflib.get_close_matches(" | ".join(key), [" | ".join(k) for k in values], n=3, cutoff=0.3)
        raise KeyError(f"no printed number {' | '.join(key)}; the nearest: {'; '.join(near) or 'none'}")
    return values[key]


def wide(table, dataset=None):
    """A printed table: one row per (variant, dataset), its metrics as columns, in the printed order."""
    frame = published()
    rows = frame[(frame["table"] == table) & (frame["dataset"].eq(dataset) if dataset else True)]
    if rows.empty:
        known = ", ".join(frame["table"].unique())
        raise KeyError(f"no table {table!r} for {dataset or 'any data set'}; tables: {known}")
    metrics = rows["metric"].unique()
    result = rows.pivot(index=["variant", "dataset"], columns="metric", values="value")
    order = pd.MultiIndex.from_frame(rows[["variant", "dataset"]].drop_duplicates())
    return result.reindex(order)[metrics].rename_axis(columns=None).reset_index()


def compare(table, mapping, records, metrics, dataset=None, on=None, digits=1):
    """The printed values of a table beside ours: one row a variant.

    mapping: `{variant as printed: arm}` (arm None: the variant is quoted, not run); metrics: such as ["R1", "mAP"];
    dataset: the printed data set, needed where the table has several; on: our data set, else the one with most runs.
    Columns: variant, arm, `<metric> paper`, `<metric> ours` ("55.5 [53.1, 57.9], n=3" or "not run"), seeds, runs (which
    runs ours are).
    """
    printed = wide(table, dataset)
    if printed["variant"].duplicated().any():
        raise ValueError(f"table {table} has several data sets ({', '.join(printed['dataset'].unique())}): name one")
    printed = printed.set_index("variant")
    unknown = [variant for variant in mapping if variant not in printed.index]
    if unknown:
        raise KeyError(f"table {table} has no variant {unknown[0]!r}; it has {', '.join(printed.index)}")
    chosen = choose_set(records, [arm for arm in mapping.values() if arm], on)
    rows = []
    for variant, arm in mapping.items():
        row = {"variant": variant, "arm": arm}
        groups = {metric: by_seed(chosen.records, arm, metric) if arm else {} for metric in metrics}
        for metric in metrics:
            value = printed.loc[variant].get(metric)
            row[f"{metric} paper"] = None if pd.isna(value) else float(value)
            row[f"{metric} ours"] = format_interval(groups[metric], digits)
        row["seeds"] = max((len(group) for group in groups.values()), default=0)
        row["runs"] = chosen.name if row["seeds"] else ""
        rows.append(row)
    return pd.DataFrame(rows)
