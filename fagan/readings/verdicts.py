"""From a page's comparisons to sentences: what is called, what is not, and what it would take."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fagan.readings.effects import CONDITION, counted, leaning, named, nothing_found, tally
from fagan.readings.reading import Reading
from fagan.records import Runs
from fagan.tables import FD, MINUS, arm_configs, count, number, offers, seeds, signed, span, summary
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

    def lacking(self, question: str) -> pd.DataFrame:
        """Its pairs of arms that are here and share fewer than two finished seeds."""
        rows = self.rows[(self.rows["question"] == question) & (self.rows["measure"] == FD)]
        return rows[(rows["baseline"] != "") & (rows["n"] < 2)].drop_duplicates("label")


@dataclass(frozen=True)
class Said:
    answer: str
    evidence: list[str] = field(default_factory=list)
    n: int = 0
    interval: str = ""


def said(answer: str, evidence: list[str], rows: pd.DataFrame) -> Said:
    """With the fewest seeds of these comparisons, and the interval of the first that is called.

    Where none is called, of the first.
    """
    called = rows[rows["called"]]
    row = (called if len(called) else rows).iloc[0]
    name, unit = _measure(row)
    words = f"{row['label']}, {name}: {signed(row['mean'])} {span(row['low'], row['high'])}{unit}"
    if row["called"] and leaning(called).iloc[0]:
        words += f", {CONDITION}"
    return Said(answer, clean(evidence), int(rows["n"].min()), words)


def _measure(row: pd.Series) -> tuple[str, str]:
    """`change of FD-Lite0 (%)` -> its name and ` %`."""
    name = row["measure"].removesuffix(" (%)")
    return name, " %" if name != row["measure"] else ""


def unanswered(page: Page, question: str, what: str) -> str:
    """Why no pair is compared: none is here, or too few of its seeds have ended."""
    lacks = page.lacking(question)
    if lacks.empty:
        return OPEN + what
    pairs = lacks["label"].str.replace(f" {MINUS} ", " against ", regex=False)
    return f"No comparison yet: too few finished seeds for {named(pairs)}"


def left_out(page: Page, question: str) -> str:
    """Every pair that is here and not compared, with the seeds that have ended."""
    lacks = page.lacking(question)
    if lacks.empty:
        return ""
    state = summary(page.runs).set_index("arm")
    sentences = []
    for row in lacks.to_dict("records"):
        pair = (row["arm"], row["baseline"])
        names = " and ".join(page.runs.labels[arm] for arm in pair)
        done = " and ".join(_finished(state.loc[arm]) for arm in pair)
        shared = min(int(state.loc[arm, "done"]) for arm in pair) > row["n"]
        also = f", of them shared: {int(row['n'])}" if shared else ""
        sentences.append(f"{names} are here; finished seeds: {done}{also}; no comparison.")
    return " ".join(sentences)


def _finished(state: pd.Series) -> str:
    lost = f" ({int(state['diverged'])} diverged)" if state["diverged"] else ""
    return f"{int(state['done'])} of {int(state['runs'])}{lost}"


def verdict(rows: pd.DataFrame, what: str) -> str:
    """Every interval, what is called, and what the others could not have shown."""
    if rows.empty:
        return ""
    unit = _measure(rows.iloc[0])[1]
    each = "; ".join(
        f"{row['label']}: {signed(row['mean'])} {span(row['low'], row['high'])}{unit}, "
        f"n = {row['n']}{_pooled(row)}{_called(row)}"
        for row in rows.to_dict("records")
    )
    text = f"**{capital(what)}**: {each}."
    rest = rows[~rows["called"]]
    if rest["detectable"].notna().any():
        found = nothing_found(rest, unit)
        text += f" {capital(found)}." if len(rest) == len(rows) else f" Else {found}."
    elif len(rest):
        text += " The seeds of these do not differ at all, so their noise is not known."
    return text


def _pooled(row: dict) -> str:
    """Of the mean over arms within each seed: how many runs it is of."""
    if row["baseline"]:
        return ""
    runs, arms = counted(int(row["runs"]), "run"), counted(int(row["arms"]), "arm")
    return f" ({runs} of {arms} at {seeds(row['n'])})"


def _called(row: dict) -> str:
    if not row["called"]:
        return ""
    return f" (called, {CONDITION})" if row["baseline"] and not row["alone"] else " (called)"


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
    hours = ""
    if np.isfinite(row["hours"]):
        hours = (
            f", {number(row['hours'], 2)} hours of training, one run after the other, at this "
            "ablation's speeds"
        )
    return (
        f"{text} `make ablations ABLATION={ablation}` trains them: {row['runs']} runs of "
        f"{count(row['steps'])} steps{hours}."
    )


def better(rows: pd.DataFrame, what: str) -> str:
    if not rows["called"].any():
        return f"{what} is not shown to change the score"
    return f"{what} scores {tally(rows)}"


def read_corrections(rows: pd.DataFrame) -> Reading:
    """For how many comparisons the page of the answers corrects, and what was called."""
    tested = rows[rows["n"] > 1]
    if tested.empty:
        return Reading("Nothing is compared", "No two arms here share two finished seeds.")
    called = tested[tested["called"]]
    made = int(tested["comparisons"].max())
    first = f"Every interval is corrected for all {made} comparisons of this page"
    if made == 1:
        first = "The interval is at level 95 %"
    leans = int(leaning(called).sum())
    also = f"; of the {len(called)} called {leans} hold only {CONDITION}" if leans else ""
    return Reading(
        f"{counted(made, 'comparison')} made, {len(called)} called",
        f"{first}{also}. {_as_they_are(tested)}The comparison page corrects for its own number, so "
        "a pair may be called on one page and not on the other.",
    )


def _as_they_are(tested: pd.DataFrame) -> str:
    """What the scale decides: which scores would be called otherwise as differences."""
    scores = tested[tested.get("absolute_called", pd.Series(np.nan, tested.index)).notna()]
    if scores.empty:
        return ""
    other = scores[scores["called"].astype(bool) != scores["absolute_called"].astype(bool)]
    names = f" ({named(other['label'])})" if len(other) else ""
    return (
        f"Scores are compared as ratios; as differences {len(other)} of "
        f"{counted(len(scores), 'comparison')} would be called otherwise{names}. "
    )


def paired(rows: pd.DataFrame) -> list[Pair]:
    return list(zip(rows["arm"], rows["baseline"], strict=True))


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def clean(sentences: list[str]) -> list[str]:
    return [sentence for sentence in sentences if sentence]
