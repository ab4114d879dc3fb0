"""Decoded images kept on disk: made once, mapped into memory by every run after that.

A cached set is two files: `<stem>.npy`, uint8 (N, 3, R, R), and then `<stem>.json`, its record.
Each is written under a temporary name and renamed: a reader sees a whole set or none.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from fagan.errors import UserError
from fagan.files import given_path, replacing
from fagan.locks import lock

log = logging.getLogger(__name__)

Blocks = Iterable[tuple[np.ndarray, list[str]]]
_ABANDONED = 24 * 3600  # seconds after which another process's temporary file is litter


def cache_folder() -> Path:
    """Where decoded images are kept: $FAGAN_CACHE, or ~/.cache/fagan."""
    return given_path(os.environ.get("FAGAN_CACHE") or "~/.cache/fagan")


class Stored:
    """A decoded set on disk; `images`, uint8 (N, 3, R, R), is mapped read-only."""

    def __init__(self, path: Path):
        """Map the set; raises one of _NOT_WHOLE unless it is there and as its record says."""
        self._path = path
        record = _read_record(path)
        self.broken: tuple[str, ...] = tuple(record["broken"])
        self._checksums: dict[str, str] = dict(record["checksums"])
        pixels = np.lib.format.open_memmap(path, mode="r")  # refuses a file shorter than its header
        if list(pixels.shape) != record["shape"] or pixels.dtype != np.uint8:
            raise ValueError(f"{path.name} is not what its record says")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable")
            self.images: Tensor = torch.from_numpy(pixels)

    def checksum(self, start: int, stop: int) -> str:
        """`checksum` of images[start:stop]; computed once and kept in the record."""
        key = f"{start}:{stop}"
        if key not in self._checksums:
            self._checksums[key] = checksum(self.images[start:stop])
            # the record is read anew, for another process may have added its own meanwhile; and a
            # folder that cannot be written to is still a good cache
            with suppress(*_NOT_WHOLE), _alone(self._path):
                record = _read_record(self._path)
                record["checksums"][key] = self._checksums[key]
                _write_record(self._path, record)
        return self._checksums[key]


# What Stored raises where a file is missing, cut short or overwritten.
_NOT_WHOLE = (OSError, ValueError, KeyError, TypeError)


def checksum(images: Tensor) -> str:
    """12 hex digits of the sha256 of the shape and the pixels."""
    found = hashlib.sha256(repr(tuple(images.shape)).encode())
    for some in images.split(4096):
        found.update(some.contiguous().numpy())
    return found.hexdigest()[:12]


def stored(
    kind: str, key: Mapping[str, Any], make: Callable[[], Blocks], size: Callable[[], int]
) -> Stored:
    """The set with this key, from disk or else made now.

    `kind` begins the file's name. `key` holds all that decides the pixels (JSON values, no paths).
    `make()` yields blocks of (uint8 (n, 3, R, R), names of broken images); `size()` is the bytes
    that they take at most: UserError, before one is made, where the disk has less. Safe when
    several processes ask at once: one makes it while the others wait; where the file system has no
    locks all of them make it, and the last one's, which is the same, stays.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = cache_folder() / f"{kind}-{digest[:16]}.npy"
    with suppress(*_NOT_WHOLE):
        return Stored(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with _alone(path):
            with suppress(*_NOT_WHOLE):
                return Stored(path)  # another process made it while this one waited
            if path.exists():
                log.warning("the cached images %s are damaged; making them again", path.name)
            _refuse_without_room(path.parent, size())
            _write(path, key, make())
            return Stored(path)
    except OSError as error:
        raise UserError(
            f"cannot keep decoded images in {path.parent} ({error.strerror or error}); "
            "set FAGAN_CACHE to a folder with room"
        ) from error


def _refuse_without_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the decoded images take {needed:,} bytes, and {folder} has {free:,} free; take fewer "
            "(SET=images=N), or set FAGAN_CACHE to a folder with room"
        )


def _write(path: Path, key: Mapping[str, Any], blocks: Blocks) -> None:
    """Write the pixels block by block, then the record that makes them valid.

    An old record stays until then: of the same key, it speaks of the same pixels or else of another
    shape.
    """
    shape, broken = (0,), []
    with replacing(path) as file:
        _write_header(file, (0, 3, 0, 0))
        for pixels, failed in blocks:
            file.write(np.ascontiguousarray(pixels))
            shape = (shape[0] + len(pixels), *pixels.shape[1:])
            broken += failed
        file.seek(0)
        _write_header(file, shape)
    record = {"key": dict(key), "shape": shape, "broken": broken, "checksums": {}}
    _write_record(path, record)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The .npy header, which NumPy pads so that a later N fits in its place."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _record_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_record(path: Path) -> dict[str, Any]:
    return json.loads(_record_of(path).read_text())


def _write_record(path: Path, record: dict[str, Any]) -> None:
    with replacing(_record_of(path)) as file:
        file.write(json.dumps(record, indent=1).encode())


def _alone(path: Path) -> AbstractContextManager:
    """One process at a time, where the file system has locks."""
    return lock(path.with_suffix(".lock"), math.inf)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind."""
    for temporary in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - temporary.stat().st_mtime > _ABANDONED:
                temporary.unlink()
