"""Losses against values worked out by hand and gradients in closed form."""

import pytest
import torch

from fagan.config import LOSSES as NAMES
from fagan.losses import LOSSES

REAL = torch.tensor([2.0, -0.5, 0.25], dtype=torch.float64)
FAKE = torch.tensor([-3.0, 0.75, 0.1], dtype=torch.float64)


def gradients(function):
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    function(real, fake).backward()
    zero = torch.zeros_like(REAL)
    return tuple(zero if x.grad is None else x.grad for x in (real, fake))


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def step(x):
    return (x > 0).double()


def relativistic(slope_r, slope_f):
    """Chain rule for f(real - mean fake) + f(fake - mean real), given both inner slopes over n."""
    return slope_r - slope_f.sum() / 3, slope_f - slope_r.sum() / 3


R, F_ = REAL - FAKE.mean(), FAKE - REAL.mean()
PAIRS = REAL - FAKE
ZERO = torch.zeros(3, dtype=torch.float64)
CLOSED_FORMS = {
    ("standard", "discriminator"): (-sigmoid(-REAL) / 6, sigmoid(FAKE) / 6),
    ("standard", "generator"): (ZERO, -sigmoid(-FAKE) / 3),
    ("least-squares", "discriminator"): ((REAL - 1) / 3, FAKE / 3),
    ("least-squares", "generator"): (ZERO, (FAKE - 1) / 3),
    ("hinge", "discriminator"): (-step(1 - REAL) / 3, step(1 + FAKE) / 3),
    ("hinge", "generator"): (ZERO, torch.full_like(FAKE, -1 / 3)),
    ("relativistic", "discriminator"): relativistic(-sigmoid(-R) / 6, sigmoid(F_) / 6),
    ("relativistic", "generator"): relativistic(sigmoid(R) / 6, -sigmoid(-F_) / 6),
    ("relativistic-hinge", "discriminator"): relativistic(-step(1 - R) / 3, step(1 + F_) / 3),
    ("relativistic-hinge", "generator"): relativistic(step(1 + R) / 3, -step(1 - F_) / 3),
    ("relativistic-pairing", "discriminator"): (-sigmoid(-PAIRS) / 3, sigmoid(-PAIRS) / 3),
    ("relativistic-pairing", "generator"): (sigmoid(PAIRS) / 3, -sigmoid(PAIRS) / 3),
}


@pytest.mark.parametrize("name,side", CLOSED_FORMS)
def test_gradient_is_the_closed_form(name, side):
    found = gradients(getattr(LOSSES[name], side))
    for got, expected in zip(found, CLOSED_FORMS[name, side], strict=True):
        assert torch.allclose(got, expected, rtol=0, atol=1e-14)


def test_values_by_hand():
    real, fake = torch.tensor([0.5, 3.0]), torch.tensor([-2.0, 0.0])
    # hinge: relu(1 - real) = .5, 0 and relu(1 + fake) = 0, 1
    assert LOSSES["hinge"].discriminator(real, fake) == pytest.approx(0.25 + 0.5)
    assert LOSSES["hinge"].generator(None, fake) == pytest.approx(1.0)
    # least squares: (.25 + 4) / 2 and (4 + 0) / 2, halved; the package would square the means
    assert LOSSES["least-squares"].discriminator(real, fake) == pytest.approx((2.125 + 2.0) / 2)
    # means are 1.75 and -1: real - mean fake = 1.5, 4; fake - mean real = -3.75, -1.75
    assert LOSSES["relativistic-hinge"].discriminator(real, fake) == pytest.approx(0.0)
    assert LOSSES["relativistic-hinge"].generator(real, fake) == pytest.approx(3.75 + 3.75)


@pytest.mark.parametrize("name", NAMES)
def test_needs_real_says_what_is_so(name):
    loss = LOSSES[name]
    if loss.needs_real:
        assert gradients(loss.generator)[0].abs().max() > 0
    else:
        assert torch.isfinite(loss.generator(None, FAKE))


def test_every_configured_loss_exists():
    assert set(LOSSES) == set(NAMES)
    assert {loss for loss, _ in CLOSED_FORMS} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_large_logits_stay_finite(name):
    big = torch.tensor([1e4, -1e4])
    assert torch.isfinite(LOSSES[name].discriminator(big, -big))
    assert torch.isfinite(LOSSES[name].generator(big, -big))
