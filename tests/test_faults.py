"""Faults, each caused for real: what is said, what is left, and that work goes on after it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import records_factory
from test_locks import hold
from torture import VICTIMS, torture

from fagan import ablations, locks, pages, runner, status, workflow
from fagan.config import RunConfig
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.files import read_json, write_json
from fagan.records import CHECKPOINTS, RunRecord
from fagan.status import progress
from fagan.train import loop, train

TINY = {
    "resolution": 32,
    "width": 0.125,
    "squeeze": 4,
    "images": 64,
    "batch_size": 4,
    "steps": 6,
    "log_every": 1,
    "eval_every": 3,
    "checkpoint_every": 2,
    "n_track": 16,
    "n_fake": 16,
    "n_real": 32,
    "n_intervene": 0,
    "device": "cpu",
}
SAGAN = TINY | {"arm": "sagan", "architecture": "sagan"}


def plan(results, arms=None, **settings):
    """Write the plan of a small ablation named `tiny`; its runs."""
    arms = arms or {"sagan": {"architecture": "sagan"}}
    table = ablations.Table("tiny", "A tiny one", TINY | settings, arms, {}, (0,))
    return ablations.plan(table, ablations.configs(table), results)


def fagan(*arguments, wait=True, **options):
    command = [sys.executable, "-m", "fagan", *map(str, arguments)]
    options |= {"cwd": ROOT, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if not wait:
        return subprocess.Popen(command, **options)
    return subprocess.run(command, timeout=300, **options)


def one_line(done, *words):
    """A user's mistake: exit code 2, one line with these words, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and all(word in lines[0] for word in words), done.stderr


def run_folder(results, run_id="sagan-seed0"):
    return Path(results) / "tiny" / "runs" / run_id


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 6 MB of its own."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.slow
def test_out_of_memory_names_the_batch_size(tmp_path):
    """The address space is bounded a little above what the process has: allocations really fail."""
    code = f"""
import psutil, resource, sys
from fagan.config import RunConfig, UserError
from fagan.train import train
params = {TINY!r}
train(RunConfig.from_params(params), sys.argv[1] + "/small")
limit = psutil.Process().memory_info().vms + 200 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    train(RunConfig.from_params(params | {{"batch_size": 4096}}), sys.argv[1] + "/large")
except UserError as error:
    print("REFUSED", error)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    said = re.search(r"^REFUSED (.*)$", done.stdout, re.M)
    assert said, done.stdout + done.stderr
    assert "out of memory at batch_size=4096" in said[1] and "lower batch_size" in said[1]


@pytest.mark.slow
def test_a_full_disk_keeps_what_is_there_and_a_larger_one_goes_on(small_disk, tmp_path):
    """To the bytes of a training without a notebook, that nothing disturbed."""
    (config,) = plan(small_disk, steps=8, checkpoint_every=1, width=0.25)
    train(config, tmp_path / "twin", say=lambda line: None)
    filler = small_disk / "filler"
    # someone else's data leaves too little
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 700_000))
    done = fagan("run", "tiny", "sagan-seed0", "--results", small_disk)
    assert done.returncode == 1
    assert "no space left" in done.stderr and "Traceback" not in done.stderr.splitlines()[-1]
    folder = run_folder(small_disk)
    assert not list(folder.glob(".*.tmp")) and not (folder / "metrics.json").exists()
    assert next(iter(progress("tiny", small_disk)))["state"] in ("failed", "interrupted")
    filler.unlink()
    remount(small_disk, "size=100m")
    assert fagan("run", "tiny", "sagan-seed0", "--results", small_disk).returncode == 0
    for name in ("metrics.json", "history.csv", "generator.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "twin" / name).read_bytes(), name


def test_a_full_disk_at_planning_is_one_line(small_disk):
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    done = fagan("plan", "smoke", "--results", small_disk)
    one_line(done, "no space left on device", "free some space")


def test_read_only_results_are_one_line_and_can_be_read(small_disk):
    plan(small_disk)
    remount(small_disk, "ro")
    for arguments in (["ablations", "smoke"], ["run", "tiny", "sagan-seed0"]):
        done = fagan(*arguments, "--results", small_disk)
        one_line(done, "read-only file system", "--results")
    status = fagan("status", "tiny", "--results", small_disk)
    assert status.returncode == 0 and "waiting" in status.stdout


@pytest.mark.slow
def test_neither_a_diverging_run_nor_a_failed_one_stops_the_others(tmp_path, capsys):
    far = {"architecture": "fagan", "alpha_init": 1000, "lr_g": 1000, "lr_d": 1000}
    far["loss"] = "least-squares"
    plan(tmp_path, {"wild": far, "blocked": {}, "dcgan": {}}, architecture="dcgan")
    blocked = run_folder(tmp_path, "blocked-seed0")
    (blocked / "history.csv").mkdir(parents=True)  # a folder where a file must be written
    workflow.prepare("tiny", tmp_path)
    with workflow.alone("tiny", tmp_path):
        code = workflow.run_graph("tiny", tmp_path, target="runs")
    assert code not in (0, workflow.INTERRUPTED)
    assert status.conclude(code, "tiny", tmp_path) == 1
    said = capsys.readouterr().out
    assert "1 of 3 done, 1 failed, 1 diverged" in said
    assert re.search(r"wild-seed0 +diverged +\d/6 .*(nan|inf).*run\.log", said)
    assert re.search(r"blocked-seed0 +failed .*IsADirectoryError.*run\.log", said)
    wild = read_json(run_folder(tmp_path, "wild-seed0") / "metrics.json")
    assert wild["status"] == "diverged" and 0 < wild["step"] < TINY["steps"]
    assert "nan" in wild["reason"] or "inf" in wild["reason"]
    assert not (blocked / "metrics.json").exists() and not workflow.is_complete("tiny", tmp_path)
    assert "IsADirectoryError" in (blocked / "train.ipynb").read_text()
    assert read_json(run_folder(tmp_path, "dcgan-seed0") / "metrics.json")["status"] == "done"


def kernel_of(process):
    """The notebook's kernel, once its run has a checkpoint."""
    for child in psutil.Process(process.pid).children(recursive=True):
        if "ipykernel" in " ".join(child.cmdline()):
            return child
    raise AssertionError("no kernel")


def wait_for(path, process, seconds=120):
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, f"no {path.name}"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_kernel_that_dies_is_a_failed_run_that_goes_on(tmp_path):
    plan(tmp_path, steps=4000, checkpoint_every=5)
    process = fagan("run", "tiny", "sagan-seed0", "--results", tmp_path, wait=False)
    wait_for(run_folder(tmp_path) / CHECKPOINTS[0], process)
    kernel_of(process).kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "kernel was killed" in said and "batch_size (4)" in said
    state = next(iter(progress("tiny", tmp_path)))
    assert state["state"] == "failed" and "kernel was killed" in state["why"]
    assert (run_folder(tmp_path) / CHECKPOINTS[0]).exists()


def test_a_second_run_of_the_same_waits_and_finds_it_done(tmp_path, monkeypatch, capsys):
    config, run = RunConfig.from_params(SAGAN), run_folder(tmp_path)
    first = hold(run / "run.lock")

    def end():
        RunRecord(run).finish("done", step=6)
        first.kill()

    monkeypatch.setattr(runner, "_papermill", lambda *_: pytest.fail("it is run twice"))
    later = threading.Timer(1, end)
    later.start()
    assert runner.execute("tiny", config, tmp_path) == 0
    later.join()
    said = capsys.readouterr().out
    assert f"is being run by process {first.pid}" in said and "is done already" in said
    first.wait()


@pytest.mark.slow
def test_a_second_command_on_one_ablation_says_who_is_at_it(tmp_path):
    command = ("ablations", "smoke", "--results", tmp_path)
    first = fagan(*command, wait=False)
    wait_for(tmp_path / "smoke" / "workflow.lock", first)
    try:
        one_line(fagan(*command), "smoke is being run already", f"process {first.pid}", "status")
    finally:
        first.terminate()  # as `kill` does: everything below it ends too
        first.communicate(timeout=60)
    # of a signal within `exec`, by which dataclasses are made, Python itself dies; a shell says 130
    assert first.returncode in (130, -signal.SIGINT)
    assert not [p for p in psutil.process_iter() if str(tmp_path) in command_line(p)]
    # a process that was killed leaves its note, and holds nothing
    assert not [path for path in tmp_path.rglob("*.lock") if locks.holder(path)]


def command_line(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_two_trainings_cannot_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "ORPHAN", 0.5)
    process = hold(tmp_path / "train.lock")
    try:
        with pytest.raises(UserError, match=f"in use .*process {process.pid}"):
            train(RunConfig.from_params(TINY), tmp_path)
        assert not (tmp_path / "config.json").exists()
    finally:
        process.kill()
        process.wait()


def test_a_clock_that_jumps_does_not_reach_the_records(tmp_path, monkeypatch):
    jumps = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    train(RunConfig.from_params(TINY), tmp_path, say=lambda line: None)
    monkeypatch.undo()
    timing = np.loadtxt(tmp_path / "timing.csv", delimiter=",", skiprows=1)
    assert (np.diff(timing[:, 1]) > 0).all() and timing[-1, 1] < 600 and (timing[:, 2] > 0).all()


def test_what_earlier_tries_left_is_tidied_but_not_beside_a_living_one(tmp_path):
    plan(tmp_path)
    run, page = run_folder(tmp_path), tmp_path / "tiny" / "analysis" / "alpha.html"
    record = RunRecord(run)
    record.begin(RunConfig.from_params(SAGAN), {})
    record.finish("done", step=6)
    litter = [run / "run.lock.json", run / ".history.csv.0a1b2c3d.tmp", run / "error.txt"]
    page.parent.mkdir()
    for path in (*litter, page):
        path.write_text("{}")
    tomorrow = time.time() + 86_400  # a clock that was set back: what was made lies in the future
    for path in (run / "metrics.json", page):
        os.utime(path, (tomorrow, tomorrow))
    process = hold(run / "train.lock")
    workflow.tidy("tiny", tmp_path)
    assert litter[1].exists() and litter[2].exists()
    process.kill()
    process.wait()
    metrics = (run / "metrics.json").read_bytes()
    workflow.tidy("tiny", tmp_path)
    assert not any(path.exists() for path in litter) and (run / "run.lock").exists()
    assert all(path.stat().st_mtime <= time.time() for path in (run / "metrics.json", page))
    assert (run / "metrics.json").read_bytes() == metrics  # whole: left alone
    (run / CHECKPOINTS[0]).write_bytes(b"of the last step")  # its notebook was not finished
    assert not workflow.is_complete("tiny", tmp_path)
    workflow.tidy("tiny", tmp_path)
    assert not (run / "metrics.json").exists()


def test_a_run_by_hand_does_not_take_an_unfinished_notebook_for_done(tmp_path, monkeypatch):
    config, run = RunConfig.from_params(SAGAN), run_folder(tmp_path)
    RunRecord(run).finish("done", step=6)
    (run / CHECKPOINTS[0]).write_bytes(b"of the last step")
    tried = []
    monkeypatch.setattr(runner, "_papermill", lambda *_: tried.append(1))
    assert runner.execute("tiny", config, tmp_path) == 0 and tried


def test_what_fails_outside_the_notebook_leaves_its_reason(tmp_path, monkeypatch, capsys):
    def fails(problem):
        def failing(*_, **__):
            raise problem

        return failing

    config, error = RunConfig.from_params(SAGAN), run_folder(tmp_path) / "error.txt"
    silent = fails(RuntimeError("Kernel didn't respond in 60 seconds"))
    monkeypatch.setattr("papermill.execute_notebook", silent)
    assert runner.execute("tiny", config, tmp_path) == 1
    assert "didn't respond" in error.read_text() and "didn't respond" in capsys.readouterr().err
    for problem in (UserError("no such device"), OSError(28, "No space left on device")):
        monkeypatch.setattr(runner.devices, "lease", fails(problem))
        with pytest.raises(type(problem)):
            runner.execute("tiny", config, tmp_path)
        assert error.read_text().strip().lower() in str(problem).lower()


def test_pages_are_made_anew_where_the_plan_changed_or_one_was_left_out(tmp_path):
    folder = records_factory.make_ablation(tmp_path, diverged=(), unfinished=(), not_begun=())
    records_factory.make_pages(folder)
    assert workflow.is_complete("tiny", tmp_path)
    later = time.time() + 1
    os.utime(folder / "plan.json", (later, later))
    assert not workflow.is_complete("tiny", tmp_path)
    records_factory.make_pages(folder, later=2)
    assert workflow.is_complete("tiny", tmp_path)
    record = folder / pages.PAGES
    workflow.tidy("tiny", tmp_path)
    assert record.exists()
    write_json(record, read_json(record) | {"scores": {"reason": "x", "log": "log/scores.log"}})
    assert not workflow.is_complete("tiny", tmp_path)
    workflow.tidy("tiny", tmp_path)
    assert not record.exists(), "it is an output of the analysis, which Snakemake makes anew"


@pytest.mark.slow
def test_random_blows_leave_the_twin(tmp_path):
    """A blow of each kind, one after the other; `python tests/torture.py 20` deals more."""
    assert torture(tmp_path, kills=len(VICTIMS)) == []
