"""One row an attention layer, cheap enough for every log step."""

import torch
from torch import Tensor, nn

from fagan.evaluate import evaluating
from fagan.interpret.energies import branch_energies
from fagan.interpret.layers import image_size
from fagan.interpret.maps import attention_statistics
from fagan.interpret.recording import record

# Positions of a large grid that are asked for entropy and distance: 256 of 1,024 settle the means
# to a few per cent at a quarter of the time.
QUERIES = 256

COLUMNS = (
    "layer",
    "alpha",
    "attention_energy",
    "convolution_energy",
    "attention_share",
    "entropy",
    "entropy_share",
    "distance",
)


def summary(network: nn.Module, inputs: Tensor) -> list[dict]:
    """Rows with COLUMNS, one per attention layer, from one forward pass of a fixed batch.

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
            statistics = attention_statistics(recorded, image_size(inputs, output), QUERIES)
            alpha = None if recorded.alpha is None else recorded.alpha.mean().item()
            values = (
                name,
                alpha,
                energies.attention,
                energies.convolution,
                energies.share,
                statistics.entropy,
                statistics.entropy_share,
                statistics.distance,
            )
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows
