"""State dicts of the released package into ours and back.

The author's GAN_GEN_*.pth and GAN_DIS_*.pth (akanimax/fagan) and those of attn_gan_pytorch's SAGAN
sample are nested Sequentials ("model.0.query_conv.weight", "model.4.0.module.weight_bar", ...).
They hold weights before spectral norm and the package's own u and v. Networks built with
`released=True` take all of it and compute the same function; with `released=False` the exact
spectral norm starts from the same weights and finds its u and v anew. (The package's SAGAN ends in
a linear generator and a tanh on the logit, ours in tanh and a linear logit; same weights.)
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fagan.config import UserError
from fagan.errors import reason
from fagan.layers import FullAttention2d, SelfAttention2d
from fagan.models import Discriminator, Generator
from fagan.spectral_norm import ReleasedSpectralNorm

Names = tuple[str, str]


def load_package_file(path: Path | str) -> dict[str, Tensor]:
    """Read a .pth of the package; nothing in it is executed (weights_only=True)."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}") from error
    except Exception as error:  # torch raises a dozen kinds; the file is the user's
        raise UserError(f"{path} is not a plain PyTorch state dict ({reason(error)})") from error
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise UserError(f"{path} holds no state dict of tensors")
    return dict(state)


def from_package(network: Generator | Discriminator, state: Mapping[str, Tensor]) -> None:
    """Load a state dict of the package into one of our networks, in place.

    The network must have the architecture that the state was saved from (`fagan` or `sagan`).
    Raises UserError naming the first key that is missing, left over or of another shape.
    """
    ours = network.state_dict()
    pairs = dict(_pairs(network))
    unused = set(state) - set(pairs.values()) - set(_batch_norm_without_use(network))
    if any(_exactly_normed(network)):
        unused = {name for name in unused if not name.endswith((".weight_u", ".weight_v"))}
    if unused:
        raise UserError(f"the file has {sorted(unused)[0]!r}, which this network does not")
    for name, theirs in pairs.items():
        if theirs not in state:
            raise UserError(f"the file lacks {theirs!r}, which this network needs")
        if state[theirs].shape != ours[name].shape:
            raise UserError(
                f"{theirs!r} has shape {tuple(state[theirs].shape)}, "
                f"this network needs {tuple(ours[name].shape)}; is the width right?"
            )
        ours[name] = state[theirs]
    network.load_state_dict(ours)
    for layer in _exactly_normed(network):
        # the file has no u and v for the exact spectral norm: every reading of the weight in train
        # mode is one power iteration
        training = layer.training
        layer.train()
        for _ in range(50):
            _ = layer.weight
        layer.train(training)


def to_package(network: Generator | Discriminator) -> dict[str, Tensor]:
    """Our `released=True` network as a state dict that the package loads with strict=True."""
    ours = network.state_dict()
    state = {theirs: ours[name].clone() for name, theirs in _pairs(network)}
    if any(_exactly_normed(network)):
        raise UserError("the package's file holds its own u and v: build with released=True")
    return state | _batch_norm_without_use(network)


def _exactly_normed(network: nn.Module) -> Iterator[nn.Module]:
    for layer in network.modules():
        if parametrize.is_parametrized(layer):
            if not isinstance(layer.parametrizations.weight[0], ReleasedSpectralNorm):
                yield layer


def _pairs(network: nn.Module) -> Iterator[Names]:
    """(our key, the package's key) of every tensor that both hold, in the package's order."""
    index = 0
    for name, layer in network.stages.named_children():
        prefix = f"stages.{name}"
        if isinstance(layer, FullAttention2d | SelfAttention2d):
            yield from _attention(layer, prefix, f"model.{index}")
            index += 2  # the package puts an IgnoreAttentionMap after each
        else:
            convolution, *rest = layer
            yield from _convolution(convolution, f"{prefix}.0", f"model.{index}.0")
            if isinstance(rest[0], nn.BatchNorm2d):
                yield from _batch_norm(f"{prefix}.1", f"model.{index}.1")
            index += 1
    yield from _convolution(network.output, "output", f"model.{index}.0")


def _attention(layer: nn.Module, ours: str, theirs: str) -> Iterator[Names]:
    yield f"{ours}.alpha", f"{theirs}.gamma"
    for part in ("query", "key", "value"):
        yield from _convolution(getattr(layer, part), f"{ours}.{part}", f"{theirs}.{part}_conv")
    if isinstance(layer, FullAttention2d):
        yield from _convolution(layer.convolution, f"{ours}.convolution", f"{theirs}.residual_conv")
        if isinstance(layer.batch_norm, nn.BatchNorm2d):
            yield from _batch_norm(f"{ours}.batch_norm", f"{theirs}.batch_norm")


def _convolution(layer: nn.Module, ours: str, theirs: str) -> Iterator[Names]:
    if not parametrize.is_parametrized(layer):
        yield f"{ours}.weight", f"{theirs}.weight"
        yield f"{ours}.bias", f"{theirs}.bias"
        return
    yield f"{ours}.bias", f"{theirs}.module.bias"
    yield f"{ours}.parametrizations.weight.original", f"{theirs}.module.weight_bar"
    if isinstance(layer.parametrizations.weight[0], ReleasedSpectralNorm):
        for vector in "uv":
            yield f"{ours}.parametrizations.weight.0.{vector}", f"{theirs}.module.weight_{vector}"


BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _batch_norm(ours: str, theirs: str) -> Iterator[Names]:
    for tensor in BATCH_NORM:
        yield f"{ours}.{tensor}", f"{theirs}.{tensor}"


def _batch_norm_without_use(network: nn.Module) -> dict[str, Tensor]:
    """The package builds a batch norm in every FullAttention, used or not; ours only where used."""
    state = {}
    index = 0
    for layer in network.stages:
        if isinstance(layer, FullAttention2d) and isinstance(layer.batch_norm, nn.Identity):
            spare = nn.BatchNorm2d(layer.value.out_channels).state_dict()
            state |= {f"model.{index}.batch_norm.{k}": v for k, v in spare.items()}
        index += 2 if isinstance(layer, FullAttention2d | SelfAttention2d) else 1
    return state
