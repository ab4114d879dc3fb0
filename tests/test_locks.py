"""Locks between real processes."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest

from fagan import locks
from fagan.environment import ROOT

HOLD = """
import sys, time
from pathlib import Path
from fagan import locks
with locks.lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(path, seconds=60.0):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "a.lock"


def test_a_held_lock_names_its_holder_and_is_refused(path):
    process = hold(path)
    try:
        assert locks.holder(path).pid == process.pid
        with pytest.raises(locks.Held, match=f"process {process.pid} on "):
            with locks.lock(path, timeout=0.3):
                pass
    finally:
        process.kill()
        process.wait()


def test_a_killed_holder_holds_nothing_though_its_file_stays(path):
    process = hold(path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.exists() and json.loads(path.read_text())["pid"] == process.pid
    assert locks.holder(path) is None
    with locks.lock(path) as me:
        assert locks.holder(path) == me and me.pid == os.getpid()


def test_waiting_is_told_once_and_ends_with_the_holder(path):
    process = hold(path, 1.5)
    told = []
    began = time.monotonic()
    with locks.lock(path, math.inf, told.append):
        assert time.monotonic() - began > 0.5
    assert [holder.pid for holder in told] == [process.pid]
    process.wait()


def test_nothing_stays_after_a_block_or_an_exception(path):
    with locks.lock(path):
        assert path.exists()
    with pytest.raises(KeyError), locks.lock(path):
        raise KeyError
    assert not path.exists() and locks.holder(path) is None


def test_the_file_of_one_who_let_go_is_not_taken_for_the_lock(path, monkeypatch):
    """A process that opened the file just before its holder removed it holds nothing."""
    real, opened = os.open, []

    def open_then_removed(name, *arguments):
        descriptor = real(name, *arguments)
        if not opened:
            os.unlink(name)
        opened.append(name)
        return descriptor

    monkeypatch.setattr(os, "open", open_then_removed)
    with locks.lock(path):
        assert path.exists() and len(opened) == 2


def test_many_processes_are_one_at_a_time(tmp_path):
    """Each adds one to a number in a file, reading and writing apart: none is lost."""
    code = """
import math, sys, time
from pathlib import Path
from fagan import locks
folder = Path(sys.argv[1])
for _ in range(5):
    with locks.lock(folder / "a.lock", math.inf):
        n = int((folder / "n").read_text())
        time.sleep(0.01)
        (folder / "n").write_text(str(n + 1))
"""
    (tmp_path / "n").write_text("0")
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert (tmp_path / "n").read_text() == "20"


def test_a_look_at_a_lock_writes_nothing_and_does_not_take_it(path):
    assert locks.holder(path) is None and not path.exists()
    with locks.lock(path):
        before = path.stat().st_mtime_ns, path.read_bytes()
        for _ in range(20):
            assert locks.holder(path).pid == os.getpid()
        assert before == (path.stat().st_mtime_ns, path.read_bytes())


def test_without_locks_in_the_file_system_the_block_runs(path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*arguments):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locks.lock(path), locks.lock(path):
        assert path.exists()
    assert locks.holder(path) is None
    with locks.lock(path) as me:  # what followers of the holder must see there too
        assert locks.holder(path) == me


def test_letting_go_leaves_the_lock_of_another(path):
    """Somebody removed the folder while the lock was held, and another process took it anew."""
    with locks.lock(path):
        path.unlink()
        process = hold(path)
    try:
        assert locks.holder(path).pid == process.pid
    finally:
        process.kill()
        process.wait()
