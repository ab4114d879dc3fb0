"""Largest singular values of the weights that the convolutions really use."""

import math

import torch
from torch import Tensor, nn

from fagan.evaluate import evaluating
from fagan.interpret.layers import gated_layers

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


def spectral_norms(network: nn.Module) -> dict[str, float]:
    """Spectral norm of every convolution's effective weight, after any spectral normalisation.

    Keys: "full 8x8.query" inside a labelled attention layer, the module's name elsewhere. The
    weight is flattened as PyTorch's spectral_norm does, to (output channels, the rest), also under
    the released spectral norm, whose own flattening is one of its defects: its distance from 1 is
    that defect. It is the norm of that matrix, not of the convolution as a linear map.

    The weights are those of eval mode (PyTorch's u and v as they are; the released norm takes the
    step that its next forward pass would take); u, v and modes are put back. NaN for a weight that
    holds NaN or infinity.
    """
    labels = {layer: label for label, layer in gated_layers(network).items()}
    norms: dict[str, float] = {}

    def visit(module: nn.Module, name: str) -> None:
        name = labels.get(module, name)
        if isinstance(module, CONVOLUTIONS):
            weight = (
                module.weight.transpose(0, 1) if isinstance(module, TRANSPOSED) else module.weight
            )
            norms[name] = largest_singular_value(weight.flatten(1))
        for child_name, child in module.named_children():
            if child_name != "parametrizations":
                visit(child, f"{name}.{child_name}" if name else child_name)

    with torch.no_grad(), evaluating(network):
        visit(network, "")
    return norms


def largest_singular_value(matrix: Tensor) -> float:
    """The spectral norm of a matrix, to about 1e-12: in float64, from the smaller Gram matrix."""
    # of 512 x 8192 a singular value decomposition takes seconds, the 512 x 512 Gram matrix 0.1 s;
    # squaring costs the small singular values their digits, the largest one keeps its own
    if not torch.isfinite(matrix).all():
        return math.nan
    matrix = matrix.double()
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt().item()
