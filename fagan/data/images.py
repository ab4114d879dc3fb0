"""`load`: from a configuration to the images of one split, decoded once and kept on disk."""

import logging
import os
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from fagan import faces, ties
from fagan.config import LABELLED, PROCEDURAL, RunConfig
from fagan.data.cache import Blocks, Stored, stored
from fagan.data.decoding import decoded, order
from fagan.data.sources import CelebA, Cifar10, open_source
from fagan.errors import UserError
from fagan.files import given_path

log = logging.getLogger(__name__)

Split = Literal["train", "reference"]

DRAWN = 20_000  # procedural training images where the configuration does not say
# Raise it when the pixels of a decoded image change: cached sets are keyed by it.
VERSION = 1
_HOLD_OUT_FROM = 4  # own images are held out only from this many times the reference on


@dataclass(frozen=True)
class ImageSet:
    """Images of one split, and what a record says about them.

    images: uint8 (N, 3, R, R), mapped read-only from the cache; writing to it ends the process.
    name: "faces", "ties", "cifar10", "celeba", or the folder's or zip's own name without its path.
    split: "train", "test" (of a published set), "held-out" or "given"; a reference that had to be
        taken from the training images says "train".
    checksum: 12 hex digits of the sha256 of shape and pixels, the same wherever they came from.
    broken: names of the images that could not be read, of the whole source.
    ties: "faces" or "ties" where `evaluate.coherence` can read the images' ties, else "".
    labels: int64 (N,), each image's place in `classes`; None where the run asks for no labels.
    """

    images: Tensor
    name: str
    split: str
    checksum: str
    broken: tuple[str, ...] = ()
    ties: str = ""
    classes: tuple[str, ...] = ()
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


def load(config: RunConfig, split: Split, *, download: bool = False) -> ImageSet:
    """The training images or the reference images of a run.

    faces, ties: two seeds. cifar10, celeba: the published train and test splits, in $FAGAN_DATA,
    ./data or config.data_path, fetched only if `download`. folder: n_real images are held out for
    reference if that leaves three times as many for training, else the reference is a sample of the
    training images. Raises UserError where images are missing or too many are broken, and where
    class labels are asked for that are not as the configuration has them.
    """
    if split not in ("train", "reference"):
        raise ValueError(f"split {split!r} is neither 'train' nor 'reference'")
    if config.data in PROCEDURAL:
        return _drawn(config, split)
    if config.data == "folder":
        return _own(config, split)
    train = split == "train"
    root = given_path(config.data_path or os.environ.get("FAGAN_DATA") or "data")
    kind = {"cifar10": Cifar10, "celeba": CelebA}[config.data]
    source = kind("train" if train else "test", root, download)
    found = _decoded(source, config, limit=config.images if train else config.n_real)
    part = _slice(found, 0, len(found.images), source.name, "train" if train else "test")
    return _labelled(part, source, config, 0)


@cache  # of every run of a plan, and a folder's files are listed for it
def class_names(data: str, data_path: str = "") -> tuple[str, ...]:
    """The names of a source's classes. UserError where it has none, or not two with images."""
    if data == "faces":
        return faces.OPTIONS["headgear"]
    if data == "cifar10":
        return Cifar10.classes
    if data == "folder":
        return open_source(data_path).classes
    raise UserError(f"data={data} has no class labels ({', '.join(LABELLED)} have)")


def load_all(path: str | Path, resolution: int, crop: str = "center", limit: int = 0) -> ImageSet:
    """Every image of a folder or zip (or a random `limit` of them), held out from nothing.

    For images that are scored or scored against, not trained on; the split says "given". Raises
    UserError like `load`.
    """
    source = open_source(path)
    config = RunConfig(data="folder", data_path=str(path), resolution=resolution, crop=crop)
    found = _decoded(source, config, limit if limit < len(source.names) else 0)
    return _slice(found, 0, len(found.images), source.name, "given")


def _drawn(config: RunConfig, split: Split) -> ImageSet:
    train, size, name = split == "train", config.resolution, config.data
    source = {"faces": faces, "ties": ties}[name]
    count = (config.images or DRAWN) if train else config.n_real
    seed = source.TRAIN_SEED if train else source.REFERENCE_SEED
    key = {name: seed, "version": source.VERSION, "resolution": size, "count": count}

    def blocks() -> Blocks:
        log.info("drawing %d %s of %d pixels, once", count, name, size)
        for start in range(0, count, 1024):
            some = range(start, min(start + 1024, count))
            yield source.render(some, size, seed).numpy(), []

    found = stored(f"{name}-{size}", key, blocks, lambda: count * 3 * size**2)
    found = _slice(found, 0, count, name, "train" if train else "held-out")
    if config.classes:
        names = _as_planned(name, class_names(name), config)
        labels = faces.attributes(range(count), seed)["headgear"]
        found = replace(found, classes=names, labels=labels)
    return replace(found, ties=name)


def _own(config: RunConfig, split: Split) -> ImageSet:
    """The source in its shuffled order, cut in two: first the reference, then the training set."""
    source = open_source(config.data_path)
    count, held_out = len(source.names), config.n_real
    if count < _HOLD_OUT_FROM * held_out:
        held_out = 0
    limit = held_out + config.images if config.images else 0
    found = _decoded(source, config, limit if limit < count else 0)
    start, end, kind = 0, len(found.images), split
    if split == "train":
        start = held_out
    elif held_out:
        end, kind = held_out, "held-out"
    else:
        end, kind = min(config.n_real, end), "train"
    return _labelled(_slice(found, start, end, source.name, kind), source, config, start)


def _labelled(part: ImageSet, source, config: RunConfig, start: int) -> ImageSet:
    """The images with their labels, if the run asks for them; they begin at `start` of the set."""
    if not config.classes:
        return part
    classes = _as_planned(source.name, source.classes, config)
    broken, names, labels = set(part.broken), source.names, source.labels
    whole = (i for i in order(len(names)) if names[i] not in broken)
    chosen = list(islice(whole, start, start + len(part)))
    return replace(part, classes=classes, labels=torch.tensor([labels[i] for i in chosen]))


def _as_planned(name: str, classes: tuple[str, ...], config: RunConfig) -> tuple[str, ...]:
    if len(classes) != config.classes:
        raise UserError(
            f"{name} has {len(classes)} classes, the run {config.classes}: "
            "plan it again without `classes`"
        )
    return classes


def _decoded(source, config: RunConfig, limit: int) -> Stored:
    """The first `limit` images (0 = all) of a source's shuffled order."""
    resolution, crop = config.resolution, config.crop
    key = {
        "source": source.identity,
        "version": VERSION,
        "resolution": resolution,
        "crop": crop,
        "limit": limit,
    }
    make = partial(decoded, source, resolution, crop, limit)

    def size() -> int:
        return min(limit or len(source.names), len(source.names)) * 3 * resolution**2

    return stored(f"{config.data}-{resolution}", key, make, size)


def _slice(found: Stored, start: int, stop: int, name: str, split: str) -> ImageSet:
    return ImageSet(
        found.images[start:stop], name, split, found.checksum(start, stop), found.broken
    )
