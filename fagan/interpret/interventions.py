"""The same trained network with its gates set by hand: what does the attention do for the score?

A context manager each; on exit, and on an exception too, the network holds its own tensors again,
the very same objects, so neither an optimizer nor a graph waiting for its backward pass notices.
Layers for which an intervention has no meaning are left alone; asked for such a layer by name, it
is a UserError.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from fagan.conditioning import labelled
from fagan.errors import UserError, unknown
from fagan.evaluate import NotFinite, evaluating, sample
from fagan.evaluate.sampling import draw_latents
from fagan.interpret.recording import gated_layers
from fagan.layers import FullAttention2d, Gated


@contextmanager
def force_alpha(network: nn.Module, value: float, layer: str | None = None) -> Iterator[None]:
    """Alpha is `value` in one layer, by its label, or in all: 0 leaves a FullAttention2d its
    convolution alone, 1 its attention alone; 0 takes a SelfAttention2d out.

    Layers with merge "concat" have no alpha.
    """
    chosen = _able(network, layer, _has_alpha, "has no alpha: its branches are concatenated")
    with replacing([(gated, "alpha", torch.full_like(gated.alpha, value)) for gated in chosen]):
        yield


@contextmanager
def swap_branches(network: nn.Module, layer: str | None = None) -> Iterator[None]:
    """Attention takes the convolution's weight and the convolution the attention's.

    FullAttention2d: alpha becomes 1 - alpha; with merge "concat" the halves of the joining 1x1
    convolution change places. A SelfAttention2d has no second branch to swap with.
    """
    chosen = _able(network, layer, _has_two_branches, "has one branch only: nothing to swap")
    with replacing([_swapped(gated) for gated in chosen]):
        yield


@contextmanager
def refitted(network: nn.Module, inputs: Tensor, batch: int = 64) -> Iterator[None]:
    """Batch norm with the statistics that the network has now: means over the batches of one pass.

    Closing a gate changes what the later layers are given; with the statistics of training a score
    shows that mismatch beside the loss of the gate. Modes and buffers are put back.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    with evaluating(network):
        for norm in norms:
            norm.reset_running_stats()
            norm.train().momentum = None  # a plain mean of all batches
        try:
            with torch.no_grad():
                for some in inputs.split(batch):
                    network(some)
            network.eval()
            yield
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


def interventions(
    generator: nn.Module,
    score: Callable[[Tensor], Mapping[str, float]],
    *,
    n: int,
    latent_size: int,
    seed: int,
    batch: int = 64,
    device: str = "cpu",
) -> list[dict]:
    """Change in a score for each layer and for all at once, all from the same n latents.

    score: images, uint8 (n, 3, R, R) on the CPU -> {"fd": a Fréchet distance, lower is better, and
    whatever else is scored}.

    Returns rows {"layer", "intervention", "fd", "change", ...}. The first, ("all", "as trained"),
    is the network as it is; change = fd - its fd. Interventions: "alpha = 0", "alpha = 1" and
    "swapped", and "as trained" and "alpha = 0" once more with batch norm `refitted` on n other
    latents; one that a layer cannot have has no row. fd is NaN where the images hold NaN or
    infinity.

    Unless it is refitted, batch norm keeps the statistics of the trained network, which an
    intervention upstream no longer fits. Either way a large change says that the layer is used, not
    that a network trained without it would be as much worse.
    """
    others = labelled(generator, draw_latents(n, latent_size, seed + 1)).to(device)

    def scored() -> dict[str, float]:
        try:
            return dict(score(sample(generator, n, latent_size, seed, batch, device)))
        except NotFinite:
            return {"fd": math.nan}

    @contextmanager
    def closed_and_refitted(layer: str | None) -> Iterator[None]:
        with force_alpha(generator, 0.0, layer), refitted(generator, others, batch):
            yield

    kinds = (
        ("alpha = 0", _has_alpha, partial(force_alpha, generator, 0.0)),
        ("alpha = 0, refitted", _has_alpha, closed_and_refitted),
        ("alpha = 1", _has_alpha, partial(force_alpha, generator, 1.0)),
        ("swapped", _has_two_branches, partial(swap_branches, generator)),
    )
    trained = scored()
    found = [("all", "as trained", trained)]
    if any(_has_alpha(layer) for layer in gated_layers(generator).values()):
        with refitted(generator, others, batch):
            found.append(("all", "as trained, refitted", scored()))
    for name, able, intervene in kinds:
        labels = [label for label, layer in gated_layers(generator).items() if able(layer)]
        for label in [*labels, *(["all"] if labels else [])]:
            with intervene(layer=None if label == "all" else label):
                found.append((label, name, scored()))
    return [
        {"layer": layer, "intervention": name, **scores, "change": scores["fd"] - trained["fd"]}
        for layer, name, scores in found
    ]


def _has_alpha(layer: Gated) -> bool:
    return hasattr(layer, "alpha")


def _has_two_branches(layer: Gated) -> bool:
    return isinstance(layer, FullAttention2d)


def _able(
    network: nn.Module, name: str | None, able: Callable[[Gated], bool], reason: str
) -> list[Gated]:
    layers = gated_layers(network)
    if name is None:
        return [layer for layer in layers.values() if able(layer)]
    if name not in layers:
        raise unknown("layer", name, layers)
    if not able(layers[name]):
        raise UserError(f"layer {name!r} {reason}")
    return [layers[name]]


def _swapped(layer: FullAttention2d) -> tuple[nn.Module, str, Tensor]:
    if layer.merge == "concat":
        attention, convolution = layer.join.weight.detach().chunk(2, dim=1)
        return layer.join, "weight", torch.cat((convolution, attention), dim=1)
    return layer, "alpha", 1 - layer.alpha.detach()


@contextmanager
def replacing(replacements: list[tuple[nn.Module, str, Tensor]]) -> Iterator[None]:
    """Put other tensors in the place of parameters or buffers, and the old objects back."""
    before = [(module, name, getattr(module, name)) for module, name, _ in replacements]
    try:
        for module, name, value in replacements:
            if isinstance(getattr(module, name), nn.Parameter):
                value = nn.Parameter(value, requires_grad=False)
            setattr(module, name, value)
        yield
    finally:
        for module, name, tensor in before:
            setattr(module, name, tensor)
