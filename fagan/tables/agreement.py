"""An ablation held against another record of the same one: this clone's against the published.

On the same kind of machine, with the same code, a run gives the same numbers to the last digit.
Elsewhere rounding grows into another draw of the same run: there a score is held against the 95 %
prediction interval of one more run of its arm, from the spread of the published seeds.
"""

import numpy as np
import pandas as pd

from fagan.config import DEFAULTS, LOCAL
from fagan.records import SCORES, TABLES, Runs, read_json
from fagan.tables.scores import numbers, ordered

FINAL = (*(name for name in SCORES if not name.endswith("_std")), "fid")
CLOCK = "timing"  # the one table that never repeats
# what decides the last digits: (column of Runs.runs, what a reader calls it)
CONDITIONS = {
    "processor": "processor",
    "system": "system",
    "device": "device",
    "device_name": "device's name",
    "threads": "threads",
    "precision": "precision",
    "exact": "exact paths",
    "fp32_matmul": "float32 products",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "source_fingerprint": "source",
    "data_checksum": "training images",
    "reference_checksum": "reference images",
}
LIBRARIES = ("torch", "numpy")
# fields of a configuration that may differ between two records of the same experiment
FREE = {"threads", "device", "precision", "exact", "arm", "seed", *LOCAL}


def conditions(here: Runs, published: Runs) -> pd.DataFrame:
    """One row per condition: name, here, published (every value that occurs), same."""
    ours, theirs = _with_versions(here), _with_versions(published)
    rows = []
    for column, name in CONDITIONS.items():
        values = [_values(frame, column) for frame in (ours, theirs)]
        if any(values):
            row = {"condition": name, "here": values[0], "published": values[1]}
            rows.append(row | {"same": values[0] == values[1]})
    return pd.DataFrame(rows, columns=["condition", "here", "published", "same"])


def other_configurations(here: Runs, published: Runs) -> dict[str, list[str]]:
    """{run_id: names of the fields that differ}, of runs that were asked for something else."""
    theirs = published.runs.set_index("run_id")
    found = {}
    for run in here.runs.to_dict("records"):
        if run["run_id"] in theirs.index:
            other = theirs.loc[run["run_id"]].to_dict()
            differing = [
                name
                for name, default in DEFAULTS.items()
                if name not in FREE and _field(run, name, default) != _field(other, name, default)
            ]
            if differing:
                found[run["run_id"]] = differing
    return found


def score_agreement(here: Runs, published: Runs) -> pd.DataFrame:
    """One row per run and final score: here, published, low, high, verdict.

    verdict: `equal` to the last digit; under the same conditions else `differs`; under others
    `inside` or `outside` of the prediction interval [low, high], `no interval` where the published
    seeds give none; `one-sided` where only one record has the score. Runs that are not in both
    records, or were asked for with another configuration, are left out.
    """
    pairs = _pairs(here, published)
    strict = _same_conditions(here, published)
    rows = []
    for metric in FINAL:
        intervals = prediction_intervals(published, metric)
        for pair in pairs.to_dict("records"):
            ours, theirs = (_final(pair, metric, side) for side in ("here", "published"))
            if np.isnan(ours) and np.isnan(theirs):
                continue
            low, high = intervals.get(pair["arm"], (np.nan, np.nan))
            row = {key: pair[key] for key in ("run_id", "arm", "label", "seed")}
            row |= {"metric": metric, "here": ours, "published": theirs, "low": low, "high": high}
            same = strict[pair["run_id"]]
            rows.append(row | {"verdict": _verdict(ours, theirs, low, high, same)})
    columns = "run_id arm label seed metric here published low high verdict".split()
    return pd.DataFrame(rows, columns=columns)


def record_agreement(here: Runs, published: Runs) -> pd.DataFrame:
    """One row per run and table of its record: values, equal (how many), step (first that differs).

    Clock readings are left out, and so is every run that `score_agreement` leaves out.
    """
    pairs, rows = _pairs(here, published), []
    for name in TABLES:
        if name == CLOCK:
            continue
        ours, theirs = (dict(iter(getattr(r, name).groupby("run_id"))) for r in (here, published))
        for pair in pairs.to_dict("records"):
            run_id = pair["run_id"]
            if run_id in ours and run_id in theirs:
                row = {key: pair[key] for key in ("run_id", "arm", "label", "seed")}
                found = _equal_cells(ours[run_id], theirs[run_id], TABLES[name])
                rows.append(row | {"table": f"{name}.csv"} | found)
    columns = "run_id arm label seed table values equal step".split()
    return pd.DataFrame(rows, columns=columns).astype({"step": "Int64"})


def prediction_intervals(runs: Runs, metric: str) -> dict[str, tuple[float, float]]:
    """{arm: 95 % interval of one more run}: mean +- t s sqrt(1 + 1/n), Student's t.

    s is the spread of seeds pooled over the arms, since two or three seeds of one arm say little of
    their own spread. Arms without a finished seed, or a table with one seed an arm, have none.
    """
    done = runs.runs.assign(value=numbers(runs.runs, metric))
    done = done[(done["status"] == "done") & done["value"].notna()]
    groups = done.groupby("arm")["value"]
    freedom = len(done) - groups.ngroups
    if freedom < 1:
        return {}
    from scipy.stats import t

    spread = np.sqrt(((done["value"] - groups.transform("mean")) ** 2).sum() / freedom)
    reach = t.ppf(0.975, freedom) * spread * np.sqrt(1 + 1 / groups.size())
    means = groups.mean()
    return {arm: (means[arm] - reach[arm], means[arm] + reach[arm]) for arm in means.index}


def _pairs(here: Runs, published: Runs) -> pd.DataFrame:
    """One row per run of both records with the same configuration; columns of both, suffixed."""
    other = other_configurations(here, published)
    ours = here.runs[~here.runs["run_id"].isin(other)]
    names = ["run_id", "status", *(n for n in FINAL if n in here.runs or n in published.runs)]
    both = ours.reindex(columns=[*names, "arm", "label", "seed"]).merge(
        published.runs.reindex(columns=names), on="run_id", suffixes=("_here", "_published")
    )
    return ordered(here, both, "seed")


def _same_conditions(here: Runs, published: Runs) -> dict[str, bool]:
    """{run_id: whether its last digits must repeat}."""
    ours, theirs = (
        _with_versions(r).set_index("run_id").reindex(columns=list(CONDITIONS))
        for r in (here, published)
    )
    shared = ours.index.intersection(theirs.index)
    left, right = ours.loc[shared], theirs.loc[shared]
    same = left.eq(right) | (left.isna() & right.isna())
    return same.all(axis=1).to_dict()


def _with_versions(runs: Runs) -> pd.DataFrame:
    """Runs.runs with the versions of the libraries that compute, from every env.json."""
    frame = runs.runs.copy()
    environments = [read_json(runs.folder / "runs" / i / "env.json") or {} for i in frame["run_id"]]
    for name in LIBRARIES:
        frame[name] = [env.get("versions", {}).get(name) for env in environments]
    return frame


def _values(frame: pd.DataFrame, column: str) -> list[str]:
    values = frame[column].dropna().unique() if column in frame else []
    return sorted(str(value) for value in values)


def _field(run: dict, name: str, default) -> object:
    """A field of a recorded configuration; one that is newer than the record had its default."""
    value = run.get(name, default)
    return default if value is None or value != value else value


def _final(pair: dict, metric: str, side: str) -> float:
    value = pair.get(f"{metric}_{side}")
    if pair[f"status_{side}"] != "done" or value is None:
        return np.nan
    return float(value)


def _verdict(here: float, published: float, low: float, high: float, same: bool) -> str:
    if np.isnan(here) or np.isnan(published):
        return "one-sided"
    if here == published:
        return "equal"
    if same:
        return "differs"
    if not np.isfinite([low, high]).all():
        return "no interval"
    return "inside" if low <= here <= high else "outside"


def _equal_cells(here: pd.DataFrame, published: pd.DataFrame, columns: tuple[str, ...]) -> dict:
    """How many cells two tables of a run share, digit by digit; a missing row shares none."""
    ours, theirs = (f.reindex(columns=columns).reset_index(drop=True) for f in (here, published))
    n = max(len(ours), len(theirs))
    ours, theirs = ours.reindex(range(n)), theirs.reindex(range(n))
    present = ours.notna() | theirs.notna()
    equal = (ours == theirs) & present
    differing = present.any(axis=1) & ~(equal | ~present).all(axis=1)
    step = None
    if differing.any() and columns[0] == "step":
        first = differing.idxmax()
        step = ours["step"].fillna(theirs["step"])[first]
    return {"values": int(present.sum().sum()), "equal": int(equal.sum().sum()), "step": step}
