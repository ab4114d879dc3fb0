"""environment.yml, pyproject.toml and requirements.txt agree."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fagan import environment
from fagan.environment import ROOT, describe, same_kind, source_fingerprint

CONDA_NAMES = {"pytorch": "torch"}


def required(texts):
    """{name: its versions} of requirements as pip and conda write them."""
    found = {}
    for requirement in map(Requirement, texts):
        name = CONDA_NAMES.get(requirement.name, requirement.name)
        found[canonicalize_name(name)] = requirement.specifier
    return found


def ours():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return required(project["dependencies"] + project["optional-dependencies"]["test"])


def test_conda_and_pip_ask_for_the_same():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    conda = required([*pip, *(entry for entry in listed if isinstance(entry, str))])
    assert {name: conda[name] for name in conda.keys() - {"python", "pip"}} == ours()


def test_every_requirement_is_pinned_within_its_range():
    lines = (ROOT / "requirements.txt").read_text()
    pins = [
        (canonicalize_name(name), version)
        for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lines, re.M)
    ]
    wanted = ours()
    assert dict(pins).keys() >= wanted.keys(), "compile requirements.txt again"
    for name, version in pins:
        assert name not in wanted or wanted[name].contains(version), name


def test_no_file_names_a_registry():
    for name in ("requirements.txt", "environment.yml", "pyproject.toml", "Makefile"):
        text = (ROOT / name).read_text()
        assert "--index" not in text and "--find-links" not in text and " @ " not in text, name


def test_description_tells_versions_and_no_paths():
    described = describe()
    assert str(ROOT) not in str(described)
    assert described["versions"]["torch"] and described["source_fingerprint"]


def test_the_fingerprint_covers_what_decides_numbers_and_nothing_else(tmp_path, monkeypatch):
    files = ("fagan/losses.py", "fagan/train/steps.py", "fagan/plots.py", "notebooks/train.ipynb")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    for name in files:
        before = source_fingerprint()
        (tmp_path / name).write_text("changed")
        assert (source_fingerprint() == before) == (name == "fagan/plots.py"), name


def test_what_another_machine_has_otherwise_is_named():
    import torch

    here = describe() | {"threads": torch.get_num_threads()}
    assert same_kind(here) == () == same_kind({})
    assert same_kind(here | {"threads": 99, "processor": "another"}) == ("processor", "threads")
    assert same_kind(here | {"versions": {"torch": "0.4.1"}}) == ("torch",)
