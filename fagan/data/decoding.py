"""From an image file to pixels, in an order that is the same on every machine."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fagan.data.cache import Blocks
from fagan.environment import available_cores
from fagan.errors import UserError, one_line, reason

log = logging.getLogger(__name__)

_BROKEN_SHARE = 0.01  # more broken images than this are a broken data set
_BLOCK = 512  # images decoded between two writes
_DARK, _LIGHT = 8, 247  # mean grey levels of a whole set that was hardly meant so
_FEW = 2**13  # nor, of a set of 16-bit files, values that all lie below


def decoded(source, resolution: int, crop: str, limit: int = 0) -> Blocks:
    """Blocks of (pixels uint8 (n, 3, R, R), names that could not be read), in a shuffled order.

    The order is a permutation of the sorted names with seed 0, the same on every machine and for
    every run: any beginning of it is a random sample of the source. Stops after `limit` images
    (0 = all). Every broken image is logged; more than 1 % of them raise UserError at the end.
    """
    names, reasons = source.names, {}
    deep: list[tuple[int, int]] = []  # lowest and highest value of files with more than 8 bits
    left = order(len(names))
    missing, tried, total = limit or len(names), 0, 0
    log.info("decoding %d images to %d pixels, once", missing, resolution)
    attempt = partial(_pixels_or_reason, source, resolution, crop, deep)
    # decoding lets other threads run
    with ThreadPoolExecutor(min(16, available_cores())) as pool:
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


def order(count: int) -> list[int]:
    """The shuffled order of a source's sorted names."""
    return np.random.default_rng(0).permutation(count).tolist()


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
