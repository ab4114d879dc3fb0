"""Where images come from: a folder, a zip file, or a data set that torchvision knows.

A source lists its images by name, in an order that does not depend on the machine, and opens them
one by one. It knows nothing of sizes, caches and splits.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from PIL import Image

from fagan.config import UserError

_SUFFIXES = "avif bmp gif jfif jp2 jpe jpeg jpg pbm pgm png pnm ppm tga tif tiff webp"
SUFFIXES = tuple(f".{suffix}" for suffix in _SUFFIXES.split())
# What may hide behind such a name. PIL knows more; some of those start other programs (EPS).
_FORMATS = {"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP"}
# A zip's entry is held in memory, so it must not grow without bound when unpacked.
_ENTRY_BYTES = 256 * 2**20


class Source(Protocol):
    """A list of images."""

    name: str  # what the set is called in records
    identity: str  # changes when any image may have changed; holds no path of this machine
    names: Sequence[str]  # relative POSIX paths, sorted

    def image(self, index: int) -> Image.Image:
        """Open the image `names[index]`; raises whatever its decoder raises."""


def open_source(path: str | Path) -> "Folder | Zip":
    """The folder or zip at a path; raises UserError if it is neither or holds no image."""
    path = Path(path).expanduser()
    if path.is_dir():
        source = Folder(path)
    elif not path.exists():
        raise UserError(f"no folder or zip of images at {path}; set DATA=path/to/images")
    elif zipfile.is_zipfile(path):
        source = Zip(path)
    else:
        raise UserError(f"{path} is no folder and not a readable zip; give a folder or a .zip file")
    if not source.names:
        raise UserError(f"no images in {path} (looked for {' '.join(SUFFIXES)}, at any depth)")
    return source


class Folder:
    """The images in a folder at any depth; hidden files and folders are left out."""

    def __init__(self, path: Path):
        self._path = path
        self.name = path.resolve().name
        try:
            self._files = sorted(_walk(path))
        except OSError as error:
            raise UserError(f"cannot list {error.filename}: {error.strerror}") from error

    @cached_property
    def names(self) -> list[str]:
        return [name for name, _, _ in self._files]

    @cached_property
    def identity(self) -> str:
        """Of names, sizes and times of change: no pixel is read to know that the cache is good."""
        return _digest(f"{name}\0{size}\0{time}" for name, size, time in self._files)

    def image(self, index: int) -> Image.Image:
        return open_image((self._path / self.names[index]).read_bytes())


class Zip:
    """The images in a zip file, read in memory: nothing is unpacked to disk."""

    def __init__(self, path: Path):
        self.name = path.stem
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"{path} is not a readable zip ({error}); make it again") from error
        entries = (e for e in self._archive.infolist() if not e.is_dir() and _wanted(e.filename))
        self._entries = sorted(entries, key=lambda entry: entry.filename)

    @cached_property
    def names(self) -> list[str]:
        return [entry.filename for entry in self._entries]

    @cached_property
    def identity(self) -> str:
        """Of the central directory: names, checksums and sizes."""
        return _digest(f"{e.filename}\0{e.CRC}\0{e.file_size}" for e in self._entries)

    def image(self, index: int) -> Image.Image:
        entry = self._entries[index]
        if entry.file_size > _ENTRY_BYTES:
            raise ValueError(f"{entry.file_size} bytes unpacked, more than {_ENTRY_BYTES}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("its compression cannot be bounded; pack the zip with deflate")
        # stops at the size that the directory states, so a false one cannot unpack more
        return open_image(self._archive.read(entry))


class Cifar10:
    """CIFAR-10 as torchvision keeps it, `train` or `test`; not touched before it is asked for."""

    name = "cifar10"

    def __init__(self, part: str, root: Path, download: bool):
        self.identity = f"cifar10/{part}"
        self._part, self._root, self._download = part, root, download

    @cached_property
    def _pixels(self):
        from torchvision.datasets import CIFAR10

        how = f"unpack {CIFAR10.url} there"
        train = self._part == "train"
        return _torchvision("CIFAR-10", how, CIFAR10, self._root, self._download, train=train).data

    @cached_property
    def names(self) -> list[str]:
        return [f"{self._part}/{i:05d}" for i in range(len(self._pixels))]

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self._pixels[index])


class CelebA:
    """CelebA, aligned and cropped (178 x 218), as torchvision keeps it."""

    name = "celeba"

    def __init__(self, part: str, root: Path, download: bool):
        self.identity = f"celeba/{part}"
        self._part, self._root, self._download = part, root, download

    @cached_property
    def names(self) -> list[str]:
        from torchvision.datasets import CelebA

        how = "take data=folder with DATA=path/to/img_align_celeba"
        found = _torchvision("CelebA", how, CelebA, self._root, self._download, split=self._part)
        return sorted(found.filename)

    def image(self, index: int) -> Image.Image:
        folder = self._root / "celeba" / "img_align_celeba"
        return open_image((folder / self.names[index]).read_bytes())


def _torchvision(title: str, otherwise: str, dataset: type, root: Path, download: bool, **part):
    """The torchvision data set, or one line on how to get it."""
    try:
        return dataset(str(root), download=download, **part)
    except Exception as error:  # torchvision, urllib, gdown and the archive each raise their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if download:
            raise UserError(
                f"{title} could not be downloaded ({reason}); try again, or {otherwise}"
            ) from error
        raise UserError(
            f"{title} is not complete in {root}; fetch it with DOWNLOAD=1, or {otherwise}"
        ) from error


def open_image(data: bytes) -> Image.Image:
    """An image file's bytes -> the image, not yet decoded."""
    return Image.open(io.BytesIO(data), formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    """Those of _FORMATS that this build of PIL reads."""
    Image.init()
    return tuple(sorted(_FORMATS & set(Image.OPEN)))


def _wanted(name: str) -> bool:
    """Whether a relative POSIX path is a visible file with an image's suffix."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(_hidden(part) for part in path.parts)


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _walk(
    folder: str | Path, prefix: str = "", above: frozenset = frozenset()
) -> Iterator[tuple[str, int, int]]:
    """(relative POSIX path, bytes, time of change in ns) of the images below a folder."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link to a folder that holds it
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir():
                if not _hidden(entry.name):
                    yield from _walk(entry.path, f"{name}/", above | {here})
            elif _wanted(name):
                try:
                    status = entry.stat()
                    yield name, status.st_size, status.st_mtime_ns
                except OSError:  # a dangling link: listed, so that it is named as broken
                    yield name, 0, 0


def _digest(lines: Iterable[str]) -> str:
    found = hashlib.sha256()
    for line in lines:
        found.update(line.encode(errors="surrogateescape") + b"\n")
    return found.hexdigest()
