"""Training batches as a pure function of (seed, step), and the one pair of range conversions."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

# Independent families of draws under one seed.
_ORDER, _FLIPS = 0, 1


def to_unit(images: Tensor) -> Tensor:
    """uint8 in 0..255 -> float32 in [-1, 1], the range of the networks."""
    return images.float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Floats in [-1, 1] (clamped) -> uint8 in 0..255 (rounded); the inverse of `to_unit`."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


class Batches:
    """The batches of one run: `at(step)` needs no history, so a resumed run has nothing to restore.

    Every epoch is a permutation of all images, derived from (seed, epoch); batches are cut from the
    endless row of epochs, so one may straddle two of them, or hold an image twice when there are
    fewer images than places. Flips are derived from (seed, step).
    """

    def __init__(
        self,
        images: Tensor,
        batch_size: int,
        seed: int,
        flip: bool = False,
        device: str | torch.device = "cpu",
        labels: Tensor | None = None,
        classes: int = 0,
    ):
        """`images`: uint8 (N, 3, R, R). They move to the device whole, once, as uint8.

        labels: int64 (N,), below `classes`.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or not len(images):
            raise ValueError(
                f"batches are cut from uint8 (N, C, H, W) images with N > 0, "
                f"not {images.dtype} {tuple(images.shape)}"
            )
        self.images = images.to(device)
        self.labels = None if labels is None else one_hot(labels, classes).float().to(device)
        self.batch_size = batch_size
        self.flip = flip
        self._seed = seed
        self._orders: dict[int, np.ndarray] = {}

    def at(self, step: int) -> Tensor:
        """The batch of a step: float32 (B, 3, R, R) in [-1, 1], on the device."""
        if step < 0:
            raise ValueError(f"step {step} is before the first batch")
        batch = self.images[self._moved(self.indices(step))]
        if self.flip:
            mirrored = self._random(_FLIPS, step).random(self.batch_size) < 0.5
            batch = torch.where(self._moved(mirrored).view(-1, 1, 1, 1), batch.flip(-1), batch)
        return to_unit(batch)

    def labels_at(self, step: int) -> Tensor:
        """The labels of a step's batch: one-hot float32 (B, classes), on the device."""
        return self.labels[self._moved(self.indices(step))]

    def indices(self, step: int) -> np.ndarray:
        """The places in `images` that a step's batch is taken from: int64 (B,)."""
        n = len(self.images)
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = np.arange(places[0] // n, places[-1] // n + 1)
        # an epoch's order is drawn once and kept while batches still need it
        self._orders = {int(e): self._order(int(e)) for e in epochs}
        return np.concatenate([self._orders[int(e)][places[places // n == e] % n] for e in epochs])

    def _moved(self, values: np.ndarray) -> Tensor:
        """On the images' device; from pinned memory, because a plain copy waits for the device."""
        moved = torch.from_numpy(values)
        if self.images.is_cuda:
            moved = moved.pin_memory().to(self.images.device, non_blocking=True)
        return moved

    def _order(self, epoch: int) -> np.ndarray:
        if epoch in self._orders:
            return self._orders[epoch]
        return self._random(_ORDER, epoch).permutation(len(self.images))

    def _random(self, family: int, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(family, number)))
