"""The README: its results are those of the records, its commands and links exist."""

import re

import pytest
import records_factory

from fagan import readme
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.publish import publish
from fagan.records import TABLES, meanings

TEXT = readme.README.read_text()
PUBLISHED_PAGE = ROOT / "results" / "published" / "README.md"


def test_results_are_what_the_published_records_say():
    names = [match["name"] for match in readme.MARKS.finditer(TEXT)]
    assert names
    for match in readme.MARKS.finditer(TEXT):
        found = match[0].removeprefix(match[1]).removesuffix(match[4])
        assert found == readme.between(match, ROOT / "results")


def test_the_published_page_is_what_the_records_say():
    assert PUBLISHED_PAGE.read_text() == readme.published_page(ROOT / "results")


def test_every_published_file_and_column_is_explained():
    for ablation in PUBLISHED_PAGE.parent.glob("*/plan.json"):
        known = {*meanings.ABLATION_FILES, "runs", "tables", "figures", "report"}
        assert {path.name for path in ablation.parent.iterdir()} <= known
        tables = {path.name for path in ablation.parent.glob("tables/*")}
        assert tables <= set(meanings.TABLE_FILES)
        files = {path.name for path in ablation.parent.glob("runs/*/*") if path.is_file()}
        assert files <= set(meanings.RUN_FILES)
    for name, columns in TABLES.items():
        assert tuple(meanings.COLUMNS[f"{name}.csv"]) == columns


def test_every_low_and_high_is_explained_at_its_table():
    assert "are the ends of a 95 % interval" not in PUBLISHED_PAGE.read_text()
    found = set()
    for path in PUBLISHED_PAGE.parent.glob("*/tables/*.csv"):
        columns = path.read_text().partition("\n")[0].split(",")
        found |= {path.name} if any(c.endswith("low") for c in columns) else set()
    for name in {*found, "blog.csv", "score_agreement.csv"}:
        assert "`low` and `high`" in meanings.TABLE_FILES[name], name


@pytest.mark.parametrize("page", [readme.README, PUBLISHED_PAGE], ids=lambda path: path.name)
def test_every_link_and_image_resolves(page):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert targets
    for target in targets:
        assert "://" in target or (page.parent / target).exists(), target


def test_every_make_target_that_it_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", TEXT))
    assert {"ablations", "test"} <= named <= targets


def test_update_rewrites_between_the_marks_and_nothing_else(tmp_path):
    results = tmp_path / "results"
    folder = records_factory.make_ablation(results, unfinished=(), not_begun=())
    for name in ("figures", "tables"):
        (folder / name).mkdir(exist_ok=True)
    records_factory.make_pages(folder)
    publish("tiny", results)
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- results: tiny -->\nstale 1.23\n<!-- end -->\nafter\n")
    assert readme.update(results, page) == ["README.md", "published/README.md"]
    assert "[tiny](tiny)" in (results / "published" / "README.md").read_text()
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("<!-- end -->\nafter\n")
    assert "stale" not in text and "lowest mean FD" in text
    assert readme.update(results, page) == []
    page.write_text("no marks")
    with pytest.raises(UserError, match="has no"):
        readme.update(results, page)
