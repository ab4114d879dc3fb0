"""The graph on a real Slurm (tests/slurm_cluster.py), one of its runs killed on the way.

Not part of `make test`, as it installs Debian's Slurm where there is none: `make test-slurm`.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from slurm_cluster import NODES, cluster, install, missing_programs, queue

from fagan.environment import ROOT
from fagan.workflow import PROFILES

pytestmark = pytest.mark.slurm
STEPS = 200
OPTIONS = ["--steps", str(STEPS), "--set", "checkpoint_every=10", "--set", "eval_every=100"]
KILLED = "fagan-seed0"
QUICK = {"slurm-init-seconds-before-status-checks": 2}
WITHOUT_ACCOUNTING = {"slurm-status-command": "squeue", "slurm-no-account": True}
PATIENCE = 1800  # seconds for the ablation


@pytest.fixture(scope="module")
def slurm():
    if missing_programs():
        why_not = install()
        if why_not:
            pytest.skip(why_not)
    with cluster() as environment:
        yield environment


@pytest.fixture
def profile(tmp_path):
    """The profile that is shipped, with what its comments say of a Slurm without accounting."""
    content = yaml.safe_load((PROFILES / "slurm" / "config.yaml").read_text())
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text(
        yaml.safe_dump(content | QUICK | WITHOUT_ACCOUNTING)
    )
    return tmp_path / "profile"


def fagan(*arguments):
    return [sys.executable, "-m", "fagan", *arguments]


def submitted(environment):
    """run_id -> (job, node) of the runs that are running."""
    mark = "rule_run_wildcards_"
    return {
        comment.removeprefix(mark): (job, node)
        for job, comment, state, node in queue(environment)
        if comment.startswith(mark) and state == "RUNNING"
    }


def follow(workflow, environment, killed: Path):
    """Cancel a run after its first checkpoint. Returns its jobs, and every node that had a run."""
    jobs, nodes = [], set()
    began = time.monotonic()
    while workflow.poll() is None and time.monotonic() - began < PATIENCE:
        running = submitted(environment)
        nodes |= {node for _, node in running.values()}
        job, _ = running.get(killed.name, (None, None))
        if job and job not in jobs:
            if not jobs and not list(killed.glob("checkpoint*")):
                continue  # not in the middle of it yet
            jobs.append(job)
            if len(jobs) == 1:
                assert not (killed / "metrics.json").exists()
                subprocess.run(["scancel", job], env=environment, check=True)
        time.sleep(0.2)
    return jobs, nodes


def test_an_interrupted_command_takes_its_jobs_with_it(slurm, profile, tmp_path):
    command = fagan("ablations", "smoke", "--profile", str(profile), "--results", str(tmp_path))
    workflow = subprocess.Popen([*command, "--steps", "100000"], cwd=ROOT, env=slurm)
    try:
        until(lambda: submitted(slurm))
    finally:
        workflow.terminate()
        assert workflow.wait(PATIENCE) == 130
    until(lambda: not queue(slurm))


def until(condition):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.2)


def test_a_run_that_slurm_kills_goes_on_and_ends_as_if_nothing_had_been(slurm, profile, tmp_path):
    results, alone = tmp_path / "results", tmp_path / "alone"
    command = fagan("ablations", "smoke", "--profile", str(profile), "--results", str(results))
    workflow = subprocess.Popen(
        [*command, *OPTIONS], cwd=ROOT, env=slurm, stdout=subprocess.PIPE, text=True
    )
    try:
        jobs, nodes = follow(workflow, slurm, results / "smoke" / "runs" / KILLED)
    finally:
        if workflow.poll() is None:
            workflow.terminate()
        said = workflow.communicate()[0]
    log = (results / "smoke" / "workflow.log").read_text()
    assert workflow.returncode == 0, said + log
    assert "2 of 2 done" in said
    assert len(jobs) == 2, "killed once, submitted again once"
    assert nodes == set(NODES)
    assert (results / "smoke" / "analysis" / "index.html").exists()

    made_with = {
        path.parent.name: json.loads(path.read_text())
        for path in (results / "smoke" / "runs").glob("*/env.json")
    }
    resumed = made_with.pop(KILLED)["resumed"]
    assert len(resumed) == 1 and 0 < resumed[0]["step"] < STEPS
    assert not [env for env in made_with.values() if env.get("resumed")]

    for arguments in (["plan", "smoke", *OPTIONS], ["run", "smoke", KILLED]):
        subprocess.run(
            [*fagan(*arguments), "--results", str(alone)], cwd=ROOT, check=True, capture_output=True
        )
    for name in ("metrics.json", "history.csv", "alpha.csv"):
        ended, undisturbed = (
            (folder / "smoke" / "runs" / KILLED / name).read_bytes() for folder in (results, alone)
        )
        assert ended == undisturbed, name
