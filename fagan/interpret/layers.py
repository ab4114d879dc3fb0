"""Layers by name: what the other files of this package choose from."""

from collections.abc import Iterable

from torch import Tensor, nn

from fagan.errors import UserError, unknown
from fagan.layers import Gated

Choice = str | Iterable[str] | None
"""One layer, several, or None for all."""


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


def choose(network: nn.Module, layers: Choice = None) -> dict[str, Gated]:
    """The chosen attention layers. Raises UserError naming the nearest for an unknown one."""
    known = gated_layers(network)
    if layers is None:
        return known
    names = [layers] if isinstance(layers, str) else list(layers)
    for name in names:
        if name not in known:
            raise unknown("layer", name, known)
    return {name: known[name] for name in names}


def find(network: nn.Module, name: str) -> nn.Module:
    """An attention layer by its label or any module by its name ("stages.1", "output").

    Raises UserError naming the nearest where there is none.
    """
    modules = dict(network.named_modules())
    del modules[""]  # the network itself
    modules.update(gated_layers(network))
    if name in modules:
        return modules[name]
    # the message lists what one would ask for, not each stage's convolution, norm and activation
    raise unknown("layer", name, [key for key in modules if key.count(".") <= 1])


def image_size(*tensors: Tensor) -> int:
    """Pixels a side of the images: the largest grid (B, C, R, R) among a network's ends.

    Give its input and its output: a discriminator takes images, a generator makes them.
    Raises UserError where neither has positions, or where they are not square.
    """
    grids = [tuple(tensor.shape[2:]) for tensor in tensors if tensor.dim() == 4]
    if not grids:
        raise UserError("neither input nor output of this network is an image (B, C, R, R)")
    height, width = max(grids)
    if height != width:
        raise UserError(f"images of {height} x {width} pixels are not square")
    return height
