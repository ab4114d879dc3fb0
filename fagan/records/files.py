"""Text and JSON files, whole or not there."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fagan.errors import UserError, reason, shown
from fagan.files import replacing


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    with replacing(path) as file:
        # a file's name may hold what is no text
        file.write(text.encode(errors="backslashreplace"))


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
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, digits or depth no end
        raise damaged(path, f"not valid JSON: {reason(error)}") from error


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None where there is no file; UserError for anything else."""
    value = read_json(path)
    if value is not None and not isinstance(value, dict):
        raise damaged(path, f"{shown(value)} in place of an object")
    return value


def whole_lines(path: Path) -> str:
    """A growing text up to its last line end: what is after it is being written, or was torn.

    Raises UserError where it is no UTF-8, FileNotFoundError where it is not there.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path, reason(error)) from error
    return text[: text.rfind("\n") + 1]


def damaged(path: Path, why: str) -> UserError:
    """The one wording for a record that is not what was written."""
    return UserError(f"{path} is damaged ({why}); delete it and run again")
