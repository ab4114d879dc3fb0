"""Every analysis notebook on records as users have them, its cells executed in this process.

An ablation may have one arm and one seed, no finished run, no attention at all, no sample grids,
images that are elsewhere; a cell that has nothing to show says so in a line, and none fails.
"""

import re
import shutil

import IPython.display
import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from records_factory import ARMS, make_ablation

from fagan.environment import ROOT
from fagan.files import read_json, write_json
from fagan.records import load_runs
from fagan.statistics import compare, final_scores

matplotlib.use("Agg")
ANALYSIS = ROOT / "notebooks" / "analysis"
NOTEBOOKS = sorted(ANALYSIS.glob("*.ipynb"))
SMALL = {"images": 64, "n_real": 48}  # real images that a notebook may draw
WHOLE = {"diverged": (), "unfinished": (), "not_begun": ()}
DCGAN = {name: {"architecture": "dcgan"} for name in ("dcgan", "dcgan-wide")}
ALL = [f"{arm}-seed{seed}" for arm in ARMS for seed in range(3)]
RECORDS = {
    "several arms": {},
    "one arm, one seed": {"arms": {"fagan": ARMS["fagan"]}, "seeds": 1, **WHOLE},
    "nothing finished": {"diverged": ALL[:4], "unfinished": ALL[4:], "not_begun": ()},
    "no attention, no images": {"arms": DCGAN, "seeds": 2, "grids": 0, "data": "cifar10", **WHOLE},
}


def executed(path, ablation, results, capsys):
    """All that the notebook displayed and printed, as one text of Markdown and HTML."""
    shown = []

    def display(*values, **_):
        shown.extend(map(text_of, values))

    with pytest.MonkeyPatch.context() as patch, matplotlib.rc_context():
        patch.setattr(IPython.display, "display", display)
        space = {"__name__": "__main__"}
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type != "code" or "finding" in cell.metadata.get("tags", []):
                continue
            source = cell.source
            if "parameters" in cell.metadata.get("tags", []):
                source += f"\nablation, results = {ablation!r}, {str(results)!r}"
            exec(compile(source, f"<{path.stem}, cell {number}>", "exec"), space)
        plt.close("all")
    return "\n".join(shown) + capsys.readouterr().out


def text_of(value):
    """A value as Jupyter shows it; a bundle's text alternative."""
    if isinstance(value, dict):
        return value["text/plain"]
    for name in ("_repr_markdown_", "_repr_html_"):
        text = getattr(value, name, lambda: None)()
        if text:
            return text
    return str(value)


def rows_of(text):
    """The cells of every row of the HTML tables in a text."""
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.S)
    return [[re.sub("<[^>]*>", "", c) for c in re.findall(r"<td.*?</td>", r, re.S)] for r in rows]


@pytest.fixture(scope="module", params=RECORDS)
def any_records(request, tmp_path_factory):
    results = tmp_path_factory.mktemp("records") / "results"
    make_ablation(results, **SMALL, **RECORDS[request.param])
    return results


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Four arms of three seeds: one run diverged, one is not finished, one was never begun."""
    results = tmp_path_factory.mktemp("records") / "results"
    make_ablation(results, **SMALL)
    return results


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_survives(path, any_records, capsys):
    executed(path, "tiny", any_records, capsys)


def test_scores(records, capsys):
    text = executed(ANALYSIS / "scores.ipynb", "tiny", records, capsys)
    runs = load_runs("tiny", records)
    tables, against = runs.folder / "tables", compare(final_scores(runs), "fd_lite0", "sagan")
    pd.testing.assert_frame_equal(pd.read_csv(tables / "compare.csv"), against, check_dtype=False)
    assert len(pd.read_csv(tables / "final_scores.csv")) == len(runs.finished) == 9
    assert "two seeds: no interval" in text  # of SAGAN, whose third seed diverged
    assert ["sagan-seed2", "diverged", "224", "400", "loss_d=inf"] in rows_of(text)
    assert ["fagan-relativistic-seed2", "not begun", "", "", ""] in rows_of(text)
    figures = {path.stem for path in (runs.folder / "figures").glob("*.svg")}
    assert figures >= {"fd_against_parameters", "final_scores", "curves", "coherence"}


def test_the_front_page(records, capsys):
    folder = records / "tiny"
    why = {"reason": "ValueError: too dark", "log": "log/samples.log"}
    write_json(folder / "analysis" / "pages.json", {"scores": None, "samples": why})
    text = executed(ANALYSIS / "index.ipynb", "tiny", records, capsys)
    assert "12 runs of 4 arms: 9 done, 1 diverged, 1 unfinished, 1 not begun." in text
    assert "](scores.html)" in text and "](samples.html)" not in text
    assert "ValueError: too dark ([log](../log/samples.log))" in text
    assert "0123456" in text and "torch 2.15" in text
    assert "fagan-relativistic-seed0" in text  # in the list of runs


def no_records(folder):
    shutil.rmtree(folder)


def no_files(folder):
    for name in ("metrics.json", "timing.csv", "alpha.csv", "env.json"):
        (folder / "runs" / "dcgan-seed0" / name).unlink()


def older_schema(folder):
    for path in folder.glob("runs/*/env.json"):
        write_json(path, read_json(path) | {"schema": 1})
    shutil.rmtree(folder / "figures", ignore_errors=True)
    for path in folder.glob("runs/*/interventions.csv"):
        path.unlink()


def unreadable_schema(folder):
    path = folder / "runs" / "sagan-seed0" / "env.json"
    write_json(path, read_json(path) | {"schema": 99})


def damaged(folder):
    (folder / "runs" / "fagan-seed1" / "metrics.json").write_text("{")


def other_arms(folder):
    shutil.rmtree(folder)
    arms = {"dcgan": ARMS["dcgan"], "mine": {"architecture": "F F C | C F C"}}
    make_ablation(folder.parent, arms=arms, seeds=2, **WHOLE, **SMALL)


def a_diverged_run(folder):
    path = folder / "runs" / "dcgan-seed0" / "metrics.json"
    write_json(path, {"schema": 2, "status": "diverged", "step": 7, "reason": "loss_d=inf"})


def other_numbers(folder):
    path = folder / "runs" / "dcgan-seed0" / "metrics.json"
    write_json(path, read_json(path) | {"fd_lite0": 100.0})


@pytest.mark.parametrize(
    ("ablation", "change", "dcgan"),
    [
        ("published/tiny", other_numbers, "0.900"),
        ("tiny", other_numbers, "0.900"),
        ("tiny", no_files, "no published score"),
        ("tiny", a_diverged_run, "no published score"),
        ("tiny", other_arms, "equal"),
        ("tiny", older_schema, "equal"),
        ("tiny", damaged, None),
        ("tiny", unreadable_schema, None),
        ("tiny", no_records, None),
    ],
)
def test_own_against_published(ablation, change, dcgan, records, tmp_path, capsys):
    """What a clone's front page once died of: published records of another making."""
    results = tmp_path / "results"
    shutil.copytree(records / "tiny", results / "tiny")
    shutil.copytree(records / "tiny", results / "published" / "tiny")
    change(results / "published" / "tiny")
    text = executed(ANALYSIS / "reproduce.ipynb", ablation, results, capsys)
    if dcgan is None:
        assert "published/tiny" in text and "nothing to compare" in text
        return
    rows = {(row[0], row[1]): row for row in rows_of(text) if len(row) == 5}
    assert rows["dcgan", "0"][-1] == dcgan
    assert rows["fagan", "0"][-1] == ("no published score" if change is other_arms else "equal")
    (arm,) = [row for row in rows_of(text) if len(row) > 5 and row[0] == "dcgan"]
    assert arm[3] in ("yes", "no")
