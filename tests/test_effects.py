"""What is called an effect: closed forms, and how often it is wrong or blind in simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fagan import tables

DRAWS = 2000
# of a rate over DRAWS pages: three standard errors at 5 % and at 80 %
AT_LEVEL, AT_POWER = 3 * np.sqrt(0.05 * 0.95 / DRAWS), 3 * np.sqrt(0.8 * 0.2 / DRAWS)


def scores(values):
    """values[arm, seed] as a tidy table."""
    arms, seeds = np.shape(values)
    index = pd.MultiIndex.from_product([map(str, range(arms)), range(seeds)])
    frame = pd.Series(np.ravel(values), index=index.set_names(["arm", "seed"]), name="value")
    return frame.reset_index()


def pages(sds, seeds, effect=0.0, draws=DRAWS):
    """called[page, arm] of arms with these spreads against the first; arm 1 truly differs.

    The arithmetic of `contrasts` for complete tables, many pages at once.
    """
    rng, arms = np.random.default_rng(3), len(sds)
    x = rng.normal(size=(draws, arms, seeds)) * np.asarray(sds)[:, None]
    x += rng.normal(size=(draws, 1, seeds))  # what a seed does to every arm
    x[:, 1] += effect
    residual = x - x.mean(1, keepdims=True) - x.mean(2, keepdims=True)
    residual += x.mean((1, 2), keepdims=True)
    df = (arms - 1) * (seeds - 1)
    error = np.sqrt(2 * (residual**2).sum((1, 2)) / df / seeds)
    difference = (x[:, 1:] - x[:, :1]).mean(2)
    quantile = stats.t.isf(tables.LEVEL / (arms - 1) / 2, df)
    return np.abs(difference) > quantile * error[:, None], x


def test_the_interval_is_students():
    values = [2.0, 2.5, 4.0, 5.5]
    found = tables.effect(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert found.called and found.n == 4
    wider = tables.effect(values, comparisons=10)
    low, high = stats.t.interval(0.995, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (wider.low, wider.high) == pytest.approx((low, high))
    assert wider.p == pytest.approx(10 * found.p) and not wider.called


def test_two_arms_are_the_paired_t_test():
    values = np.array([[3.0, 5.0, 4.0], [1.0, 2.5, 3.5]])
    row = tables.contrasts(scores(values), [("0", "1")]).iloc[0]
    known = stats.ttest_rel(*values)
    assert row["df"] == 2 and row["p"] == pytest.approx(known.pvalue)
    interval = known.confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert (row["own_low"], row["own_high"]) == pytest.approx((interval.low, interval.high))


def test_the_spread_is_that_of_a_two_way_analysis_of_variance():
    values = np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 7.0], [0.0, 5.0, 5.0], [3.0, 1.0, 1.0]])
    spread = tables.seed_spread(scores(values))
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    assert spread.df == 6 and spread.sd == pytest.approx(np.sqrt((residual**2).sum() / 6))
    # what a seed does to all arms, and what an arm does in all seeds, is no noise
    shifted = values + np.array([10, -20, 30]) + np.array([[1], [2], [3], [400]])
    assert tables.seed_spread(scores(shifted)).sd == pytest.approx(spread.sd)


def test_a_lost_run_costs_one_degree_of_freedom_and_one_pair():
    values = np.random.default_rng(0).normal(size=(4, 3))
    values[2, 1] = np.nan
    spread = tables.seed_spread(scores(values))
    assert spread.df == 5
    table = tables.contrasts(scores(values), [("1", "0"), ("2", "0")]).set_index("arm")
    assert list(table["n"]) == [3, 2] and list(table["df"]) == [5, 5]
    assert np.isnan(table.loc["2", "seed 1"])
    error = np.sqrt(2) * spread.sd / np.sqrt(2)
    half = table.loc["2", "high"] - table.loc["2", "mean"]
    assert half == pytest.approx(stats.t.isf(0.0125, 5) * error)


@pytest.mark.parametrize(
    "values", [[[1.0], [2.0]], [[np.nan] * 2] * 2, [[1.0, np.nan], [2.0, np.nan]]]
)
def test_one_seed_or_none_calls_nothing(values):
    row = tables.contrasts(scores(values), [("0", "1"), ("0", "9")]).iloc[0]
    assert np.isnan([row["low"], row["high"], row["p"], row["detectable"]]).all()
    assert not row["called"] and row["n"] < 2


def test_simulation_is_the_arithmetic_of_contrasts():
    called, x = pages([1, 1, 2], 3, effect=6, draws=20)
    pairs = [("1", "0"), ("2", "0")]
    again = [tables.contrasts(scores(values), pairs)["called"].tolist() for values in x]
    assert called.tolist() == again and 0 < np.mean(called) < 1


@pytest.mark.parametrize(("arms", "seeds"), [(6, 2), (6, 3), (18, 3)])
def test_no_effect_is_called_in_at_most_one_page_of_twenty(arms, seeds):
    called, _ = pages(np.ones(arms), seeds)
    rate = called.any(axis=1).mean()
    assert 0.01 < rate < 0.05 + AT_LEVEL  # Bonferroni is on the safe side, not idle


@pytest.mark.parametrize(("arms", "seeds"), [(6, 2), (6, 3), (18, 3), (2, 3)])
def test_an_effect_of_the_detectable_size_is_called_four_times_in_five(arms, seeds):
    df = (arms - 1) * (seeds - 1)
    size = tables.detectable(df, arms - 1) * np.sqrt(2 / seeds)  # of arms that spread by 1
    called, _ = pages(np.ones(arms), seeds, effect=size)
    assert called[:, 0].mean() == pytest.approx(0.8, abs=AT_POWER)
    values = np.random.default_rng(0).normal(size=(arms, seeds))
    row = tables.contrasts(scores(values), [("1", "0")], comparisons=arms - 1).iloc[0]
    assert row["detectable"] == pytest.approx(size * tables.seed_spread(scores(values)).sd)


@pytest.mark.parametrize(
    ("times", "arms", "low", "high"),
    [
        (3, 18, 0.23, 0.30),
        (3, 30, 0.28, 0.36),
        (3, 60, 0.32, 0.40),
        (10, 18, 0.38, 0.46),
        (10, 60, 0.56, 0.66),
    ],
)
def test_a_noisy_baseline_breaks_the_pooled_level_and_not_that_of_calls_that_stand_alone(
    times, arms, low, high
):
    called, x = pages([float(times)] + [1.0] * (arms - 1), 3)
    difference = x[:, 1:] - x[:, :1]
    t = difference.mean(2) / (difference.std(2, ddof=1) / np.sqrt(3))
    own = np.abs(t) > stats.t.isf(tables.LEVEL / (arms - 1) / 2, 2)
    assert low < called.any(axis=1).mean() < high  # what the module's text says: it has no bound
    assert (called & own).any(axis=1).mean() < 0.05 + AT_LEVEL


def test_runs_that_do_not_differ_over_seeds_show_no_noise():
    # 0.1 + 0.2 - 0.3: rounding is no spread
    values = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.1 + 0.2]]) * 1000
    row = tables.contrasts(scores(values), [("1", "0")]).iloc[0]
    assert not row["called"] and not row["alone"] and row["sd"] == 0
    assert np.isnan([row["low"], row["high"], row["p"], row["detectable"]]).all()


def test_a_pair_may_have_no_spread_but_its_own():
    values = np.random.default_rng(2).normal(size=(5, 3))
    row = tables.contrasts(scores(values), [("1", "0")], own_only=True).iloc[0]
    interval = stats.ttest_rel(values[1], values[0]).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert row["df"] == 2 and row["alone"] == row["called"]


def test_the_spread_of_every_arm_beside_the_pooled_one():
    values = np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 7.0], [np.nan, 5.0, 6.0]])
    table = tables.arm_spreads(scores(values)).set_index("arm")
    assert table["n"].tolist() == [3, 3, 2]
    assert table.loc["1", "sd"] == pytest.approx(np.std(values[1], ddof=1))
    assert table.loc["1", "sd_percent"] == pytest.approx(
        100 * np.expm1(np.std(np.log(values[1]), ddof=1))
    )
    spread = tables.seed_spread(scores(np.log(values)))
    assert set(table["pooled_percent"]) == {100 * np.expm1(spread.sd)}
    assert set(table["df"]) == {spread.df}


def test_ratios_are_contrasts_of_logarithms():
    values = np.exp(np.random.default_rng(3).normal(7, 0.1, (5, 3))) * [[1], [2], [1], [1], [4]]
    pairs = [("1", "0"), ("4", "2")]
    table = tables.contrasts(scores(values), pairs, ratios=True)
    logs = tables.contrasts(scores(np.log(values)), pairs)
    for name in ("mean", "low", "high", "own_low", "own_high", "sd", "detectable", "seed 2"):
        assert table[name].to_numpy() == pytest.approx(100 * (np.exp(logs[name]) - 1))
    for name in ("n", "p", "df", "comparisons", "called", "alone"):
        assert table[name].tolist() == logs[name].tolist()
    assert table.loc[0, "seed 1"] == pytest.approx(100 * (values[1, 1] / values[0, 1] - 1))
    # no logarithm, no value
    values[1, 0] = 0
    assert tables.contrasts(scores(values), pairs, ratios=True)["n"].tolist() == [2, 3]


def test_one_arm_that_failed_does_not_drown_the_others():
    """Noise of a tenth of each score, one arm at forty times the others' scores."""
    values = np.exp(np.random.default_rng(5).normal(0, 0.05, (6, 3))) * 100
    values[1] *= 0.6
    failed = np.vstack([values, 40 * np.exp([[4.5, 4.7, 4.6]])])
    pairs = [("1", "0")]
    assert tables.contrasts(scores(failed), pairs, ratios=True).loc[0, "called"]
    assert not tables.contrasts(scores(failed), pairs).loc[0, "called"]


def test_more_comparisons_or_fewer_seeds_see_less():
    assert tables.detectable(5, 1) < tables.detectable(5, 5) < tables.detectable(2, 5)
    # with the noise known the test is the normal one: 1.96 + 0.84 standard errors
    assert tables.detectable(100_000) == pytest.approx(1.95996 + 0.84162, rel=1e-3)
