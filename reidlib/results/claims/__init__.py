"""The papers' claims, and what our runs say about each."""

import functools
import itertools
from dataclasses import dataclass, field

import pandas as pd

from reidlib.results import tables
from reidlib.results.claims import p0, p1, p2, p3, p4
from reidlib.results.runs import by_seed, choose_set
from reidlib.results.verdicts import Verdict

_CHAPTERS = {"P0": p0, "P1": p1, "P2": p2, "P3": p3, "P4": p4}  # modules with RULES and arms()
RULES = {paper: module.RULES for paper, module in _CHAPTERS.items()}
SETTINGS = {"paper": "@paper", "chosen": ""}


@dataclass(frozen=True)
class Claim:
    """One claim: its sentence, where the paper's numbers are, how it is tested, when it counts as reproduced."""

    id: str
    sentence: str
    test: str
    rule: str
    settings: str
    evidence: tuple = ()
    evidence_note: str = ""
    compare: dict = field(default_factory=dict)

    @property
    def paper(self):
        return self.id.partition("-")[0]


def load(paper=None):
    """All claims as a list, or those of one paper ("P1"). Evidence keys with lists are spread out."""
    return [claim for claim in _load(tables.papers_dir() / "claims.yml") if paper in (None, claim.paper)]


@functools.cache
def _load(path):
    import yaml

    return tuple(
        Claim(**{**entry, "evidence": tuple(_spread(entry.get("evidence", ())))})
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
    )


def _spread(evidence):
    for entry in evidence:
        choices = [entry[name] if isinstance(entry[name], list) else [entry[name]] for name in tables.KEY]
        for key in itertools.product(*choices):
            yield dict(zip(tables.KEY, key, strict=True))


def get(claim_id):
    """A claim by its id, such as "P1-C3". Raises ValueError for an unknown one."""
    for claim in load():
        if claim.id == claim_id:
            return claim
    raise ValueError(f"unknown claim {claim_id!r}; claims are numbered from P0-C1 to P4-C12")


def evidence_text(claim):
    """The paper's numbers, looked up: "ResNet-50 + triplet loss: R1 86.6, mAP 75.9 (Table 4.2, Market-1501)"."""
    groups = {}
    for key in claim.evidence:
        number = f"{key['metric']} {tables.lookup(**key):g}"
        groups.setdefault((key["table"], key["variant"], key["dataset"]), []).append(number)
    parts = [
        f"{variant.removeprefix('ours:')}: {', '.join(numbers)} (Table {table.partition('.')[2]}, {dataset})"
        for (table, variant, dataset), numbers in groups.items()
    ]
    return "; ".join(parts + [claim.evidence_note] * bool(claim.evidence_note))


def verdict(claim, records, settings="paper", dataset=None):
    """What the records say about a claim (a Claim or its id), as a Verdict that names its runs and seeds.

    settings: "paper", arms run at the paper's own settings (their names end in @paper), or "chosen", arms whose
    settings were chosen on validation identities.
    Where a claim's `compare` has `at_chosen`, the entries in it replace its others at chosen settings.
    dataset: judge by runs on this data set only; otherwise by those on the `datasets` that the claim names, each with
    its largest set of comparable runs, or if it names none by the largest set there is. The verdict at chosen settings
    leaves out data sets without all of the runs, as long as one is left; it names those that it is of.
    """
    if settings not in SETTINGS:
        raise ValueError(f"unknown settings {settings!r}; one of {', '.join(SETTINGS)}")
    claim = get(claim) if isinstance(claim, str) else claim
    compare, arms_of = dict(claim.compare), _CHAPTERS[claim.paper].arms
    at_chosen = compare.pop("at_chosen", {})
    if settings == "chosen":
        compare |= at_chosen
    if dataset is not None and "datasets" in compare:
        compare |= {"datasets": [dataset], "quoted": []}
    judged = compare.get("datasets", [dataset])
    arms = {arm: f"{arm}{SETTINGS[settings]}" for arm in arms_of(compare)}
    chapter = tables.paper(claim.paper)["chapter"]
    own = [record for record in records if record.experiment == chapter]
    needed = [arms[arm] for arm in arms_of(compare, optional=False)]
    sets = {name: choose_set(own, needed or arms.values(), name) for name in [*judged, *compare.get("quoted", ())]}

    def values(arm, name, dataset=judged[0]):
        return by_seed(sets[dataset].records, arms[arm], name)

    missing = [(arm, name) for name in judged for arm in needed if arm not in {r.arm for r in sets[name].records}]
    lacking = {name for _, name in missing}
    if settings == "chosen" and 0 < len(lacking) < len(judged):  # the second verdict may be of fewer data sets
        compare["datasets"], missing = [name for name in judged if name not in lacking], []
    if missing:
        return Verdict("not run", _missing(missing))
    result = RULES[claim.paper][claim.id](compare, values)
    shown = [*compare.get("datasets", judged), *compare.get("quoted", ())]
    runs = _named([sets[name].name for name in shown if sets[name].records])
    return Verdict(result.status, f"{result.reason} ({runs})" if runs else result.reason, result.n)


def _missing(missing):
    """Missing (arm, data set or None), all of a few and the first of many."""
    texts = [arm if name is None else f"{arm} on {name}" for arm, name in missing]
    shown = texts if len(texts) <= 3 else [f"{texts[0]} and {len(texts) - 1} more"]
    return f"no run of {', '.join(shown)}"


def _named(names):
    """Names of run sets in one text: "market-like, duke-like, CPU" where only the data set differs."""
    rest = {name.partition(", ")[2] for name in names}
    if len(rest) != 1:
        return "; ".join(names)
    return ", ".join([*(name.partition(", ")[0] for name in names), *rest])


def table(paper, records, dataset=None):
    """The claims of a paper with both verdicts, one row a claim.

    Columns: id, claim, paper (its numbers), test, rule, verdict, why, n (at the paper's settings), verdict_chosen,
    why_chosen, n_chosen (at the settings chosen on validation).
    """
    rows = []
    for claim in load(paper):
        first, second = (verdict(claim, records, settings, dataset) for settings in SETTINGS)
        rows.append(
            {
                "id": claim.id,
                "claim": claim.sentence,
                "paper": evidence_text(claim),
                "test": claim.test,
                "rule": claim.rule,
                "verdict": first.status,
                "why": first.reason,
                "n": first.n,
                "verdict_chosen": second.status,
                "why_chosen": second.reason,
                "n_chosen": second.n,
            }
        )
    if not rows:
        raise ValueError(f"no claims of paper {paper!r}; papers are {', '.join(p['id'] for p in tables.papers())}")
    return pd.DataFrame(rows)
