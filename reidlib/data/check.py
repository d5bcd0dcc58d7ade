"""Is a data set whole, and is it what its authors published? A plain verdict and what to do about it.

`check(frame, root)` looks at a frame and, with a root, at every file; `check_folder(root)` reads the folder first.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reidlib.data import check_files, reader_of
from reidlib.data.frame import FrameError, validate

GUESSED = ("market1501", "dukemtmc", "msmt17", "cuhk03", "cuhk03-np", "viper", "prcc", "ltcc")


@dataclass(frozen=True)
class Finding:
    """What was found and what to do. `wrong`: scores on this data would be wrong or not comparable."""

    wrong: bool
    sentence: str
    remedy: str


@dataclass(frozen=True, eq=False)
class Report:
    """The outcome of `check`: `counts` a table with one row a part of the data set (published numbers beside, where
    known), `files` one row a frame row (width, height, bytes, digest, error) or None, and the findings."""

    name: str
    root: Path | None
    frame: pd.DataFrame
    counts: pd.DataFrame
    files: pd.DataFrame | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """No finding is wrong."""
        return not any(finding.wrong for finding in self.findings)

    @property
    def verdict(self) -> str:
        """One sentence."""
        wrong = sum(finding.wrong for finding in self.findings)
        if wrong:
            return f"Do not use {self.name} as it is: {wrong} thing{'s are' if wrong > 1 else ' is'} wrong."
        known = "expected_images" in self.counts and self.counts["expected_images"].notna().any()
        exact = "and has the published counts" if known else "(there are no published counts to compare with)"
        looked = "Every file was read." if self.files is not None else "The files were not opened."
        return f"{self.name} is whole {exact}. {looked}"

    def text(self) -> str:
        """The report for a terminal."""
        lines = [self.verdict, "", self.counts.to_string(na_rep="-"), "", *self.sizes(), ""]
        for wrong, remedy, sentences in self.by_remedy():
            lines += [f"{'WRONG' if wrong else 'note '}  {sentence}." for sentence in sentences]
            lines.append(f"       {remedy}.")
        return "\n".join(lines).rstrip()

    def by_remedy(self) -> list[tuple[bool, str, list[str]]]:
        """(wrong, remedy, sentences): findings that ask for the same are put together, the wrong ones first."""
        groups: dict[tuple[bool, str], list[str]] = {}
        for finding in sorted(self.findings, key=lambda finding: not finding.wrong):
            groups.setdefault((finding.wrong, finding.remedy), []).append(finding.sentence)
        return [(*key, sentences) for key, sentences in groups.items()]

    def sizes(self) -> list[str]:
        """Sentences: people, cameras, the spread of images, cameras and outfits over people, image sizes."""
        people = self.frame[self.frame["pid"] >= 1].drop_duplicates("path").groupby("pid")
        spread = {
            "images": people.size(), "cameras": people["camid"].nunique(), "outfits": people["clothes"].agg(_outfits),
        }  # fmt: skip
        lines = [f"{len(people)} people, {self.frame['camid'].nunique()} cameras"]
        for what, numbers in spread.items():
            if len(numbers) and numbers.max() > 0:
                lines.append(f"{what} of a person: {numbers.min()} to {numbers.max()}, median {numbers.median():g}")
        read = None if self.files is None else self.files[self.files["error"].isna()]
        if read is not None and len(read):
            for word, place in (("smallest", read["pixels"].idxmin()), ("largest", read["pixels"].idxmax())):
                row = read.loc[place]
                lines.append(f"{word} image: {row['width']:.0f} wide, {row['height']:.0f} high ({row['path']})")
        return lines


def check_folder(
    root, dataset: str | None = None, own: bool = False, files: bool = True, progress: bool = False, **options
) -> Report:
    """Read the data set in `root` and check it. `dataset` is guessed from the layout unless given; `options` go to its
    reader; `own` data in a known layout is not compared with the published numbers. Raises ValueError or
    FileNotFoundError when it cannot be read at all."""
    dataset, reader, frame = _read(root, dataset, options)
    published = reader.expected(**options) if hasattr(reader, "expected") else reader.EXPECTED
    published = {} if own else published
    return check(frame, reader.find_root(root), published, dataset, files=files, progress=progress)


def check(
    frame: pd.DataFrame, root=None, published: dict | None = None, name: str = "the data set", *,
    scheme: str | None = None, files: bool = True, progress: bool = False,
) -> Report:  # fmt: skip
    """Check a frame and, with `root`, its files.

    published: `{part: {"images": n or None, "identities": n or None}}`, a reader's EXPECTED. scheme: label set of the
    parsing maps (see `reidlib.data.parsing`). files: open every image and label map.
    """
    counts = count(frame, published or {})
    found = check_files.opened(frame, Path(root), scheme, progress) if root is not None and files else None
    findings = [*_rules(frame), *_differences(counts), *_matches(frame)]
    if found is not None:
        findings += [Finding(*fault) for fault in check_files.faults(frame, found, _as_published(counts))]
    return Report(name, None if root is None else Path(root), frame, counts, found, tuple(findings))


def count(frame: pd.DataFrame, published: dict) -> pd.DataFrame:
    """Images and identities of each part beside the published ones; `gallery` without junk, with the distractors as
    one identity; `all` every file once. Columns as in `market1501.counts`, which agrees."""
    gallery = frame[frame["split"] == "gallery"]
    parts = {split: frame[frame["split"] == split] for split in ("train", "val", "query", "multi")}
    parts["gallery"] = gallery[gallery["pid"] >= 0]
    parts["distractors"], parts["junk"] = (gallery[gallery["pid"] == pid] for pid in (0, -1))
    parts["all"] = frame.drop_duplicates("path")
    rows = {}
    for part, some in parts.items():
        known = published.get(part, {})
        if len(some) or known:
            rows[part] = {
                "images": len(some), "identities": some["pid"].nunique(),
                "expected_images": known.get("images"), "expected_identities": known.get("identities"),
            }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index").astype("Int64")
    if not published:
        return table[["images", "identities"]]
    same = [(table[c] == table[f"expected_{c}"]) | table[f"expected_{c}"].isna() for c in ("images", "identities")]
    return table.assign(agrees=(same[0] & same[1]).fillna(True).astype(bool))


def guess(root) -> list[str]:
    """Names of the data sets whose folders `root` has; "csv" or "folder" when it has those of none."""
    if str(root).endswith(".csv"):
        return ["csv"]
    found = []
    for name in GUESSED:
        try:
            reader_of(name).find_root(root)
        except FileNotFoundError:
            continue
        found.append(name)
    tables = list(Path(root).expanduser().glob("*.csv"))
    return found or (["csv"] if len(tables) == 1 else ["folder"])


def _read(root, dataset: str | None, options: dict):
    if not Path(root).expanduser().exists():
        raise FileNotFoundError(f"there is no folder {root}; give the folder of a data set, or a CSV file")
    names = guess(root) if dataset is None else [dataset]
    faults = []
    for name in names:
        reader = reader_of(name)
        unknown = sorted(set(options) - set(inspect.signature(reader.read).parameters))
        if unknown:
            faults.append(f"the reader of {name!r} has no option {unknown[0]!r}")
            continue
        try:
            return name, reader, reader.read(root, **options)
        except (ValueError, FileNotFoundError) as error:
            faults.append(str(error))
    if len(names) == 1:
        raise ValueError(faults[0])
    words = "; ".join(f"as {name}: {fault}" for name, fault in zip(names, faults, strict=True))
    raise ValueError(f"{root} cannot be read {words}. Name the data set (--dataset) to see one reason")


def _rules(frame):
    try:
        validate(frame)
    except FrameError as error:
        yield Finding(True, str(error), "Correct the labels")


def _differences(counts):
    if "agrees" not in counts:
        return
    for part, row in counts[~counts["agrees"]].iterrows():
        if part == "multi" and not row["images"]:
            yield Finding(False, "there is no gt_bbox", "Only the multi-query protocol needs it")
            continue
        found = f"{part} has {row['images']:,} images of {row['identities']:,} identities"
        known = [f"{row[f'expected_{c}']:,} {c}" for c in ("images", "identities") if pd.notna(row[f"expected_{c}"])]
        yield Finding(
            True, f"{found}; published are {' and '.join(known)}",
            "Unpack the data set again, or look for added files: its scores cannot be compared with published ones. "
            "For other data in this layout leave the published numbers out (--own)",
        )  # fmt: skip


def _as_published(counts: pd.DataFrame) -> bool:
    return "agrees" in counts and bool(counts["agrees"].drop("multi", errors="ignore").all())


def _matches(frame):
    query, gallery = (frame[frame["split"] == split] for split in ("query", "gallery"))
    if not len(query):
        yield Finding(
            False, "there are no queries", "Nothing can be scored; train only, or hold out people to validate"
        )
        return
    cameras = set(frame["camid"])
    if len(cameras) == 1:
        yield Finding(False, "there is one camera", "Score with the protocol AnyCamera, or read cameras from the names")
        return
    seen = gallery.groupby("pid")["camid"].agg(set)
    lost = [p for p, c in zip(query["pid"], query["camid"], strict=True) if not (seen.get(p, set()) - {c})]
    if lost:
        yield Finding(
            False, f"{len(lost)} of {len(query)} queries have no match in another camera (first: pid {lost[0]})",
            "Pass unmatched='skip' to the evaluation; they are counted in its card",
        )  # fmt: skip


def _outfits(clothes: pd.Series) -> int:
    return clothes[clothes >= 0].nunique()
