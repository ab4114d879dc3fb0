"""`load`: from a configuration to the images of one split, decoded once and kept on disk."""

import logging
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fagan import faces, ties
from fagan.config import PROCEDURAL, RunConfig
from fagan.data.cache import Blocks, Stored, stored
from fagan.data.sources import CelebA, Cifar10, open_source
from fagan.errors import UserError, one_line, reason
from fagan.files import given_path

log = logging.getLogger(__name__)

Split = Literal["train", "reference"]

DRAWN = 20_000  # procedural training images where the configuration does not say
# Raise it when the pixels of a decoded image change: cached sets are keyed by it.
VERSION = 1
_HOLD_OUT_FROM = 4  # own images are held out only from this many times the reference on
_BROKEN_SHARE = 0.01  # more broken images than this are a broken data set
_BLOCK = 512  # images decoded between two writes
_DARK, _LIGHT = 8, 247  # mean grey levels of a whole set that was hardly meant so
_FEW = 2**13  # nor, of a set of 16-bit files, values that all lie below


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
    """

    images: Tensor
    name: str
    split: str
    checksum: str
    broken: tuple[str, ...] = ()
    ties: str = ""

    def __len__(self) -> int:
        return len(self.images)


def load(config: RunConfig, split: Split, *, download: bool = False) -> ImageSet:
    """The training images or the reference images of a run.

    faces, ties: two seeds. cifar10, celeba: the published train and test splits, in $FAGAN_DATA,
    ./data or config.data_path, fetched only if `download`. folder: n_real images are held out for
    reference if that leaves three times as many for training, else the reference is a sample of the
    training images. Raises UserError where images are missing or too many are broken.
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
    return _slice(found, 0, len(found.images), source.name, "train" if train else "test")


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
    return replace(found, ties=name)


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


# From an image file to pixels


def decoded(source, resolution: int, crop: str, limit: int = 0) -> Blocks:
    """Blocks of (pixels uint8 (n, 3, R, R), names that could not be read), in a shuffled order.

    The order is a permutation of the sorted names with seed 0, the same on every machine and for
    every run: any beginning of it is a random sample of the source. Stops after `limit` images
    (0 = all). Every broken image is logged; more than 1 % of them raise UserError at the end.
    """
    names, reasons = source.names, {}
    deep: list[tuple[int, int]] = []  # lowest and highest value of files with more than 8 bits
    left = np.random.default_rng(0).permutation(len(names)).tolist()
    missing, tried, total = limit or len(names), 0, 0
    log.info("decoding %d images to %d pixels, once", missing, resolution)
    attempt = partial(_pixels_or_reason, source, resolution, crop, deep)
    with ThreadPoolExecutor(_threads()) as pool:
        while left and missing:
            size = min(_BLOCK, missing)
            block, left = left[:size], left[size:]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PIL's, on what it reads all the same
                found = list(pool.map(attempt, block))
            good = [image for image in found if not isinstance(image, str)]
            failed = {names[i]: r for i, r in zip(block, found, strict=True) if isinstance(r, str)}
            images = np.array(good, np.uint8).reshape(len(good), 3, resolution, resolution)
            reasons |= failed
            tried, missing = tried + len(block), missing - len(good)
            total += images.sum(dtype=np.int64)
            yield images, list(failed)
    _judge(source.name, reasons, tried)
    _warn_of_extremes(source.name, total / (tried - len(reasons)) / 3 / resolution**2, deep)


def _pixels_or_reason(source, resolution: int, crop: str, deep: list, index: int):
    """One image's pixels, or why there are none; its range goes to `deep` if it has one."""
    try:
        image = source.image(index)
        if _is_integer(image):
            values = np.asarray(image)
            deep.append((int(values.min()), int(values.max())))
        return pixels(image, resolution, crop)
    except UserError:  # about the source, not about one image
        raise
    except UnidentifiedImageError:
        return "not an image"
    except Exception as error:  # whatever a decoder raises is a fault of its image
        return reason(error)


def _judge(name: str, reasons: dict[str, str], tried: int) -> None:
    """Log every broken image, or refuse the set when there are too many."""
    if len(reasons) > _BROKEN_SHARE * tried:
        first = ", ".join(f"{image} ({why})" for image, why in list(reasons.items())[:3])
        raise UserError(
            f"{len(reasons)} of {tried} images of {name!r} cannot be read, more than "
            f"{_BROKEN_SHARE:.0%}: {first}{', ...' if len(reasons) > 3 else ''}; "
            "mend or remove them"
        )
    for image, why in reasons.items():
        log.warning("left out a broken image: %s (%s)", one_line(image), why)


def _warn_of_extremes(name: str, mean: float, deep: list[tuple[int, int]]) -> None:
    """12 bits in a 16-bit file, or counts in a 32-bit one, come out black without a word."""
    low, high = min((low for low, _ in deep), default=0), max((high for _, high in deep), default=0)
    if _DARK <= mean <= _LIGHT and not 0 < high < _FEW:
        return
    seen = (
        f"the files hold {low:,} to {high:,}, of which 65,535 is white" if deep else "8-bit files"
    )
    log.warning(
        "%s: the decoded images have a mean of %.1f of 255 (%s). If they were meant otherwise, "
        "scale the files to their full range",
        *(name, mean, seen),
    )


def _is_integer(image: Image.Image) -> bool:
    """Whether it holds integers of more than 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;16")


def _threads() -> int:
    """Decoding lets other threads run, so all of the cores that this process may use help."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(16, len(affinity(0)) if affinity else os.cpu_count() or 1)


def pixels(image: Image.Image, resolution: int, crop: str) -> np.ndarray:
    """An open image as uint8 (3, R, R): upright, RGB, square.

    crop "center" cuts the largest central square, "none" squeezes the whole image into one.
    Resized by PIL's Lanczos: antialiased, in fixed-point arithmetic, so that every machine gets
    the same pixels from the same decoder.
    """
    ImageOps.exif_transpose(image, in_place=True)
    image = to_rgb(image)
    if crop == "center":
        # not ImageOps.fit: it cuts between pixels where the margin is odd, and blends across
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if image.size != (resolution, resolution):
        image = image.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(image).transpose(2, 0, 1)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB: transparency on white; colour profiles are ignored.

    Integers of more than 8 bits are read as 16-bit (PIL's own conversion would clip them at 255);
    floats as [0, 1], or as 0..255 where the image goes above 1.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if _is_integer(image):
        grey = np.asarray(image).clip(0, 65535) / 257
        image = Image.fromarray(grey.round().astype(np.uint8))
    elif image.mode == "F":
        grey = np.nan_to_num(np.asarray(image))
        grey = grey * 255 if grey.max() <= 1 else grey
        image = Image.fromarray(grey.clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
