"""`gpu-check`: its CPU half to the end, and each check fails where what it checks is broken."""

import os
import subprocess
import sys

import pandas as pd
import pytest
import torch

from fagan import attention, gpu_check, losses, train
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.gpu_check import checks, parity

CPU = torch.device("cpu")
# what its help names, and what those need; of everything else the machine may have nothing
PRESENT = (
    "fagan torch torchgen functorch numpy PIL pandas rich typer filelock safetensors yaml "
    "typing_extensions sympy mpmath networkx jinja2 markupsafe fsspec dateutil six pytz tzdata "
    "click shellingham pydantic pydantic_core annotated_types typing_inspection "
    "annotated_doc markdown_it mdurl pygments cuda nvidia triton setuptools "
    "packaging _distutils_hack pkg_resources"
)
FEW = ("sagan", "fagan-resnet")  # of all architectures
ALONE = f"""
import sys
known = sys.stdlib_module_names | set({PRESENT.split()!r})
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
class Known:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        found = top in known or top.startswith("_")
        return PathFinder.find_spec(name, path, target) if found else None
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Known()]
from fagan.gpu_check import parity
parity.ALL = {FEW}
from fagan.cli import main
main()
"""


@pytest.mark.slow
def test_its_cpu_half_ends_with_a_table_and_needs_only_what_its_help_names(tmp_path):
    options = "gpu-check --device cpu --quick --results".split()
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *options, tmp_path],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "bench").glob("cpu-*-1-check.csv")
    table = pd.read_csv(path)
    assert list(table.columns) == ["what", "value", "limit", "ok", "note"]
    assert table["ok"].all() and "FAILED" not in done.stdout
    what = set(table["what"])
    assert {f"step {name}, float{bits}" for name in FEW for bits in (32, 64)} <= what
    assert {f"loss {name}, float64" for name in losses.LOSSES} <= what
    assert {f"{name} fp32: ms a step" for name in FEW} <= what
    exact = table.set_index("what")
    assert exact.loc["two equal runs of 6 steps", "value"] == 0
    assert exact.loc["resumed after a checkpoint", "value"] == 0
    # a limit is one, and rounding is there: the plain paths are not compared with themselves
    assert (exact.filter(like="float32", axis=0)["value"] > 0).all()
    assert (path.parent / f"{path.stem}-samples.png").stat().st_size > 1000


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"unknown device 'metal' \(known: cuda, cpu\)"):
        gpu_check.gpu_check("metal")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UserError, match="sees no CUDA device here; --device cpu checks what"):
        gpu_check.gpu_check("cuda")


def failed(rows):
    return [row.what for row in rows if not row.ok]


def test_a_wrong_gradient_of_attention_is_seen(monkeypatch):
    def wrong(q, k, v, heads):
        return attention._plain(q, k + (k - k.detach()), v, heads)  # the key's, twice

    monkeypatch.setitem(attention.WAYS, "chunked", wrong)
    found = failed(parity.layer_parity(CPU, True))
    assert len(found) == 8 and "self-attention 32x32, google, float32" in found


def test_a_loss_that_rounds_or_is_not_a_number_is_seen(monkeypatch):
    calls = []

    def hinge(real, fake, right=losses.LOSSES["hinge"].discriminator):
        calls.append(1)
        # the truth and the CPU's own float32 first, then the device's float64 and float32
        return right(real, fake) * (1 + 1e-4 * (len(calls) > 2))

    broken = losses.LOSSES["hinge"]._replace(discriminator=hinge)
    monkeypatch.setitem(losses.LOSSES, "hinge", broken)
    assert failed(parity.loss_parity(CPU, True)) == ["loss hinge, float64", "loss hinge, float32"]
    for value in (float("nan"), float("inf")):
        assert not parity.below("", parity.apart([torch.tensor([1, value])], [torch.ones(2)]), 1).ok


def test_a_step_of_other_gradients_is_seen(monkeypatch):
    monkeypatch.setattr(parity, "ALL", ("dcgan",))
    g_step = train.g_step

    def other(state, real):
        loss = g_step(state, real)
        if not state.config.exact:
            for parameter in state.generator.parameters():
                parameter.grad *= 1.01
        return loss

    monkeypatch.setattr(train, "g_step", other)
    assert len(failed(parity.step_parity(CPU, True))) == 2


def test_bfloat16_that_points_elsewhere_is_seen(monkeypatch):
    def gradients(name, device, dtype, exact, precision):
        return [torch.tensor([1.0, 1.0 if precision == "bf16" else -0.1])]

    monkeypatch.setattr(parity, "_step", gradients)
    assert len(failed(parity.bf16_against_fp32(CPU, True))) == 2


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setitem(checks.SMOKE, "architecture", "C C C | C C C")


def test_unequal_runs_are_seen_and_their_operator_named(short, monkeypatch):
    step = train.step_once

    def noisy(state, batches):
        step(state, batches)
        state.generator.output.bias.data += 1e-6 * torch.rand(3)

    monkeypatch.setattr(train, "step_once", noisy)
    assert failed(checks.repetition(CPU, True)) == ["two equal runs of 6 steps"]

    def warned(state, batches):
        noisy(state, batches)
        # put_ without accumulation is one of the few that warn on a CPU
        state.sums.clone().put_(torch.tensor([0]), torch.tensor([1.0]))

    monkeypatch.setattr(train, "step_once", warned)
    rows = checks.repetition(CPU, True)
    assert failed(rows) == [] and rows[0].note == "put_" and rows[0].value > 0
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_unequal_resume_is_seen(short, monkeypatch):
    restore = train.restore

    def forgetful(state, paths):
        fresh = train.start(state.config, state.device)
        restore(state, paths)
        state.optimizer_d.load_state_dict(fresh.optimizer_d.state_dict())

    monkeypatch.setattr(train, "restore", forgetful)
    assert failed(checks.repetition(CPU, True)) == ["resumed after a checkpoint"]


def test_two_leases_of_one_device_are_seen(monkeypatch):
    unlocked = "from contextlib import nullcontext\nfrom fagan import locks\n"
    unlocked += "locks.lock = lambda *_, **__: nullcontext()\n"
    monkeypatch.setattr(checks, "_HOLD", unlocked + checks._HOLD)
    assert failed(checks.one_lease(CPU, True)) == ["leases of one device beyond the first"]


def test_samples_that_are_all_alike_are_seen(short, tmp_path, monkeypatch):
    monkeypatch.setattr(
        checks.evaluate, "sample", lambda *_, **__: torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    )
    assert len(failed(checks.samples(CPU, True, tmp_path / "grid.png"))) == 1


def test_a_check_that_raises_is_a_row_and_the_report_fails(tmp_path, monkeypatch, capsys):
    def breaks(device, quick):
        raise RuntimeError("CUDA error: an illegal memory access\nCompile with ...")

    monkeypatch.setattr(checks, "CHECKS", (breaks, parity.loss_parity))
    monkeypatch.setattr(checks, "samples", lambda *_, **__: [])
    assert checks.report(CPU, True, tmp_path) is False
    (path,) = tmp_path.glob("*-check.csv")
    first, *others = pd.read_csv(path).itertuples()
    assert (first.what, first.ok) == ("breaks", False) and all(row.ok for row in others)
    assert first.note == "RuntimeError: CUDA error: an illegal memory access"
    assert "FAILED" in capsys.readouterr().out and len(others) == 2 * len(losses.LOSSES)
    with pytest.raises(gpu_check.typer.Exit) as ended:
        gpu_check.gpu_check("cpu", True, tmp_path)
    assert ended.value.exit_code == 1
