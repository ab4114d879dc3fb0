"""The tutorial is executed, short, and says what it found."""

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from records_factory import ARMS, make_ablation

from fagan import report
from fagan.environment import ROOT
from fagan.errors import UserError

NOTEBOOK = ROOT / "notebooks" / "use_the_layers.ipynb"


@pytest.fixture(scope="module")
def executed():
    book = nbformat.read(NOTEBOOK, as_version=4)
    cell = next(c for c in book.cells if "parameters" in c.metadata.get("tags", []))
    cell.source = "seeds, epochs = 2, 1"
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    return book


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def test_the_template_is_short_and_holds_no_outputs():
    book = nbformat.read(NOTEBOOK, as_version=4)
    assert len(book.cells) <= 12 and report.heading(book)
    assert all(not cell.outputs and cell.execution_count is None for cell in code(book))
    assert all(len(cell.source.splitlines()) <= 14 for cell in code(book))


@pytest.mark.slow
def test_it_runs_draws_and_says_n(executed, tmp_path):
    outputs = [out for cell in code(executed) for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]
    assert sum("image/svg+xml" in out.get("data", {}) for out in outputs) == 2
    said = " ".join(out["data"].get("text/markdown", "") for out in outputs)
    assert "before training: **0**" in said  # the very same function
    assert said.count("of 2 seeds lower") == 2
    nbformat.write(executed, tmp_path / "a.ipynb")
    page = report.render(tmp_path / "a.ipynb", tmp_path / "a.html").read_text()
    assert page.count('role="img"') == 2 and "The layers in a network of your own" in page


def test_a_report_takes_the_executed_guide_along(tmp_path, monkeypatch):
    folder = make_ablation(tmp_path, arms={"fagan": ARMS["fagan"]}, seeds=1, grids=0)
    assert "use_the_layers.html" not in report.report("tiny", tmp_path).read_text()
    (tmp_path / "notebooks").mkdir()
    quick = new_notebook(cells=[new_markdown_cell("# A guide"), new_code_cell("print(1 + 1)")])
    nbformat.write(quick, tmp_path / "notebooks" / "use_the_layers.ipynb")
    monkeypatch.setattr(report.analysis, "ANALYSIS", tmp_path / "notebooks" / "analysis")
    page = report.analyse("tiny", "use_the_layers", tmp_path)
    with pytest.raises(UserError, match="no runs under"):
        report.analyse("tine", "use_the_layers", tmp_path)
    assert page == folder / "analysis" / "use_the_layers.html" and "A guide" in page.read_text()
    assert 'href="use_the_layers.html"' in report.report("tiny", tmp_path).read_text()
    assert "A guide" in (folder / "report" / "use_the_layers.html").read_text()
