"""The whole path for real: `python -m fagan ablations smoke`, in processes of its own."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from PIL import Image
from test_pages import Seen

from fagan import ablations, locks, pages, workflow
from fagan.environment import ROOT
from fagan.files import read_json, write_json
from fagan.records import HISTORY, load_runs
from fagan.status import progress
from fagan.workflow import is_complete

pytestmark = pytest.mark.slow
# another machine's rounding, on this one: no AVX-512 or AMX in oneDNN's and ATen's kernels
ANOTHER = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


def fagan(*arguments, root=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-m", "fagan", *map(str, arguments)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)} | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )


def smoke_again(results, *options, **more):
    return fagan("ablations", "smoke", "--results", results, *options, **more)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A finished smoke ablation: (results, what was printed). A site's profile is ignored."""
    results = tmp_path_factory.mktemp("results") / "a person's $folder & é"
    done = smoke_again(results, SNAKEMAKE_PROFILE="/no/such/profile")
    assert done.returncode == 0, done.stdout + done.stderr + logs(results)
    return results, done.stdout


def logs(results):
    return "".join(path.read_text() for path in sorted(results.rglob("*.log")))


def test_it_ends_with_records_and_pages(smoke):
    results, said = smoke
    front = results / "smoke" / "analysis" / "index.html"
    assert "smoke: 2 of 2 done\n" in said and said.splitlines()[-1] == f"look at {front}"
    runs = load_runs("smoke", results)
    assert runs.runs["status"].tolist() == ["done", "done"]
    assert runs.runs["fd_lite0"].notna().all() and set(HISTORY) <= set(runs.history.columns)
    assert set(runs.alpha["arm"]) == {"sagan", "fagan"}
    made = {path.stem for path in front.parent.glob("*.html")}
    assert made == set(pages.notebooks()) and pages.whole(results / "smoke")


def test_every_link_between_its_pages_leads_somewhere(smoke):
    folder = smoke[0] / "smoke"
    found = [*folder.glob("analysis/*.html"), *folder.glob("runs/*/train.html")]
    assert len(found) == len(pages.notebooks()) + 2
    for path in found:
        for link in Seen(path.read_text()).tags["a"]:
            target = link.get("href", "").partition("#")[0]
            if not target.startswith("https://"):
                assert (path.parent / target).exists(), (path.name, link)


def test_the_executed_notebook_of_a_run_is_whole_and_carries_no_path(smoke):
    results, _ = smoke
    for path in (results / "smoke" / "runs").glob("*/train.ipynb"):
        text = path.read_text()
        book = json.loads(text)
        code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
        assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
        assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error"]
        for private in (str(ROOT), str(results), sys.prefix):
            assert private not in text


def test_again_does_nothing_and_says_so_in_seconds(smoke):
    began = time.monotonic()
    done = smoke_again(smoke[0])
    assert done.returncode == 0 and "nothing to do" in done.stdout
    assert time.monotonic() - began < 15


def test_a_finished_run_can_be_sampled_and_says_which_code_made_it(smoke, tmp_path):
    out = tmp_path / "faces.png"
    sample = ("sample", "smoke", "fagan-seed0", "--results", smoke[0], "--n", "16", "--out", out)
    assert fagan(*sample).returncode == 0
    assert Image.open(out).size == (8 * 32, 2 * 32)
    stale = fagan("stale", "smoke", "--results", smoke[0])
    assert stale.stdout.startswith("0 runs were made by other code")
    status = fagan("status", "smoke", "--results", smoke[0])
    assert status.stdout.startswith("smoke: 2 of 2 done\n")


def test_a_deleted_result_is_redone_alone_with_the_analysis(smoke, another_clone):
    folder = another_clone / "results" / "smoke"
    shutil.copytree(smoke[0] / "smoke", folder)  # mtimes are kept
    keep_notebooks(another_clone, "index")
    first = (folder / "runs" / "fagan-seed0" / "metrics.json").read_text()
    kept, page = folder / "runs" / "sagan-seed0" / "metrics.json", folder / pages.PAGES
    (folder / "runs" / "fagan-seed0" / "metrics.json").unlink()
    before = (kept.stat().st_mtime_ns, page.stat().st_mtime_ns)
    done = smoke_again("results", root=another_clone)
    assert done.returncode == 0, done.stdout + logs(folder)
    assert kept.stat().st_mtime_ns == before[0] and page.stat().st_mtime_ns > before[1]
    # the same configuration, seed and machine: the same numbers
    assert (folder / "runs" / "fagan-seed0" / "metrics.json").read_text() == first


@pytest.fixture
def another_clone(tmp_path):
    """A copy of the repository, uncommitted files too, without its results."""
    root = tmp_path / "a clone & é"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", ":!results"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    return root


def keep_notebooks(root, *names):
    """Leave only these, for an analysis that takes seconds."""
    for path in (root / "notebooks" / "analysis").glob("*.ipynb"):
        if path.stem not in names:
            path.unlink()


def test_another_machine(smoke, another_clone):
    """A user's clone, whose processor rounds otherwise than the one of the published records.

    Then a page of it breaks: it is named, the others are there, and it is tried again.
    """
    folder = another_clone / "results" / "smoke"
    published = another_clone / "results" / "published" / "smoke"
    shutil.copytree(smoke[0] / "smoke", published)
    done = smoke_again("results", root=another_clone, **ANOTHER)
    assert done.returncode == 0, done.stdout + done.stderr + logs(folder)
    scores = [
        load_runs("smoke", results).finished.set_index("run_id")["fd_lite0"]
        for results in (another_clone / "results", published.parent)
    ]
    assert (scores[0] != scores[1]).any(), "the variables change nothing here"
    front = (folder / "analysis" / "index.html").read_text()
    assert "2 done" in front and "Pages that could not be made" not in front
    page = html.unescape((folder / "analysis" / "reproduce.html").read_text())
    for run, score in scores[0].items():
        assert f"{score:,.1f}" in page, run
    assert str(another_clone) not in front + page

    keep_notebooks(another_clone, "index", "reproduce", "samples")
    broken = another_clone / "notebooks" / "analysis" / "samples.ipynb"
    whole = broken.read_text()
    broken.write_text(whole.replace("use_style()", "use_stile()"))
    (folder / pages.PAGES).unlink()
    done = smoke_again("results", root=another_clone)
    said = done.stdout.splitlines()[-2]
    assert done.returncode == 1 and "2 of 2 done" in done.stdout
    assert re.fullmatch(
        r"page samples was left out: AttributeError: .*use_stile.*samples\.log\)", said
    )
    assert not (folder / "analysis" / "samples.html").exists()
    assert (folder / "analysis" / "reproduce.html").exists()
    front = (folder / "analysis" / "index.html").read_text()
    assert "use_stile" in front and "samples.log" in front
    broken.write_text(whole)
    done = smoke_again("results", root=another_clone)
    assert done.returncode == 0 and pages.left_out(folder) == {}, done.stdout


def lack_much(published):
    """Tables, weights, environments, and one of the two scores."""
    for run in published.glob("runs/*"):
        for name in ("alpha.csv", "env.json", "timing.csv", "spectral.csv"):
            (run / name).unlink()
        for path in run.glob("*.safetensors"):
            path.unlink()
    path = published / "runs" / "fagan-seed0" / "metrics.json"
    write_json(path, {"schema": 2, "status": "diverged", "step": 3, "reason": "loss_d=nan"})


def older_schema(published):
    for run in published.glob("runs/*"):
        (run / "interventions.csv").unlink()
        write_json(run / "env.json", read_json(run / "env.json") | {"schema": 1})
        header, *rows = (run / "history.csv").read_text().splitlines()
        cut = [",".join(line.split(",")[:6]) for line in (header, *rows)]
        (run / "history.csv").write_text("\n".join(cut) + "\n")


def other_arms(published):
    for path in (published / "plan.json", *published.glob("runs/*/config.json")):
        path.write_text(path.read_text().replace("agan", "other"))
    for run in published.glob("runs/*"):
        run.rename(run.with_name(run.name.replace("agan", "other")))


def damaged(published):
    (published / "runs" / "fagan-seed0" / "history.csv").write_text("step,loss_d\n1,x\n")


@pytest.mark.parametrize("change", [lack_much, older_schema, other_arms, damaged])
def test_published_records_of_any_kind_are_compared_with(smoke, tmp_path, change):
    shutil.copytree(smoke[0] / "smoke", tmp_path / "smoke")
    shutil.copytree(smoke[0] / "smoke", tmp_path / "published" / "smoke")
    change(tmp_path / "published" / "smoke")
    assert pages.analyse("smoke", tmp_path, ["reproduce"]) == {}


def test_a_failed_run_leaves_the_others_running(tmp_path):
    blocked = tmp_path / "smoke" / "runs" / "sagan-seed0" / "history.csv"
    blocked.mkdir(parents=True)  # a folder where a file must be written: a real fault
    done = smoke_again(tmp_path)
    assert done.returncode == 1
    assert (tmp_path / "smoke" / "runs" / "fagan-seed0" / "metrics.json").exists()
    assert not (tmp_path / "smoke" / "runs" / "sagan-seed0" / "metrics.json").exists()
    assert "1 of 2 done, 1 failed" in done.stdout
    assert re.search(r"sagan-seed0 +failed .*IsADirectoryError.*run\.log", done.stdout)
    executed = (tmp_path / "smoke" / "runs" / "sagan-seed0" / "train.ipynb").read_text()
    assert "IsADirectoryError" in executed
    states = {run["run"]: run["state"] for run in progress("smoke", tmp_path)}
    assert states == {"sagan-seed0": "failed", "fagan-seed0": "done"}
    assert not is_complete("smoke", tmp_path)


def test_a_workflow_that_cannot_start_says_why_in_its_own_words(tmp_path):
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text("executor: no-such-queue\njobs: 1\n")
    options = ("--profile", tmp_path / "profile")
    done = smoke_again(tmp_path / "results", *options)
    assert done.returncode == 1 and "2 of 2 runs are left" in done.stdout
    assert re.search(r"^snakemake: error: .*'no-such-queue'", done.stdout, re.M), done.stdout


def test_signals_end_everything_and_a_closed_terminal_only_where_it_counts(tmp_path):
    """`nohup` has a closed terminal ignored."""
    code = """
import os, signal, sys
from pathlib import Path
from fagan import workflow
# whatever this test itself was started under
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[2] == "nohup" else signal.SIG_DFL)
try:
    with workflow.alone("smoke", Path(sys.argv[1])):
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
        print("lives")
except KeyboardInterrupt:
    print("ended")
"""
    for how, kind, said in (
        ("nohup", "SIGHUP", "lives"),
        ("nohup", "SIGTERM", "ended"),
        ("terminal", "SIGHUP", "ended"),
    ):
        command = [sys.executable, "-c", code, str(tmp_path), how, kind]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.stdout.strip() == said, done.stderr
    assert locks.holder(tmp_path / "smoke" / "workflow.lock") is None


@pytest.mark.parametrize(
    "device,profile,asked",
    [("auto", "slurm", "gpu=1"), ("cpu", "slurm", "gpu=0"), ("auto", "default", "")],
)
def test_a_run_asks_for_a_gpu_by_its_device_and_the_profile(tmp_path, device, profile, asked):
    table = ablations.load_table("smoke")
    ablations.plan(table, ablations.configs(table, settings={"device": device}), tmp_path)
    chosen = workflow.load_profile(profile)
    *command, dashes, target = workflow._command("smoke", tmp_path, None, "all", chosen)
    assert ("--cores" in command) == chosen.is_local, "a cluster counts its own"
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    process = subprocess.Popen([*command, "--dry-run", dashes, target], cwd=ROOT, **options)
    said = process.stdout.read().decode()  # with stdin open, which it would end of
    assert process.wait() == 0
    blocks = re.findall(r"^rule (\w+):\n((?: {4}.*\n)+)", said, re.MULTILINE)
    runs = [block for rule, block in blocks if rule == "run"]
    assert len(runs) == 2
    for block in runs:
        assert asked in block if asked else "gpu=" not in block
        assert ("mem_mb=16000" in block and "runtime=1440" in block) == (profile == "slurm")
    others = [block for rule, block in blocks if rule != "run"]
    assert others and not [block for block in others if "gpu=" in block]
