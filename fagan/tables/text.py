"""Numbers and tables as a reader wants to see them; the CSV keeps every digit."""

from pathlib import Path

import numpy as np
import pandas as pd

from fagan.records import write_text
from fagan.tables.scores import SCORE

MINUS, DASH, TIMES = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
VAST = 1e6  # per cent or FD, beyond which the end of an interval says nothing


def number(value: float, digits: int = 3) -> str:
    """Three significant digits, no exponent for everyday sizes, a real minus sign."""
    if value is None or not np.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    places = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{places}f}".replace("-", MINUS)


def span(low: float, high: float) -> str:
    """`[1.2, 3.4]`, or a dash where there is no interval.

    An end that the logarithms of two seeds put beyond any score is not written out.
    """
    if not np.isfinite([low, high]).all():
        return DASH
    end = number(high) if high < VAST else f"over {number(VAST)}"
    return f"[{number(low)}, {end}]"


def count(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}" if value is not None and np.isfinite(value) else DASH


def signed(value: float) -> str:
    """`number` with its sign, a plus too."""
    return f"{'+' if value > 0 else ''}{number(value)}"


def seeds(n: int) -> str:
    return f"{n} seed" if n == 1 else f"{n} seeds"


HEADINGS = {
    "run_id": "run",
    "label": "arm",
    "max_abs": "largest |alpha|",
    "share": "share of reach",
    "attention_share": "attention's share",
    "entropy_share": "entropy share",
    "distance": "distance, px",
    "uniform_distance": "without preference, px",
    "median": "median change of FD",
    "rises": "rises in",
}
PARAMETERS = ("parameters_generator", "parameters_discriminator")
# (column, heading, scale, significant digits; 0 = a whole number)
PARTS = {
    "scores": (("fid", "FID", 1, 3), ("kid_lite0", "KID-Lite0", 1, 3)),
    "ties": (
        ("coherence_eyes", "eyes: coherence", 1, 2),
        ("signal_eyes", "eyes: signal", 1, 2),
        ("coherence_outfit", "outfit: coherence", 1, 2),
        ("signal_outfit", "outfit: signal", 1, 2),
    ),
    "cost": (
        ("parameters_generator", "parameters of G", 1, 0),
        ("parameters_discriminator", "of D", 1, 0),
        ("images_per_second", "images/s", 1, 3),
        ("steps", "steps", 1, 0),
    ),
}


def present(
    table: pd.DataFrame,
    part: str = "scores",
    metric: str = SCORE,
    differences: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """A part of the summary (`scores`, `ties` or `cost`) with headings and rounded text.

    differences: `paired_differences` of the same runs; then `scores` holds each arm's difference
    from the baseline with its corrected interval in place of the arm's own, and its size.
    """
    shown = pd.DataFrame({"arm": table["label"]})
    if part != "cost":
        few = table["n"] < table["runs"]
        of = table["n"].astype(str) + " of " + table["runs"].astype(str)
        shown["n"] = of.where(few, table["n"].astype(str))
    if part == "scores":
        shown = shown.assign(**_scores(table, metric, differences))
    for column, heading, scale, digits in PARTS[part]:
        if column in table:
            values = [scale * value for value in table[column]]
            shown[heading] = [number(v, digits) if digits else count(v) for v in values]
    return shown


def present_gates(table: pd.DataFrame) -> pd.DataFrame:
    """`gates_by_layer` with headings and rounded text; `rises in 2 of 3` counts seeds."""
    each = [column for column in table if column.startswith("seed ")]
    closed = [
        f"{signed(100 * row.relative)}, rises in {row.rises:.0f} of {row.n}"
        if pd.notna(row.relative)
        else DASH
        for row in table.itertuples()
    ]
    return pd.DataFrame(
        {
            "arm": table["label"],
            "network": table["network"],
            "layer": table["layer"],
            "alpha, every seed": table[each].map(number).agg(", ".join, axis=1),
            "attention's share, %": [number(100 * share, 2) for share in table["attention_share"]],
            "FD when closed, %": closed,
        }
    )


def _scores(
    table: pd.DataFrame, metric: str, differences: pd.DataFrame | None
) -> dict[str, list[str] | pd.Series]:
    """The columns of a score by their headings."""
    each = [column for column in table if column.startswith("seed ")]
    mean = {"FD-Lite0, mean": table[metric].map(number)}
    every = {"every seed": table[each].map(number).agg(", ".join, axis=1)}
    if differences is None or differences.empty:
        return mean | _intervals(table, metric) | every
    base, column = _from_baseline(table, differences)
    against = {f"against {base}, %": column}
    if not set(PARAMETERS) <= set(table):
        return mean | every | against
    millions = table[list(PARAMETERS)].astype(float).sum(axis=1, min_count=2) / 1e6
    sizes = [f"{number(size)} M" if size > 0 else DASH for size in millions]
    return mean | every | against | {"parameters": sizes}


def _intervals(table: pd.DataFrame, metric: str) -> dict[str, list[str]]:
    """Every arm's own interval, by the name of its method; none where no arm has two seeds."""
    limits = zip(table[f"{metric}_low"], table[f"{metric}_high"], strict=True)
    limits = [span(low, high) for low, high in limits]
    kinds = table.loc[table["n"] > 1, "interval"].unique()
    if len(kinds) < 2:
        return {kind if kind == "range" else f"95 % ({kind})": limits for kind in kinds}
    named = zip(table["interval"], limits, strict=True)
    return {"interval": [f"{kind} {limit}" if kind in kinds else DASH for kind, limit in named]}


def _from_baseline(table: pd.DataFrame, differences: pd.DataFrame) -> tuple[str, list[str]]:
    """The baseline's label, and each arm's mean difference from it with what it is known to."""
    known = differences.set_index("arm")
    baseline = known["baseline"].iloc[0]
    labels = table.set_index("arm")["label"]
    cells = []
    for arm in table["arm"]:
        if arm not in known.index or not known.loc[arm, "n"]:
            cells.append(DASH)
            continue
        row = known.loc[arm]
        cells.append(f"{signed(row['mean'])} {span(row.corrected_low, row.corrected_high)}")
    return labels.get(baseline, baseline), cells


def as_html(frame: pd.DataFrame, caption: str = "", words: bool = False) -> str:
    """A plain table: numbers as `number` writes them, missing values as a dash.

    words: its cells are sentences, which a page breaks into lines.
    """

    def text(value):
        if value is None or value is pd.NA:
            return DASH
        if isinstance(value, float | np.floating):
            return number(value)
        return f"{value:,}" if isinstance(value, int | np.integer) else value

    shown = frame.rename(columns=HEADINGS).astype(object).map(text)
    html = shown.to_html(
        index=False, border=0, classes="table words" if words else "table", na_rep=DASH
    )
    return html.replace("<thead>", f"<caption>{caption}</caption><thead>", 1) if caption else html


def show(frame: pd.DataFrame, caption: str = "", words: bool = False) -> None:
    """Display a table in a notebook."""
    from IPython.display import display

    display(
        {"text/html": as_html(frame, caption, words), "text/plain": frame.to_string()}, raw=True
    )


def markdown(frame: pd.DataFrame) -> str:
    """A table of texts as Markdown."""
    rows = (frame.columns, ["---"] * len(frame.columns), *frame.to_numpy())
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(frame: pd.DataFrame, path: Path) -> Path:
    """A CSV with every digit, atomically."""
    write_text(Path(path), frame.to_csv(index=False, lineterminator="\n"))
    return Path(path)
