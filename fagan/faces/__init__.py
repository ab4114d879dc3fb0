"""Procedural aligned faces, a data set that needs no download and whose structure is known.

Every image is a pure function of (seed, index), drawn from closed-form shapes. Two long-range ties
are exact before the sensor noise, and nothing near either end of a tie predicts its colour:

    eyes    left iris colour = right iris colour     a quarter of the width apart
    outfit  headgear colour = clothing colour        0.72 of the height apart

`mismatch` breaks exactly one of them: the nulls. Train and reference sets differ by seed, so they
share no image. Another CPU type may differ by one grey level.

>>> from fagan.faces import render
>>> render(range(4), resolution=32).shape
torch.Size([4, 3, 32, 32])
"""

from fagan.faces.attributes import (
    MISMATCHES,
    OPTIONS,
    REFERENCE_SEED,
    TRAIN_SEED,
    attributes,
)
from fagan.faces.probes import TIES, probes
from fagan.faces.render import VERSION, render
