"""Locks between real processes."""

import errno
import json
import math
import os
import shutil
import subprocess
import sys
import threading

import pytest

from fagan import locks
from fagan.environment import ROOT

HOLD = """
import sys, time
from pathlib import Path
from fagan import locks
with locks.lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(path):
    """Another process that holds the lock for a minute."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "a.lock"


@pytest.fixture
def other(path):
    """The process that holds the lock at `path`."""
    process = hold(path)
    yield process
    process.kill()
    process.wait()


def test_a_held_lock_names_its_holder_and_is_refused(path, other):
    assert locks.holder(path).pid == other.pid
    with pytest.raises(locks.Held, match=f"process {other.pid} on "), locks.lock(path, timeout=0.3):
        pass


def test_a_killed_holder_holds_nothing_though_its_note_stays(path, other):
    other.kill()
    other.wait()
    note = path.with_name("a.lock.json")
    assert json.loads(note.read_text())["pid"] == other.pid
    assert locks.holder(path) is None and note.exists()  # a look writes nothing
    with locks.lock(path) as me:
        assert locks.holder(path) == me and me.pid == os.getpid()


def test_waiting_is_told_once_and_ends_with_the_holder(path, other):
    told = []

    def waiting(holder):
        told.append(holder.pid)
        threading.Timer(0.5, other.kill).start()

    with locks.lock(path, math.inf, waiting):
        assert told == [other.pid] and other.wait() != 0


def test_a_look_writes_nothing_and_only_the_empty_lock_stays(path):
    assert locks.holder(path) is None and not path.parent.exists()
    with locks.lock(path):
        before = {file: file.stat().st_mtime_ns for file in path.parent.iterdir()}
        for _ in range(20):
            assert locks.holder(path).pid == os.getpid()
        assert before == {file: file.stat().st_mtime_ns for file in path.parent.iterdir()}
        assert len(before) == 2
    with pytest.raises(KeyError), locks.lock(path):
        raise KeyError
    assert [(file.name, file.stat().st_size) for file in path.parent.iterdir()] == [("a.lock", 0)]
    assert locks.holder(path) is None


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
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0] * 3
    assert (tmp_path / "n").read_text() == "15"


def test_a_note_that_is_half_written_names_nobody(path):
    with locks.lock(path):
        for text in ("", "{", "[]", '{"pid": 1}', '{"pid": 1, "host": "a", "x": 2}'):
            path.with_name("a.lock.json").write_text(text)
            assert locks.holder(path) is None


def test_without_locks_in_the_file_system_the_block_runs(path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locks.lock(path), locks.lock(path):
        pass


def test_a_folder_that_is_gone_does_not_keep_the_block_from_ending(path):
    with locks.lock(path):
        shutil.rmtree(path.parent)
    assert not path.parent.exists()
