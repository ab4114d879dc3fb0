"""The look: no two arms alike, text alternatives, what is shown and what is saved."""

import io
from base64 import b64decode
from types import SimpleNamespace
from xml.etree import ElementTree

import IPython.display
import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fagan import plots

matplotlib.use("Agg")
SVG, PNG, JPEG = "image/svg+xml", "image/png", "image/jpeg"


def made(arms, floor=None):
    """What the look reads of Runs."""
    frame = pd.DataFrame({"arm": [*arms], "architecture": [*arms.values()]})
    return SimpleNamespace(
        arms=tuple(arms),
        labels={arm: arm.upper() for arm in arms},
        runs=frame,
        reference={"final": {"fd_lite0_floor": floor}},
    )


@pytest.fixture
def shown(monkeypatch):
    """What is displayed: a list of (bundle, metadata)."""
    bundles = []
    monkeypatch.setattr(
        IPython.display,
        "display",
        lambda data, raw, metadata=None: bundles.append((data, metadata)),
    )
    return bundles


@pytest.fixture
def figure():
    with matplotlib.rc_context():
        plots.use_style()
        figure, ax = plots.plt.subplots()
        ax.plot([1, 2], [1, 3])
        yield figure
        plots.plt.close("all")


def test_no_two_arms_look_alike():
    arms = dict.fromkeys([*plots.PALETTE, *(f"fagan-{i}" for i in range(30))], "fagan")
    colours = plots.palette(made(arms))
    assert len(set(colours.values())) == len(arms)
    assert colours["FAGAN"] == plots.PALETTE["fagan"]  # whatever else is there
    only = plots.palette(made(arms), only=["fagan"])
    assert only["FAGAN"] == colours["FAGAN"] and only["SAGAN"] == plots.REST


@pytest.mark.parametrize(
    ("arm", "architecture", "kind"),
    [
        ("fagan", "fagan-pure", "full attention"),
        ("mine", "C C C+A C | C F C C", "full attention"),
        ("fagan", "C C C+A C | C C C C", "self-attention"),
        ("sagan-wide", pd.NA, "self-attention"),
        ("mine", "dcgan", "no attention"),
    ],
)
def test_kind_of_attention(arm, architecture, kind):
    assert plots.kinds(made({arm: architecture})) == {arm.upper(): kind}


def test_a_figure_is_shown_with_its_alternative(figure, shown, tmp_path):
    plots.show(figure, "a < b", tmp_path / "figures" / "one.png")
    ((data, metadata),) = shown
    root = ElementTree.fromstring(data[SVG])
    assert root.get("role") == "img" and root.get("aria-label") == "a < b"
    assert metadata[SVG]["alt"] == data["text/plain"] == "a < b"
    with Image.open(tmp_path / "figures" / "one.png") as saved:
        assert saved.width == 1400
    assert not plots.plt.fignum_exists(figure.number)


def test_large_figures_are_pngs_and_photographs_what_is_smaller(figure, shown, tmp_path):
    rng = np.random.default_rng(0)
    figure.axes[0].scatter(*rng.normal(size=(2, 2_000)), c=rng.uniform(size=2_000))
    plots.show(figure, "many dots")
    for grain in (0, 1):
        photo, ax = plots.plt.subplots()
        ax.imshow(0.5 + grain * rng.uniform(-0.5, 0.5, size=(400, 400, 3)))
        plots.show(photo, "a face", tmp_path / "face.png", photo=True)
    wanted = ((PNG, False), (PNG, True), (JPEG, True))
    for (data, metadata), (mime, bare) in zip(shown, wanted, strict=True):
        assert data.keys() == {mime, "text/plain"}
        assert Image.open(io.BytesIO(b64decode(data[mime]))).width == 1400
        assert metadata[mime] == {"alt": data["text/plain"], "width": 672, "unconfined": bare}
    assert Image.open(tmp_path / "face.png").mode == "RGBA"  # the file has every colour


def test_a_saved_figure_has_a_dark_rendition(figure, tmp_path):
    plots.save(figure, tmp_path / "a.svg", "a line")
    light, dark = ((tmp_path / name).read_text() for name in ("a.svg", "a-dark.svg"))
    for colour in (plots.INK, plots.PAPER, plots.GRID, plots.MUTED):
        assert colour in light and colour not in dark and plots.DARK[colour] in dark


def test_sheet_keeps_the_order_of_the_images():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert plots.sheet(images, 3)[::2, ::2, 0].tolist() == [[0, 1, 2], [3, 4, 255]]


def test_a_film_moves_and_rests(shown, tmp_path):
    frames = [np.full((8, 8, 3), 60 * i, np.uint8) for i in range(4)]
    plots.film(frames, "it <moves>", tmp_path / "film.webp", milliseconds=100)
    with Image.open(tmp_path / "film.webp") as film:
        assert film.n_frames == 4
    html = shown[0][0]["text/html"]
    assert 'alt="it &lt;moves&gt;"' in html and "prefers-reduced-motion" in html


@pytest.mark.parametrize(
    ("along", "floor", "lines", "note"),
    [("x", 1.5, 2, "1.5"), ("y", 1.5, 2, "1.5"), ("x", 0.01, 1, "0.01"), ("y", pd.NA, 1, None)],
)
def test_floor(figure, along, floor, lines, note):
    """A line where it can be seen, a note at the edge where it is far below."""
    ax = figure.axes[0]
    limits = ax.get_xlim(), ax.get_ylim()
    plots.floor_line(ax, made({"fagan": "fagan"}, floor), along)
    assert len(ax.lines) == lines and (ax.get_xlim(), ax.get_ylim()) == limits
    assert [text.get_text().endswith(f": {note}") for text in ax.texts] == [True] * bool(note)


def test_names_do_not_overprint(figure):
    ax = figure.axes[0]
    points = pd.DataFrame({"x": 1.5, "y": np.linspace(1.8, 1.85, 9)}, list("abcdefghi"))
    points.loc["c"] = np.nan  # a score that is missing
    plots.name_points(ax, points)
    boxes = [text.get_window_extent() for text in ax.texts]
    assert 0 < len(boxes) < 9
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_map_lies_over_its_image_with_a_cross_at_the_query(figure):
    ax, weights = figure.axes[0], np.zeros((4, 4))
    weights[1, 2] = 3.0
    plots.map_overlay(ax, np.zeros((32, 32, 3), np.uint8), weights, query=(3, 5))
    heat = ax.images[-1].get_array()
    assert np.argwhere(heat[..., 3] > 0).tolist() == [[1, 2]] and heat[1, 2, 3] == 0.85
    assert ax.lines[-1].get_xydata().tolist() == [[5.5, 3.5]]
    plots.map_overlay(ax, np.zeros((8, 8, 3), np.uint8), np.full((2, 2), np.nan))


def test_a_field_has_the_square_of_its_theory(figure):
    ax = figure.axes[0]
    plots.field_map(ax, np.eye(8), theory=4, grid=2)
    assert (ax.patches[-1].get_x(), ax.patches[-1].get_width()) == (4, 4)
    plots.field_map(ax, np.full((8, 8), np.nan), theory=pd.NA)
