"""Films: animated WebP pictures of image grids, with a label in every frame.

A film never moves a reader who asked for none: `show_film` embeds a still for these.
"""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from fagan.errors import UserError
from fagan.files import replacing
from fagan.plots.look import GRID, INK, PAPER
from fagan.plots.samples import tile
from fagan.records import Runs, grid_step, read_grid

# Bytes: of one film, and of all films of a page, which must stay below what can be published.
FILM_LIMIT, PAGE_BUDGET = 1_000_000, 1_000_000
# Frames at most: a long run's grids are thinned evenly, the first and the last always among them.
MOST_FRAMES = 24
QUALITIES = (80, 60, 35)
# Pixels: small images are enlarged to whole multiples that come nearest to this width.
WIDTH, STRIP, FONT_SIZE, MARGIN = 512, 22, 13, 6


@dataclass(frozen=True)
class Frame:
    """One picture of a film: images uint8 (N, R, R, 3), its label, and how far it is in [0, 1]."""

    images: np.ndarray
    label: str
    done: float


def film_limit(films: int) -> int:
    """Bytes that each of so many films of one page may have."""
    return min(FILM_LIMIT, PAGE_BUDGET // max(1, films))


def training_frames(runs: Runs, run_id: str, shown: int = 16) -> list[Frame]:
    """The first `shown` latents of a run at every step that left a sample grid.

    One frame where the record kept only the last grid, none where it kept no grid.
    """
    grids = runs.samples(run_id)
    last = max(1, grid_step(grids[-1])) if grids else 1
    return [
        Frame(read_grid(grid)[:shown], f"step {grid_step(grid):,}", grid_step(grid) / last)
        for grid in (grids[i] for i in thinned(len(grids), MOST_FRAMES))
    ]


def interpolation_frames(frames: pd.DataFrame, run_id: str) -> list[Frame]:
    """The frames of one run in the table of `studies.interpolations`."""
    own = frames[frames["run_id"] == run_id]
    return [
        Frame(row.images, "a round trip between fixed latents", row.done)
        for row in own.itertuples()
    ]


def thinned(n: int, most: int) -> list[int]:
    """At most `most` of the places 0 ... n - 1, evenly, the first and the last among them."""
    if n <= most:
        return list(range(n))
    return [round(i * (n - 1) / (most - 1)) for i in range(most)]


def film(frames: Sequence[Frame], milliseconds: int, limit: int = FILM_LIMIT, columns=8) -> bytes:
    """The frames as an animated WebP of at most `limit` bytes that repeats without end.

    Where the last frame is the end (done = 1) it stays three times as long. A film that would be
    larger loses quality first and then frames, evenly; those left stay longer. Raises UserError
    where even two frames do not fit.
    """
    pictures, lasting = [_picture(frame, columns) for frame in frames], milliseconds
    hold = 3 if frames[-1].done == 1 else 1
    while True:
        times = [round(lasting)] * (len(pictures) - 1) + [hold * round(lasting)]
        for quality in QUALITIES:
            data = _encoded(pictures, times, quality)
            if len(data) <= limit:
                return data
        if len(pictures) <= 2:
            raise UserError(f"two frames of {len(data):,} bytes are more than a film's {limit:,}")
        kept = thinned(len(pictures), max(2, int(0.9 * len(pictures) * limit / len(data))))
        lasting *= len(pictures) / len(kept)
        pictures = [pictures[i] for i in kept]


def still(frame: Frame, columns: int = 8) -> bytes:
    """One frame as a WebP that does not move."""
    return _encoded([_picture(frame, columns)], [0], QUALITIES[1])


def show_film(
    frames: Sequence[Frame],
    alt: str,
    path: Path,
    milliseconds: int,
    limit: int = FILM_LIMIT,
    columns: int = 8,
) -> None:
    """Display a film in a notebook with its text alternative and save it at `path`, a .webp.

    A reader who asked for less motion sees the last frame. The film can be folded away, as must
    everything that moves by itself for more than five seconds (WCAG 2.2.2).
    """
    from IPython.display import display

    data = film(frames, milliseconds, limit, columns)
    with replacing(Path(path)) as file:
        file.write(data)
    resting = _url(still(frames[-1], columns))
    html = (
        f'<details open class="film"><summary>{escape(alt)}</summary><picture>'
        f'<source media="(prefers-reduced-motion: reduce)" srcset="{resting}">'
        f'<img src="{_url(data)}" alt="{escape(alt)}"></picture></details>'
    )
    display({"text/html": html, "text/plain": alt}, raw=True)


def _url(data: bytes) -> str:
    return "data:image/webp;base64," + b64encode(data).decode()


def _encoded(pictures, lasting: Sequence[int], quality: int) -> bytes:
    buffer = io.BytesIO()
    first, *rest = pictures
    # loop 0: without end
    moving = {"save_all": True, "append_images": rest, "duration": list(lasting), "loop": 0}
    first.save(buffer, "WEBP", quality=quality, method=4, **(moving if rest else {}))
    return buffer.getvalue()


def _picture(frame: Frame, columns: int):
    """The tiled images over a strip with the label, and a line as long as the film is far."""
    from PIL import Image, ImageDraw

    missing = -len(frame.images) % columns
    images = np.pad(frame.images, ((0, missing), *[(0, 0)] * 3), constant_values=255)
    tiled = Image.fromarray(tile(images, columns))
    scale = max(1, round(WIDTH / tiled.width))
    tiled = tiled.resize((scale * tiled.width, scale * tiled.height), Image.Resampling.NEAREST)
    picture = Image.new("RGB", (tiled.width, tiled.height + STRIP), PAPER)
    picture.paste(tiled, (0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, tiled.height, tiled.width, tiled.height + 2), fill=GRID)
    draw.rectangle((0, tiled.height, round(frame.done * tiled.width), tiled.height + 2), fill=INK)
    draw.text((MARGIN, tiled.height + 4), frame.label, fill=INK, font=_font())
    return picture


@cache
def _font():
    from matplotlib.font_manager import findfont
    from PIL import ImageFont

    return ImageFont.truetype(findfont("DejaVu Sans"), FONT_SIZE)
