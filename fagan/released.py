"""The released package on the other side of the bench: attn_gan_pytorch 1.2.3, as it is.

Its layers, its GAN class, its two update functions and its losses are called unchanged. Written
anew is only what no longer starts: its reader of configurations (it needs easydict and an old
yaml), whose place `networks` takes, and its Adam betas (a list, which PyTorch refuses).
"""

import torch
from torch import Tensor, nn

from fagan.architectures import stages_of
from fagan.config import RunConfig
from fagan.errors import UserError

LOSSES = {"hinge": "HingeGAN", "relativistic-hinge": "RelativisticAverageHingeGAN"}


class Released:
    """The package's GAN with its optimizers; `step` is one iteration of its training loop."""

    def __init__(self, config: RunConfig, device: torch.device):
        from attn_gan_pytorch import Losses, Networks

        generator, discriminator = networks(config)
        self.config, self.device = config, device
        self.gan = Networks.GAN(generator, discriminator, device)
        self.gan.generator.train()
        self.gan.discriminator.train()
        self.loss = getattr(Losses, LOSSES[config.loss])(device, self.gan.discriminator)
        betas = (config.beta1, config.beta2)
        self.adam_g = torch.optim.Adam(generator.parameters(), config.lr_g, betas)
        self.adam_d = torch.optim.Adam(discriminator.parameters(), config.lr_d, betas)

    def step(self, real: Tensor) -> None:
        """One discriminator and one generator update on images (B, 3, R, R) in [-1, 1]."""
        self.gan.optimize_discriminator(self.adam_d, self._noise(), real, self.loss)
        self.gan.optimize_generator(self.adam_g, self._noise(), real, self.loss)

    def _noise(self) -> Tensor:
        shape = (self.config.batch_size, self.config.latent_size, 1, 1)
        return torch.randn(shape, device=self.device)


def networks(config: RunConfig) -> tuple[nn.Module, nn.Module]:
    """The package's generator and discriminator with the stages of a configuration.

    `fagan` and `sagan` at 64 pixels are its two released configurations (akanimax/fagan,
    configs/fagan_1; attn_gan_pytorch, samples/sample_celeba/configs/1), with a tanh image and a
    linear logit in both. Initialised from the global generator, as the package is.
    Raises UserError where the package is not installed.
    """
    try:
        from attn_gan_pytorch import Networks
    except ModuleNotFoundError:
        raise UserError(
            "the bench runs the released package: pip install attn-gan-pytorch==1.2.3"
        ) from None
    stages = stages_of(config.architecture, config.resolution)
    channels = config.channels()

    layers, inputs = [], config.latent_size
    for i, (letters, outputs) in enumerate(zip(stages.generator, channels, strict=True)):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        if letters.startswith("F"):
            layers += _full(inputs, outputs, nn.LeakyReLU(0.3), True, stride, padding)
        else:
            convolution = _normed(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding))
            layers.append(nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU()))
        layers += _self(outputs) if letters.endswith("+A") else []
        inputs = outputs
    if stages.output == "F":
        tanh = nn.Tanh()
        layers += _full(inputs, 3, tanh, True, 2, 1, spectral_norm=False, batch_norm=False)
    else:
        layers.append(nn.Sequential(nn.ConvTranspose2d(inputs, 3, 4, 2, 1), nn.Tanh()))
    generator = Networks.Generator(layers, config.latent_size)

    layers, inputs = [], 3
    for i, (letters, outputs) in enumerate(zip(stages.discriminator, channels[::-1], strict=True)):
        if letters.startswith("F"):
            activation = nn.LeakyReLU(0.3 if i else 0.1)
            squeeze = 8 if i else 1  # 3 // 8 = 0 channels at the image
            layers += _full(inputs, outputs, activation, False, 2, 1, squeeze, batch_norm=i > 0)
        else:
            convolution = _normed(nn.Conv2d(inputs, outputs, 4, 2, 1))
            layers.append(nn.Sequential(convolution, nn.LeakyReLU(0.1)))
        layers += _self(outputs) if letters.endswith("+A") else []
        inputs = outputs
    layers.append(nn.Sequential(nn.Conv2d(inputs, 1, 4)))
    return generator, Networks.Discriminator(layers)


def _full(
    inputs, outputs, activation, transposed, stride, padding, squeeze=8,
    spectral_norm=True, batch_norm=True,
) -> list[nn.Module]:  # fmt: skip
    from attn_gan_pytorch.CustomLayers import FullAttention, IgnoreAttentionMap

    layer = FullAttention(
        inputs, outputs, activation, (4, 4), transposed, spectral_norm, batch_norm, squeeze,
        (stride, stride), (padding, padding),
    )  # fmt: skip
    return [layer, IgnoreAttentionMap()]


def _self(channels: int) -> list[nn.Module]:
    from attn_gan_pytorch.CustomLayers import IgnoreAttentionMap, SelfAttention

    return [SelfAttention(channels), IgnoreAttentionMap()]


def _normed(convolution: nn.Module) -> nn.Module:
    from attn_gan_pytorch.CustomLayers import SpectralNorm

    return SpectralNorm(convolution)
