"""Every comparison of the page that answers the blog, corrected for all of them together."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from fagan.records import Runs
from fagan.tables import variants
from fagan.tables.effects import CONTRASTS, contrasts, effect
from fagan.tables.instruments import EVERY, TRAINED
from fagan.tables.scores import SCORE, final_scores, numbers
from fagan.tables.stability import scores_after, stability, training_seconds

FD, SOON, WOBBLE = "FD-Lite0", "FD-Lite0 at equal seconds", "wobble of FD-Lite0 (%)"
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
    """Comparisons of one measure: pairs of arms at equal seeds, or the mean over runs against 0."""

    question: str
    subject: str
    measure: str
    values: pd.DataFrame  # arm, seed, value
    pairs: tuple[variants.Pair, ...] = ()

    def table(self, comparisons: int | None = None) -> pd.DataFrame:
        if self.pairs:
            return contrasts(self.values, self.pairs, comparisons)
        found = effect(self.values["value"], comparisons or 1)
        row = {"arm": EVERY, "baseline": ""} | asdict(found) | {"called": found.called}
        row |= {"own_low": found.low, "own_high": found.high, "alone": found.called}
        return pd.DataFrame([row])

    @property
    def size(self) -> int:
        return int((self.table()["n"] > 1).sum())


def comparisons(runs: Runs, metric: str = SCORE) -> pd.DataFrame:
    """One row per comparison: question, subject, measure, label and the columns of `contrasts`.

    comparisons counts all rows with two values or more, and the intervals are corrected for them
    all. arm "all" with no baseline: the mean over the finished runs of every arm that has the
    subject, each run one value, against 0: a change of one and the same network.
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
    closed = closed_gates(runs)
    full = closed["arm"].map(lambda arm: variants.attention_layers(arms.loc[arm])[0] > 0)
    every = closed["layer"] == EVERY
    for kind, rows in (("full", every & full), ("self", every & ~full)):
        yield Group("gates", f"all alphas set to 0 ({kind} attention)", CHANGE, closed[rows])
    for layer in low_layers(closed):
        own = closed[closed["layer"] == layer]
        yield Group("low resolution", f"alpha of {layer} set to 0", CHANGE, own)
    yield Group("released", "samples in train mode", CHANGE, train_mode(runs))


def _soon(runs: Runs, pairs: tuple[variants.Pair, ...], metric: str) -> Iterator[Group]:
    """Each pair again after as much training time as the baseline took."""
    seconds = training_seconds(runs).groupby(runs.runs.set_index("run_id")["arm"]).median()
    for arm, other in pairs:
        if np.isfinite(seconds.get(other, np.nan)):
            values = scores_after(runs, seconds[other], metric)
            yield Group("one layer", "equal seconds", SOON, values, ((arm, other),))


def closed_gates(runs: Runs) -> pd.DataFrame:
    """One row per finished run and layer: arm, seed, layer, value, FD's change at alpha = 0 in %.

    Of arms whose gates were trained: one that is frozen has not chosen its alpha.
    """
    state = runs.runs.set_index("run_id")
    learned = state[(state["status"] == "done") & (state["alpha"] != "frozen")].index
    frame = runs.interventions[runs.interventions["run_id"].isin(learned)]
    trained = frame[frame["intervention"] == TRAINED].set_index("run_id")["fd"].astype(float)
    frame = frame[frame["intervention"] == "alpha = 0"]
    share = numbers(frame, "change") / frame["run_id"].map(trained).astype(float)
    frame = frame.assign(value=100 * share)
    return frame[["run_id", "arm", "seed", "layer", "value"]].reset_index(drop=True)


def low_layers(closed: pd.DataFrame) -> list[str]:
    """The layers of at most LOW cells a side in `closed_gates`, by size: "full 4x4", "self 8x8"."""
    sides = {}
    for layer in closed["layer"].unique():
        side = layer.rpartition(" ")[2].partition("x")[0]
        if side.isdigit() and int(side) <= variants.LOW:
            sides[layer] = int(side)
    return sorted(sides, key=lambda layer: (sides[layer], layer))


TRAIN_MODE = "train_mode.csv"


def train_mode(runs: Runs) -> pd.DataFrame:
    """`studies.train_mode_scores` as the blog's page wrote it, value: FD's change in %."""
    frame = read_table(runs, TRAIN_MODE)
    if frame is None or frame.empty:
        return pd.DataFrame(columns=["run_id", "arm", "seed", "value"])
    return frame.assign(value=100 * (frame["fd_train"] / frame["fd_eval"] - 1))


def read_table(runs: Runs, name: str) -> pd.DataFrame | None:
    """A table that an analysis page wrote; None where it was not made."""
    path = runs.folder / "tables" / name
    return pd.read_csv(path) if path.exists() else None
