"""Figures: every seed is drawn, the floor is there, an arm keeps its look, files are stable."""

import re
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from records_factory import ARMS, FLOOR, make_ablation

from fagan import plots, tables
from fagan.architectures import ARCHITECTURES, MATCHED
from fagan.plots import look
from fagan.records import LABELS, load_runs, read_grid


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    results = tmp_path_factory.mktemp("plots")
    make_ablation(results, grids=3)
    return load_runs("tiny", results)


@pytest.fixture(autouse=True)
def in_style():
    with plots.style():
        yield


@pytest.fixture
def ax():
    return Figure(figsize=(7, 3.6)).subplots()


def at(ax, color):
    return [line for line in ax.lines if line.get_color() == color]


# The look


def test_every_named_architecture_has_a_color_a_marker_and_a_label():
    named = {*ARCHITECTURES, *MATCHED}
    assert set(plots.PALETTE) == named == set(LABELS)
    assert len(set(plots.PALETTE.values())) == len(set(look.MARKERS.values())) == len(named)


def test_families_are_warm_cool_and_grey():
    for arm, color in plots.PALETTE.items():
        red, _, blue = to_rgb(color)
        kin = look.family(arm)
        assert red > blue if kin == "fagan" else blue > red if kin == "sagan" else red == blue


@pytest.mark.parametrize("color", [*plots.PALETTE.values(), *sum(look.SPARE.values(), ())])
def test_colors_are_seen_on_white_and_on_black(color):
    def light(name):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(name)]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722))) + 0.05

    assert 1.05 / light(color) > 2
    assert light(color) / light("#0f1317") > 2


def test_an_arm_keeps_its_look_in_every_ablation_and_subset(runs, ax):
    styles = plots.arm_styles(runs)
    assert list(styles) == list(ARMS)
    assert styles["fagan"].color == plots.PALETTE["fagan"]
    variant = styles["fagan-relativistic"]
    assert variant.color == styles["fagan"].color and variant.linestyle == "--"
    assert variant.points["mfc"] == look.PAPER  # hollow
    plots.learning_curves(runs, ax, arms=["fagan"])
    drawn = {line.get_color() for line in ax.lines} - {look.MUTED}
    assert drawn == {plots.PALETTE["fagan"]}


def test_other_arms_take_their_familys_spare_colors(tmp_path):
    arms = {
        "k3": {"architecture": "fagan", "kernel_size": 3},
        "fagan": {"architecture": "fagan"},
        "google": {"architecture": "sagan"},
        "own": {"architecture": "F F C | C C C+A"},
        "k3-relativistic": {"architecture": "fagan", "loss": "relativistic-hinge"},
    }
    make_ablation(tmp_path, arms=arms, seeds=1, grids=0)
    styles = plots.arm_styles(load_runs("tiny", tmp_path))
    assert styles["k3"].color == look.SPARE["fagan"][0] == styles["k3-relativistic"].color
    assert styles["own"].color == look.SPARE["fagan"][1]
    assert styles["google"].color == look.SPARE["sagan"][0]
    assert styles["fagan"].color == plots.PALETTE["fagan"]
    assert len({(s.color, s.linestyle) for s in styles.values()}) == len(arms)


def test_style_file_agrees_with_the_colors_that_pages_exchange():
    assert mpl.rcParams["text.color"] == look.INK
    assert mpl.rcParams["axes.edgecolor"] == look.MUTED
    assert mpl.rcParams["grid.color"] == look.GRID
    assert mpl.rcParams["figure.facecolor"] == look.PAPER


def test_style_is_restored():
    with mpl.rc_context():
        mpl.rcdefaults()
        before = mpl.rcParams["font.size"]
        with plots.style():
            assert mpl.rcParams["font.size"] == 9
        assert mpl.rcParams["font.size"] == before


# Figures


def test_learning_curves_draw_every_seed_the_mean_and_the_floor(runs, ax):
    plots.learning_curves(runs, ax)
    fagan = [line for line in at(ax, plots.PALETTE["fagan"]) if line.get_linestyle() == "-"]
    thin, bold = fagan[:3], fagan[3]
    assert len(fagan) == 4 and all(line.get_lw() < 1 for line in thin)
    mean = np.mean([line.get_ydata() for line in thin], axis=0)
    assert bold.get_ydata() == pytest.approx(mean)
    # sagan: two finished seeds, one that diverged and counts in no mean
    sagan = [line for line in at(ax, plots.PALETTE["sagan"]) if len(line.get_xdata()) > 1]
    cross = [line for line in at(ax, plots.PALETTE["sagan"]) if line.get_marker() == "x"]
    assert len(sagan) == 4 and len(cross) == 1 and len(sagan[2].get_xdata()) == 6
    assert sagan[3].get_ydata() == pytest.approx(
        np.mean([line.get_ydata() for line in sagan[:2]], axis=0)
    )
    dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert [line.get_ydata()[0] for line in dotted] == [FLOOR["track"]]
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "generator steps"
    assert ax.get_ylim()[0] < FLOOR["track"]
    texts = [text.get_text() for text in ax.texts]
    assert {"FAGAN", "SAGAN", "DCGAN", "FAGAN relativistic"} <= set(texts)
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"diverged", "unfinished"}


def test_short_curves_are_not_pressed_together_by_a_far_floor(runs, ax):
    """Scores within a factor of 4 of one another are drawn from 0 upwards."""
    history = runs.history.assign(fd_lite0=2000 + runs.history["fd_lite0"])
    plots.learning_curves(replace(runs, history=history), ax)
    assert ax.get_yscale() == "linear" and ax.get_ylim()[0] == 0 < ax.get_ylim()[1] > 2400


def test_learning_curves_against_time(runs, ax):
    plots.learning_curves(runs, ax, against="minutes")
    ends = {
        name: max(line.get_xdata()[-1] for line in at(ax, plots.PALETTE[name]))
        for name in ("dcgan", "fagan")
    }
    assert ends["fagan"] == pytest.approx(400 * 32 / 340 / 60, rel=0.05)
    assert ends["dcgan"] == pytest.approx(400 * 32 / 900 / 60, rel=0.05)


def test_final_scores_draw_every_seed_and_name_the_missing(runs, ax):
    plots.final_scores(runs, ax)
    points = [line for line in at(ax, plots.PALETTE["fagan"]) if line.get_marker() != "None"]
    assert sorted(points[0].get_xdata()) == [69, 70, 74]
    bar = [line for line in at(ax, plots.PALETTE["fagan"]) if line.get_marker() == "None"]
    assert bar[0].get_xdata()[0] == 71
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [21]
    texts = [text.get_text() for text in ax.texts]
    assert "1 diverged" in texts and "1 unfinished" in texts
    assert [label.get_text() for label in ax.get_yticklabels()] == list(runs.labels.values())
    assert ax.yaxis_inverted()


def test_a_missing_floor_is_said(runs, ax):
    plots.final_scores(replace(runs, reference={}), ax)
    assert any("not measured" in text.get_text() for text in ax.texts)


def test_differences_draw_every_shared_seed(runs, ax):
    plots.differences(tables.paired_differences(runs), ax, runs)
    fagan = [line for line in at(ax, plots.PALETTE["fagan"]) if line.get_marker() != "None"]
    ratios = [100 * (74 / 86 - 1), 100 * (70 / 80 - 1)]
    assert sorted(fagan[0].get_xdata()) == pytest.approx(ratios)
    assert "SAGAN at the same seed" in ax.get_xlabel()


def test_alpha_lines_are_seeds_times_layers(runs, ax):
    plots.alpha_trajectories(runs, ax, "fagan", "generator")
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert len(lines) == 3 * 3
    reach = ax.collections[0].get_paths()[0].vertices
    assert np.abs(reach[:, 1]).max() == pytest.approx(1e-4 * 400)


def test_alpha_figures_have_a_panel_per_arm_and_network(runs):
    figure = plots.alpha_figure(runs)
    assert len(figure.axes) == 2 * 3  # dcgan has no gate
    assert {line.get_label() for line in figure.legends[0].get_lines()} == set(
        runs.alpha["layer"].unique()
    )
    figure = plots.final_alphas_figure(tables.last_alphas(runs), runs)
    assert [len(ax.get_yticks()) for ax in figure.axes] == [2 + 3 + 3, 2 + 4 + 4]
    without = replace(runs, alpha=runs.alpha[:0])
    assert len(plots.alpha_figure(without).axes) == 1


def test_losses(runs, ax):
    plots.losses(runs, ax, "loss_d")
    assert len(ax.lines) == 11 + 4  # runs and means


def test_figures_of_runs_that_recorded_nothing(runs, ax):
    nothing = replace(
        runs, history=runs.history[:0], alpha=runs.alpha[:0], runs=runs.runs.assign(fd_lite0=np.nan)
    )
    for draw in (plots.learning_curves, plots.final_scores, plots.losses):
        draw(nothing, ax.figure.add_subplot())
    plots.differences(tables.paired_differences(nothing), ax, nothing)
    plots.render_figure(ax.figure, "nothing")


# Sample grids


def test_a_grid_is_read_as_it_was_laid(tmp_path):
    cells = np.random.default_rng(0).integers(0, 255, (64, 4, 4, 3), dtype=np.uint8)
    Image.fromarray(plots.tile(cells, 8)).save(tmp_path / "step_0000000.png")
    assert (read_grid(tmp_path / "step_0000000.png") == cells).all()
    assert (plots.tile(cells, 8)[:4, 4:8] == cells[1]).all()


def test_sample_sheet_has_a_tile_per_arm_and_says_who_is_not_done(runs):
    real = np.zeros((25, 3, 32, 32), np.uint8)
    figure = plots.sample_sheet(runs, seed=2, real=real)
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titles[0].startswith("real images")
    assert "SAGAN\ndiverged, step 224" in titles and "FAGAN\nFD-Lite0 69.0" in titles
    assert len(titles) == 5
    corner = figure.axes[1].images[0].get_array()
    first = read_grid(runs.samples("dcgan-seed2")[-1])
    assert corner.shape == (160, 160, 3) and (corner[:32, 32:64] == first[1]).all()


def test_sample_progress_has_a_row_per_step(runs, ax):
    plots.sample_progress(runs, ax, "fagan", 0, rows=5, columns=6)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["step 0", "step 200", "step 400"]
    assert ax.images[0].get_array().shape == (3 * 32, 6 * 32, 3)


# Files


def test_files_are_stable_named_and_hold_text(runs, ax, tmp_path):
    again = Figure(figsize=(7, 3.6)).subplots()
    plots.final_scores(runs, ax)
    plots.final_scores(runs, again)
    first = plots.save(ax.figure, tmp_path / "figures" / "a.svg", "what <it> shows").read_text()
    second = plots.save(again.figure, tmp_path / "b.svg", "what <it> shows").read_text()
    assert first == second
    assert "<title>what &lt;it&gt; shows</title>" in first and ">FAGAN</text>" in first
    picture = plots.save(ax.figure, tmp_path / "c.png", "what it shows")
    with Image.open(picture) as image:
        assert image.size == (1400, 720) and image.text["Title"] == "what it shows"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.svg", "c.png", "figures"]


# What a page has room for


def with_arms(runs, arms, seeds, resolution=32):
    frame = pd.DataFrame(
        [
            {"arm": f"a{i}", "seed": s, "resolution": resolution}
            for i in range(arms)
            for s in range(seeds)
        ]
    )
    return replace(runs, arms=tuple(f"a{i}" for i in range(arms)), runs=frame)


@pytest.mark.parametrize(("arms", "seeds", "resolution"), [(18, 3, 32), (6, 3, 64), (40, 5, 128)])
def test_pictures_of_many_arms_stay_within_a_page(runs, arms, seeds, resolution):
    large = with_arms(runs, arms, seeds, resolution)
    side, columns = plots.sheet_side(large), plots.strip_columns(large)
    assert side >= 2 and columns >= 3
    if resolution < 128:
        image = 4 / 3 * 2.4 * resolution**2  # bytes as PNG in base64, of noise-like faces
        assert arms * seeds * side**2 * image < 2e6 and arms * 5 * columns * image < 2e6
    assert plots.sheet_side(with_arms(runs, 6, 2)) == 5


def test_a_crowded_curve_keeps_its_ends_and_a_lone_one_every_step(runs):
    steps = np.arange(0, 4001, 50)
    alpha = pd.DataFrame(
        [{"run_id": r, "step": s, "alpha": s / 4000} for r in ("one", "two") for s in steps]
    )
    crowded = replace(with_arms(runs, 18, 3), alpha=alpha, spectral=alpha)
    for own in (plots.fewer_points(crowded).alpha, plots.fewer_points(crowded).spectral):
        for _, run in own.groupby("run_id"):
            assert len(run) == 24 and list(run["step"].iloc[[0, -1]]) == [0, 4000]
            assert run["step"].diff().dropna().between(150, 200).all()
    few = replace(with_arms(runs, 6, 3), alpha=alpha[alpha["step"] < 3000], spectral=alpha)
    assert plots.fewer_points(few).alpha.equals(few.alpha)


def test_paths_of_a_figure_are_rounded_and_its_text_is_not(runs):
    figure, ax = plt.subplots()
    ax.plot([0, 1 / 3, 1], [0, 1 / 7, 1])
    ax.set_title("1.23456")
    svg = plots.render_figure(figure, "alt").decode()
    plt.close(figure)
    assert "1.23456" in svg
    paths = re.findall(r' d="([^"]*)"', svg)
    assert paths and not any(re.search(r"\.\d{3}", path) for path in paths)
    assert any(re.search(r"\.\d{2}\b", path) for path in paths)
