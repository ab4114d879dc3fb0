"""From any image that PIL reads to a square of uint8 RGB pixels."""

import logging
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fagan.data.sources import Source
from fagan.errors import UserError, one_line
from fagan.errors import reason as reason_of

log = logging.getLogger(__name__)

# Raise it when the pixels of a decoded image change: caches are keyed by it.
VERSION = 1
# More broken images than this share are a broken data set.
_BROKEN_SHARE = 0.01
_BLOCK = 512  # images decoded between two writes
# Grey levels of 255: a whole set with a mean beyond was hardly meant so.
_NEARLY_BLACK, _NEARLY_WHITE = 8, 247


def decoded(
    source: Source, resolution: int, crop: str, limit: int = 0
) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Blocks of (pixels uint8 (n, 3, R, R), names that could not be read), in a shuffled order.

    The order is a permutation of the sorted names with seed 0, the same on every machine and for
    every run: any beginning of it is a random sample of the source. Stops after `limit` images
    (0 = all). Every broken image is logged, a set that came out nearly black or white too; more
    than 1 % of broken ones raise UserError at the end.
    """
    names = source.names
    order = np.random.default_rng(0).permutation(len(names)).tolist()
    reasons: dict[str, str] = {}
    done = tried = brightness = 0
    log.info("decoding %d images to %d pixels, once", limit or len(names), resolution)
    # decoding lets other threads run, so all of the cores help
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's, on what it reads all the same
        while tried < len(order) and (not limit or done < limit):
            size = min(_BLOCK, limit - done) if limit else _BLOCK
            block = order[tried : tried + size]
            found = list(pool.map(lambda i: _pixels_or_reason(source, i, resolution, crop), block))
            images = [pixels for pixels in found if not isinstance(pixels, str)]
            failed = {names[i]: r for i, r in zip(block, found, strict=True) if isinstance(r, str)}
            tried += len(block)
            done += len(images)
            brightness += sum(float(image.mean()) for image in images)
            reasons |= failed
            shape = (len(images), 3, resolution, resolution)
            yield np.array(images, np.uint8).reshape(shape), list(failed)
    _judge(source.name, reasons, tried)
    if done and not _NEARLY_BLACK <= brightness / done <= _NEARLY_WHITE:
        _tell_of_the_range(source, brightness / done)


def _pixels_or_reason(source: Source, index: int, resolution: int, crop: str) -> np.ndarray | str:
    """One image's pixels, or why there are none."""
    try:
        return pixels(source.image(index), resolution, crop)
    except UserError:  # about the source, not about one image
        raise
    except UnidentifiedImageError:
        return "not an image"
    except Exception as error:  # whatever a decoder raises is a fault of its image
        return reason_of(error)


def _judge(name: str, reasons: dict[str, str], tried: int) -> None:
    """Log every broken image, or refuse the set when there are too many."""
    if len(reasons) > _BROKEN_SHARE * tried:
        first = ", ".join(f"{one_line(n)} ({r})" for n, r in list(reasons.items())[:3])
        raise UserError(
            f"{len(reasons)} of {tried} images of {name!r} cannot be read, more than "
            f"{_BROKEN_SHARE:.0%}: {first}{', ...' if len(reasons) > 3 else ''}; "
            "mend or remove them"
        )
    for image, reason in reasons.items():
        log.warning("left out a broken image: %s (%s)", one_line(image), reason)


def _tell_of_the_range(source: Source, mean: float) -> None:
    """12 bits in a 16-bit file, or counts in a 32-bit one, come out black without a word."""
    image = source.image(0)
    extrema = np.array(image.getextrema()).ravel()
    log.warning(
        "%s: the decoded images have a mean of %.1f of 255; %s holds values from %g to %g (mode "
        "%s). If they were meant brighter, scale the files to their full range",
        *(source.name, mean, one_line(source.names[0]), extrema.min(), extrema.max(), image.mode),
    )


def pixels(image: Image.Image, resolution: int, crop: str) -> np.ndarray:
    """An open image as uint8 (3, R, R): upright, RGB, square.

    crop "center" cuts the largest central square, "none" squeezes the whole image into one.
    Resized by PIL's Lanczos: antialiased, in fixed-point arithmetic, so that every machine gets
    the same pixels from the same decoder. (ImageOps.fit cuts by fractions of a pixel.)
    """
    ImageOps.exif_transpose(image, in_place=True)
    image = to_rgb(image)
    if crop == "center":
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
    if image.mode == "I" or image.mode.startswith("I;16"):
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
