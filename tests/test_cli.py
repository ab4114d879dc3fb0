"""What a user types, in a process of its own: one line and exit code 2 for a mistake."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from PIL import Image

from fagan import workflow
from fagan.environment import ROOT
from fagan.errors import UserError


def fagan(*arguments, results=None):
    options = ["--results", str(results)] if results else []
    return subprocess.run(
        [sys.executable, "-m", "fagan", *arguments, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["plan", "lptop"], "unknown ablation 'lptop'; did you mean 'laptop'"),
        (["plan", "smoke", "--set", "widht=1"], "unknown parameter 'widht'; did you mean 'width'"),
        (["plan", "smoke", "--set", "loss=hing"], "unknown loss 'hing'; did you mean 'hinge'"),
        (["plan", "smoke", "--set", "data=imagenet"], "unknown data 'imagenet'"),
        (["plan", "smoke", "--set", "architecture=F X C | C C C"], "unknown stage 'X'"),
        (["plan", "smoke", "--set", "resolution=48"], "cannot make 48 pixels"),
        (["plan", "smoke", "--set", "squeeze=999"], "squeeze=999 is more than"),
        (["plan", "smoke", "--set", "width"], "name=value"),
        (["plan", "smoke", "--steps", "0"], "steps=0 must be above 0"),
        (["plan", "smoke", "--seeds", "x"], "seeds 'x' must be a count"),
        (["plan", "folder32"], "data=folder needs its folder or zip: DATA="),
        (["plan", "smoke", "--data", "no/such/folder"], "DATA=no/such/folder does not exist"),
        (["run", "smoke", "fagan-seed0"], "no plan for 'smoke'"),
        (["status", "smoke"], "no plan for 'smoke'"),
        (["analyse", "smoke"], "no runs under"),
        (["publish", "smoke"], "no runs under"),
        (
            ["ablations", "smoke", "--profile", "slrum"],
            "unknown profile 'slrum'; did you mean 'slurm'",
        ),
        (["ablations", "smoke", "--profile", "no/such"], "PROFILE=no/such: there is no"),
        (["ablations", "--profile", "slurm"], "name it, as in ABLATION="),
        (
            ["ablations", "smoke", "--profile", "slurm", "--gpus", "0"],
            "GPUS=0 names devices of this machine",
        ),
        (["ablations", "smoke", "--gpus", "0"], "GPUS=0 is asked for, but no NVIDIA device"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path, arguments, words):
    done = fagan(*arguments, results=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_the_makefile_calls_is_there():
    """Every target, and every command that it names."""
    makefile = (ROOT / "Makefile").read_text()
    help_ = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    for target in (
        *("setup", "ablations", "analysis", "report", "publish", "bench", "status", "lab"),
        *("gpu-check", "layers", "test", "test-slurm", "lint", "clean"),
    ):
        assert f"make {target}" in help_ and target in makefile.split(".PHONY:")[1].split("\n")[0]
    snakefile = (ROOT / "workflow" / "Snakefile").read_text()
    commands = {*re.findall(r"-m fagan ([\w-]+)", makefile + snakefile)}
    listed = fagan("--help").stdout
    assert commands >= {"ablations", "analyse", "publish", "bench", "status"}
    for name in {*commands, "plan", "prepare", "run", "evaluate", "sample", "parameters", "stale"}:
        assert f" {name} " in listed, name


def test_make_hands_on_what_a_user_says():
    said = {
        "ABLATION": "smoke",
        "SEEDS": "0,1",
        "STEPS": "9",
        "DATA": "my photos & co",
        "SET": "width=0.5 flip=true",
        "DOWNLOAD": "1",
        "CORES": "2",
        "GPUS": "0,2",
        "GPUS_PER_RUN": "2",
        "PROFILE": "slurm",
    }
    words = [f"{name}={value}" for name, value in said.items()]
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


def test_wrong_usage_is_no_traceback():
    for arguments in (["plann"], ["plan"], ["plan", "smoke", "--step", "3"]):
        done = fagan(*arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.slow
def test_images_that_are_not_there_are_named_before_any_run(tmp_path):
    results, empty = tmp_path / "results", tmp_path / "nothing"
    empty.mkdir()
    done = fagan("ablations", "smoke", "--data", str(empty), results=results)
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0 and "nothing" in done.stderr
    assert not (results / "smoke" / "runs").exists()


@pytest.mark.slow
def test_a_recorded_run_is_never_overwritten_by_another_config(tmp_path):
    assert fagan("plan", "smoke", results=tmp_path).returncode == 0
    plan = tmp_path / "smoke" / "plan.json"
    config = json.loads(plan.read_text())["runs"][0]["config"]
    folder = tmp_path / "smoke" / "runs" / "sagan-seed0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({k: config[k] for k in config if k != "data_path"})
    )
    before = plan.read_text()
    done = fagan("ablations", "smoke", "--steps", "99", results=tmp_path)
    assert done.returncode == 2
    assert "recorded with steps=12, now steps=99 is asked for" in done.stderr
    assert plan.read_text() == before


def test_parameters_are_listed_with_their_meaning():
    done = fagan("parameters")
    assert done.returncode == 0
    assert "squeeze" in done.stdout and "query and key have channels // squeeze" in done.stdout


def test_a_closed_pipe_is_no_traceback():
    command = f"{shlex.quote(sys.executable)} -m fagan parameters | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1 and done.stderr == ""


@pytest.mark.slow
def test_importing_the_package_costs_nothing():
    """Layers for others: `import fagan` brings no torch, the layers bring no notebook tools."""
    code = (
        "import sys, fagan; assert 'torch' not in sys.modules; fagan.FullAttention2d; "
        "heavy = {'torchmetrics', 'timm', 'seaborn', 'pandas', 'papermill', 'torchvision'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_a_folder_of_photographs_of_every_kind(tmp_path):
    """Grayscale, palette and tall images in nested folders: planned, decoded and scored."""
    folder = tmp_path / "photos" / "deep"
    folder.mkdir(parents=True)
    for i in range(40):
        mode = ("L", "P", "RGB", "RGBA")[i % 4]
        Image.new("RGB", (40 + i, 60), (6 * i, 90, 200)).convert(mode).save(folder / f"{i}.png")
    data = ["--data", str(tmp_path / "photos"), "--set", "n_real=8"]
    results = tmp_path / "results"
    assert fagan("plan", "smoke", *data, results=results).returncode == 0
    done = fagan("prepare", "smoke", results=results)
    assert done.returncode == 0, done.stderr
    reference = json.loads((results / "smoke" / "reference.json").read_text())
    assert reference["name"] == "photos"
    assert reference["n_train"] + 8 == 40
    assert str(tmp_path) not in json.dumps(reference)
