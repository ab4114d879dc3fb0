"""The page that holds this clone's numbers against the published ones."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fagan.records import Runs, write_text
from fagan.report.pages import fill, sentence

PAGE = "published.html"
ENTIRE = "equal"


def agreement_page(
    runs: Runs, published: Runs, page: Path, links: Iterable[Mapping[str, Any]]
) -> Path:
    """Write the page, and its two tables with every digit beside it; the page's path."""
    from fagan import readings, tables

    scores = tables.score_agreement(runs, published)
    records = tables.record_agreement(runs, published)
    for name, table in (("score_agreement", scores), ("record_agreement", records)):
        tables.write(table, page.parent / "tables" / f"{name}.csv")
    reading = readings.read_agreement(runs, published)
    html = fill(
        "published.html.j2",
        title=reading.claim,
        site=runs.ablation,
        links=links,
        text=sentence(reading.text),
        published=readings.made_with(published),
        conditions=tables.conditions(runs, published).to_dict("records"),
        matrix=_matrix(scores, records),
        scores=_score_rows(scores),
        made_with=readings.made_with(runs),
    )
    write_text(page, html)
    return page


def _matrix(scores, records) -> dict[str, list]:
    """One row per run, one column per final score and recorded table; a cell is a verdict."""
    metrics, names = list(dict.fromkeys(scores["metric"])), list(dict.fromkeys(records["table"]))
    rows = []
    for run_id, own in scores.groupby("run_id", sort=False):
        said = dict(zip(own["metric"], own["verdict"], strict=True))
        cells = [said.get(metric, "") for metric in metrics]
        kept = records[records["run_id"] == run_id].set_index("table")
        cells += [_recorded(kept.loc[name]) if name in kept.index else "" for name in names]
        rows.append({"run_id": run_id, "href": f"runs/{run_id}.html", "cells": cells})
    return {"columns": [_heading(name) for name in (*metrics, *names)], "rows": rows}


def _recorded(row) -> str:
    if row["equal"] == row["values"]:
        return ENTIRE
    return "differs" if row["step"] is None or row["step"] != row["step"] else _from(row["step"])


def _from(step: int) -> str:
    from fagan.tables import count

    return f"differs from step {count(step)}"


def _heading(name: str) -> str:
    from fagan.plots import METRICS

    return METRICS.get(name, name)


def _score_rows(scores) -> list[dict[str, Any]]:
    """Every score with every digit."""
    from fagan.tables import DASH, span

    def digits(value: float) -> str:
        return DASH if value != value else repr(float(value))

    return [
        {
            "run_id": row.run_id,
            "metric": _heading(row.metric),
            "here": digits(row.here),
            "published": digits(row.published),
            "interval": span(row.low, row.high),
            "verdict": row.verdict,
        }
        for row in scores.itertuples()
    ]
