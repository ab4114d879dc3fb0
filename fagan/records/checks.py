"""A run's files as what they claim to be, or one line that names the file."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fagan.config import FIELDS, LOCAL, typed
from fagan.errors import UserError, reason, shown
from fagan.records.files import damaged, read_object, whole_lines
from fagan.records.schema import READS, SCHEMA, TABLES

if TYPE_CHECKING:
    import pandas

ENDED = ("done", "diverged")
_TEXTS = {"network", "layer", "intervention"}  # the columns of TABLES that hold no numbers
_PLAIN = str | int | float | bool | None


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a run: its arm, its seed and whatever else its code recorded.

    A field that this code knows has its type; a field that is newer or older is left as it is.
    """
    path = folder / "config.json"
    config = read_object(path)
    if config is None:
        raise UserError(f"{path} is missing; delete {folder} and run it anew")
    for name in ("arm", "seed"):
        if name not in config:
            raise damaged(path, f"no {name}")
    for name, value in config.items():
        if name in FIELDS and name not in LOCAL:
            try:
                typed(name, value)
            except UserError as error:
                raise damaged(path, str(error)) from error
        elif not isinstance(value, _PLAIN):
            raise damaged(path, f"{name} is no plain value")
    return config


def read_environment(folder: Path) -> dict[str, Any]:
    """env.json of a run, {} where it has none; UserError for records that this code cannot read."""
    env = read_object(folder / "env.json") or {}
    schema = env.get("schema", SCHEMA)
    if schema not in READS:
        raise UserError(
            f"{folder} holds records of schema {shown(schema)}, this code reads up to {SCHEMA}; "
            "check out the commit in its env.json, or move the run away and run it anew"
        )
    return env


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """metrics.json of a run, None where it has not ended.

    It holds plain values, its status is one of ENDED and its step a whole number.
    """
    path = folder / "metrics.json"
    metrics = read_object(path)
    if metrics is None:
        return None
    if metrics.get("status") not in ENDED:
        raise damaged(path, f"status {shown(metrics.get('status'))}")
    if type(metrics.get("step")) is not int or metrics["step"] < 0:
        raise damaged(path, f"step {shown(metrics.get('step'))}")
    for name, value in metrics.items():
        if not isinstance(value, _PLAIN):
            raise damaged(path, f"{name} is no plain value")
    return metrics


def read_table(path: Path) -> "pandas.DataFrame | None":
    """A CSV of a run with the columns of its schema, numbers as numbers; None where it has no rows.

    A last line without its end is being written, or was cut short, and is left out.
    """
    try:
        frame = parse_table(whole_lines(path), path.stem)
    except (ValueError, TypeError, OverflowError) as error:  # pandas' own are ValueErrors
        raise damaged(path, reason(error)) from error
    return None if frame.empty else frame  # a network without gates; an empty column has no type


def parse_table(text: str, name: str) -> "pandas.DataFrame":
    """The text of a CSV as the table of TABLES that is so called.

    Raises ValueError, TypeError or OverflowError where it holds anything else.
    """
    import pandas as pd

    # pandas 3 reads every digit by itself, and deprecates being asked to
    exact = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}
    columns = TABLES[name]
    if not text:
        return pd.DataFrame(columns=columns)
    frame = pd.read_csv(io.StringIO(text), low_memory=False, **exact).reindex(columns=columns)
    for column in columns:
        if column not in _TEXTS:
            frame[column] = pd.to_numeric(frame[column])
        elif not all(isinstance(cell, str) for cell in frame[column].unique()):
            raise ValueError(f"a {column} that is no text")
    return frame
