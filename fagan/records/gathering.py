"""One table of all runs of an ablation, however many they are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fagan.records.checks import parse_table, read_table
from fagan.records.files import whole_lines
from fagan.records.schema import TABLES

if TYPE_CHECKING:
    import pandas

KEYS = ("run_id", "arm", "seed")


def gather(files: Mapping[Path, Mapping[str, Any]], name: str) -> "pandas.DataFrame":
    """The rows of a table of TABLES of every run, in the order of `files` {path: its run's KEYS}.

    A file that is missing or has no rows adds none. Raises UserError naming one that is damaged.
    The texts of all files with the same header are parsed as one: a parser's start costs more than
    a file.
    """
    import pandas as pd

    bodies: dict[str, dict[Path, str]] = {}
    for path in files:
        try:
            header, _, body = whole_lines(path).partition("\n")
        except FileNotFoundError:
            continue
        if body:
            bodies.setdefault(header, {})[path] = body
    parts = [
        _with_keys(frame, [files[path] for path in texts], lengths)
        for header, texts in bodies.items()
        for frame, lengths in [_parse(header, texts, name)]
        if len(frame)
    ]
    if not parts:
        return pd.DataFrame(columns=[*KEYS, *TABLES[name]])
    if len(parts) == 1:
        return parts[0]
    order = {key["run_id"]: place for place, key in enumerate(files.values())}
    joined = pd.concat(parts, ignore_index=True)
    return joined.iloc[joined["run_id"].map(order).argsort(kind="stable")].reset_index(drop=True)


def _parse(
    header: str, texts: Mapping[Path, str], name: str
) -> tuple["pandas.DataFrame", list[int]]:
    """(the rows of files with the same header, how many each has)."""
    import pandas as pd

    lengths = [text.count("\n") for text in texts.values()]
    try:
        frame = parse_table("\n".join((header, "".join(texts.values()))), name)
    except (ValueError, TypeError, OverflowError):
        frame = None
    if frame is not None and len(frame) == sum(lengths):
        return frame, lengths
    # one of them is not what was written: file by file it is named, or read as far as it can be
    frames = [read_table(path) for path in texts]
    lengths = [0 if frame is None else len(frame) for frame in frames]
    whole = [frame for frame in frames if frame is not None]
    return pd.concat(whole, ignore_index=True) if whole else parse_table("", name), lengths


def _with_keys(
    frame: "pandas.DataFrame", keys: Sequence[Mapping[str, Any]], lengths: Sequence[int]
) -> "pandas.DataFrame":
    """The frame with the columns KEYS before its own: of each run as often as it has rows."""
    import pandas as pd

    for name in reversed(KEYS):
        own = pd.Series([key[name] for key in keys])
        frame.insert(0, name, own.repeat(lengths).array)
    return frame
