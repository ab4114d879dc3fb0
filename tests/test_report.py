"""The analysis templates executed on synthetic records, and the pages made of them."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from records_factory import ARMS, make_ablation

from fagan import readings, report
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.records import load_runs, read_json

# of a synthetic ablation in which two runs kept their weights
FIGURES = {
    "blog": 9,
    "comparison": 5,
    "alpha": 2,
    "attention": 2 + 4,
    "receptive_field": 4,
    "samples": 3 + 4,
    "metrics": 5,
}
# of training: four arms; between latents: two with weights
FILMS = {"samples": 4 + 2}
TEMPLATES = sorted((ROOT / "notebooks" / "analysis").glob("*.ipynb"))
MACHINE = re.compile(
    r"(?<![\w.~-])(?:/home/|/root\b|/Users/|/tmp/|/var/|"
    + "|".join(re.escape(path) for path in (str(ROOT), sys.prefix, str(Path.home()) + "/"))
    + ")"
)


class Page(HTMLParser):
    """Everything in a page that a browser would load or that a reader needs."""

    def __init__(self, path: Path):
        super().__init__()
        self.loads, self.links, self.tags, self.images = [], [], [], []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "img" or (tag == "svg" and attributes.get("role") == "img"):
            self.images.append(attributes.get("alt") or attributes.get("aria-label"))
        for name in ("src", "srcset", "href", "xlink:href", "data", "poster", "action"):
            value = attributes.get(name, "")
            if value and not value.startswith(("data:", "#")):
                (self.links if tag == "a" else self.loads).append(value)


def pages(folder):
    return sorted([*folder.glob("analysis/*.html"), *folder.glob("report/**/*.html")])


# The templates


def test_there_is_a_template_for_every_question():
    assert report.analyses()[: len(FIGURES)] == list(FIGURES)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_are_small_and_hold_no_outputs(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(book.cells) <= 14  # nine questions, what stands before them, the arms' spread
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert all(len(cell.source.splitlines()) <= 12 for cell in code)
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    names = [line.split(" = ")[0] for line in tagged[0].source.splitlines()]
    assert len(tagged) == 1 and names == ["ablation", "results"]
    assert all("  # " in line for line in tagged[0].source.splitlines())
    assert book.metadata["kernelspec"]["name"] == "python3"
    assert report.heading(book).endswith("?")
    assert not MACHINE.search(path.read_text())


# The executed notebooks


@pytest.mark.parametrize("name", FIGURES)
def test_executed_in_order_without_errors(ablation, name):
    path = ablation / "analysis" / f"{name}.ipynb"
    book = nbformat.read(path, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]
    assert sum("image/svg+xml" in out.get("data", {}) for out in outputs) == FIGURES[name]
    assert not MACHINE.search(path.read_text())
    assert "photos.zip" not in path.read_text()
    given = next(cell for cell in code if "injected-parameters" in cell.metadata.get("tags", []))
    assert 'results = "results"' in given.source
    assert "nan" not in " ".join(
        out["data"].get("text/markdown", "") for out in outputs if "data" in out
    )


def test_tables_and_figures_are_written(ablation):
    assert {path.name for path in (ablation / "tables").iterdir()} == {
        "alpha_reach.csv",
        "answers.csv",
        "arm_spreads.csv",
        "attention.csv",
        "best_and_last.csv",
        "blog.csv",
        "degradations.csv",
        "extrapolations.csv",
        "failures.csv",
        "final_scores.csv",
        "floor_curve.csv",
        "generator_reach.csv",
        "interventions.csv",
        "last_alphas.csv",
        "paired_differences.csv",
        "plateaus.csv",
        "receptive_fields.csv",
        "released_norms.csv",
        "sign_flips.csv",
        "spectral_norms.csv",
        "stability.csv",
        "stability_runs.csv",
        "summary.csv",
        "train_mode.csv",
    }
    figures = [path.name for path in (ablation / "figures").iterdir()]
    films = [name for name in figures if name.endswith(".webp")]
    assert len(films) == sum(FILMS.values()) and {"film_dcgan.webp", "film_sagan.webp"} < set(films)
    assert len(figures) == sum(FIGURES.values()) + len(films)
    assert all("." != name[0] for name in figures)
    assert not list(ablation.rglob(".*"))  # nothing half-written is left


# The pages


def test_every_page_is_there(ablation):
    names = {path.relative_to(ablation).as_posix() for path in pages(ablation)}
    analysis = {f"analysis/{name}.html" for name in FIGURES}
    assert names == analysis | {f"report/{name}.html" for name in FIGURES} | {
        "report/index.html",
        "report/published.html",
        *(
            f"report/runs/{run_id}.html"
            for run_id in load_runs("tiny", ablation.parent).runs.run_id
        ),
    }


def test_pages_load_nothing(ablation):
    for path in pages(ablation):
        page = Page(path)
        assert page.loads == [], path
        assert not {"link", "iframe", "object", "base"} & set(page.tags), path
        # the list of runs is the only thing that moves
        assert page.tags.count("script") == (path.name == "index.html"), path
        styles = re.sub(r'"data:[^"]*"', "", page.text)
        assert "@import" not in styles
        assert all(inner.startswith("#") for inner in re.findall(r"url\(['\"]?([^)]*)", styles))
        assert page.text.count("<html") == 1 and page.text.count("<h1") == 1


def test_links_lead_to_files_of_the_same_folder(ablation):
    for path in pages(ablation):
        links = Page(path).links
        assert links
        for link in links:
            assert not re.match(r"\w+:", link)
            assert (path.parent / link.split("#")[0]).exists(), (path, link)
            if path.is_relative_to(ablation / "report"):
                assert (path.parent / link).resolve().is_relative_to(ablation / "report")


def test_every_image_has_words(ablation):
    for name, count in FIGURES.items():
        images = Page(ablation / "analysis" / f"{name}.html").images
        assert len(images) == count + FILMS.get(name, 0)
        assert all(alt and len(alt) > 10 for alt in images)
    images = Page(ablation / "report" / "index.html").images
    assert len(images) == 1 + 11 and all(images)  # a figure, the samples of every begun run
    run = Page(ablation / "report" / "runs" / "fagan-seed0.html")
    assert run.images == ["Figure size 10x10"] and "step 40/400" in run.text
    assert "<td>last</td>" in run.text  # a cell's last value is an output, too
    other = Page(ablation / "report" / "runs" / "dcgan-seed0.html")  # which has no notebook
    assert len(other.images) == 2 and all(other.images)


def test_films_rest_where_motion_is_not_wanted_and_say_what_is_missing(ablation):
    text = (ablation / "analysis" / "samples.html").read_text()
    assert text.count('<source media="(prefers-reduced-motion: reduce)"') == FILMS["samples"]
    assert text.count('<details class="film" open=""') == FILMS["samples"]
    assert "Without the generator's weights, as in published ablations: DCGAN, FAGAN rel" in text


def test_pages_hold_no_path_of_this_machine(ablation):
    for path in pages(ablation):
        text = re.sub(r"data:image/\w+;base64,[\w+/=\s]+", "", path.read_text())
        assert not MACHINE.search(text), (path, MACHINE.search(text))


def test_figures_follow_the_theme(ablation):
    text = (ablation / "analysis" / "comparison.html").read_text()
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.S))
    assert "currentColor" in drawn and "var(--page)" in drawn
    assert "#1f2328" not in drawn and "#ffffff" not in drawn
    assert not re.search(r'<g id="', drawn)
    assert "prefers-color-scheme: dark" in text


def listed(path):
    """{run_id: the texts of its row} of the front page's list of runs."""
    rows = BeautifulSoup(path.read_text(), "html.parser").select("#runs-table tbody tr")
    return {row.th.get_text(): [cell.get_text() for cell in row.find_all("td")][1:] for row in rows}


def test_front_page_tells_every_run(ablation):
    text = (ablation / "report" / "index.html").read_text()
    assert "9 of 12 runs are done (1 diverged, 1 unfinished, 1 not begun)" in text
    assert "FAGAN has the lowest mean FD, 71.0" in text
    rows = listed(ablation / "report" / "index.html")
    assert len(rows) == 12 and 'href="runs/fagan-seed0.html"' in text
    assert rows["fagan-seed0"][:5] == ["FAGAN", "0", "done", "400", "70.0"]
    assert rows["sagan-seed2"][:5] == ["SAGAN", "2", "diverged", "224", "–"]
    assert rows["fagan-relativistic-seed2"][2:] == ["not begun", *8 * ["–"]]
    assert rows["dcgan-seed0"][-2:] == ["–", "530,000"]  # no gate; both networks


def test_a_row_sorts_by_every_digit(ablation):
    page = BeautifulSoup((ablation / "report" / "index.html").read_text(), "html.parser")
    row = page.select_one('#runs-table tr:has(a[href="runs/fagan-seed0.html"])')
    values = [cell["data-value"] for cell in row.select("td.number")]
    recorded = read_json(ablation / "runs" / "fagan-seed0" / "metrics.json")
    assert float(values[2]) == recorded["fd_lite0"] and float(values[3]) == recorded["kid_lite0"]


def test_a_run_s_page_says_what_it_was(ablation):
    page = Page(ablation / "report" / "runs" / "fagan-seed0.html")
    assert "<h1>FAGAN, seed 0</h1>" in page.text and "<h2" in page.text
    assert "<code>architecture = fagan</code> (there sagan)" in page.text
    assert {"sagan-seed2.html", "fagan-seed1.html", "../index.html#runs"} <= set(page.links)
    diverged = (ablation / "report" / "runs" / "sagan-seed2.html").read_text()
    assert "loss_d=inf" in diverged and "made from its records" in diverged
    title = load_runs("tiny", ablation.parent).title
    assert f'<p class="lead">{title}</p>' in diverged


def test_answers_are_linked_to_what_is_there(tmp_path, monkeypatch):
    answers = [
        readings.Answer("Can it?", "Yes", "**Much** of it.", 3, "comparison", "summary.csv"),
        readings.Answer("And <this>?", "Open", "Seeds.", 0, "alpha", "last_alphas.csv"),
    ]
    monkeypatch.setattr(readings, "answers", lambda runs, known, rows: answers)
    folder = make_ablation(tmp_path, arms={"fagan": ARMS["fagan"]}, seeds=1, grids=0)
    (folder / "analysis").mkdir()
    book = new_notebook(cells=[new_markdown_cell("# Which?")])
    nbformat.write(book, folder / "analysis" / "comparison.ipynb")
    (folder / "tables").mkdir()
    (folder / "tables" / "summary.csv").write_text("a\n1\n")
    page = Page(report.report("tiny", tmp_path))
    assert {"comparison.html", "tables/summary.csv"} <= set(page.links)
    assert not {"alpha.html", "tables/last_alphas.csv"} & set(page.links)
    assert "And &lt;this&gt;?" in page.text and "<strong>Much</strong>" in page.text
    assert "n = 3 ·" in page.text and "open" in page.text
    assert "Nothing is compared. No two arms here share two finished seeds." in page.text


def test_report_without_analyses(tmp_path):
    make_ablation(tmp_path, arms={"fagan": ARMS["fagan"]}, seeds=1, grids=0)
    old = tmp_path / "tiny" / "report" / "runs" / "gone-seed0.html"
    old.parent.mkdir(parents=True)
    old.write_text("of a run that was deleted")
    page = Page(report.report("tiny", tmp_path))
    assert page.text.count("not made yet") == len(report.analyses())
    assert page.links == ["index.html", "runs/fagan-seed0.html"]
    assert not old.exists()


def test_the_published_numbers_are_held_against_this_clone(ablation):
    page = (ablation / "report" / "published.html").read_text()
    claim = "1 of 54 final scores differ where they should repeat"
    assert f"<h1>{claim}</h1>" in page and "dcgan-seed1 fd_lite0" in page
    front = (ablation / "report" / "index.html").read_text()
    assert f'<a href="published.html">{claim}</a>' in front
    row = BeautifulSoup(page, "html.parser").select_one("tr.verdict-row-differs")
    assert [cell.get_text() for cell in row][:4] == ["dcgan-seed1", "FD-Lite0", "94.0", "95.0"]


def test_tables_get_scopes():
    frame = (
        "<thead><tr><th></th><th>a</th></tr></thead><tbody><tr><th>x</th><td>1</td></tr></tbody>"
    )
    plain = (
        '<thead><tr class="h"><th>a</th></tr></thead><tbody><tr><td class="c">x</td></tr></tbody>'
    )
    assert report.readable_tables(frame) == (
        '<thead><tr><td></td><th scope="col">a</th></tr></thead>'
        '<tbody><tr><th scope="row">x</th><td>1</td></tr></tbody>'
    )
    assert report.readable_tables(plain) == (
        '<thead><tr class="h"><th scope="col">a</th></tr></thead>'
        '<tbody><tr><th scope="row" class="c">x</th></tr></tbody>'
    )


# Failures


def test_a_failing_notebook_says_why_and_where(tmp_path, monkeypatch):
    cells = [
        new_code_cell('ablation, results = "", ""', metadata={"tags": ["parameters"]}),
        new_code_cell('raise LookupError(f"first\\nno {ablation} in {results}")'),
    ]
    (tmp_path / "templates").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "templates" / "broken.ipynb")
    monkeypatch.setattr(report.analysis, "ANALYSIS", tmp_path / "templates")
    with pytest.raises(UserError, match=r"unknown notebook 'broke'; did you mean 'broken'"):
        report.analyse("tiny", "broke", tmp_path)
    with pytest.raises(report.RunError) as failure:
        report.analyse("tiny", "broken", tmp_path)
    executed = tmp_path / "tiny" / "analysis" / "broken.ipynb"
    assert str(failure.value) == f"broken failed: LookupError: no tiny in results; see {executed}"
    assert [path.name for path in executed.parent.iterdir()] == ["broken.ipynb"]
    assert "LookupError" in executed.read_text() and not MACHINE.search(executed.read_text())


# Scrubbing and rendering


def test_scrub_replaces_whole_paths_the_longest_first():
    text = "/r/repo/.venv/lib/x.py and /r/repo/fagan, /r/repository, x/r/repo file:///r/repo"
    book = new_notebook(cells=[new_code_cell("1", outputs=[new_output("stream", text=text)])])
    report.scrub(book, {"/r/repo": ".", "/r/repo/.venv": ".venv", "/r": "~"})
    assert book.cells[0].outputs[0].text == (
        ".venv/lib/x.py and ./fagan, ~/repository, x/r/repo file://."
    )


def test_scrub_leaves_images_alone():
    outputs = [new_output("display_data", {"image/png": "ab/r/repo/cd", "text/plain": "/r/repo"})]
    book = new_notebook(cells=[new_code_cell("1", outputs=outputs)])
    report.scrub(book, {"/r/repo": "."})
    assert book.cells[0].outputs[0].data == {"image/png": "ab/r/repo/cd", "text/plain": "."}


def test_scrub_file_takes_the_results_folder_and_the_data_with_it(tmp_path):
    outside = tmp_path / "out"
    text = f"{outside}/a/runs {tmp_path}/photos.zip {ROOT}/fagan {sys.prefix}/bin"
    text += "\n/tmp/ipykernel_12/345.py:3: a warning"
    book = new_notebook(cells=[new_markdown_cell(text)])
    book.metadata["papermill"] = {"parameters": {"results": str(outside)}}
    nbformat.write(book, tmp_path / "train.ipynb")
    report.scrub_file(tmp_path / "train.ipynb", str(tmp_path / "photos.zip"))
    cell = nbformat.read(tmp_path / "train.ipynb", as_version=4).cells[0]
    assert cell.source == "results/a/runs photos.zip ./fagan .venv/bin\n<cell>:3: a warning"


def test_data_paths_are_found_in_a_plan(tmp_path):
    plan = {
        "runs": [{"config": {"data_path": "/d/a.zip"}}, {"data_path": "/d/b"}, {"data_path": ""}]
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert report.data_paths(tmp_path) == ["/d/a.zip", "/d/b"]
    assert report.machine_paths(["/d/a.zip"])["/d/a.zip"] == "a.zip"


def test_render_shows_errors_and_escapes(tmp_path):
    error = new_output("error", ename="ValueError", evalue="<x>", traceback=["ValueError: <x>"])
    cells = [new_markdown_cell("# A & B"), new_code_cell("f('<y>')", outputs=[error])]
    nbformat.write(new_notebook(cells=cells), tmp_path / "a.ipynb")
    page = report.render(tmp_path / "a.ipynb", tmp_path / "a.html", site="<s>").read_text()
    assert "ValueError: &lt;x&gt;" in page and "<x>" not in page and "<y>" not in page
    assert "<title>A &amp; B" in page and "&lt;s&gt;" in page
    assert [path.name for path in tmp_path.glob(".*")] == []
