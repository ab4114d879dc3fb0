"""The released package as an oracle: its networks, built as its configurations say."""

import torch
from torch import nn

from fagan.config import RunConfig
from fagan.released import networks


def generator(architecture: str) -> nn.Module:
    """akanimax/fagan configs/fagan_1/gen.conf or attn_gan_pytorch samples config 1 (with tanh)."""
    return networks(RunConfig(architecture=architecture))[0]


def discriminator(architecture: str) -> nn.Module:
    """The same two configurations' discriminators, with a linear logit."""
    return networks(RunConfig(architecture=architecture))[1]


def open_gates(network: nn.Module, seed: int = 0) -> None:
    """Set every gate (ours or the package's) to a value that is not 0: at 0 a test sees nothing."""
    values = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            if name.split(".")[-1] in ("alpha", "gamma"):
                tensor.uniform_(0.3, 0.9, generator=values)
