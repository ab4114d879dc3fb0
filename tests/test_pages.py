"""The pages of an ablation: none costs another, nothing is loaded, nothing private is published."""

import gzip
import html
import json
import re
import shutil
from functools import partial
from html.parser import HTMLParser
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from conftest import write_notebook
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


@pytest.fixture
def small(tmp_path, monkeypatch):
    """An ablation of one run: .folder, .write(name, code), .analyse(...) and .read(name) a page."""
    results, notebooks = tmp_path / "results", tmp_path / "notebooks"
    folder = make_ablation(results, arms={"dcgan": {"architecture": "dcgan"}}, seeds=1, grids=0)
    monkeypatch.setattr(pages, "ANALYSIS", notebooks)
    return SimpleNamespace(
        folder=folder,
        write=partial(write_notebook, notebooks),
        analyse=partial(pages.analyse, "tiny", results),
        read=lambda name: (folder / "analysis" / f"{name}.html").read_text(),
    )


def test_a_page_is_made_anew_when_its_notebook_is_mended(small):
    for name, code in {"index": "1", "scores": "1", "samples": "1 / 0", "zebra": "1 / 0"}.items():
        small.write(name, code)
    assert set(small.analyse()) == {"samples", "zebra"}
    small.write("zebra", "'mended'")
    small.write("scores", "1 / 0")
    assert set(small.analyse(["zebra", "scores"])) == {"samples", "scores"}
    assert "mended" in small.read("zebra")
    assert not (small.folder / "analysis" / "scores.html").exists(), "of an earlier analysis"


def test_kernels_share_the_cores(small):
    wanted = {"scores": 3, "samples": 3, "index": 7}  # the front page alone
    for name in wanted:
        small.write(name, "import os; print('threads', os.environ['OMP_NUM_THREADS'])")
    assert small.analyse(cores=7) == {} and pages.whole(small.folder)
    for name, threads in wanted.items():
        assert f"threads {threads}" in small.read(name)
    (small.folder / "analysis" / "scores.html").unlink()
    assert not pages.whole(small.folder)


@pytest.mark.parametrize("fault", ["execute", "render"])
def test_a_front_page_that_fails_is_there_and_lists_what_is_missing(small, monkeypatch, fault):
    small.write("index", "1 / 0" if fault == "execute" else "1")
    small.write("scores", "1 / 0")
    small.write("samples", "1")
    render = pages.render

    def fails(book, *arguments):
        if fault == "render" and any("What of" in cell.source for cell in book.cells):
            raise ValueError("no <b>good</b>")
        return render(book, *arguments)

    monkeypatch.setattr(pages, "render", fails)
    missing = {"scores", "index"} | ({"samples"} if fault == "render" else set())
    assert set(small.analyse()) == missing
    front = small.read("index")
    listed = dict(re.findall(r"<li><b>(\w+)</b>: (.*?) \(<a", front))
    assert set(listed) == {pages.title(name) for name in missing}
    assert listed["Scores"] == "ZeroDivisionError: division by zero"
    assert "<b>good</b>" not in front
    for href in re.findall(r'href="([^"#]+)"', front):
        assert (small.folder / "analysis" / href).exists(), href


def test_an_unknown_notebook_is_named_before_anything_is_written(small):
    small.write("scores", "1")
    with pytest.raises(UserError, match="unknown notebook 'scors'; did you mean 'scores'"):
        small.analyse(["scors"])
    assert not (small.folder / "analysis").exists()


# Findings


@pytest.mark.parametrize(
    ("ablation", "there"), [("published/tiny", True), ("tiny", False), ("published/other", False)]
)
def test_findings_stand_only_where_they_hold(ablation, there, analysed, monkeypatch):
    monkeypatch.setattr(pages, "ANALYSIS", analysed.notebooks)
    book = pages._book("scores", ablation, analysed.results)
    assert any("FOUND" in cell.source for cell in book.cells) == there


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


def test_tables_scroll_and_code_is_folded(analysed):
    text = page(analysed)
    seen = Seen(text)
    [scroller] = [d for d in seen.tags["div"] if d.get("aria-label") == "Table"]
    assert scroller["class"] == "scroll" and scroller["tabindex"] == "0"
    folded = [d for d in seen.tags["details"] if d.get("class") == "code"]
    assert len(folded) == 6 and not any("open" in d for d in folded)
    assert '<th scope="row">dcgan-seed0</th>' in text and "<summary>defaults</summary>" in text


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

# a page that leaves a figure, and one that says which networks it finds
DRAWS = """
from pathlib import Path
(Path(results) / ablation / "figures").mkdir(exist_ok=True)
(Path(results) / ablation / "figures" / "line.svg").write_text("<svg/>")
"""
NETWORKS = """
from pathlib import Path
sorted(path.parent.name for path in Path(results, ablation).rglob("generator.safetensors"))
"""


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A finished ablation beside small notebooks: (results, its folder)."""
    results, notebooks = tmp_path / "results", tmp_path / "notebooks"
    options = {"unfinished": (), "not_begun": (), "diverged": ("sagan-seed1",)}
    arms = {"sagan": {}, "fagan": {"architecture": "fagan"}}
    folder = make_ablation(results, arms=arms, seeds=2, data_path=str(tmp_path / "a"), **options)
    monkeypatch.setattr(pages, "ANALYSIS", notebooks)
    write_notebook(notebooks, "index", DRAWS)
    write_notebook(notebooks, "scores", "finding: 'FOUND'", findings="published/tiny")
    write_notebook(notebooks, "attention", NETWORKS)
    (folder / "tables").mkdir()
    (folder / "tables" / "summary.csv").write_text("arm,mean\nsagan,1.0\n")
    (folder / "workflow.log").write_text("SECRET")
    for run in (folder / "runs").iterdir():
        for network in ("generator", "discriminator"):
            (run / f"{network}.safetensors").write_bytes(b"weights")
        for own in ("train.ipynb", "train.html", "run.log", "run.lock", "checkpoint.pt"):
            (run / own).write_text("SECRET")
    return results, folder


def test_records_are_published_and_nothing_else(finished):
    results, folder = finished
    target = pages.publish("tiny", results, weights=["fagan-seed0"])
    assert target == results / "published" / "tiny"
    for run in ("sagan-seed0", "sagan-seed1", "fagan-seed0", "fagan-seed1"):
        own, copy = folder / "runs" / run, target / "runs" / run
        for name in ("history.csv", "metrics.json", "env.json", "timing.csv"):
            assert (copy / name).read_bytes() == (own / name).read_bytes()
        for name in ("alpha.csv", "spectral.csv"):  # the longest are packed
            assert gzip.decompress((copy / f"{name}.gz").read_bytes()) == (own / name).read_bytes()
            assert not (copy / name).exists()
        grids = sorted((own / "samples").iterdir())
        kept = grids if run.endswith("seed0") else grids[-1:]
        copies = sorted((copy / "samples").iterdir())
        assert [path.name for path in copies] == [f"{grid.stem}.jpg" for grid in kept]
        away = read_grid(copies[-1]).astype(float) - read_grid(kept[-1])
        assert np.sqrt((away**2).mean()) < 20
    assert {p.parent.name for p in target.rglob("*.safetensors")} == {"fagan-seed0"}
    for path in target.rglob("*.*"):
        assert path.suffix in (".jpg", ".gz", ".safetensors") or "SECRET" not in path.read_text()
    for unwanted in ("*.l*", "*.pt", "figures/*", "train.*"):
        assert not list(target.rglob(unwanted)), unwanted
    assert (target / "tables" / "summary.csv").exists()
    assert "data_path" not in (target / "plan.json").read_text()


def test_published_pages_are_made_with_all_networks_and_again_with_what_is_kept(finished):
    results, _ = finished
    (results / "published" / "tiny").mkdir(parents=True)
    (results / "published" / "tiny" / "old").write_text("is replaced")
    target = pages.publish("tiny", results, weights=["fagan-seed0"])
    assert not (target / "old").exists() and not list(target.parent.glob(".*"))
    assert "FOUND" in (target / "analysis" / "scores.html").read_text()
    assert "sagan-seed0" in (target / "analysis" / "attention.html").read_text()
    assert pages.analyse("published/tiny", results, ["attention"]) == {}
    page = (target / "analysis" / "attention.html").read_text()
    assert "fagan-seed0" in page and "sagan-seed0" not in page


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


def test_an_unknown_run_is_refused(finished):
    refused(finished[0], "unknown run 'fagan-seed7'", weights=["fagan-seed7"])


def test_a_path_of_this_machine_is_refused(finished):
    results, folder = finished
    (folder / "tables" / "summary.csv").write_text(f"arm,path\nsagan,{ROOT}/results/a.png\n")
    refused(results, r"summary\.csv holds this machine's path")


def test_photographs_are_refused_and_drawn_faces_are_nobodys(finished):
    results, folder = finished
    write_notebook(pages.ANALYSIS, "samples", "photographs: print('a face of somebody')")
    target = pages.publish("tiny", results)
    assert "somebody" in (target / "analysis" / "samples.html").read_text()
    shutil.rmtree(results / "published")
    for path in folder.glob("runs/*/config.json"):
        path.write_text(json.dumps(read_json(path) | {"data": "folder"}))
    refused(results, "samples shows photographs")


def test_what_was_published_stays_where_publishing_fails(finished):
    results, _ = finished
    old = results / "published" / "tiny" / "analysis" / "index.html"
    old.parent.mkdir(parents=True)
    old.write_text("published before")
    write_notebook(pages.ANALYSIS, "index", "1 / 0")
    with pytest.raises(UserError, match="page index cannot be made"):
        pages.publish("tiny", results)
    assert old.read_text() == "published before"
    assert [path.name for path in (results / "published").iterdir()] == ["tiny"]
