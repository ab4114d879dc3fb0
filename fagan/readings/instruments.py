"""Attention over training, interventions and spectral norms: what the records say."""

import pandas as pd

from fagan.readings.reading import NOTHING, Reading, percent
from fagan.records import Runs
from fagan.tables import (
    EVERY,
    NOTICED,
    count,
    interventions,
    last_instruments,
    last_spectral,
    number,
    seeds,
    use_by_sign,
)

# Shares of the distance without preference, and of log M, below which a layer is said to prefer.
NEARER, SHARPER = 0.9, 0.9
SHOWN = 4  # layers that a sentence names one by one


def read_traces(runs: Runs) -> Reading:
    """Whether attention became local, sharp or strong, by the last record of finished runs."""
    table = last_instruments(runs)
    if table.empty:
        why = "No finished run recorded its attention; records of schema 1 never do."
        if _none_done(runs):
            why = NOTHING.claim + "."
        return Reading("No attention was recorded", why)
    near = table[table["distance"] < NEARER * table["uniform_distance"]]
    sharp = table[table["entropy_share"] < SHARPER]
    top = table.loc[table["attention_share"].idxmax()]
    keen = table.loc[table["entropy_share"].idxmin()]
    close = table.loc[(table["distance"] / table["uniform_distance"]).idxmin()]
    text = (
        f"A layer without any preference has an entropy share of 1 and the dotted distance. "
        f"{len(near)} of {len(table)} layers end nearer than {percent(NEARER)} of that distance "
        f"(most so {_name(close)}: {number(close['distance'])} px, without preference "
        f"{number(close['uniform_distance'])} px), {len(sharp)} below an entropy share of "
        f"{NEARER:g} (lowest {_name(keen)}: {number(keen['entropy_share'])}). The largest "
        f"share of a layer's output that attention makes is {percent(top['attention_share'])}, "
        f"in {_name(top)}. Means over {_seeds(table)}."
    )
    return Reading(f"{len(near)} of {len(table)} attention layers learned to look near", text)


def read_interventions(runs: Runs) -> Reading:
    """Which layers the score would miss."""
    table = interventions(runs)
    closed = table[(table["intervention"] == "alpha = 0") & (table["n"] > 0)]
    single, every = closed[closed["layer"] != EVERY], closed[closed["layer"] == EVERY]
    if single.empty:
        why = "No finished run has a gate that was set by hand."
        return Reading("No layer was tried without its attention", why)
    tried = single[single["n"] > 1]
    used = tried[tried["rises"] == tried["n"]].sort_values("relative", ascending=False)
    falls = int((tried["falls"] == tried["n"]).sum())
    names = "; ".join(f"{_name(row)} ({_signed(row)})" for _, row in used.head(SHOWN).iterrows())
    more = f"; and {len(used) - SHOWN} more" if len(used) > SHOWN else ""
    text = (
        f"A layer counts as used where FD-Lite0 rises by more than {percent(NOTICED)} in every "
        f"finished seed, two at least, once its alpha is 0: {names or 'none does'}{more}. As a "
        f"control: in {falls} of {len(tried)} it falls by as much in every seed. "
        f"{_extremes(every, 'All layers at once')}"
    )
    if len(single) > len(tried):
        text += f"Not counted, with one finished seed: {len(single) - len(tried)}. "
    opened = table[(table["intervention"] == "alpha = 1") & (table["layer"] == EVERY)]
    # a self-attention layer keeps its input whatever its alpha
    mixed = set(single.loc[_kinds(single) != "full", "arm"])
    text += _extremes(
        opened[~opened["arm"].isin(mixed)],
        "Attention alone, where every gated layer of the generator is of full attention",
    )
    text += (
        f"Each score is of {count(table['n_fake'].max())} images from the same latents, "
        f"{_seeds(closed)}. Batch norm keeps the statistics of the trained network, so a large "
        "rise says that a layer is used, not that a network trained without it would be as bad."
    )
    if tried.empty:
        return Reading("One seed says of no layer that its attention is used", text)
    counts = tried.groupby(_kinds(tried), sort=True).size()
    shares = [f"{(_kinds(used) == kind).sum()} of {n} {kind}" for kind, n in counts.items()]
    layers = f"attention layer{'' if counts.iloc[-1] == 1 else 's'} of the generators"
    verb = "uses" if len(tried) == 1 else "use"
    return Reading(f"{' and '.join(shares)} {layers} {verb} their attention", text)


def _kinds(table: pd.DataFrame) -> pd.Series:
    """What kind of layer each row is of: the first word of its label."""
    return table["layer"].str.partition(" ")[0]


def _extremes(table: pd.DataFrame, words: str) -> str:
    """The arms whose score changes most and least; nothing where no change is known."""
    known = table[table["relative"].notna()].sort_values("relative", ascending=False)
    if known.empty:
        return ""
    ends = [known.iloc[0]] if len(known) == 1 else [known.iloc[0], known.iloc[-1]]
    parts = [f"{row['label']} ({_signed(row)})" for row in ends]
    if len(ends) == 1:
        return f"{words}: {parts[0]}. "
    return f"{words}: from {parts[1]} to {parts[0]}. "


def read_sign_use(runs: Runs, flips: pd.DataFrame) -> Reading:
    """What a negative alpha is: a symmetry in self-attention, a weight in full attention.

    flips: studies.sign_flips, empty where there were no weights.
    """
    table = use_by_sign(runs)
    negative = table[table["sign"] == "negative"].set_index("kind")
    total = table.groupby("kind")["layers"].sum()
    parts = [
        f"{negative.loc[kind, 'layers']} of {total[kind]} gates of {kind} attention layers"
        for kind in ("full", "self")
        if total[kind]
    ]
    if not parts:
        why = "No finished run has both a trained gate and its interventions."
        return Reading("No negative alpha to read", why)
    text = f"Negative at the end, layers times seeds in the generators: {' and '.join(parts)}. "
    for row in table.itertuples():
        if row.layers:
            change = f"{'+' if row.median > 0 else ''}{number(100 * row.median, 2)} %"
            text += (
                f"Closing a {row.sign} gate of {row.kind} attention changes FD-Lite0 by {change} "
                f"in the median (it rises by over {percent(NOTICED)} in {row.rises} of "
                f"{row.layers}). "
            )
    claim = f"{negative['layers'].sum()} of {total.sum()} gates ended negative"
    if len(flips):
        largest = flips.groupby("kind")["change"].max()
        exact = largest.get("self", float("nan"))
        if exact == exact:
            claim += "; in self-attention that changes nothing" if exact < 1e-6 else ""
            amount = f"by more than {exact:.0e} of it" if exact else "at all"
            text += (
                "Turning the signs of alpha and value together changes no output through a "
                f"self-attention layer {amount}. "
            )
        if "full" in largest:
            text += (
                "Through a full attention layer the same turn changes outputs by up to "
                f"{percent(largest['full'])}: there the sign is part of the function."
            )
    return Reading(claim, text.strip())


def read_spectral(runs: Runs) -> Reading:
    """How large the weights became that no spectral norm holds."""
    table = last_spectral(runs)
    if table.empty:
        why = f"{NOTHING.claim}." if _none_done(runs) else "Records of schema 1 hold none."
        return Reading("No spectral norm of a finished run was recorded", why)
    made = table[table["role"].isin(["query", "key"])]
    if made.empty:
        top = table.loc[table["max"].idxmax()]
        claim = f"The largest spectral norm is {number(top['max'])}"
        return Reading(claim, f"It is in {top['label']}'s {top['network']}; nothing attends.")
    top = made.loc[made["max"].idxmax()]
    text = (
        f"The logits of a map are products of query and key without a factor 1/√d, so their norms "
        f"set how sharp it can be. Largest at the end: {number(top['max'])}, a {top['role']} in "
        f"{top['label']}'s {top['network']}. "
    )
    for role in ("value", "convolution"):
        own = table[table["role"] == role]
        if len(own):
            text += (
                f"{role.capitalize()}s of attention layers end between {number(own['min'].min())} "
                f"and {number(own['max'].max())}. "
            )
    text += f"A weight under spectral norm stays at 1. Of {_seeds(table)}."
    return Reading(f"The largest query or key ends at a norm of {number(top['max'])}", text)


def _none_done(runs: Runs) -> bool:
    return not (runs.runs["status"] == "done").any()


def _name(row: pd.Series) -> str:
    where = f" of the {row['network']}" if "network" in row else ""
    return f"{row['label']}, {row['layer']}{where}"


def _signed(row: pd.Series) -> str:
    sign = "+" if row["mean"] > 0 else ""
    return f"{sign}{number(row['mean'])}, {sign}{number(100 * row['relative'], 2)} %"


def _seeds(table: pd.DataFrame) -> str:
    low, high = int(table["n"].min()), int(table["n"].max())
    return seeds(low) if low == high else f"{low} to {seeds(high)}"
