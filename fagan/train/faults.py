"""What a machine lacks, in one line that says what to lower or free."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fagan.config import RunConfig, UserError

# PyTorch's allocators raise plain RuntimeErrors on the CPU, oneDNN's and C++'s likewise
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "could not create a memory",
)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def explained(config: RunConfig, folder: Path) -> Iterator[None]:
    """Turn a lack of memory or of disk space into a UserError that names the remedy."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        raise UserError(
            f"out of memory at batch_size={config.batch_size} "
            f"({config.resolution} pixels, width {config.width:g}): lower batch_size or width, "
            f"n_fake ({config.n_fake}) if it came with the last scores, or the runs at once (CORES)"
        ) from error
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise UserError(
            f"no space left for {Path(error.filename or folder).name} in {folder}: free some and "
            "run again; it goes on from its checkpoint"
        ) from error


def _is_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(text in str(error).lower() for text in _NO_MEMORY)
