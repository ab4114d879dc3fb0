"""The look of every figure: colours, labels, how one is shown and saved; what seaborn has not.

Colours are seaborn's "colorblind" set, by family: FAGAN warm, SAGAN cool, DCGAN grey.
"""

import io
import re
import warnings
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image

from fagan.files import replacing
from fagan.records import Runs

STYLE = Path(__file__).resolve().parents[1] / "notebooks" / "matplotlibrc"
# as in matplotlibrc, and what a dark page has in their place
INK, MUTED, GRID, PAPER = "#1f2328", "#6e7781", "#d8dee4", "#ffffff"
DARK = {INK: "#e6edf3", MUTED: "#9198a1", GRID: "#30363d", PAPER: "#0d1117"}
WARM, COOL, REST = "#d55e00", "#0173b2", "#c8ccd1"  # REST: what a figure does not speak of

PALETTE = {
    "dcgan": "#949494",
    "dcgan-wide": "#6b6b6b",
    "sagan": "#0173b2",
    "sagan-wide": "#029e73",
    "sagan-1": "#56b4e9",
    "fagan": "#d55e00",
    "fagan-pure": "#de8f05",
}
# networks with full attention have self-attention as well
KINDS = {"full attention": WARM, "self-attention": COOL, "no attention": "#6b6b6b"}
# for the other arms of a table, by kind and in the table's order
SPARE = {
    "full attention": ("#cc78bc", "#ca9161", "#a8322d", "#8c6bb1", "#e0559a", "#b8860b"),
    "self-attention": ("#3f51b5", "#1b9e9e", "#7a9fd4", "#2f6f4f"),
    "no attention": ("#b0b0b0", "#7f8c8d", "#4f5b66"),
}
# of a dot, where its name may stand: points to the right and up, and which side of it is there
SIDES = [(10, 0, "left", "center"), (-10, 0, "right", "center"), (0, -9, "center", "top")]
SIDES += [(0, 9, "center", "bottom"), (8, 9, "left", "center"), (8, -9, "left", "center")]
SMALL_SVG = 150_000  # bytes; what is larger is shown as a PNG
FIELD_DECADES = 3  # a field's weaker influences are drawn as nothing


def use_style() -> None:
    """Take the suite's style for the rest of the process: a notebook's first line."""
    plt.style.use(STYLE)
    # seaborn's grids lay themselves out, and say so each time
    warnings.filterwarnings("ignore", "The figure layout has changed to tight")


def kinds(runs: Runs) -> dict[str, str]:
    """{label: the kind of attention, one of KINDS} of every arm, by its architecture."""
    built = runs.runs.drop_duplicates("arm").set_index("arm").get("architecture", {})
    result = {}
    for arm in runs.arms:
        name = built[arm] if isinstance(built.get(arm), str) else arm
        full = name.startswith("fagan") or "F" in name
        own = name.startswith("sagan") or "+A" in name
        result[runs.labels[arm]] = tuple(KINDS)[0 if full else 1 if own else 2]
    return result


def palette(runs: Runs, only: Collection[str] | None = None) -> dict[str, str]:
    """{label: colour} of every arm, no two alike, a named architecture's the same everywhere.

    Where `only` is given, all other arms are grey.
    """
    kind, colours = kinds(runs), {}
    many = [to_hex(c) for name in ("tab20", "tab20b", "tab20c") for c in plt.get_cmap(name).colors]
    for arm in runs.arms:
        taken, label = {*PALETTE.values(), *colours.values()}, runs.labels[arm]
        free = (colour for colour in (*SPARE[kind[label]], *many) if colour not in taken)
        colours[label] = PALETTE.get(arm) or next(free)
    grey = {runs.labels[arm]: REST for arm in runs.arms if only is not None and arm not in only}
    return colours | grey


def floor_line(ax: Axes, runs: Runs, along: str = "y", when: str = "final") -> None:
    """What real images score: a dotted line, or a note at the edge where that is far below.

    To be called last. along: the axis of the score. when: `final`, or `track` during training.
    """
    value = runs.reference.get(when, {}).get("fd_lite0_floor")
    if value is None or pd.isna(value):
        return
    across, words = along == "x", {"color": MUTED, "fontsize": 8, "textcoords": "offset points"}
    note, edge = f"real images: {value:.3g}", {"xycoords": "axes fraction"}
    if value >= (ax.get_xlim if across else ax.get_ylim)()[0]:
        (ax.axvline if across else ax.axhline)(value, color=MUTED, ls=":", lw=1.4, zorder=1)
        axes = (ax.get_xaxis_transform if across else ax.get_yaxis_transform)()
        ax.annotate(
            note, (value, 0.02) if across else (0.01, value), (3, 3), xycoords=axes, **words
        )
    else:
        arrow = "\N{LEFTWARDS ARROW}" if across else "\N{DOWNWARDS ARROW}"
        ax.annotate(f"{arrow} {note}", (1, 1), (0, 5), ha="right", **edge, **words)


def name_points(ax: Axes, points: pd.DataFrame, colours: Mapping[str, str] | None = None) -> None:
    """Write the index of `points` (x, y) beside each, those first that are first in the frame.

    A name that would lie on another, on a dot or on a line is left out. To be called last.
    """
    ax.figure.draw_without_rendering()  # the layout is not known before
    dots = [c.get_offset_transform().transform(c.get_offsets()) for c in ax.collections]
    dots = np.concatenate([*dots, ax.transData.transform(points.to_numpy(float))])
    lines = [line.get_path().transformed(line.get_transform()) for line in ax.lines]
    taken = [ax.get_legend().get_window_extent()] if ax.get_legend() else []
    for name, point in points.iterrows():
        for x, y, side, level in SIDES:
            where = {"xytext": (x, y), "textcoords": "offset points", "ha": side, "va": level}
            colour = (colours or {}).get(name, INK)
            text = ax.annotate(name, tuple(point), fontsize=8, color=colour, **where)
            box = text.get_window_extent()
            free = box.count_contains(dots) == 0 and box.count_overlaps(taken) == 0
            free &= not any(line.intersects_bbox(box, filled=False) for line in lines)
            if free and ax.bbox.count_contains(box.corners()) == 4:
                taken.append(box)
                break
            text.remove()


def log_ticks(axis, subs: Sequence[float] = (1, 1.5, 2, 3, 5, 7)) -> None:
    """Plain numbers on a logarithmic axis, ax.xaxis or ax.yaxis, at these times powers of ten."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())


def render(figure: Figure, alt: str, kind: str = "svg") -> bytes:
    """The figure as an SVG that screen readers name `alt`, or a PNG or JPEG of twice its size."""
    # the whole figure, not its tight box: equal widths on a page mean equal type
    buffer = io.BytesIO()
    if kind == "jpeg":
        figure.savefig(buffer, format=kind, pil_kwargs={"quality": 85})
        return buffer.getvalue()
    metadata = {"Title": alt} | ({"Date": None} if kind == "svg" else {"Software": None})
    figure.savefig(buffer, format=kind, metadata=metadata)
    if kind == "png":
        return buffer.getvalue()
    named = f'<svg role="img" aria-label="{escape(alt)}" '.encode()
    return _rounded(buffer.getvalue().replace(b"<svg ", named, 1))


def _fewer_colours(png: bytes) -> bytes:
    """A third of the bytes: 256 colours are enough for lines and text."""
    palette, smaller = Image.open(io.BytesIO(png)).convert("RGB").quantize(256), io.BytesIO()
    palette.save(smaller, "PNG", optimize=True)
    return smaller.getvalue()


def _rounded(svg: bytes) -> bytes:
    """Paths to a hundredth of a point: nobody sees it, and curves are a fifth smaller."""
    return re.sub(
        rb' d="[^"]*"',
        lambda d: re.sub(rb"-?\d+\.\d{3,}", lambda n: b"%.2f" % float(n[0]), d[0]),
        svg,
    )


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


def show(figure: Figure, alt: str, path: Path | None = None, photo: bool = False) -> None:
    """Display a figure in a notebook with its text alternative, close it; saved at `path`, too.

    Shown as an SVG where that is small, else as a PNG of few colours. photo: it holds pictures, so
    it is a PNG or, where that is smaller, a JPEG, whose colours a dark page leaves alone
    (`unconfined`, the one class that nbconvert passes on).
    """
    from IPython.display import display

    made = {kind: render(figure, alt, kind) for kind in (("png", "jpeg") if photo else ("svg",))}
    kind = min(made, key=lambda kind: len(made[kind]))
    data = made[kind]
    if kind == "svg" and len(data) > SMALL_SVG:
        made["png"] = render(figure, alt, kind := "png")
        data = _fewer_colours(made["png"])
    if path is not None:
        wanted = Path(path).suffix.removeprefix(".")
        _write(path, made.get(wanted) or render(figure, alt, wanted))
    plt.close(figure)
    mime, content, extra = "image/svg+xml", data, {"alt": alt}
    if kind != "svg":
        mime, content = f"image/{kind}", b64encode(data)
        extra |= {"width": round(96 * figure.get_figwidth()), "unconfined": photo}
    display({mime: content.decode(), "text/plain": alt}, metadata={mime: extra}, raw=True)


def save(figure: Figure, path: Path, alt: str = "") -> None:
    """Write an SVG and, beside it as NAME-dark.svg, its rendition for a dark page: a <picture>."""
    path, svg = Path(path), render(figure, alt)
    _write(path, svg)
    text = svg.decode()
    for light, dark in DARK.items():
        text = text.replace(light, dark)
    _write(path.with_stem(path.stem + "-dark"), text.encode())


def sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """(N, R, R, 3) uint8 -> one picture of so many columns; places left over are white."""
    images = np.pad(images, ((0, -len(images) % columns), *[(0, 0)] * 3), constant_values=255)
    rows, (size, width) = len(images) // columns, images.shape[1:3]
    cells = images.reshape(rows, columns, size, width, 3).swapaxes(1, 2)
    return cells.reshape(rows * size, columns * width, 3)


def film(
    frames: Sequence[np.ndarray], alt: str, path: Path, milliseconds: int = 500, quality: int = 70
) -> None:
    """Display pictures (H, W, 3) uint8 as a film and save it at `path`, a .webp.

    The last picture stays longest, and is what a reader sees who asked for less motion. A film can
    be folded away, as must all that moves by itself for more than five seconds (WCAG 2.2.2).
    """
    from IPython.display import display

    lasting = [milliseconds] * (len(frames) - 1) + [4 * milliseconds]
    moving, still = _webp(frames, lasting, quality), _webp(frames[-1:], [0], quality)
    _write(path, moving)
    html = (
        f'<details open class="film"><summary>{escape(alt)}</summary><picture>'
        f'<source media="(prefers-reduced-motion: reduce)" srcset="{_url(still)}">'
        f'<img src="{_url(moving)}" alt="{escape(alt)}" loading="lazy"></picture></details>'
    )
    display({"text/html": html, "text/plain": alt}, raw=True)


def _webp(frames: Sequence[np.ndarray], lasting: Sequence[int], quality: int) -> bytes:
    first, *rest = (Image.fromarray(np.asarray(frame)) for frame in frames)
    more = {"save_all": True, "append_images": rest, "duration": list(lasting), "loop": 0}
    buffer = io.BytesIO()
    first.save(buffer, "WEBP", quality=quality, method=4, **(more if rest else {}))
    return buffer.getvalue()


def _url(data: bytes) -> str:
    return "data:image/webp;base64," + b64encode(data).decode()


def bare(ax: Axes, title: str = "") -> Axes:
    """No ticks, grid or frame: for pictures."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=8.5)
    return ax


def map_overlay(
    ax: Axes, image: np.ndarray, weights: np.ndarray, query: tuple[float, float] | None = None
) -> Axes:
    """An attention map (h, w) over its image (R, R, 3) in grey; the query (row, column) is a cross.

    The stronger the colour, the larger the weight, up to the map's own peak.
    """
    size, weights = len(image), np.nan_to_num(np.asarray(weights, dtype=float))
    grey = 0.35 + 0.65 * np.asarray(image).mean(-1, keepdims=True).repeat(3, -1) / 255
    square = (0, size, size, 0)
    bare(ax).imshow(grey, extent=square, interpolation="none")
    heat = np.empty((*weights.shape, 4))
    heat[..., :3] = to_rgb(WARM)
    heat[..., 3] = 0.85 * weights / max(weights.max(), 1e-12)
    ax.imshow(heat, extent=square, interpolation="none")
    if query is not None:
        row, column = query
        for colour, mark, width in ((PAPER, 8, 2.6), (COOL, 7, 1.4)):
            ax.plot(column + 0.5, row + 0.5, "+", color=colour, ms=mark, mew=width, zorder=3)
    return ax


def field_map(ax: Axes, field: np.ndarray, theory: float | None = None, grid: int = 1) -> Axes:
    """A receptive field (R, R), logarithmic, down to a thousandth of its peak.

    theory: the side in pixels of the field of the convolutions alone, drawn as a square around the
    middle cell of a map of grid x grid cells.
    """
    field = np.asarray(field, dtype=float)
    size, peak = len(field), np.nanmax(field) if np.isfinite(field).any() else 1.0
    norm = LogNorm(10**-FIELD_DECADES, 1, clip=True)
    bare(ax).imshow(field / (peak or 1.0), cmap="cividis", norm=norm, extent=(0, size, size, 0))
    if theory is not None and pd.notna(theory):
        side = min(theory, size)
        # around its cell, in whole pixels, and cut by the border
        start = min(max(round((grid // 2 + 0.5) * size / grid - side / 2), 0), size - side)
        square = Rectangle((start, start), side, side, fill=False, edgecolor=WARM, lw=1.3)
        ax.add_patch(square).set_clip_on(False)
    return ax
