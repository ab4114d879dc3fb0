"""What the studies found: maps, receptive fields, and whether the scores may be trusted."""

from collections.abc import Sequence

import pandas as pd

from fagan.readings.reading import Reading, percent
from fagan.records import Runs
from fagan.tables import count, number, seeds

NO_WEIGHTS = Reading(
    "Nothing to look into",
    "This needs the weights of a run and, for a discriminator's fields, real images; here one of "
    "them is missing, as in published ablations and in records of schema 1.",
)
NO_IMAGES = Reading(
    "The images are not on this machine", "Without them there is nothing to degrade."
)


def read_missing(missing: Sequence[str], runs: Runs) -> str:
    """One sentence on the runs that could not be looked into; empty where all could."""
    if not missing:
        return ""
    if len(missing) == len(runs.runs):
        return "No run kept the weights of both networks."
    return f"Not looked into, without the weights of both networks: {', '.join(missing)}."


def read_looks(looks: pd.DataFrame, runs: Runs) -> Reading:
    """Where the sharpest map is, and what stands under each."""
    if looks.empty:
        return NO_WEIGHTS
    peaks = looks.groupby(["arm", "network", "layer"], sort=False)["peak"].mean()
    (arm, network, layer), peak = peaks.idxmax(), peaks.max()
    flat = int((peaks < 2).sum())
    drawn = set(runs.runs["data"]) == {"faces"}
    shown = "a real image" if drawn else "what its generator made"
    text = (
        "Each row is a layer, each column a query (cross). The stronger the colour, the more "
        "weight, so one colour all over is a look everywhere; under a map stands its largest "
        "weight as a multiple of a uniform map's. "
        f"{flat} of {len(peaks)} layers stay below 2 in the mean over these queries. One image a "
        f"network, nobody's choice, so it illustrates and does not test; a discriminator is shown "
        f"{shown}."
    )
    where = f"{runs.labels[arm]}'s {network}, {layer}"
    return Reading(f"The sharpest maps are in {where}: {number(peak, 2)} times uniform", text)


def read_fields(fields: pd.DataFrame, runs: Runs) -> Reading:
    """The blog's claim: deep enough and with large enough filters, the whole image is covered."""
    if fields.empty:
        return NO_WEIGHTS
    trained = fields[fields["attention"] == "as trained"]
    last = trained[trained["place"] == trained.groupby("arm")["place"].transform("max")]
    shares = last.groupby("arm", sort=False)["share"].mean()
    whole = last.groupby("arm")["theory"].min() >= last.groupby("arm")["source_grid"].max()
    low, high = shares.idxmin(), shares.idxmax()
    inner = trained[trained["grid"] > 1]
    deepest = inner[inner["place"] == inner.groupby("arm")["place"].transform("max")]
    side = deepest["theory"].mean() / deepest["source_grid"].mean()
    text = (
        f"In theory the convolutions alone cover the image in the logit of {int(whole.sum())} of "
        f"{len(whole)} arms; one layer earlier they reach {percent(side)} of its side. In effect "
        f"(pixels with more than 4.6 % of the strongest influence) the logit depends on "
        f"{percent(shares[low])} of the image in {runs.labels[low]} and {percent(shares[high])} "
        f"in {runs.labels[high]}. {_closed(fields, runs)}{_n(fields)}"
    )
    some = percent(shares[low]), percent(shares[high])
    spread = some[0] if some[0] == some[1] else " to ".join(some)
    return Reading(f"The logit depends on {spread} of the image", text)


def read_outside(fields: pd.DataFrame, runs: Runs, what: str) -> Reading:
    """How much influence comes by attention alone, from where no convolution reaches."""
    trained = fields[(fields["attention"] == "as trained") & fields["outside"].notna()]
    arms = fields.loc[fields["attention"] == "alpha = 0", "arm"].unique()
    trained = trained[trained["arm"].isin(arms)]
    if fields.empty:
        return NO_WEIGHTS
    if trained.empty:
        why = "No run with weights has gates in this network that can all be closed."
        return Reading(f"No attention to close in the {what}s", why)
    means = trained.groupby(["arm", "layer", "source"], sort=False)["outside"].mean()
    (arm, layer, source), most = means.idxmax(), means.max()
    where = layer if source == "image" else f"the image's middle pixel over {source}"
    text = (
        "Influence from where the same network with closed gates has none can only have come by "
        f"attention: at most {number(100 * most, 2)} % of it, in {runs.labels[arm]}, {where}; "
        f"{number(100 * means.median(), 2)} % in the median over layers. {_n(fields)}"
    )
    claim = f"In the {what}s attention brings up to {number(100 * most, 2)} % of the influence"
    return Reading(f"{claim} from further away", text)


def _closed(fields: pd.DataFrame, runs: Runs) -> str:
    """How the field shrinks or grows with closed gates, where it changes most."""
    sizes = fields.pivot_table(
        index=["arm", "place"], columns="attention", values="size", sort=False
    ).dropna()
    if "alpha = 0" not in sizes or sizes.empty:
        return "No arm here has a gate to close. "
    change = sizes["as trained"] - sizes["alpha = 0"]
    if change.abs().max() < 0.5:
        return "Closing the gates changes no field's side by half a pixel. "
    arm, place = change.abs().idxmax()
    of = fields[(fields["arm"] == arm) & (fields["place"] == place)].iloc[0]
    return (
        f"Closing the gates changes a field's side most in {runs.labels[arm]}, {of['layer']}: "
        f"{number(sizes.loc[(arm, place), 'as trained'])} px as trained, "
        f"{number(sizes.loc[(arm, place), 'alpha = 0'])} px with alpha = 0. "
    )


def _n(fields: pd.DataFrame) -> str:
    n = fields.groupby("arm")["run_id"].nunique()
    low, high = int(n.min()), int(n.max())
    return f"Means over {seeds(low) if low == high else f'{low} to {seeds(high)}'} an arm."


WORDS = {
    "contamination": "contamination",
    "mode collapse": "collapse",
    "broken ties": "mismatched eyes",
}
# times the floor, below which a distance is said hardly to see a degradation
SEEN = 1.5


def read_degradations(frame: pd.DataFrame) -> Reading:
    """Whether the two distances rise with every step, and what they first notice."""
    noticed, missed, parts = 0, [], []
    kinds = _kinds(frame)
    for kind in kinds:
        line = _line(frame, kind, "fd_lite0")
        rising = line.is_monotonic_increasing
        noticed += rising
        missed += [] if rising else [kind]
        parts.append(f"{WORDS.get(kind, kind)} {number(line.iloc[-1] / line.iloc[0], 2)} times")
    floor = frame[frame["kind"] == "none"]
    text = (
        f"{count(floor['n_fake'].iloc[0])} real images against {count(floor['n_real'].iloc[0])} "
        f"others give {number(floor['fd_lite0'].mean())} (range {number(floor['fd_lite0'].min())} "
        f"to {number(floor['fd_lite0'].max())} over {len(floor)} choices, the grey band): the "
        f"floor. At its worst step each degradation raises it: {', '.join(parts)}. "
    )
    weak = [kind for kind in kinds if _line(frame, kind, "fd_lite0").max() < SEEN * _floor(frame)]
    if weak:
        text += f"It hardly sees {' and '.join(WORDS.get(kind, kind) for kind in weak)}. "
    kid = sum(_line(frame, kind, "kid_lite0").is_monotonic_increasing for kind in kinds)
    text += f"KID-Lite0 rises at every step of {kid} of {len(kinds)}."
    of = f"FD-Lite0 rises with every step of {noticed} of {len(kinds)} degradations"
    return Reading(of + (f", not of {' and '.join(missed)}" if missed else ""), text)


def read_manifold(frame: pd.DataFrame) -> Reading:
    """Which of the four scores falls under what."""
    floor = frame[frame["kind"] == "none"].mean(numeric_only=True)
    worst = {kind: frame[frame["kind"] == kind].iloc[-1] for kind in _kinds(frame)}
    scores = ("precision", "recall", "density", "coverage")
    real = ", ".join(f"{score} {number(floor[score], 2)}" for score in scores)
    collapse, noise = worst["mode collapse"], worst["noise"]
    text = (
        f"Real images score {real}. {count(collapse['level'])} distinct images keep a precision of "
        f"{number(collapse['precision'], 2)} at a recall of {number(collapse['recall'], 2)} and a "
        f"coverage of {number(collapse['coverage'], 2)}; the strongest noise leaves a precision of "
        f"{number(noise['precision'], 2)}."
    )
    apart = collapse["precision"] - collapse["recall"]
    if apart > 0.3:
        return Reading("Precision misses a collapse that recall and coverage see", text)
    return Reading("Precision and recall both fall under a collapse", text)


def read_coherence_test(frame: pd.DataFrame) -> Reading:
    """Procedural faces: the score for what the distances miss."""
    if "coherence_eyes" not in frame:
        why = "These images have no ties that are known."
        return Reading("Coherence is known for procedural faces only", why)
    ties, blur = _line(frame, "broken ties", "coherence_eyes"), frame[frame["kind"] == "blur"]
    fd = _line(frame, "broken ties", "fd_lite0")
    text = (
        f"With every pair of eyes mismatched the coherence of the eyes falls from "
        f"{number(ties.iloc[0], 2)} to {number(ties.iloc[-1], 2)}, FD-Lite0 goes from "
        f"{number(fd.iloc[0])} to {number(fd.iloc[-1])}. The strongest blur keeps a coherence of "
        f"{number(blur['coherence_eyes'].iloc[-1], 2)} at a signal of "
        f"{number(blur['signal_eyes'].iloc[-1], 2)}: below 0.5 a coherence is not to be read."
    )
    if ties.iloc[-1] > 0.5 * ties.iloc[0]:
        return Reading("Coherence hardly sees mismatched eyes", text)
    if fd.max() < SEEN * _floor(frame):
        return Reading("Coherence sees mismatched eyes where FD-Lite0 does not", text)
    return Reading("Coherence and FD-Lite0 both see mismatched eyes", text)


def read_floor_curve(frame: pd.DataFrame) -> Reading:
    """How the floor falls with the number of images."""
    first, last = frame.iloc[0], frame.iloc[-1]
    ratio, more = first["fd"] / last["fd"], last["n"] / first["n"]
    text = (
        f"From {count(first['n'])} to {count(last['n'])} images a side, {number(more, 2)} times "
        f"as many, the floor falls from {number(first['fd'])} to {number(last['fd'])}, "
        f"{number(ratio, 2)} times. KID has no such bias: {number(first['kid'])} and "
        f"{number(last['kid'])}."
    )
    return Reading(
        f"At {count(last['n'])} images a perfect generator scores {number(last['fd'])}", text
    )


def read_extrapolation(frame: pd.DataFrame, dim: int = 320) -> Reading:
    """What the line in 1/n says, how well it is known, and where it must not be believed."""
    lines = frame.groupby("images", sort=False).first()
    most, least = int(frame["n"].max()), int(frame["n"].min())
    parts = [
        f"{name} {number(row['value'])} ± {number(row['standard_error'], 2)}"
        for name, row in lines.iterrows()
    ]
    text = (
        f"Fitted through {frame['images'].eq(lines.index[0]).sum()} sizes from {count(least)} to "
        f"{count(most)}: {'; '.join(parts)} (± the standard error of the fit). Only the bias of "
        "the scored images goes: the reference stays finite, so that real images do not end at 0. "
        "The error leaves out what another draw of images or another training would change. "
    )
    if least < 3 * dim:
        text += (
            f"**Sizes below {count(3 * dim)}, three times the {dim} features, bend the line: do "
            "not read its end here.**"
        )
    first = lines.iloc[0]
    measured = frame.loc[frame["images"] == lines.index[0], "fd"].iloc[-1]
    claim = (
        f"At infinitely many images the floor of {number(measured)} would be "
        f"{number(first['value'])}"
    )
    return Reading(claim, text.strip())


def _kinds(frame: pd.DataFrame) -> list[str]:
    return [kind for kind in dict.fromkeys(frame["kind"]) if kind != "none"]


def _floor(frame: pd.DataFrame, score: str = "fd_lite0") -> float:
    return frame.loc[frame["kind"] == "none", score].mean()


def _line(frame: pd.DataFrame, kind: str, score: str) -> pd.Series:
    """A score from the undegraded images to the worst step."""
    start = frame[frame["kind"] == "none"].head(1)
    return pd.concat([start, frame[frame["kind"] == kind].sort_values("step")])[score]
