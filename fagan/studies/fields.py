"""How far the layers of trained networks reach, with and without their attention."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from fagan.data import to_unit
from fagan.evaluate import evaluating
from fagan.interpret import (
    effective_receptive_field,
    field_share,
    field_size,
    force_alpha,
    gated_layers,
    theoretical_receptive_field,
)
from fagan.studies.networks import Networks

FIELDS = (
    "run_id arm seed place layer grid source source_grid attention size share outside theory "
    "map".split()
)


def discriminator_fields(
    runs: Sequence[Networks], real: Tensor | None, draws: int = 4
) -> pd.DataFrame:
    """The receptive field of every layer's middle cell over the image; columns FIELDS.

    real: uint8 (N, 3, R, R), averaged over; no rows where it is None. place: 1, 2, ... in the order
    of the forward pass, the last is the logit. grid: cells a side of the layer's output. attention:
    "as trained", or "alpha = 0", every gate closed, in networks that have one. size (pixels a side)
    and share of the image: see `interpret.field_size`. outside: the share of the influence that
    comes from where the network with closed gates has none, so by attention alone; NaN where a
    layer has no gate to close. theory: pixels a side that the convolutions alone can reach. map:
    float64 (R, R), sum 1.
    """
    rows = []
    for run in runs:
        if run.discriminator is None or real is None:
            continue
        inputs = to_unit(real)
        for place, (name, label, grid) in enumerate(_layers(run.discriminator, inputs), 1):
            theory = theoretical_receptive_field(run.discriminator, name, inputs)
            shared = run.key | {"place": place, "layer": label or "logit", "grid": grid}
            shared |= {"source": "image", "source_grid": inputs.shape[-1], "theory": theory}
            rows += [shared | row for row in _fields(run.discriminator, name, inputs, None, draws)]
    return pd.DataFrame(rows, columns=FIELDS)


def generator_reach(runs: Sequence[Networks], n: int = 8, draws: int = 4) -> pd.DataFrame:
    """What the middle pixel of the image depends on, over each earlier layer's output.

    Columns FIELDS; layer is "image", and source the layer whose output, source_grid cells a side,
    the map (source_grid, source_grid) is over; size and theory are in its cells. n latents, those
    of the sample grids.
    """
    rows = []
    for run in runs:
        if run.generator is None:
            continue
        latents = run.latents(n)
        *earlier, (output, _, resolution) = _layers(run.generator, latents)
        for place, (source, label, grid) in enumerate(earlier, 1):
            theory = theoretical_receptive_field(run.generator, output, latents, source=source)
            shared = run.key | {"place": place, "layer": "image", "grid": resolution}
            shared |= {"source": label, "source_grid": grid, "theory": theory}
            rows += [shared | r for r in _fields(run.generator, output, latents, source, draws)]
    return pd.DataFrame(rows, columns=FIELDS)


def _fields(
    network: nn.Module, layer: str, inputs: Tensor, source: str | None, draws: int
) -> Iterator[dict]:
    """As trained and, where there is a gate to close, with all of them closed."""
    gates = [hasattr(gate, "alpha") for gate in gated_layers(network).values()]

    def field() -> Tensor:
        return effective_receptive_field(network, layer, inputs, source=source, draws=draws)

    maps = {"as trained": field()}
    if any(gates):
        with force_alpha(network, 0.0):
            maps["alpha = 0"] = field()
    closed = list(maps.values())[-1] > 0
    for attention, found in maps.items():
        yield {
            "attention": attention,
            "size": field_size(found),
            "share": field_share(found),
            "outside": found[~closed].sum().item() if all(gates) else math.nan,
            "map": found.numpy(),
        }


def _layers(network: nn.Module, inputs: Tensor) -> list[tuple[str, str, int]]:
    """(name to ask for it by, label, cells a side) of every stage and the output, in order.

    The label of an output that is no attention layer is "".
    """
    gates = {layer: label for label, layer in gated_layers(network).items()}
    stages = {f"stages.{name}": stage for name, stage in network.stages.named_children()}
    found, handles = [], []

    def keep(name: str, module: nn.Module):
        def hook(_, arguments, output):
            label = gates.get(module, "")
            cells = output.shape[-1]
            if not label and name != "output":
                label = f"conv {cells}x{cells}"
            found.append((gates.get(module, name), label, cells))

        return module.register_forward_hook(hook)

    try:
        for name, module in (stages | {"output": network.output}).items():
            handles.append(keep(name, module))
        with torch.no_grad(), evaluating(network):
            network(inputs[:1])
    finally:
        for handle in handles:
            handle.remove()
    return found
