"""`load`: from a configuration to the images of one split."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from fagan import faces
from fagan.config import RunConfig
from fagan.data import decode
from fagan.data.cache import Stored, stored
from fagan.data.sources import CelebA, Cifar10, Source, open_source
from fagan.files import given_path

log = logging.getLogger(__name__)

Split = Literal["train", "reference"]
FACES = 20_000  # training images where the configuration does not say
# Own images are held out only where the training set stays this many times larger.
_HOLD_OUT_FROM = 4


@dataclass(frozen=True)
class ImageSet:
    """Images of one split, and what a record says about them.

    images: uint8 (N, 3, R, R), mapped read-only from the cache; writing to it ends the process.
    name: "faces", "cifar10", "celeba", or the folder's or zip's own name without its path.
    split: "train", "test" (of a published set) or "held-out"; a reference that had to be taken from
        the training images says "train".
    checksum: 12 hex digits of the sha256 of shape and pixels, the same wherever they came from.
    broken: names of the images that could not be read, of the whole source.
    """

    images: Tensor
    name: str
    split: str
    checksum: str
    broken: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)


def load(config: RunConfig, split: Split, *, download: bool = False) -> ImageSet:
    """The training images or the reference images of a run, decoded once and cached.

    faces: two seeds. cifar10, celeba: the published train and test splits, in $FAGAN_DATA, ./data
    or config.data_path, fetched only if `download`. folder: n_real images are held out for
    reference if that leaves three times as many for training, else the reference is a sample of the
    training images. Raises UserError where images are missing or too many are broken.
    """
    if split not in ("train", "reference"):
        raise ValueError(f"split {split!r} is neither 'train' nor 'reference'")
    if config.data == "faces":
        return _faces(config, split)
    if config.data == "folder":
        return _own(config, split)
    return _published(config, split, download)


def load_all(path: str | Path, resolution: int, crop: str = "center", limit: int = 0) -> ImageSet:
    """Every image of a folder or zip (or a random `limit` of them), held out from nothing.

    For images that are scored or scored against, not trained on; the split says "given". Raises
    UserError like `load`.
    """
    source = open_source(path)
    config = RunConfig(data="folder", data_path=str(path), resolution=resolution, crop=crop)
    found = _decoded(source, config, limit if limit < len(source.names) else 0)
    return _slice(found, 0, len(found.images), source.name, "given")


def _faces(config: RunConfig, split: Split) -> ImageSet:
    train = split == "train"
    count = (config.images or FACES) if train else config.n_real
    seed = faces.TRAIN_SEED if train else faces.REFERENCE_SEED
    resolution = config.resolution
    key = {
        "faces": seed,
        "version": faces.VERSION,
        "resolution": resolution,
        "count": count,
    }
    make = partial(_rendered, seed, count, resolution)
    found = stored(f"faces-{resolution}", key, make, lambda: _bytes(count, resolution))
    return _slice(found, 0, count, "faces", "train" if train else "held-out")


def _rendered(seed: int, count: int, resolution: int) -> Iterator[tuple[np.ndarray, list[str]]]:
    log.info("rendering %d faces of %d pixels, once", count, resolution)
    for start in range(0, count, 1024):
        some = range(start, min(start + 1024, count))
        yield faces.render(some, resolution, seed).numpy(), []


def _published(config: RunConfig, split: Split, download: bool) -> ImageSet:
    train = split == "train"
    root = given_path(config.data_path or os.environ.get("FAGAN_DATA") or "data")
    kind = {"cifar10": Cifar10, "celeba": CelebA}[config.data]
    source = kind("train" if train else "test", root, download)
    found = _decoded(source, config, limit=config.images if train else config.n_real)
    return _slice(found, 0, len(found.images), source.name, "train" if train else "test")


def _own(config: RunConfig, split: Split) -> ImageSet:
    """The source in its shuffled order, cut in two: first the reference, then the training set."""
    source = open_source(config.data_path)
    count, held_out = len(source.names), config.n_real
    if count < _HOLD_OUT_FROM * held_out:
        held_out = 0
    limit = held_out + config.images if config.images else 0
    found = _decoded(source, config, limit if limit < count else 0)
    end = len(found.images)
    if split == "train":
        return _slice(found, held_out, end, source.name, "train")
    if held_out:
        return _slice(found, 0, held_out, source.name, "held-out")
    return _slice(found, 0, min(config.n_real, end), source.name, "train")


def _decoded(source: Source, config: RunConfig, limit: int) -> Stored:
    """The first `limit` images (0 = all) of a source's shuffled order."""
    resolution, crop = config.resolution, config.crop
    key = {
        "source": source.identity,
        "version": decode.VERSION,
        "resolution": resolution,
        "crop": crop,
        "limit": limit,
    }
    make = partial(decode.decoded, source, resolution, crop, limit)

    def size() -> int:
        count = len(source.names)
        return _bytes(min(limit, count) if limit else count, resolution)

    return stored(f"{config.data}-{resolution}", key, make, size)


def _bytes(count: int, resolution: int) -> int:
    """Of uint8 (count, 3, R, R)."""
    return count * 3 * resolution**2


def _slice(found: Stored, start: int, stop: int, name: str, split: str) -> ImageSet:
    return ImageSet(
        found.images[start:stop], name, split, found.checksum(start, stop), found.broken
    )
