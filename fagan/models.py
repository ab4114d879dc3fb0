"""Generator and discriminator, built from the stages that a RunConfig names.

The stages of each architecture: fagan.architectures. Kernels, activations and norms of `fagan` and
`sagan` at 64 pixels are those of the released configurations (akanimax/fagan, configs/fagan_1;
attn_gan_pytorch, samples/sample_celeba/configs/1); the output is tanh in [-1, 1] and the logit is
linear in every architecture.
"""

from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from fagan import resnet
from fagan.architectures import MATCHED, Stages, stages_of
from fagan.conditioning import ConditionalBatchNorm2d, beside, set_labels
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.layers import FullAttention2d, Gated, SelfAttention2d
from fagan.spectral_norm import left_out, spectral_norm

RESIZING = nn.Upsample, nn.AvgPool2d  # beside the layer of an RC or RF stage


class Generator(nn.Module):
    """z (B, latent_size) -> images (B, 3, R, R) in [-1, 1].

    With class labels z is (B, latent_size + classes), and `frequencies`, (classes,), are those of
    the images that it is trained on; `fagan.conditioning.labelled` makes such a z.
    """

    def __init__(self, config: RunConfig, width: float | None = None):
        super().__init__()
        stages = stages_of(config.architecture, config.resolution)
        channels = config.channels(width or widths(config)[0])
        classes = config.classes if config.conditioning == "projection" else 0
        concat = config.conditioning == "concat"
        inputs = config.latent_size + (config.classes if concat else 0)
        if stages.residual:
            parts = _Parts(config, classes=classes)
            layers, output = resnet.generator_layers(stages.generator, channels, inputs, parts)
        else:
            layers, output = self._layers(config, stages, channels, inputs, classes)
        self.latent_size = config.latent_size
        self.conditioning = config.conditioning
        self.stages = nn.Sequential(*layers)
        self.output = output
        if config.classes:
            self.register_buffer("frequencies", torch.full((config.classes,), 1 / config.classes))

    @staticmethod
    def _layers(
        config: RunConfig, stages: Stages, channels: tuple[int, ...], inputs: int, classes: int
    ) -> tuple[list[nn.Module], nn.Module]:
        strided = _Parts(config, transposed=True, classes=classes)
        sized = _Parts(config, resized=True, classes=classes)
        layers, size = [], 4
        for i, (letters, outputs) in enumerate(zip(stages.generator, channels, strict=True)):
            geometry = (4, 1, 0, 0) if i == 0 else None  # 1x1 -> 4x4, then doubling
            parts = sized if letters.startswith("R") else strided
            layers += [nn.Upsample(scale_factor=2)] if parts is sized else []
            if "F" in letters:
                layer = parts.full(inputs, outputs, size, geometry, nn.LeakyReLU(0.3), norm=True)
            else:
                layer = parts.convolution(inputs, outputs, geometry, nn.ReLU(), norm=True)
            layers.append(layer)
            if letters.endswith("+A"):
                layers.append(parts.self_attention(outputs, size))
            inputs, size = outputs, size * 2
        if stages.output == "F":
            # tanh follows the sum of both paths: the image stays in [-1, 1] for any alpha
            output = strided.full(inputs, 3, size, None, None, norm=False, plain=True)
        else:
            output = nn.ConvTranspose2d(inputs, 3, 4, 2, 1)
        return layers, output

    def forward(self, z: Tensor) -> Tensor:
        if self.conditioning == "projection":
            set_labels(self, z[:, self.latent_size :])
            z = z[:, : self.latent_size]
        return torch.tanh(self.output(self.stages(z[:, :, None, None])))


class Discriminator(nn.Module):
    """Images (B, 3, R, R) in [-1, 1] -> logits (B,).

    With class labels it takes them beside the images, (B, classes); without them it judges as if
    every class were absent.
    """

    def __init__(self, config: RunConfig, width: float | None = None):
        super().__init__()
        stages = stages_of(config.architecture, config.resolution)
        channels = config.channels(width or widths(config)[1])[::-1]
        residual = stages.residual
        self.conditioning, self.classes = config.conditioning, config.classes
        self.stages = nn.Sequential(
            *resnet.discriminator_layers(
                stages.discriminator, channels, config.resolution, _Parts(config)
            )
            if residual
            else self._layers(config, stages, channels)
        )
        inputs = channels[-1]
        self.output = resnet.logit(inputs) if residual else nn.Conv2d(inputs, 1, 4)
        if config.conditioning == "concat":
            # one linear layer would add a number a class, whatever the image: no class would count
            joined = spectral_norm(nn.Conv2d(inputs + config.classes, inputs, 1), config.released)
            self.output = nn.Sequential(joined, nn.LeakyReLU(0.1), self.output)
        if config.conditioning == "projection":
            self.embedding = spectral_norm(nn.Linear(config.classes, inputs, bias=False))

    @staticmethod
    def _layers(config: RunConfig, stages: Stages, channels: tuple[int, ...]) -> list[nn.Module]:
        strided, sized = _Parts(config), _Parts(config, resized=True)
        layers, inputs, size = [], 3, config.resolution // 2
        for i, (letters, outputs) in enumerate(zip(stages.discriminator, channels, strict=True)):
            parts = sized if letters.startswith("R") else strided
            inner = i > 0  # as released: no batch norm and squeeze 1 at the image
            if "F" in letters:
                norm = inner and config.batch_norm_discriminator
                activation = nn.LeakyReLU(0.3 if inner else 0.1)
                own = 2 * size if parts is sized else size  # before it is halved
                layer = parts.full(
                    inputs, outputs, own, None, activation, norm, image_side=not inner
                )
            else:
                norm = inner and config.batch_norm_convolutions
                layer = parts.convolution(inputs, outputs, None, nn.LeakyReLU(0.1), norm)
            layers += [layer, *([nn.AvgPool2d(2)] if parts is sized else [])]
            if letters.endswith("+A"):
                layers.append(parts.self_attention(outputs, size))
            inputs, size = outputs, size // 2
        return layers

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.stages(x)  # (B, C, 4, 4)
        if self.conditioning == "none":
            return self.output(features).flatten()
        if labels is None:
            labels = x.new_zeros(len(x), self.classes)
        if self.conditioning == "concat":
            return self.output(beside(features, labels)).flatten()
        return self.output(features).flatten() + projection(self.embedding, features, labels)


def projection(embedding: nn.Linear, features: Tensor, labels: Tensor) -> Tensor:
    """What a class adds to the logits (B,): its vector times the features' sum over the map."""
    return (embedding(labels) * features.sum((2, 3))).sum(1)


class _Parts:
    """Makes the layers of one network, all of them labelled with their kind and output size."""

    def __init__(self, config: RunConfig, transposed=False, resized=False, classes: int = 0):
        self.config = config
        self.classes = classes  # that batch norm knows apart
        self.transposed = transposed
        self.resized = resized  # before the layer or after it, by another: it keeps the size
        self.convolve = nn.ConvTranspose2d if transposed else nn.Conv2d
        self.gate = {
            "alpha": config.alpha,
            "alpha_init": config.alpha_init,
            "attention_spectral_norm": config.attention_spectral_norm,
            "released": config.released,
            "exact": config.exact,
        }

    def convolution(self, inputs, outputs, geometry, activation, norm) -> nn.Module:
        usual = self._resampling() if self.resized else (4, 2, 1, 0)
        kernel, stride, padding, _ = geometry or usual
        layer = self.convolve(inputs, outputs, kernel, stride, padding)
        layer = spectral_norm(layer, self.config.released)
        return nn.Sequential(layer, *([self.batch_norm(outputs)] if norm else []), activation)

    def batch_norm(self, channels: int) -> nn.BatchNorm2d:
        if self.classes:
            return ConditionalBatchNorm2d(channels, self.classes)
        return nn.BatchNorm2d(channels)

    def full(
        self, inputs, outputs, size, geometry, activation, norm, plain=False, image_side=False
    ) -> FullAttention2d:
        layer = FullAttention2d(
            inputs,
            outputs,
            *(geometry or self._resampling()),
            transposed=self.transposed,
            squeeze=1 if image_side else self.config.squeeze,
            activation=activation,
            use_spectral_norm=not plain,
            use_batch_norm=norm,
            merge=self.config.merge,
            heads=1 if plain or image_side else self.config.heads,
            **self.gate,
        )
        if norm:
            layer.batch_norm = self.batch_norm(outputs)
        layer.label = f"full {size}x{size}"
        return layer

    def self_attention(self, channels, size, variant: str | None = None) -> SelfAttention2d:
        layer = SelfAttention2d(
            channels,
            squeeze=self.config.squeeze,
            variant=variant or self.config.self_attention,
            heads=self.config.heads,
            **self.gate,
        )
        layer.label = f"self {size}x{size}"
        return layer

    def _resampling(self) -> tuple[int, int, int, int]:
        """Kernel, stride, padding and output padding that double or halve exactly, or keep."""
        k = self.config.kernel_size
        if self.resized:
            return k, 1, k // 2, 0
        return k, 2, (k - 1) // 2, k % 2 if self.transposed else 0


def build(config: RunConfig) -> tuple[Generator, Discriminator]:
    """Both networks, initialised from `config.seed` without touching the global generator.

    Raises UserError where a matched control cannot come within 2 % of its target.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return Generator(config), Discriminator(config)


def parameters(network: nn.Module) -> int:
    """Trained numbers of a network."""
    return sum(p.numel() for p in network.parameters())


@torch.no_grad()
def alphas(model: nn.Module) -> dict[str, float]:
    """One number per gated layer, in the order of definition; the mean of an alpha per channel.

    Keys are the layer's label ("full 8x8", "self 16x16") or, in a network of your own, its name
    there ("" for the layer itself). A layer with merge "concat" has no alpha.
    """
    return {
        getattr(layer, "label", name): layer.alpha.mean().item()
        for name, layer in model.named_modules()
        if isinstance(layer, Gated) and hasattr(layer, "alpha")
    }


def widths(config: RunConfig) -> tuple[float, float]:
    """Channel multipliers of generator and discriminator: `config.width`, or a control's own."""
    if config.architecture not in MATCHED:
        return config.width, config.width
    return _matched_widths(
        *(replace(config, architecture=name) for name in MATCHED[config.architecture])
    )


@cache
def _matched_widths(control: RunConfig, target: RunConfig) -> tuple[float, float]:
    return tuple(_matched_width(network, control, target) for network in (Generator, Discriminator))


def _matched_width(network: type[nn.Module], control: RunConfig, target: RunConfig) -> float:
    """Bisect the width at which `control` has as many parameters as `target`; within 2 %."""
    count = partial(_count, network)
    wanted = count(target, target.width)
    low, high = control.width / 4, control.width * 4
    while high - low > control.width / 2048:
        middle = (low + high) / 2
        low, high = (middle, high) if count(control, middle) < wanted else (low, middle)
    width = min(low, high, key=lambda w: abs(count(control, w) - wanted))
    off = count(control, width) / wanted - 1
    if abs(off) > 0.02:
        raise UserError(
            f"no width of {control.architecture} comes within 2 % of the {wanted:,} parameters of "
            f"{target.architecture}'s {network.__name__.lower()} (nearest: {off:+.1%}); "
            "raise width"
        )
    return width


def _count(network: type[nn.Module], config: RunConfig, width: float) -> int:
    with torch.device("meta"), left_out():
        return parameters(network(config, width))
