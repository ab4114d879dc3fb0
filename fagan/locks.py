"""One process at a time: locks that the system itself frees when their holder dies.

What counts is whether a process holds the lock file (flock), not whether it is there. So a file
that a killed process left is no lock, no process number is mistaken for that of another process,
and a clock that jumps changes nothing. On a network file system they reach across machines where it
has flock (NFS since Linux 2.6.12, Lustre mounted with `flock`, CephFS, GPFS).

`filelock`, which the suite has through torch, would do but for one thing: it empties the file when
it tries, and the file is where the holder says who it is.
"""

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock; there, two processes are not kept apart
    fcntl = None

_POLL = 0.2  # seconds between tries


@dataclass(frozen=True)
class Holder:
    """Who holds a lock; `token` is new at every taking."""

    pid: int
    host: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Held(Exception):
    """Another process holds the lock."""

    def __init__(self, holder: Holder | None):
        super().__init__(f"held by {holder or 'another process'}")
        self.holder = holder


@contextmanager
def lock(
    path: Path, timeout: float = 1.0, waiting: Callable[[Holder | None], None] | None = None
) -> Iterator[Holder]:
    """Hold the lock of a file; yields this process as its holder. The file goes with the lock.

    Waits up to `timeout` seconds (math.inf: until it is free; less than one meets readers, who look
    at a lock by taking it for a moment) and tells `waiting` once who has it. Raises Held where it
    is still taken then, OSError where the file cannot be made. Where the file system has no locks
    the block runs without one.
    """
    me = Holder(os.getpid(), socket.gethostname(), secrets.token_hex(8))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _take(path, timeout, waiting)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(me)).encode(), 0)
        yield me
    finally:
        with suppress(OSError):
            if _is(descriptor, path):  # not another's, made after somebody removed the folder
                path.unlink()
        os.close(descriptor)


def _take(path: Path, timeout: float, waiting) -> int:
    """An open descriptor of the file, locked."""
    until, told = time.monotonic() + timeout, False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if _locked(descriptor, exclusive=True) is not False and _is(descriptor, path):
            return descriptor
        os.close(descriptor)
        if time.monotonic() >= until:
            raise Held(_read(path))
        if waiting and not told and (now := holder(path)):
            waiting(now)
            told = True
        time.sleep(_POLL)


def _locked(descriptor: int, exclusive: bool) -> bool | None:
    """Take the lock if it is free; None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # ENOLCK, ENOTSUP
        return None
    return True


def _is(descriptor: int, path: Path) -> bool:
    """Whether the file is still the path's: its last holder removed it when it let go."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def holder(path: Path) -> Holder | None:
    """Who holds the lock now, None where nobody does. Only reads.

    Where the file system has no locks, who took it last and did not let go.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        # a shared lock for a moment: a process that wants the whole one just then tries again
        taken = _locked(descriptor, exclusive=False)
    finally:
        os.close(descriptor)
    if taken:
        return None
    return _read(path) or (None if taken is None else Holder(0, "an unknown host", ""))


def _read(path: Path) -> Holder | None:
    """What the last holder wrote of itself; it may be in the middle of writing."""
    with suppress(OSError, ValueError, TypeError):
        return Holder(**json.loads(path.read_text()))
    return None
