"""The released code, attn_gan_pytorch 1.2.3 (akanimax/fagan): its weights and its training.

Weights: the author's GAN_GEN_*.pth and GAN_DIS_*.pth and those of attn_gan_pytorch's SAGAN sample
are nested Sequentials ("model.0.query_conv.weight", "model.4.0.module.weight_bar", ...) with the
weights before spectral norm and the package's own u and v. Networks built with `released=True` take
all of it and compute the same function; with `released=False` the exact spectral norm starts from
the same weights and finds its u and v anew. (The package's SAGAN ends in a linear generator and a
tanh on the logit, ours in tanh and a linear logit; same weights.)

Training: its layers, GAN class, update functions and losses are called unchanged. Written anew is
only what no longer starts: its reader of configurations (`networks`) and its Adam betas.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fagan.architectures import stages_of
from fagan.config import RunConfig
from fagan.errors import UserError, reason
from fagan.layers import FullAttention2d, Gated
from fagan.models import RESIZING, Discriminator, Generator
from fagan.spectral_norm import ReleasedSpectralNorm

try:
    from attn_gan_pytorch import CustomLayers, Losses, Networks
except ModuleNotFoundError:  # its weights are read without it
    Networks = None

Names = tuple[str, str]
LOSSES = {"hinge": "HingeGAN", "relativistic-hinge": "RelativisticAverageHingeGAN"}


def load_package_file(path: Path | str) -> dict[str, Tensor]:
    """Read a .pth of the package; nothing in it is executed (weights_only=True)."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}") from error
    except Exception as error:  # torch raises a dozen kinds; the file is the user's
        raise UserError(f"{path} is not a plain PyTorch state dict ({reason(error)})") from error
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise UserError(f"{path} holds no state dict of tensors")
    return dict(state)


def from_package(network: Generator | Discriminator, state: Mapping[str, Tensor]) -> None:
    """Load a state dict of the package into one of our networks, in place.

    The network must have the architecture that the state was saved from (`fagan` or `sagan`).
    Raises UserError naming the first key that is missing, left over or of another shape.
    """
    ours, pairs = network.state_dict(), _pairs(network)
    unused = set(state) - set(pairs.values()) - set(_batch_norm_without_use(network))
    if any(_exactly_normed(network)):
        unused = {name for name in unused if not name.endswith((".weight_u", ".weight_v"))}
    if unused:
        raise UserError(f"the file has {sorted(unused)[0]!r}, which this network does not")
    for name, theirs in pairs.items():
        if theirs not in state:
            raise UserError(f"the file lacks {theirs!r}, which this network needs")
        if state[theirs].shape != ours[name].shape:
            raise UserError(
                f"{theirs!r} has shape {tuple(state[theirs].shape)}, "
                f"this network needs {tuple(ours[name].shape)}; is the width right?"
            )
        ours[name] = state[theirs]
    network.load_state_dict(ours)
    for layer in _exactly_normed(network):
        # the file has no u and v for the exact spectral norm: every reading of the weight in train
        # mode is one power iteration
        training = layer.training
        layer.train()
        for _ in range(50):
            _ = layer.weight
        layer.train(training)


def to_package(network: Generator | Discriminator) -> dict[str, Tensor]:
    """Our `released=True` network as a state dict that the package loads with strict=True."""
    ours = network.state_dict()
    if any(_exactly_normed(network)):
        raise UserError("the package's file holds its own u and v: build with released=True")
    state = {theirs: ours[name].clone() for name, theirs in _pairs(network).items()}
    return state | _batch_norm_without_use(network)


def _exactly_normed(network: nn.Module) -> Iterator[nn.Module]:
    for layer in network.modules():
        if parametrize.is_parametrized(layer):
            if not isinstance(layer.parametrizations.weight[0], ReleasedSpectralNorm):
                yield layer


def _pairs(network: nn.Module) -> dict[str, str]:
    """{our key: the package's key} of every tensor that both hold, in the package's order.

    Raises UserError for a network that the package does not have.
    """
    index, pairs = 0, {}
    if any(isinstance(layer, RESIZING) for layer in network.modules()):
        raise UserError("not a network of the package's: it has no stage that resizes")
    for name, layer in network.stages.named_children():
        ours, theirs = f"stages.{name}", f"model.{index}"
        if isinstance(layer, Gated):
            pairs |= _attention(layer, ours, theirs)
            index += 2  # the package puts an IgnoreAttentionMap after each
        else:
            pairs |= _convolution(layer[0], f"{ours}.0", f"{theirs}.0")
            if isinstance(layer[1], nn.BatchNorm2d):
                pairs |= _batch_norm(f"{ours}.1", f"{theirs}.1")
            index += 1
    pairs |= _convolution(network.output, "output", f"model.{index}.0")
    if strange := set(pairs) - set(network.state_dict()):
        raise UserError(f"not a network of the package's: it lacks {min(strange)!r}")
    return pairs


def _attention(layer: nn.Module, ours: str, theirs: str) -> Iterator[Names]:
    yield f"{ours}.alpha", f"{theirs}.gamma"
    for part in ("query", "key", "value"):
        yield from _convolution(getattr(layer, part), f"{ours}.{part}", f"{theirs}.{part}_conv")
    if isinstance(layer, FullAttention2d):
        yield from _convolution(layer.convolution, f"{ours}.convolution", f"{theirs}.residual_conv")
        if isinstance(layer.batch_norm, nn.BatchNorm2d):
            yield from _batch_norm(f"{ours}.batch_norm", f"{theirs}.batch_norm")


def _convolution(layer: nn.Module, ours: str, theirs: str) -> Iterator[Names]:
    if not parametrize.is_parametrized(layer):
        yield f"{ours}.weight", f"{theirs}.weight"
        yield f"{ours}.bias", f"{theirs}.bias"
        return
    yield f"{ours}.bias", f"{theirs}.module.bias"
    yield f"{ours}.parametrizations.weight.original", f"{theirs}.module.weight_bar"
    if isinstance(layer.parametrizations.weight[0], ReleasedSpectralNorm):
        for vector in "uv":
            yield f"{ours}.parametrizations.weight.0.{vector}", f"{theirs}.module.weight_{vector}"


def _batch_norm(ours: str, theirs: str) -> Iterator[Names]:
    for tensor in nn.BatchNorm2d(1).state_dict():
        yield f"{ours}.{tensor}", f"{theirs}.{tensor}"


def _batch_norm_without_use(network: nn.Module) -> dict[str, Tensor]:
    """The package builds a batch norm in every FullAttention, used or not; ours only where used."""
    pairs, state = _pairs(network), {}
    for name, layer in network.named_modules():
        if isinstance(layer, FullAttention2d) and isinstance(layer.batch_norm, nn.Identity):
            spare = nn.BatchNorm2d(layer.value.out_channels).state_dict()
            theirs = pairs[f"{name}.alpha"].removesuffix("gamma")
            state |= {f"{theirs}batch_norm.{k}": v for k, v in spare.items()}
    return state


class Released:
    """The package's GAN with its optimizers; `step` is one iteration of its training loop."""

    def __init__(self, config: RunConfig, device: torch.device):
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
    if Networks is None:
        raise UserError("the released code is a package: pip install attn-gan-pytorch==1.2.3")
    stages = stages_of(config.architecture, config.resolution)
    if any(letters[0] in "RB" for letters in (*stages.generator, *stages.discriminator)):
        raise UserError(f"{config.architecture!r}: the released code has no stage that resizes")
    if config.batch_norm_convolutions:
        raise UserError("batch_norm_convolutions=true: the released code has none there")
    channels = config.channels()

    layers, inputs = [], config.latent_size
    for i, (letters, outputs) in enumerate(zip(stages.generator, channels, strict=True)):
        geometry = (2, 1) if i else (1, 0)  # stride and padding
        if letters.startswith("F"):
            layers += _full(inputs, outputs, nn.LeakyReLU(0.3), True, *geometry)
        else:
            convolution = nn.ConvTranspose2d(inputs, outputs, 4, *geometry)
            norms = CustomLayers.SpectralNorm(convolution), nn.BatchNorm2d(outputs)
            layers.append(nn.Sequential(*norms, nn.ReLU()))
        layers += _self(outputs) if letters.endswith("+A") else []
        inputs = outputs
    if stages.output == "F":
        layers += _full(inputs, 3, nn.Tanh(), True, spectral_norm=False, batch_norm=False)
    else:
        layers.append(nn.Sequential(nn.ConvTranspose2d(inputs, 3, 4, 2, 1), nn.Tanh()))
    generator = Networks.Generator(layers, config.latent_size)

    layers, inputs = [], 3
    for i, (letters, outputs) in enumerate(zip(stages.discriminator, channels[::-1], strict=True)):
        if letters.startswith("F"):
            activation = nn.LeakyReLU(0.3 if i else 0.1)
            squeeze = 8 if i else 1  # 3 // 8 = 0 channels at the image
            layers += _full(inputs, outputs, activation, False, squeeze=squeeze, batch_norm=i > 0)
        else:
            convolution = CustomLayers.SpectralNorm(nn.Conv2d(inputs, outputs, 4, 2, 1))
            layers.append(nn.Sequential(convolution, nn.LeakyReLU(0.1)))
        layers += _self(outputs) if letters.endswith("+A") else []
        inputs = outputs
    layers.append(nn.Sequential(nn.Conv2d(inputs, 1, 4)))
    return generator, Networks.Discriminator(layers)


def _full(
    inputs, outputs, activation, transposed, stride=2, padding=1, squeeze=8,
    spectral_norm=True, batch_norm=True,
) -> list[nn.Module]:  # fmt: skip
    geometry = (stride, stride), (padding, padding)
    norms = spectral_norm, batch_norm
    make = CustomLayers.FullAttention
    layer = make(inputs, outputs, activation, (4, 4), transposed, *norms, squeeze, *geometry)
    return [layer, CustomLayers.IgnoreAttentionMap()]


def _self(channels: int) -> list[nn.Module]:
    return [CustomLayers.SelfAttention(channels), CustomLayers.IgnoreAttentionMap()]
