"""How much of a layer's output each of its branches makes.

Alpha alone does not say: the value's weights can grow while alpha shrinks. What reaches the output
is the branch times its weight.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fagan.interpret.recording import Recorded, at_least_float32


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
        rms(_weighted(at_least_float32(weight), at_least_float32(branch)))
        for weight, branch in zip(
            recorded.weights, (recorded.attention, recorded.convolution), strict=True
        )
    )
    share = attention / (attention + convolution)
    return BranchEnergies(*torch.stack((attention, convolution, share)).tolist())


def rms(x: Tensor) -> Tensor:
    """Root mean square over all of x."""
    return x.square().mean().sqrt()


def _weighted(weight: Tensor, branch: Tensor) -> Tensor:
    # a gate multiplies; the halves of a join, (C, C, 1, 1), are 1x1 convolutions
    return F.conv2d(branch, weight) if weight.dim() == 4 else weight * branch
