"""Seeds to intervals: the published ones to the digit, by statsmodels' hand, and by simulation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from records_factory import final_score, make_ablation

from fagan import plots
from fagan.records import load_runs
from fagan.statistics import (
    alpha_reach,
    compare,
    detectable,
    final_scores,
    minutes,
    styled,
)

# the final FDs of the ablations published in November 2026 and the intervals that stood in README
PUBLISHED = Path(__file__).parent / "intervals"
INTERVAL = ["low", "high", "detectable"]


def long(table):
    """One row per arm and seed of a table with a column per seed."""
    seeds = [column for column in table if column.startswith("seed ")]
    frame = table.melt("arm", seeds, "seed", "fd")
    return frame.assign(seed=frame["seed"].str.removeprefix("seed ").astype(int))


def drawn(rng, means, seeds=3, noise=0.1, seed_noise=0.2):
    """Log-normal scores: means {arm: mean}, one effect a seed and independent noise."""
    common = rng.normal(0, seed_noise, seeds)
    return pd.DataFrame(
        {"arm": arm, "seed": seed, "fd": mean * np.exp(common[seed] + rng.normal(0, noise))}
        for arm, mean in means.items()
        for seed in range(seeds)
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    results = tmp_path_factory.mktemp("statistics") / "results"
    make_ablation(results, grids=0)
    return load_runs("tiny", results)


@pytest.mark.parametrize("ablation", ["overnight", "laptop"])
def test_the_published_intervals(ablation):
    table = pd.read_csv(PUBLISHED / f"{ablation}.csv")
    found = compare(long(table), "fd", "sagan", least=2).set_index("arm")
    for arm, expected in table.set_index("arm").drop("sagan").iterrows():
        np.testing.assert_allclose(
            found.loc[arm, INTERVAL].astype(float), expected[INTERVAL].astype(float), rtol=1e-9
        )


def test_two_seeds_have_no_interval():
    table = pd.read_csv(PUBLISHED / "laptop.csv").set_index("arm")
    found = compare(long(table.reset_index()), "fd", "sagan")
    assert found["n"].eq(2).all()
    logs = np.log(table[["seed 0", "seed 1"]]).mean(axis=1)
    wanted = 100 * np.expm1((logs - logs["sagan"]).drop("sagan"))
    np.testing.assert_allclose(found["change"], wanted)
    assert found[["low", "high", "own_low", "own_high"]].isna().all(axis=None)
    assert styled(found).to_html().count("two seeds: no interval") == len(found)


def test_statsmodels_by_hand_with_a_missing_run():
    frame = drawn(np.random.default_rng(1), {"a": 100, "b": 120, "c": 80}, seeds=4).drop(index=5)
    fit = smf.ols("np.log(fd) ~ C(arm, Treatment('b')) + C(seed)", frame).fit()
    found = compare(frame, "fd", "b", m=5).set_index("arm")
    for arm, n in (("a", 3), ("c", 3)):
        name = f"C(arm, Treatment('b'))[T.{arm}]"
        low, high = fit.conf_int(0.05 / 5).loc[name]
        wanted = 100 * np.expm1([fit.params[name], low, high])
        np.testing.assert_allclose(found.loc[arm, ["change", "low", "high"]].astype(float), wanted)
        assert found.loc[arm, "n"] == n


def test_the_own_interval_is_students():
    frame = drawn(np.random.default_rng(2), {"a": 100, "b": 130})
    table = np.log(frame.pivot(index="seed", columns="arm", values="fd"))
    pair = table["b"] - table["a"]
    half = 4.302653 * pair.std() / np.sqrt(3)  # Student's 97.5 % quantile at two degrees of freedom
    found = compare(frame, "fd", "a").iloc[0]
    wanted = 100 * np.expm1([pair.mean() - half, pair.mean() + half])
    np.testing.assert_allclose([found["own_low"], found["own_high"]], wanted, rtol=1e-6)


@pytest.mark.parametrize(("df", "m"), [(4, 1), (34, 17)])
def test_detectable_is_found_in_four_of_five(df, m):
    from scipy import stats

    rng = np.random.default_rng(4)
    noise = np.sqrt(rng.chisquare(df, 100_000) / df)
    t = (rng.normal(detectable(df, m), 1, 100_000)) / noise
    assert np.mean(t > stats.t.isf(0.025 / m, df)) == pytest.approx(0.8, abs=0.01)


def test_differences_are_in_the_unit_of_the_values():
    frame = drawn(np.random.default_rng(5), {"a": 1, "b": 1})
    frame["fd"] -= np.where(frame["arm"] == "b", 2, 0)  # below 0, where no logarithm is
    found = compare(frame, "fd", "a", differences=True).iloc[0]
    means = frame.groupby("arm")["fd"].mean()
    assert found["change"] == pytest.approx(means["b"] - means["a"])
    assert found["low"] < found["change"] < found["high"] < 0


@pytest.mark.parametrize("means", [{}, {"a": 1}, {"b": 1}])
def test_nothing_to_compare(means):
    frame = drawn(np.random.default_rng(6), means).reindex(columns=["arm", "seed", "fd"])
    found = compare(frame, "fd", "a")
    assert found[["change", "low", "high"]].isna().all(axis=None)
    styled(found).to_html()


def test_copies_have_no_noise():
    frame = drawn(np.random.default_rng(7), {"a": 100, "b": 100}, noise=0)
    found = compare(frame, "fd", "a").iloc[0]
    assert found["change"] == pytest.approx(0, abs=1e-9)
    assert np.isnan(found["low"]) and np.isnan(found["own_low"])


def test_bold_where_the_interval_excludes_no_difference():
    frame = drawn(np.random.default_rng(8), {"a": 100, "b": 300, "c": 100})
    html = styled(compare(frame, "fd", "a")).set_uuid("t").to_html()
    bold = html.split("font-weight: bold")[0]
    assert "row0_col2" in bold and "row0_col3" in bold and "row1" not in bold


def test_final_scores(runs):
    scores = final_scores(runs)
    assert not scores["run_id"].isin(["sagan-seed2", "fagan-relativistic-seed1"]).any()
    assert scores["label"].cat.categories.tolist() == [runs.labels[arm] for arm in runs.arms]
    for row in scores.itertuples():
        assert row.fd_lite0 == final_score(row.arm, row.seed)
        assert row.parameters == row.parameters_generator + row.parameters_discriminator


def test_a_coherence_without_signal_is_undefined(runs):
    made = runs.runs.assign(signal_eyes=[0.5, *[0.51] * (len(runs.runs) - 1)])
    scores = final_scores(replace(runs, runs=made)).set_index("run_id")
    first = runs.runs["run_id"].iloc[0]
    assert np.isnan(scores.loc[first, "coherence_eyes"])
    assert scores.drop(index=first)["coherence_eyes"].notna().all()
    assert scores["coherence_outfit"].notna().all()


def test_alpha_reach(runs):
    reach = alpha_reach(runs).set_index(["run_id", "network"])
    config = runs.runs.set_index("run_id").loc["sagan-seed0"]
    assert (reach.loc[("sagan-seed0", "generator"), "reach"] == config["lr_g"] * 400).all()
    in_d = config["lr_d"] * 400 * config["n_dis"]
    assert (reach.loc[("sagan-seed0", "discriminator"), "reach"] == in_d).all()
    assert reach["share"].between(0, 1).all() and reach["moved"].gt(0).all()
    began = alpha_reach(replace(runs, runs=runs.runs.assign(alpha="frozen", alpha_init=0.5)))
    assert began["reach"].isna().all()
    assert np.allclose(began["moved"], (began["alpha"] - 0.5).abs())


def test_minutes_and_the_speed_of_a_quiet_machine(runs):
    spent = minutes(runs).set_index("run_id")
    seconds = runs.timing.groupby("run_id")["seconds"].max()
    np.testing.assert_allclose(spent["minutes"], seconds[spent.index] / 60)
    for arm, speed in spent.groupby("arm")["images_per_second"]:
        seen = runs.timing.loc[runs.timing["arm"] == arm, "images_per_second"]
        assert speed.nunique() == 1 and speed.iloc[0] == pytest.approx(np.quantile(seen, 0.9))


FRAMES = ("runs", "history", "alpha", "timing")
MISSING = st.sampled_from([pd.NA, None, np.nan])


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_any_cell_may_be_missing(runs, data):
    """pandas 3 reads NA where columns mix: no function compares a cell before it looks for one."""
    frames = {name: getattr(runs, name).copy() for name in FRAMES}
    for _ in range(data.draw(st.integers(1, 12))):
        frame = frames[data.draw(st.sampled_from(FRAMES))]
        column = data.draw(st.sampled_from([*frame.columns]))
        row = data.draw(st.integers(0, min(len(frame), 12) - 1))
        if not isinstance(frame[column].dtype, pd.CategoricalDtype):
            frame[column] = frame[column].astype(object)
        frame.loc[frame.index[row], column] = data.draw(MISSING)
    holed = replace(runs, **frames)
    scores = final_scores(holed)
    for value, differences in (("fd_lite0", False), ("coherence_eyes", True)):
        styled(compare(scores, value, holed.baseline, differences=differences)).to_html()
    compare(holed.runs, "fd_lite0", holed.baseline)
    alpha_reach(holed)
    minutes(holed)
    assert set(plots.palette(holed)) == set(plots.kinds(holed))
