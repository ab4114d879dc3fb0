"""Sample grids: PNGs of 8 x 8 images of the same 64 latents, in every run and at every step."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy


def read_grid(path: Path, across: int = 8) -> "numpy.ndarray":
    """(64, R, R, 3) uint8 of a sample grid."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    size = pixels.shape[0] // across
    pixels = pixels[: across * size, : across * size]
    return pixels.reshape(across, size, across, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)


def grid_step(path: Path) -> int:
    """The step in a sample grid's name."""
    return int(Path(path).stem.removeprefix("step_"))
