"""One run in several processes: the numbers of one process with the whole batch, one writer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_devices import machine  # noqa: F401
from test_train import CPU, cache, config, quiet, rows  # noqa: F401
from typer.testing import CliRunner

from fagan import cli, data, devices, environment, train
from fagan.errors import UserError
from fagan.train import launch, steps

NORMED = {"batch_norm_convolutions": True, "n_dis": 2, "alpha_init": 0.3}
# whatever looks at the whole batch: means of the other kind, labels of neighbours, penalties
RUNS = {
    "labels": {"loss": "hinge", "conditioning": "projection", "classes": 3, "matching_aware": True},
    "means": {"loss": "relativistic-hinge"},
    "penalties": {"loss": "relativistic-pairing", "r1": 0.5, "r2": 0.25},
}


def trained(changes):
    """The tensors of both networks after two steps in float64, and the logged sums."""
    made = config(**changes, **NORMED)
    torch.set_default_dtype(torch.float64)
    state = steps.start(made, CPU, quiet)
    images = torch.randint(256, (12, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    batches = data.Batches(images.to(torch.uint8), made.batch_size, seed=0, flip=True)
    batches.labels_at = lambda step: torch.eye(3)[batches.indices(step) % 3]  # of three classes
    for _ in range(2):
        steps.step_once(state, batches)
    torch.set_default_dtype(torch.float32)
    networks = {name: getattr(state, name) for name in ("generator", "discriminator", "average")}
    tensors = {f"{k}.{n}": v for k, net in networks.items() for n, v in net.state_dict().items()}
    return tensors | {"sums": state.sums}


def everything():
    return {name: trained(changes) for name, changes in RUNS.items()}


PROCESS = """
import sys, torch
from fagan.train import processes
from test_parallel import everything
torch.Tensor.float = torch.Tensor.double  # images and logits too
with processes.joined(torch.device("cpu")):
    torch.save(everything(), f"{sys.argv[1]}/{processes.rank()}.pt")
"""


def test_two_processes_compute_what_one_does_with_the_whole_batch(tmp_path, monkeypatch):
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "WORLD_SIZE": "2"}
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    group |= {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    group |= {"PYTHONPATH": f"{environment.ROOT}:{Path(__file__).parent}", "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, tmp_path], env=os.environ | group | {"RANK": rank}
        )
        for rank in "01"
    ]
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    with train.threads(1):
        alone = everything()
    assert [process.wait(300) for process in both] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in "01")
    for part, tensors in alone.items():
        for name, tensor in tensors.items():
            mine = first[part][name]
            assert torch.equal(mine, second[part][name]), f"{part} {name}: the two are apart"
            torch.testing.assert_close(
                mine, tensor, rtol=1e-7, atol=1e-7, msg=lambda m, n=name, p=part: f"{p} {n}: {m}"
            )


def test_a_run_of_two_processes_is_written_once_and_resumed_by_one(tmp_path):
    """Cut off after a checkpoint: the processes end with what launched them."""
    made = config(steps=24, log_every=4, eval_every=16, lr_g=1e-4, n_intervene=0)
    one, two = tmp_path / "one", tmp_path / "two"
    said = []

    def cut(line):
        said.append(line)
        if line.startswith("step 16/24"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch.launch(made, two, 2, cut)
    assert len(said) == len(set(said))  # the second process says nothing
    train.train(made, two, quiet)
    train.train(made, one, quiet)
    env = environment.read_environment(two)
    assert env["processes"] == 2 and [again["processes"] for again in env["resumed"]] == [1]
    assert 15 <= env["resumed"][0]["step"] < 24
    for name in ("history.csv", "alpha.csv", "spectral.csv", "timing.csv"):
        assert [r["step"] for r in rows(one / name)] == [r["step"] for r in rows(two / name)]
    for a, b in zip(rows(one / "history.csv")[1:], rows(two / "history.csv")[1:], strict=True):
        for column in ("loss_d", "loss_g", "d_real", "gradient_norm_d"):
            assert float(a[column]) == pytest.approx(float(b[column]), rel=1e-3, abs=1e-4)


def test_a_failure_is_told_in_the_words_of_the_process_that_failed():
    failed = launch._failure(["step 0/9", "fagan: no space left", "fagan: other"], "report")
    assert isinstance(failed, UserError) and str(failed) == "no space left"
    assert "want of memory" in str(launch._failure([], "Signal 9 (SIGKILL) received by PID 7"))
    failed = launch._failure(
        ["[rank1]:   x", "[rank1]: RuntimeError: NCCL", "ValueError: late"], ""
    )
    assert str(failed) == "one of its processes failed: RuntimeError: NCCL"


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--gpus-per-run", "4"], "GPUS_PER_RUN=4 asks for more than the 3 GPUs that a run may"),
        (["--gpus-per-run", "2", "--gpus", "0,0"], "more than the 1 GPUs"),
        (
            ["--gpus-per-run", "3", "--set", "device=auto"],
            "GPUS_PER_RUN=3 does not divide batch_size=32 of ",
        ),
        (["--gpus-per-run", "0"], "GPUS_PER_RUN='0' must be a whole number above 0"),
        (["--gpus-per-run", "2", "--set", "device=cpu"], "has device=cpu, and is one process"),
        (["--gpus-per-run", "2", "--profile", "slurm"], "GPUS_PER_RUN=2 names devices of this"),
    ],
)
def test_gpus_per_run_is_refused_before_anything_is_done(arguments, words, tmp_path, monkeypatch):
    monkeypatch.setenv(environment.PER_RUN, "")
    options = [*arguments, "--set", "batch_size=32", "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(cli.app, ["ablations", "smoke", *options])
    # one line and exit code 2: tests/test_cli.py
    assert isinstance(done.exception, UserError), done.exception
    assert words in str(done.exception) and not (tmp_path / "results").exists()


def test_a_cpu_trains_a_run_in_one_process(tmp_path, monkeypatch):
    monkeypatch.setenv(environment.PER_RUN, "2")
    with pytest.raises(UserError, match="GPUS_PER_RUN=2 asks for more than the 0 GPUs"):
        train.train(config(), tmp_path, quiet)


def test_a_run_leases_all_of_its_gpus_or_none(monkeypatch):
    monkeypatch.setenv(environment.PER_RUN, "2")
    with devices.lease():
        assert os.environ[devices.VISIBLE] == "GPU-aaaaaaaa,GPU-bbbbbbbb"
        os.environ.pop(devices.VISIBLE)

        def stop(line):
            assert line.startswith("2 GPUs are not free (0: process")
            assert devices.locks.holder(devices.slots()[2].path) is None  # not held in vain
            raise TimeoutError

        with pytest.raises(TimeoutError), devices.lease(say=stop):
            pass
