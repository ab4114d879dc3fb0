"""The status table: what is shown, in which order and width, from files in any state."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest
from records_factory import make_ablation
from rich.console import Console

from fagan import dashboard, locks
from fagan.environment import ROOT
from fagan.records import RUNNER_LOCK
from fagan.status import Progress, Watcher, progress


def run(run_id, state="waiting", **changes):
    values = {"step": 0, "steps": 1500, "images_per_second": None, "seconds_left": None}
    values |= {"fd_lite0": None, "reason": "", "log": None}
    return Progress(run_id, state, **values | changes)


RUNNING_RUN = run(
    "fagan-relativistic-seed1", "running", step=750, images_per_second=420.4, seconds_left=57.1,
    fd_lite0=1098.13, alpha_g=0.2371, alpha_d=-0.3, device="cuda",
)  # fmt: skip
FAILED_RUN = run("sagan-seed0", "failed", reason="RuntimeError: out of memory\nmore " + "x" * 200)


def drawn(renderable, width):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get().splitlines()


@pytest.fixture
def ablation(tmp_path):
    """results with `tiny`: 12 runs, one diverged, one unfinished and now running, one not begun."""
    results = tmp_path / "results"
    folder = make_ablation(results, grids=0)
    with locks.lock(folder / "runs" / "fagan-relativistic-seed1" / RUNNER_LOCK):
        yield results


def fagan(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "fagan", *arguments], cwd=ROOT, capture_output=True, text=True,
        timeout=60, **options,
    )  # fmt: skip


def test_the_active_are_first_and_within_a_state_the_plans_order_holds():
    runs = [run("b"), run("a", "done"), FAILED_RUN, run("c"), RUNNING_RUN, run("z", "running")]
    shown, rest = dashboard.chosen(runs, room=6)
    assert [r.run_id for r in shown] == [
        RUNNING_RUN.run_id, "z", FAILED_RUN.run_id, "a", "b", "c",
    ] and rest == []  # fmt: skip


def test_of_hundreds_the_rest_is_counted():
    runs = [*(run(f"w{i}") for i in range(812)), FAILED_RUN, RUNNING_RUN, run("d", "done")]
    lines = drawn(dashboard.view("big", runs, 120, room=20), 120)
    assert lines[0] == "big: 1 of 815 done, 1 running, 812 waiting, 1 failed"
    assert lines[2].startswith("fagan-relativistic-seed1  running")
    assert lines[3].startswith("sagan-seed0") and "RuntimeError: out of …" in lines[3]
    assert lines[4] == "... and 1 done, 812 waiting" and len(lines) == 5
    assert len(drawn(dashboard.view("big", runs, 120, room=None), 120)) == 2 + 815
    assert len(drawn(dashboard.view("big", [FAILED_RUN] * 100, 120, room=20), 120)) == 1 + 1 + 20


def test_an_unknown_state_is_shown_last_and_breaks_nothing():
    shown, _ = dashboard.chosen([run("a", "asleep"), run("b")], room=5)
    assert [r.run_id for r in shown] == ["b", "a"]


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 200])
def test_a_narrow_terminal_loses_columns_and_garbles_none(width):
    lines = drawn(dashboard.table([RUNNING_RUN, FAILED_RUN], width), width)
    assert len(lines) == 3  # no line is wrapped
    assert all(len(line) <= width for line in lines)
    assert lines[1].startswith("fagan-relativistic-seed")
    words = lines[0].split()
    whole = {"state": "running", "step": "750/1,500", "left": "0:57", "fd_lite0": "1,098.1"}
    for title, text in whole.items():
        assert (title in words) == (text in lines[1].split())
    assert "state" in words or width < 40
    assert ("device" in words) == (width >= 100)


def test_reasons_without_a_column_have_lines_of_their_own():
    runs = [RUNNING_RUN, *(run(f"f{i}", "failed", reason=f"E{i} " + "x" * 99) for i in range(9))]
    lines = drawn(dashboard.view("a", runs, 60, room=20), 60)
    assert "why" not in lines[1] and len(lines) == 2 + len(runs) + dashboard.REASONS
    assert lines[-1].startswith("f2: E2 x") and len(lines[-1]) == 60
    wide = drawn(dashboard.view("a", runs, 200, room=20), 200)
    assert wide[1].split()[-1] == "why" and len(wide) == 2 + len(runs)


def test_progress_is_that_of_the_records(ablation):
    runs = {r.run_id: r for r in progress("tiny", ablation)}
    states = [runs[i].state for i in ("fagan-seed0", "sagan-seed2", "fagan-relativistic-seed2")]
    assert states == ["done", "diverged", "waiting"]
    active = runs["fagan-relativistic-seed1"]
    assert (active.state, active.step, active.steps) == ("running", 224, 400)
    folder = ablation / "tiny" / "runs" / active.run_id
    rows = [line.split(",") for line in (folder / "alpha.csv").read_text().splitlines()]
    last = [(row[2], float(row[4])) for row in rows[1:] if row[0] == "224"]
    assert active.alpha_g == max((a for n, a in last if n == "generator"), key=abs)
    assert active.alpha_d == max((a for n, a in last if n == "discriminator"), key=abs)
    history = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
    column = history[0].index("fd_lite0")
    assert active.fd_lite0 == float([row[column] for row in history[1:] if row[column]][-1])
    assert active.seconds_left == pytest.approx((400 - 224) * 32 / active.images_per_second)
    assert runs["dcgan-seed0"].alpha_g is None  # it has no gates


def test_torn_lines_and_vanished_files_are_no_errors(ablation):
    folder = ablation / "tiny" / "runs" / "fagan-relativistic-seed1"
    before = next(r for r in progress("tiny", ablation) if r.state == "running")
    for name, torn in (("timing", "232,9"), ("history", "232,1,2"), ("alpha", "232,0,genera")):
        with (folder / f"{name}.csv").open("a") as file:
            file.write(torn)
    with (folder / "alpha.csv").open("a") as file:  # a step whose other rows are to come
        file.write("\n232,0,generator,full 4x4,9.5" + 7 * "," + "\n")
    (folder / "env.json").write_text('{"device": "cp')
    torn = next(r for r in progress("tiny", ablation) if r.state == "running")
    assert torn == before
    for path in folder.glob("*.csv"):
        path.unlink()
    bare = next(r for r in progress("tiny", ablation) if r.state == "running")
    assert (bare.step, bare.images_per_second, bare.alpha_g, bare.fd_lite0) == (0, None, None, None)


def test_a_damaged_end_of_a_run_is_its_failure_and_names_the_file(ablation):
    path = ablation / "tiny" / "runs" / "fagan-seed0" / "metrics.json"
    path.write_text("{")
    failed = next(r for r in progress("tiny", ablation) if r.run_id == "fagan-seed0")
    assert failed.state == "failed" and str(path) in failed.reason


def test_a_watcher_sees_what_changed_and_reads_the_ended_once(ablation):
    watcher = Watcher("tiny", ablation)
    runs = ablation / "tiny" / "runs"
    assert len(watcher.look()) == 12
    for name in ("history", "alpha", "timing"):  # of an ended run: not looked at again
        (runs / "fagan-seed0" / f"{name}.csv").unlink()
    end = {"status": "done", "step": 400}
    active = "fagan-relativistic-seed1"
    (runs / active / "metrics.json").write_text(json.dumps(end))
    after = {r.run_id: r for r in watcher.look()}
    assert after["fagan-seed0"].fd_lite0 is not None
    assert (after[active].state, after[active].step) == ("done", 400)
    plan = json.loads((ablation / "tiny" / "plan.json").read_text())
    plan["runs"] = plan["runs"][:5]
    (ablation / "tiny" / "plan.json").write_text(json.dumps(plan))
    assert len(watcher.look()) == 5


def test_a_pipe_gets_the_table_once_whole_and_nothing_is_written(ablation):
    def listed():
        return {p: p.stat().st_mtime_ns for p in ablation.rglob("*")}

    before = listed()
    done = fagan("status", "tiny", "--results", str(ablation), env=os.environ | {"COLUMNS": "30"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "tiny: 9 of 12 done, 1 running, 1 waiting, 1 diverged"
    assert len(lines) == 2 + 12 and lines[2].split()[1:3] == ["running", "224/400"]
    assert "loss_d=inf" in done.stdout and "\x1b" not in done.stdout
    assert listed() == before


def test_without_a_name_every_planned_ablation_has_a_line(ablation, tmp_path):
    make_ablation(ablation, "over", seeds=1, grids=0, diverged=(), unfinished=(), not_begun=())
    lines = fagan("status", "--results", str(ablation)).stdout.splitlines()
    assert lines[0] == "over: 4 of 4 done"
    assert lines[1].startswith("tiny: 9 of 12") and len(lines) == 3 + 12
    empty = fagan("status", "--results", str(tmp_path / "none"))
    assert empty.returncode == 2 and "no ablation is planned under" in empty.stderr
    assert empty.stderr.count("\n") == 1


def test_it_starts_without_torch_and_pandas(ablation):
    code = (
        "import sys; from pathlib import Path; from fagan import cli, dashboard; "
        f"dashboard.show(['tiny'], Path({str(ablation)!r})); "
        "heavy = {'torch', 'numpy', 'pandas', 'snakemake'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def on_a_terminal(ablation, act, seconds=30):
    """Run `fagan status tiny` on a pseudo-terminal; act(process) once it has drawn."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fagan", "status", "tiny", "--results", str(ablation)],
        cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "90", "LINES": "30"},
    )  # fmt: skip
    os.close(slave)
    text, acted, end = b"", False, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    text += os.read(master, 65_536)
                except OSError:  # the other side is closed
                    break
            if not acted and b"waiting" in text:
                acted = True
                act(process)
        return process.wait(timeout=10), text.decode()
    finally:
        if process.poll() is None:
            process.kill()
        os.close(master)


def test_on_a_terminal_it_goes_on_until_ctrl_c_which_is_no_failure(ablation):
    def interrupt(process):
        assert process.poll() is None
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)

    code, text = on_a_terminal(ablation, interrupt)
    assert code == 0 and "Traceback" not in text


def test_on_a_terminal_it_ends_when_every_run_has(ablation):
    def finish(process):
        for run_id in ("fagan-relativistic-seed1", "fagan-relativistic-seed2"):
            folder = ablation / "tiny" / "runs" / run_id
            folder.mkdir(exist_ok=True)
            (folder / "metrics.json").write_text('{"status": "done", "step": 400}')

    code, text = on_a_terminal(ablation, finish)
    assert code == 0 and "11 of 12 done" in text
