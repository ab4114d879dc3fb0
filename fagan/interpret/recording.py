"""Watch the attention layers of a network while it runs, without changing a bit of what it does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fagan.attention import attention_map
from fagan.layers import FullAttention2d, Gated


def gated_layers(network: nn.Module) -> dict[str, Gated]:
    """Every attention layer of a network, in the order of its modules.

    Keys as in `models.alphas`: the layer's label ("full 8x8", "self 16x16") or, in a network of
    your own, its name. The second of two equal labels goes by its name; a layer that is itself the
    network by its class.
    """
    layers: dict[str, Gated] = {}
    for name, module in network.named_modules():
        if isinstance(module, Gated):
            label = getattr(module, "label", None)
            free = label is not None and label not in layers
            layers[label if free else name or type(module).__name__] = module
    return layers


@dataclass(frozen=True)
class Recorded:
    """What one attention layer computed in one forward pass; detached, not copied.

    query        (B, D, H, W)
    key          (B, D, H', W'): coarser than the query where the keys are pooled
    attention    (B, C, H, W), the attention branch after its activation, before its weight
    convolution  (B, C, H, W), the other branch: FullAttention2d's convolution after its norm and
                 activation; SelfAttention2d's input
    weights      what the two are multiplied by, as of this pass: alpha and 1 - alpha, (1,) or
                 (C, 1, 1); for SelfAttention2d alpha and 1; for merge "concat" the two halves of
                 the 1x1 convolution that joins them, (C, C, 1, 1)
    alpha        the gate as of this pass, (1,) or (C, 1, 1); None for merge "concat"
    heads        attention heads
    """

    query: Tensor
    key: Tensor
    attention: Tensor
    convolution: Tensor
    weights: tuple[Tensor, Tensor]
    alpha: Tensor | None
    heads: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the queries."""
        return tuple(self.query.shape[2:])

    @property
    def key_grid(self) -> tuple[int, int]:
        """Rows and columns of the keys."""
        return tuple(self.key.shape[2:])

    @property
    def map(self) -> Tensor:
        """The attention map (B, heads, H * W, H' * W'), at least float32; rows sum to 1.

        Computed when asked for. At 64 x 64 positions a map is 64 MiB an image and head:
        `maps.map_at` gives one query's, `maps.attention_statistics` needs no whole map.
        """
        return self.map_of(slice(None))

    def map_of(self, queries: slice) -> Tensor:
        """The rows of the map that belong to some of the H * W queries."""
        query = at_least_float32(self.query.flatten(2)[:, :, queries])  # (B, D, n)
        return attention_map(query, at_least_float32(self.key), self.heads)


@contextmanager
def record(network: nn.Module) -> Iterator[dict[str, list[Recorded]]]:
    """Record every attention layer while the context lasts.

    Yields {layer: [one Recorded per forward pass, in order]}; it stays readable afterwards. The
    network computes the same bits as without: a layer's own projections and branches are kept as
    they pass by and nothing is computed twice, for reading a weight under spectral norm takes a
    step of its power iteration. Contexts may be nested; on exit, and on an exception too, every
    layer is as it was.
    """
    layers = gated_layers(network)
    records: dict[str, list[Recorded]] = {name: [] for name in layers}
    before = [
        (layer, method, vars(layer).get(method))
        for layer in layers.values()
        for method in ("project", "branches")
    ]
    try:
        for name, layer in layers.items():
            _watch(layer, records[name])
        yield records
    finally:
        for layer, method, wrapper in before:
            if wrapper is not None:  # an outer context's
                setattr(layer, method, wrapper)
            elif method in vars(layer):
                delattr(layer, method)


def _watch(layer: Gated, passes: list[Recorded]) -> None:
    """Shadow the class's two methods on the instance; each hands on what the class computes."""
    project, branches = layer.project, layer.branches
    projected: tuple[Tensor, ...] = ()

    def watched_project(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        nonlocal projected
        projected = project(x)
        return projected

    def watched_branches(x: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal projected
        attention, convolution = branches(x)
        query, key, _ = (tensor.detach() for tensor in projected)
        projected = ()  # the graph of a training step must not live on in here
        passes.append(
            Recorded(
                query,
                key,
                attention.detach(),
                convolution.detach(),
                _weights(layer),
                layer.alpha.detach().clone() if hasattr(layer, "alpha") else None,
                layer.heads,
            )
        )
        return attention, convolution

    layer.project, layer.branches = watched_project, watched_branches


def _weights(layer: Gated) -> tuple[Tensor, Tensor]:
    # copies: the next optimizer step changes the parameters in place
    if isinstance(layer, FullAttention2d) and layer.merge == "concat":
        return tuple(half.clone() for half in layer.join.weight.detach().chunk(2, dim=1))
    alpha = layer.alpha.detach().clone()
    other = 1 - alpha if isinstance(layer, FullAttention2d) else torch.ones_like(alpha)
    return alpha, other


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision is for speed; what is measured is measured in float32 or float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
