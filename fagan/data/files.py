"""Image files that others made: which ones count, and what they may ask of this machine."""

import io
import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from PIL import Image

from fagan.config import UserError

_SUFFIXES = "avif bmp gif jfif jp2 jpe jpeg jpg pbm pgm png pnm ppm tga tif tiff webp"
SUFFIXES = tuple(f".{suffix}" for suffix in _SUFFIXES.split())
# What may hide behind such a name. PIL knows more; some of those start other programs (EPS).
_FORMATS = {"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP"}
# An image's bytes and pixels are held in memory, once per decoding thread: 8,192 x 8,192 are more
# than a 64-megapixel camera takes, and 0.2 GB as RGB.
FILE_BYTES, PIXELS = 256 * 2**20, 2**26
# Folders below a folder, and those reached through links: links among N folders make N! paths.
DEPTH, LINKED = 100, 10_000


def open_image(data: bytes) -> Image.Image:
    """An image file's bytes -> the image, not yet decoded; ValueError where it is too large.

    Only what its first bytes say decides the format, and only _FORMATS are tried.
    """
    if not data:
        raise ValueError("an empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
    except Image.DecompressionBombError:
        raise ValueError(f"more than {PIXELS:,} pixels") from None
    if image.width * image.height > PIXELS:
        raise ValueError(f"{image.width:,} x {image.height:,} pixels, more than {PIXELS:,}")
    return image


def read(path: Path) -> bytes:
    """A file's bytes. Pipes and devices, which may never end, raise ValueError and are not opened.

    So does a file of more than FILE_BYTES.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("a pipe or a device, not a file")
    # not waited for either, should it become a pipe meanwhile
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise ValueError(f"more than {FILE_BYTES:,} bytes")
    return data


@cache
def _formats() -> tuple[str, ...]:
    """Those of _FORMATS that this build of PIL reads."""
    Image.init()
    return tuple(sorted(_FORMATS & set(Image.OPEN)))


def wanted(name: str) -> bool:
    """Whether a relative POSIX path is a visible file with an image's suffix."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(_hidden(part) for part in path.parts)


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


class Walk:
    """One listing of a folder; it counts the links that it follows."""

    def __init__(self, root: Path):
        self._root, self._linked = root, 0

    def images(
        self, folder: str | Path, prefix: str = "", above: frozenset = frozenset()
    ) -> Iterator[tuple[str, int, int]]:
        """(relative POSIX path, bytes, time of change in ns) of the images below a folder."""
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link to a folder that holds it
            return
        if len(above) > DEPTH:
            raise UserError(f"the folders in {self._root} are nested more than {DEPTH} deep")
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if _is_folder(entry):
                    if not _hidden(entry.name):
                        self._count(entry)
                        yield from self.images(entry.path, f"{name}/", above | {here})
                elif wanted(name):
                    try:
                        status = entry.stat()
                        yield name, status.st_size, status.st_mtime_ns
                    except OSError:  # a dangling link: listed, so that it is named as broken
                        yield name, 0, 0

    def _count(self, entry: os.DirEntry) -> None:
        self._linked += entry.is_symlink()
        if self._linked > LINKED:
            raise UserError(
                f"more than {LINKED:,} folders in {self._root} are reached through links; "
                "remove the links that lead in circles"
            )


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
