"""A user's mistakes, and the one wording for them."""

import difflib
import errno
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LONGEST = 2_000  # characters of a message; what it quotes may be a whole file
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 300, 300
shown = _SHORT.repr  # `repr` that ends soon


class UserError(Exception):
    """A mistake that the user can mend: shown as one line, exit code 2, never a traceback."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    r"""Line ends, control characters and undecodable bytes as \n, \x1b, \udcff; a long text cut."""
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason(error: BaseException) -> str:
    """The first line of what an exception says, or its kind where it says nothing."""
    # the system's own text would hold the path
    said = getattr(error, "strerror", None) or str(error).strip()
    return one_line(said.splitlines()[0] if said else type(error).__name__)


def nearest(word: Any, known) -> str:
    """`; did you mean 'x'?` where a known word is close, else an empty string."""
    close = difflib.get_close_matches(str(word)[:200], [str(k) for k in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown(kind: str, word: Any, known) -> UserError:
    """The one wording of "no such thing" in the suite."""
    return UserError(
        f"unknown {kind} {shown(word)}{nearest(word, known)} (known: {', '.join(map(str, known))})"
    )


# PyTorch's allocators raise plain RuntimeErrors on the CPU, oneDNN's and C++'s likewise
_NO_MEMORY = "allocate memory", "enough memory", "out of memory", "bad_alloc", "create a memory"


@contextmanager
def explained(folder: Path, lower: str) -> Iterator[None]:
    """Turn a lack of memory, or of disk space in a folder, into a UserError with its remedy.

    lower: what takes the memory and can be lowered.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(x in str(error).lower() for x in _NO_MEMORY):
            raise UserError(f"out of memory at {lower}") from error
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UserError(
            f"no space left for {Path(error.filename or folder).name} in {folder}: free some and "
            "run again; it goes on from its checkpoint"
        ) from error
