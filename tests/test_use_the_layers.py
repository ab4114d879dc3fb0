"""The guide to the layers holds no outputs, and runs."""

import nbformat
import pytest
from nbclient import NotebookClient

from fagan.environment import ROOT

NOTEBOOK = ROOT / "notebooks" / "use_the_layers.ipynb"


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def test_the_guide_holds_no_outputs():
    cells = code(nbformat.read(NOTEBOOK, as_version=4))
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.mark.slow
def test_it_runs_and_draws():
    """Its own assertion: before training the networks are one function, up to rounding."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    cell = next(c for c in book.cells if "parameters" in c.metadata.get("tags", []))
    cell.source = "seeds, epochs = 1, 1"
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [out for cell in code(book) for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]
    pictures = [out for out in outputs if {"image/svg+xml", "image/png"} & {*out.get("data", {})}]
    assert len(pictures) == 2
    assert "below 1e-6" in "".join(out.get("text", "") for out in outputs)
    (table,) = (out["data"]["text/html"] for out in outputs if "text/html" in out.get("data", {}))
    assert "full − plain" in table and table.count("<tr") == 1 + 1 + 1  # one seed under two rows
