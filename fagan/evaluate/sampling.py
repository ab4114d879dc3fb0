"""Images from a generator, without a trace in its training."""

from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fagan.conditioning import labelled
from fagan.data import to_uint8
from fagan.evaluate.distances import NotFinite


@contextmanager
def evaluating(network: nn.Module, train_mode: bool = False):
    """Eval mode; afterwards each submodule's mode and every parameter and buffer is as before.

    Buffers too, because the released spectral norm takes a step in eval mode as well. train_mode:
    as the released code draws its samples, in the mode of training.
    """
    modes = {module: module.training for module in network.modules()}
    before = {name: tensor.detach().clone() for name, tensor in _tensors(network)}
    network.train(train_mode)
    try:
        yield network
    finally:
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for name, tensor in _tensors(network):
                # NaN != NaN copies a diverged tensor onto itself, which does no harm
                if not torch.equal(tensor, before[name]):
                    tensor.copy_(before[name])


def sample(
    generator: nn.Module,
    n: int,
    latent_size: int,
    seed: int,
    batch: int = 64,
    device: str = "cpu",
    train_mode: bool = False,
    labels: Tensor | None = None,
) -> Tensor:
    """n images of a generator as uint8 (n, 3, R, R), on the CPU.

    The generator takes latents (B, latent_size) and returns floats (B, 3, R, R) in [-1, 1]; what
    lies outside is clamped. Image i depends on (seed, i) alone, neither on n nor on the batch, up
    to float rounding (seldom one grey level). Training does not notice: the latents come from a
    generator of their own, and modes and buffers are put back. In train_mode batch norm takes its
    statistics from the batch, so that an image depends on its neighbours. labels: int64 (n,), the
    classes to draw, where the generator knows classes (else those of `conditioning.labelled`).

    Raises NotFinite (a ValueError) where the generator returns NaN or infinity.
    """
    latents = labelled(generator, draw_latents(n, latent_size, seed), labels)
    return drawn_from(generator, latents, batch, device, train_mode)


def drawn_from(
    generator: nn.Module,
    latents: Tensor,
    batch: int = 64,
    device: str = "cpu",
    train_mode: bool = False,
) -> Tensor:
    """The images of given latents, uint8 (n, 3, R, R); otherwise as `sample`."""
    images = []
    # cached: spectral norm divides its weights once, not once a batch
    with torch.no_grad(), evaluating(generator, train_mode), parametrize.cached():
        for z in latents.split(batch):
            made = generator(z.to(device)).float()
            if not torch.isfinite(made).all():
                raise NotFinite("the generator's images hold NaN or infinity")
            images.append(to_uint8(made).cpu())
    return torch.cat(images)


def draw_latents(n: int, latent_size: int, seed: int) -> Tensor:
    """Standard normal latents (n, latent_size); row i is the same for every n."""
    # torch fills normals 16 at a time and redoes the last 16: whole blocks a row keep rows apart
    padded = -(-latent_size // 16) * 16
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, padded, generator=generator)[:, :latent_size]


def _tensors(network: nn.Module):
    yield from network.named_parameters()
    yield from network.named_buffers()
