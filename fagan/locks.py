"""One process at a time: filelock's locks, which the system frees when their holder dies.

Beside a lock NAME.lock its holder says in NAME.lock.json who it is. That file goes when the lock is
let go; a killed process leaves it, but holds nothing: a look at it tries the lock itself. So no
process number is mistaken for that of another process. The empty lock file stays, as removing it
would part those who wait for it.
"""

import errno
import json
import math
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

_POLL = 0.2  # seconds between tries
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)  # a network file system without them


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    pid: int
    host: str

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
    """Hold the lock of a file; yields this process as its holder.

    Waits up to `timeout` seconds (math.inf: until it is free) and tells `waiting` once who has it.
    Raises Held where it is still taken then, OSError where the file cannot be made. Where the file
    system has no locks the block runs without one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    me, note = Holder(os.getpid(), socket.gethostname()), _note(path)
    file = _taken(path, timeout, waiting)
    try:
        note.write_text(json.dumps(asdict(me)))
        yield me
    finally:
        with suppress(OSError):  # the folder may be gone, or its disk
            note.unlink()
        file.release()


def _taken(path: Path, timeout: float, waiting) -> FileLock:
    file = FileLock(path)
    try:
        try:
            file.acquire(timeout=0)
        except Timeout:
            if waiting:
                waiting(holder(path))
            file.acquire(timeout=-1 if timeout == math.inf else timeout, poll_interval=_POLL)
    except Timeout:
        raise Held(holder(path)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return file


def holder(path: Path) -> Holder | None:
    """Who holds the lock now, None where nobody does. Writes nothing."""
    try:
        found = Holder(**json.loads(_note(path).read_text()))
    except (OSError, ValueError, TypeError):  # none, or its holder is in the middle of writing it
        return None
    try:
        with FileLock(path, timeout=0):
            return None  # who wrote it was killed
    except (Timeout, OSError):  # in a folder that this user may only read the note has to do
        return found


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
