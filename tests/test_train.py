"""The loop: what each step may change, the same numbers after an interruption, honest endings."""

import csv
import errno
import json
import shutil
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from fagan import data, evaluate, interpret, locks, train
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.records import RUNNER_LOCK
from fagan.train import checkpoint, loop

TINY = {
    "architecture": "F C+A | C F+A",
    "resolution": 16,
    "width": 0.0625,
    "squeeze": 4,
    "latent_size": 16,
    "batch_size": 4,
    "images": 48,
    "steps": 9,
    "log_every": 2,
    "eval_every": 4,
    "checkpoint_every": 3,
    "n_track": 16,
    "n_intervene": 16,
    "n_fake": 24,
    "n_real": 32,
    "lr_g": 1e-2,
    "ema": 0.9,
    "device": "cpu",
}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def config(**changes):
    return RunConfig.from_params(TINY | changes)


def quiet(_):
    pass


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def real_images(seed=0):
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return images * 2 - 1


@pytest.mark.parametrize("loss", ["hinge", "relativistic-hinge"])
def test_each_step_changes_its_own_network_only(loss):
    state = train.start(config(loss=loss), CPU)
    g, d = weights(state.generator), weights(state.discriminator)
    train.d_step(state, real_images())
    assert torch.equal(weights(state.generator), g)
    assert all(p.grad is None for p in state.generator.parameters())  # the fakes are detached
    assert not torch.equal(weights(state.discriminator), d)
    d = weights(state.discriminator)
    for p in state.discriminator.parameters():
        p.grad = None
    train.g_step(state, real_images())
    assert torch.equal(weights(state.discriminator), d)
    assert not torch.equal(weights(state.generator), g)
    # frozen while it passed gradients on, and thawed afterwards
    assert all(p.grad is None and p.requires_grad for p in state.discriminator.parameters())


def test_only_relativistic_losses_look_at_the_real_batch_in_the_generator_step():
    for loss, looks in (("hinge", False), ("relativistic", True)):
        after = []
        for seed in (0, 1):
            state = train.start(config(loss=loss), CPU)
            train.d_step(state, real_images())
            train.g_step(state, real_images(seed))
            after.append(weights(state.generator))
        assert torch.equal(*after) != looks


def test_two_time_scales_and_no_first_moment():
    state = train.start(config(lr_g=1e-4, lr_d=4e-4), CPU)
    g, d = weights(state.generator), weights(state.discriminator)
    train.d_step(state, real_images())
    train.g_step(state, real_images())
    # Adam's first step moves every weight that has a gradient by its learning rate
    assert (weights(state.generator) - g).abs().max() == pytest.approx(1e-4, rel=1e-2)
    assert (weights(state.discriminator) - d).abs().max() == pytest.approx(4e-4, rel=1e-2)


def test_the_average_forgets_its_random_start_faster_than_its_horizon():
    state = train.start(config(ema=0.15), CPU)
    expected = weights(state.average)
    batches = data.Batches(torch.zeros(8, 3, 16, 16, dtype=torch.uint8), 4, 0)
    for decay in (1 / 10, 0.15, 0.15):  # step / (step + 9), where that is below ema
        train.step_once(state, batches)
        expected = decay * expected + (1 - decay) * weights(state.generator)
        assert torch.allclose(weights(state.average), expected, atol=1e-6)
    for ours, theirs in zip(state.average.buffers(), state.generator.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_latents_are_of_the_runs_own_seed():
    draws = [train.start(config(seed=seed), CPU).draw() for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_n_dis_takes_as_many_batches():
    seen = []
    batches = SimpleNamespace(at=lambda step: seen.append(step) or real_images())
    state = train.start(config(n_dis=3), CPU)
    train.step_once(state, batches)
    train.step_once(state, batches)
    assert seen == [0, 1, 2, 3, 4, 5]
    assert (state.step, state.images_seen) == (2, 2 * 3 * 4)


def run_files(folder):
    """All that must be equal: not clock readings, the environment, checkpoints and locks."""
    own = ("timing.csv", "env.json")
    files = [p for p in folder.rglob("*") if p.is_file() and p.name not in own]
    kept = [p for p in files if ".lock" not in p.name and p.suffix != ".pt"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run under the runner: .folder, .metrics."""
    folder = tmp_path_factory.mktemp("whole")
    with locks.lock(folder / RUNNER_LOCK):
        return SimpleNamespace(folder=folder, metrics=train.train(config(), folder, quiet))


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The folder of the same run, with a row for every step."""
    folder = tmp_path_factory.mktemp("watched")
    train.train(config(eval_every=3, log_every=1, checkpoint_every=1), folder, quiet)
    return folder


class Killed(BaseException):
    pass


def die_after(step, folder):
    """Train until `step` is done, and be killed before it is recorded."""
    step_once = loop.step_once

    def dying(state, batches):
        step_once(state, batches)
        if state.step == step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop, "step_once", dying)
        train.train(config(), folder, quiet)


@pytest.fixture(scope="module")
def killed_at_7(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    die_after(7, folder)
    return folder


@pytest.fixture
def killed(killed_at_7, tmp_path):
    """A run that was killed after step 7: its checkpoints are of the steps 6 and 3."""
    return shutil.copytree(killed_at_7, tmp_path / "killed")


@pytest.mark.parametrize(("at", "from_step"), [(5, 3), (9, 6)])
def test_an_interrupted_run_ends_with_the_same_bytes(whole, tmp_path, at, from_step):
    die_after(at, tmp_path)
    said = []
    train.train(config(), tmp_path, said.append)
    assert f"continuing at step {from_step}" in said
    assert run_files(tmp_path) == run_files(whole.folder)


@pytest.mark.parametrize(
    ("harm", "damaged", "from_step"), [("flipped", 1, 3), ("gone", 0, 3), ("both cut short", 2, 0)]
)
def test_a_damaged_checkpoint_is_seen_and_the_one_before_used(
    whole, killed, harm, damaged, from_step
):
    path, previous = killed / "checkpoint.pt", killed / "previous-checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "gone":
        path.unlink()  # killed between the two renames of a save
    elif harm == "flipped":
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2])
        previous.write_bytes(b"")
    said = []
    train.train(config(), killed, said.append)
    assert sum("is damaged" in line for line in said) == damaged
    went_on = [f"continuing at step {from_step}"] if from_step else []
    assert [line for line in said if "continuing" in line] == went_on
    assert run_files(killed) == run_files(whole.folder)
    assert not list(killed.glob("*checkpoint*"))


def test_a_damaged_checkpoint_never_takes_the_place_of_a_whole_one(killed, monkeypatch):
    (killed / "checkpoint.pt").write_bytes(b"x")

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "replacing", full_disk)
        with pytest.raises(UserError, match="no space left"):
            train.train(config(), killed, quiet)  # goes on from 3, and cannot save at 6
    said = []
    train.train(config(), killed, said.append)
    assert "continuing at step 3" in said


def test_a_run_goes_on_with_its_own_images_and_its_clock(killed):
    env = json.loads((killed / "env.json").read_text())
    (killed / "env.json").write_text(json.dumps(env | {"data_checksum": "0123456789ab"}))
    with pytest.raises(UserError, match=f"0123456789ab, now .*{env['data_checksum']}"):
        train.train(config(), killed, quiet)
    (killed / "env.json").write_text(json.dumps(env))
    path = killed / "timing.csv"
    head, *lines = path.read_text().splitlines()
    late = [",".join([step, f"{100 * int(step)}", rate]) for step, _, rate in csv.reader(lines)]
    path.write_text("\n".join([head, *late]) + "\n")
    train.train(config(), killed, quiet)
    (again,) = json.loads((killed / "env.json").read_text())["resumed"]
    assert again["step"] == 6 and again["device"] == "cpu" and "fp32_matmul" in again
    seconds = {int(row["step"]): float(row["seconds"]) for row in rows(path)}
    assert seconds[2] == 200 and seconds[6] == 600 and 600 < seconds[8] < seconds[9] < 660


def test_a_training_whose_notebook_fails_is_not_lost(whole, tmp_path):
    """Under the runner the checkpoint stays; Snakemake takes the failed job's metrics.json away."""
    folder = shutil.copytree(whole.folder, tmp_path / "copy")
    (folder / "metrics.json").unlink()
    said = []
    train.train(config(), folder, said.append)
    assert "continuing at step 9" in said
    assert run_files(folder) == run_files(whole.folder)


def test_records_of_a_run(whole):
    folder, metrics = whole.folder, whole.metrics
    history = rows(folder / "history.csv")
    assert [int(r["step"]) for r in history] == [0, 2, 4, 6, 8, 9]
    assert [r["step"] for r in history if r["fd_lite0"]] == ["0", "4", "8", "9"]
    assert all(r["loss_d"] for r in history[1:]) and not history[0]["loss_d"]
    assert int(history[-1]["images_seen"]) == metrics["images_seen"] == 9 * 4
    assert metrics["status"] == "done" and metrics["n_fake"] == 24 and metrics["n_real"] == 32
    assert {"fd_lite0", "kid_lite0", "coherence_eyes", "signal_outfit"} <= set(metrics)
    env = json.loads((folder / "env.json").read_text())
    assert env["device"] == "cpu" and env["data_name"] == "faces" and env["data_checksum"]
    names = sorted(p.name for p in (folder / "samples").iterdir())
    assert names == [f"step_{s:07d}.png" for s in (0, 4, 8, 9)]


def test_records_of_its_layers(whole):
    gates = rows(whole.folder / "alpha.csv")
    assert {(r["network"], r["layer"]) for r in gates} == {
        ("generator", "full 4x4"),
        ("generator", "self 8x8"),
        ("discriminator", "full 4x4"),
        ("discriminator", "self 4x4"),
    }
    first, later = ([r for r in gates if (r["step"] == "0") is at_0] for at_0 in (True, False))
    assert all(r["gradient"] == "" and float(r["alpha"]) == 0 for r in first)
    assert all(r["gradient"] and 0 < float(r["attention_share"]) < 1 for r in later)
    assert any(abs(float(r["alpha"])) > 1e-3 for r in later if r["step"] == "9")
    norms = rows(whole.folder / "spectral.csv")
    assert {row["step"] for row in norms} == {"0", "2", "4", "6", "8", "9"}
    # the convolution path of every layer is under the exact spectral norm
    normed = [r for r in norms if r["layer"].endswith(".convolution")]
    assert {r["network"] for r in normed} == {"generator", "discriminator"}
    assert all(0.5 < float(r["spectral_norm"]) < 1.5 for r in normed)


def test_how_often_one_looks_never_changes_training(whole, watched):
    for name in ("generator.safetensors", "discriminator.safetensors"):
        assert (watched / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_row_holds_the_means_of_the_steps_since_the_row_before(whole, watched):
    steps = rows(watched / "history.csv")
    for before, row in pairwise(rows(whole.folder / "history.csv")):
        between = steps[int(before["step"]) + 1 : int(row["step"]) + 1]
        for name in ("loss_d", "loss_g", "d_real", "d_fake"):
            mean = sum(float(step[name]) for step in between) / len(between)
            assert float(row[name]) == pytest.approx(mean, rel=1e-5)


def test_a_row_holds_the_loss_and_the_mean_logits_of_its_step(watched):
    _, first, *_ = rows(watched / "history.csv")
    loss, on_real, on_fake = (float(first[name]) for name in ("loss_d", "d_real", "d_fake"))
    # the hinge of logits between -1 and 1, as fresh ones are
    assert loss == pytest.approx(2 - on_real + on_fake, abs=1e-5) and abs(on_real - on_fake) > 1e-4


def test_interventions_are_those_of_the_saved_weights(whole):
    changed = rows(whole.folder / "interventions.csv")
    assert changed[0]["intervention"] == "as trained" and float(changed[0]["change"]) == 0
    assert {r["n_fake"] for r in changed} == {"16"}
    generator = train.load_generator(config(), whole.folder / "generator.safetensors")
    extractor = evaluate.lite0()
    reference = evaluate.reference(data.load(config(), "reference"), 32, extractor)
    with interpret.force_alpha(generator, 0.0):
        images = evaluate.sample(generator, 16, 16, train.EVALUATION_SEED)
    expected = evaluate.score(images, reference, extractor)["fd_lite0"]
    row = next(r for r in changed if (r["layer"], r["intervention"]) == ("all", "alpha = 0"))
    assert float(row["fd"]) == pytest.approx(expected, rel=1e-9)


def test_a_checkpoint_of_another_configuration_is_not_taken(tmp_path):
    paths = tmp_path / "checkpoint.pt", tmp_path / "previous.pt"
    state = train.start(config(), CPU)
    state.step = 5
    train.save(state, paths)
    other = train.start(config(lr_g=1e-3), CPU)
    assert not train.restore(other, paths) and other.step == 0
    assert train.restore(train.start(config(), CPU), paths)


def test_a_finished_run_is_left_alone_and_another_config_refused(whole):
    folder, before = whole.folder, run_files(whole.folder)
    assert train.train(config(), folder, quiet) == whole.metrics
    with pytest.raises(UserError, match="recorded with steps=9, now steps=10"):
        train.train(config(steps=10), folder, quiet)
    assert run_files(folder) == before


def test_saved_weights_draw_the_last_sample_grid(whole):
    generator = train.load_generator(config(), whole.folder / "generator.safetensors")
    assert not generator.training
    images = evaluate.sample(generator, 64, 16, train.EVALUATION_SEED).permute(0, 2, 3, 1).numpy()
    with Image.open(whole.folder / "samples" / "step_0000009.png") as file:
        grid = np.asarray(file)
    assert (grid[:16, :16] == images[0]).all() and (grid[-16:, -16:] == images[63]).all()


@pytest.mark.parametrize("broken", ["loss", "images"])
def test_a_diverging_run_says_when(tmp_path, monkeypatch, broken):
    step_once = loop.step_once

    def diverging(state, batches):
        step_once(state, batches)
        if state.step == 3:
            values = state.sums if broken == "loss" else state.average.output.bias.data
            values[1] = float("nan")

    monkeypatch.setattr(loop, "step_once", diverging)
    metrics = train.train(config(ema=0.999), tmp_path, quiet)
    assert metrics["status"] == "diverged" and metrics["step"] == 4
    assert "fd_lite0" not in metrics
    assert ("loss_g=nan" if broken == "loss" else "NaN or infinity") in metrics["reason"]
    assert not (tmp_path / "generator.safetensors").exists()


def test_bf16_trains_in_bf16_and_keeps_float32_weights():
    state, seen = train.start(config(precision="bf16"), CPU), []
    state.discriminator.output.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    loss, *_ = train.d_step(state, real_images())
    assert set(seen) == {torch.bfloat16} and loss.dtype == torch.float32
    assert weights(state.discriminator).dtype == torch.float32


def test_threads_are_set_for_the_run_and_put_back():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), train.threads(before + 1):
        assert torch.get_num_threads() == before + 1
        _ = 1 / 0
    assert torch.get_num_threads() == before


def test_a_device_that_is_not_there_is_named():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UserError, match="device=cuda, but PyTorch sees no CUDA"):
        train.pick_device(config(device="cuda"))
