"""The table of all runs on the front page: what a cell shows, and what it sorts by."""

import base64
import io
from pathlib import Path
from typing import Any

from fagan.records import Runs

# (column of tables.run_table, heading, significant digits; 0 = a whole number, None = a text)
COLUMNS = (
    ("label", "arm", None),
    ("seed", "seed", 0),
    ("status", "status", None),
    ("step", "steps", 0),
    ("fd_lite0", "FD", 3),
    ("kid_lite0", "KID", 3),
    ("coherence_eyes", "coherence, eyes", 2),
    ("coherence_outfit", "coherence, outfit", 2),
    ("images_per_second", "images/s", 3),
    ("max_abs_alpha", "largest |alpha|", 2),
    ("parameters", "parameters", 0),
)
FACES = 3  # of a run's last samples, beside its name


def listing(runs: Runs) -> dict[str, Any]:
    """What front.html.j2 needs: columns, rows and the choices of its filters.

    A cell has `text` and, where it is a number, `value` with every digit: what the page sorts by.
    """
    from fagan.tables import run_table

    table = run_table(runs)
    # no column for what no run of this ablation has, such as the ties of photographs
    columns = [c for c in COLUMNS if c[2] is None or table[c[0]].notna().any()]
    rows = []
    for run in table.to_dict("records"):
        begun = run["status"] != "not begun"
        grids = runs.samples(run["run_id"]) if begun else []
        rows.append(
            {
                "run_id": run["run_id"],
                "href": f"runs/{run['run_id']}.html" if begun else "",
                "samples": _strip(grids[-1]) if grids else "",
                "label": run["label"],
                "seed": run["seed"],
                "status": run["status"],
                "cells": [cell(run[name], digits) for name, _, digits in columns],
            }
        )
    return {
        "columns": [{"text": text, "number": digits is not None} for _, text, digits in columns],
        "rows": rows,
        "filters": [
            {"name": name, "choices": list(dict.fromkeys(table[column].dropna()))}
            for name, column in (("arm", "label"), ("seed", "seed"), ("status", "status"))
        ],
    }


def cell(value: Any, digits: int | None) -> dict[str, Any]:
    """What a cell shows, and for a number the `value` that it sorts by ("" where it is missing)."""
    from fagan.tables import DASH, count, number

    if digits is None:
        return {"text": value}
    if value is None or value != value:
        return {"text": DASH, "value": ""}
    text = number(value, digits) if digits else count(value)
    return {"text": text, "value": repr(float(value))}


def _strip(grid: Path) -> str:
    """The first FACES images of a sample grid as a small data URL."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(grid) as image:
        side = image.width // 8
        strip = image.convert("RGB").crop((0, 0, FACES * side, side))
        strip.save(buffer, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
