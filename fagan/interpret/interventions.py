"""The same trained network with its gates set by hand: what does the attention do for the score?

A context manager each; on exit, and on an exception too, the network holds its own tensors again,
the very same objects, so neither an optimizer nor a graph waiting for its backward pass notices.
Where an intervention has no meaning for a layer, asking for that layer is a UserError, and asking
for all layers leaves it as it is.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fagan.errors import UserError
from fagan.evaluate import NotFinite, sample
from fagan.interpret.layers import Choice, choose
from fagan.layers import FullAttention2d, Gated


@contextmanager
def force_alpha(network: nn.Module, value: float, layers: Choice = None) -> Iterator[None]:
    """Every chosen layer's alpha is `value`: 0 leaves a FullAttention2d its convolution alone, 1
    its attention alone; 0 takes a SelfAttention2d out.

    Layers with merge "concat" have no alpha.
    """
    chosen = _able(network, layers, _has_alpha, "has no alpha: its branches are concatenated")
    with _replacing(
        [(layer, "alpha", torch.full_like(layer.alpha, value)) for layer in chosen.values()]
    ):
        yield


@contextmanager
def swap_branches(network: nn.Module, layers: Choice = None) -> Iterator[None]:
    """Attention takes the convolution's weight and the convolution the attention's.

    FullAttention2d: alpha becomes 1 - alpha; with merge "concat" the halves of the joining 1x1
    convolution change places. A SelfAttention2d has no second branch to swap with.
    """
    chosen = _able(network, layers, _has_two_branches, "has one branch only: nothing to swap")
    with _replacing([_swapped(layer) for layer in chosen.values()]):
        yield


def interventions(
    generator: nn.Module,
    score: Callable[[Tensor], float],
    *,
    n: int,
    latent_size: int,
    seed: int,
    values: Sequence[float] = (0.0, 1.0),
    layers: Choice = None,
    batch: int = 64,
    device: str = "cpu",
) -> list[dict]:
    """Change in a score for each layer and for all at once, all from the same n latents.

    score: images, uint8 (n, 3, R, R) on the CPU -> float; a Fréchet distance, lower is better.
    values: what alpha is forced to, one intervention each; the last is the swap.
    layers: those taken one by one, and together as "all"; all attention layers by default.

    Returns rows {"layer", "intervention", "fd", "change"}. The first, ("all", "as trained"), is the
    network as it is; change = fd - its fd. Interventions: "alpha = 0", "alpha = 1", "swapped"; one
    that a layer cannot have has no row. fd is NaN where the images hold NaN or infinity.

    Batch norm keeps the running statistics of the trained network, which an intervention upstream
    no longer fits: a large change says that the layer is used, not that a network trained without
    it would be as much worse.
    """
    chosen = choose(generator, layers)

    def scored() -> float:
        try:
            return float(score(sample(generator, n, latent_size, seed, batch, device)))
        except NotFinite:
            return math.nan

    kinds = [(f"alpha = {value:g}", _has_alpha, _forcing(value)) for value in values]
    kinds.append(("swapped", _has_two_branches, swap_branches))
    trained = scored()
    found = [("all", "as trained", trained)]
    for name, able, intervene in kinds:
        labels = [label for label, layer in chosen.items() if able(layer)]
        touched = {label: [label] for label in labels}
        if labels:
            touched["all"] = labels
        for row, touch in touched.items():
            with intervene(generator, layers=touch):
                found.append((row, name, scored()))
    return [
        {"layer": layer, "intervention": name, "fd": fd, "change": fd - trained}
        for layer, name, fd in found
    ]


def _forcing(value: float):
    return lambda network, layers: force_alpha(network, value, layers)


def _has_alpha(layer: Gated) -> bool:
    return hasattr(layer, "alpha")


def _has_two_branches(layer: Gated) -> bool:
    return isinstance(layer, FullAttention2d)


def _able(
    network: nn.Module, layers: Choice, able: Callable[[Gated], bool], reason: str
) -> dict[str, Gated]:
    chosen = choose(network, layers)
    for name, layer in chosen.items():
        if layers is not None and not able(layer):
            raise UserError(f"layer {name!r} {reason}")
    return {name: layer for name, layer in chosen.items() if able(layer)}


def _swapped(layer: FullAttention2d) -> tuple[nn.Module, str, Tensor]:
    if layer.merge == "concat":
        attention, convolution = layer.join.weight.detach().chunk(2, dim=1)
        return layer.join, "weight", torch.cat((convolution, attention), dim=1)
    return layer, "alpha", 1 - layer.alpha.detach()


@contextmanager
def _replacing(replacements: list[tuple[nn.Module, str, Tensor]]) -> Iterator[None]:
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
