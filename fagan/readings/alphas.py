"""The gates: how far they went, whether their signs mean anything."""

from fagan.readings.reading import Reading, percent
from fagan.records import Runs
from fagan.tables import TIMES, alpha_reach, number, sign_agreement


def read_reach(runs: Runs) -> Reading:
    """The largest |alpha| against what the learning rate lets it reach."""
    reach = alpha_reach(runs)
    reach = reach[reach["share"].notna()]
    if reach.empty:
        return Reading("No trained gate to read", "No finished run has a gate that learns.")
    top, close = reach.loc[reach["max_abs"].idxmax()], reach.loc[reach["share"].idxmax()]
    spread = runs.runs["beta2"].rsub(1).pow(0.5)
    bound = (runs.runs["beta1"].rsub(1) / spread).max()
    return Reading(
        f"The largest |alpha| is {number(top['max_abs'])}, in {top['label']}'s {top['network']}",
        f"A steady gradient moves a gate by the learning rate a step, so lr {TIMES} updates is its "
        f"reach: {number(top['reach'])} in that network, of which it went "
        f"{percent(top['share'])}; a growing gradient goes further (with these betas a single step "
        f"up to {number(bound, 2)} times). Furthest for its reach went {close['label']}'s "
        f"{close['network']}, {percent(close['share'])}. A gate that went most of the way was "
        "still on its way, so a small alpha after few steps is no evidence against attention.",
    )


def read_signs(runs: Runs) -> Reading:
    """Full attention layers against their control, the self-attention layers."""
    table = sign_agreement(runs)
    table = table[table["layers"] > 0]
    if table.empty:
        return Reading("Signs need two seeds", "No layer has two finished seeds to compare.")
    parts = [
        f"{row.agree} of {row.layers} {row.kind} attention layers carry one sign in every finished "
        f"seed (a coin would give {number(row.by_chance, 2)})"
        for row in table.itertuples()
    ]
    return Reading(
        f"{table['agree'].sum()} of {table['layers'].sum()} layers agree in sign over the seeds",
        "; ".join(parts) + ". Layers of one network are no independent draws: the counts describe, "
        "they do not test.",
    )
