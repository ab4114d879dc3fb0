"""The look: one palette, one style file, and how figures are saved (labels are records.LABELS).

Colours are seaborn's "colorblind" set, by family: FAGAN warm, SAGAN cool, DCGAN grey. A marker goes
with each, so that no figure rests on colour alone.
"""

import contextlib
import io
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from fagan.files import replacing
from fagan.records import Runs

STYLE = Path(__file__).resolve().parents[2] / "notebooks" / "matplotlibrc"
# as in matplotlibrc; a page exchanges them for its theme's
INK, MUTED, GRID, PAPER = "#1f2328", "#6e7781", "#d8dee4", "#ffffff"

PALETTE = {
    "dcgan": "#949494",
    "dcgan-wide": "#6b6b6b",
    "sagan": "#0173b2",
    "sagan-wide": "#029e73",
    "sagan-1": "#56b4e9",
    "fagan": "#d55e00",
    "fagan-pure": "#de8f05",
}
MARKERS = dict(zip(PALETTE, "sho^vDP", strict=True))
# for the arms of a table about one family's options, in the order of that table
SPARE = {
    "fagan": ("#cc78bc", "#ca9161", "#a8322d", "#8c6bb1", "#e0559a", "#b8860b"),
    "sagan": ("#3f51b5", "#1b9e9e", "#7a9fd4", "#2f6f4f"),
    "dcgan": ("#b0b0b0", "#7f8c8d", "#4f5b66"),
}
SPARE_MARKERS = "o^vspX<>P*"
VARIANT = "-relativistic"

METRICS = {
    "fd_lite0": "FD-Lite0",
    "kid_lite0": "KID-Lite0",
    "fid": "FID",
    "coherence_eyes": "coherence of the eyes",
    "coherence_outfit": "coherence of the outfit",
    "signal_eyes": "signal of the eyes",
    "signal_outfit": "signal of the outfit",
    "loss_d": "loss of the discriminator",
    "loss_g": "loss of the generator",
}


@dataclass(frozen=True)
class ArmStyle:
    label: str
    color: str
    marker: str
    linestyle: str = "-"  # a variant of another arm is dashed, with a hollow marker

    @property
    def points(self) -> dict:
        """Keywords of Axes.plot for this arm's markers."""
        hollow = self.linestyle != "-"
        face, edge = (PAPER, self.color) if hollow else (self.color, PAPER)
        return {"marker": self.marker, "mfc": face, "mec": edge, "mew": 1.4 if hollow else 0.7}


def family(architecture: str) -> str:
    """`fagan`, `sagan` or `dcgan`: by name, or by the layers of a stage string."""
    for name in SPARE:
        if architecture.startswith(name):
            return name
    return "fagan" if "F" in architecture else "sagan" if "+A" in architecture else "dcgan"


def arm_styles(runs: Runs) -> dict[str, ArmStyle]:
    """The style of every arm, in the order of the ablation's table.

    A named architecture looks the same in every ablation. Other arms take their family's spare
    colours in the order of their table, whatever subset of it is then drawn.
    """
    architecture = runs.runs.groupby("arm")["architecture"].first()
    taken = dict.fromkeys(SPARE, 0)
    styles: dict[str, ArmStyle] = {}
    # a variant takes the hue of the arm that it varies, so that one goes first
    for arm in sorted(runs.arms, key=lambda name: name.endswith(VARIANT)):
        base = arm.removesuffix(VARIANT)
        dashes = "--" if base != arm else "-"
        if base in PALETTE:
            color, marker = PALETTE[base], MARKERS[base]
        elif base in styles:
            color, marker = styles[base].color, styles[base].marker
        else:
            kin = family(base if base.startswith(tuple(SPARE)) else architecture[arm])
            color = SPARE[kin][taken[kin] % len(SPARE[kin])]
            marker = SPARE_MARKERS[taken[kin] % len(SPARE_MARKERS)]
            taken[kin] += 1
        styles[arm] = ArmStyle(runs.labels[arm], color, marker, dashes)
    return {arm: styles[arm] for arm in runs.arms}


def use_style() -> None:
    """Take the suite's style for the rest of the process: a notebook's first line."""
    plt.style.use(STYLE)


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Take the suite's style, then restore what was found."""
    with mpl.rc_context(fname=STYLE):
        yield


def render_figure(figure: Figure, alt: str, kind: str = "svg") -> bytes:
    """The figure as an SVG that carries `alt` as its title, or as a PNG of twice its size."""
    buffer = io.BytesIO()
    metadata = {"Title": alt} | ({"Date": None} if kind == "svg" else {"Software": None})
    # the whole figure, not its tight box: equal widths on a page mean equal type
    figure.savefig(buffer, format=kind, metadata=metadata)
    return _rounded(buffer.getvalue()) if kind == "svg" else buffer.getvalue()


def _rounded(svg: bytes) -> bytes:
    """Paths to a hundredth of a point: nobody sees it, and curves are a fifth smaller."""
    return re.sub(
        rb' d="[^"]*"',
        lambda d: re.sub(rb"-?\d+\.\d{3,}", lambda n: b"%.2f" % float(n[0]), d[0]),
        svg,
    )


def save(figure: Figure, path: Path, alt: str) -> Path:
    """Write an .svg or .png, as the name says, atomically."""
    return _write(render_figure(figure, alt, _kind(path)), Path(path))


def _kind(path: Path) -> str:
    return Path(path).suffix.removeprefix(".")


def _write(data: bytes, path: Path) -> Path:
    with replacing(path) as file:
        file.write(data)
    return path


def show(figure: Figure, alt: str, path: Path | None = None, kind: str | None = None) -> None:
    """Display a figure in a notebook with its text alternative, save it at `path`, close it.

    kind: svg or png, what is displayed; by default what the name of `path` says, else svg.
    """
    from IPython.display import display

    kind = kind or (_kind(path) if path else "svg")
    data = render_figure(figure, alt, kind)
    if path is not None:
        # not drawn twice: every drawing moves a constrained layout by a hair
        _write(data if kind == _kind(path) else render_figure(figure, alt, _kind(path)), Path(path))
    plt.close(figure)
    mime, content, extra = MIMES[kind], data.decode() if kind == "svg" else "", {}
    if kind == "png":
        content, extra = b64encode(data).decode(), {"width": round(96 * figure.get_figwidth())}
    display({mime: content, "text/plain": alt}, metadata={mime: {"alt": alt} | extra}, raw=True)


MIMES = {"svg": "image/svg+xml", "png": "image/png"}
