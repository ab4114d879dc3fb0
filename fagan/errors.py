"""A user's mistakes, and the one wording for them."""

import difflib
from typing import Any


class UserError(Exception):
    """A mistake that the user can mend: shown as one line, exit code 2, never a traceback."""


def nearest(word: str, known) -> str:
    """`; did you mean 'x'?` where a known word is close, else an empty string."""
    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown(kind: str, word: Any, known) -> UserError:
    """The one wording of "no such thing" in the suite."""
    return UserError(
        f"unknown {kind} {word!r}{nearest(word, known)} (known: {', '.join(map(str, known))})"
    )
