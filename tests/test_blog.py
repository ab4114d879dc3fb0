"""The page that answers the blog: arms found by what they are, numbers against closed forms."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from records_factory import ARMS, final_score, make_ablation

from fagan import ablations, plots, readings, tables
from fagan.records import load_runs

# names say nothing: every arm must be found by its configuration
MANY = {
    "a": {"architecture": "dcgan"},
    "b": {"architecture": "sagan"},
    "c": {"architecture": "sagan-wide"},
    "d": {"architecture": "fagan"},
    "e": {"architecture": "fagan", "loss": "relativistic-hinge"},
    "f": {"architecture": "fagan-pure"},
    "g": {"architecture": "fagan-pure", "kernel_size": 1},
    "h": {"architecture": "fagan-pure", "kernel_size": 6},
    "i": {"architecture": "fagan-pure", "kernel_size": 1, "width": 0.5},
    "j": {"architecture": "fagan", "merge": "concat"},
    "k": {"architecture": "fagan", "alpha": "frozen", "alpha_init": 0.5},
    "l": {"architecture": "fagan", "alpha": "channel"},
    "m": {"architecture": "fagan", "released": True},
    "n": {"architecture": "fagan", "batch_norm_discriminator": False},
    "o": {"architecture": "C C C+A | F F+A C+A"},
    "p": {"architecture": "sagan", "self_attention": "google"},
}


@pytest.fixture(scope="module")
def known():
    return ablations.known_arms()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    results = tmp_path_factory.mktemp("many")
    make_ablation(results, arms=MANY, diverged=(), unfinished=(), not_begun=(), grids=0)
    runs = load_runs("tiny", results)
    noise = np.random.default_rng(1).normal(0, 0.3, len(runs.runs))
    return replace(runs, runs=runs.runs.assign(fd_lite0=runs.runs["fd_lite0"] + noise))


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    results = tmp_path_factory.mktemp("few")
    make_ablation(results, grids=0)
    return load_runs("tiny", results)


# Arms by what they are


def test_pairs_are_found_by_configuration(many):
    arms = tables.arm_configs(many)
    assert tables.kernel_pairs(arms) == [("g", "f"), ("h", "f")]
    assert tables.kernel_pairs(arms.drop("f")) == [("h", "g")]
    assert set(tables.pure_pairs(arms)) == {("f", "a"), ("f", "b"), ("f", "c")}
    assert tables.relativistic_pairs(arms) == [("e", "d")]
    assert tables.concat_pairs(arms) == [("j", "d")]
    assert set(tables.gate_pairs(arms)) == {("k", "d"), ("l", "d")}
    assert tables.released_pairs(arms) == [("m", "d")]
    assert tables.batch_norm_pairs(arms) == [("d", "n")]
    assert tables.low_pairs(arms) == [("d", "o")]
    assert tables.self_pairs(arms) == [("b", "a")]
    assert set(tables.full_pairs(arms)) == {("d", "b"), ("d", "c")}


def test_equal_parameters_are_counted_not_assumed(many):
    arms = tables.arm_configs(many)
    sizes = {"f": 100.0, "g": 50.0, "h": 200.0, "i": 103.0}
    arms["parameters"] = arms.index.map(sizes)
    assert tables.sized_kernel_pairs(arms) == [("i", "f")]
    arms.loc["i", "parameters"] = 106.0
    assert tables.sized_kernel_pairs(arms) == []


def test_a_field_that_a_network_never_uses_makes_no_difference(many):
    arms = tables.arm_configs(many)
    other = arms.loc["a"].replace({4: 7})
    other["kernel_size"], other["self_attention"], other["alpha"] = 7, "google", "frozen"
    assert tables.differing(arms.loc["a"], other) == set()
    other["loss"] = "standard"
    assert tables.differing(arms.loc["a"], other) == {"loss"}
    assert tables.differing(arms.loc["b"], arms.loc["p"]) == {"self_attention"}


def test_a_table_holds_every_control_that_the_page_asks_for(known):
    def found(name, find):
        return find(known[known["ablation"] == name].set_index("arm"))

    assert len(found("kernels", tables.kernel_pairs)) == 6
    assert len(found("kernels", tables.low_pairs)) == 1
    for find in (
        tables.kernel_pairs,
        tables.concat_pairs,
        tables.gate_pairs,
        tables.released_pairs,
        tables.batch_norm_pairs,
    ):
        assert found("overnight", find)


def test_the_sized_kernels_hold_as_many_parameters():
    from fagan.models import build, parameters

    runs = ablations.configs(ablations.load_table("kernels"), seeds=[0])
    count = {run.arm: sum(map(parameters, build(run))) for run in runs}
    sized = [arm for arm in count if arm.endswith("-sized")]
    assert len(sized) == 8
    for arm in sized:
        assert count[arm] == pytest.approx(count["fagan-pure"], rel=0.003), arm


# Measures


def test_wobble_is_the_deviation_about_the_trend():
    x = pd.Series([0.0, 1, 2, 3])
    assert tables.about_trend(x, 5 - 2 * x) == pytest.approx(0, abs=1e-12)
    # residuals of +-1 about a line, two degrees of freedom
    assert tables.about_trend(x, 3 * x + [1, -1, -1, 1]) == pytest.approx(np.sqrt(4 / 2))
    assert np.isnan(tables.about_trend(x[:2], x[:2]))


def test_stability_counts_what_is_lost(few):
    table = tables.stability_by_arm(few).set_index("arm")
    assert list(table.loc["sagan", ["runs", "diverged", "n"]]) == [3, 1, 2]
    assert table.loc["fagan", "worst"] == max(final_score("fagan", seed) for seed in range(3))
    each = tables.stability(few).set_index("run_id")
    assert np.isnan(each.loc["sagan-seed2", "final"]) and each["wobble"].dropna().gt(0).all()


def test_scores_after_a_time_follow_the_curve(few):
    seconds = tables.training_seconds(few)
    curve = tables.learning_curve(few).query("run_id == 'fagan-seed0'")
    ends = tables.scores_after(few, 10 * seconds.max()).set_index("run_id")["value"]
    assert ends["fagan-seed0"] == pytest.approx(curve["value"].iloc[-1])
    half = tables.scores_after(few, seconds["fagan-seed0"] / 2).set_index("run_id")["value"]
    middle = curve["value"].iloc[len(curve) // 2]
    assert half["fagan-seed0"] == pytest.approx(middle, rel=0.02)
    assert "sagan-seed2" not in half  # it diverged


def test_all_comparisons_share_one_correction(many):
    table = tables.comparisons(many)
    tested = table[table["n"] > 1]
    assert set(tested["comparisons"]) == {len(tested)} and len(tested) > 15
    row = table[(table["arm"] == "j") & (table["baseline"] == "d")].iloc[0]
    assert row["mean"] == pytest.approx(
        100 * (final_score("j", 0) / final_score("d", 0) - 1), abs=3
    )
    assert row["absolute_mean"] == pytest.approx(final_score("j", 0) - final_score("d", 0), abs=2)
    final = tables.final_scores(many)
    spread = tables.seed_spread(final.assign(value=np.log(final["value"])))
    assert row["df"] == spread.df == (len(MANY) - 1) * 2
    assert row["sd"] == pytest.approx(100 * np.expm1(np.sqrt(2) * spread.sd))


def test_closed_gates_are_shares_of_the_trained_score(many):
    closed = tables.closed_gates(many)
    own = closed[(closed["run_id"] == "d-seed0") & (closed["layer"] == "full 4x4")]
    assert own["value"].item() == pytest.approx(100 * 10 / final_score("d", 0))
    assert "k" not in set(closed["arm"])  # frozen: it chose nothing
    assert tables.low_layers(closed) == ["full 4x4", "full 8x8"]
    row = tables.comparisons(many).query("subject == 'alpha of full 4x4 set to 0'").iloc[0]
    own = closed[closed["layer"] == "full 4x4"]
    assert row["n"] == own["seed"].nunique() == 3 and row["runs"] == len(own)
    geometric = 100 * np.expm1(np.log1p(own["value"] / 100).mean())
    assert row["mean"] == pytest.approx(geometric) and row["called"]


# What it would take


def test_an_offer_takes_the_speed_of_the_most_similar_arm(few, known):
    table = tables.offers(few, known, tables.concat_pairs)
    row = table[table["ablation"] == "overnight"].iloc[0]
    planned = known[known["ablation"] == "overnight"]
    speed = {"dcgan": 900, "sagan": 650}
    seconds = sum(
        arm.seeds * arm.steps * arm.batch_size / speed.get(arm.architecture.split("-")[0], 340)
        for arm in planned.itertuples()
    )
    # the speeds scatter about these, and an arm counts with its upper end
    assert row["hours"] == pytest.approx(seconds / 3600, rel=0.05)
    assert row["runs"] == planned["seeds"].sum()
    other = known.assign(resolution=64)
    assert tables.offers(few, other, tables.concat_pairs).empty


# Answers


def test_every_question_has_an_answer_where_the_arms_are_there(many, known):
    found = readings.answers(many, known)
    assert len(found) == 9
    (many.folder / "tables").mkdir(exist_ok=True)
    for answer in found:
        text = answer.answer + answer.evidence + answer.interval
        assert answer.answer and "nan" not in text.lower() and answer.page
        if "cover the whole image" not in answer.question:
            assert answer.n >= 2 and "n = " in answer.evidence, answer.question
            assert "[" in answer.interval
        assert "make ablations" not in answer.evidence or "kernel" in answer.evidence


def test_what_is_not_there_is_said_with_its_command(few, known):
    found = readings.answers(few, known)
    by_question = {answer.question: answer for answer in found}
    concat = next(a for q, a in by_question.items() if "oncatenating" in q)
    assert concat.n == 0 and concat.answer == "Open: no arm here concatenates its paths"
    assert "`make ablations ABLATION=overnight`" in concat.evidence
    assert "hours of training" in concat.evidence
    bare = readings.answers(few)
    assert [a.answer for a in bare] == [a.answer for a in found]
    assert not any("make ablations" in a.evidence for a in bare)


def test_an_effect_is_called_and_a_null_says_what_could_be_seen(many):
    moved = many.runs["fd_lite0"].where(many.runs["arm"] != "j", many.runs["fd_lite0"] / 5)
    better = replace(many, runs=many.runs.assign(fd_lite0=moved))
    assert readings.answers(better)[4].answer == "Concatenating scores better"
    # of kernels, the smaller one far worse and the larger one better than the blog's
    scale = many.runs["arm"].map({"g": 5.0, "h": 0.2}).fillna(1)
    kernels = replace(many, runs=many.runs.assign(fd_lite0=final_score("f", 0) * scale))
    noise = np.random.default_rng(2).normal(1, 0.01, len(scale))
    kernels = replace(kernels, runs=kernels.runs.assign(fd_lite0=kernels.runs["fd_lite0"] * noise))
    said = readings.answers(kernels)[0]
    assert said.answer.startswith("Kernels smaller than 4x4 worse in 1 of 2 comparisons")
    assert "; larger than 4x4 better" in said.answer
    assert said.answer.index("worse") < said.answer.index("larger")
    assert "Parameters, of those with 4x4: " in said.evidence
    # without the arm "i", which is wider, nothing is of equal size
    wide = tuple(arm for arm in kernels.arms if arm != "i")
    kernels = replace(kernels, arms=wide, runs=kernels.runs[kernels.runs["arm"] != "i"])
    said = readings.answers(kernels)[0]
    assert said.answer.startswith("At equal width kernels smaller than 4x4 worse")
    same = many.runs["seed"].map(lambda seed: final_score("fagan", seed))
    noise = np.random.default_rng(0).normal(0, 5, len(same))
    null = replace(many, runs=many.runs.assign(fd_lite0=same + noise))
    answer = readings.answers(null)[4]
    assert answer.answer == "Concatenating is not shown to change the score"
    assert "No difference was found; with n = 3 one of " in answer.evidence


def test_an_ablation_without_finished_runs_answers_nothing(tmp_path, known):
    ids = [f"{arm}-seed{seed}" for arm in ARMS for seed in range(2)]
    make_ablation(tmp_path, seeds=2, unfinished=ids, diverged=(), not_begun=(), grids=0)
    runs = load_runs("tiny", tmp_path)
    for answer in readings.answers(runs, known):
        assert answer.n == 0 and "nan" not in (answer.answer + answer.evidence).lower()


# Figures


@pytest.mark.parametrize("which", ["many", "few"])
def test_figures_draw_every_seed(which, request):
    runs = request.getfixturevalue(which)
    rows = tables.comparisons(runs)
    for figure in (
        plots.kernels_figure(runs),
        plots.comparisons_figure(rows[rows["question"] == "one layer"], runs, "none"),
        plots.alpha_bands_figure(runs),
        plots.coverage_figure(runs),
        plots.low_figure(runs),
        plots.released_figure(rows, runs),
    ):
        figure.canvas.draw()
        plt.close(figure)


def test_a_comparison_shows_each_difference_and_its_interval(many):
    rows = tables.comparisons(many)
    own = rows[rows["question"] == "concatenation"]
    fig, ax = plt.subplots()
    plots.comparison_rows(own, ax, many)
    drawn = [line.get_xdata() for line in ax.lines]
    row = own.iloc[0]
    assert any(np.allclose(x, [row["low"], row["high"]]) for x in drawn if len(x) == 2)
    seeds = row[["seed 0", "seed 1", "seed 2"]].to_numpy(float)
    assert any(np.allclose(x, seeds) for x in drawn if len(x) == 3)
    plt.close(fig)


def test_the_band_spans_the_seeds(many):
    fig, ax = plt.subplots()
    plots.alpha_bands(many, ax, "d", "generator")
    gates = many.gates.query("arm == 'd' and network == 'generator' and step == 400")
    end = gates.groupby("layer")["alpha"].agg(["min", "max"])
    spans = [band.get_paths()[0].vertices for band in ax.collections]
    assert len(spans) == len(end)
    top = max(vertices[:, 1].max() for vertices in spans)
    sized = many.gates.query("arm == 'd' and network == 'generator'")
    sized = sized["alpha"].where(sized["layer"].str.startswith("full"), sized["alpha"].abs())
    assert top == pytest.approx(sized.max())
    plt.close(fig)


@pytest.mark.parametrize("reach", [None, 1e6])
def test_an_interval_of_one_degree_of_freedom_leaves_the_points_room(many, reach):
    rows = tables.comparisons(many).query("subject == 'equal steps' and n > 1")
    if reach:  # of a ratio: so many times as much and so many times as little
        rows = rows.assign(low=100 * (1 / reach - 1), high=100 * (reach - 1))
    ax = plt.figure().subplots()
    plots.comparison_rows(rows, ax, many)
    points = np.log1p(rows[[c for c in rows if c.startswith("seed ")]] / 100).abs().max().max()
    low, high = np.log1p(np.array(ax.get_xlim()) / 100)
    assert points < max(-low, high) < np.log(1e4)
    assert any("%" in tick.get_text() for tick in ax.get_xticklabels())
    arrows = [line for line in ax.lines if line.get_marker() in ("<", ">")]
    assert len(arrows) == (0 if reach is None else 2 * len(rows))
    if reach:
        assert low < -points
    plt.close(ax.figure)
