"""The report of an ablation: a front page and everything that it links to, in one folder."""

import base64
import hashlib
import shutil
from pathlib import Path
from typing import Any

from fagan.errors import UserError
from fagan.records import RESULTS, Runs, ablation_folder, load_runs, write_text
from fagan.report.agreement import PAGE as AGREEMENT
from fagan.report.agreement import agreement_page
from fagan.report.analysis import GUIDES, analyses
from fagan.report.elsewhere import Elsewhere, elsewhere
from fagan.report.listing import listing
from fagan.report.pages import (
    TEMPLATE,
    fill,
    heading,
    inline_svg,
    links,
    page_name,
    readable_tables,
    render,
    sentence,
)
from fagan.report.run_pages import run_page


def report(ablation: str, results: Path = RESULTS) -> Path:
    """The front page of an ablation and every page it links to, in one folder; its path.

    results/<ablation>/report/ holds index.html, the executed analyses, a page per run that has
    begun, where results/published/<ablation> exists a page that holds this clone's numbers against
    it, and the tables as CSV. It can be moved or served as it is; only what a published ablation
    of more arms or seeds answers is linked where it stands.
    """
    runs = load_runs(ablation, results)
    return write_pages(runs, runs.folder / "report", results, _published(ablation, results))


def write_pages(
    runs: Runs,
    target: Path,
    results: Path = RESULTS,
    published: Runs | None = None,
    notebooks: bool = True,
) -> Path:
    """The pages of `report` in the folder `target`; the front page's path.

    published: what the numbers are held against, None for no such page. notebooks: whether a run's
    page shows the notebook that made it, with real images of its data set, or its records alone.
    """
    for name in ("runs", "tables"):
        (target / name).mkdir(parents=True, exist_ok=True)
    made = [n for n in (*analyses(), *GUIDES) if _executed(runs, n).exists()]
    pages = [("Report", "index.html"), *((page_name(n), f"{n}.html") for n in made)]
    if published:
        pages.append(("Published", AGREEMENT))
    written = {target / "index.html"}
    for name in made:
        page = target / f"{name}.html"
        written.add(
            render(_executed(runs, name), page, site=runs.ablation, links=links(pages, page.name))
        )
    if published:
        page = target / AGREEMENT
        written.add(agreement_page(runs, published, page, links(pages, AGREEMENT)))
    up = links([(text, f"../{href}") for text, href in pages])
    for run_id in runs.runs["run_id"]:
        page = target / "runs" / f"{run_id}.html"
        written.add(run_page(runs, run_id, page, up, notebooks))
    tables = sorted(path.name for path in (runs.folder / "tables").glob("*.csv"))
    for name in tables:
        shutil.copyfile(runs.folder / "tables" / name, target / "tables" / name)
    further = elsewhere(runs, results, target)
    front = _front(runs, published, made, links(pages, "index.html"), tables, further)
    write_text(target / "index.html", front)
    for page in (*target.glob("*.html"), *target.glob("runs/*.html")):
        if page not in written:  # of a run or a notebook that is no more
            page.unlink()
    return target / "index.html"


def _executed(runs: Runs, notebook: str) -> Path:
    return runs.folder / "analysis" / f"{notebook}.ipynb"


def _published(ablation: str, results: Path) -> Runs | None:
    """The published records of the same ablation, where there are any."""
    name = f"published/{ablation}"
    if not (ablation_folder(name, results) / "plan.json").exists():
        return None
    try:
        return load_runs(name, results)
    except UserError as error:
        raise UserError(f"the published results cannot be read: {error}") from error


def _front(
    runs: Runs,
    published: Runs | None,
    made: list[str],
    links: list[dict],
    tables: list[str],
    further: dict[str, list[Elsewhere]],
) -> str:
    """The HTML of the front page."""
    from markupsafe import Markup

    from fagan import readings
    from fagan.ablations import known_arms
    from fagan.tables import (
        as_html,
        comparisons,
        paired_differences,
        present,
        status_counts,
        summary,
    )

    score, status = readings.read_scores(runs), readings.read_status(runs)
    rows, script = comparisons(runs), read_script("runs_table.js")
    answers = readings.answers(runs, known_arms(), rows)
    corrections = readings.read_corrections(rows)
    scores = present(summary(runs), differences=paired_differences(runs))
    scores = scores.drop(columns="KID-Lite0", errors="ignore")  # the page is as wide as its text
    return fill(
        "front.html.j2",
        title=runs.title,
        site=runs.ablation,
        links=links,
        status=status._replace(text=sentence(status.text)),
        counts=status_counts(runs),
        answers=[
            _answer(answer, made, tables) | {"elsewhere": further.get(answer.question, [])}
            for answer in answers
        ],
        corrections=sentence(f"{corrections.claim}. {corrections.text}"),
        agreement=readings.read_agreement(runs, published) if published else None,
        agreement_page=AGREEMENT,
        score={
            "claim": score.claim,
            "figure": Markup(_scores_figure(runs)),
            "table": Markup(readable_tables(as_html(scores))),
            "text": sentence(f"{score.text} {readings.protocol(runs)} {readings.networks(runs)}"),
        },
        pages=_cards(runs, made),
        runs=listing(runs),
        tables=tables,
        made_with=readings.made_with(runs),
        script=Markup(script),
        script_hash=script_hash(script),
    )


def read_script(name: str) -> str:
    """A script of the templates' folder, as it stands in a page."""
    return (TEMPLATE / name).read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """What a page's Content-Security-Policy calls a script, so that it runs no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _answer(answer: Any, made: list[str], tables: list[str]) -> dict[str, Any]:
    """An answer of fagan.readings with links to what is there."""
    return {
        "question": answer.question,
        "answer": sentence(answer.answer),
        "evidence": sentence(answer.evidence),
        "interval": answer.interval,
        "n": answer.n,
        "page": answer.page if answer.page in made else "",
        "page_name": page_name(answer.page),
        "table": answer.table if answer.table in tables else "",
    }


def _cards(runs: Runs, made: list[str]) -> list[dict[str, str]]:
    """A card per notebook: its name, its question, a link where it was executed."""
    import nbformat

    cards = []
    for name in (*analyses(), *(n for n in GUIDES if n in made)):
        card = {"text": page_name(name), "href": "", "question": ""}
        if name in made:
            book = nbformat.read(_executed(runs, name), as_version=4)
            card |= {"href": f"{name}.html", "question": heading(book)}
        cards.append(card)
    return cards


def _scores_figure(runs: Runs) -> str:
    """The final scores as an element of the page."""
    from matplotlib.figure import Figure

    from fagan import plots

    with plots.style():
        rows = len(runs.arms)
        figure = Figure(figsize=(7, 1.1 + 0.36 * rows))
        plots.final_scores(runs, figure.subplots())
        alt = f"Final FD-Lite0 of every seed of {rows} arms, with the floor"
        return inline_svg(plots.render_figure(figure, alt).decode(), alt)
