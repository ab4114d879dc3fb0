"""Profiles: which there are, what is refused, and what of a cluster reaches Snakemake."""

import os
import re
import subprocess
import sys

import pytest
import yaml

from fagan import ablations, clusters
from fagan.clusters import LOCAL, PROFILES, load_profile, profile_names, reachable
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.workflow import _command, available_cores


def write(folder, content):
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(content)
    return str(folder)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Makes commands that print something, the only ones there are on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name, output="", code=0):
        path = folder / name
        path.write_text(f"#!/bin/sh\necho '{output}'\necho '{output}' >&2\nexit {code}\n")
        path.chmod(0o755)

    return make


def test_the_profiles_that_there_are():
    assert profile_names() == ["default", "kubernetes", "slurm"]
    default = load_profile()
    assert default.is_local and default.gpus == 0 and default.folder == PROFILES / "default"
    assert not load_profile("slurm").is_local and not load_profile("kubernetes").is_local


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_keeps_the_rules_of_the_graph(name):
    content = yaml.safe_load((PROFILES / name / "config.yaml").read_text())
    assert content["rerun-triggers"] == "mtime", "a comment must not cost GPU-days"
    assert content["keep-going"] and content["ignore-incomplete"] and content["nolock"]
    if name != "default":
        assert content["retries"] > 0, "what a cluster killed goes on from its checkpoint"


@pytest.mark.parametrize(
    "content,words",
    [
        ("executor: [", "is not valid YAML"),
        ("- executor", "must be a mapping"),
        ("config: [gpus=1]", "its `config` too"),
        ("config: {gpus: one}", "`gpus` in that a count"),
        ("config: {gpus: -1}", "`gpus` in that a count"),
    ],
)
def test_a_broken_profile_is_a_users_mistake(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        load_profile(write(tmp_path / "mine", content))


def test_a_folder_of_ones_own(tmp_path):
    profile = load_profile(write(tmp_path / "mine", "executor: slurm\nconfig: {gpus: 2}"))
    assert (profile.executor, profile.gpus) == ("slurm", 2)
    assert profile.folder == tmp_path / "mine"
    assert load_profile(write(tmp_path / "bare", "jobs: 2")).executor == LOCAL
    with pytest.raises(UserError, match=r"there is no .*config.yaml"):
        load_profile(str(tmp_path / "nothing"))


def test_a_plugin_that_is_not_installed_is_named(tmp_path):
    profile = load_profile(write(tmp_path / "mine", "executor: no-such-queue"))
    with pytest.raises(UserError, match="pip install snakemake-executor-plugin-no-such-queue"):
        reachable(profile)


def test_slurm_without_its_commands(commands):
    with pytest.raises(UserError, match="there is no sbatch here"):
        reachable(load_profile("slurm"))


def test_slurm_that_does_not_answer(commands):
    commands("sbatch")
    with pytest.raises(UserError, match=r"does not answer.*scontrol"):
        reachable(load_profile("slurm"))
    commands("scontrol", "Unable to contact slurm controller", code=1)
    with pytest.raises(UserError, match=r"does not answer.*Unable to contact slurm controller"):
        reachable(load_profile("slurm"))


@pytest.mark.parametrize(
    "storage,watched_by",
    [
        ("accounting_storage/none", "squeue"),
        ("(null)", "squeue"),
        ("accounting_storage/slurmdbd", ""),
    ],
)
def test_a_slurm_without_accounting_is_watched_through_its_queue(commands, storage, watched_by):
    commands("sbatch")
    commands("scontrol", f"AccountingStorageType   = {storage}")
    options = reachable(load_profile("slurm")).options
    if watched_by:
        assert options == ("--slurm-status-command", watched_by, "--slurm-no-account")
    else:
        assert options == ()


def test_only_this_machine_has_its_cores_counted(tmp_path):
    local, slurm = load_profile(), load_profile("slurm")
    command = _command("smoke", tmp_path, None, "all", local)
    assert command[command.index("--cores") + 1] == str(available_cores())
    assert "--cores" not in _command("smoke", tmp_path, None, "all", slurm)
    assert "--cores" in _command("smoke", tmp_path, 8, "all", slurm)


def test_an_executor_of_this_repository_is_found(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    paths = load_profile("kubernetes").environment["PYTHONPATH"].split(os.pathsep)
    assert paths == [str(clusters.PLUGINS), "elsewhere"]
    assert load_profile("slurm").environment == {}, (
        "a plugin that is found is imported at each start"
    )


@pytest.mark.parametrize(
    "params,gpus,chosen",
    [
        ({"precision": "auto"}, 1, "bf16"),
        ({"precision": "auto"}, 0, "fp32"),
        ({"precision": "auto", "device": "cpu"}, 1, "fp32"),
        ({"precision": "auto", "exact": True}, 1, "fp32"),
        ({"precision": "bf16"}, 0, "bf16"),
    ],
)
@pytest.mark.parametrize("here", [True, False])
def test_the_submitting_machine_does_not_choose_a_precision(
    monkeypatch, here, params, gpus, chosen
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: here)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: here)
    assert ablations.resolve_precision(params, gpus) == chosen


def test_the_command_line_says_what_was_chosen(capsys):
    from fagan.cli.ablate import _chosen

    _, runs = _chosen("faces64", "1", None, "", None, 1)
    said = capsys.readouterr().out
    assert {(run.precision, run.device) for run in runs} == {("bf16", "auto")}
    assert said.startswith("precision: bf16;") and 'SET="precision=' in said
    _chosen("smoke", "1", None, "", None, 1)
    assert capsys.readouterr().out == "", "this table names its precision"


@pytest.mark.slow
@pytest.mark.parametrize(
    "device,profile,asked",
    [("auto", "slurm", "gpu=1"), ("cpu", "slurm", "gpu=0"), ("auto", "", "")],
)
def test_a_run_asks_for_a_gpu_by_its_device_and_the_profile(tmp_path, device, profile, asked):
    table = ablations.load_table("smoke")
    ablations.plan(table, ablations.configs(table, settings={"device": device}), tmp_path)
    chosen = load_profile(profile or "default")
    *command, dashes, target = _command("smoke", tmp_path, None, "all", chosen)
    done = subprocess.run(
        [*command, "--dry-run", dashes, target], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    blocks = re.findall(r"^rule (\w+):\n((?: {4}.*\n)+)", done.stdout, re.MULTILINE)
    runs = [block for rule, block in blocks if rule == "run"]
    assert len(runs) == 2
    for block in runs:
        assert asked in block if asked else "gpu=" not in block
        assert ("mem_mb=16000" in block and "runtime=1440" in block) == (profile == "slurm")
    others = [block for rule, block in blocks if rule != "run"]
    assert others and not [block for block in others if "gpu=" in block]


@pytest.mark.parametrize(
    "arguments,words",
    [
        ([], "name it, as in ABLATION="),
        (["smoke", "--gpus", "0"], "GPUS=0 names devices of this machine"),
    ],
)
def test_what_says_nothing_on_a_cluster_is_refused_there(commands, arguments, words):
    commands("sbatch")
    commands("scontrol", "AccountingStorageType = accounting_storage/none")
    done = subprocess.run(
        [sys.executable, "-m", "fagan", "ablations", *arguments, "--profile", "slurm"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and words in done.stderr
    assert done.stderr.count("\n") == 1
