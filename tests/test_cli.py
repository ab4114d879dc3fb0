"""What a user types: for a mistake one line and exit code 2, and nothing is written."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import typer
import yaml
from PIL import Image

from fagan import cli, devices, environment, workflow
from fagan.config import FIELDS
from fagan.environment import ROOT
from fagan.errors import UserError


@pytest.fixture
def fagan(monkeypatch, capsys):
    """A command in this process, on a machine without GPUs: (exit code, its output, its errors)."""
    for name in (devices.GPUS, devices.VISIBLE, environment.PER_RUN):
        monkeypatch.setenv(name, "")  # so that a command's own setting ends with the test

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["fagan", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return command


ON_SLURM = ["--profile", "slurm"]


@pytest.mark.parametrize(
    "words,said",
    [
        (["plan", "lptop"], "unknown ablation 'lptop'; did you mean 'laptop'"),
        (["plan", "smoke", "--set", "widht=1"], "unknown parameter 'widht'; did you mean 'width'"),
        (["plan", "smoke", "--steps", "0"], "steps=0 must be above 0"),
        (["plan", "smoke", "--seeds", "x"], "seeds 'x' must be a count"),
        (["plan", "smoke", "--data", "no/such/folder"], "DATA=no/such/folder does not exist"),
        (["run", "smoke", "fagan-seed0"], "no plan for 'smoke'"),
        (["status", "smoke"], "no plan for 'smoke'"),
        (["analyse", "smoke"], "no runs under"),
        (["publish", "smoke"], "no runs under"),
        (["ablations", "smoke", "--profile", "slrum"], "unknown profile 'slrum'; did you mean"),
        (["ablations", "smoke", "--profile", "no/such"], "PROFILE=no/such: there is no"),
        (["ablations", *ON_SLURM], "name it, as in ABLATION="),
        (["ablations", "smoke", *ON_SLURM, "--gpus", "0"], "GPUS=0 names devices of this machine"),
        (["ablations", "smoke", "--gpus", "0"], "GPUS=0 is asked for, but no NVIDIA device"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(fagan, tmp_path, words, said):
    code, _, errors = fagan(*words, "--results", tmp_path)
    assert code == 2 and said in errors and errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_images_that_are_not_there_are_named_before_any_run(fagan, tmp_path):
    results, empty = tmp_path / "results", tmp_path / "nothing"
    empty.mkdir()
    code, _, errors = fagan("ablations", "smoke", "--data", empty, "--results", results)
    assert code == 2 and "nothing" in errors and errors.count("\n") == 1
    assert not (results / "smoke" / "runs").exists()


def test_a_folder_of_photographs_is_planned_and_scored_and_its_path_is_nowhere(
    fagan, tmp_path, monkeypatch
):
    monkeypatch.setenv("FAGAN_CACHE", str(tmp_path / "cache"))
    folder, results = tmp_path / "photos", ["--results", tmp_path / "results"]
    folder.mkdir()
    for i in range(40):
        Image.new("RGB", (40 + i, 60), (6 * i, 90, 200)).save(folder / f"{i}.png")
    assert fagan("plan", "smoke", "--data", folder, "--set", "n_real=8", *results)[0] == 0
    assert fagan("prepare", "smoke", *results)[0] == 0
    reference = json.loads((tmp_path / "results" / "smoke" / "reference.json").read_text())
    assert (reference["name"], reference["n_train"]) == ("photos", 32)
    assert str(tmp_path) not in json.dumps(reference)


def test_what_the_makefile_calls_is_there():
    """Its help lists every target; its commands, and the Snakefile's, exist."""
    makefile = (ROOT / "Makefile").read_text()
    help_ = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    targets = re.search(r"^\.PHONY: (.*)", makefile, re.M)[1].split()
    assert {*re.findall(r"^make ([\w-]+)", help_, re.M)} == {*targets}
    snakefile = (ROOT / "workflow" / "Snakefile").read_text()
    called = {*re.findall(r"(?:-m fagan|\{FAGAN\}) ([\w-]+)", makefile + snakefile)}
    assert {"ablations", "run"} <= called <= typer.main.get_command(cli.app).commands.keys()


def test_make_hands_on_what_a_user_says():
    words = ["ABLATION=smoke", "SEEDS=0,1", "STEPS=9", "DATA=my photos & co"]
    words += ["SET=width=0.5 flip=true", "DOWNLOAD=1", "CORES=2", "PROFILE=slurm"]
    words += ["GPUS=0,2", "GPUS_PER_RUN=2"]
    # `make test` may be above: its make would say where it is, between the lines
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-n", "ablations", *words], cwd=ROOT, capture_output=True, text=True, env=env
    )
    line = done.stdout.replace("\\\n", " ")
    found = shlex.split(line[line.index("-m fagan") :])[2:]
    assert found == [
        *("ablations", "smoke", "--seeds", "0,1", "--steps", "9", "--data", "my photos & co"),
        *("--set", "width=0.5", "--set", "flip=true", "--download", "--cores", "2"),
        *("--profile", "slurm", "--gpus", "0,2", "--gpus-per-run", "2"),
    ]


def test_a_broken_profile_is_a_users_mistake(tmp_path):
    for content in ("executor: [", "- executor", "config: [gpus=1]", "config: {gpus: one}"):
        (tmp_path / "config.yaml").write_text(content)
        with pytest.raises(UserError, match="is no profile"):
            workflow.load_profile(str(tmp_path))


def test_profiles_keep_the_rules_of_the_graph(tmp_path):
    assert workflow.load_profile("default") == workflow.Profile()
    slurm = workflow.load_profile("slurm")
    assert not slurm.is_local and slurm.gpus == 1
    for path in workflow.PROFILES.glob("*/config.yaml"):
        content = yaml.safe_load(path.read_text())
        assert content["rerun-triggers"] == "mtime", "a comment must not cost GPU-days"
        assert content["keep-going"] and content["ignore-incomplete"] and content["nolock"]
    (tmp_path / "config.yaml").write_text("executor: slurm\nconfig: {gpus: 2}")
    assert workflow.load_profile(str(tmp_path)) == workflow.Profile(tmp_path, False, 2)


def test_parameters_are_listed_with_their_meaning(fagan):
    code, listed, _ = fagan("parameters")
    assert code == 0 and all(name in listed for name in FIELDS)
    assert "query and key have channels // squeeze" in listed


def test_a_closed_pipe_is_no_traceback():
    command = f"{shlex.quote(sys.executable)} -m fagan parameters | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def test_importing_the_package_costs_nothing():
    """Layers for others: `import fagan` brings no torch, the layers bring no notebook tools."""
    code = (
        "import sys, fagan; assert 'torch' not in sys.modules; fagan.FullAttention2d; "
        "heavy = {'torchmetrics', 'timm', 'seaborn', 'pandas', 'papermill', 'torchvision'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
