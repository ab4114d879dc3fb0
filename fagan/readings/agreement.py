"""This clone's numbers against the published ones, in words."""

import pandas as pd

from fagan.readings.reading import Reading
from fagan.records import Runs
from fagan.tables import (
    conditions,
    count,
    number,
    other_configurations,
    record_agreement,
    score_agreement,
)

NAMED = 6  # runs that a sentence names one by one


def read_agreement(here: Runs, published: Runs) -> Reading:
    """Whether the published numbers repeat: to the last digit, else within their intervals."""
    scores, records = score_agreement(here, published), record_agreement(here, published)
    n = scores["run_id"].nunique()
    rest = _left_out(here, published, set(scores["run_id"]))
    if not n:
        return Reading("No run can be held against the published results yet", rest)
    verdicts = scores["verdict"].value_counts()
    equal, differs = int(verdicts.get("equal", 0)), int(verdicts.get("differs", 0))
    outside, inside = int(verdicts.get("outside", 0)), int(verdicts.get("inside", 0))
    total, cells = len(scores), int(records["values"].sum())
    cells_equal = int(records["equal"].sum())
    runs = f"{n} {'run' if n == 1 else 'runs'}"
    sentences = [
        f"{runs}, {count(total)} final scores: {count(equal)} equal to the last digit. Of the "
        f"{count(cells)} numbers recorded while they trained, {count(cells_equal)} are equal."
    ]
    if equal == total and cells == cells_equal:
        claim = "This clone repeats the published numbers to the last digit"
    elif differs:
        claim = f"{differs} of {total} final scores differ where they should repeat"
    elif equal == total:
        claim = "The published final scores repeat to the last digit, not every number on the way"
    elif outside:
        claim = f"{outside} of {total} final scores lie outside the published seeds' interval"
    elif inside + equal == total:
        claim = "This clone's scores lie within the published seeds' interval"
    else:
        claim = f"{inside + equal} of {total} final scores could be held against the published ones"
    if differs:
        named = _named(scores, "differs")
        sentences.append(f"**Under the same conditions these differ: {named}.**")
    if inside or outside:
        sentences.append(
            f"{count(inside)} of the others lie inside the 95 % interval of one more run of their "
            f"arm, {count(outside)} outside, where {number(0.05 * (inside + outside), 2)} are "
            "expected by chance."
        )
        if outside:
            sentences.append(f"**Outside: {_named(scores, 'outside')}.**")
    alone = int(verdicts.get("one-sided", 0))
    if alone:
        sentences.append(f"**{count(alone)} scores are in one of the two records only.**")
    lacking = int(verdicts.get("no interval", 0))
    if lacking:
        sentences.append(
            f"{count(lacking)} differ and have no interval: one seed an arm shows no spread."
        )
    return Reading(claim, " ".join([*sentences, read_conditions(here, published), rest]).strip())


def read_conditions(here: Runs, published: Runs) -> str:
    """Whether the two records were made under the same conditions, and which are not."""
    table = conditions(here, published)
    other = table[~table["same"].astype(bool)]
    if other.empty:
        return "Both were made under the same conditions: last digits must repeat."
    said = [
        f"{row['condition']} ({' and '.join(row['here']) or 'not recorded'} here, "
        f"{' and '.join(row['published']) or 'not recorded'} published)"
        for row in other.to_dict("records")
    ]
    return f"Other than for the published runs: {'; '.join(said)}. So last digits need not repeat."


def _left_out(here: Runs, published: Runs, compared: set[str]) -> str:
    """What could not be compared, and why."""
    other = other_configurations(here, published)
    new = [i for i in here.runs["run_id"] if i not in set(published.runs["run_id"])]
    sentences = []
    if other:
        fields = sorted({name for names in other.values() for name in names})
        sentences.append(
            f"Not compared: {len(other)} with another configuration than the published run "
            f"({', '.join(fields)})."
        )
    if new:
        sentences.append(f"Not compared: {len(new)} that are not published.")
    ended = published.runs.loc[published.runs["status"] == "done", "run_id"]
    absent = len(set(ended) - compared - set(other))
    if absent:
        sentences.append(f"Published, and not done here yet: {absent}.")
    return " ".join(sentences)


def _named(scores: pd.DataFrame, verdict: str) -> str:
    own = scores[scores["verdict"] == verdict]
    shown = [f"{row.run_id} {row.metric}" for row in own.head(NAMED).itertuples()]
    more = len(own) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
