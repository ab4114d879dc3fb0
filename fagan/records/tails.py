"""The ends of growing tables, read while a run writes them."""

from collections.abc import Iterator
from pathlib import Path

BLOCK = 8_192  # bytes: the last log step of most tables


def newest_rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV of a run from its last one back, reading no more of it than is asked for.

    A file that is not there, or goes away, has no rows; a line that is still being written, or has
    another number of cells than the header, is left out.
    """
    try:
        with path.open("rb") as file:
            names = file.readline().decode("utf-8", "replace").rstrip("\r\n").split(",")
            for line in _lines_from_the_end(file, file.tell()):
                cells = line.decode("utf-8", "replace").rstrip("\r").split(",")
                if len(cells) == len(names):
                    yield dict(zip(names, cells, strict=True))
    except OSError:  # a fault of the disk, too, is the run's to report
        return


def _lines_from_the_end(file, start: int) -> Iterator[bytes]:
    """Whole lines of an open file from its last one back to the position `start`."""
    position = file.seek(0, 2)
    rest = b""  # the beginning of the text read so far: a line whose own beginning is further up
    complete = False  # whether the text after the last line break has been dropped
    while position > start:
        size = min(BLOCK, position - start)
        position -= size
        file.seek(position)
        rest = file.read(size) + rest
        if not complete:
            end = rest.rfind(b"\n")
            if end < 0:
                continue
            rest, complete = rest[:end], True
        *lines, rest = reversed(rest.split(b"\n"))
        yield from lines
    if complete:
        yield rest
