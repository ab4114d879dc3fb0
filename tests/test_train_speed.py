"""Every fast path of training against its plain one."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from package import open_gates
from PIL import Image
from test_train import CPU, TINY, cache, quiet, rows  # noqa: F401

from fagan import attention, evaluate, train
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.train import arithmetic


def config(**changes):
    """At 32 pixels, so that one layer (the output's) is above CHUNK_ABOVE; both kinds of layer."""
    own = {"architecture": "F C+A C+A, output F | F C+A F+A", "resolution": 32}
    return RunConfig.from_params(TINY | own | changes)


def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3)).double()


def gradients(state, name):
    network = getattr(state, name)
    return {f"{name}.{key}": p.grad.clone() for key, p in network.named_parameters()}


@pytest.mark.parametrize(
    ("self_attention", "loss"), [("package", "relativistic-hinge"), ("google", "hinge")]
)
def test_the_fast_paths_take_the_step_of_the_plain_ones(self_attention, loss, monkeypatch):
    ways = {"plain": 0, "chunked": 0}
    for way in ways:
        function = attention.WAYS[way]

        def counted(*args, way=way, function=function):
            ways[way] += 1
            return function(*args)

        monkeypatch.setitem(attention.WAYS, way, counted)

    z = torch.randn(4, 16, generator=torch.Generator().manual_seed(5)).double()
    monkeypatch.setattr(train.State, "draw", lambda *_: z)
    results = []
    for exact in (True, False):
        state = train.start(config(exact=exact, loss=loss, self_attention=self_attention), CPU)
        state.generator.double(), state.discriminator.double()
        for network in (state.generator, state.discriminator):
            open_gates(network)
        losses = [train.d_step(state, images())[0]]
        found = gradients(state, "discriminator")
        losses.append(train.g_step(state, images()))
        results.append((torch.stack(losses), found | gradients(state, "generator")))
        assert bool(ways["chunked"]) is not exact
    (plain_losses, plain), (fast_losses, fast) = results
    # everything is float64 but the logits, which the losses take as float32
    assert (plain_losses - fast_losses).abs().max() < 1e-6
    assert plain.keys() == fast.keys() and len(plain) > 60
    for name, gradient in plain.items():
        assert (gradient - fast[name]).abs().max() < 1e-9 + 1e-6 * gradient.abs().max(), name
    # all but the biases that a softmax or a batch norm takes out again
    flat = {name for name, gradient in plain.items() if gradient.abs().max() < 1e-7}
    assert all(name.endswith("bias") for name in flat)


def test_exact_refuses_bfloat16():
    with pytest.raises(UserError, match="exact=true computes in fp32"):
        config(exact=True, precision="bf16")


def test_adam_takes_torchs_steps_bit_for_bit():
    results = []
    for adam in (torch.optim.Adam, train.optimizer.Adam):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Linear(5, 3))
        x = torch.randn(11, 7)
        optimizer = adam(network.parameters(), 1e-2, (0.0, 0.9), fused=True)
        for _ in range(5):
            optimizer.zero_grad(set_to_none=True)
            network(x).square().mean().backward()
            optimizer.step()
        results.append((optimizer.state_dict(), network.state_dict()))
    (state, weights), (other_state, other_weights) = results
    assert all(torch.equal(weights[k], other_weights[k]) for k in weights)
    assert state["param_groups"] == other_state["param_groups"]
    for i, values in state["state"].items():
        assert all(torch.equal(v, other_state["state"][i][k]) for k, v in values.items())


def test_a_step_and_a_score_import_no_compiler_and_nothing_slow():
    code = """
import sys, torch
from fagan import evaluate, train
from fagan.config import RunConfig
config = RunConfig.from_params(dict(architecture='F C+A | C F+A', resolution=16, width=0.0625,
    squeeze=4, batch_size=4, device='cpu'))
state = train.start(config, torch.device('cpu'))
real = torch.zeros(4, 3, 16, 16)
train.d_step(state, real), train.g_step(state, real)
state.optimizer_g.load_state_dict(state.optimizer_g.state_dict())
images = evaluate.sample(state.average, 4, 128, 0)
evaluate.statistics(evaluate.lite0()(images))
slow = {'torch._dynamo', 'timm', 'torchvision', 'torchmetrics', 'torch_fidelity', 'seaborn'}
sys.exit(', '.join(slow & sys.modules.keys()) or None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_onednn_takes_float32_products_only_where_it_keeps_them(monkeypatch):
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    for exact_here in (True, False):
        monkeypatch.setattr(arithmetic, "onednn_is_exact", lambda answer=exact_here: answer)
        with train.fast_matmul(config(), CPU) as how:
            assert how == ("onednn" if exact_here else "default")
            assert matmul.fp32_precision == ("bf16" if exact_here else before)
        with train.fast_matmul(config(exact=True), CPU) as how:
            assert how == "default" and matmul.fp32_precision == before
        assert matmul.fp32_precision == before


def test_the_last_images_are_drawn_once_for_both_scores(tmp_path, monkeypatch):
    drawn, sample = [], evaluate.sample

    def counted(network, n, *args, **options):
        drawn.append(n)
        return sample(network, n, *args, **options)

    monkeypatch.setattr(evaluate, "sample", counted)
    small = TINY | {"steps": 2, "n_track": 66, "n_fake": 80, "n_real": 64, "n_intervene": 0}
    metrics = train.train(RunConfig.from_params(small), tmp_path, quiet)
    assert drawn == [66, 80]  # step 0 and the last
    last = float(rows(tmp_path / "history.csv")[-1]["fd_lite0"])
    # the curve's last point is of its own 66 images, not of the final 80
    assert metrics["n_fake"] == 80 and last != metrics["fd_lite0"]
    assert last == pytest.approx(metrics["fd_lite0"], rel=0.2)


def test_a_grid_that_is_not_full_ends_in_black(tmp_path):
    images = torch.randint(1, 256, (11, 3, 4, 4), dtype=torch.uint8)
    train.save_grid(images, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as file:
        places = np.asarray(file).reshape(2, 4, 8, 4, 3).swapaxes(1, 2).reshape(16, 4, 4, 3)
    assert (places[:11] == images.permute(0, 2, 3, 1).numpy()).all()
    assert not places[11:].any()
