"""Class labels inside the networks, in the two ways of the systems that the suite compares.

A generator's input carries its class behind the latent: z is (B, latent_size + classes), the last
columns one-hot (or a mixture of classes, as a film between two of them has it).

concat      attn_gan_pytorch 1.2.3: the whole z is the latent; the discriminator gets the one-hot
            vector, repeated over the map, before its `last_module`. The package leaves that module
            to its user; here it is a 1x1 convolution, an activation and the last convolution.
projection  SAGAN (arXiv 1805.08318, section 4): conditional batch norm in the generator
            (arXiv 1610.07629), a projection on the class in the discriminator (arXiv 1802.05637).
"""

import torch
from torch import Tensor, nn

# The share of i times it that lies behind the point spreads evenly over [0, 1): the golden ratio.
_GOLDEN = 0.6180339887498949


class ConditionalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose gain and shift are those of an image's class.

    x (B, C, H, W) -> the same. `labels`, (B, classes), is what the network that holds the layer
    sets before it passes the batch through: in between are layers that know of no classes. At the
    start every class has gain 1 and shift 0.
    """

    def __init__(self, channels: int, classes: int):
        super().__init__(channels, affine=False)
        self.gain = nn.Parameter(torch.ones(classes, channels))
        self.shift = nn.Parameter(torch.zeros(classes, channels))
        self.labels: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        gain, shift = (_rows(self.labels, table) for table in (self.gain, self.shift))
        return torch.addcmul(shift.to(x.dtype), x, gain.to(x.dtype))


def _rows(labels: Tensor, table: Tensor) -> Tensor:
    # not a matrix product: autocast would round the gains to bfloat16
    return (labels[:, :, None] * table).sum(1)[:, :, None, None]  # (B, C, 1, 1)


def set_labels(network: nn.Module, labels: Tensor) -> None:
    """The classes of the next batch, (B, classes), for every conditional batch norm."""
    for module in network.modules():
        if isinstance(module, ConditionalBatchNorm2d):
            module.labels = labels


def beside(features: Tensor, labels: Tensor) -> Tensor:
    """(B, C, H, W) and (B, classes) -> (B, C + classes, H, W): the labels at every position."""
    spread = labels[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat((features, spread.to(features.dtype)), dim=1)


def labelled(network: nn.Module, latents: Tensor, labels: Tensor | None = None) -> Tensor:
    """Latents (n, latent_size) as a generator takes them: with its classes behind, if it has any.

    labels: int64 (n,). Without them image i is of a class that depends on i alone, and the classes
    are as frequent as in the images that the generator was trained on. A network without classes
    gets the latents as they are.
    """
    frequencies = getattr(network, "frequencies", None)
    if frequencies is None:
        return latents
    if labels is None:
        labels = spread_classes(len(latents), frequencies.cpu())
    one_hot = nn.functional.one_hot(labels, len(frequencies)).to(latents)
    return torch.cat((latents, one_hot), dim=1)


def spread_classes(n: int, frequencies: Tensor) -> Tensor:
    """int64 (n,): classes as frequent as asked; entry i depends on i alone."""
    place = torch.arange(n, dtype=torch.float64) * _GOLDEN % 1
    return torch.bucketize(place, frequencies.double().cumsum(0)[:-1], right=True)
