"""Files that are whole or not there, and the names that they may have."""

import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fagan.errors import UserError, reason, shown

RESULTS, PUBLISHED = Path("results"), "published"
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


def ablation_folder(ablation: str, results: Path = RESULTS) -> Path:
    """The folder of an ablation, "published/NAME" for one of those that came with the repository.

    The one place where names become paths: UserError for a name that could lead elsewhere. A link
    that a user put at results/, at an ablation or at a run (to a larger disk) is followed.
    """
    folder, name = Path(results), ablation
    if isinstance(ablation, str) and ablation.startswith(f"{PUBLISHED}/"):
        folder, name = folder / PUBLISHED, ablation.removeprefix(f"{PUBLISHED}/")
    return folder / folder_name("ablation", name)


def run_folder(ablation: str, run_id: str, results: Path = RESULTS) -> Path:
    """The folder of a run; UserError as for `ablation_folder`."""
    return ablation_folder(ablation, results) / "runs" / folder_name("run", run_id)


def command_for(ablation: str) -> str:
    """The command that makes what `ablation_folder` names."""
    name = ablation.removeprefix(f"{PUBLISHED}/")
    return f"make {'ablations' if name == ablation else 'publish'} ABLATION={name}"


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


def write_text(path: Path, text: str) -> None:
    """Atomic, as UTF-8."""
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # a file's name may be no text


def write_json(path: Path, value: Any) -> None:
    """Atomic; a NaN or an infinity becomes null: missing stays missing."""
    write_text(path, json.dumps(_finite(value), indent=1, allow_nan=False) + "\n")


def _finite(value):
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def read_json(path: Path) -> Any:
    """The file's value, None where there is no file; UserError where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise damaged(path, f"not valid JSON: {reason(error)}") from error


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None where there is no file; UserError for anything else."""
    value = read_json(path)
    if value is not None and not isinstance(value, dict):
        raise damaged(path, f"{shown(value)} in place of an object")
    return value


def damaged(path: Path, why: str) -> UserError:
    """The one wording for a record that is not what was written."""
    return UserError(f"{path} is damaged ({why}); delete it and run again")
