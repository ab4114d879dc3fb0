"""environment.yml, pyproject.toml and requirements.txt agree."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fagan import environment
from fagan.environment import ROOT, describe, same_kind, source_fingerprint

CONDA_NAMES = {"pytorch": "torch"}


def ours():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = project["dependencies"] + project["optional-dependencies"]["test"]
    return {canonicalize_name(r.name): r for r in map(Requirement, texts)}


def conda():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    texts = [d for d in content if isinstance(d, str)]
    texts += next(d["pip"] for d in content if isinstance(d, dict))
    found = {}
    for text in texts:
        requirement = Requirement(text)
        name = CONDA_NAMES.get(requirement.name, requirement.name)
        found[canonicalize_name(name)] = requirement
    return found


def pins():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, version = re.match(r"([\w.-]+)==([^\s;]+)", line).groups()
            found.setdefault(canonicalize_name(name), []).append(version)
    return found


def test_conda_and_pip_ask_for_the_same():
    extra = {"python", "pip"}
    assert set(conda()) - extra == set(ours())
    for name, requirement in ours().items():
        assert conda()[name].specifier == requirement.specifier, name


def test_every_requirement_is_pinned_within_its_range():
    pinned = pins()
    for name, requirement in ours().items():
        assert name in pinned, f"{name} has no pin: compile requirements.txt again"
        for version in pinned[name]:
            assert requirement.specifier.contains(version), (name, version)


def test_no_file_names_a_registry():
    for name in ("requirements.txt", "environment.yml", "pyproject.toml", "Makefile"):
        text = (ROOT / name).read_text()
        assert "--index" not in text and "--find-links" not in text and " @ " not in text, name


def test_description_tells_versions_and_no_paths():
    text = str(describe())
    assert str(ROOT) not in text
    assert describe()["versions"]["torch"]
    assert re.fullmatch("[0-9a-f]{12}", source_fingerprint())


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
