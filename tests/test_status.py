"""What status says of every state, and what a command says at its end."""

import re
import subprocess
import sys
import time

import pytest
from records_factory import make_ablation, make_pages
from rich.console import Console
from test_locks import hold

from fagan import pages, status
from fagan.errors import UserError
from fagan.files import read_json, write_json
from fagan.status import conclude, progress, table


def shown(group, width=10_000):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(group)
    return capture.get()


@pytest.fixture
def tiny(tmp_path):
    """9 runs done; one each diverged, interrupted and waiting. (its folder, the results)"""
    return make_ablation(tmp_path / "results"), tmp_path / "results"


def states(results):
    return {run["run"]: run for run in progress("tiny", results)}


def test_every_state_is_told_from_the_records(tiny):
    folder, results = tiny
    runs = states(results)
    assert (runs["sagan-seed0"]["state"], runs["sagan-seed0"]["fd_lite0"]) == ("done", "80.0")
    assert (runs["sagan-seed2"]["state"], runs["sagan-seed2"]["why"]) == ("diverged", "loss_d=inf")
    assert runs["fagan-relativistic-seed2"]["state"] == "waiting"
    run = folder / "runs" / "fagan-relativistic-seed1"
    left = runs[run.name]
    assert (left["state"], left["why"]) == ("interrupted", "ended at step 224 without a word")
    assert (left["step"], left["left"]) == ("224/400", "")
    assert float(left["fd_lite0"]) > 0 and 300 < float(left["images/s"]) < 380
    assert all(re.fullmatch(r"[+-]0\.\d{3}", left[column]) for column in ("alpha G", "alpha D"))
    (run / "error.txt").write_text("ValueError: a\x1b[31m thing\n")
    failed = states(results)[run.name]
    assert (failed["state"], failed["why"]) == ("failed", r"ValueError: a\x1b[31m thing")
    process = hold(run / "train.lock")
    try:
        running = states(results)[run.name]
        assert running["state"] == "running" and re.fullmatch(r"\d\d:\d\d", running["left"])
    finally:
        process.kill()
        process.wait()
    assert states(results)[run.name]["state"] == "failed"
    (run / "metrics.json").write_text("{")
    damaged = states(results)[run.name]
    assert damaged["state"] == "failed" and "metrics.json is damaged" in damaged["why"]


def test_a_table_that_is_being_written_is_read_up_to_its_last_line(tiny):
    folder, results = tiny
    run = folder / "runs" / "fagan-relativistic-seed1"
    before = states(results)[run.name]
    for name in ("history.csv", "alpha.csv", "timing.csv"):
        with (run / name).open("a") as file:
            file.write("999999,1,gener")
    assert states(results)[run.name] == before
    for rest in (b"", b"step", b"\xff\xfe\n\0\0", b"step,images_per_second\n1,x\n"):
        for name in ("history.csv", "alpha.csv", "timing.csv"):
            (run / name).write_bytes(rest)
        assert states(results)[run.name]["state"] == "interrupted"


def test_a_file_that_cannot_be_read_for_a_moment_does_not_end_the_display(tiny, monkeypatch):
    def stale(folder):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(status, "read_metrics", stale)
    found = progress("tiny", tiny[1])
    assert {run["state"] for run in found} == {"interrupted"}
    assert "cannot be read (Stale file handle)" in found[0]["why"]


def test_the_table_shows_first_what_needs_a_reader(tiny):
    runs = progress("tiny", tiny[1])
    text = shown(table(runs))
    assert [line.split()[1] for line in text.splitlines()[1:4]] == [
        *("interrupted", "diverged", "waiting")
    ]
    assert "loss_d=inf" in text and "80.0" in text and "images/s" in text
    few = shown(table(runs, rows=4))
    assert few.count("seed") == 3 and "and 9 done" in few
    narrow = shown(table(runs, wide=False), width=80)
    assert "images/s" not in narrow and "fagan-relativistic-seed1" in narrow
    assert all(len(line) <= 80 for line in narrow.splitlines())


def test_show_names_every_ablation_and_says_where_there_is_none(tiny, tmp_path, capsys):
    make_ablation(tiny[1], "other", seeds=1, diverged=(), unfinished=(), not_begun=())
    status.show(status.planned_ablations(tiny[1]), tiny[1])
    said = capsys.readouterr().out
    assert "other: 4 of 4 done" in said and "tiny: 9 of 12 done, 1 interrupted" in said
    with pytest.raises(UserError, match="no ablation is planned under"):
        status.planned_ablations(tmp_path / "nothing")
    with pytest.raises(UserError, match="no plan for 'smoke'"):
        status.show(["smoke"], tiny[1])


def test_a_workflow_without_a_terminal_gets_a_line_now_and_then(tiny, capsys):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"])
    began = time.monotonic()
    status.watch(process, "tiny", tiny[1])
    assert 0.5 < time.monotonic() - began < 20 and process.returncode == 0
    assert capsys.readouterr().out.startswith("00:00  9 of 12 done")


# The end of a command


@pytest.fixture
def finished(tmp_path):
    options = {"diverged": ("sagan-seed1",), "unfinished": (), "not_begun": ()}
    folder = make_ablation(tmp_path, seeds=2, **options)
    make_pages(folder)
    (folder / "workflow.log").write_text("Building DAG of jobs...\n")
    return folder


def ends(folder, capsys, code=0):
    """(exit code, what was said)."""
    ended = conclude(code, "tiny", folder.parent)
    return ended, capsys.readouterr().out


def test_all_is_well_but_for_a_page(finished, capsys):
    code, said = ends(finished, capsys)
    assert code == 0 and said.splitlines()[0] == "tiny: 7 of 8 done, 1 diverged"
    assert re.search(r"sagan-seed1 +diverged .*loss_d=inf", said)
    look = f"look at {finished / 'analysis' / 'index.html'}"
    assert said.splitlines()[-1] == look
    why = {"reason": "KeyError: 'x'", "log": "log/samples.log"}
    write_json(finished / pages.PAGES, read_json(finished / pages.PAGES) | {"samples": why})
    code, said = ends(finished, capsys)
    left_out = f"page samples was left out: KeyError: 'x'  ({finished / 'log' / 'samples.log'})"
    assert code == 1 and said.splitlines()[-2:] == [left_out, look]


def test_what_is_left_is_said_with_its_reason(finished, capsys):
    run = finished / "runs" / "fagan-seed0"
    (run / "metrics.json").unlink()
    (run / "error.txt").write_text("ValueError: no such thing\n")
    (run / "run.log").write_text("...")
    code, said = ends(finished, capsys, code=1)
    assert code == 1 and "6 of 8 done, 1 failed, 1 diverged" in said
    assert re.search(r"fagan-seed0 +failed .*ValueError: no such thing +\S*run\.log", said)
    assert f"1 of 8 runs are left; the workflow's log is {finished / 'workflow.log'}" in said
    assert "dcgan-seed0" not in said and "Building DAG" not in said


@pytest.mark.parametrize(
    "code,log,words",
    [
        (1, "rule run:\n    message: No sbatch.For further\n\nOne failed.", "\nNo sbatch.\n"),
        (-9, "rule run:", "killed (signal 9)"),
    ],
)
def test_a_workflow_that_ended_by_itself_says_why(finished, capsys, code, log, words):
    (finished / "runs" / "fagan-seed0" / "metrics.json").unlink()
    (finished / "workflow.log").write_text(log)
    ended, said = ends(finished, capsys, code)
    assert ended == 1 and words in said and "1 of 8 runs are left" in said


def test_an_analysis_that_failed_as_a_whole_says_why(finished, capsys):
    for path in (finished / "analysis").iterdir():
        path.unlink()
    (finished / "log").mkdir()
    (finished / "log" / "analysis.log").write_text("Traceback\nMemoryError: none left\n")
    code, said = ends(finished, capsys, code=1)
    assert code == 1 and "\nMemoryError: none left\n" in said and "look at" not in said
