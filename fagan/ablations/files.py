"""A table as its YAML has it, and the texts of a command line that change it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fagan.config import UserError, unknown
from fagan.environment import ROOT
from fagan.errors import one_line, reason, shown
from fagan.files import folder_name
from fagan.plain_yaml import CHARACTERS, load_yaml

TABLES = ROOT / "notebooks" / "ablations"
MOST_SEEDS = 1_000
KEYS = ("title", "baseline", "arms", "labels", "seeds", "extends")


@dataclass(frozen=True)
class Table:
    """One experiment table, as written."""

    name: str
    title: str
    baseline: dict[str, Any]
    arms: dict[str, dict[str, Any]]
    labels: dict[str, str]
    seeds: tuple[int, ...]

    @property
    def baseline_arm(self) -> str:
        """The arm that differs in nothing, else the first."""
        return next(
            (arm for arm, changes in self.arms.items() if not changes), next(iter(self.arms))
        )


def table_names() -> list[str]:
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


def load_table(name: str) -> Table:
    """Read a table. Raises UserError naming what is wrong in it."""
    content = _read(name)
    where = f"notebooks/ablations/{name}.yaml"
    arms, labels, title = content.get("arms", {}), content.get("labels") or {}, content.get("title")
    baseline = content.get("baseline") or {}
    for key, value in (("arms", arms), ("baseline", baseline), ("labels", labels)):
        if not isinstance(value, dict):
            raise UserError(f"{where}: `{key}` must be a mapping, not {shown(value)}")
    _check_arms(where, arms, baseline)
    for arm in labels:
        if arm not in arms:
            raise UserError(f"{where}: label of an {unknown('arm', arm, arms)}")
    for text in (*labels.values(), title):
        if isinstance(text, dict | list) or (isinstance(text, str) and not text.strip()):
            raise UserError(f"{where}: {shown(text)} is no title or label; write a text")
    return Table(
        name=folder_name("ablation", name),
        title=one_line(str(name if title is None else title)),
        baseline=baseline,
        arms=arms,
        labels={arm: one_line(str(text)) for arm, text in labels.items()},
        seeds=parse_seeds(content.get("seeds", 1)),
    )


def _check_arms(where: str, arms: dict, baseline: dict) -> None:
    if not arms:
        raise UserError(f"{where}: `arms` must name at least one arm")
    for arm, changes in arms.items():
        if not isinstance(arm, str):  # YAML reads no, 1 and 1e3 as other things than texts
            raise UserError(f"{where}: arm {shown(arm)} is no text to YAML; write it in quotes")
        if not isinstance(changes, dict):
            raise UserError(f"{where}: arm {arm!r} must be a mapping of parameters, {{}} for none")
        if "arm" in changes or "arm" in baseline:
            raise UserError(f"{where}: 'arm' is no parameter here: the keys of `arms` are the arms")


def _read(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The YAML of a table, merged into the one it extends."""
    path = TABLES / f"{name}.yaml"
    if name not in table_names():
        raise unknown("ablation", name, table_names())
    where = f"notebooks/ablations/{name}.yaml"
    content = load_yaml(_text(path, where), where)
    if not isinstance(content, dict):
        raise UserError(f"{where} must be a mapping with the keys {', '.join(KEYS)}")
    for key in content:
        if key not in KEYS:
            raise UserError(f"{where}: {unknown('key', key, KEYS)}")
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise UserError(f"{where}: `extends` must be the name of a table, not {shown(base)}")
    if base in (name, *above):
        raise UserError(f"{where} extends itself")
    merged = _read(base, (name, *above))
    for key, value in content.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merged[key] | value if both else value
    return merged


def _text(path: Path, where: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(CHARACTERS + 1)  # a longer one is refused
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where} cannot be read ({reason(error)})") from error


def parse_seeds(value: Any) -> tuple[int, ...]:
    """3 or "3" -> (0, 1, 2); [0, 5] or "0,5" -> (0, 5). At most MOST_SEEDS."""
    if isinstance(value, str):
        if not re.fullmatch(r"\s*\d{1,19}(\s*,\s*\d{1,19})*\s*,?\s*", value):
            raise UserError(f"seeds {shown(value)} must be a count (3) or a list (0,1,5)")
        numbers = [int(word) for word in value.split(",") if word.strip()]
        value = numbers if "," in value else numbers[0]
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise UserError(f"seeds={shown(value)} must be at least 1")
        if value > MOST_SEEDS:
            raise UserError(f"seeds={shown(value)} is beyond {MOST_SEEDS:,}; a list names them")
        return tuple(range(value))
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    if not listed or not value or not all(type(v) is int and v >= 0 for v in value):
        raise UserError(f"seeds {shown(value)} must be a count (3) or a list ([0, 1, 5])")
    if len(value) > MOST_SEEDS:
        raise UserError(f"{len(value):,} seeds are beyond {MOST_SEEDS:,}")
    if len(set(value)) < len(value):
        raise UserError(f"seeds {list(value)} name one seed twice")
    return tuple(value)


def parse_setting(text: str) -> tuple[str, Any]:
    """`width=0.5` -> ("width", 0.5), the value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"setting {shown(text)} must be name=value")
    return key.strip(), load_yaml(value, f"the value of {shown(key.strip())}")
