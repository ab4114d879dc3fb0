"""python -m fagan: what the Makefile, the Snakefile and a cluster's shell call.

A user's mistake ends with one line on stderr and exit code 2; a failed run with exit code 1.
"""

import errno
import sys

from fagan.cli import ablate, measure  # noqa: F401 (they add their commands)
from fagan.cli.app import app
from fagan.config import UserError

__all__ = ["app", "main"]


def main() -> None:
    """The entry point: turns a user's mistake into one line and exit code 2."""
    from fagan.supervision import follow

    follow()
    try:
        app()
    except UserError as error:
        _refuse(str(error))
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        name = error.filename or "a file"
        _refuse(f"{name}: {error.strerror.lower()}; {_REFUSALS[error.errno]}")


def _refuse(line: str) -> None:
    print(f"fagan: {line}", file=sys.stderr)
    sys.exit(2)


# what the system refuses, and what a user can do about it
_REFUSALS = {
    errno.ENOSPC: "free some space and run again, what is finished stays",
    errno.EDQUOT: "free some space and run again, what is finished stays",
    errno.EROFS: "name a folder that can be written to with --results",
    errno.EACCES: "name a folder that you may write to with --results, or mend its permissions",
    errno.EPERM: "name a folder that you may write to with --results, or mend its permissions",
    errno.EISDIR: "a folder is where a file should be; name another, or move it away",
    errno.ENOTDIR: "a file is where a folder should be; move it away",
}
