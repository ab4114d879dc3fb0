"""Data flows one way: a module imports only from those before it."""

import ast
from pathlib import Path

import pytest

from fagan.environment import DECIDING

FAGAN = Path(__file__).parents[1] / "fagan"
ORDER = (
    "errors files locks architectures config environment faces ties data attention spectral_norm "
    "layers conditioning resnet models losses released records ablations evaluate interpret train "
    "author statistics plots studies devices runner gpu_check pages workflow status measure cli "
    "__main__"
).split()
READS_RECORDS_ONLY = {"statistics", "plots"}
ALLOWED_THERE = {"errors", "files", "config", "records", *READS_RECORDS_ONLY}


def modules():
    return sorted(p for p in FAGAN.rglob("*.py") if p.name != "__init__.py" or p.parent != FAGAN)


def home(path):
    """The name in ORDER that a file belongs to: its own, or its package's."""
    return path.relative_to(FAGAN).parts[0].removesuffix(".py")


def imported(path):
    """Every fagan module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "fagan":
                yield from [parts[1]] if len(parts) > 1 else (a.name for a in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("fagan."))


def test_every_module_has_its_place():
    assert {home(path) for path in modules()} == set(ORDER)


def test_the_fingerprint_covers_what_comes_before_the_analysis():
    assert tuple(DECIDING) == tuple(ORDER[: ORDER.index("train") + 1])


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(FAGAN).as_posix())
def test_imports_point_backwards(path):
    here = home(path)
    for name in imported(path):
        assert ORDER.index(name) <= ORDER.index(here), f"{here} imports {name}"
        if here in READS_RECORDS_ONLY:
            assert name in ALLOWED_THERE, f"{here} reads {name}, not the records alone"
