"""How much of a layer's output each branch makes, the norms of its weights, and a log step's row.

Alpha alone does not say how much of the output is attention: the value's weights can grow while
alpha shrinks. What reaches the output is the branch times its weight.
"""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fagan.errors import UserError
from fagan.evaluate import evaluating
from fagan.interpret.maps import attention_statistics
from fagan.interpret.recording import Recorded, at_least_float32, gated_layers, record

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
# Positions of a large grid that are asked for entropy and distance: 256 of 1,024 settle the means
# to a few per cent at a quarter of the time.
QUERIES = 256


@dataclass(frozen=True)
class BranchEnergies:
    """Root mean squares over batch, channels and positions of the two terms that a layer adds up.

    attention    |alpha| * rms(attention); an alpha per channel weighs before the mean is taken
    convolution  |1 - alpha| * rms(convolution) of a FullAttention2d; rms(x), its unweighted input,
                 of a SelfAttention2d
    share        attention / (attention + convolution); NaN where both are 0

    With merge "concat" the terms are the two halves of the joining 1x1 convolution, each applied to
    its branch, without the bias.
    """

    attention: float
    convolution: float
    share: float


def branch_energies(recorded: Recorded) -> BranchEnergies:
    """The energies of one recorded pass."""
    attention, convolution = (
        _rms(_weighted(at_least_float32(weight), at_least_float32(branch)))
        for weight, branch in zip(
            recorded.weights, (recorded.attention, recorded.convolution), strict=True
        )
    )
    share = attention / (attention + convolution)
    return BranchEnergies(*torch.stack((attention, convolution, share)).tolist())


def _rms(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()


def _weighted(weight: Tensor, branch: Tensor) -> Tensor:
    # a gate multiplies; the halves of a join, (C, C, 1, 1), are 1x1 convolutions
    return F.conv2d(branch, weight) if weight.dim() == 4 else weight * branch


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
            norms[name] = _largest_singular_value(weight.flatten(1))
        for child_name, child in module.named_children():
            if child_name != "parametrizations":
                visit(child, f"{name}.{child_name}" if name else child_name)

    with torch.no_grad(), evaluating(network):
        visit(network, "")
    return norms


def _largest_singular_value(matrix: Tensor) -> float:
    """The spectral norm of a matrix, to about 1e-12: in float64, from the smaller Gram matrix."""
    # of 512 x 8192 a singular value decomposition takes seconds, the 512 x 512 Gram matrix 0.1 s;
    # squaring costs the small singular values their digits, the largest one keeps its own
    if not torch.isfinite(matrix).all():
        return math.nan
    matrix = matrix.double()
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt().item()


def summary(network: nn.Module, inputs: Tensor) -> list[dict]:
    """A row per attention layer, its columns those of alpha.csv, from one pass of a fixed batch.

    inputs: latents (B, latent_size) for a generator, images (B, 3, R, R) for a discriminator.
    alpha: the mean of an alpha per channel; None for merge "concat". Energies and share:
    `BranchEnergies`. entropy (nats), entropy_share and distance (image pixels):
    `AttentionStatistics`, of QUERIES positions at most. In eval mode and without a graph; modes,
    parameters, buffers and the random state are as before. A network without attention gives no
    rows.
    """
    with torch.no_grad(), evaluating(network), record(network) as records:
        output = network(inputs)
        rows = []
        for name, passes in records.items():
            if not passes:
                continue  # a layer that this network holds and does not use
            recorded = passes[-1]
            energies = branch_energies(recorded)
            statistics = attention_statistics(recorded, _image_size(inputs, output), QUERIES)
            rows.append(
                {
                    "layer": name,
                    "alpha": None if recorded.alpha is None else recorded.alpha.mean().item(),
                    "attention_energy": energies.attention,
                    "convolution_energy": energies.convolution,
                    "attention_share": energies.share,
                    **asdict(statistics),
                }
            )
    return rows


def _image_size(*ends: Tensor) -> int:
    """Pixels a side of the images: a discriminator takes them, a generator makes them."""
    grids = [tuple(tensor.shape[2:]) for tensor in ends if tensor.dim() == 4]
    if not grids:
        raise UserError("neither input nor output of this network is an image (B, C, R, R)")
    height, width = max(grids)
    if height != width:
        raise UserError(f"images of {height} x {width} pixels are not square")
    return height
