"""Seed statistics: closed forms, known values, and what happens to runs that are not done."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from records_factory import ARMS, FLOOR, final_score, make_ablation
from scipy import stats

from fagan import readings, tables
from fagan.records import load_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    results = tmp_path_factory.mktemp("tables")
    make_ablation(results, grids=0)
    return load_runs("tiny", results)


@pytest.fixture(scope="module")
def many_seeds(tmp_path_factory):
    """Four arms of three finished seeds, the best two ten apart."""
    results = tmp_path_factory.mktemp("many_seeds")
    make_ablation(results, diverged=(), unfinished=(), not_begun=(), grids=0)
    runs = load_runs("tiny", results)
    noise = np.random.default_rng(4).normal(0, 1.2, len(runs.runs))
    far = np.where(runs.runs["arm"] == "fagan", -6, 0)
    return replace(runs, runs=runs.runs.assign(fd_lite0=runs.runs["fd_lite0"] + noise + far))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An ablation whose runs have begun and recorded nothing."""
    results = tmp_path_factory.mktemp("empty")
    ids = [f"{arm}-seed{seed}" for arm in ARMS for seed in range(2)]
    folder = make_ablation(results, seeds=2, unfinished=ids, diverged=(), not_begun=(), grids=0)
    for path in folder.glob("runs/*/*.csv"):
        path.unlink()
    return load_runs("tiny", results)


# The interval


@pytest.mark.parametrize(
    ("values", "method", "low", "high"),
    [
        ([], "no seed", np.nan, np.nan),
        ([3.0], "one seed", np.nan, np.nan),
        ([3.0, 1.0], "range", 1, 3),
        ([3.0, np.nan, None, np.inf, 1.0], "range", 1, 3),
        ([2.0] * 6, "Student", 2, 2),
        ([2.0] * 12, "bootstrap", 2, 2),
    ],
)
def test_interval_of_few_values(values, method, low, high):
    interval = tables.mean_interval(values)
    assert interval.method == method
    assert (interval.low, interval.high) == pytest.approx((low, high), nan_ok=True)


@pytest.mark.parametrize("n", [3, 4, 9])
def test_the_interval_of_three_to_nine_values_is_students(n):
    values = np.random.default_rng(n).normal(5, 2, n)
    interval = tables.mean_interval(values, confidence=0.9)
    known = stats.t.interval(0.9, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(known) and interval.n == n


def test_the_bootstrap_of_few_values_would_hold_the_mean_too_rarely():
    """Why it begins at ten: its coverage of draws from a normal distribution."""
    rng, held = np.random.default_rng(0), {}
    for n in (4, 8):
        draws = rng.normal(size=(600, n))
        picked = rng.integers(n, size=(600, 600, n))
        means = np.take_along_axis(draws[:, None], picked, axis=2).mean(2)
        low, high = np.percentile(means, [2.5, 97.5], axis=1)
        held[n] = ((low < 0) & (0 < high)).mean()
    assert held[4] == pytest.approx(0.79, abs=0.05) and held[8] == pytest.approx(0.88, abs=0.04)


def test_bootstrap_is_that_of_resamples():
    values = 2.0 ** np.arange(10)
    means = np.random.default_rng(3).choice(values, (100_000, 10)).mean(1)
    interval = tables.mean_interval(values)
    assert interval.method == "bootstrap" and interval.n == 10
    assert [interval.low, interval.high] == pytest.approx(
        np.percentile(means, [2.5, 97.5]), rel=0.05
    )


def test_bootstrap_of_many_is_the_normal_one():
    values = np.random.default_rng(1).normal(10, 3, 400)
    interval = tables.mean_interval(values, confidence=0.9)
    half = 1.645 * values.std() / 20
    assert (interval.low, interval.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.05
    )
    assert interval == tables.mean_interval(values, confidence=0.9)


def test_the_heading_of_an_interval_names_its_method(runs):
    table = tables.summary(runs)
    three = table[table["n"] == 3]
    assert set(three["interval"]) == {"Student"}
    assert "95 % (Student)" in tables.present(three)
    assert "range" in tables.present(table[table["n"] == 2])


# Tables


def test_final_scores_keep_every_run_and_its_status(runs):
    scores = tables.final_scores(runs)
    assert list(scores["arm"]) == [arm for arm in ARMS for _ in range(3)][:-1]
    lost = scores[scores["value"].isna()]
    assert dict(zip(lost["run_id"], lost["status"], strict=True)) == {
        "sagan-seed2": "diverged",
        "fagan-relativistic-seed1": "unfinished",
    }
    for row in scores.dropna(subset=["value"]).itertuples():
        assert row.value == final_score(row.arm, row.seed)


def test_a_diverged_run_has_no_final_score_even_where_one_was_recorded(runs):
    frame = runs.runs.assign(fd_lite0=1.0)
    scores = tables.final_scores(replace(runs, runs=frame))
    assert scores.loc[scores["status"] != "done", "value"].isna().all()


def test_summary_against_closed_forms(runs):
    table = tables.summary(runs).set_index("arm")
    assert list(table.index) == list(ARMS)
    assert list(table.loc["fagan", ["n", "done", "runs", "interval"]]) == [3, 3, 3, "Student"]
    assert table.loc["fagan", "fd_lite0"] == 71  # of 70, 74 and 69
    assert list(table.loc["fagan", ["fd_lite0_min", "fd_lite0_max"]]) == [69, 74]
    known = stats.t.interval(0.95, 2, loc=71, scale=stats.sem([70, 74, 69]))
    assert table.loc["fagan", ["fd_lite0_low", "fd_lite0_high"]].tolist() == pytest.approx(known)
    assert list(table.loc["sagan", ["n", "diverged", "fd_lite0"]]) == [2, 1, 83]
    assert np.isnan(table.loc["sagan", "seed 2"])
    row = table.loc["fagan-relativistic"]
    assert list(row[["n", "done", "unfinished", "not begun", "runs"]]) == [1, 1, 1, 1, 3]
    assert row["interval"] == "one seed" and np.isnan(row["fd_lite0_low"])
    assert table.loc["sagan", "parameters_generator"] == 360_000
    assert table["images_per_second"].between(320, 920).all()
    assert "fid" not in table


def test_paired_differences_use_equal_seeds_only(runs):
    table = tables.paired_differences(runs).set_index("arm")
    assert list(table.index) == ["dcgan", "fagan", "fagan-relativistic"]
    fagan = table.loc["fagan"]
    ratios = np.array([70 / 80, 74 / 86])
    assert [fagan["seed 0"], fagan["seed 1"]] == pytest.approx(100 * (ratios - 1))
    assert np.isnan(fagan["seed 2"])  # the baseline diverged there
    assert list(fagan[["n", "below"]]) == [2, 2]
    assert fagan["mean"] == pytest.approx(100 * (np.sqrt(ratios.prod()) - 1))  # geometric
    range_ = 100 * (np.sort(ratios) - 1)
    assert list(fagan[["low", "high"]]) == pytest.approx(list(range_))
    other = tables.paired_differences(runs, baseline="fagan").set_index("arm")
    # the other way round is the reciprocal, which differences of ratios would not be
    assert 1 + other.loc["sagan", "mean"] / 100 == pytest.approx(1 / (1 + fagan["mean"] / 100))
    assert list(other.loc["dcgan", ["n", "below"]]) == [3, 0]


def test_a_table_of_scores_holds_what_is_known_against_the_baseline(runs):
    differences = tables.paired_differences(runs)
    table = tables.present(tables.summary(runs), differences=differences).set_index("arm")
    row = differences.set_index("arm").loc["fagan"]
    interval = tables.span(row["corrected_low"], row["corrected_high"])
    assert table.loc["FAGAN", "against SAGAN, %"] == f"{tables.number(row['mean'])} {interval}"
    assert table.loc["SAGAN", "against SAGAN, %"] == "\N{EN DASH}"
    assert table.loc["DCGAN", "against SAGAN, %"].startswith("+")
    config = tables.arm_configs(runs).loc["fagan"]
    assert table.loc["FAGAN", "parameters"] == f"{tables.number(config['parameters'] / 1e6)} M"
    assert "range" not in table and "interval" not in table
    alone = tables.present(tables.summary(runs))
    assert "parameters" not in alone and not any("against" in name for name in alone)


def test_learning_curve_and_best(runs):
    curve = tables.learning_curve(runs)
    own = curve[curve["run_id"] == "fagan-seed0"]
    assert list(own["step"]) == list(range(0, 401, 40))
    assert (own["images_seen"] == own["step"] * 32).all()
    assert curve["value"].notna().all()
    ends = tables.best_and_last(runs).set_index("run_id")
    assert ends.loc["fagan-seed0", "best"] == own["value"].min()
    assert ends.loc["fagan-seed0", "last"] == own["value"].iloc[-1]
    assert ends.loc["sagan-seed2", "last_step"] == 200


def test_last_alphas_are_the_last_rows(runs):
    table = tables.last_alphas(runs)
    raw = runs.alpha[(runs.alpha["run_id"] == "fagan-seed1") & (runs.alpha["step"] == 400)]
    raw = raw.set_index(["network", "layer"])["alpha"]
    own = table[table["arm"] == "fagan"].set_index(["network", "layer"])
    assert own["seed 1"].to_dict() == raw.to_dict()
    assert list(own.index) == list(raw.index)  # in the order of the forward pass
    seeds = own[["seed 0", "seed 1", "seed 2"]]
    assert own["mean"].to_numpy() == pytest.approx(seeds.mean(axis=1).to_numpy())
    assert own["max_abs"].to_numpy() == pytest.approx(seeds.abs().max(axis=1).to_numpy())
    assert own.loc["generator", "reach"].unique() == pytest.approx([1e-4 * 400])
    assert own.loc["discriminator", "reach"].unique() == pytest.approx([4e-4 * 400])
    sagan = table[table["arm"] == "sagan"]
    assert sagan["seed 2"].isna().all() and (sagan["n"] == 2).all()
    assert "dcgan" not in set(table["arm"])


def test_reach_counts_discriminator_steps_and_excludes_frozen_gates(runs):
    twice = replace(runs, runs=runs.runs.assign(n_dis=2))
    table = tables.alpha_reach(twice).set_index(["arm", "network"])
    assert table.loc[("fagan", "discriminator"), "reach"] == pytest.approx(4e-4 * 800)
    assert table.loc[("fagan", "generator"), "reach"] == pytest.approx(1e-4 * 400)
    assert table["share"].between(0, 0.6).all()
    frozen = replace(runs, runs=runs.runs.assign(alpha="frozen"))
    assert tables.last_alphas(frozen)["reach"].isna().all()
    assert (tables.sign_agreement(frozen)["layers"] == 0).all()
    assert "No trained gate" in readings.read_reach(frozen).claim


def test_a_gate_that_starts_elsewhere_moved_from_there(runs):
    table = tables.last_alphas(replace(runs, runs=runs.runs.assign(alpha_init=0.5)))
    row = table[table["arm"] == "fagan"].iloc[0]
    seeds = np.array([row["seed 0"], row["seed 1"], row["seed 2"]])
    assert row["moved"] == pytest.approx(np.abs(seeds - 0.5).max())


def test_sign_agreement_counts_and_chance(runs):
    values = {"full 4x4": (1, 1, 1), "full 8x8": (1, -1, 1), "self 16x16": (-1, -1, -1)}
    rows = [
        {"run_id": f"fagan-seed{seed}", "arm": "fagan", "seed": seed, "step": 400, "images_seen": 1}
        | {"network": "generator", "layer": layer, "alpha": 0.1 * signs[seed]}
        for layer, signs in values.items()
        for seed in range(3)
    ]
    table = tables.sign_agreement(replace(runs, alpha=pd.DataFrame(rows))).set_index("kind")
    assert list(table.loc["full", ["layers", "agree", "by_chance"]]) == [2, 1, 0.5]
    assert list(table.loc["self", ["layers", "agree", "by_chance"]]) == [1, 1, 0.25]


def test_failures_name_all_that_is_missing(runs):
    table = tables.failures(runs).set_index("run_id")
    assert table["status"].to_dict() == {
        "sagan-seed2": "diverged",
        "fagan-relativistic-seed1": "unfinished",
        "fagan-relativistic-seed2": "not begun",
    }
    assert table.loc["sagan-seed2", "step"] == 224
    assert table.loc["sagan-seed2", "reason"] == "loss_d=inf"
    assert table.loc["fagan-relativistic-seed2", "label"] == "FAGAN relativistic"
    assert tables.status_counts(runs) == {
        "done": 9,
        "diverged": 1,
        "unfinished": 1,
        "not begun": 1,
    }


def test_csv_keeps_every_digit(runs, tmp_path):
    table = tables.summary(runs)
    path = tables.write(table, tmp_path / "tables" / "summary.csv")
    again = pd.read_csv(path)
    pd.testing.assert_frame_equal(again, table, check_dtype=False, rtol=1e-15)


@pytest.mark.parametrize(
    ("value", "text"),
    [(71, "71.0"), (0.01234, "0.0123"), (123456.7, "123,457"), (-2.5, "\u22122.50"), (0, "0")],
)
def test_number(value, text):
    assert tables.number(value) == text


def test_html_table_escapes_and_shows_what_is_missing():
    frame = pd.DataFrame({"label": ["<b>"], "seed": pd.array([None], dtype="Int64"), "x": [np.nan]})
    html = tables.as_html(frame)
    assert "&lt;b&gt;" in html and "nan" not in html.lower() and "NA" not in html
    assert html.count(f"<td>{tables.DASH}</td>") == 2


# Sentences


def test_sentences_say_n_and_do_not_decide_on_overlap(runs):
    scores = readings.read_scores(runs)
    # 71 of (70, 74, 69) against 74 of a single seed
    assert (
        scores.claim == "FAGAN has the lowest mean FD, 71.0, not clearly below FAGAN relativistic"
    )
    assert "over 3 seeds (70.0, 74.0, 69.0)" in scores.text
    assert f"3.4 times the floor of {FLOOR['final']:.1f}" in scores.text
    assert scores.text.endswith("a single seed settles no order.")


def test_the_order_of_the_best_two_is_decided_by_an_interval_and_not_by_overlap(runs):
    frame = runs.runs[runs.runs["arm"].isin(["sagan", "fagan"])]
    score = frame["fd_lite0"].where(frame["run_id"] != "sagan-seed1", 76.0)
    frame = frame.assign(fd_lite0=score)
    two = replace(runs, runs=frame, arms=("sagan", "fagan"))
    # 70 and 74 lie below 80 and 76, and two ratios of 0.88 and 0.97 show nothing
    reading = readings.read_scores(two)
    assert reading.claim.endswith("not clearly below SAGAN")
    assert "overlap" not in reading.text
    row = tables.contrasts(tables.final_scores(two), [("fagan", "sagan")], 1, ratios=True).iloc[0]
    assert not row["called"] and tables.span(row["low"], row["high"]) in reading.text
    apart = frame["fd_lite0"].where(frame.arm == "fagan", frame["fd_lite0"] + 500)
    reading = readings.read_scores(replace(two, runs=frame.assign(fd_lite0=apart)))
    assert reading.claim.endswith("71.0, below SAGAN")


def test_the_pair_of_the_best_two_was_chosen_so_all_pairs_are_corrected_for(many_seeds):
    reading = readings.read_scores(many_seeds)
    assert "corrected for all 6 pairs of arms" in reading.text
    scores = tables.final_scores(many_seeds)
    row = tables.contrasts(scores, [("fagan", "fagan-relativistic")], 6, ratios=True).iloc[0]
    assert tables.span(row["low"], row["high"]) in reading.text
    assert row["called"] and not row["alone"]
    assert reading.claim.endswith("below FAGAN relativistic if all arms spread alike")


def test_differences_say_what_was_called_and_what_could_have_been_seen(runs):
    table = tables.paired_differences(runs)
    reading = readings.read_differences(table, runs.labels)
    rows = table.set_index("arm")
    assert list(rows["called"]) == [True, True, False]
    # two differences each: neither stands without the other arms' spread
    assert not rows["alone"].any() and reading.claim == (
        "At equal seeds FAGAN is below SAGAN and DCGAN is above SAGAN, if all arms spread alike"
    )
    one = table.assign(alone=table["arm"] == "fagan")
    assert readings.read_differences(one, runs.labels).claim == (
        "At equal seeds FAGAN is below SAGAN; DCGAN is above SAGAN, if all arms spread alike"
    )
    low, high = rows.loc["fagan", ["corrected_low", "corrected_high"]]
    mean = tables.number(rows.loc["fagan", "mean"])
    assert f"FAGAN {mean} {tables.span(low, high)} %, n = 2" in reading.text
    assert "corrected for 2 comparisons" in reading.text
    assert "1 of these 2 comparisons would still agree" in reading.text  # 2 x 0.5
    assert "One shared seed, which shows no spread: FAGAN relativistic" in reading.text


def test_no_difference_is_said_with_what_could_have_been_seen(runs):
    frame = runs.runs[runs.runs["arm"].isin(["dcgan", "sagan", "fagan"])]
    noise = {0: 5.0, 1: -9.0, 2: 2.0}
    moved = frame["fd_lite0"] + frame["seed"].map(noise) * (frame["arm"] == "fagan")
    close = replace(runs, runs=frame.assign(fd_lite0=moved), arms=("dcgan", "sagan", "fagan"))
    table = tables.paired_differences(close)
    reading = readings.read_differences(table, runs.labels)
    assert not table["called"].any() and reading.claim == "No arm is shown to differ from SAGAN"
    seen = tables.number(table["detectable"].max())
    found = f"with n = 2 one of {seen} % would be found in 80 % of such ablations"
    assert f"no difference was found; {found}" in reading.text
    row = table.loc[table["detectable"].idxmax()]
    assert (
        f"difference {tables.number(row['sd'])} %, {row['df']} degrees of freedom" in reading.text
    )
    assert table["detectable"].max() > table["mean"].abs().max()


def test_mixed_sources_are_marked(runs):
    assert not any("mix" in sentence for sentence in readings.caveats(runs))
    frame = runs.runs.copy()
    frame.loc[0, "source_fingerprint"] = "other"
    frame.loc[0, "dirty"] = True
    text = " ".join(readings.caveats(replace(runs, runs=frame)))
    assert "mix 2 versions of the source" in text and "uncommitted changes" in text


def test_everything_works_on_runs_that_recorded_nothing(empty):
    assert tables.final_scores(empty)["value"].isna().all()
    assert (tables.summary(empty)["n"] == 0).all()
    assert len(tables.present(tables.summary(empty))) == len(ARMS)
    assert tables.learning_curve(empty).empty and tables.last_alphas(empty).empty
    assert tables.alpha_reach(empty).empty
    assert (tables.failures(empty)["status"] == "unfinished").all()
    for read in (
        readings.read_status,
        readings.read_scores,
        readings.read_curves,
        readings.read_ties,
        readings.read_cost,
        readings.read_failures,
        readings.read_reach,
        readings.read_signs,
    ):
        claim, text = read(empty)
        assert claim and "nan" not in (claim + text).lower()
    paired = tables.paired_differences(empty)
    assert "Nothing" in readings.read_differences(paired, empty.labels).claim


def test_labels_and_baseline_come_from_the_plan(tmp_path):
    folder = make_ablation(tmp_path, arms={"fagan": {}}, seeds=1, grids=0)
    runs = load_runs("tiny", tmp_path)
    assert runs.labels == {"fagan": "FAGAN"} and runs.baseline == "sagan"
    assert tables.paired_differences(runs)["n"].sum() == 0
    plan = json.loads((folder / "plan.json").read_text())
    plan |= {"labels": {"fagan": "Ours"}, "baseline": "fagan"}
    (folder / "plan.json").write_text(json.dumps(plan))
    runs = load_runs("tiny", tmp_path)
    assert runs.labels == {"fagan": "Ours"} and set(runs.runs["label"]) == {"Ours"}
    assert tables.paired_differences(runs).empty


def test_work_beside_a_run_does_not_change_its_arms_speed(runs):
    speed = tables.arm_speed(runs)
    slowed = runs.timing.copy()
    here = slowed.index[slowed["run_id"] == runs.timing["run_id"].iloc[0]]
    # somebody else's work: half of one run at a third of the speed
    slowed.loc[here[: len(here) // 2], "images_per_second"] /= 3
    beside = tables.arm_speed(replace(runs, timing=slowed))
    assert beside.dropna().to_numpy() == pytest.approx(speed.dropna().to_numpy(), rel=0.1)
    for _, own in speed.groupby(runs.runs.set_index("run_id")["arm"]):
        assert own.nunique() <= 1


def test_an_end_beyond_any_score_is_not_written_out():
    assert tables.span(-99.9, 6e14) == "[\N{MINUS SIGN}99.9, over 1,000,000]"
    assert tables.span(1.234, 161_210) == "[1.23, 161,210]"
    assert tables.span(1, np.inf) == tables.DASH
