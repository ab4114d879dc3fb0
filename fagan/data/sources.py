"""Where images come from: a folder, a zip file, or a data set that torchvision knows.

A source has a `name` (what records call it), an `identity` (another one when any image may have
changed; it holds no path), sorted `names` (relative POSIX paths) and `image(index)`, which opens
one and raises whatever its decoder raises. It knows nothing of sizes, caches and splits. Its
`classes` are the names of its class labels and `labels` the class of each image, where it has any.
"""

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from fagan.errors import UserError, one_line, reason
from fagan.files import given_path

_SUFFIXES = "avif bmp gif jfif jp2 jpe jpeg jpg pbm pgm png pnm ppm tga tif tiff webp"
SUFFIXES = tuple(f".{suffix}" for suffix in _SUFFIXES.split())
# What may hide behind such a name. PIL knows more; some of those start other programs (EPS).
_FORMATS = {"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP"}


def open_source(path: str | Path) -> "Folder | Zip":
    """The folder or zip at a path; raises UserError if it is neither or holds no image."""
    path = given_path(path)
    # os.path, since Path raises where a name is too long or leads in circles
    if not os.path.exists(path):
        raise UserError(f"no folder or zip of images at {path}; set DATA=path/to/images")
    source = Folder(path) if os.path.isdir(path) else Zip(path)
    if not source.names:
        raise UserError(f"no images in {path} (looked for {' '.join(SUFFIXES)}, at any depth)")
    return source


class _Classified:
    """Class labels from class folders: the first part of an image's path is its class."""

    name: str
    names: list[str]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The folders' names, sorted. UserError where there are not two with images in each."""
        loose = [name for name in self.names if "/" not in name]
        if loose:
            raise UserError(
                f"{self.name} has images beside its class folders ({loose[0]}): class labels need "
                "one folder for each class, and every image in one"
            )
        found = sorted({name.split("/")[0] for name in self.names})
        if empty := sorted(set(self._folders()) - set(found)):
            raise UserError(f"the class folder {empty[0]} of {self.name} holds no image")
        if len(found) < 2:
            raise UserError(
                f"{self.name} has one class folder, {found[0]}: labels need two or more; give what "
                "holds the class folders themselves"
            )
        return tuple(map(one_line, found))

    @cached_property
    def labels(self) -> list[int]:
        """Each image's place among the sorted folders."""
        folders = [name.split("/")[0] for name in self.names]
        return np.unique(folders, return_inverse=True)[1].tolist()


def _opened(content: bytes) -> Image.Image:
    """An image, not yet decoded; its first bytes decide the format."""
    if not content:
        raise ValueError("an empty file")
    return Image.open(io.BytesIO(content), formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    """Those of _FORMATS that this build of PIL reads."""
    Image.init()
    return tuple(sorted(_FORMATS & set(Image.OPEN)))


class Folder(_Classified):
    """The images in a folder at any depth; hidden files and folders are left out."""

    def __init__(self, path: Path):
        self._path = path
        self.name = one_line(path.resolve().name)
        self._files = sorted(_listed(path))

    @cached_property
    def names(self) -> list[str]:
        return [name for name, _, _ in self._files]

    @cached_property
    def identity(self) -> str:
        """Of names, sizes and times of change: no pixel is read to know that the cache is good."""
        return _digest(f"{name}\0{size}\0{time}" for name, size, time in self._files)

    def image(self, index: int) -> Image.Image:
        return _opened((self._path / self.names[index]).read_bytes())

    def _folders(self) -> list[str]:
        return [
            e.name
            for e in os.scandir(self._path)
            if e.is_dir(follow_symlinks=False) and not _hidden(e.name)
        ]


class Zip(_Classified):
    """The images in a zip file, read in memory: nothing is unpacked, names in it are no paths."""

    def __init__(self, path: Path):
        self.name = one_line(path.stem)
        try:
            self._archive = zipfile.ZipFile(path)
        except Exception as error:  # a damaged one raises a dozen kinds
            raise UserError(
                f"{path} is no folder and not a readable zip ({reason(error)}); give a folder or a "
                ".zip file"
            ) from error
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
        return _opened(self._archive.read(self._entries[index]))

    def _folders(self) -> list[str]:
        entries = (e.filename for e in self._archive.infolist() if "/" in e.filename)
        return [folder for e in entries if not _hidden(folder := e.split("/")[0])]


class _Published:
    """A data set as torchvision keeps it; not touched before it is asked for."""

    name: str

    def __init__(self, part: str, root: Path, download: bool):
        self.identity = f"{self.name}/{part}"
        self._part, self._root, self._download = part, root, download


class Cifar10(_Published):
    """CIFAR-10, `train` or `test`."""

    name = "cifar10"
    classes = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())

    @cached_property
    def _found(self):
        from torchvision.datasets import CIFAR10

        how = f"unpack {CIFAR10.url} there"
        train = self._part == "train"
        return _torchvision("CIFAR-10", how, CIFAR10, self._root, self._download, train=train)

    @cached_property
    def names(self) -> list[str]:
        return [f"{self._part}/{i:05d}" for i in range(len(self._found.data))]

    @property
    def labels(self) -> list[int]:
        return self._found.targets

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self._found.data[index])


class CelebA(_Published):
    """CelebA, aligned and cropped (178 x 218)."""

    name = "celeba"

    @cached_property
    def names(self) -> list[str]:
        from torchvision.datasets import CelebA

        how = "take data=folder with DATA=path/to/img_align_celeba"
        found = _torchvision("CelebA", how, CelebA, self._root, self._download, split=self._part)
        return sorted(found.filename)

    def image(self, index: int) -> Image.Image:
        folder = self._root / "celeba" / "img_align_celeba"
        return _opened((folder / self.names[index]).read_bytes())


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


def _listed(root: Path) -> Iterator[tuple[str, int, int]]:
    """(relative POSIX path, bytes, time of change in ns) of the images below a folder.

    Each folder once, whatever links there.
    """

    def refuse(error: OSError):
        raise UserError(f"cannot list {error.filename}: {error.strerror}") from error

    seen = {os.path.realpath(root)}
    for here, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        # a folder's own name before a link to it
        folders.sort(key=lambda name: (os.path.islink(os.path.join(here, name)), name))
        places = {os.path.realpath(os.path.join(here, name)): name for name in folders[::-1]}
        folders[:] = [n for place, n in places.items() if place not in seen and not _hidden(n)]
        seen.update(places)
        for name in (Path(here, file).relative_to(root).as_posix() for file in files):
            if _wanted(name):
                try:
                    status = os.stat(root / name)
                except OSError:  # a dangling link: listed, so that it is named as broken
                    yield name, 0, 0
                else:
                    if stat.S_ISREG(status.st_mode):  # a pipe would be waited for
                        yield name, status.st_size, status.st_mtime_ns


def _wanted(name: str) -> bool:
    """Whether a relative POSIX path is a visible file with an image's suffix."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(map(_hidden, path.parts))


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _digest(lines: Iterable[str]) -> str:
    found = hashlib.sha256()
    for line in lines:
        found.update(line.encode(errors="surrogatepass") + b"\n")
    return found.hexdigest()
