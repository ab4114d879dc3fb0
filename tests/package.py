"""The released package as an oracle: its networks, built as its configurations say.

Only tests import this. attn_gan_pytorch's own reader of configurations needs easydict and an old
yaml, so the two released ones are written out here with the package's layers.
"""

import torch
from attn_gan_pytorch.CustomLayers import (
    FullAttention,
    IgnoreAttentionMap,
    SelfAttention,
    SpectralNorm,
)
from torch import nn


def generator(architecture: str) -> nn.Sequential:
    """akanimax/fagan configs/fagan_1/gen.conf or attn_gan_pytorch samples config 1 (with tanh)."""
    if architecture == "fagan":
        head = [
            *_full(128, 512, nn.LeakyReLU(0.3), 4, True, True, 8, 1, 0),
            *_full(512, 256, nn.LeakyReLU(0.3), 4, True, True, 8, 2, 1),
        ]
    else:
        head = [_up(128, 512, 1, 0), _up(512, 256, 2, 1)]
    return _Network(
        *head,
        _up(256, 128, 2, 1),
        *_self(128),
        _up(128, 64, 2, 1),
        *_self(64),
        nn.Sequential(nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.Tanh()),
    )


def discriminator(architecture: str) -> nn.Sequential:
    """The same two configurations' discriminators, with a linear logit."""
    if architecture == "fagan":
        head = _full(3, 64, nn.LeakyReLU(0.1), 4, False, False, 1, 2, 1)
        middle = _full(128, 256, nn.LeakyReLU(0.3), 4, False, True, 8, 2, 1)
    else:
        head, middle = [_down(3, 64)], [_down(128, 256)]
    return _Network(
        *head,
        _down(64, 128),
        *middle,
        *_self(256),
        _down(256, 512),
        *_self(512),
        nn.Sequential(nn.Conv2d(512, 1, 4)),
    )


class _Network(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


def _full(inputs, outputs, activation, kernel, transposed, batch_norm, squeeze, stride, padding):
    layer = FullAttention(
        inputs, outputs, activation, (kernel, kernel), transposed, True, batch_norm, squeeze,
        (stride, stride), (padding, padding),
    )  # fmt: skip
    return [layer, IgnoreAttentionMap()]


def _self(channels):
    return [SelfAttention(channels), IgnoreAttentionMap()]


def _up(inputs, outputs, stride, padding):
    layer = SpectralNorm(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding))
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def _down(inputs, outputs):
    return nn.Sequential(SpectralNorm(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.1))


def open_gates(network: nn.Module, seed: int = 0) -> None:
    """Set every gate (ours or the package's) to a value that is not 0: at 0 a test sees nothing."""
    values = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            if name.split(".")[-1] in ("alpha", "gamma"):
                tensor.uniform_(0.3, 0.9, generator=values)
