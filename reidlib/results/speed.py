"""What reidlib and other programs took side by side: the records of `make bench`, as tables and bars.

A record is one JSON file, `<case>-<one or all>.json`: a case with one or all threads. The first of its `ways` is
reidlib's, whose time divides that of the others; one can be the `floor`, which does only what nobody can leave out.
`seconds` are those of the rounds, in which all ways took turns.
"""

import json
import textwrap
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
import pandas as pd

from reidlib.figures import QUERY, RIGHT, WRONG
from reidlib.results.records import RecordError
from reidlib.results.stored import recorded_dir

SCHEMA = 1
OURS = "reidlib"
PLACE = ["case", "what", "size"]  # columns of every table that has a row for a case
FIELDS = ("case", "title", "size", "threads", "setting", "ways", "floor", "machine", "cores", "versions", "created")


def load(folder: str | Path | None = None) -> list[dict]:
    """All records of a folder (default: those of the book), in the order of their titles. Raises RecordError."""
    folder = recorded_dir("speed") if folder is None else Path(folder)
    paths = sorted(folder.glob("*.json")) if folder and folder.is_dir() else []
    if not paths:
        where = f"in {folder}" if folder else "here, without the repository"
        raise RecordError(f"no records of `make bench` {where}: run it, or name another folder")
    return sorted(map(_read, paths), key=lambda record: (record["title"], record["case"], record["threads"]))


def _read(path: Path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is broken ({error}): delete it and run `make bench` again") from None
    missing = [name for name in ("schema", *FIELDS) if not isinstance(record, dict) or name not in record]
    if missing:
        raise RecordError(f"{path} is no record of `make bench` (no {missing[0]}): delete it, or name another folder")
    if record["schema"] != SCHEMA:
        raise RecordError(f"{path} has schema {record['schema']}, not {SCHEMA}: run `make bench` again")
    return record


def ratio(record: dict, way: dict) -> tuple[float, float, float]:
    """How many times as long a way took as reidlib: median over median, lowest and highest of the rounds' ratios."""
    ours = record["ways"][0]["seconds"]
    rounds = [theirs / own for theirs, own in zip(way["seconds"], ours, strict=False)]
    middle = median(way["seconds"]) / median(ours)
    return middle, min(*rounds, middle), max(*rounds, middle)


def against(records: list[dict], setting: str) -> pd.DataFrame:
    """A row for each program that reidlib was measured against with "one" or "all" threads.

    Columns: case, what, size, against, reidlib ms, other ms, ratio, lowest, highest, spread (both in words), aim, first
    (is it the program that the aim is about?).
    """
    rows = []
    for record in records:
        others = [way for way in record["ways"] if way["source"] != OURS and way["name"] != record["floor"]]
        for way in others if record["setting"] == setting else ():
            middle, low, high = ratio(record, way)
            rows.append(
                {
                    "case": record["case"],
                    "what": record["title"],
                    "size": record["size"],
                    "against": way["name"],
                    "reidlib ms": 1000 * median(record["ways"][0]["seconds"]),
                    "other ms": 1000 * median(way["seconds"]),
                    "ratio": middle,
                    "lowest": low,
                    "highest": high,
                    "spread": f"{low:.3g} to {high:.3g}",
                    "aim": record.get("at_least") if way is others[0] and setting == "one" else None,
                    "first": way is others[0],
                }
            )
    columns = [*PLACE, "against", "reidlib ms", "other ms", "ratio", "lowest", "highest", "spread", "aim", "first"]
    return pd.DataFrame(rows, columns=columns)


def costs(records: list[dict], setting: str = "one") -> pd.DataFrame:
    """A row for each case: reidlib's time against its floor, memory beyond the input, and what limits it."""
    rows = []
    for record in records:
        ways = {way["name"]: way for way in record["ways"]}
        first, floor = record["ways"][0], ways.get(record["floor"])
        others = [way for way in record["ways"][1:] if way["source"] != OURS and way is not floor]
        if record["setting"] == setting:
            rows.append(
                {
                    "case": record["case"],
                    "what": record["title"],
                    "size": record["size"],
                    "floor": record["floor"] or "",
                    "times the floor": median(first["seconds"]) / median(floor["seconds"]) if floor else float("nan"),
                    "reidlib MiB": first["extra_mib"],
                    "other MiB": others[0]["extra_mib"] if others else float("nan"),
                    "at most MiB": record.get("at_most_mib"),
                    "limited by": record.get("limit", ""),
                }
            )
    columns = [
        "case",
        "what",
        "size",
        "floor",
        "times the floor",
        "reidlib MiB",
        "other MiB",
        "at most MiB",
        "limited by",
    ]
    return pd.DataFrame(rows, columns=columns)


def times(records: list[dict], case: str) -> pd.DataFrame:
    """Milliseconds of every way of a case with one thread, and the most that was aimed at."""
    rows = [
        {
            "way": way["name"],
            "program": way["source"],
            "ms": 1000 * median(way["seconds"]),
            "fastest": 1000 * min(way["seconds"]),
            "slowest": 1000 * max(way["seconds"]),
            "aim": record.get("at_most_ms") if way["source"] == OURS else None,
        }
        for record in records
        if record["case"] == case and record["setting"] == "one"
        for way in record["ways"]
    ]
    return pd.DataFrame(rows, columns=["way", "program", "ms", "fastest", "slowest", "aim"])


def tiny(records: list[dict], setting: str = "one") -> pd.DataFrame:
    """Milliseconds on an input of a few images, where a fast method can lose: reidlib and the first other program."""
    rows = []
    for record in records:
        others = [way for way in record["ways"][1:] if way["source"] != OURS and way["name"] != record["floor"]]
        if record["setting"] == setting and others:
            ours, other = (median(way["tiny_ms"]) for way in (record["ways"][0], others[0]))
            row = {
                "case": record["case"],
                "what": record["title"],
                "size": record["size"],
                "against": others[0]["name"],
            }
            rows.append({**row, "reidlib ms": ours, "other ms": other, "longer by ms": ours - other})
    columns = [*PLACE, "against", "reidlib ms", "other ms", "longer by ms"]
    return pd.DataFrame(rows, columns=columns)


def differences(records: list[dict]) -> pd.DataFrame:
    """What the comparison of the results found, a row for each case with one thread."""
    rows = []
    for record in records:
        found = record.get("differences", {})
        if record["setting"] == "one" and found:
            words = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
            rows.append({"case": record["case"], "what": record["title"], "size": record["size"], "found": words})
    return pd.DataFrame(rows, columns=[*PLACE, "found"])


def machines(records: list[dict]) -> pd.DataFrame:
    """On what and when the records were made: a row for each machine and set of versions."""
    rows = {}
    for record in records:
        versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        row = rows.setdefault((record["machine"], record["cores"], versions), {"first": record["created"], "cases": 0})
        row["first"], row["last"] = min(row["first"], record["created"]), max(row.get("last", ""), record["created"])
        row["cases"] += 1
    return pd.DataFrame(
        {
            "processor": machine,
            "cores": cores,
            "measured (UTC)": f"{row['first'][:16]} to {row['last'][:16]}".replace("T", " "),
            "records": row["cases"],
            "versions": versions,
        }
        for (machine, cores, versions), row in rows.items()
    )


def unmet(records: list[dict]) -> list[str]:
    """What was aimed at and not reached with one thread, a sentence each."""
    found = []
    rows = against(records, "one")
    for row in rows[rows["aim"].notna()].itertuples():
        if row.ratio < row.aim:
            found.append(f"{row.what} ({row.size}): {row.ratio:.1f} times, aimed at {row.aim:g}.")
    for row in costs(records).to_dict("records"):
        if (limit := row["at most MiB"]) and row["reidlib MiB"] > limit:
            needed = f"{row['reidlib MiB']:.0f} MiB beyond the input, aimed at {limit:g} at most"
            found.append(f"{row['what']} ({row['size']}): {needed}.")
    for record in records:
        if record.get("at_most_ms") and record["setting"] == "one":
            late = times(records, record["case"])
            for way in late[late["ms"] > late["aim"]].itertuples():
                found.append(f"{record['title']} ({record['size']}), {way.way}: {way.ms:.1f} ms, aimed at {way.aim:g}.")
    return found


def bars(rows: pd.DataFrame):
    """Bars of the ratios of `against` on a logarithmic scale, with their spread and the aims. Returns the figure."""
    rows = rows.sort_values("ratio", kind="stable").reset_index(drop=True)
    figure, axis = plt.subplots(figsize=(5.2, 0.68 * len(rows) + 0.6))
    low = min(0.8, rows["lowest"].min() * 0.8)
    for y, row in rows.iterrows():
        axis.barh(y, row["ratio"], color=RIGHT if row["ratio"] >= 1 else WRONG, alpha=0.75, height=0.34, zorder=2)
        axis.plot([row["lowest"], row["highest"]], [y, y], color=QUERY, linewidth=1.6)
        place = {"xy": (row["highest"], y), "xytext": (5, 0), "textcoords": "offset points"}
        axis.annotate(f"{row['ratio']:.3g}×", **place, va="center", fontsize=9)
        if pd.notna(row["aim"]):
            axis.plot([row["aim"]] * 2, [y - 0.2, y + 0.2], color=QUERY, linewidth=1.6, linestyle=":")
        name = f"{row['what']}, {row['size']}, against {row['against']}"
        words = axis.text(low * 1.04, y + 0.22, "\n".join(textwrap.wrap(name, 68)), fontsize=7.5, linespacing=1.05)
        words.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    axis.axvline(1, color=QUERY, linewidth=0.8, zorder=1)
    axis.set(xscale="log", xlabel="times reidlib's time\n(dotted: aimed at; line: spread of the rounds)", yticks=[])
    axis.set(xlim=(low, rows["highest"].max() * 2.2), ylim=(-0.4, len(rows) - 0.25))
    axis.xaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:g}"))
    return figure
