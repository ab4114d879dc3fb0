"""Leases of GPUs. No GPU can be had here, so nvidia-smi is a script; the leases are real."""

import os
import subprocess
import sys
import tempfile

import pytest

from fagan import devices, locks
from fagan.environment import ROOT
from fagan.errors import UserError

UUIDS = [f"GPU-{letter * 8}" for letter in "abc"]


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine of three GPUs with a temporary folder of its own."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    rows = "\n".join(f"{i}, {uuid}" for i, uuid in enumerate(UUIDS))
    tool.write_text(f"#!/bin/sh\ncat <<END\n{rows}\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in (devices.GPUS, devices.VISIBLE):
        monkeypatch.setenv(name, "")  # so that a lease's own setting ends with the test
        monkeypatch.delenv(name)
    return tool


def indices():
    return [slot.index for slot in devices.slots()]


def test_gpus_chooses_inside_what_is_visible(monkeypatch):
    assert indices() == ["0", "1", "2"]
    monkeypatch.setenv(devices.GPUS, "0,2")
    assert indices() == ["0", "2"]
    monkeypatch.setenv(devices.GPUS, "1,1")  # twice: for two runs at once
    one, two = devices.slots()
    assert one.uuid == two.uuid == UUIDS[1] and one.path != two.path
    monkeypatch.setenv(devices.GPUS, "0,2")
    monkeypatch.setenv(devices.VISIBLE, f"{UUIDS[2]},1")
    with pytest.raises(UserError, match=r"unknown GPU '0' \(known: 2, 1\)"):
        devices.slots()
    monkeypatch.delenv(devices.GPUS)
    assert indices() == ["2", "1"]
    monkeypatch.setenv(devices.VISIBLE, "")  # the user wants none
    assert indices() == []


def test_a_device_that_is_not_there_is_refused_by_name(monkeypatch, machine):
    monkeypatch.setenv(devices.GPUS, "0,7")
    with pytest.raises(UserError, match=r"unknown GPU '7' \(known: 0, 1, 2\)"):
        devices.slots()
    machine.unlink()
    monkeypatch.setenv("PATH", str(machine.parent))
    with pytest.raises(UserError, match="no NVIDIA device is visible"):
        devices.slots()
    monkeypatch.delenv(devices.GPUS)
    with devices.lease() as slot:
        assert slot is None and devices.VISIBLE not in os.environ


HOLD = """
import time
from fagan import devices
with devices.lease() as slot:
    print(slot.uuid, flush=True)
    time.sleep(99)
"""


def hold():
    """Another process with a lease of its own, and the device it got."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()


def test_each_lease_is_another_device_and_what_it_starts_sees_that_one_alone():
    show = [sys.executable, "-c", f"import os; print(os.environ['{devices.VISIBLE}'])"]
    process, first = hold()
    try:
        with devices.lease() as slot:
            assert (first, slot.uuid) == (UUIDS[0], UUIDS[1])
            seen = subprocess.run(show, capture_output=True, text=True).stdout
            assert seen.strip() == UUIDS[1]
    finally:
        process.kill()
        process.wait()
    with devices.lease(wanted=False) as none:
        assert none is None


def test_a_lease_ends_with_its_holder(monkeypatch):
    """Another process holds the only device; killed, it gives the device to the one that waits."""
    monkeypatch.setenv(devices.GPUS, "0")
    process, _ = hold()
    said = []

    def say(line):
        said.append(line)
        process.kill()

    with devices.lease(say=say) as slot:
        assert slot.uuid == UUIDS[0]
        assert locks.holder(slot.path).pid == os.getpid()
    assert len(said) == 1 and f"process {process.pid}" in said[0]
    process.wait()
