"""`render`: from indices to pixels."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from fagan.errors import UserError
from fagan.faces.attributes import TRAIN_SEED, as_indices, attributes, noise
from fagan.faces.canvas import Canvas
from fagan.faces.painters import PAINTERS

RESOLUTIONS = range(16, 257)
# Raise it when a picture changes: stored pictures are keyed by it.
VERSION = 1
# Faces painted at once: 64 at 32 pixels, fewer of larger ones, so that a batch stays in a core's
# cache (measured: twice the speed of batches of 64 at 128 pixels).
_BATCH = 64
_BATCH_PIXELS = _BATCH * 32 * 32
# Sensor noise: the standard deviation at its strongest, and what scales a uniform of width 1 to a
# standard deviation of 1.
_NOISE = 0.012
_UNIT = 3.4641


def render(
    indices: Iterable[int] | Tensor,
    resolution: int,
    seed: int = TRAIN_SEED,
    mismatch: str | None = None,
) -> Tensor:
    """The faces with these indices: uint8 (N, 3, R, R), 16 <= R <= 256.

    A pure function of (seed, index) at a resolution: neither the batch, nor the order, nor the
    number of threads changes a pixel. Another CPU type may differ by one grey level, so compare
    across machines with that tolerance, not with a hash. `mismatch` as in `attributes`.
    """
    if resolution not in RESOLUTIONS:
        raise UserError(f"faces are drawn at 16 to 256 pixels, not {resolution}")
    indices = as_indices(indices)
    batch = max(1, min(_BATCH, _BATCH_PIXELS // resolution**2))
    images = torch.empty(len(indices), 3, resolution, resolution, dtype=torch.uint8)
    with _one_thread():
        for start in range(0, len(indices), batch):
            some = indices[start : start + batch]
            canvas = Canvas(attributes(some, seed, mismatch), resolution)
            for painter in PAINTERS:
                painter(canvas)
            grain = (noise(seed, some, resolution) - 0.5) * (_NOISE * _UNIT)
            image = canvas.image + grain * canvas.value("noise")
            images[start : start + batch] = (image.clamp_(0, 1) * 255 + 0.5).floor_()
    return images


@contextmanager
def _one_thread() -> Iterator[None]:
    """Thousands of small operations gain little from more threads, and lose tenfold where another
    process holds a core: each operation then waits for its slowest thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
