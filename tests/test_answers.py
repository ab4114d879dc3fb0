"""What the answers claim: their conditions, the pairs they leave out, and what they rest on."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from records_factory import ARMS, make_ablation
from scipy import stats

from fagan import ablations, readings, tables
from fagan.readings import verdicts
from fagan.readings.effects import nothing_found, tally
from fagan.records import load_runs

STABLER, GATES, ATTENTION = 2, 3, 8


@pytest.fixture(scope="module")
def known():
    return ablations.known_arms()


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """make(**as make_ablation) -> Runs, every run finished unless said; scores with seed noise."""

    def one(noise=1.0, **params):
        results = tmp_path_factory.mktemp("answers")
        ended = {"diverged": (), "unfinished": (), "not_begun": (), "grids": 0}
        make_ablation(results, **(ended | params))
        runs = load_runs("tiny", results)
        drawn = np.random.default_rng(7).normal(0, noise, len(runs.runs))
        score = runs.runs.get("fd_lite0", pd.Series(np.nan, runs.runs.index))
        return replace(runs, runs=runs.runs.assign(fd_lite0=score + drawn))

    return one


@pytest.fixture(scope="module")
def runs(make):
    return make()


def with_gates(make, **arms):
    return make(arms=ARMS | arms)


def shifted(runs, arm, by):
    score = runs.runs["fd_lite0"]
    return replace(
        runs, runs=runs.runs.assign(fd_lite0=score.where(runs.runs["arm"] != arm, score + by))
    )


def level(runs):
    """Scores whose arms have one mean, so that no difference is called."""
    score = runs.runs["fd_lite0"]
    own = score.groupby(runs.runs["arm"]).transform("mean")
    return replace(runs, runs=runs.runs.assign(fd_lite0=score - own + 80))


# Changes of one network


def test_a_change_is_tested_over_seeds_and_never_stands_alone(runs):
    closed = tables.closed_gates(runs)
    full = closed[(closed["layer"] == "all") & closed["arm"].str.startswith("fagan")]
    logs = np.log1p(full.set_index("seed")["value"] / 100)
    means = logs.groupby("seed").mean()
    rows = tables.comparisons(runs)
    row = rows[rows["subject"] == "all gates of networks with full attention"].iloc[0]
    assert (row["n"], row["df"], row["arms"], row["runs"]) == (3, 2, 2, 6)
    assert row["mean"] == pytest.approx(100 * np.expm1(means.mean()))
    assert row["sd"] == pytest.approx(100 * np.expm1(means.std()))
    total = int(row["comparisons"])
    half = stats.t.isf(0.025 / total, 2) * means.std() / np.sqrt(3)
    assert np.log1p(row["high"] / 100) - means.mean() == pytest.approx(half)
    assert not rows.loc[rows["baseline"] == "", "alone"].any()
    said = readings.answers(runs)[GATES]
    assert said.n == 3 and "n = 3 (6 runs of 2 arms at 3 seeds)" in said.evidence
    for arm in ("fagan", "fagan-relativistic"):
        own = np.log1p(full.loc[full["arm"] == arm, "value"] / 100).mean()
        own = tables.number(100 * np.expm1(own))
        assert f"{runs.labels[arm]} +{own} %" in said.evidence


def test_an_arm_that_lost_a_seed_is_beside_the_mean_and_not_in_it(make):
    runs = make(diverged=("fagan-relativistic-seed1",))
    closed = tables.closed_gates(runs)
    full = closed[(closed["layer"] == "all") & closed["arm"].str.startswith("fagan")]
    assert tables.pooled_arms(full) == ["fagan"]
    assert tables.seed_means(full).to_numpy() == pytest.approx(
        full.loc[full["arm"] == "fagan", "value"].to_numpy()
    )
    said = readings.answers(runs)[GATES].evidence
    assert "% (not in the mean)" in said and "lost a seed which the others have" in said


def test_networks_whose_full_layers_have_no_gate_are_no_networks_with_closed_gates(make):
    runs = with_gates(make, joined={"architecture": "fagan", "merge": "concat"})
    assert "joined" in set(tables.closed_gates(runs)["arm"])  # its self-attention has a gate
    changes = tables.arm_changes(runs)
    assert "joined" not in set(changes.loc[changes["question"] == "gates", "arm"])
    subjects = set(changes.loc[changes["question"] == "gates", "subject"])
    assert subjects == {
        "all gates of networks with full attention",
        "all gates of networks with self-attention alone",
    }


def test_the_interval_of_the_gates_is_of_what_the_answer_speaks_of_first(make):
    runs = with_gates(make, channel={"architecture": "fagan", "alpha": "channel"})
    said = readings.answers(runs)[GATES]
    assert said.answer.startswith("FD with all gates closed")
    assert said.interval.startswith("all gates of networks with")


# Equal seconds


def test_equal_seconds_have_the_spread_of_their_own_pair(make):
    runs = make(arms={"sagan": ARMS["sagan"], "pure": {"architecture": "fagan-pure"}})
    rows = tables.comparisons(runs)
    row = rows[rows["measure"] == tables.SOON].iloc[0]
    assert row["df"] == row["n"] - 1 == 2 and row["alone"] == row["called"]
    assert (row["low"], row["high"]) == (row["own_low"], row["own_high"])


def test_values_of_untrained_networks_and_of_ended_runs_are_counted(runs):
    seconds = tables.training_seconds(runs)
    own = tables.scores_after(runs, 0.05 * seconds["fagan-seed0"]).set_index("run_id")
    assert own.loc["fagan-seed0", "early"] and not own.loc["fagan-seed0", "ended"]
    own = tables.scores_after(runs, seconds["fagan-seed0"]).set_index("run_id")
    assert not own.loc["fagan-seed0", "early"] and not own.loc["fagan-seed0", "ended"]
    assert own.loc["dcgan-seed0", "ended"]


def test_the_evidence_counts_them(make):
    runs = make(arms={"dcgan": ARMS["dcgan"], "pure": {"architecture": "fagan-pure"}})
    values = pd.concat([v for _, v in tables.equal_seconds(runs, [("pure", "dcgan")])])
    early, ended = int(values["early"].sum()), int(values["ended"].sum())
    text = readings.answers(runs)[1].evidence
    assert f"Of the {len(values)} behind these differences {early} lie before" in text
    assert f"and {ended} are a run's last score" in text


# Pairs that are here and not compared


def test_a_pair_without_enough_seeds_is_named_and_not_said_to_be_absent(make):
    runs = make(seeds=2, unfinished=("fagan-relativistic-seed1",))
    said = readings.answers(runs)[STABLER]
    assert "Open" not in said.answer and said.n == 0
    assert said.answer == (
        "No comparison yet: too few finished seeds for FAGAN relativistic against FAGAN"
    )
    assert (
        "FAGAN relativistic and FAGAN are here; finished seeds: 1 of 2 and 2 of 2; no comparison."
        in said.evidence
    )


def test_seeds_that_two_arms_do_not_share_are_said(make):
    runs = make(unfinished=("fagan-seed0", "sagan-seed1"))
    evidence = readings.answers(runs)[ATTENTION].evidence
    assert (
        "FAGAN and SAGAN are here; finished seeds: 2 of 3 and 2 of 3, of them shared: 1" in evidence
    )


def test_a_diverged_relativistic_run_is_said_with_and_without_a_comparison(make):
    for seeds, lost in ((2, 1), (3, 1)):
        runs = make(seeds=seeds, diverged=("fagan-relativistic-seed0",))
        said = readings.answers(runs)[STABLER]
        assert said.answer.startswith(f"{lost} of {seeds} relativistic runs diverged, 0 of {seeds}")
        assert f"Diverged: {lost} of {seeds} runs of FAGAN relativistic, 0 of {seeds}" in (
            said.evidence
        )
    assert "(1 diverged)" in readings.answers(make(seeds=2, diverged=("sagan-seed0",)))[8].evidence


# Conditions and counts


def rows_of(*means, alone=False):
    frame = pd.DataFrame({"mean": means, "label": [f"x{i}" for i in range(len(means))]})
    return frame.assign(called=True, alone=alone, baseline="base")


def test_answers_count_both_sides_and_carry_the_condition():
    assert tally(rows_of(-1)) == "better, if all arms spread alike"
    assert tally(rows_of(1, alone=True)) == "worse"
    three = rows_of(-1, 2, 3)
    three["alone"] = [True, True, False]
    assert (
        tally(three) == "better in 1, worse in 2 of 3 comparisons (1 of these if all arms spread "
        "alike)"
    )
    some = three.assign(called=[False, True, True], alone=False)
    assert tally(some) == "worse in 2 of 3 comparisons, if all arms spread alike"
    assert verdicts.better(three, "It").startswith("It scores better in 1, worse in 2 of 3")


def test_a_claim_says_its_condition(make):
    runs = shifted(make(seeds=2), "sagan", 400)
    # its two seeds lie so far apart that they alone show nothing
    factor = runs.runs["run_id"].map({"sagan-seed1": 1.3}).fillna(1)
    runs = replace(runs, runs=runs.runs.assign(fd_lite0=runs.runs["fd_lite0"] * factor))
    rows = tables.comparisons(runs)
    own = rows[(rows["question"] == "attention") & rows["called"]]
    assert len(own) == 2 and not own["alone"].any()
    said = readings.answers(runs)[ATTENTION]
    assert said.answer == (
        "SAGAN's attention: worse than DCGAN, if all arms spread alike; "
        "FAGAN's attention: better than SAGAN, if all arms spread alike"
    )
    assert said.interval.endswith("if all arms spread alike")


def test_less_stable_is_said(make):
    runs = make()
    rough = runs.history.copy()
    late = (rough["run_id"].str.startswith("fagan-relativistic")) & (rough["step"] >= 200)
    sign = np.where((rough["step"] // 40) % 2 == 0, 3.0, 1 / 3)
    rough["fd_lite0"] = np.where(late, rough["fd_lite0"] * sign, rough["fd_lite0"])
    said = readings.answers(replace(runs, history=rough))[STABLER]
    assert said.answer.startswith("Less stable") and "Stabler" not in said.answer


def test_the_interval_shown_is_of_the_called_row_and_names_its_measure(make):
    runs = level(make(noise=8))
    apart = shifted(runs, "fagan", -50)
    said = readings.answers(apart)[ATTENTION]
    assert said.interval.startswith("FAGAN \N{MINUS SIGN} SAGAN, FD-Lite0: \N{MINUS SIGN}6")
    first = tables.comparisons(apart).query("question == 'attention'").iloc[0]
    assert first["label"].startswith("SAGAN") and not first["called"]
    shown = readings.overview(readings.answers(runs))
    assert "interval" in shown and not any("first" in column for column in shown)
    assert "change of FD-Lite0: +" in readings.answers(runs)[GATES].interval


def test_the_page_says_how_many_comparisons_it_corrects_for(runs):
    rows = tables.comparisons(runs)
    total = int((rows["n"] > 1).sum())
    reading = readings.read_corrections(rows)
    assert reading.claim.startswith(f"{total} comparisons made")
    assert f"all {total} comparisons of this page" in reading.text
    assert "may be called on one page and not on the other" in reading.text
    one = rows[rows["n"] > 1].head(1).assign(comparisons=1, called=False)
    assert readings.read_corrections(one).claim == "1 comparison made, 0 called"


# What an answer speaks of


def test_attention_speaks_of_the_arms_that_are_here(make):
    runs = level(make(arms={name: ARMS[name] for name in ("dcgan", "sagan")}))
    said = readings.answers(runs)[ATTENTION]
    assert said.answer == "SAGAN's attention is not shown to change the score"
    assert "called wide" not in said.evidence and "FAGAN" not in said.answer
    assert "No two of these are of equal size" not in readings.answers(runs)[0].evidence


def test_equal_size_is_by_recorded_parameters(make):
    arms = ARMS | {"other": {"architecture": "sagan-wide"}}
    runs = make(arms=arms)
    wide = runs.runs["arm"] == "other"
    for name in ("parameters_generator", "parameters_discriminator"):
        sized = runs.runs[name].where(~wide, runs.runs.loc[runs.runs["arm"] == "fagan", name].max())
        runs = replace(runs, runs=runs.runs.assign(**{name: sized}))
    text = readings.answers(runs)[ATTENTION].evidence
    assert "Of equal size, within 5 %, by parameters: DCGAN has 96 % of SAGAN, other has " in text
    assert "other has 100 % of FAGAN; else SAGAN has 74 % of FAGAN." in text
    sizes = ["parameters_generator", "parameters_discriminator"]
    none = replace(runs, runs=runs.runs.assign(**dict.fromkeys(sizes, np.nan)))
    for answer in readings.answers(none):
        assert "nan" not in answer.evidence and "equal size" not in answer.evidence


def test_no_table_is_offered_that_cannot_answer(runs, known):
    alone = known[known["ablation"] == "overnight"]
    single = pd.concat([alone.assign(ablation="single", seeds=1), alone.assign(ablation="smoke")])
    assert tables.offers(runs, single, tables.concat_pairs).empty
    assert len(tables.offers(runs, alone, tables.concat_pairs)) == 1


# A wobble


@pytest.mark.parametrize(("every", "late"), [(100, 3), (50, 5)])
def test_a_wobble_needs_five_late_evaluations(make, every, late):
    arms = {name: own | {"eval_every": every, "log_every": 10} for name, own in ARMS.items()}
    runs = make(arms=arms)
    assert set(tables.stability(runs)["evaluations"]) == {late}
    assert tables.stability(runs)["wobble"].notna().all() == (late >= 5)
    said = readings.answers(runs)[STABLER]
    if late < 5:
        assert said.answer == "Not measured" and said.n == 0 and not said.interval
        assert "Not measured: 3 evaluations, 5 are needed." in said.evidence
    else:
        assert said.n == 3 and "A run has 5 evaluations there." in said.evidence
        assert said.interval.startswith("FAGAN relativistic")


@pytest.mark.parametrize("name", ["laptop", "overnight"])
def test_the_tables_that_people_read_have_five(name):
    runs = ablations.configs(ablations.load_table(name), seeds=[0])
    for run in runs:
        marks = range(0, run.steps + 1, run.eval_every)
        assert sum(step >= (1 - tables.LATE) * run.steps for step in marks) >= tables.ENOUGH


# What was out of reach


def test_what_could_be_seen_says_its_chance_and_whose_n_it_is(runs):
    table = tables.paired_differences(runs)
    text = nothing_found(table)
    assert "no difference was found; with n = 3 one of " in text
    assert "would be found in 80 % of such ablations" in text
    assert f"standard deviation of a difference {tables.number(table['sd'].iloc[0])}" in text
    uneven = table.assign(n=[2, 3, 3], detectable=[9.0, 5.0, 5.0])
    assert f"with n = 2 ({table['label'].iloc[0]}) one of 9.00 would be found in 80 %" in (
        nothing_found(uneven)
    )


def test_copies_of_one_run_have_no_spread_and_no_sign(make):
    runs = make()
    copies = runs.runs["seed"].map({0: 70.1, 1: 74.7, 2: 69.3})
    same = replace(runs, runs=runs.runs.assign(fd_lite0=copies))
    table = tables.paired_differences(same)
    text = readings.read_differences(table, same.labels).text
    assert "would be found" not in text and "nothing is known of the spread" in text
    assert "Above it in every one: no arm." in text
    assert "1 comparisons" not in readings.read_differences(table.head(1), same.labels).text


def test_a_coherence_without_signal_is_left_out(runs):
    best = runs.runs["arm"] == "fagan"
    state = runs.runs.assign(
        coherence_eyes=np.where(best, 0.99, runs.runs["coherence_eyes"]),
        signal_eyes=np.where(best, 0.1, 0.8),
    )
    reading = readings.read_ties(replace(runs, runs=state))
    assert reading.claim.startswith("Highest mean coherence of eyes: ")
    assert "FAGAN," not in reading.claim.partition(";")[0]
    assert "Left out, as their signal is below 0.5: eyes: FAGAN." in reading.text


def test_the_arms_spreads_are_shown(runs):
    table = tables.arm_spreads(tables.final_scores(runs)).set_index("arm")
    reading = readings.read_spreads(runs)
    ratio = tables.number(table["sd_percent"].max() / table["sd_percent"].min(), 2)
    assert "with a rank correlation of" in reading.text
    assert (
        f"{runs.labels[table['sd_percent'].idxmax()]} spreads {ratio} times as much"
        in reading.claim
    )
    one = replace(runs, runs=runs.runs[runs.runs["seed"] == 0])
    assert "not known" in readings.read_spreads(one).claim
