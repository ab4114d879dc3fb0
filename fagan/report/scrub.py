"""No path of this machine in what is published: replaced in whatever a notebook holds."""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fagan.environment import ROOT
from fagan.records import read_json, write_text

BINARY = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")


def machine_paths(data_paths: Iterable[str] = ()) -> dict[str, str]:
    """What stands for this machine's folders in anything that is published."""
    found = {str(ROOT): ".", sys.prefix: ".venv", str(Path.home()): "~"}
    found |= {path: os.path.basename(path.rstrip("/\\")) for path in data_paths if path}
    found |= {os.path.realpath(path): short for path, short in found.items()}
    # a system's own interpreter and a home at the root say nothing about a machine
    public = {"/", "/usr", "/usr/local"}
    return {path: short for path, short in found.items() if path not in public}


def data_paths(folder: Path) -> list[str]:
    """Every data_path that the ablation's plan names, however deep."""
    found: list[str] = []

    def walk(value):
        if isinstance(value, Mapping):
            path = value.get("data_path")
            if isinstance(path, str) and os.path.isabs(path):
                found.append(path)
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(read_json(folder / "plan.json"))
    return list(dict.fromkeys(found))


def scrub(notebook: Any, replacements: Mapping[str, str]) -> Any:
    """Replace machine paths in every text of a notebook, in place; images are left alone."""
    patterns = compiled(replacements)

    def clean(value):
        if isinstance(value, str):
            return scrubbed(value, patterns)
        if isinstance(value, list):
            return [clean(inner) for inner in value]
        if isinstance(value, dict):
            for key, inner in value.items():
                if key not in BINARY:
                    value[key] = clean(inner)
        return value

    return clean(notebook)


def scrub_file(path: Path, *data_paths: str) -> None:
    """`scrub` an executed notebook where it lies, its `results` folder included."""
    import nbformat

    book = nbformat.read(path, as_version=4)
    paths = machine_paths(data_paths) | results_folder(book)
    write_text(Path(path), nbformat.writes(scrub(book, paths)) + "\n")


def results_folder(book: Any) -> dict[str, str]:
    """What stands for the results folder that papermill was given, where that is outside."""
    given = book.metadata.get("papermill", {}).get("parameters", {}).get("results")
    if not isinstance(given, str) or not os.path.isabs(given):
        return {}
    return {given: from_root(Path(given)) if Path(given).is_relative_to(ROOT) else "results"}


def compiled(replacements: Mapping[str, str]) -> list[tuple[re.Pattern, str]]:
    """Whole paths only, the longest first; a cell's file name in a traceback goes as well."""
    longest = sorted(replacements.items(), key=lambda item: -len(item[0]))
    whole = [(re.compile(rf"(?<![\w.~-]){re.escape(a)}(?![\w-])"), b) for a, b in longest]
    return [*whole, (re.compile(r"(?:/[\w.-]+)+/ipykernel_\d+/\d+\.py"), "<cell>")]


def scrubbed(text: str, patterns: list[tuple[re.Pattern, str]]) -> str:
    for pattern, short in patterns:
        text = pattern.sub(lambda _, short=short: short, text)
    return text


def from_root(results: Path) -> str:
    """The folder as a notebook sees it, whose working directory is the repository's root."""
    whole = results.resolve()
    return whole.relative_to(ROOT).as_posix() if whole.is_relative_to(ROOT) else str(whole)
