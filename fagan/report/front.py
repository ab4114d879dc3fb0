"""The report of an ablation: a front page and everything that it links to, in one folder."""

import base64
import io
import re
import shutil
from html import escape
from pathlib import Path

from fagan.records import RESULTS, Runs, load_runs, write_text
from fagan.report.analysis import analyses
from fagan.report.pages import TEMPLATE, heading, inline_svg, links, page_name, render


def report(ablation: str, results: Path = RESULTS) -> Path:
    """The front page of an ablation and every page it links to, in one folder; its path.

    results/<ablation>/report/ holds index.html, the executed analyses, a page per run whose
    notebook exists, and the tables as CSV. It can be moved or served as it is.
    """
    runs = load_runs(ablation, results)
    target = runs.folder / "report"
    (target / "runs").mkdir(parents=True, exist_ok=True)
    made = [n for n in analyses() if (runs.folder / "analysis" / f"{n}.ipynb").exists()]
    pages = [("Report", "index.html"), *((page_name(n), f"{n}.html") for n in made)]
    for name in made:
        render(
            runs.folder / "analysis" / f"{name}.ipynb",
            target / f"{name}.html",
            site=ablation,
            links=links(pages, f"{name}.html"),
        )
    up = links([(text, f"../{href}") for text, href in pages])
    for run_id in runs.runs["run_id"]:
        if (runs.folder / "runs" / run_id / "train.ipynb").exists():
            render(
                runs.folder / "runs" / run_id / "train.ipynb",
                target / "runs" / f"{run_id}.html",
                title=run_id,
                site=ablation,
                links=up,
            )
    tables = sorted(path.name for path in (runs.folder / "tables").glob("*.csv"))
    for name in tables:
        (target / "tables").mkdir(exist_ok=True)
        shutil.copyfile(runs.folder / "tables" / name, target / "tables" / name)
    write_text(target / "index.html", _front(runs, made, links(pages, "index.html"), tables))
    return target / "index.html"


def _front(runs: Runs, made: list[str], links: list[dict], tables: list[str]) -> str:
    """The HTML of the front page."""
    import jinja2
    import nbformat

    from fagan import readings
    from fagan.tables import as_html, present, status_counts, summary

    pages = []
    for name in analyses():
        page = {"text": page_name(name), "href": "", "question": ""}
        if name in made:
            book = nbformat.read(runs.folder / "analysis" / f"{name}.ipynb", as_version=4)
            page |= {"href": f"{name}.html", "question": heading(book)}
        pages.append(page)
    score, curves = readings.read_scores(runs), readings.read_curves(runs)
    cost = readings.read_cost(runs)
    table = summary(runs)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATE))
    status = readings.read_status(runs)
    return environment.get_template("front.html.j2").render(
        title=runs.title,
        site=runs.ablation,
        links=links,
        status=status._replace(text=_bold(status.text)),
        counts=status_counts(runs),
        sections=[
            {
                "claim": score.claim,
                "figure": _figure(runs, "final_scores"),
                "table": as_html(present(table)),
                "text": _bold(f"{score.text} {readings.protocol(runs)}"),
            },
            {
                "claim": curves.claim,
                "figure": _figure(runs, "learning_curves"),
                "text": _bold(curves.text),
            },
            {
                "claim": cost.claim,
                "table": as_html(present(table, "cost")),
                "text": _bold(cost.text),
            },
        ],
        pages=pages,
        runs=_cards(runs),
        tables=tables,
        made_with=readings.made_with(runs),
    )


def _bold(text: str) -> str:
    """A sentence as HTML, with the two marks that sentences use."""
    text = escape(text, quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _figure(runs: Runs, kind: str) -> str:
    """A figure of the front page as an element of the page."""
    from matplotlib.figure import Figure

    from fagan import plots

    with plots.style():
        rows = len(runs.arms)
        figure = Figure(figsize=(7, 1.1 + 0.36 * rows if kind == "final_scores" else 3.6))
        getattr(plots, kind)(runs, figure.subplots())
        alt = {
            "final_scores": f"Final FD-Lite0 of every seed of {rows} arms, with the floor",
            "learning_curves": f"FD-Lite0 against generator steps for {rows} arms, every seed",
        }[kind]
        return inline_svg(plots.render_figure(figure, alt).decode(), alt)


def _cards(runs: Runs) -> list[dict[str, str]]:
    """A card per planned run: its last samples, its state, a link where it has a page."""
    from fagan.tables import count, failures, final_scores, number

    scores = final_scores(runs).to_dict("records")
    lost = failures(runs).set_index("run_id")
    cards = []
    for run in scores:
        grids = runs.samples(run["run_id"])
        note = f"FD {number(run['value'])}"
        if run["status"] != "done":
            note = f"{run['status']} at step {count(lost['step'][run['run_id']])}"
        page = runs.folder / "report" / "runs" / f"{run['run_id']}.html"
        cards.append(
            {
                "text": f"{run['label']}, seed {run['seed']}",
                "note": note,
                "status": run["status"],
                "href": f"runs/{run['run_id']}.html" if page.exists() else "",
                "thumbnail": _thumbnail(grids[-1]) if grids else "",
                "alt": f"Last samples of {run['run_id']}",
            }
        )
    for run in lost[lost["status"] == "not begun"].itertuples():
        card = {"text": f"{run.label}, seed {run.seed}", "note": run.status, "status": run.status}
        cards.append(card)
    return cards


def _thumbnail(grid: Path, side: int = 4) -> str:
    """The first side x side images of a sample grid as a small data URL."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(grid) as image:
        size = image.width // 8 * side
        image.convert("RGB").crop((0, 0, size, size)).save(
            buffer, "JPEG", quality=88, subsampling=0
        )
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
