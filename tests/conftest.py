"""A synthetic ablation, analysed by small notebooks of every kind."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from records_factory import make_ablation

from fagan import pages

PARAMETERS = 'ablation = "laptop"  # which\nresults = "results"  # where'
LOAD = """
import os
from IPython.display import display
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from fagan import plots
from fagan.environment import ROOT
from fagan.records import load_runs
plots.use_style()
runs = load_runs(ablation, ROOT / results)
"""
FIGURE = """
figure, ax = plt.subplots(figsize=(4, 2))
ax.plot([10, 20, 30])
plots.show(figure, "A line & <more>", runs.folder / "figures" / "line.svg")
"""
PHOTO = """
figure, ax = plt.subplots(figsize=(2, 2))
ax.imshow(np.zeros((8, 8, 3)))
plots.show(figure, "A black square", photo=True)
"""
TABLE = "runs.runs[['run_id', 'seed', 'status']].set_index('run_id').head(3)"
LISTING = """
import itables
itables.init_notebook_mode(all_interactive=False, connected=False)
itables.show(runs.runs[["run_id", "seed", "fd_lite0"]], display_logo_when_loading=False)
"""
LIST = """
from fagan.files import read_json
print("known:", sorted(read_json(runs.folder / "analysis" / "pages.json")))
"""


def write_notebook(folder: Path, name: str, *cells: str, **metadata) -> None:
    """A notebook of a title, the parameters, and cells of code ("tag: code" tags one)."""
    made = [new_markdown_cell(f"# What of {name}?\n\nHow to read it.")]
    made.append(new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}))
    for source in cells:
        tag, colon, rest = source.partition(": ")
        tagged = colon and tag.isidentifier()
        made.append(new_code_cell(rest if tagged else source))
        made[-1].metadata["tags"] = [tag] if tagged else []
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=made, metadata=metadata), folder / f"{name}.ipynb")


@pytest.fixture(scope="session")
def analysed(tmp_path_factory):
    """An ablation whose analysis had three faults: .results, .folder, .said (what was left out)."""
    root = tmp_path_factory.mktemp("analysed")
    results, notebooks = root / "a person's results", root / "notebooks"
    folder = make_ablation(results, data_path=str(root / "private" / "photos.zip"))
    (folder / "runs" / "fagan-seed0").mkdir(exist_ok=True)
    write_notebook(notebooks, "index", LOAD, FIGURE, LIST, LISTING)
    write_notebook(
        notebooks,
        "scores",
        f"{LOAD}\nleft = 'a name of scores'",
        FIGURE,
        TABLE,
        f"print({str(root)!r}, runs.folder, os.path.expanduser('~'))",
        "finding: print('FOUND')",
        findings="published/tiny",
    )
    write_notebook(notebooks, "samples", LOAD, PHOTO, "'left' in globals(), len(plt.get_fignums())")
    write_notebook(notebooks, "alphas", f"{LOAD}\nplt.figure()\nlen(runs.missing)")
    write_notebook(notebooks, "attention", "import os\nos._exit(9)")
    write_notebook(
        notebooks, "zebra", "from fagan.errors import UserError\nraise UserError('no weights')"
    )
    (notebooks / "reproduce.ipynb").write_text("{")
    run = new_notebook(cells=[new_markdown_cell("# One run"), new_code_cell("train(config)")])
    nbformat.write(run, folder / "runs" / "fagan-seed0" / "train.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "ANALYSIS", notebooks)
        said = pages.analyse("tiny", results)
    return SimpleNamespace(results=results, folder=folder, said=said, notebooks=notebooks)
