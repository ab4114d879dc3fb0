"""Decoded images kept on disk: made once, mapped into memory by every run after that.

A cached set is two files: `<stem>.npy`, uint8 (N, 3, R, R), and then `<stem>.json`, its record.
Each is written under a temporary name and renamed: a reader sees a whole set or none.
"""

import hashlib
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fagan.errors import UserError
from fagan.files import given_path, replacing
from fagan.locks import lock

Blocks = Iterator[tuple[np.ndarray, list[str]]]
_ABANDONED = 24 * 3600  # seconds after which another process's temporary file is litter


def cache_folder() -> Path:
    """Where decoded images are kept: $FAGAN_CACHE, or ~/.cache/fagan."""
    return given_path(os.environ.get("FAGAN_CACHE") or "~/.cache/fagan")


class Stored:
    """A decoded set on disk; `images`, uint8 (N, 3, R, R), is mapped read-only."""

    def __init__(self, path: Path):
        """Map the set; raises one of _NOT_WHOLE unless it is there and as its record says."""
        self._path = path.with_suffix(".json")
        self._record = json.loads(self._path.read_text())
        self.broken: tuple[str, ...] = tuple(self._record["broken"])
        pixels = np.lib.format.open_memmap(path, mode="r")  # refuses a file shorter than its header
        if list(pixels.shape) != self._record["shape"] or pixels.dtype != np.uint8:
            raise ValueError(f"{path.name} is not what its record says")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable")
            self.images: Tensor = torch.from_numpy(pixels)

    def checksum(self, start: int, stop: int) -> str:
        """`checksum` of images[start:stop]; computed once and kept in the record."""
        known, key = self._record["checksums"], f"{start}:{stop}"
        if key not in known:
            known[key] = checksum(self.images[start:stop])
            with suppress(OSError):  # a folder that cannot be written to is still a good cache
                _write_record(self._path, self._record)
        return known[key]


# What Stored raises where a file is missing, cut short or overwritten.
_NOT_WHOLE = (OSError, ValueError, KeyError, TypeError)


def checksum(images: Tensor) -> str:
    """12 hex digits of the sha256 of the shape and the pixels."""
    found = hashlib.sha256(repr(tuple(images.shape)).encode())
    for some in images.split(4096):
        found.update(some.contiguous().numpy())
    return found.hexdigest()[:12]


def stored(kind: str, key: dict, make: Callable[[], Blocks], size: Callable[[], int]) -> Stored:
    """The set with this key, from disk or else made now.

    `kind` begins the file's name. `key` holds all that decides the pixels (JSON values, no paths).
    `make()` yields blocks of (uint8 (n, 3, R, R), names of broken images); `size()` is the bytes
    that they take at most: UserError, before one is made, where the disk has less. Of several
    processes that ask at once one makes it while the others wait; where the file system has no
    locks all do, and the last one's, which is the same, stays.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = cache_folder() / f"{kind}-{digest[:16]}.npy"
    with suppress(*_NOT_WHOLE):
        return Stored(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path.with_suffix(".lock"), math.inf):
            with suppress(*_NOT_WHOLE):
                return Stored(path)  # another process made it while this one waited
            _sweep(path.parent)
            free = shutil.disk_usage(path.parent).free
            if (needed := size()) > free:
                raise UserError(
                    f"the decoded images take {needed:,} bytes, and {path.parent} has {free:,} "
                    "free; take fewer (SET=images=N), or set FAGAN_CACHE to a folder with room"
                )
            _write(path, key, make())
            return Stored(path)
    except OSError as error:
        raise UserError(
            f"cannot keep decoded images in {path.parent} ({error.strerror or error}); "
            "set FAGAN_CACHE to a folder with room"
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind."""
    for temporary in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - temporary.stat().st_mtime > _ABANDONED:
                temporary.unlink()


def _write(path: Path, key: dict, blocks: Blocks) -> None:
    """Write the pixels block by block, then the record that makes them valid."""
    shape, broken = (0, 3, 0, 0), []
    with replacing(path) as file:
        _write_header(file, shape)
        for pixels, failed in blocks:
            file.write(np.ascontiguousarray(pixels))
            shape = (shape[0] + len(pixels), *pixels.shape[1:])
            broken += failed
        file.seek(0)
        _write_header(file, shape)  # NumPy pads it, so that a later N fits in its place
    record = {"key": key, "shape": shape, "broken": broken, "checksums": {}}
    _write_record(path.with_suffix(".json"), record)


def _write_header(file, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _write_record(path: Path, record: dict) -> None:
    with replacing(path) as file:
        file.write(json.dumps(record, indent=1).encode())
