"""Spectral norm: PyTorch's, exact, and the released package's, for parity and for comparison.

Source of the second: attn_gan_pytorch 1.2.3, CustomLayers.SpectralNorm.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

_left_out = False


def spectral_norm(convolution: nn.Module, released: bool = False) -> nn.Module:
    """Divide the layer's weight by its largest singular value, one power iteration a forward pass.

    PyTorch's own flattens a transposed convolution along dimension 1, its output channels, and its
    gradient stays exact when a layer runs twice before one backward pass. `released=True` gives
    ReleasedSpectralNorm instead. Returns the layer.
    """
    if _left_out:
        return convolution
    if released:
        parametrization = ReleasedSpectralNorm(convolution.weight)
        parametrize.register_parametrization(convolution, "weight", parametrization)
        return convolution
    return parametrizations.spectral_norm(convolution)


@contextmanager
def left_out() -> Iterator[None]:
    """Build networks without it: for counting parameters, of which it has none.

    On the meta device PyTorch would import its symbolic shapes for it, six seconds.
    """
    global _left_out
    before, _left_out = _left_out, True
    try:
        yield
    finally:
        _left_out = before


class ReleasedSpectralNorm(nn.Module):
    """What the package does: three defects kept on purpose.

    1. The weight is flattened along dimension 0, for transposed convolutions too, so the number it
       divides by is no singular value of the map (1.50x off for 128 -> 512 channels).
    2. u and v are replaced through `.data`, behind autograd's back: after two passes the first
       pass's gradient is computed with the second pass's vectors.
    3. The power iteration runs in eval mode too.
    """

    def __init__(self, weight: Tensor):
        super().__init__()
        rows = weight.detach().flatten(1)  # (dimension 0, the rest)
        for name, size in zip("uv", rows.shape, strict=True):
            start = torch.randn(size, dtype=weight.dtype, device=weight.device)
            self.register_buffer(name, _unit(start))

    def forward(self, weight: Tensor) -> Tensor:
        rows = weight.flatten(1)
        self.v.data = _unit(torch.mv(rows.data.T, self.u.data))
        self.u.data = _unit(torch.mv(rows.data, self.v.data))
        sigma = self.u.dot(rows.mv(self.v))
        return weight / sigma


def _unit(x: Tensor) -> Tensor:
    return x / (x.norm() + 1e-12)
