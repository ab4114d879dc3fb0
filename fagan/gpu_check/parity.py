"""What a device computes, beside the truth: layers, losses, steps, and bfloat16 beside float32.

Each check takes (device, quick) and returns rows of (what, value, limit, ok). The truth is the
plain computation (`exact`) in float64 on the CPU; everything else is held against it by the largest
difference of any number, as a share of the largest number of its tensor.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fagan import train
from fagan.architectures import ARCHITECTURES, MATCHED
from fagan.config import RunConfig
from fagan.evaluate.features import full_precision
from fagan.layers import FullAttention2d, Gated, SelfAttention2d
from fagan.losses import LOSSES

CPU = torch.device("cpu")
ALL = (*ARCHITECTURES, *MATCHED)
NARROW = {"width": 0.125, "squeeze": 4, "batch_size": 4, "latent_size": 32}
# how far float32 may be from the truth: this often as far as the CPU's own float32, and a little
MARGIN, LEAST = 10, 1e-6
BF16_LIMIT = 0.1  # 1 - cosine of the whole gradients


class Row(NamedTuple):
    """One thing checked. `value` must be at most `limit`; NaN limits nothing, and is measured."""

    what: str
    value: float
    limit: float
    ok: bool
    note: str = ""


def below(what: str, value: float, limit: float, note: str = "") -> Row:
    """A row that is well where the value is at most the limit; a NaN never is."""
    return Row(what, float(value), float(limit), bool(value <= limit), note)


def measured(what: str, value: float, note: str = "") -> Row:
    """A row without a limit."""
    return Row(what, float(value), float("nan"), True, note)


def apart(found: list[Tensor], true: list[Tensor]) -> float:
    """The largest difference of two lists of tensors, relative to the largest number of its tensor.

    A tensor of nothing but rounding (the gradient of a bias that a softmax takes out again) is held
    against a hundredth of the largest number of all.
    """
    found, true = ([x.detach().cpu().double() for x in xs] for xs in (found, true))
    most = torch.stack([x.abs().max() for x in true])
    differences = torch.stack([(a - b).abs().max() for a, b in zip(found, true, strict=True)])
    return float((differences / most.clamp(min=max(most.max() / 100, 1e-30))).max())


def parity(
    what: str, compute: Callable[..., list[Tensor]], device: torch.device, limit: float = 1e-9
) -> list[Row]:
    """compute(device, dtype, exact) on the device, against the truth, in float64 and float32."""
    true = compute(CPU, torch.float64, True)
    own = apart(compute(CPU, torch.float32, True), true)
    with full_precision(device.type):  # cuDNN's default is TF32, of 10 bits
        double, single = (
            apart(compute(device, dtype, False), true) for dtype in (torch.float64, torch.float32)
        )
    return [
        below(f"{what}, float64", double, limit),
        below(f"{what}, float32", single, MARGIN * own + LEAST),
    ]


# (layer, shape of its input); above 256 positions a CPU goes image by image
LAYERS = {
    "full attention 64 to 32": (partial(FullAttention2d, 3, 8, 4, 2, 1, squeeze=1), (2, 3, 64, 64)),
    "full attention 8 to 16, transposed": (
        partial(FullAttention2d, 8, 16, 4, 2, 1, transposed=True, squeeze=4),
        (4, 8, 8, 8),
    ),
    "full attention 20x17, two heads": (
        partial(FullAttention2d, 16, 8, 3, 1, 1, squeeze=4, heads=2),
        (2, 16, 20, 17),
    ),
    "self-attention 20x17": (partial(SelfAttention2d, 16, squeeze=4), (2, 16, 20, 17)),
    "self-attention 32x32, google": (
        partial(SelfAttention2d, 16, squeeze=4, variant="google"),
        (2, 16, 32, 32),
    ),
}


def layer_parity(device: torch.device, quick: bool) -> list[Row]:
    """Outputs and all gradients of both layers, alpha 0.4."""
    return [
        row
        for what, (make, shape) in LAYERS.items()
        for row in parity(what, partial(_layer, make, shape), device)
    ]


def _layer(make, shape, device, dtype, exact) -> list[Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer, x = make(exact=exact, alpha_init=0.4), torch.randn(shape)
    layer = layer.to(device, dtype, memory_format=torch.channels_last)
    x = x.to(device, dtype, memory_format=torch.channels_last).requires_grad_()
    out = layer(x)
    # every output counts for another amount
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    (out * weights).sum().backward()
    return [out, x.grad, *(p.grad for p in layer.parameters())]


def loss_parity(device: torch.device, quick: bool) -> list[Row]:
    """Both sides of every loss and their gradients by the logits."""
    return [row for name in LOSSES for row in parity(f"loss {name}", partial(_loss, name), device)]


def _loss(name, device, dtype, exact) -> list[Tensor]:
    found = []
    for side in (LOSSES[name].discriminator, LOSSES[name].generator):
        draws = torch.Generator().manual_seed(0)
        logits = [torch.randn(64, generator=draws).to(device, dtype) for _ in range(2)]
        loss = side(*(x.requires_grad_() for x in logits))
        loss.backward()
        found += [loss, *(x.grad for x in logits if x.grad is not None)]
    return found


def step_parity(device: torch.device, quick: bool) -> list[Row]:
    """Losses and all gradients of a step of every architecture at 64 pixels, gates at 0.4."""
    # the losses take logits as float32, in float64 too
    return [
        row for name in ALL for row in parity(f"step {name}", partial(_step, name), device, 1e-5)
    ]


def _step(architecture, device, dtype, exact, precision="fp32") -> list[Tensor]:
    config = RunConfig.from_params(
        NARROW | {"architecture": architecture, "exact": exact, "precision": precision}
    )
    state = train.start(config, device)
    for network in (state.generator, state.discriminator):
        network.to(dtype)
        for layer in network.modules():
            if isinstance(layer, Gated):
                nn.init.constant_(layer.alpha, 0.4)
    for optimizer in (state.optimizer_g, state.optimizer_d):
        # Adam divides each gradient by its size: with its usual eps it would make whole steps of
        # gradients that are nothing but rounding
        optimizer.param_groups[0]["eps"] = 1e-2
    draws = torch.Generator().manual_seed(0)
    state.draw = lambda _: torch.randn(4, 32, generator=draws).to(device, dtype)
    real = (torch.rand(4, 3, 64, 64, generator=draws) * 2 - 1).to(device, dtype)
    loss_d, *_ = train.d_step(state, real)
    loss_g = train.g_step(state, real)
    gradients = [p.grad for n in (state.discriminator, state.generator) for p in n.parameters()]
    return [loss_d, loss_g, *gradients]


def bf16_against_fp32(device: torch.device, quick: bool) -> list[Row]:
    """Do the gradients of a step in bfloat16 point where those in float32 do?"""
    rows = []
    for name in ALL[:2] if quick else ALL:
        half, single = (
            torch.cat([x.detach().flatten().double() for x in found])
            for found in (_step(name, device, torch.float32, False, p) for p in ("bf16", "fp32"))
        )
        cosine = nn.functional.cosine_similarity(half, single, dim=0)
        rows.append(below(f"bf16 step {name}, 1 - cosine", 1 - cosine, BF16_LIMIT))
    return rows
