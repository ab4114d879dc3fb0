"""When a difference between few seeds is called one, and what so few could not have seen.

Two or three seeds hold no interval by resampling: n differences agree in sign by chance once in
2**(n - 1), and the percentile bootstrap cannot leave their range. What is known about the noise is
known from all arms together, so arms are compared as treatments in a randomised block design with
the seeds as blocks (Montgomery, Design and Analysis of Experiments, chapter 4): the residuals of
score = arm + seed, over every finished run, give one spread with many degrees of freedom, and the
mean difference at equal seeds gets a t interval from it. With m comparisons on a page each interval
is at level 1 - 0.05 / m (Bonferroni), so that in 95 % of pages none of them is called by chance,
however the comparisons depend on one another (they share their baseline).

Scores are compared as ratios: their noise grows with them (a network with twice the FD spreads
about twice as much over its seeds), so all of this is done on logarithms and given back in %, where
one arm that failed does not drown the others. `tables.arm_spreads` shows whether that holds.

The price is one assumption, that the arms spread alike. Where the baseline is noisier, more pages
than 5 % call something by chance, and the more so the noisier it is and the more arms there are. By
simulation of 3 seeds: where it is three times as noisy, about 26 % of pages with 18 arms, 32 % with
30 and 36 % with 60; where ten times, 42 % with 18 and 61 % with 60 (tests/test_effects.py). So a
call is said to stand alone only where the interval from the pair's own differences excludes 0, too:
it assumes nothing about other arms, and at n = 2 or 3 it is so wide that a call is nearly always
conditional. Where the spread differs by construction, as at equal seconds, the pair's own is the
only one that is used.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

LEVEL = 0.05
POWER = 0.8
# of the largest value: a spread below it is arithmetic, not noise
ROUNDING = 1e-12


@dataclass(frozen=True)
class Spread:
    """The standard deviation of one observation, and the degrees of freedom it is known with."""

    sd: float
    df: int


UNKNOWN = Spread(np.nan, 0)


@dataclass(frozen=True)
class Effect:
    """The mean of n values against 0, one of `comparisons` on its page.

    low, high: the corrected interval; p: Bonferroni's, at most 1. sd, df: the spread of one value.
    detectable: the size of an effect that would be called with a probability of POWER.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    comparisons: int
    sd: float
    df: int
    detectable: float

    @property
    def called(self) -> bool:
        return bool(self.low > 0 or self.high < 0)


def seed_spread(scores: pd.DataFrame) -> Spread:
    """Residual spread of value = arm + seed, by least squares over the finite values.

    scores: a row per run with arm, seed and value. Runs that are missing leave the others in.
    """
    frame = scores[np.isfinite(scores["value"].astype(float))]
    if frame.empty:
        return UNKNOWN
    blocks = [pd.get_dummies(frame[name], dtype=float) for name in ("arm", "seed")]
    design, values = np.column_stack(blocks), frame["value"].to_numpy(float)
    fitted, _, rank, _ = np.linalg.lstsq(design, values)
    df = len(values) - int(rank)
    if not df:
        return UNKNOWN
    return Spread(_seen(np.linalg.norm(values - design @ fitted) / np.sqrt(df), values), df)


def _seen(sd: float, values: np.ndarray) -> float:
    """A spread of the size of rounding is none: the runs are copies of one another."""
    return float(sd) if sd > ROUNDING * np.abs(values).max() else 0.0


def own_spread(values: Iterable[float]) -> Spread:
    """That of the values themselves."""
    values = np.asarray(list(values), dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return UNKNOWN
    return Spread(_seen(values.std(ddof=1), values), len(values) - 1)


def effect(values: Iterable[float], comparisons: int = 1, spread: Spread | None = None) -> Effect:
    """The corrected t interval of the mean of the finite values; `spread` is of one of them.

    By default their own. NaN where there are fewer than two values or the noise is unknown; values
    that do not differ at all show no noise, and nothing can be said of it.
    """
    from scipy import stats

    values = np.asarray(list(values), dtype=float)
    values = values[np.isfinite(values)]
    n, comparisons = len(values), max(1, comparisons)
    spread = own_spread(values) if spread is None else spread
    mean = float(values.mean()) if n else np.nan
    if n < 2 or not spread.df or not spread.sd > 0:
        return Effect(n, mean, np.nan, np.nan, np.nan, comparisons, spread.sd, spread.df, np.nan)
    error = float(spread.sd / np.sqrt(n))
    half = float(stats.t.isf(LEVEL / comparisons / 2, spread.df)) * error
    p = 2 * stats.t.sf(abs(mean) / error, spread.df)
    return Effect(
        n=n,
        mean=mean,
        low=mean - half,
        high=mean + half,
        p=float(min(1, comparisons * p)),
        comparisons=comparisons,
        sd=spread.sd,
        df=spread.df,
        detectable=error * detectable(spread.df, comparisons),
    )


def detectable(df: int, comparisons: int = 1, power: float = POWER) -> float:
    """The effect, in standard errors of the mean, that the corrected t test calls with this power.

    From the noncentral t distribution; the other tail, which would call it with the wrong sign, is
    left out.
    """
    from scipy import optimize, stats

    quantile = stats.t.isf(LEVEL / comparisons / 2, df)

    def lack(size: float) -> float:
        return stats.nct.sf(quantile, df, size) - power

    return float(optimize.brentq(lack, 0, 3 * quantile + 10))


def contrasts(
    scores: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    comparisons: int | None = None,
    own_only: bool = False,
    ratios: bool = False,
) -> pd.DataFrame:
    """A row per pair (arm, baseline): arm minus baseline at the seeds that both finished.

    ratios: the values are positive and their noise is proportional to them; then everything is
    computed on their logarithms, and what is returned is in %: mean 100 * (the geometric mean of
    arm / baseline - 1), the limits, every seed's ratio and the spread alike.

    scores: a row per run with arm, seed, value (NaN unless done). comparisons: of the whole page,
    by default the pairs with two shared seeds. own_only: the spread is that of the pair's own
    differences, for arms that cannot spread alike. Beside the columns of Effect: called, and
    own_low and own_high, the interval from the pair's own spread, `alone` where it excludes 0 as
    well; every seed's difference.
    """
    if ratios:
        scores = scores.assign(value=logarithms(scores["value"]))
    spread, values = seed_spread(scores), {}
    table = scores.pivot_table(index="arm", columns="seed", values="value", dropna=False)
    for arm, against in pairs:
        missing = pd.Series(np.nan, index=table.columns)
        one, other = (table.loc[a] if a in table.index else missing for a in (arm, against))
        values[arm, against] = one - other
    if comparisons is None:
        comparisons = sum(difference.notna().sum() > 1 for difference in values.values())
    # the difference of two independent runs
    between = Spread(np.sqrt(2) * spread.sd, spread.df)
    rows = []
    for (arm, against), difference in values.items():
        own = effect(difference, comparisons)
        found = own if own_only else effect(difference, comparisons, between)
        row = {"arm": arm, "baseline": against} | asdict(found) | {"called": found.called}
        row |= {"own_low": own.low, "own_high": own.high, "alone": found.called and own.called}
        row |= {f"seed {seed}": value for seed, value in difference.items()}
        if ratios:
            row |= {k: in_percent(v) for k, v in row.items() if k in IN_UNITS or k[:5] == "seed "}
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else CONTRASTS)


def logarithms(values: pd.Series) -> pd.Series:
    """Of positive values; NaN for any other."""
    values = values.astype(float)
    return np.log(values.where(values > 0))


def in_percent(logarithm: float) -> float:
    """The ratio behind a difference of logarithms: log 1.1 -> 10, NaN -> NaN."""
    return float(100 * np.expm1(logarithm))


def from_percent(percents: pd.Series) -> pd.Series:
    """Of ratios in % above one, their logarithms: 10 -> log 1.1; NaN for -100 and less."""
    return logarithms(1 + percents.astype(float) / 100)


def arm_spreads(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per arm with a finite value: n, the mean and the standard deviation over its seeds.

    scores: a row per run with arm, seed and value. sd_percent is the standard deviation of the
    logarithms, as a ratio in %. pooled_percent and df, on every row, are the spread that intervals
    at equal seeds rest on (`seed_spread` of the logarithms); what a seed does to all arms is in
    sd_percent and not in pooled_percent.
    """
    finite = scores[np.isfinite(scores["value"].astype(float))]
    finite = finite.assign(log=logarithms(finite["value"]))
    rows, pooled = [], seed_spread(finite.assign(value=finite["log"]))
    for arm, own in finite.groupby("arm", sort=False):
        row = {"arm": arm, "n": len(own), "mean": own["value"].mean()}
        row |= {"sd": own_spread(own["value"]).sd}
        row |= {"sd_percent": in_percent(own_spread(own["log"]).sd)}
        rows.append(row | {"pooled_percent": in_percent(pooled.sd), "df": pooled.df})
    return pd.DataFrame(rows, columns=SPREADS)


SPREADS = ["arm", "n", "mean", "sd", "sd_percent", "pooled_percent", "df"]
# what a contrast gives in the unit of its values
IN_UNITS = {"mean", "low", "high", "own_low", "own_high", "sd", "detectable"}


CONTRASTS = [
    "arm",
    "baseline",
    *Effect.__dataclass_fields__,
    "called",
    "own_low",
    "own_high",
    "alone",
]
