"""The pages of an ablation: its analysis notebooks, executed and rendered; what is published.

What fails costs its own page and no other: analysis/pages.json says what was left out and why.
"""

import gzip
import re
import shutil
from collections.abc import Collection
from functools import partial
from pathlib import Path
from traceback import format_exc
from typing import Any

from PIL import Image

from fagan.environment import ROOT
from fagan.errors import UserError, one_line, reason, unknown
from fagan.files import PUBLISHED, RESULTS, ablation_folder, read_json, write_json, write_text
from fagan.records import ENDED, Runs, load_runs, makers
from fagan.runner import PICTURES, execute_all, from_root, private, render, scrub

ANALYSIS = ROOT / "notebooks" / "analysis"
PAGES = "analysis/pages.json"  # of an ablation: {page: null, or {reason, log} if it was left out}
FRONT = "index"
# in reading order, with the words that lead there; any other notebook comes after them
TITLES = {
    FRONT: "Report",
    "scores": "Scores",
    "samples": "Samples",
    "alphas": "Alphas",
    "attention": "Attention",
    "metrics": "Trust",
    "receptive_field": "Receptive field",
    "reproduce": "Reproduce",
    "findings": "Findings",
}
# what of an ablation is published; its pages are made there, with the networks of every run
KEPT = (
    "plan.json",
    "reference.json",
    "tables/*.csv",
    "tables/*.npy",
    "runs/*/config.json",
    "runs/*/env.json",
    "runs/*/metrics.json",
    "runs/*/scores.json",
    "runs/*/*.csv",
    "runs/*/samples/step_*.png",
    "runs/*/classes.png",
    "runs/*/*.safetensors",
)
JPEG = {"quality": 85, "subsampling": 0}  # a published sample grid
LARGE = 100_000  # characters of HTML: a film
UNRENDERED = "its page cannot be rendered"
GUIDES = ("use_the_layers", "findings")  # beside the analysis: made when they are named


def notebooks() -> list[str]:
    """Names of the analysis notebooks, in reading order; the front page whatever there is."""
    found = [FRONT, *sorted(path.stem for path in ANALYSIS.glob("*.ipynb"))]
    return list(dict.fromkeys([*(name for name in TITLES if name in found), *found]))


def left_out(folder: Path) -> dict[str, dict[str, str]]:
    """{page: {reason, log}} of an ablation's pages that could not be made."""
    return {name: why for name, why in (read_json(folder / PAGES) or {}).items() if why}


def say_left_out(folder: Path) -> dict[str, dict[str, str]]:
    """Print a line for each page of `left_out`, with its log."""
    missing = left_out(folder)
    for page, why in missing.items():
        print(f"page {page} was left out: {why['reason']}  ({folder / why['log']})")
    return missing


def whole(folder: Path) -> bool:
    """Whether every page of an ablation was made, and is there."""
    pages = read_json(folder / PAGES) or {}
    there = all((folder / "analysis" / f"{name}.html").exists() for name in notebooks())
    return there and pages.keys() >= set(notebooks()) and not any(pages.values())


def analyse(
    ablation: str, results: Path = RESULTS, only: Collection[str] = (), cores: int = 1
) -> dict[str, dict[str, str]]:
    """Execute the notebooks, or `only` those named, and render them; what had to be left out.

    Writes analysis/NAME.ipynb and .html, pages.json, and log/NAME.log of what failed; the notebooks
    write tables/ and figures/. cores: as many notebooks at once. The front page comes last, as it
    lists the others, and always: where its own notebook fails it holds their list alone.
    """
    import nbformat

    load_runs(ablation, results)  # refuses an ablation that is not there
    folder, names = ablation_folder(ablation, results), list(only) or notebooks()
    for name in set(names) - {*notebooks(), *GUIDES}:
        raise unknown("notebook", name, [*notebooks(), *GUIDES])
    pages = read_json(folder / PAGES) or {}
    pages = {name: why for name, why in pages.items() if only or name in GUIDES}
    books, hidden, site = {}, _private(folder, results), ablation.removeprefix(f"{PUBLISHED}/")
    figures = set(folder.glob("figures/*"))
    for some in ([n for n in names if n != FRONT], [n for n in names if n == FRONT]):
        new, faults = execute_all({n: partial(_book, n, ablation, results) for n in some}, cores)
        for name in some:
            pages[name] = _noted(folder, name, *scrub(faults.get(name, []), hidden))
        for name in new:
            books[name] = scrub(new[name], hidden)
            slim = nbformat.writes(_slim(books[name])) + "\n"
            write_text(folder / "analysis" / f"{name}.ipynb", slim)
        write_json(folder / PAGES, pages)
    for notebook in folder.glob("runs/*/train.ipynb"):
        _render_run(notebook, site)
    for name in sorted(names, key=FRONT.__eq__):  # last, with what could not be rendered
        _render(folder, name, books.get(name), pages, site)
    for path in set(folder.glob("figures/*")) - figures if site != ablation else ():
        path.unlink()  # a published page holds its figures: none is there twice
    write_json(folder / PAGES, pages)
    return left_out(folder)


def _book(name: str, ablation: str, results: Path) -> Any:
    """A notebook as it is to be executed: with its parameters, findings only where they hold."""
    guide = name in GUIDES
    values = {} if guide else {"ablation": ablation, "results": from_root(results)}
    book = parameterized((ANALYSIS.parent if guide else ANALYSIS) / f"{name}.ipynb", values)
    if book.metadata.get("findings") != ablation:
        book.cells = [c for c in book.cells if "finding" not in c.metadata.get("tags", [])]
    return book


def parameterized(path: Path, values: dict[str, Any]) -> Any:
    """A notebook with the parameters that it is given."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    book = load_notebook_node(str(path))
    if not values:
        return book
    return parameterize_notebook(book, values, kernel_name="python3", language="python")


def _private(folder: Path, results: Path) -> dict[str, str]:
    runs = (read_json(folder / "plan.json") or {}).get("runs", [])
    return private(results, [run["config"].get("data_path", "") for run in runs])


def _noted(folder: Path, name: str, why: str = "", log: str = "") -> dict[str, str] | None:
    """What pages.json says of a page; the log is written, or removed where there is no fault."""
    path = folder / "log" / f"{name}.log"
    if not why:
        path.unlink(missing_ok=True)
        return None
    write_text(path, re.sub(r"\x1b\[[\d;]*m", "", log) + "\n")
    return {"reason": one_line(why), "log": f"log/{name}.log"}


def _slim(value: Any) -> Any:
    """A notebook, or a part of it, for a code host: of a figure its PNG, no script and no film."""
    if isinstance(value, list):
        return [_slim(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    gone = {"image/svg+xml"} if value.keys() & set(PICTURES) else set()
    html = value.get("text/html", "")
    gone |= {"text/html"} if "<script" in html or len(html) > LARGE else set()
    return type(value)({key: _slim(inner) for key, inner in value.items() if key not in gone})


def _render(folder: Path, name: str, book: Any, pages: dict[str, Any], site: str) -> None:
    """Write a page; of one that cannot be rendered, and of a front page that failed, its title."""
    from nbformat.v4 import new_markdown_cell, new_notebook

    path = folder / "analysis" / f"{name}.html"
    if pages[name] is None:
        try:
            missing = _missing(pages, late=True) if name == FRONT else ()
            return write_text(path, render(book, site, _links(pages, name), missing))
        except Exception as error:  # the other pages can be rendered
            pages[name] = _noted(folder, name, f"{UNRENDERED}: {reason(error)}", format_exc())
    elif name != FRONT:
        return path.unlink(missing_ok=True)
    book = new_notebook(cells=[new_markdown_cell(f"# {title(name)}")])
    write_text(path, render(book, site, _links(pages, name), _missing(pages, late=False)))


def _render_run(notebook: Path, site: str) -> None:
    """The page of a run's own notebook, beside it; a fault is the run's own to show."""
    import nbformat

    page = notebook.with_suffix(".html")
    if page.exists() and page.stat().st_mtime >= notebook.stat().st_mtime:
        return
    links = [{"text": title(FRONT), "href": f"../../analysis/{FRONT}.html"}]
    try:
        write_text(page, render(nbformat.read(notebook, as_version=4), site, links))
    except Exception as error:
        print(f"{page} cannot be rendered: {reason(error)}")


def title(name: str) -> str:
    return TITLES.get(name, name.replace("_", " ").capitalize())


def _links(pages: dict[str, Any], current: str) -> list[dict[str, Any]]:
    """The navigation: the front page, and every page that was made."""
    names = [n for n in (*TITLES, *pages) if n == FRONT or pages.get(n, "") is None]
    return [
        {"text": title(name), "href": f"{name}.html", "current": name == current}
        for name in dict.fromkeys(names)
    ]


def _missing(pages: dict[str, Any], late: bool) -> list[dict[str, str]]:
    """The pages left out; late: only those that the front page's own list cannot know of yet."""
    faults = {n: w for n, w in pages.items() if w and (not late or UNRENDERED in w["reason"])}
    return [{"text": title(name), **why} for name, why in faults.items()]


def publish(
    ablation: str, results: Path = RESULTS, weights: Collection[str] = (), cores: int = 1
) -> Path:
    """Copy the records of a finished ablation to results/published/, and make its pages there.

    weights: the runs whose networks stay there; while the pages are made they have all. Of a run's
    samples the last grid stays, of the first seed's runs every grid, as JPEGs. A run's notebook
    does not go along: it shows training images. Raises UserError, with what was published before in
    its place, where a run has not ended, the runs were made by different code or from an
    uncommitted tree, a page was left out, shows a photograph, or holds a path of this machine.
    """
    source, name = ablation_folder(ablation, results), f"{PUBLISHED}/{ablation}"
    records = _worth_citing(ablation, results)
    runs = records.runs
    for run_id in set(weights) - set(runs["run_id"]):
        raise unknown("run", run_id, runs["run_id"].tolist())
    target = ablation_folder(name, results)
    stage = target.with_name(f".{ablation}.part")
    new = ablation_folder(name, stage)
    shutil.rmtree(stage, ignore_errors=True)
    try:
        for path in (path for pattern in KEPT for path in source.glob(pattern)):
            copy = new / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        plan = read_json(source / "plan.json")
        for run in plan["runs"]:
            run["config"].pop("data_path", None)
        write_json(new / "plan.json", plan)
        for page, why in analyse(name, stage, cores=cores).items():
            raise UserError(f"page {page} cannot be made from what is published: {why['reason']}")
        first = {*runs.loc[runs["seed"] == runs["seed"].min(), "run_id"]}
        for run in (new / "runs").iterdir():
            for grid in (grids := sorted((run / "samples").glob("*.png"))):
                if run.name in first or grid == grids[-1]:
                    Image.open(grid).save(grid.with_suffix(".jpg"), **JPEG)
                grid.unlink()
            for network in run.glob("*.safetensors") if run.name not in weights else ():
                network.unlink()
            for path in (*run.glob("alpha.csv"), *run.glob("spectral.csv")):  # the longest
                Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
                path.unlink()
        _check(new, records.procedural, _private(source, results))
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return target


def _worth_citing(ablation: str, results: Path) -> Runs:
    """The records of an ablation that may be published, else UserError."""
    records, made = load_runs(ablation, results), makers(ablation, results)
    runs = records.runs
    unfinished = runs.loc[~runs["status"].isin(ENDED), "run_id"].tolist()
    codes = sorted(set(made["source_fingerprint"].astype(str)))
    if unfinished:
        raise UserError(
            f"{len(unfinished)} runs of {ablation} have not ended ({', '.join(unfinished[:3])}); "
            f"finish them: make ablations ABLATION={ablation}"
        )
    if len(codes) > 1:
        raise UserError(
            f"the runs of {ablation} were made by different code ({', '.join(codes)}); "
            f"`python -m fagan stale {ablation}` lists those to run anew"
        )
    if not made["dirty"].eq(False).fillna(False).all():  # missing means: no git
        raise UserError(
            f"runs of {ablation} were made from a tree with uncommitted changes or outside git; "
            "commit, delete their folders and run them anew"
        )
    return records


def _check(folder: Path, drawn: bool, hidden: dict[str, str]) -> None:
    """Refuse a path of this machine, and pictures of a data set that is not our own."""
    import nbformat

    for path in folder.rglob("*"):
        if path.suffix in (".json", ".csv", ".html", ".ipynb", ".svg"):
            text = path.read_text(encoding="utf-8")
            for place in hidden:
                if len(place) > 3 and place in text:
                    raise UserError(f"{path.name} holds this machine's path {place}")
        if path.suffix == ".ipynb" and not drawn:
            for cell in nbformat.read(path, as_version=4).cells:
                if "photographs" in cell.metadata.get("tags", []) and cell.get("outputs"):
                    raise UserError(f"{path.stem} shows photographs, which are not ours to publish")
