"""No process outlives the one that answers for it.

    python -m fagan ablations      holds the lock of the ablation
      snakemake                    in a session of its own, so that one signal reaches every job
        a shell, python -m fagan run|analyse|report    `follow` the two above
          the kernel of a notebook                     ends with its parent (ipykernel sees to it)

Whichever of them is killed, the others end within seconds, and the next `fagan ablations` goes on
from the checkpoints. On a cluster the jobs belong to its scheduler and follow nobody.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from fagan import locks

# what a job's environment says of the command that started it: the path of its lock, and its token
WORKFLOW = "FAGAN_WORKFLOW"
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_LOOK_EVERY = 1.0  # seconds
# how long processes may take to end of a signal, before the next one
_PATIENCE = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


def follower(lock: Path, holder: locks.Holder) -> dict[str, str]:
    """The environment variable by which a job follows the command that holds the lock."""
    return {WORKFLOW: f"{holder.token}:{os.path.abspath(lock)}"}


def follow() -> None:
    """End this process, and all of the workflow's, when the workflow's command or its shell ends.

    Does nothing in a process that no workflow has started.
    """
    token, _, lock = os.environ.get(WORKFLOW, "").partition(":")
    if not token:
        return
    parent = os.getppid()

    def leads() -> bool:
        now = locks.holder(Path(lock))
        return now is not None and now.token == token

    def watch() -> None:
        while os.getppid() == parent:
            if not leads():
                time.sleep(_LOOK_EVERY / 5)  # a lock's new content may have been half there
                if not leads():
                    break
            time.sleep(_LOOK_EVERY)
        else:  # the shell was killed, the workflow lives and starts what it wants
            os._exit(1)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="follow", daemon=True).start()


def ends_with_its_parent() -> None:
    """Have this process interrupted when the one that started it dies, however; Linux only.

    For Snakemake on a cluster, whose jobs follow nobody: it must not go on submitting them beside
    the next command. To be called in the child, between fork and exec.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


@contextmanager
def ends_by_signal() -> Iterator[None]:
    """Let `kill` and a closed terminal end the block as Ctrl-C does, but for what is ignored.

    `nohup` has a closed terminal ignored.
    """

    def interrupt(number, frame):
        raise KeyboardInterrupt

    kinds = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    kinds = [kind for kind in kinds if signal.getsignal(kind) != signal.SIG_IGN]
    before = {kind: signal.signal(kind, interrupt) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def can_be_interrupted() -> Iterator[None]:
    """Let what the block starts be asked to end by SIGINT, which a shell's `&` has ignored."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stop(leader: int) -> None:
    """End the process group of `leader` and whatever its members have started, kernels included.

    Asks with SIGINT, then insists; a second Ctrl-C insists at once. Returns when all are gone.
    """
    known: set[psutil.Process] = set()
    for kind, patience in _PATIENCE:
        known |= _family(leader)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, kind)
        if kind != signal.SIGINT:  # kernels are in sessions of their own
            for process in known:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(kind)
        try:
            if _gone(known, patience):
                return
        except KeyboardInterrupt:
            continue


def _family(leader: int) -> set[psutil.Process]:
    """The members of the group and all their descendants."""
    members = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == leader:
                members |= {process, *process.children(recursive=True)}
    return members


def _gone(processes: set[psutil.Process], patience: float) -> bool:
    until = time.monotonic() + patience
    while any(map(_lives, processes)):
        if time.monotonic() >= until:
            return False
        time.sleep(0.1)
    return True


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
