"""The two attention layers that the suite compares.

SelfAttention2d  SAGAN's: a 1x1 attention added to its input, x + alpha * attention(x).
FullAttention2d  FAGAN's: convolution and k x k attention at once,
                 alpha * attention(x) + (1 - alpha) * convolution(x).

Both take and return one tensor of shape (B, C, H, W). Maps, gates and branches are read from
outside (`models.alphas`, `branches`), never passed along with the features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fagan.attention import attend
from fagan.spectral_norm import spectral_norm


class Gated(nn.Module):
    """What both layers share: the gate alpha, and how query, key and value become attention.

    alpha is learned (a parameter), frozen (a buffer) or one per channel. `exact` computes each
    projection by itself and the attention in the plain way; the default is faster and agrees with
    it up to rounding.
    """

    alpha: Tensor
    heads: int
    exact: bool

    def _make_gate(self, mode: str, init: float, channels: int) -> None:
        if mode == "learned":
            self.alpha = nn.Parameter(torch.full((1,), float(init)))
        elif mode == "channel":
            self.alpha = nn.Parameter(torch.full((channels, 1, 1), float(init)))
        elif mode == "frozen":
            # a buffer: freezing and thawing a network's parameters must not thaw the gate
            self.register_buffer("alpha", torch.full((1,), float(init)))
        else:
            raise ValueError(f"alpha={mode!r} must be 'learned', 'frozen' or 'channel'")

    def _projected(self, x: Tensor) -> tuple[Tensor, ...]:
        if x.dim() != 4:
            shape, name = tuple(x.shape), type(self).__name__
            raise ValueError(f"{name} takes (B, C, H, W), not {shape}; one image is x[None]")
        layers = self.query, self.key, self.value
        if self.exact or not are_fusible(*layers):
            return tuple(layer(x) for layer in layers)
        return fused_projections(x, *layers)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, self.heads, "plain" if self.exact else None)  # (B, C, N)


def squeezed(channels: int, squeeze: int) -> int:
    """Channels of query and key. Raises ValueError where none would be left."""
    if squeeze < 1:
        raise ValueError(f"squeeze={squeeze} must be 1 or more")
    if channels // squeeze < 1:
        raise ValueError(f"squeeze={squeeze} is more than the layer's {channels} channels")
    return channels // squeeze


class SelfAttention2d(Gated):
    """x + alpha * attention(x) over all positions (SAGAN, arXiv 1805.08318, section 3, equation 3).

    x (B, C, H, W) -> (B, C, H, W). Time grows with (H W)^2; so does memory with exact=True, and in
    the default way on a CPU only per image.

    variant "package": attn_gan_pytorch's: query and key C // squeeze, value C, biases, no pooling.
        Without an activation, flipping the signs of alpha and of the value's weight and bias gives
        the same function, so the sign of such an alpha means nothing.
    variant "google": google/self-attention-gan's: key and value 2x2 max-pooled (an odd last row or
        column is in no pool), value C // 2 and an output convolution back to C, spectral norm on
        all four, no biases. H and W are 2 or more.
    activation: applied to the attention before alpha. alpha: "learned", "frozen" (at alpha_init) or
    "channel" (learned, one per channel). attention_spectral_norm: on query, key and value too.
    released: the package's spectral norm (`fagan.spectral_norm`). exact: the plain computation,
    equal up to rounding; on CUDA the one that can be differentiated twice.

    Raises ValueError for an unknown variant or alpha, squeeze < 1 or > C, and heads that are below
    1 or do not divide the widths.
    """

    def __init__(
        self,
        channels: int,
        *,
        squeeze: int = 8,
        variant: str = "package",
        activation: nn.Module | None = None,
        alpha: str = "learned",
        alpha_init: float = 0.0,
        heads: int = 1,
        attention_spectral_norm: bool = False,
        released: bool = False,
        exact: bool = False,
    ):
        super().__init__()
        if variant not in ("package", "google"):
            raise ValueError(f"variant={variant!r} must be 'package' or 'google'")
        google = variant == "google"
        width = squeezed(channels, squeeze)
        inner = max(1, channels // 2) if google else channels
        _check_heads(heads, width, inner)

        def project(inputs: int, outputs: int) -> nn.Module:
            convolution = nn.Conv2d(inputs, outputs, 1, bias=not google)
            normed = google or attention_spectral_norm
            return spectral_norm(convolution, released) if normed else convolution

        self.query = project(channels, width)
        self.key = project(channels, width)
        self.value = project(channels, inner)
        self.output = project(inner, channels) if google else nn.Identity()
        self.pool = nn.MaxPool2d(2) if google else nn.Identity()
        self.activation = activation or nn.Identity()
        self.heads = heads
        self.exact = exact
        self._make_gate(alpha, alpha_init, channels)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query (B, D, H, W), key (B, D, H', W') and value (B, C', H', W'); ' = pooled or not."""
        q, k, v = self._projected(x)
        return q, self.pool(k), self.pool(v)

    def branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(attention, x): what alpha weighs and what it is added to."""
        q, k, v = self.project(x)
        attention = self._attend(q, k, v).unflatten(2, x.shape[2:])  # (B, C', H, W)
        return self.activation(self.output(attention)), x

    def forward(self, x: Tensor) -> Tensor:
        attention, x = self.branches(x)
        return x + self.alpha.to(x.dtype) * attention


class FullAttention2d(Gated):
    """Convolution and attention in one layer (FAGAN; attn_gan_pytorch, CustomLayers.FullAttention).

    One path is a k x k convolution with spectral and batch norm; the other an attention whose
    query, key and value are k x k convolutions of the same stride; one activation follows both.
    merge "alpha": alpha * attention + (1 - alpha) * convolution, alpha unconstrained.
    merge "concat": both paths side by side, 1x1 back to the width (the author's own afterthought).

    x (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as nn.Conv2d has them, or
    nn.ConvTranspose2d where `transposed`; output_padding counts only there.

    squeeze: query and key have in_channels // squeeze channels, so at most 3 for an RGB image.
    use_spectral_norm, use_batch_norm: of the convolution path, both on by default;
    attention_spectral_norm: of query, key and value. alpha: "learned", "frozen" (at alpha_init) or
    "channel" (learned, one per channel); neither is used under merge "concat". released: the
    package's spectral norm (`fagan.spectral_norm`). exact: the plain computation, equal up to
    rounding; on CUDA the one that can be differentiated twice.

    Raises ValueError for an unknown merge or alpha, squeeze < 1 or > in_channels, and heads that
    are below 1 or do not divide the widths.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        *,
        transposed: bool = False,
        squeeze: int = 8,
        activation: nn.Module | None = None,
        use_spectral_norm: bool = True,
        use_batch_norm: bool = True,
        attention_spectral_norm: bool = False,
        alpha: str = "learned",
        alpha_init: float = 0.0,
        merge: str = "alpha",
        heads: int = 1,
        bias: bool = True,
        released: bool = False,
        exact: bool = False,
    ):
        super().__init__()
        if merge not in ("alpha", "concat"):
            raise ValueError(f"merge={merge!r} must be 'alpha' or 'concat'")
        width = squeezed(in_channels, squeeze)
        _check_heads(heads, width, out_channels)

        def convolve(outputs: int, normed: bool) -> nn.Module:
            shape = (in_channels, outputs, kernel_size, stride, padding)
            if transposed:
                layer = nn.ConvTranspose2d(*shape, output_padding=output_padding, bias=bias)
            else:
                layer = nn.Conv2d(*shape, bias=bias)
            return spectral_norm(layer, released) if normed else layer

        self.query = convolve(width, attention_spectral_norm)
        self.key = convolve(width, attention_spectral_norm)
        self.value = convolve(out_channels, attention_spectral_norm)
        self.convolution = convolve(out_channels, use_spectral_norm)
        self.batch_norm = nn.BatchNorm2d(out_channels) if use_batch_norm else nn.Identity()
        self.activation = activation or nn.Identity()
        self.heads = heads
        self.exact = exact
        self.merge = merge
        if merge == "concat":
            self.join = nn.Conv2d(2 * out_channels, out_channels, 1)
        else:
            self._make_gate(alpha, alpha_init, out_channels)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query and key (B, D, H', W'), value (B, C, H', W')."""
        return self._projected(x)

    def branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(attention, convolution), each (B, C, H', W') and after its activation."""
        q, k, v = self.project(x)
        attention = self._attend(q, k, v).view_as(v)
        convolution = self.batch_norm(self.convolution(x))
        return self.activation(attention), self.activation(convolution)

    def forward(self, x: Tensor) -> Tensor:
        attention, convolution = self.branches(x)
        if self.merge == "concat":
            return self.join(torch.cat((attention, convolution), dim=1))
        alpha = self.alpha.to(convolution.dtype)
        return alpha * attention + (1 - alpha) * convolution


def are_fusible(*layers: nn.Module) -> bool:
    """Whether the layers are plain convolutions of one geometry, so that one can stand for all.

    Parametrized weights (PyTorch's spectral norm) count as plain. A wrapped layer (LoRA), one with
    hooks (torch.nn.utils.spectral_norm and weight_norm make the weight in one) or with a forward of
    its own does more than its weight says, and has to be called.
    """
    return all(map(_is_plain, layers)) and len({_geometry(layer) for layer in layers}) == 1


def _is_plain(layer: nn.Module) -> bool:
    kind = type(layer).__bases__[0] if parametrize.is_parametrized(layer) else type(layer)
    hooks = (
        layer._forward_hooks,
        layer._forward_pre_hooks,
        layer._backward_hooks,
        layer._backward_pre_hooks,
    )
    return (
        kind in (nn.Conv2d, nn.ConvTranspose2d)
        and not any(hooks)
        and "forward" not in vars(layer)
        and layer.padding_mode == "zeros"
        and layer.groups == 1
    )


def _geometry(layer: nn.Module) -> tuple:
    shape = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.output_padding
    return layer.transposed, layer.in_channels, layer.bias is None, *shape


def fused_projections(x: Tensor, *layers: nn.Module) -> tuple[Tensor, ...]:
    """Several convolutions of one input and one geometry, run as one; returns their outputs."""
    first = layers[0]
    weights = [layer.weight for layer in layers]
    transposed = isinstance(first, nn.ConvTranspose2d)
    weight = torch.cat(weights, dim=1 if transposed else 0)
    bias = None if first.bias is None else torch.cat([layer.bias for layer in layers])
    if transposed:
        geometry = first.stride, first.padding, first.output_padding, 1, first.dilation
        out = F.conv_transpose2d(x, weight, bias, *geometry)
    else:
        out = F.conv2d(x, weight, bias, first.stride, first.padding, first.dilation)
    return out.split([layer.out_channels for layer in layers], dim=1)


def _check_heads(heads: int, *widths: int) -> None:
    if heads < 1:
        raise ValueError(f"heads={heads} must be 1 or more")
    for width in widths:
        if width % heads:
            raise ValueError(f"heads={heads} do not divide a width of {width}")
