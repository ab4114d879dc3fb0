"""The Kubernetes profile against a stand-in of its API (tests/kubernetes_api.py)."""

import importlib.util
import json

import pytest
import yaml
from kubernetes_api import serving

from fagan import ablations, workflow
from fagan.clusters import PROFILES, load_profile
from fagan.environment import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake_executor_plugin_kubernetes") is None,
        reason="needs snakemake-executor-plugin-kubernetes (the extra `kubernetes`)",
    ),
]
CLAIM = "fagan"


@pytest.fixture
def profile(tmp_path):
    """A copy of the profile as a user makes it, for a volume that is mounted at the root folder."""
    content = yaml.safe_load((PROFILES / "kubernetes" / "config.yaml").read_text())
    content["shared-kubernetes-persistent-volumes"] = f"{CLAIM}:{ROOT}"
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text(
        yaml.safe_dump(content | {"seconds-between-status-checks": 1})
    )
    return load_profile(str(tmp_path / "profile"))


def submit(api, profile, results, monkeypatch, **settings):
    """The runs of the smoke table through the graph: (exit code, their folder)."""
    for name, value in {
        "KUBECONFIG": api.kubeconfig(),
        "FAGAN_CACHE": api.folder / "cache",
    }.items():
        monkeypatch.setenv(name, str(value))
    table = ablations.load_table("smoke")
    runs = ablations.configs(table, settings=settings, gpus=profile.gpus)
    with workflow.alone("smoke", results) as me:
        ablations.plan(table, runs, results)
        workflow.prepare("smoke", results)
        code = workflow.run_graph(me, "smoke", results, target="runs", profile=profile)
    return code, results / "smoke" / "runs"


def test_a_pod_starts_in_the_shared_clone_with_its_environment(tmp_path, profile, monkeypatch):
    with serving(tmp_path, runs_pods=True) as api:
        code, runs = submit(api, profile, tmp_path / "results", monkeypatch)
    pods = [path.read_text() for path in tmp_path.glob("snakejob-*/log")]
    assert code == 0, (tmp_path / "results" / "smoke" / "workflow.log").read_text() + str(pods)
    done = [json.loads(path.read_text())["status"] for path in runs.glob("*/metrics.json")]
    assert done == ["done"] * len(api.jobs) == ["done", "done"]
    pod = api.jobs[0]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == "python:3.11"
    assert {"name": CLAIM, "mountPath": str(ROOT)} in container["volumeMounts"]
    assert {"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}} in pod["volumes"]
    resources = container["resources"]
    assert resources["limits"]["memory"] == resources["requests"]["memory"] == "16000M"
    assert resources["limits"]["nvidia.com/gpu"] == "0", "a run on the CPU asks for no GPU"


def test_runs_that_may_use_a_gpu_ask_for_one_and_are_tried_again(tmp_path, profile, monkeypatch):
    with serving(tmp_path, runs_pods=False) as api:
        code, _ = submit(api, profile, tmp_path / "results", monkeypatch, device="auto")
    assert code == 1
    retries = yaml.safe_load((PROFILES / "kubernetes" / "config.yaml").read_text())["retries"]
    assert len(api.jobs) == 2 * (1 + retries)
    pod = api.jobs[0]["spec"]["template"]["spec"]
    # an extended resource must be in the limits, or the API refuses it
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
