"""Every comparison of the page that answers the blog, corrected for all of them together."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from fagan.records import Runs
from fagan.tables import variants
from fagan.tables.changes import changes, pooled_arms, seed_means
from fagan.tables.effects import CONTRASTS, IN_UNITS, contrasts, effect, from_percent, in_percent
from fagan.tables.instruments import EVERY
from fagan.tables.scores import SCORE, final_scores
from fagan.tables.stability import scores_after, stability, training_seconds

FD, SOON = "FD-Lite0 (%)", "FD-Lite0 at equal seconds (%)"
WOBBLE = "wobble of FD-Lite0 (%)"
CHANGE = "change of FD-Lite0 (%)"
# (question, subject, pairs of arms that differ in it alone)
SUBJECTS = (
    ("kernels", "equal width", variants.kernel_pairs),
    ("kernels", "equal parameters", variants.sized_kernel_pairs),
    ("one layer", "equal steps", variants.pure_pairs),
    ("stability", "relativistic loss", variants.relativistic_pairs),
    ("gates", "gate", variants.gate_pairs),
    ("concatenation", "merge", variants.concat_pairs),
    ("low resolution", "trained without", variants.low_pairs),
    ("released", "spectral norm", variants.released_pairs),
    ("released", "batch norm in D", variants.batch_norm_pairs),
    ("attention", "attention between convolutions", variants.self_pairs),
    ("attention", "full attention", variants.full_pairs),
)
COLUMNS = ["question", "subject", "measure", "label", *CONTRASTS]


@dataclass(frozen=True)
class Group:
    """Comparisons of one measure: pairs of arms at equal seeds, or the mean of arms against 0.

    Scores are compared as ratios, and beside them as they are.
    """

    question: str
    subject: str
    measure: str
    values: pd.DataFrame  # arm, seed, value
    pairs: tuple[variants.Pair, ...] = ()
    own_only: bool = False

    def table(self, comparisons: int | None = None) -> pd.DataFrame:
        if self.pairs:
            options = (self.values, self.pairs, comparisons, self.own_only)
            if self.measure not in (FD, SOON):
                return contrasts(*options)
            plain = contrasts(*options)[["mean", "low", "high", "called"]]
            return contrasts(*options, ratios=True).join(plain.add_prefix("absolute_"))
        means, arms = seed_means(self.values), pooled_arms(self.values)
        found = effect(from_percent(means), comparisons or 1)
        row = {k: in_percent(v) if k in IN_UNITS else v for k, v in asdict(found).items()}
        row = {"arm": EVERY, "baseline": ""} | row | {"called": found.called}
        # it speaks of these arms together: no pair's own differences stand behind it
        row |= {"own_low": row["low"], "own_high": row["high"], "alone": False}
        row |= {"arms": len(arms), "runs": int(self.values["arm"].isin(arms).sum())}
        return pd.DataFrame([row | {f"seed {seed}": value for seed, value in means.items()}])

    @property
    def size(self) -> int:
        return int((self.table()["n"] > 1).sum())


def comparisons(runs: Runs, metric: str = SCORE) -> pd.DataFrame:
    """One row per comparison: question, subject, measure, label and the columns of `contrasts`.

    comparisons counts all rows with two values or more, and the intervals are corrected for them
    all. Differences of scores are in % of the baseline's, computed on logarithms (`contrasts`);
    absolute_mean, absolute_low, absolute_high and absolute_called are the same of the scores as
    they are. arm "all" with no baseline: a change of one and the same network against 0, one value
    a seed, the geometric mean over the arms that have the subject (`changes.seed_means`).
    """
    groups = list(_groups(runs, metric))
    total = sum(group.size for group in groups)
    tables = []
    for group in groups:
        table = group.table(total)
        pairs = zip(table["arm"], table["baseline"], strict=True)
        label = [_label(runs, group.subject, *pair) for pair in pairs]
        keys = {"question": group.question, "subject": group.subject, "measure": group.measure}
        tables.append(table.assign(**keys, label=label))
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat(tables, ignore_index=True)
    return table[[*COLUMNS, *(c for c in table if c not in COLUMNS)]]


def _label(runs: Runs, subject: str, arm: str, baseline: str) -> str:
    if not baseline:
        return subject
    return f"{runs.labels[arm]} \N{MINUS SIGN} {runs.labels[baseline]}"


def _groups(runs: Runs, metric: str) -> Iterator[Group]:
    arms, scores = variants.arm_configs(runs), final_scores(runs, metric)
    for question, subject, find in SUBJECTS:
        pairs = tuple(find(arms))
        if pairs:
            yield Group(question, subject, FD, scores, pairs)
        if question == "one layer":
            yield from _soon(runs, pairs, metric)
        if question == "stability" and pairs:
            steady = stability(runs, metric)
            steady = steady.assign(value=100 * steady["wobble"].where(steady["status"] == "done"))
            yield Group(question, subject, WOBBLE, steady, pairs)
    for change in changes(runs):
        yield Group(change.question, change.subject, CHANGE, change.values)


def _soon(runs: Runs, pairs: tuple[variants.Pair, ...], metric: str) -> Iterator[Group]:
    """Each pair again after as much training time as the baseline took.

    The other arm is met early in its training, where scores are larger and spread more: only the
    pair's own differences say how much.
    """
    for pair, values in equal_seconds(runs, pairs, metric):
        yield Group("one layer", "equal seconds", SOON, values, (pair,), own_only=True)


def equal_seconds(
    runs: Runs, pairs: Iterable[variants.Pair], metric: str = SCORE
) -> Iterator[tuple[variants.Pair, pd.DataFrame]]:
    """(pair, `scores_after` of its two arms) at the median time that the baseline trains."""
    seconds = training_seconds(runs).groupby(runs.runs.set_index("run_id")["arm"]).median()
    for arm, other in pairs:
        if np.isfinite(seconds.get(other, np.nan)):
            values = scores_after(runs, seconds[other], metric)
            yield (arm, other), values[values["arm"].isin((arm, other))]
