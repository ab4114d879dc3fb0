"""Tied patches: a procedural data set that measures how far apart a network can keep a tie.

Every image, a pure function of (seed, index), holds four pairs of square patches on a soft ground.
The two patches of a pair have exactly one colour (before the sensor noise), drawn independently of
all else, so nothing but its partner predicts it. The pairs differ in how far apart their patches
lie: 4, 8, 16 and 28 pixels at 32 pixels, and the same shares of the width at any other size.
`untied` breaks exactly one of them: the null.

>>> from fagan.ties import render
>>> render(range(4), resolution=32).shape
torch.Size([4, 3, 32, 32])
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from fagan.errors import UserError, unknown
from fagan.faces.attributes import (
    REFERENCE_SEED,
    TRAIN_SEED,
    as_indices,
    counter_uniforms,
    from_hsv,
)

__all__ = ["DISTANCES", "REFERENCE_SEED", "TIES", "TRAIN_SEED", "VERSION", "probes", "render"]

# Raise it when a picture changes: stored pictures are keyed by it.
VERSION = 1
# Of the pairs from top to bottom, between the centres of the patches, in 32nds of the width. Not in
# their own order: a height must not stand for a distance.
DISTANCES = (16, 4, 28, 8)
TIES = {str(d): (f"left_{d}", f"right_{d}") for d in sorted(DISTANCES)}
_SIDE = 3  # of a patch, in 32nds of the width
_NOISE = 0.01 * 3.4641  # standard deviation 0.01, from uniforms of width 1
_BATCH = 512
# Independent families of uniforms under one seed; the faces have 0, 7 and 11.
_GROUND, _COLOURS, _UNTIED, _GRAIN = 20, 21, 22, 23


def render(
    indices: Iterable[int] | Tensor,
    resolution: int,
    seed: int = TRAIN_SEED,
    untied: int | None = None,
) -> Tensor:
    """The images with these indices: uint8 (N, 3, R, R), R a multiple of 32.

    untied: one of DISTANCES, whose right patches are drawn anew; every other pixel stays as it was.
    """
    if resolution % 32 or not 32 <= resolution <= 256:
        raise UserError(f"ties are drawn at multiples of 32 pixels up to 256, not at {resolution}")
    if untied is not None and untied not in DISTANCES:
        raise unknown("distance", untied, DISTANCES)
    indices = as_indices(indices)
    images = torch.empty(len(indices), 3, resolution, resolution, dtype=torch.uint8)
    for start in range(0, len(indices), _BATCH):
        some = indices[start : start + _BATCH]
        image = _ground(counter_uniforms(seed, some, 15, _GROUND), resolution)
        hues = counter_uniforms(seed, some, 3 * len(DISTANCES), _COLOURS)
        anew = counter_uniforms(seed, some, 3 * len(DISTANCES), _UNTIED)
        for row, (left, right) in enumerate(_places(resolution)):
            columns = slice(3 * row, 3 * row + 3)
            other = anew if DISTANCES[row] == untied else hues
            image[:, :, *left] = _patch(hues[:, columns])
            image[:, :, *right] = _patch(other[:, columns])
        grain = counter_uniforms(seed, some, 3 * resolution**2, _GRAIN).reshape(image.shape) - 0.5
        image = (image + grain * _NOISE).clip(0, 1) * 255 + 0.5
        images[start : start + _BATCH] = torch.from_numpy(np.floor(image).astype(np.uint8))
    return images


def probes(images: Tensor) -> dict[str, Tensor]:
    """Images (N, 3, R, R), uint8 or float in [0, 1] -> mean colours, float32 (N, 3) in [0, 1].

    Keys: left_4, right_4, ... of the patches, and ground_0 to ground_3, a place of the ground in
    the height of each pair.
    """
    _, channels, height, width = images.shape
    if channels != 3 or height != width or width % 32:
        raise ValueError(f"probes read (N, 3, R, R) images, not {tuple(images.shape)}")
    scale = 255 if images.dtype == torch.uint8 else 1
    found = {}
    for row, (distance, places) in enumerate(zip(DISTANCES, _places(width), strict=True)):
        for side, place in zip(("left", "right"), places, strict=True):
            found[f"{side}_{distance}"] = images[:, :, *place].float().mean((2, 3)) / scale
        free = 0 if distance != 28 else 12  # where no patch of this height lies
        ground = places[0][0], slice(free * width // 32, (free + 4) * width // 32)
        found[f"ground_{row}"] = images[:, :, *ground].float().mean((2, 3)) / scale
    return found


def _places(resolution: int) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """(rows, columns) of the left and the right patch of every pair."""
    unit, places = resolution // 32, []
    for row, distance in enumerate(DISTANCES):
        rows = slice((8 * row + 2) * unit, (8 * row + 2 + _SIDE) * unit)
        starts = 14 - distance // 2, 14 + distance // 2
        left, right = (slice(s * unit, (s + _SIDE) * unit) for s in starts)
        places.append(((rows, left), (rows, right)))
    return places


def _patch(uniforms: np.ndarray) -> np.ndarray:
    """Saturated colours (N, 3, 1, 1) that no ground has."""
    hue, saturation, value = uniforms.T
    return from_hsv(hue, 0.7 + 0.3 * saturation, 0.6 + 0.4 * value)[:, :, None, None]


def _ground(uniforms: np.ndarray, resolution: int) -> np.ndarray:
    """A slanted gradient between two muted colours with two soft discs: float32 (N, 3, R, R)."""
    columns = iter(uniforms[:, :, None, None, None].transpose(1, 0, 2, 3, 4))  # (N, 1, 1, 1)
    axis = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution
    x, y = axis[None, None, None, :], axis[None, None, :, None]

    def muted() -> np.ndarray:
        hue, saturation, value = (next(columns)[:, 0, 0, 0] for _ in range(3))
        return from_hsv(hue, 0.3 * saturation, 0.25 + 0.6 * value)[:, :, None, None]

    slant = 2 * next(columns) - 1
    image, end = muted(), muted()
    image = image + (end - image) * (slant * x + (1 - abs(slant)) * y).clip(0, 1)
    for _ in range(2):
        across, along, radius = next(columns), next(columns), 0.1 + 0.2 * next(columns)
        distance = np.sqrt((x - across) ** 2 + (y - along) ** 2)
        disc = (0.5 - (distance - radius) * 8).clip(0, 1)
        tone = 0.3 * (next(columns) - 0.5)
        image = image + disc * tone
    return image.clip(0, 1)
