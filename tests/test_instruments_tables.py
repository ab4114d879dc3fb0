"""Instruments over seeds: tables with known numbers, their figures, and what the sentences say."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from records_factory import FINAL, LAYERS, SEED_EFFECT, make_ablation

from fagan import plots, readings, tables
from fagan.interpret import attention_distance
from fagan.plots.instruments import ROLE_STYLES
from fagan.records import load_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    results = tmp_path_factory.mktemp("instruments")
    make_ablation(results, grids=0)
    return load_runs("tiny", results)


@pytest.fixture(scope="module")
def nothing(runs):
    """As records of schema 1: an alpha and no instrument."""
    instruments = runs.alpha.columns[runs.alpha.columns.get_loc("alpha") + 1 :]
    alpha = runs.alpha.assign(**dict.fromkeys(instruments, np.nan))
    empty = {"spectral": runs.spectral[:0], "interventions": runs.interventions[:0]}
    return replace(runs, alpha=alpha, **empty)


@pytest.fixture(autouse=True)
def in_style():
    with plots.style():
        yield
    plt.close("all")


@pytest.fixture
def ax():
    return Figure(figsize=(7, 3.6)).subplots()


# Tables


@pytest.mark.parametrize("cells", [1, 4, 8])
def test_the_distance_without_preference_is_that_of_a_uniform_map(cells):
    n = cells * cells
    uniform = torch.full((n, n), 1 / n, dtype=torch.float64)
    expected = attention_distance(uniform, (cells, cells), (cells, cells), 32).mean().item()
    assert tables.uniform_distance(f"self {cells}x{cells}", 32) == pytest.approx(expected)
    assert np.isnan(tables.uniform_distance("my layer", 32))


def test_last_instruments_are_means_of_finished_seeds(runs):
    table = tables.last_instruments(runs)
    assert len(table) == 4 + 7 + 7
    own = table.set_index(["arm", "layer"])
    # closed forms of the factory: 0.52 R, halved at the end; entropy down to 0.6
    row = own.loc[("fagan", "self 16x16")]
    assert row["distance"] == pytest.approx(0.52 * 32 / 2)
    assert row["distance_first"] == pytest.approx(0.52 * 32)
    assert (row["entropy_share"], row["entropy_share_first"]) == pytest.approx((0.6, 1))
    assert row["attention_share_first"] == 0
    assert row["attention_share_min"] < row["attention_share"] < row["attention_share_max"]
    # one of sagan's seeds diverged, of the relativistic arm's one never ended and one never began
    assert table.groupby("arm")["n"].max().to_dict() == {
        "sagan": 2,
        "fagan": 3,
        "fagan-relativistic": 1,
    }
    order = table.loc[table["arm"] == "fagan", ["network", "layer"]].apply(tuple, axis=1)
    assert order.tolist() == [
        *(("generator", layer) for layer in LAYERS["fagan"][0]),
        *(("discriminator", layer) for layer in LAYERS["fagan"][1]),
    ]


def test_interventions_are_changes_of_every_finished_seed(runs):
    table = tables.interventions(runs)
    own = table.set_index(["arm", "layer", "intervention"])
    row = own.loc[("fagan", "full 8x8", "alpha = 0")]
    assert (row["mean"], row["min"], row["max"], row["n"], row["rises"]) == (10, 10, 10, 3, 3)
    finals = [FINAL["fagan"] + effect for effect in SEED_EFFECT[:3]]
    assert row["relative"] == pytest.approx(np.mean([10 / final for final in finals]))
    assert own.loc[("fagan", "all", "alpha = 0"), "mean"] == 30
    assert own.loc[("sagan", "all", "alpha = 1"), ["n", "mean"]].tolist() == [2, 120]
    assert ("sagan", "self 16x16", "swapped") not in own.index
    assert "dcgan" not in set(table["arm"]) and (table["n_fake"] == 500).all()


def test_gates_by_layer_hold_every_layer_once_with_what_was_recorded(runs, nothing):
    table = tables.gates_by_layer(runs)
    last = tables.last_alphas(runs)
    assert len(table) == len(last) and not table.duplicated(["arm", "network", "layer"]).any()
    changes = tables.interventions(runs).set_index(["arm", "layer", "intervention"])["relative"]
    for row in table.to_dict("records"):
        closed = changes.get((row["arm"], row["layer"], "alpha = 0"), np.nan)
        expected = closed if row["network"] == "generator" else np.nan
        assert row["relative"] == pytest.approx(expected, nan_ok=True)
    assert table["relative"].notna().any()
    shares = tables.last_instruments(runs).set_index(["arm", "network", "layer"])["attention_share"]
    own = table.set_index(["arm", "network", "layer"])["attention_share"].dropna()
    assert len(own) == len(shares) and (own == shares[own.index]).all()
    shown = tables.present_gates(table)
    generator = table["network"] == "generator"
    assert shown.loc[generator, "FD when closed, %"].str.contains("rises in").any()
    assert (shown.loc[~generator, "FD when closed, %"] == tables.DASH).all()
    assert tables.gates_by_layer(nothing)["relative"].isna().all()


def test_a_rise_within_the_threshold_is_not_a_use(runs):
    frame = runs.interventions.copy()
    near = (frame["intervention"] == "alpha = 0") & (frame["layer"] == "full 8x8")
    frame.loc[near, "change"] = 0.9 * tables.NOTICED * FINAL["fagan"]
    own = tables.interventions(replace(runs, interventions=frame))
    own = own[(own["arm"] == "fagan") & (own["intervention"] == "alpha = 0")].set_index("layer")
    assert own.loc["full 8x8", "rises"] == 0 and own.loc["full 4x4", "rises"] == 3


def test_use_by_sign_counts_every_gate_of_every_finished_seed(runs):
    table = tables.use_by_sign(runs).set_index(["kind", "sign"])
    last = tables.last_alphas(runs)
    made = last[last["network"] == "generator"]
    for kind in ("full", "self"):
        own = made[made["layer"].str.startswith(kind)]
        assert table.loc[(kind, "negative"), "layers"] == own["negative"].sum()
        assert table.loc[(kind, "positive"), "layers"] == own["positive"].sum()
    assert table["layers"].sum() == 2 * 2 + 3 * 3 + 3
    filled = table[table["layers"] > 0]
    assert (filled["rises"] == filled["layers"]).all()
    assert filled["median"].between(10 / 110, 10 / 60).all()


def test_spectral_norms_by_role(runs):
    frame = runs.spectral.copy()
    frame.loc[frame["layer"] == "full 4x4.query", "layer"] = "stages.0.query"  # no attention layer
    roles = tables.spectral_roles(replace(runs, spectral=frame))
    assert set(roles.loc[roles["layer"] == "stages.0.query", "role"]) == {"other"}
    assert set(roles.loc[roles["layer"] == "self 8x8.query", "role"]) == {"query"}
    table = tables.last_spectral(runs).set_index(["arm", "network"])
    ends = runs.spectral[(runs.spectral["step"] == 400) & (runs.spectral["arm"] == "fagan")]
    ends = ends[ends["network"] == "generator"]
    row = table.loc[("fagan", "generator")]
    assert (row["layers"], row["n"]) == (3, 3)
    assert row["max"] == ends["spectral_norm"].max() and row["mean"] == pytest.approx(
        ends["spectral_norm"].mean()
    )


# Sentences


def test_sentences_hold_the_tables_numbers(runs):
    reading = readings.read_interventions(runs)
    # three more have one finished seed, of which nothing is said
    claim = "2 of 2 full and 3 of 3 self attention layers of the generators use their attention"
    assert reading.claim == claim
    assert "Not counted, with one finished seed: 3." in reading.text
    assert reading.text.count("%);") == 4 and "; and 1 more." in reading.text
    assert "in 0 of 5 it falls by as much in every seed" in reading.text
    assert "500 images" in reading.text and "1 to 3 seeds" in reading.text
    assert "+30.0" in reading.text
    traces = readings.read_traces(runs)
    assert traces.claim == "18 of 18 attention layers learned to look near"
    assert "8.32 px" in traces.text and "1 to 3 seeds" in traces.text
    top = tables.last_spectral(runs)["max"].max()
    assert tables.number(top) in readings.read_spectral(runs).claim


def test_layers_that_the_score_gains_from_closing_are_the_control(runs):
    frame = runs.interventions.copy()
    better = (frame["intervention"] == "alpha = 0") & (frame["layer"] == "full 8x8")
    frame.loc[better, "change"] = -10.0
    reading = readings.read_interventions(replace(runs, interventions=frame))
    assert reading.claim.startswith("1 of 2 full and 3 of 3 self attention layers")
    assert "in 1 of 5 it falls by as much in every seed" in reading.text
    table = tables.interventions(replace(runs, interventions=frame))
    assert table.set_index(["arm", "layer", "intervention"]).loc[
        ("fagan", "full 8x8", "alpha = 0"), ["rises", "falls"]
    ].tolist() == [0, 3]


def test_one_seed_says_of_no_layer_that_it_is_used(runs):
    one = replace(runs, runs=runs.runs[runs.runs["seed"] == 0])
    reading = readings.read_interventions(one)
    assert reading.claim == "One seed says of no layer that its attention is used"


def test_changes_of_all_layers_that_are_not_known_are_left_out(runs):
    frame = runs.interventions.copy()
    frame.loc[(frame["layer"] == "all") & (frame["change"] != 0), "change"] = np.nan
    reading = readings.read_interventions(replace(runs, interventions=frame))
    assert "nan" not in reading.text and "All layers at once" not in reading.text


def test_where_all_runs_diverged_no_schema_is_blamed(runs):
    lost = replace(runs, runs=runs.runs.assign(status="diverged"))
    for read in (readings.read_spectral, readings.read_traces, readings.read_ties):
        text = " ".join(read(lost))
        assert "schema" not in text and "procedural faces only" not in text
        assert "No run is done" in text


def test_the_sign_is_said_to_matter_where_it_does(runs):
    flips = pd.DataFrame({"kind": ["self", "full"], "change": [1e-16, 0.25]})
    reading = readings.read_sign_use(runs, flips)
    assert "in self-attention that changes nothing" in reading.claim
    assert "1e-16" in reading.text and "25 %" in reading.text
    other = readings.read_sign_use(runs, flips.assign(change=0.5))
    assert "changes nothing" not in other.claim
    assert "Turning" not in readings.read_sign_use(runs, flips[:0]).text


def test_sentences_of_records_without_instruments(nothing):
    no_flips = pd.DataFrame(columns=["kind", "change"])
    for reading in (
        readings.read_traces(nothing),
        readings.read_interventions(nothing),
        readings.read_sign_use(nothing, no_flips),
        readings.read_spectral(nothing),
    ):
        assert reading.claim.startswith("No ") and "nan" not in reading.text
    assert tables.last_instruments(nothing).empty and tables.interventions(nothing).empty


def test_missing_weights_are_named(runs):
    assert readings.read_missing([], runs) == ""
    assert readings.read_missing(["a-seed0"], runs).endswith(": a-seed0.")
    assert "No run" in readings.read_missing(list(runs.runs["run_id"]), runs)


# What was computed from networks and images


def fields(outside=0.2):
    """Two layers of two arms and seeds; the gates of one arm can be closed."""
    rows = []
    for arm, gated in (("dcgan", False), ("fagan", True)):
        for seed in (0, 1):
            for place, (layer, grid, theory) in enumerate((("a", 8, 10), ("logit", 1, 32)), 1):
                for attention in ("as trained", "alpha = 0")[: 1 + gated]:
                    share = (0.25 if place == 1 else 0.5) * (1 if attention == "alpha = 0" else 2)
                    rows.append(
                        {"run_id": f"{arm}-seed{seed}", "arm": arm, "seed": seed}
                        | {"place": place, "layer": layer, "grid": grid, "theory": theory}
                        | {"source": "image", "source_grid": 32, "attention": attention}
                        | {"share": share, "size": 32 * share**0.5, "map": np.eye(32) / 32}
                        | {"outside": outside * gated * (place == 1) * (1 + seed)}
                    )
    return pd.DataFrame(rows)


def test_field_sentences(runs):
    reading = readings.read_fields(fields(), runs)
    assert reading.claim == "The logit depends on 100 % of the image"
    assert "2 of 2 arms" in reading.text and "31 % of its side" in reading.text
    assert "32.0 px as trained, 22.6 px with alpha = 0" in reading.text
    beyond = readings.read_outside(fields(), runs, "discriminator")
    assert beyond.claim.startswith("In the discriminators attention brings up to 30 %")
    assert "FAGAN, a" in beyond.text and "2 seeds" in beyond.text
    alone = fields()[lambda frame: frame["arm"] == "dcgan"]
    assert "No attention to close" in readings.read_outside(alone, runs, "generator").claim
    assert readings.read_fields(fields()[:0], runs) is readings.NO_WEIGHTS


def worse():
    """Scores that rise with every degradation but one."""
    rows = [{"kind": "none", "step": i, "level": 0, "fd_lite0": 40.0 + 2 * i} for i in range(3)]
    for kind in ("blur", "noise", "mode collapse", "broken ties"):
        for step in (1, 2):
            value = 40.0 + (100 * step if kind != "broken ties" else -step)
            rows.append({"kind": kind, "step": step, "level": 5 * step, "fd_lite0": value})
    frame = pd.DataFrame(rows).assign(kid_lite0=lambda t: t["fd_lite0"] / 100)
    frame = frame.assign(n_fake=1000, n_real=5000, precision=0.9, density=1.0, coverage=0.5)
    frame["recall"] = np.where(frame["kind"] == "mode collapse", 0.1, 0.9)
    broken = (frame["kind"] == "broken ties") * frame["step"]
    return frame.assign(coherence_eyes=1 - 0.5 * broken, signal_eyes=1.0)


def test_metric_sentences():
    reading = readings.read_degradations(worse())
    assert (
        reading.claim == "FD-Lite0 rises with every step of 3 of 4 degradations, not of broken ties"
    )
    assert "range 40.0 to 44.0 over 3 choices" in reading.text and "blur 6.0 times" in reading.text
    assert "hardly sees mismatched eyes" in reading.text
    assert "misses a collapse" in readings.read_manifold(worse()).claim
    ties = readings.read_coherence_test(worse())
    assert ties.claim == "Coherence sees mismatched eyes where FD-Lite0 does not"
    seen = worse().assign(fd_lite0=lambda t: t["fd_lite0"] + 90 * (t["kind"] == "broken ties"))
    assert "both see" in readings.read_coherence_test(seen).claim
    assert "hardly" in readings.read_coherence_test(worse().assign(coherence_eyes=1.0)).claim
    assert "from 1.0 to 0" in ties.text and "40.0 to 38.0" in ties.text
    own = worse().drop(columns=["coherence_eyes", "signal_eyes"])
    assert "procedural faces only" in readings.read_coherence_test(own).claim


def lines(n=(1000, 2000, 5000)):
    frame = pd.DataFrame({"images": "real images", "n": n, "fd": [7 + 3e4 / size for size in n]})
    return frame.assign(value=7.0, slope=3e4, standard_error=0.5)


def test_sample_size_sentences():
    curve = pd.DataFrame({"n": [50, 5000], "fd": [900.0, 9.0], "kid": [0.1, -0.1]})
    reading = readings.read_floor_curve(curve)
    assert "At 5,000 images a perfect generator scores 9.00" in reading.claim
    assert "100 times" in reading.text
    limit = readings.read_extrapolation(lines())
    assert limit.claim == "At infinitely many images the floor of 13.0 would be 7.00"
    assert "7.00 ± 0.50" in limit.text and "bend" not in limit.text
    assert "bend the line" in readings.read_extrapolation(lines((100, 200, 500))).text


# Figures


def test_traces_draw_every_seed_of_every_layer(runs, ax):
    plots.instrument_traces(runs, ax, "fagan", "generator", "distance")
    curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert len(curves) == 3 * 3
    dotted = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert dotted == [tables.uniform_distance("self 16x16", 32)]
    assert ax.get_ylabel() == "distance (px)" and ax.get_ylim()[0] == 0
    figure = plots.traces_figure(runs, "discriminator")
    assert len(figure.axes) == 3 * 3
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {"full 16x16", "full 8x8", "self 8x8", "self 4x4", "no preference"}


def test_interventions_draw_every_seed(runs, ax):
    table = tables.interventions(runs)
    plots.interventions(table, ax, runs, "swapped")
    points = [line.get_xdata() for line in ax.lines if line.get_linestyle() == "None"]
    # sagan's layers have nothing to swap: a dash; the relativistic arm has one finished seed
    assert [len(values) for values in points] == [3, 3, 3, 1, 1, 1]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[:3] == ["SAGAN: self 16x16", "SAGAN: self 32x32", "SAGAN: all"]
    assert sum(text.get_text() == "\N{EN DASH}" for text in ax.texts) == 3 + 1 + 1
    assert "change in FD-Lite0" in ax.get_xlabel()
    figure = plots.interventions_figure(table, runs)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["alpha = 0", "alpha = 1", "swapped"]


def test_spectral_norms_are_colored_by_role(runs, ax):
    plots.spectral_norms(runs, ax, "fagan", "generator")
    queries = [line for line in ax.lines if line.get_color() == ROLE_STYLES["query"][0]]
    assert len(queries) == 3 * 3 and ax.get_yscale() == "log"
    assert len(plots.spectral_figure(runs).axes) == 3 * 2


def test_a_look_shows_its_map_and_its_query():
    weights = np.zeros((4, 4))
    weights[1, 2] = 1
    image = np.zeros((32, 32, 3), np.uint8)
    row = {"image": image, "map": weights, "row": 20, "column": 3, "peak": 16.0, "query": 2}
    figure = Figure()
    ax = plots.studies.look(pd.Series(row), figure.subplots())
    heat = ax.images[1].get_array()
    assert heat[1, 2, 3] == pytest.approx(0.85) and heat[..., 3].sum() == pytest.approx(0.85)
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[3.5, 20.5]]] * 2
    assert "16" in ax.get_xlabel()


def test_looks_have_a_row_per_layer_and_a_column_per_query(runs):
    rows = [
        {"run_id": "fagan-seed0", "arm": "fagan", "network": network, "layer": layer}
        | {"alpha": alpha, "query": query, "row": 3, "column": 4, "peak": 2.0}
        | {"image": np.zeros((32, 32, 3), np.uint8), "map": np.full((4, 4), 1 / 16)}
        for network, layers in (("generator", "ab"), ("discriminator", "c"))
        for layer, alpha in zip(layers, (-0.5, None), strict=False)
        for query in (1, 2, 3)
    ]
    figure = plots.looks_figure(pd.DataFrame(rows), runs, "fagan-seed0")
    assert [len(part.axes) for part in figure.subfigs] == [3 * 3, 3 * 3]
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert "a, alpha \N{MINUS SIGN}0.5" in titles and "b" in titles
    only = plots.looks_figure(pd.DataFrame(rows[:6]), runs, "fagan-seed0")
    assert [len(part.axes) for part in only.subfigs] == [9, 0]


def test_field_figures(runs, ax):
    frame = fields()
    plots.field_map(frame.iloc[0], ax)
    square = ax.patches[-1]
    # the middle cell of 8 is rows 16 to 19; its field of 10 is rows 13 to 22
    assert (square.get_x(), square.get_width()) == (13, 10)
    assert len(plots.field_maps_figure(frame, runs).axes) == 2 * 5
    sizes = plots.field_sizes_figure(frame, runs).axes
    assert [one.get_title(loc="left") for one in sizes] == ["DCGAN", "FAGAN", ""]
    bars = plots.outside_figure(frame, runs).axes[0]
    assert [bar.get_height() for bar in bars.patches] == pytest.approx([30])  # %, without the logit
    assert bars.lines[0].get_ydata() == pytest.approx([20, 40])
    assert bars.get_ylim()[1] > 40


def test_degradation_figures(ax):
    plots.degradation(worse(), ax, "blur", "fd_lite0")
    curve = next(line for line in ax.lines if line.get_marker() == "o")
    assert curve.get_ydata().tolist() == [40, 140, 240]
    band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx((40, 44))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "5", "10"]
    apart = plots.degradations_figure(worse(), ("fd_lite0", "kid_lite0"))
    assert len(apart.axes) == 2 * 4 and apart.axes[0].get_yscale() == "log"
    together = plots.degradations_figure(worse(), ("precision", "recall", "none such"), apart=False)
    assert len(together.axes) == 4
    assert [t.get_text() for t in together.legends[0].get_texts()] == ["precision", "recall"]


def test_sample_size_figures(ax):
    plots.floor_over_size(pd.DataFrame({"n": [50, 500], "fd": [1000.0, 90.0]}), ax)
    assert {text.get_text() for text in ax.texts} == {"1,000", "90.0"}
    other = Figure().subplots()
    plots.extrapolation(lines(), other)
    fit = other.lines[0]
    assert fit.get_ydata() == pytest.approx([7, 37]) and fit.get_xdata() == pytest.approx([0, 1])
    ends = [bar for bar in other.containers if len(bar.lines[0].get_xdata()) == 1]
    assert ends[0].lines[0].get_ydata().tolist() == [7]


def test_figures_of_nothing_say_so(runs, nothing):
    for figure in (
        plots.spectral_figure(nothing),
        plots.interventions_figure(tables.interventions(nothing), nothing),
        plots.field_maps_figure(fields()[:0], runs),
        plots.field_sizes_figure(fields()[:0], runs),
        plots.outside_figure(fields()[:0], runs),
        plots.traces_figure(replace(runs, alpha=runs.alpha[:0]), "generator"),
        plots.traces_figure(nothing, "generator"),
    ):
        assert len(figure.axes) == 1 and len(figure.axes[0].texts[0].get_text()) > 20
