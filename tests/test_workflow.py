"""The whole path for real: `python -m fagan ablations smoke`, in processes of its own."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from PIL import Image
from test_pages import Seen

from fagan import ablations, locks, pages, workflow
from fagan.environment import ROOT
from fagan.records import HISTORY, load_runs

pytestmark = pytest.mark.slow
# another machine's rounding, on this one: no AVX-512 or AMX in oneDNN's and ATen's kernels
ANOTHER = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
BROKEN = "notebooks/analysis/samples.ipynb"


def fagan(*arguments, root=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-m", "fagan", *map(str, arguments)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)} | environment,
        capture_output=True,
        text=True,
        timeout=3600,
    )


def smoke_again(results, *options, **more):
    """The table as it is, but for the interventions: they would take most of a run."""
    fewer = ("--set", "n_intervene=32")
    return fagan("ablations", "smoke", "--results", results, *fewer, *options, **more)


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
    before = os.times()
    done = smoke_again(smoke[0])
    assert done.returncode == 0 and "nothing to do" in done.stdout
    after = os.times()
    spent = after.children_user + after.children_system
    assert spent - before.children_user - before.children_system < 15  # of the processor's


def test_a_finished_run_can_be_sampled_and_says_which_code_made_it(smoke, tmp_path):
    out = tmp_path / "faces.png"
    sample = ("sample", "smoke", "fagan-seed0", "--results", smoke[0], "--n", "16", "--out", out)
    assert fagan(*sample).returncode == 0
    assert Image.open(out).size == (8 * 32, 2 * 32)
    stale = fagan("stale", "smoke", "--results", smoke[0])
    assert stale.stdout.startswith("0 runs were made by other code")


NOTEBOOKS = ("index", "reproduce", "samples")  # for an analysis that takes seconds


@pytest.fixture(scope="module")
def clone(smoke, tmp_path_factory):
    """A user's clone, uncommitted files too, that has the ablation as its own and as published.

    Then a result is deleted, a notebook is broken, and what is left is done by a processor that
    rounds otherwise than the one of the published records. (root, when, the command's end)
    """
    root = tmp_path_factory.mktemp("home") / "a clone & é"
    for name in listed():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    for path in (root / "notebooks" / "analysis").glob("*.ipynb"):
        if path.stem not in NOTEBOOKS:
            path.unlink()
    folder = root / "results" / "smoke"
    shutil.copytree(smoke[0] / "smoke", folder)  # mtimes are kept
    shutil.copytree(smoke[0] / "smoke", root / "results" / "published" / "smoke")
    (folder / "runs" / "fagan-seed0" / "metrics.json").unlink()
    rewrite(root / BROKEN, "use_style()", "use_stile()")
    began = time.time()
    return root, began, smoke_again("results", root=root, **ANOTHER)


def listed():
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", ":!results"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return filter(None, said.split("\0"))


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_deleted_result_is_redone_alone_with_the_analysis(clone):
    root, began, done = clone
    folder = root / "results" / "smoke"
    assert "2 of 2 done" in done.stdout, done.stdout + done.stderr + logs(folder)
    redone, kept = (folder / "runs" / f"{arm}-seed0" / "metrics.json" for arm in ("fagan", "sagan"))
    assert kept.stat().st_mtime < began < redone.stat().st_mtime
    assert (folder / pages.PAGES).stat().st_mtime > redone.stat().st_mtime


def test_another_machine_s_score_is_laid_beside_the_published_one(clone):
    results = clone[0] / "results"
    own, published = (
        load_runs(name, results).finished.set_index("run_id")["fd_lite0"]
        for name in ("smoke", "published/smoke")
    )
    assert own["sagan-seed0"] == published["sagan-seed0"]
    assert own["fagan-seed0"] != published["fagan-seed0"], "the variables change nothing here"
    front, page = (
        html.unescape((results / "smoke" / "analysis" / f"{name}.html").read_text())
        for name in ("index", "reproduce")
    )
    for score in (*own, *published):
        assert f"{score:,.1f}" in page
    assert str(clone[0]) not in front + page


def test_a_page_that_breaks_is_named_beside_the_others_and_tried_again(clone):
    root, _, done = clone
    folder = root / "results" / "smoke"
    assert done.returncode == 1
    said = done.stdout.splitlines()[-2]
    assert re.fullmatch(
        r"page samples was left out: AttributeError: .*use_stile.*samples\.log\)", said
    )
    assert not (folder / "analysis" / "samples.html").exists()
    assert (folder / "analysis" / "reproduce.html").exists()
    front = (folder / "analysis" / "index.html").read_text()
    assert "use_stile" in front and "samples.log" in front
    rewrite(root / BROKEN, "use_stile()", "use_style()")
    done = smoke_again("results", root=root)
    assert done.returncode == 0 and pages.left_out(folder) == {}, done.stdout
    assert (folder / "analysis" / "samples.html").exists()


def test_a_workflow_that_cannot_start_says_why_in_its_own_words(tmp_path):
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text("executor: no-such-queue\njobs: 1\n")
    few = [f"--set={name}=32" for name in ("images", "n_real", "n_fake", "n_track")]
    done = smoke_again(tmp_path / "results", "--profile", tmp_path / "profile", *few)
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
    "profile,asked", [("slurm", {"cpu": "gpu=0", "auto": "gpu=1"}), ("default", {})]
)
def test_a_run_asks_for_a_gpu_by_its_device_and_the_profile(tmp_path, profile, asked):
    arms = {device: {"device": device} for device in ("cpu", "auto")}
    table = replace(ablations.load_table("smoke"), arms=arms, labels={})
    ablations.plan(table, ablations.configs(table), tmp_path)
    chosen = workflow.load_profile(profile)
    *command, dashes, target = workflow._command("smoke", tmp_path, None, "all", chosen)
    assert ("--cores" in command) == chosen.is_local, "a cluster counts its own"
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    process = subprocess.Popen([*command, "--dry-run", dashes, target], cwd=ROOT, **options)
    said = process.stdout.read().decode()  # with stdin open, which it would end of
    assert process.wait() == 0
    blocks = re.findall(r"^rule (\w+):\n((?: {4}.*\n)+)", said, re.MULTILINE)
    runs = {re.search(r"run_id=(\w+)-", block)[1]: block for rule, block in blocks if rule == "run"}
    assert set(runs) == {"cpu", "auto"}
    for device, block in runs.items():
        assert re.findall(r"gpu=\d", block) == ([asked[device]] if asked else [])
        assert ("mem_mb=16000" in block and "runtime=1440" in block) == (profile == "slurm")
    others = [block for rule, block in blocks if rule != "run"]
    assert others and not [block for block in others if "gpu=" in block]
