"""Every fast path of training against its plain one."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from package import open_gates
from PIL import Image

from fagan import attention, evaluate, train
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.train import arithmetic

CPU = torch.device("cpu")
# 32 pixels, so that one layer (the output's, 32x32) is above CHUNK_ABOVE; both kinds of layer
SMALL = {
    "architecture": "F C+A C+A, output F | F C+A F+A",
    "resolution": 32,
    "width": 0.0625,
    "squeeze": 4,
    "latent_size": 16,
    "batch_size": 4,
    "device": "cpu",
}


def config(**changes):
    return RunConfig.from_params(SMALL | changes)


def images(n, resolution=32):
    return torch.rand(n, 3, resolution, resolution, generator=torch.Generator().manual_seed(3))


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
        losses = [train.d_step(state, images(4).double())[0]]
        found = gradients(state, "discriminator")
        losses.append(train.g_step(state, images(4).double()))
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


def test_exact_is_recorded_and_refuses_bfloat16():
    assert config(exact=True).identity()["exact"] is True
    assert config(exact=True).hash != config().hash
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


def test_onednn_is_tried_with_what_it_may_do_here():
    """Where the probe says exact, products it has not tried are as near as the default's."""
    arithmetic.onednn_is_exact.cache_clear()
    before = torch.backends.mkldnn.matmul.fp32_precision
    if not train.onednn_is_exact():
        pytest.skip("oneDNN rounds to bfloat16 on this processor, or is not there")
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    a, b = torch.randn(300, 200), torch.randn(200, 100)
    true = a.double() @ b.double()
    plain = (a @ b - true).abs().max()
    with train.fast_matmul(config(), CPU):
        assert (a @ b - true).abs().max() < 3 * plain


def test_the_last_images_are_drawn_once_for_both_scores(tmp_path, monkeypatch):
    monkeypatch.setenv("FAGAN_CACHE", str(tmp_path / "cache"))
    drawn, sample = [], evaluate.sample

    def counted(network, n, *args, **options):
        drawn.append(n)
        return sample(network, n, *args, **options)

    monkeypatch.setattr(evaluate, "sample", counted)
    small = {"architecture": "F C+A | C F+A", "resolution": 16, "steps": 2, "eval_every": 2}
    small |= {"n_track": 66, "n_fake": 80, "n_real": 64, "n_intervene": 0, "images": 64}
    metrics = train.train(config(**small), tmp_path / "run", lambda line: None)
    assert drawn == [66, 80]  # step 0 and the last
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    column = rows[0].split(",").index("fd_lite0")
    tracked = [float(row.split(",")[column]) for row in rows[1:]]
    assert metrics["n_fake"] == 80 and len(tracked) == 2
    # the curve's last point is of its own 66 images, not of the final 80
    assert tracked[-1] != metrics["fd_lite0"]
    assert tracked[-1] == pytest.approx(metrics["fd_lite0"], rel=0.2)


def test_a_grid_that_is_not_full_ends_in_black(tmp_path):
    images = torch.randint(1, 256, (11, 3, 4, 4), dtype=torch.uint8)
    train.save_grid(images, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as file:
        grid = np.asarray(file)
    assert grid.shape == (2 * 4, 8 * 4, 3)
    for i, image in enumerate(images):
        row, column = divmod(i, 8)
        place = grid[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert (place == image.permute(1, 2, 0).numpy()).all()
    assert not grid[4:, 3 * 4 :].any()
