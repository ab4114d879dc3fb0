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

from fagan.errors import UserError, one_line, reason
from fagan.files import given_path

_SUFFIXES = "avif bmp gif jfif jp2 jpe jpeg jpg pbm pgm png pnm ppm tga tif tiff webp"
SUFFIXES = tuple(f".{suffix}" for suffix in _SUFFIXES.split())
# What may hide behind such a name. PIL knows more; some of those start other programs (EPS).
_FORMATS = {"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP"}


class Source(Protocol):
    """A list of images."""

    name: str  # what the set is called in records
    identity: str  # changes when any image may have changed; holds no path of this machine
    names: Sequence[str]  # relative POSIX paths, sorted

    def image(self, index: int) -> Image.Image:
        """Open the image `names[index]`; raises whatever its decoder raises."""


def open_source(path: str | Path) -> "Folder | Zip":
    """The folder or zip at a path; raises UserError if it is neither or holds no image."""
    path = given_path(path)
    # os.path, since Path raises where a name is too long
    if os.path.isdir(path):
        source = Folder(path)
    elif not os.path.exists(path):
        raise UserError(f"no folder or zip of images at {path}; set DATA=path/to/images")
    elif os.path.isfile(path) and zipfile.is_zipfile(path):
        source = Zip(path)
    else:
        raise UserError(f"{path} is no folder and not a readable zip; give a folder or a .zip file")
    if not source.names:
        raise UserError(f"no images in {path} (looked for {' '.join(SUFFIXES)}, at any depth)")
    return source


def open_image(data: bytes) -> Image.Image:
    """An image file's bytes -> the image, not yet decoded; its first bytes decide the format."""
    if not data:
        raise ValueError("an empty file")
    return Image.open(io.BytesIO(data), formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    """Those of _FORMATS that this build of PIL reads."""
    Image.init()
    return tuple(sorted(_FORMATS & set(Image.OPEN)))


class Folder:
    """The images in a folder at any depth; hidden files and folders are left out."""

    def __init__(self, path: Path):
        self._path = path
        self.name = one_line(path.resolve().name)
        try:
            self.names = sorted(_images_below(path))
        except OSError as error:
            raise UserError(f"cannot list {error.filename}: {error.strerror}") from error

    @cached_property
    def identity(self) -> str:
        """Of names, sizes and times of change: no pixel is read to know that the cache is good."""
        return _digest(f"{name}\0{self._stamp(name)}" for name in self.names)

    def _stamp(self, name: str) -> str:
        try:
            status = os.stat(self._path / name)
        except OSError:  # a dangling link: listed, so that it is named as broken
            return "0\x000"
        return f"{status.st_size}\0{status.st_mtime_ns}"

    def image(self, index: int) -> Image.Image:
        try:
            return open_image((self._path / self.names[index]).read_bytes())
        except FileNotFoundError:
            if not self._path.is_dir():
                raise UserError(
                    f"the folder of images {self._path} is gone; put it back, or set DATA="
                ) from None
            raise


def _images_below(root: Path) -> Iterator[str]:
    """Relative POSIX paths of the images below a folder; each folder once, whatever links there."""

    def stop(error: OSError):
        raise error

    seen = {os.path.realpath(root)}
    for folder, folders, files in os.walk(root, followlinks=True, onerror=stop):
        # a folder's own name before a link to it
        folders.sort(key=lambda name: (os.path.islink(os.path.join(folder, name)), name))
        places = {os.path.realpath(os.path.join(folder, name)): name for name in folders[::-1]}
        folders[:] = [n for place, n in places.items() if place not in seen and not _hidden(n)]
        seen.update(places)
        for name in files:
            path = Path(folder, name)
            # a pipe has an image's name too, and would be waited for
            if _wanted(name) and (path.is_symlink() or path.is_file()):
                yield path.relative_to(root).as_posix()


def _wanted(name: str) -> bool:
    """Whether a relative POSIX path is a visible file with an image's suffix."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(map(_hidden, path.parts))


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


class Zip:
    """The images in a zip file, read in memory: nothing is unpacked, names in it are labels."""

    def __init__(self, path: Path):
        self.name = one_line(path.stem)
        try:
            self._archive = zipfile.ZipFile(path)
        except Exception as error:  # a damaged one raises a dozen kinds
            raise UserError(
                f"{path} is not a readable zip ({reason(error)}); make it again"
            ) from error
        found = (e for e in self._archive.infolist() if not e.is_dir() and _wanted(e.filename))
        self._entries = sorted(found, key=lambda entry: entry.filename)

    @cached_property
    def names(self) -> list[str]:
        return [entry.filename for entry in self._entries]

    @cached_property
    def identity(self) -> str:
        """Of the central directory: names, checksums and sizes."""
        return _digest(f"{e.filename}\0{e.CRC}\0{e.file_size}" for e in self._entries)

    def image(self, index: int) -> Image.Image:
        return open_image(self._archive.read(self._entries[index]))


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
        path = self._root / "celeba" / "img_align_celeba" / self.names[index]
        return open_image(path.read_bytes())


def _torchvision(title: str, otherwise: str, dataset: type, root: Path, download: bool, **part):
    """The torchvision data set, or one line on how to get it."""
    try:
        return dataset(str(root), download=download, **part)
    except Exception as error:  # torchvision, urllib, gdown and the archive each raise their own
        if download:
            raise UserError(
                f"{title} could not be downloaded ({reason(error)}); try again, or {otherwise}"
            ) from error
        raise UserError(
            f"{title} is not complete in {root}; fetch it with DOWNLOAD=1, or {otherwise}"
        ) from error


def _digest(lines: Iterable[str]) -> str:
    found = hashlib.sha256()
    for line in lines:
        found.update(line.encode(errors="surrogatepass") + b"\n")
    return found.hexdigest()
