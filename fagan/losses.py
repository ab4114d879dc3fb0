"""GAN losses: pure functions of logits.

`LOSSES[name].discriminator(real, fake)` and `.generator(real, fake)` take logits of shape (B,) and
return a scalar. Where `needs_real` is False the generator's side ignores the real logits, which may
then be None: the pass through the discriminator is saved.

Sources: Goodfellow 2014 (standard, non-saturating); Mao 2017 (least squares); Lim & Ye 2017 and
Miyato 2018 (hinge); Jolicoeur-Martineau 2018, arXiv 1807.00734 (relativistic average: RaGAN and
RaHingeGAN, and RpGAN, which pairs image by image); Huang 2024, arXiv 2501.05441 (R3GAN: RpGAN with
the gradient penalties R1 and R2). The released package's LSGAN squares the mean of the logits; here
it is the paper's mean of squares.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Loss(NamedTuple):
    """Both sides of one loss."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor | None, Tensor], Tensor]
    needs_real: bool


def _standard_d(real: Tensor, fake: Tensor) -> Tensor:
    # -log sigmoid(real) - log(1 - sigmoid(fake)), averaged over the two as the package does
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def _standard_g(real: Tensor | None, fake: Tensor) -> Tensor:
    return F.softplus(-fake).mean()


def _least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def _least_squares_g(real: Tensor | None, fake: Tensor) -> Tensor:
    return (fake - 1).square().mean() / 2


def _hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _hinge_g(real: Tensor | None, fake: Tensor) -> Tensor:
    return -fake.mean()


def _relative(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """How much more real each image looks than the average of the other kind."""
    return real - fake.mean(), fake - real.mean()


def _relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    return _standard_d(*_relative(real, fake))


def _relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    real, fake = _relative(real, fake)
    return _standard_d(fake, real)  # the roles change sides


def _relativistic_hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    return _hinge_d(*_relative(real, fake))


def _relativistic_hinge_g(real: Tensor, fake: Tensor) -> Tensor:
    real, fake = _relative(real, fake)
    return _hinge_d(fake, real)


def _pairing_d(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(fake - real).mean()


def _pairing_g(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(real - fake).mean()


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """The mean squared norm of the logits' gradient at their images, to be differentiated again.

    logits (B,), images (B, 3, R, R). Halved and times gamma it is R1 at real images and R2 at
    generated ones (Mescheder 2018, arXiv 1801.04406).
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


LOSSES: dict[str, Loss] = {
    "standard": Loss(_standard_d, _standard_g, needs_real=False),
    "least-squares": Loss(_least_squares_d, _least_squares_g, needs_real=False),
    "hinge": Loss(_hinge_d, _hinge_g, needs_real=False),
    "relativistic": Loss(_relativistic_d, _relativistic_g, needs_real=True),
    "relativistic-hinge": Loss(_relativistic_hinge_d, _relativistic_hinge_g, needs_real=True),
    "relativistic-pairing": Loss(_pairing_d, _pairing_g, needs_real=True),
}
