"""Seeds to intervals: what may be said of a difference between arms with few runs each.

Arms are compared at equal seeds, as treatments in a randomised block design with the seeds as
blocks (Montgomery, Design and Analysis of Experiments, chapter 4): ordinary least squares of
log score = arm + seed. The noise of a score grows with it, hence the logarithms, and three seeds
of one pair say little about noise, hence one noise for all arms. That the arms spread alike is the
assumption; `own_low` and `own_high` do without it. With m comparisons every interval is at level
1 - 0.05 / m (Bonferroni).
"""

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from scipy import optimize, stats

from fagan.records import FACE, SCORES, Runs

LEVEL, POWER = 0.05, 0.8
MINUS = "\N{MINUS SIGN}"
SIGNAL = 0.5  # of real faces': with less in the patches there is no colour to compare
# of the values: a spread below it is arithmetic, not noise
ROUNDING = 1e-12
COMPARED = "arm n change low high own_low own_high detectable m".split()


def numbers(frame: pd.DataFrame, column: str) -> pd.Series:
    """The column as floats, whatever its cells are; all NaN where the frame lacks it."""
    if column not in frame:
        return pd.Series(np.nan, index=frame.index, dtype=float)
    return pd.to_numeric(frame[column], errors="coerce").astype(float)


def _is(cells: pd.Series, value: str) -> pd.Series:
    """Where the cells are `value`; False where they are missing, too."""
    return cells.eq(value).fillna(False).astype(bool)


def final_scores(runs: Runs) -> pd.DataFrame:
    """One row per finished run, in the arms' order: its keys, every score, size and cost.

    run_id, arm, label (ordered), seed, fd_lite0 ... signal_outfit, fid, those of FACE, parameters
    (of both networks), parameters_generator, parameters_discriminator, steps, images_seen. NaN
    where a run lacks one. A coherence is NaN, undefined, where its signal is 0.5 or less: painted
    over irises are equal, too (fagan.evaluate.ties).
    """
    done = runs.runs[_is(runs.runs["status"], "done")]
    order = list(dict.fromkeys(runs.labels[arm] for arm in runs.arms))
    frame = done[["run_id", "arm", "seed"]].assign(
        label=pd.Categorical(done["arm"].map(runs.labels), order, ordered=True)
    )
    sizes = ["parameters_generator", "parameters_discriminator"]
    tied = [name for name in done if name.startswith(("coherence_", "signal_"))]
    for name in dict.fromkeys([*SCORES, *tied, "fid", *FACE, *sizes, "steps", "images_seen"]):
        frame[name] = numbers(done, name)
    for name in [name for name in frame if name.startswith("coherence_")]:
        seen = frame[name.replace("coherence", "signal")] > SIGNAL
        frame[name] = frame[name].where(seen)
    frame["parameters"] = frame[sizes[0]] + frame[sizes[1]]
    return frame.sort_values(["label", "seed"], kind="stable").reset_index(drop=True)


def compare(
    frame: pd.DataFrame,
    value: str,
    baseline: str,
    m: int | None = None,
    differences: bool = False,
    least: int = 3,
) -> pd.DataFrame:
    """One row per arm against the baseline at equal seeds.

    frame: a row per run with arm, seed and `value`, label where rows shall have one.
    n: the seeds that both have. change, low, high: the ratio in % above one (-20: a fifth less),
    with differences=True the difference itself; the interval is corrected for m comparisons, by
    default the arms with two seeds in common. own_low, own_high: the same from the pair's own
    seeds alone. detectable: the change that would be told from 0 with a probability of 0.8.
    Intervals are NaN with fewer than `least` shared seeds, and where there is no noise to see.
    """
    clean = frame[["arm", "seed"]].assign(value=numbers(frame, value)).dropna()
    clean["arm"] = clean["arm"].astype(str)
    clean = clean[np.isfinite(clean["value"]) & (differences | (clean["value"] > 0))]
    if not differences:
        clean["value"] = np.log(clean["value"])
    table = clean.pivot_table(index="seed", columns="arm", values="value")
    arms = [arm for arm in dict.fromkeys(frame["arm"].dropna().astype(str)) if arm != baseline]
    against = table.reindex(columns=[baseline])[baseline]
    pairs = {arm: (table.reindex(columns=[arm])[arm] - against).dropna() for arm in arms}
    m = m or max(1, sum(len(pair) > 1 for pair in pairs.values()))
    fit = _fit(clean, baseline)
    rows = []
    for arm, pair in pairs.items():
        row = {"arm": arm, "n": len(pair)} | dict.fromkeys(COMPARED[2:], np.nan) | {"m": m}
        if len(pair):
            row["change"] = pair.mean()
        if fit is not None and len(pair) >= max(least, 2):
            row |= _pooled(fit, f"[T.{arm}]", m)
            row["own_low"], row["own_high"] = _own(pair.to_numpy(float), m)
        rows.append(row)
    result = pd.DataFrame(rows, columns=COMPARED)
    if not differences:
        shown = ["change", "low", "high", "own_low", "own_high", "detectable"]
        with np.errstate(over="ignore"):
            result[shown] = 100 * np.expm1(result[shown].astype(float))
    if "label" in frame:
        labels = frame.dropna(subset=["arm"]).groupby(frame["arm"].astype(str))["label"].first()
        result.insert(1, "label", result["arm"].map(labels).astype(object))
    return result


def _fit(clean: pd.DataFrame, baseline: str):
    """value = arm + seed by least squares; None where that leaves no noise to estimate."""
    if baseline not in set(clean["arm"]) or clean["arm"].nunique() < 2:
        return None
    import statsmodels.formula.api as smf

    model = smf.ols("value ~ C(arm, Treatment(baseline)) + C(seed)", clean).fit()
    if model.df_resid < 1:
        return None
    noise = np.sqrt(model.ssr / model.df_resid)
    return model if noise > ROUNDING * clean["value"].abs().max() else None


def _pooled(fit, ending: str, m: int) -> dict[str, float]:
    """change, low, high and detectable of the coefficient whose name ends so."""
    name = next(name for name in fit.params.index if name.endswith(ending))
    low, high = fit.conf_int(LEVEL / m).loc[name]
    size = fit.bse[name] * detectable(fit.df_resid, m)
    return {"change": fit.params[name], "low": low, "high": high, "detectable": size}


def _own(pair: np.ndarray, m: int) -> tuple[float, float]:
    """Student's interval of the mean of a pair's own differences; NaN where they do not differ."""
    error = stats.sem(pair)
    if len(pair) < 3 or not error > ROUNDING * np.abs(pair).max():
        return np.nan, np.nan
    return stats.t.interval(1 - LEVEL / m, len(pair) - 1, pair.mean(), error)


def interval(seeds: pd.Series) -> tuple[float, float]:
    """95 % of a mean over seeds (Student's t), as seaborn's `errorbar` takes it; NaN with one."""
    if len(seeds) < 2:
        return np.nan, np.nan
    return stats.t.interval(1 - LEVEL, len(seeds) - 1, np.mean(seeds), stats.sem(seeds))


def styled(table: pd.DataFrame, digits: int = 0, unit: str = " %") -> Styler:
    """What compare() returned as a reader sees it: a bold change has an interval without 0."""
    few = {0: "no seed in common", 1: "one seed: no interval", 2: "two seeds: no interval"}

    def number(value):
        return "" if pd.isna(value) else f"{value:+,.{digits}f}{unit}".replace("-", MINUS)

    def between(low, high, n=None):
        if pd.isna(low):
            return "" if n is None else few.get(n, "no noise to see")
        return f"{low:+,.{digits}f} to {high:+,.{digits}f}{unit}".replace("-", MINUS)

    view = pd.DataFrame({"arm": table["label"] if "label" in table else table["arm"]})
    view["seeds"], view["change"] = table["n"], table["change"].map(number)
    whole, own = table[["low", "high", "n"]], table[["own_low", "own_high"]]
    view["95 % interval"] = [between(*row) for row in whole.itertuples(index=False)]
    view["from its own seeds"] = [between(*row) for row in own.itertuples(index=False)]
    view["would be seen"] = table["detectable"].map(number)
    bold = ((table["low"] > 0) | (table["high"] < 0)).map({True: "font-weight: bold", False: ""})
    view, bold = view.reset_index(drop=True), bold.to_list()
    return view.style.apply(lambda _: bold, subset=["change", "95 % interval"]).hide(axis="index")


def detectable(df: float, m: int = 1, power: float = POWER) -> float:
    """The effect, in its standard errors, that the corrected t test finds with this power.

    From the noncentral t distribution, without the tail that would find it with the wrong sign.
    """
    quantile = stats.t.isf(LEVEL / m / 2, df)

    def lacking(size: float) -> float:
        return stats.nct.sf(quantile, df, size) - power

    return float(optimize.brentq(lacking, 0, 3 * quantile + 10))


def alpha_reach(runs: Runs) -> pd.DataFrame:
    """One row per finished run, network and gated layer: how far its gate went, and could have.

    run_id, arm, label, seed, network, layer, alpha (the last one), start, moved, reach, share.
    reach: learning rate times the network's own updates, as Adam moves a parameter by about its
    rate a step at most; NaN for a frozen gate. share: moved / reach.
    """
    keys = ["run_id", "network", "layer"]
    gates = runs.gates.sort_values("step", kind="stable")
    last = gates.groupby(keys, as_index=False, sort=False)[[*keys, "alpha"]].tail(1)
    done = final_scores(runs)[["run_id", "arm", "label", "seed"]]
    setup = runs.runs.drop_duplicates("run_id").set_index("run_id")
    frame = done.merge(last[[*keys, "alpha"]], on="run_id")
    of = {
        name: frame["run_id"].map(numbers(setup, name))
        for name in ("lr_g", "lr_d", "steps", "n_dis", "alpha_init")
    }
    in_d = _is(frame["network"], "discriminator")
    reach = of["lr_d"].where(in_d, of["lr_g"]) * of["steps"] * of["n_dis"].where(in_d, 1)
    frozen = setup.index[_is(setup["alpha"], "frozen")] if "alpha" in setup else []
    frame["alpha"] = numbers(frame, "alpha")
    frame["start"] = of["alpha_init"]
    frame["moved"] = (frame["alpha"] - frame["start"]).abs()
    frame["reach"] = reach.mask(frame["run_id"].isin(frozen))
    return frame.assign(share=frame["moved"] / frame["reach"])


def minutes(runs: Runs) -> pd.DataFrame:
    """One row per run that was timed: run_id, arm, seed, images_per_second, minutes.

    minutes: of training, scoring left out, as it was on the clock. images_per_second: what the
    run's arm reaches where nothing else slows the machine, the 90th percentile over the log steps
    of all its seeds on one device; a comparison at equal seconds must not be one of other work.
    """
    timing = runs.timing.assign(
        rate=numbers(runs.timing, "images_per_second"), seconds=numbers(runs.timing, "seconds")
    )
    setup = runs.runs.drop_duplicates("run_id").set_index("run_id")
    device = setup["device_name"] if "device_name" in setup else pd.Series("", setup.index)
    place = setup["arm"].astype(str) + "\n" + device.fillna("").astype(str)
    fast = timing.groupby(timing["run_id"].map(place))["rate"].quantile(0.9)
    frame = setup[["arm", "seed"]].assign(
        images_per_second=place.map(fast).astype(float),
        minutes=timing.groupby("run_id")["seconds"].max().reindex(setup.index) / 60,
    )
    return frame.dropna(subset=["minutes"]).reset_index()
