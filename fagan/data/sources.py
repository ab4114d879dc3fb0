"""Where images come from: a folder, a zip file, or a data set that torchvision knows.

A source lists its images by name, in an order that does not depend on the machine, and opens them
one by one. It knows nothing of sizes, caches and splits.
"""

import hashlib
import os
import zipfile
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from PIL import Image

from fagan.config import UserError
from fagan.data import files
from fagan.errors import one_line, reason, shown
from fagan.files import given_path

# Photographs do not shrink in a zip. Deflate makes at most 1 byte of 1,032 and a bomb comes near to
# it; a gigabyte unpacked takes no machine long.
_ZIP_RATIO, _ZIP_BYTES, _ZIP_ENTRIES = 100, 2**30, 10_000_000


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
    # os.path, since Path raises where a name is too long or leads in circles
    if os.path.isdir(path):
        source = Folder(path)
    elif not os.path.exists(path):
        raise UserError(f"no folder or zip of images at {path}; set DATA=path/to/images")
    elif os.path.isfile(path) and _is_zip(path):  # a pipe would be waited for
        source = Zip(path)
    else:
        raise UserError(f"{path} is no folder and not a readable zip; give a folder or a .zip file")
    if not source.names:
        raise UserError(
            f"no images in {path} (looked for {' '.join(files.SUFFIXES)}, at any depth)"
        )
    return source


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except Exception:  # of a damaged one it lets struct's and others' errors through
        return False


class Folder:
    """The images in a folder at any depth; hidden files and folders are left out."""

    def __init__(self, path: Path):
        self._path = path
        self.name = one_line(path.resolve().name)
        try:
            self._files = sorted(files.Walk(path).images(path))
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
        try:
            return files.open_image(files.read(self._path / self.names[index]))
        except FileNotFoundError:
            if not self._path.is_dir():
                raise UserError(
                    f"the folder of images {self._path} is gone; put it back, or set DATA="
                ) from None
            raise


class Zip:
    """The images in a zip file, read in memory: nothing is unpacked to disk.

    Names in it are labels and never paths. Raises UserError for a zip that is damaged, or that
    would unpack to far more than it is.
    """

    def __init__(self, path: Path):
        self.name = one_line(path.stem)
        try:
            self._archive = zipfile.ZipFile(path)
        except Exception as error:  # a damaged one raises a dozen kinds
            raise UserError(
                f"{path} is not a readable zip ({reason(error)}); make it again"
            ) from error
        _refuse_bombs(path, self._archive.infolist())
        entries = (
            e for e in self._archive.infolist() if not e.is_dir() and files.wanted(e.filename)
        )
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
        if entry.file_size > files.FILE_BYTES:
            raise ValueError(f"{entry.file_size:,} bytes unpacked, more than {files.FILE_BYTES:,}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("its compression cannot be bounded; pack the zip with deflate")
        with self._archive.open(entry) as file:
            # asked for so many bytes, zipfile unpacks no more; asked for all, it would fill up to
            # 2 GB before it believed the size that the directory states
            return files.open_image(file.read(entry.file_size))


def _refuse_bombs(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """UserError where entries share bytes, are too many, or unpack to far more than they are."""
    if len(entries) > _ZIP_ENTRIES:
        raise UserError(f"{path} has {len(entries):,} entries, more than {_ZIP_ENTRIES:,}")
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if unpacked > max(_ZIP_BYTES, _ZIP_RATIO * packed):
        raise UserError(
            f"{path} would unpack to {unpacked:,} bytes, {unpacked / max(packed, 1):,.0f} times "
            f"its size; more than {_ZIP_RATIO} times is no set of images: unpack it yourself"
        )
    placed = sorted(entries, key=lambda entry: entry.header_offset)
    for one, other in pairwise(placed):
        if one.header_offset + one.compress_size >= other.header_offset:
            raise UserError(
                f"{path}: the entries {shown(one.filename)} and {shown(other.filename)} share "
                "bytes; pack the zip again"
            )


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
        return files.open_image(files.read(folder / self.names[index]))


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
