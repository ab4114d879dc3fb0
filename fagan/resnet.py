"""SAGAN's residual networks (arXiv 1805.08318; google/self-attention-gan): the stages B and BF.

64 channels at the image at `width` 1, doubling with every halving of the map; the innermost block
keeps them. Every convolution has a spectral norm and, but for those of Google's attention, a bias.
The published networks are those at 128 pixels, with attention where the map is 32 x 32. Derived
here: at 64 and 32 pixels inner blocks are left out, and attention stands at 32 x 32 and 16 x 16.
Other than in Google's code: initial weights and running averages of batch norm are PyTorch's.

BF: full attention, 3 x 3 at stride 1, in the place of the block's 3 x 3 convolution that is next to
where the self-attention of SAGAN stands, on a map of that size: the last of a generator's block,
the first of the following block of the discriminator. It has no norm or activation of its own,
since a block's come before its convolutions; at alpha = 0 it is that convolution.

Parameters without classes at 128 pixels and width 1, i and o the channels into and out of a block:
    generator: from z 128 -> 16 * 1024, (128 + 1) * 16,384                              2,113,536
        blocks, 10 i o + 9 o^2 + 5 o + 2 i with two batch norms, 1024 -> 1024 ->
        512 -> 256 -> 128 -> 64: 19,930,112 + 7,606,784 + 1,902,848 + 476,288 + 119,360
        batch norm 2 * 64; 3 x 3 to the image 9 * 64 * 3 + 3                                1,859
                                                                                total  32,150,787
    discriminator: blocks, 10 i o + 9 o^2 + 3 o, 3 -> 64 -> 128 -> 256 -> 512 -> 1024:
        38,976 + 229,760 + 918,272 + 3,671,552 + 14,683,136
        last block, no shortcut convolution, 18 * 1024^2 + 2 * 1024                    18,876,416
        logit, 1024 + 1                                                                     1,025
                                                                                total  38,419,137
    self-attention of C channels: C^2 (1/8 + 1/8 + 1/2 + 1/2) + 1; 81,921 at 256 and 20,481 at 128
        sagan-resnet: 32,232,708 and 38,439,618
    full attention i -> o instead of its convolution: query and key of i / 8, value, alpha;
        2 (9 i + 1) i / 8 + (9 i + 1) o + 1; 737,601 at 256 -> 256 and 332,065 at 128 -> 256
        fagan-resnet: 32,888,388 and 38,751,202
"""

from collections.abc import Sequence

from torch import Tensor, nn

from fagan.spectral_norm import spectral_norm

SAME = 3, 1, 1, 0  # kernel, stride, padding, output padding


class ResidualBlock(nn.Module):
    """branch(x) + shortcut(x): (B, C, H, W) -> (B, C', H', W')."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.shortcut(x)


class SumLinear(nn.Conv2d):
    """Sum over positions, then a linear layer: (B, C, H, W) -> (B, 1, 1, 1).

    A 1x1 convolution, as the layer from z is, so that both are in what is recorded of convolutions.
    """

    def __init__(self, channels: int):
        super().__init__(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sum((2, 3), keepdim=True))


def generator_layers(
    stages: Sequence[str], channels: Sequence[int], inputs: int, parts
) -> tuple[list[nn.Module], nn.Module]:
    """(stages, output layer) from z (B, inputs, 1, 1) to what tanh makes an image of.

    parts: the maker of attention and norm layers, `models._Parts`, in both functions.
    """
    before, size = channels[0], 4
    # (B, 16 C, 1, 1) -> (B, C, 4, 4)
    layers = [nn.Sequential(_convolution(inputs, 16 * before, 1), nn.PixelShuffle(4))]
    for letters, after in zip(stages, channels, strict=True):
        size *= 2
        branch = nn.Sequential(
            parts.batch_norm(before),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            _convolution(before, after),
            parts.batch_norm(after),
            nn.ReLU(),
            parts.full(after, after, size, SAME, None, norm=False)
            if "F" in letters
            else _convolution(after, after),
        )
        # Google's code repeats the pixels first: the same sum from four times the arithmetic
        shortcut = nn.Sequential(_convolution(before, after, 1), nn.Upsample(scale_factor=2))
        layers.append(ResidualBlock(branch, shortcut))
        if letters.endswith("+A"):
            layers.append(parts.self_attention(after, size, "google"))
        before = after
    # the last norm knows no classes
    layers[-1] = nn.Sequential(layers[-1], nn.BatchNorm2d(before), nn.ReLU())
    return layers, _convolution(before, 3)


def discriminator_layers(
    stages: Sequence[str], channels: Sequence[int], size: int, parts
) -> list[nn.Module]:
    """Stages from the image (B, 3, size, size) to the features (B, C, 4, 4) that are summed."""
    layers, before = [], 3
    for i, (letters, after) in enumerate(zip(stages, channels, strict=True)):
        branch = nn.Sequential(
            # the first block takes the image as it is
            nn.ReLU() if i else nn.Identity(),
            parts.full(before, after, size, SAME, None, norm=False, image_side=i == 0)
            if "F" in letters
            else _convolution(before, after),
            nn.ReLU(),
            _convolution(after, after),
            nn.AvgPool2d(2),
        )
        # Google's code pools first only in the first block: the same, means and sums commute
        shortcut = nn.Sequential(nn.AvgPool2d(2), _convolution(before, after, 1))
        layers.append(ResidualBlock(branch, shortcut))
        size //= 2
        if letters.endswith("+A"):
            layers.append(parts.self_attention(after, size, "google"))
        before = after
    branch = (nn.ReLU(), _convolution(before, before), nn.ReLU(), _convolution(before, before))
    last = ResidualBlock(nn.Sequential(*branch), nn.Identity())
    return [*layers, nn.Sequential(last, nn.ReLU())]


def logit(channels: int) -> SumLinear:
    """The output layer of the discriminator."""
    return spectral_norm(SumLinear(channels))


def _convolution(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2))
