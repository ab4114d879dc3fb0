"""The whole path for real: `python -m fagan ablations smoke`, in processes of its own."""

import json
import re
import shutil
import subprocess
import sys
import time

import pytest
from PIL import Image

from fagan.environment import ROOT
from fagan.records import HISTORY, load_runs
from fagan.status import Progress, duration, progress, summary
from fagan.workflow import is_complete

pytestmark = pytest.mark.slow


def ablations(results, *options):
    return subprocess.run(
        [sys.executable, "-m", "fagan", "ablations", "smoke", "--results", str(results), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A finished smoke ablation: (results folder, what was printed)."""
    results = tmp_path_factory.mktemp("results") / "a person's $folder"  # a shell must not read it
    done = ablations(results)
    assert done.returncode == 0, done.stdout + done.stderr + logs(results)
    return results, done.stdout


def logs(results):
    return "".join(path.read_text() for path in sorted(results.rglob("*.log")))


def test_it_ends_with_records_and_pages(smoke):
    results, said = smoke
    assert "2 of 2 done" in said and "report/index.html" in said
    runs = load_runs("smoke", results)
    assert runs.runs["status"].tolist() == ["done", "done"]
    assert tuple(runs.history.columns[4:]) == HISTORY
    assert runs.runs["fd_lite0"].notna().all()
    assert set(runs.alpha["arm"]) == {"sagan", "fagan"}
    pages = {path.stem for path in (results / "smoke" / "analysis").glob("*.html")}
    assert {"comparison", "alpha", "samples"} <= pages
    assert (results / "smoke" / "report" / "index.html").stat().st_size > 10_000


def test_the_executed_notebook_of_a_run_is_whole_and_carries_no_path(smoke):
    results, _ = smoke
    for path in (results / "smoke" / "runs").glob("*/train.ipynb"):
        text = path.read_text()
        book = json.loads(text)
        code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
        assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
        assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error"]
        assert len(book["cells"]) <= 15 + 1  # papermill's injected parameters
        for private in (str(ROOT), str(results), sys.prefix):
            assert private not in text


def test_again_does_nothing_and_says_so_in_seconds(smoke):
    results, _ = smoke
    began = time.monotonic()
    done = ablations(results)
    assert done.returncode == 0 and "nothing to do" in done.stdout
    assert time.monotonic() - began < 15


def test_a_deleted_page_is_not_complete(smoke, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(smoke[0], results)
    assert is_complete("smoke", results)
    (results / "smoke" / "analysis" / "alpha.html").unlink()
    assert not is_complete("smoke", results)


def fagan(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fagan", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_a_finished_run_can_be_sampled_and_says_which_code_made_it(smoke, tmp_path):
    results = str(smoke[0])
    out = tmp_path / "faces.png"
    sample = ("sample", "smoke", "fagan-seed0", "--results", results, "--n", "16", "--out")
    assert fagan(*sample, str(out)).returncode == 0
    assert Image.open(out).size == (8 * 32, 2 * 32)
    stale = fagan("stale", "smoke", "--results", results)
    assert stale.stdout.startswith("0 runs were made by other code")
    status = fagan("status", "smoke", "--results", results)
    assert status.stdout.startswith("smoke: 2 of 2 done\n")


def test_a_deleted_result_is_redone_alone_with_the_analysis(smoke, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(smoke[0], results)  # mtimes are kept
    folder = results / "smoke"
    first = (folder / "runs" / "fagan-seed0" / "metrics.json").read_text()
    kept = folder / "runs" / "sagan-seed0" / "metrics.json"
    page = folder / "analysis" / "comparison.html"
    (folder / "runs" / "fagan-seed0" / "metrics.json").unlink()
    before = (kept.stat().st_mtime_ns, page.stat().st_mtime_ns)
    done = ablations(results)
    assert done.returncode == 0, done.stdout + logs(results)
    assert kept.stat().st_mtime_ns == before[0]
    assert page.stat().st_mtime_ns > before[1]
    # the same configuration, seed and machine: the same numbers
    assert (folder / "runs" / "fagan-seed0" / "metrics.json").read_text() == first


def test_a_failed_run_leaves_the_others_running(tmp_path):
    blocked = tmp_path / "smoke" / "runs" / "sagan-seed0" / "history.csv"
    blocked.mkdir(parents=True)  # a folder where a file must be written: a real fault
    done = ablations(tmp_path)
    assert done.returncode == 1
    assert (tmp_path / "smoke" / "runs" / "fagan-seed0" / "metrics.json").exists()
    assert not (tmp_path / "smoke" / "runs" / "sagan-seed0" / "metrics.json").exists()
    assert "1 of 2 done, 1 failed" in done.stdout
    assert re.search(r"sagan-seed0 +failed .*IsADirectoryError.*run\.log", done.stdout)
    executed = (tmp_path / "smoke" / "runs" / "sagan-seed0" / "train.ipynb").read_text()
    assert "IsADirectoryError" in executed
    states = {run.run_id: run.state for run in progress("smoke", tmp_path)}
    assert states == {"sagan-seed0": "failed", "fagan-seed0": "done"}


def test_progress_lines(tmp_path):
    run = Progress("fagan-seed0", "running", 750, 1500, 420.4, 57.1, 98.13, "", tmp_path)
    line = run.line()
    assert "step 750/1500  420 images/s  0:57 left  fd_lite0 98.1" in line
    new = Progress("sagan-seed0", "waiting", 0, 1500, None, None, None, "", tmp_path)
    assert summary([run, new]) == "0 of 2 done, 1 running, 1 waiting"
    assert duration(3723) == "1:02:03" and duration(59.6) == "1:00"
