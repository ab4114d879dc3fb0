"""The words for comparisons: their sign, what a call rests on, and what was out of reach."""

import numpy as np
import pandas as pd

from fagan.readings.reading import Reading, percent
from fagan.records import Runs
from fagan.tables import POWER, arm_spreads, final_scores, number, seeds

CONDITION = "if all arms spread alike"
NAMED = 3  # pairs that a sentence names one by one


def counted(n: int, word: str) -> str:
    """`1 comparison`, `2 comparisons`."""
    return f"{n} {word}{'' if n == 1 else 's'}"


def listed(words) -> str:
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last


def named(words) -> str:
    """The first few of many, and how many more there are."""
    words = list(words)
    more = len(words) - NAMED
    return listed([*words[:NAMED], f"{more} more"] if more > 0 else words)


def leaning(rows: pd.DataFrame) -> pd.Series:
    """Whose call takes the noise from other arms: the pairs' that do not stand alone."""
    return ~rows["alone"].astype(bool) & (rows["baseline"] != "")


def conditional(called: pd.DataFrame) -> str:
    """What a claim about these called rows rests on; nothing where each of them stands alone."""
    some = int(leaning(called).sum())
    if not some:
        return ""
    return f", {CONDITION}" if some == len(called) else f" ({some} of these {CONDITION})"


def tally(rows: pd.DataFrame, below: str = "better", above: str = "worse") -> str:
    """How many of these comparisons are called on either side, and on what condition."""
    called = rows[rows["called"]]
    less, more = int((called["mean"] < 0).sum()), int((called["mean"] > 0).sum())
    sides = [f"{word} in {found}" for word, found in ((below, less), (above, more)) if found]
    text = f"{', '.join(sides)} of {counted(len(rows), 'comparison')}"
    if len(rows) == 1:
        text = below if less else above
    return text + conditional(called)


def nothing_found(rows: pd.DataFrame, unit: str = "") -> str:
    """The words for what was not called: what so few seeds would have found, the largest if many.

    Where the rows differ in n or in their spread, it is said whose the largest is.
    """
    known = rows[rows["detectable"].notna()]
    worst = known.loc[known["detectable"].idxmax()]
    same = all(np.ptp(known[name].to_numpy(float)) == 0 for name in ("n", "df", "sd"))
    whose = "" if same else f" ({worst['label']})"
    of = " of a difference" if worst["baseline"] else ""
    freedom = counted(int(worst["df"]), "degree")
    return (
        f"no difference was found; with n = {int(worst['n'])}{whose} one of "
        f"{number(worst['detectable'])}{unit} would be found in {percent(POWER)} of such ablations "
        f"(standard deviation{of} {number(worst['sd'])}{unit}, {freedom} of freedom)"
    )


def _growing(table: pd.DataFrame) -> str:
    """Whether noise grows with the score, for which scores are compared as ratios."""
    from scipy import stats

    text = f" Of FD-Lite0 itself: from {number(table['sd'].min())} to {number(table['sd'].max())}"
    if len(table) > 2:
        rank = number(float(stats.spearmanr(table["mean"], table["sd"]).statistic), 2)
        text += f", with a rank correlation of {rank} with the mean over {len(table)} arms"
    return f"{text} (noise that grows with the score, as ratios take it to, has one of 1)."


def read_spreads(runs: Runs) -> Reading:
    """How differently the arms spread, which every conditional call assumes that they do not."""
    table = arm_spreads(final_scores(runs))
    table = table[table["sd_percent"] > 0]
    if len(table) < 2:
        return Reading("How the arms spread is not known", "Fewer than two arms have two seeds.")
    spreads = table["sd_percent"]
    least, most = table.loc[spreads.idxmin()], table.loc[spreads.idxmax()]
    ratio = number(spreads.max() / spreads.min(), 2)
    low, high = int(table["n"].min()), int(table["n"].max())
    over = seeds(low) if low == high else f"{low} to {seeds(high)}"
    pooled = ""
    if table["df"].iloc[0]:
        freedom = counted(int(table["df"].iloc[0]), "degree")
        pooled = (
            f" Taken together, with what a seed does to all arms left out, they spread by "
            f"{number(table['pooled_percent'].iloc[0])} % ({freedom} of freedom)."
        )
    return Reading(
        f"{runs.labels[most['arm']]} spreads {ratio} times as much as {runs.labels[least['arm']]}",
        f"Standard deviations of the logarithm of FD-Lite0 over {over}, in %: from "
        f"{number(spreads.min())} to {number(spreads.max())}.{_growing(table)}{pooled} "
        "Of so few seeds a standard deviation is itself hardly "
        f"known, so a large ratio proves no unequal spread and a small one no equal. A call that "
        f"holds {CONDITION} is to be read beside this table.",
    )
