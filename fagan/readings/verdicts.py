"""From a page's comparisons to sentences: what is called, what is not, and what it would take."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from fagan.readings.scores import nothing_found, signed
from fagan.records import Runs
from fagan.tables import CHANGE, WOBBLE, arm_configs, count, number, offers, span
from fagan.tables.variants import Pair

OPEN = "Open: no arm here "
Wanted = tuple[Callable[[pd.DataFrame], list[Pair]], str]


@dataclass(frozen=True)
class Page:
    """What the questions are answered from."""

    runs: Runs
    rows: pd.DataFrame  # tables.comparisons
    known: pd.DataFrame | None = None  # ablations.known_arms

    def of(self, question: str, subject: str | None = None, measure: str | None = None):
        """The comparisons of a question that hold two values or more."""
        rows = self.rows[(self.rows["question"] == question) & (self.rows["n"] > 1)]
        if subject is not None:
            rows = rows[rows["subject"] == subject]
        return rows if measure is None else rows[rows["measure"] == measure]


@dataclass(frozen=True)
class Said:
    answer: str
    evidence: list[str] = field(default_factory=list)
    n: int = 0
    interval: str = ""


def said(answer: str, evidence: list[str], rows: pd.DataFrame) -> Said:
    """With the fewest seeds of these comparisons, and the interval of the first."""
    first = rows.iloc[0]
    percents = " %" if first["measure"] in (CHANGE, WOBBLE) else ""
    words = (
        f"{first['label']}: {signed(first['mean'])}{percents} {span(first['low'], first['high'])}"
    )
    return Said(answer, clean(evidence), int(rows["n"].min()), words)


def verdict(rows: pd.DataFrame, what: str) -> str:
    """Every interval, what is called, and what the others could not have shown."""
    if rows.empty:
        return ""
    each = "; ".join(
        f"{row['label']}: {signed(row['mean'])} {span(row['low'], row['high'])}, n = {row['n']}"
        + ("" if row["baseline"] else " runs")
        + _called(row)
        for row in rows.to_dict("records")
    )
    rest = rows[~rows["called"]]
    text = f"**{what[0].upper()}{what[1:]}**: {each}."
    if rest["detectable"].notna().any():
        found = nothing_found(rest)
        text += f" {found[0].upper()}{found[1:]}" if len(rest) == len(rows) else f" Else {found}"
        text += "." if rest["measure"].iloc[0] not in (CHANGE, WOBBLE) else " %."
    return text


def _called(row: dict) -> str:
    if not row["called"]:
        return ""
    return " (called)" if row["alone"] else " (called, if all arms spread alike)"


def missing(page: Page, *wanted: Wanted) -> str:
    """What it would take to see each (pairs, what they show); empty where all are here."""
    arms, lacks = arm_configs(page.runs), {}
    for find, what in wanted:
        if not find(arms):
            able = offers(page.runs, page.known, find) if page.known is not None else []
            lacks.setdefault(able["ablation"].iloc[0] if len(able) else "", []).append((what, able))
    return " ".join(_takes(name, found, page) for name, found in lacks.items())


def _takes(ablation: str, lacks: list[tuple[str, pd.DataFrame]], page: Page) -> str:
    text = f"No two arms here show {' or '.join(what for what, _ in lacks)}."
    if not ablation:
        found = "" if page.known is None else " Nor has a table of this data and resolution."
        return text + found
    row = lacks[0][1].iloc[0]
    return (
        f"{text} `make ablations ABLATION={ablation}` trains them: {row['runs']} runs of "
        f"{count(row['steps'])} steps, {number(row['hours'], 2)} hours of training, one run after "
        "the other, at this ablation's speeds."
    )


def better(rows: pd.DataFrame, what: str) -> str:
    called = rows[rows["called"]]
    if called.empty:
        return f"{what} is not shown to change the score"
    return f"{what} scores {'better' if called['mean'].iloc[0] < 0 else 'worse'}"


def paired(rows: pd.DataFrame) -> list[Pair]:
    return list(zip(rows["arm"], rows["baseline"], strict=True))


def listed(words) -> str:
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def clean(sentences: list[str]) -> list[str]:
    return [sentence for sentence in sentences if sentence]
