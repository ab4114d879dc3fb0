"""The page of one run: what it was, what came of it, and the notebook that made it."""

import io
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fagan.records import Runs, load_runs, read_grid, read_json, write_text
from fagan.report.pages import fill, inline_svg, render

SAMPLES = 16  # latents of the last grid on a page without the notebook


def run_page(
    runs: Runs,
    run_id: str,
    page: Path,
    links: Iterable[Mapping[str, Any]],
    with_notebook: bool = True,
) -> Path:
    """Write a run's page: its executed notebook, or without one what its records hold."""
    from markupsafe import Markup

    folder = runs.folder / "runs" / run_id
    run = runs.runs.set_index("run_id").loc[run_id]
    title = f"{run['label']}, seed {run['seed']}"
    notebook = folder / "train.ipynb"
    head = {
        "title": title,
        "ablation": runs.title,
        "run_id": run_id,
        "facts": _facts(runs, run_id),
        "differences": _differences(runs, run_id),
        "neighbours": _neighbours(runs, run_id),
    }
    if with_notebook and notebook.exists():
        intro = fill("run_head.html.j2", **head)
        return render(notebook, page, title, runs.ablation, links, intro)
    own = load_runs(runs.ablation, runs.folder.parent, run_id)
    write_text(
        page,
        fill(
            "run.html.j2",
            **head,
            site=runs.ablation,
            links=links,
            curves=Markup(_curves(own, title)),
            samples=_last_samples(runs, run_id),
            config=read_json(folder / "config.json"),
        ),
    )
    return page


def _facts(runs: Runs, run_id: str) -> list[tuple[str, str]]:
    """(name, value) of what the list of runs shows of this one, and of what stopped it."""
    from fagan.report.listing import COLUMNS, cell
    from fagan.tables import failures, run_table

    row = run_table(runs).set_index("run_id").loc[run_id]
    found = [(text, cell(row[name], digits)) for name, text, digits in COLUMNS[2:]]
    facts = [(text, item["text"]) for text, item in found if item.get("value", "text")]
    reason = failures(runs).set_index("run_id")["reason"].get(run_id)
    return [*facts, ("reason", reason)] if isinstance(reason, str) else facts


def _differences(runs: Runs, run_id: str) -> list[dict[str, Any]]:
    """The fields in which this run's configuration differs from the baseline's at its seed."""
    config = read_json(runs.folder / "runs" / run_id / "config.json")
    base = runs.folder / "runs" / f"{runs.baseline}-seed{config['seed']}" / "config.json"
    baseline = read_json(base) or config
    return [
        {"name": name, "value": value, "baseline": baseline.get(name)}
        for name, value in config.items()
        if name != "arm" and value != baseline.get(name)
    ]


def _neighbours(runs: Runs, run_id: str) -> dict[str, str]:
    """The runs before and after this one in the list; an empty text at its ends."""
    from fagan.tables import ordered

    ids = ["", *ordered(runs, runs.runs, "seed")["run_id"], ""]
    here = ids.index(run_id)
    return {"before": ids[here - 1], "after": ids[here + 1]}


def _curves(own: Runs, title: str) -> str:
    from matplotlib.figure import Figure

    from fagan import plots

    with plots.style():
        figure = Figure(figsize=(7, 3.4))
        plots.learning_curves(own, figure.subplots())
        alt = f"FD-Lite0 against generator steps of {title}"
        return inline_svg(plots.render_figure(figure, alt).decode(), alt)


def _last_samples(runs: Runs, run_id: str) -> str:
    """The first images of the last sample grid as a data URL, an empty text where there is none."""
    from PIL import Image

    from fagan.plots import tile

    grids = runs.samples(run_id)
    if not grids:
        return ""
    buffer = io.BytesIO()
    Image.fromarray(tile(read_grid(grids[-1])[:SAMPLES], SAMPLES // 2)).save(buffer, "PNG")
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode()
