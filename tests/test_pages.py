"""The pages of an ablation: none costs another, nothing is loaded, nothing private is published."""

import gzip
import html
import json
import re
import shutil
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest
from conftest import FIGURE, LOAD, TABLE, write_notebook
from records_factory import make_ablation

from fagan import pages, runner
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.files import read_json, write_json
from fagan.records import read_grid


def page(analysed, name="scores"):
    return (analysed.folder / "analysis" / f"{name}.html").read_text()


def said(analysed, name):
    """A page as it is read, its entities as characters."""
    return html.unescape(page(analysed, name))


class Seen(HTMLParser):
    """The tags of a page: {name: [attributes]}."""

    def __init__(self, text):
        super().__init__()
        self.tags = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.setdefault(tag, []).append(dict(attributes))


# What fails costs its own page


def test_every_fault_is_named_and_all_other_pages_are_there(analysed):
    assert {name: why["reason"].partition(":")[0] for name, why in analysed.said.items()} == {
        "alphas": "AttributeError",
        "attention": "DeadKernelError",
        "reproduce": "NotJSONError",
        "zebra": "no weights",  # a UserError speaks for itself
    }
    known = read_json(analysed.folder / pages.PAGES)
    assert {name: why for name, why in known.items() if why} == analysed.said
    assert [name for name, why in known.items() if not why] == ["scores", "samples", "index"]
    made = {path.stem for path in (analysed.folder / "analysis").glob("*.html")}
    assert made == {"scores", "samples", "index"}
    log = (analysed.folder / analysed.said["alphas"]["log"]).read_text()
    assert "len(runs.missing)" in log and "\x1b" not in log
    assert not (analysed.folder / "log" / "scores.log").exists()
    assert not pages.whole(analysed.folder)


def test_the_front_page_comes_last_and_knows_of_the_others(analysed):
    names = sorted({*read_json(analysed.folder / pages.PAGES)} - {"index"})
    assert f"known: {names}" in said(analysed, "index")


def test_a_warm_kernel_hands_on_no_names_and_no_figures(analysed):
    assert "(False, 0)" in page(analysed, "samples")


def test_a_page_is_made_anew_when_its_notebook_is_mended(analysed, tmp_path, monkeypatch):
    results, notebooks = tmp_path / "results", tmp_path / "notebooks"
    shutil.copytree(analysed.results, results)
    shutil.copytree(analysed.notebooks, notebooks)
    monkeypatch.setattr(pages, "ANALYSIS", notebooks)
    for name in ("alphas", "attention", "reproduce"):
        (notebooks / f"{name}.ipynb").unlink()
    write_notebook(notebooks, "zebra", "'mended'")
    write_notebook(notebooks, "scores", "1 / 0")
    left = pages.analyse("tiny", results, ["zebra", "scores"])
    assert set(left) == {"alphas", "attention", "reproduce", "scores"}
    assert "mended" in (results / "tiny" / "analysis" / "zebra.html").read_text()
    assert not (results / "tiny" / "analysis" / "scores.html").exists(), "of an earlier analysis"
    said = "import os; print('threads', os.environ['OMP_NUM_THREADS'])"
    for name in ("index", "scores", "samples"):
        write_notebook(notebooks, name, said)
    assert pages.analyse("tiny", results, cores=7) == {} and pages.whole(results / "tiny")
    for name, threads in {"scores": 2, "samples": 2, "index": 7}.items():  # the front page alone
        page = (results / "tiny" / "analysis" / f"{name}.html").read_text()
        assert f"threads {threads}" in page, "the kernels share the cores"
    (results / "tiny" / "analysis" / "scores.html").unlink()
    assert not pages.whole(results / "tiny")


@pytest.mark.parametrize("fault", ["execute", "render"])
def test_a_front_page_that_fails_is_there_and_lists_what_is_missing(tmp_path, monkeypatch, fault):
    folder = make_ablation(tmp_path / "results")
    monkeypatch.setattr(pages, "ANALYSIS", tmp_path / "notebooks")
    write_notebook(tmp_path / "notebooks", "index", "1 / 0" if fault == "execute" else "1")
    write_notebook(tmp_path / "notebooks", "scores", "1 / 0")
    write_notebook(tmp_path / "notebooks", "samples", "1")
    render = pages.render

    def fails(book, *arguments):
        if fault == "render" and any("What of" in cell.source for cell in book.cells):
            raise ValueError("no <b>good</b>")
        return render(book, *arguments)

    monkeypatch.setattr(pages, "render", fails)
    faults = pages.analyse("tiny", tmp_path / "results")
    missing = {"scores", "index"} | ({"samples"} if fault == "render" else set())
    assert set(faults) == missing
    front = (folder / "analysis" / "index.html").read_text()
    listed = dict(re.findall(r"<li><b>(\w+)</b>: (.*?) \(<a", front))
    assert set(listed) == {pages.title(name) for name in missing}
    assert listed["Scores"] == "ZeroDivisionError: division by zero"
    assert "<b>good</b>" not in front
    for href in re.findall(r'href="([^"#]+)"', front):
        assert (folder / "analysis" / href).exists(), href


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(UserError, match="no runs under"):
        pages.analyse("tiny", tmp_path)
    make_ablation(tmp_path)
    with pytest.raises(UserError, match="unknown notebook 'scors'; did you mean 'scores'"):
        pages.analyse("tiny", tmp_path, ["scors"])
    assert not (tmp_path / "tiny" / "analysis").exists()


# Findings


def test_findings_stand_only_where_they_hold(analysed, tmp_path, monkeypatch):
    assert "FOUND" not in page(analysed)
    monkeypatch.setattr(pages, "ANALYSIS", analysed.notebooks)
    for name, there in (("tiny", True), ("other", False)):
        folder = tmp_path / "published" / name
        shutil.copytree(analysed.folder, folder)
        pages.analyse(f"published/{name}", tmp_path, ["scores"])
        assert ("FOUND" in (folder / "analysis" / "scores.html").read_text()) == there


# What a page is


def test_a_page_is_whole_and_loads_nothing(analysed):
    for name in ("index", "scores", "samples"):
        seen = Seen(page(analysed, name))
        policy = next(m["content"] for m in seen.tags["meta"] if "http-equiv" in m)
        assert policy.startswith("default-src 'none'; img-src data:") and "http" not in policy
        assert not seen.tags.keys() & {"link", "iframe", "object"}
        assert all(image["src"].startswith("data:image/") for image in seen.tags.get("img", []))
        assert all("src" not in script for script in seen.tags.get("script", []))
        # itables' scripts by their hashes, and no others
        scripts = len(seen.tags.get("script", []))
        assert policy.count("'sha256-") == scripts and bool(scripts) == (name == "index")
        assert ("script-src" in policy) == (name == "index")


def test_figures_have_their_words_and_photographs_their_colours(analysed):
    [line] = Seen(page(analysed)).tags["img"]
    assert line["alt"] == "A line & <more>" and line["src"].startswith("data:image/svg+xml;base64,")
    text = page(analysed, "samples")
    [photo] = Seen(text).tags["img"]
    assert photo["alt"] == "A black square" and photo["src"].startswith("data:image/png;base64,")
    assert text.count('<figure class="scroll photo"') == 1
    assert 'class="scroll photo"' not in page(analysed)


def test_tables_have_scopes_and_code_is_folded(analysed):
    text = page(analysed)
    assert '<th scope="row">dcgan-seed0</th>' in text and '<th scope="col">status</th>' in text
    seen = Seen(text)
    [scroller] = [d for d in seen.tags["div"] if d.get("aria-label") == "Table"]
    assert scroller["class"] == "scroll" and scroller["tabindex"] == "0"
    folded = [d for d in seen.tags["details"] if d.get("class") == "code"]
    assert len(folded) == 6 and not any("open" in d for d in folded)
    assert "<summary>parameters</summary>" in text and "<summary>defaults</summary>" in text


def test_scopes_of_tables_of_every_kind():
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("x", 2)]))
    text = runner.scoped(frame.to_html())
    assert text.count('scope="col"') == 1 and text.count('scope="row"') == 3
    text = runner.scoped(frame.to_html(index=False))
    assert text.count('<th scope="row">') == 2 and "<td></td>" not in text
    styled = runner.scoped(frame.style.to_html())
    assert '<th class="col_heading level0 col0" id=' in styled and styled.count('scope="row"') == 3


def test_the_navigation_has_the_pages_that_were_made_by_their_names(analysed):
    for name in ("scores", "index"):
        nav = re.search(r"<nav.*?</nav>", page(analysed, name), re.S)[0]
        assert re.findall(r">(\w[\w ]*)</a>", nav) == ["Report", "Scores", "Samples"]
        [current] = [a for a in Seen(nav).tags["a"] if "aria-current" in a]
        assert current["href"] == f"{name}.html"
        assert ">tiny</span>" in nav
    assert pages.notebooks()[0] == "index" and list(pages.TITLES.values()) == [
        *("Report", "Scores", "Samples", "Alphas", "Attention", "Trust", "Receptive field"),
        *("Reproduce", "Findings"),
    ]


def test_a_run_s_own_notebook_is_a_page_that_leads_back(analysed):
    run = analysed.folder / "runs" / "fagan-seed0" / "train.html"
    [home] = [a["href"] for a in Seen(run.read_text()).tags["a"] if "analysis" in a["href"]]
    assert (run.parent / home).resolve() == (analysed.folder / "analysis" / "index.html").resolve()


def test_a_code_host_gets_figures_as_png_and_no_script():
    png, svg = {"image/png": "AA=="}, {"image/svg+xml": "<svg/>"}
    for data, kept in (
        (png | svg, {"image/png"}),
        (svg, {"image/svg+xml"}),  # better than none
        ({"text/html": "<script>1</script>", "text/plain": "x"}, {"text/plain"}),
        ({"text/html": "<table></table>"}, {"text/html"}),
    ):
        output = nbformat.v4.new_output("display_data", data)
        cell = nbformat.v4.new_code_cell("1", outputs=[output])
        slim = pages._slim(nbformat.v4.new_notebook(cells=[cell]))
        assert set(slim.cells[0].outputs[0].data) == kept
        assert set(output.data) == set(data), "the page is made of the whole"
        nbformat.validate(slim)


# What stays private


def test_no_path_of_this_machine_is_in_a_page(analysed):
    for path in (*analysed.folder.glob("analysis/*"), *analysed.folder.glob("log/*.log")):
        text = path.read_text()
        for private in (str(ROOT), str(analysed.results), str(analysed.results.parent / "private")):
            assert private not in text, (path, private)
    assert "results/tiny ~" in page(analysed)


def test_scrubbing_takes_whole_paths_and_leaves_pictures():
    paths = {"/top/me/fagan": ".", "/top/me": "~"}
    cell = nbformat.v4.new_code_cell("open('/top/me/fagan/x'), '/top/me/x', '/top/merlin'")
    cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": "a /top/me b"})]
    book = runner.scrub(nbformat.v4.new_notebook(cells=[cell]), paths)
    assert book.cells[0].source == "open('./x'), '~/x', '/top/merlin'"
    assert book.cells[0].outputs[0].data["image/png"] == "a /top/me b"
    nbformat.validate(book)


# Publishing


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A finished ablation beside small notebooks: (results, its folder)."""
    results, notebooks = tmp_path / "results", tmp_path / "notebooks"
    options = {"unfinished": (), "not_begun": (), "diverged": ("sagan-seed1",)}
    arms = {"sagan": {}, "fagan": {"architecture": "fagan"}}
    folder = make_ablation(results, arms=arms, seeds=2, data_path=str(tmp_path / "a"), **options)
    monkeypatch.setattr(pages, "ANALYSIS", notebooks)
    write_notebook(notebooks, "index", LOAD, FIGURE, TABLE)
    write_notebook(notebooks, "scores", LOAD, "finding: 'FOUND'", findings="published/tiny")
    weights = "[p.parent.name for p in sorted(runs.folder.rglob('generator.safetensors'))]"
    write_notebook(notebooks, "attention", LOAD, weights)
    (folder / "tables").mkdir()
    (folder / "tables" / "summary.csv").write_text("arm,mean\nsagan,1.0\n")
    (folder / "workflow.log").write_text("SECRET")
    for run in (folder / "runs").iterdir():
        for network in ("generator", "discriminator"):
            (run / f"{network}.safetensors").write_bytes(b"weights")
        for own in ("train.ipynb", "train.html", "run.log", "run.lock", "checkpoint.pt"):
            (run / own).write_text("SECRET")
    return results, folder


def test_records_and_pages_are_published(finished):
    results, folder = finished
    target = pages.publish("tiny", results, weights=["fagan-seed0"])
    assert target == results / "published" / "tiny"
    for run in ("sagan-seed0", "sagan-seed1", "fagan-seed0", "fagan-seed1"):
        for name in ("history.csv", "metrics.json", "env.json", "timing.csv"):
            original = (folder / "runs" / run / name).read_bytes()
            assert (target / "runs" / run / name).read_bytes() == original
        for name in ("alpha.csv", "spectral.csv"):  # the longest are packed
            packed = gzip.decompress((target / "runs" / run / f"{name}.gz").read_bytes())
            assert packed == (folder / "runs" / run / name).read_bytes()
            assert not (target / "runs" / run / name).exists()
        grids = sorted((folder / "runs" / run / "samples").iterdir())
        kept = grids if run.endswith("seed0") else grids[-1:]
        copies = sorted((target / "runs" / run / "samples").iterdir())
        assert [copy.name for copy in copies] == [f"{grid.stem}.jpg" for grid in kept]
        for copy, grid in zip(copies, kept, strict=True):
            away = read_grid(copy).astype(float) - read_grid(grid)
            assert np.sqrt((away**2).mean()) < 20
    assert {p.parent.name for p in target.rglob("*.safetensors")} == {"fagan-seed0"}
    texts = [path for path in target.rglob("*.[jchi]*") if path.suffix not in (".gz", ".jpg")]
    assert "SECRET" not in "".join(path.read_text() for path in texts)
    assert not list(target.rglob("*.l*")) and not list(target.rglob("*.pt"))
    assert not list(target.glob("figures/*")) and not list(target.rglob("train.*"))
    assert (target / "tables" / "summary.csv").exists()
    assert "data_path" not in (target / "plan.json").read_text()
    # findings hold there, and its pages are made with all weights
    assert "FOUND" in (target / "analysis" / "scores.html").read_text()
    assert "sagan-seed0" in (target / "analysis" / "attention.html").read_text()
    # they can be made again in place, from what is there; again replaces what was there
    assert pages.analyse("published/tiny", results) == {}
    assert "sagan-seed0" not in (target / "analysis" / "attention.html").read_text()
    (target / "old").write_text("x")
    pages.publish("tiny", results)
    assert not (target / "old").exists() and not list(target.parent.glob(".*"))


def refused(results, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        pages.publish("tiny", results, **options)
    assert "\n" not in str(caught.value)
    assert not (results / "published" / "tiny").exists()
    assert not list((results / "published").glob(".*"))


def test_what_is_not_worth_citing_is_refused(finished):
    results, folder = finished
    env = folder / "runs" / "fagan-seed1" / "env.json"
    good = read_json(env)
    for change, words in (
        ({"dirty": True}, "uncommitted changes"),
        ({"dirty": None}, "uncommitted changes or outside git"),
        ({"source_fingerprint": "other"}, "made by different code"),
    ):
        write_json(env, good | change)
        refused(results, words)
    again = {"step": 20, "commit": "c", "dirty": False, "source_fingerprint": "other"}
    write_json(env, good | {"resumed": [again]})
    refused(results, "made by different code")
    write_json(env, good)
    (folder / "runs" / "fagan-seed1" / "metrics.json").unlink()
    refused(results, r"1 runs of tiny have not ended \(fagan-seed1\)")


def test_unknown_weights_paths_photographs_and_broken_pages_are_refused(finished):
    results, folder = finished
    refused(results, "unknown run 'fagan-seed7'", weights=["fagan-seed7"])
    table = folder / "tables" / "summary.csv"
    table.write_text(f"arm,path\nsagan,{ROOT}/results/a.png\n")
    refused(results, r"summary\.csv holds this machine's path")
    table.write_text("arm\nsagan\n")
    write_notebook(pages.ANALYSIS, "samples", "photographs: print('a face of somebody')")
    pages.publish("tiny", results)  # drawn faces are nobody's
    shutil.rmtree(results / "published")
    for path in folder.glob("runs/*/config.json"):
        path.write_text(json.dumps(read_json(path) | {"data": "folder"}))
    refused(results, "samples shows photographs")
    write_notebook(pages.ANALYSIS, "samples", "1 / 0")
    refused(results, "page samples cannot be made .*ZeroDivisionError")


def test_what_was_published_stays_where_publishing_fails(finished):
    results, _ = finished
    target = pages.publish("tiny", results)
    (target / "old").write_text("published before")
    write_notebook(pages.ANALYSIS, "index", "1 / 0")
    with pytest.raises(UserError, match="page index cannot be made"):
        pages.publish("tiny", results)
    assert (target / "old").exists() and "<img" in (target / "analysis" / "index.html").read_text()
