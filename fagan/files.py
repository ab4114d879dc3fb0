"""Files that are whole or not there, and the names that they may have."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fagan.errors import UserError, shown

_LONGEST = 100  # bytes of a folder's name: a file system takes 255, and names grow endings


def folder_name(kind: str, name: str) -> str:
    """The name, where it can be a folder's on any system and leads nowhere else; else UserError.

    `kind` says what is named: "arm", "ablation", "run".
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name):
        raise UserError(
            f"{kind} {shown(name)} is a folder's name too: a letter or digit, then letters, "
            "digits, '.', '_', '+', '-'"
        )
    if len(name.encode()) > _LONGEST:
        raise UserError(f"{kind} {shown(name)} is too long for a folder: {_LONGEST} bytes at most")
    return name


def given_path(path: Path | str) -> Path:
    """A path as a user writes it, ~ expanded; UserError where no path can be so called."""
    try:
        if "\0" in str(path):
            raise ValueError
        return Path(path).expanduser()
    except (ValueError, RuntimeError) as error:  # no such user's home
        raise UserError(f"{shown(str(path))} cannot be a path; check its spelling") from error


@contextmanager
def replacing(path: Path | str) -> Iterator[BinaryIO]:
    """A new file that takes the path's place once it is whole and on disk.

    A reader sees the old file or the new one, never a part; of an exception, or a full disk, the
    old one is left. Its folder is made where it is missing. What a killed process leaves behind is
    named .NAME.XXXXXXXX.tmp beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
