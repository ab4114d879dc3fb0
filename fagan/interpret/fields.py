"""Receptive fields: how far a unit reaches, in theory and in effect.

Source: Luo, Li, Urtasun and Zemel 2016, "Understanding the effective receptive field in deep
convolutional neural networks" (arXiv 1701.04128). A convolution's field in effect is a small part
of its field in theory; an attention's field in theory is everything, and how much of that it uses
is a question for the gradient.

A generator's latent has no positions: there the field of a later layer's cell is taken on an
earlier layer's feature map, its `source`.
"""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from fagan.errors import UserError, unknown
from fagan.evaluate import evaluating
from fagan.interpret.recording import gated_layers
from fagan.layers import FullAttention2d, Gated
from fagan.models import RESIZING
from fagan.resnet import ResidualBlock

# A pixel belongs to the field where it has more than 1 - 95.45 % (two sigma of a Gaussian) of the
# strongest pixel's influence (Luo et al., section 3).
THRESHOLD = 0.0455


def effective_receptive_field(
    network: nn.Module,
    layer: str,
    inputs: Tensor,
    *,
    source: str | None = None,
    draws: int = 4,
    seed: int = 0,
) -> Tensor:
    """What a layer's middle cell depends on: (R, R) over the input image, non-negative, sum 1.

    The gradient of the channels of cell (H // 2, W // 2), weighed by a random unit vector, with
    respect to each pixel; its magnitudes summed over the pixel's channels, averaged over the
    inputs, each with `draws` vectors of its own.

    layer, source: an attention layer's label or a module's name ("stages.0", "output").
    inputs: what the network takes: images (B, 3, R, R) or latents (B, latent_size).
    source: the map is over this earlier layer's output instead of the input image.

    In eval mode; modes, buffers and gradients are as before. NaN everywhere where no pixel has an
    influence. Raises UserError for an unknown layer, one without positions or one that the source
    does not reach.
    """
    inputs = inputs.detach()
    generator = torch.Generator().manual_seed(seed)
    with evaluating(network), torch.enable_grad():
        cell, start = _cell(network, layer, inputs, source)  # (B, C), (B, C', R, R)
        influence = torch.zeros(start.shape[2:], dtype=torch.float64, device=start.device)
        for _ in range(draws):
            unit = torch.randn(cell.shape, generator=generator, dtype=torch.float64)
            unit = (unit / unit.norm(dim=1, keepdim=True)).to(cell)
            influence += _gradient(cell, start, unit, layer).abs().double().sum((0, 1))
    return influence / influence.sum()


def theoretical_receptive_field(
    network: nn.Module,
    layer: str,
    inputs: Tensor,
    *,
    source: str | None = None,
) -> int:
    """Pixels a side of what the middle cell can depend on through the convolutions alone.

    Measured: in a float64 copy of the network every attention layer is its convolution path (a
    SelfAttention2d nothing), every weight positive and every bias 0, so that no influence cancels
    and no activation is off; counted are the rows and columns from the first to the last gradient
    that is not 0, the larger of the two. Clipped at the image's border: larger inputs show the
    whole field. Arguments and errors as in `effective_receptive_field`, of whose inputs only the
    shape matters here. For networks of convolutions, batch norm and increasing activations.
    """
    copy = _convolution_path(network).to(inputs.device)
    inputs = torch.ones_like(inputs[:1], dtype=torch.float64)
    with torch.enable_grad():
        cell, start = _cell(copy, layer, inputs, source)
        reached = _gradient(cell, start, torch.ones_like(cell), layer)[0].ne(0).any(0)  # (R, R)
    extents = []
    for axis in (0, 1):
        lines = reached.any(1 - axis).nonzero()
        extents.append(int(lines.max() - lines.min()) + 1 if len(lines) else 0)
    return max(extents)


def field_size(field: Tensor, threshold: float = THRESHOLD) -> float:
    """Side in pixels of a square as large as the field: the root of the number of its pixels.

    A pixel is in the field where it has more than `threshold` of the strongest one's influence.
    NaN for a field that holds NaN.
    """
    return math.sqrt(field_share(field, threshold) * field.numel())


def field_share(field: Tensor, threshold: float = THRESHOLD) -> float:
    """Share of the image that the field covers, in [0, 1]; see `field_size`."""
    if not torch.isfinite(field).all():
        return math.nan
    return (field > threshold * field.max()).double().mean().item()


def stages(network: nn.Module, inputs: Tensor) -> list[tuple[str, str, int]]:
    """(name to ask for it by, label, cells a side) of every stage of a generator or discriminator
    and of its output, in the order of the forward pass.

    The label of an output that is no attention layer is ""; a residual block's is that of the
    attention inside, if there is any.
    """
    gates = {layer: label for label, layer in gated_layers(network).items()}
    names = {
        stage: f"stages.{name}"
        for name, stage in network.stages.named_children()
        if not isinstance(stage, RESIZING)
    }
    names[network.output] = "output"
    found = []

    def seen(module, _, output):
        cells = output.shape[-1]
        inner = list(module.modules())
        kind = "block" if any(isinstance(part, ResidualBlock) for part in inner) else "conv"
        plain = "" if module is network.output else f"{kind} {cells}x{cells}"
        label = next((gates[part] for part in inner if part in gates), plain)
        found.append((gates.get(module, names[module]), label, cells))

    handles = [module.register_forward_hook(seen) for module in names]
    try:
        with torch.no_grad(), evaluating(network):
            network(inputs[:1])
    finally:
        for handle in handles:
            handle.remove()
    return found


def _find(network: nn.Module, name: str) -> nn.Module:
    """An attention layer by its label or any module by its name ("stages.1", "output")."""
    modules = dict(network.named_modules())
    del modules[""]  # the network itself
    modules.update(gated_layers(network))
    if name in modules:
        return modules[name]
    # the message lists what one would ask for, not each stage's convolution, norm and activation
    raise unknown("layer", name, [key for key in modules if key.count(".") <= 1])


def _cell(
    network: nn.Module,
    layer: str,
    inputs: Tensor,
    source: str | None,
) -> tuple[Tensor, Tensor]:
    """The middle cell of the layer's output (B, C), and the leaf (B, C', R, R) behind it."""
    start = inputs.clone().requires_grad_() if source is None else None
    output = None

    def cut(module, arguments, result):
        nonlocal start
        start = result.detach().clone().requires_grad_()
        return start  # what follows depends on this leaf instead of on what came before

    def keep(module, arguments, result):
        nonlocal output
        output = result

    handles = []
    try:
        if source is not None:
            handles.append(_find(network, source).register_forward_hook(cut))
        handles.append(_find(network, layer).register_forward_hook(keep))
        network(inputs if start is None else start)
    finally:
        for handle in handles:
            handle.remove()
    for name, tensor in ((source, start), (layer, output)):
        # None: this pass does not call the layer
        if tensor is None or tensor.dim() != 4:
            hint = "" if name else "; give source=, an earlier layer"
            raise UserError(f"{f'layer {name!r}' if name else 'the input'} has no positions{hint}")
    return output[:, :, output.shape[2] // 2, output.shape[3] // 2], start


def _gradient(cell: Tensor, start: Tensor, weights: Tensor, layer: str) -> Tensor:
    """d(cell . weights) / d(start), one image's apart from another's: (B, C', R, R)."""
    gradient = None
    if cell.requires_grad:
        (gradient,) = torch.autograd.grad(
            cell, start, weights, retain_graph=True, allow_unused=True
        )
    if gradient is None:
        raise UserError(f"layer {layer!r} does not depend on its source: it must come after it")
    return gradient


@torch.no_grad()
def _convolution_path(network: nn.Module) -> nn.Module:
    """A copy whose gradients show what is connected to what, whatever the weights were."""
    copy = deepcopy(network).double().eval()
    for module in copy.modules():
        # not remove_parametrizations: a copy shares its class with the original, which would lose
        # its weight with it
        for chain in getattr(module, "parametrizations", {}).values():
            for i in range(len(chain)):
                chain[i] = nn.Identity()
    for parameter in copy.parameters():
        # means of their inputs: neither overflow nor, over a dozen layers, underflow
        parameter.fill_(1 / parameter[0].numel() if parameter.dim() > 1 else 0)
    for module in copy.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()
    for layer in gated_layers(copy).values():
        layer.forward = _without_attention(layer)
    return copy


def _without_attention(layer: Gated):
    if isinstance(layer, FullAttention2d):
        return lambda x: layer.activation(layer.batch_norm(layer.convolution(x)))
    return lambda x: x
