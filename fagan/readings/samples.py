"""What a sheet of samples shows, and what it leaves out."""

import pandas as pd

from fagan.readings.reading import Reading
from fagan.records import Runs
from fagan.tables import best_and_last, count, final_scores, number


def read_sheet(runs: Runs, seed: int) -> str:
    """The heading of a sample sheet: the best score of a seed."""
    scores = final_scores(runs)
    own = scores[scores["seed"] == seed].dropna(subset=["value"]).sort_values("value")
    if own.empty:
        return f"Seed {seed}: no run is done"
    return f"Seed {seed}: {own.iloc[0]['label']} scores lowest, {number(own.iloc[0]['value'])}"


def read_samples(runs: Runs, shown: int) -> str:
    """What a sheet shows of what was scored, and who stopped early."""
    done = runs.runs[runs.runs["status"] == "done"]
    text = f"A tile shows the first {shown} images, nobody's choice"
    if len(done) and "n_fake" in done:
        text += f"; its score is of {count(done['n_fake'].max())}"
    early = len(runs.runs) - len(done)
    if early:
        text += f". {early} of {len(runs.runs)} runs are shown where they stopped"
    return f"{text}."


def read_progress(runs: Runs, seed: int) -> str:
    """At which step each arm of a seed scored best during training."""
    ends = best_and_last(runs)
    if "best" not in ends:
        return "No score was recorded during training."
    own = ends[(ends["seed"] == seed) & ends["best"].notna()]
    steps = [
        f"{row.label} {count(row.best_step)} of {count(row.last_step)}" for row in own.itertuples()
    ]
    return f"Step of the lowest FD-Lite0 of seed {seed}: {'; '.join(steps)}."


def read_films(changes: pd.DataFrame, runs: Runs, seed: int) -> Reading:
    """Whose images were still on the move when training ended; changes: tables.grid_changes."""
    own = runs.runs[runs.runs["seed"] == seed]
    unseen = [row.label for row in own.itertuples() if row.run_id not in set(changes["run_id"])]
    missing = (
        f" No film of {', '.join(unseen)}: fewer than two sample grids were kept, as in published "
        "ablations."
        if unseen
        else ""
    )
    if changes.empty:
        return Reading("Only the last samples were kept", missing.strip())
    last = changes.groupby("run_id", sort=False).tail(1).sort_values("change")
    least, most = last.iloc[0], last.iloc[-1]
    each = "; ".join(
        f"{row.label} {number(row.change)} (steps {count(row.before)} to {count(row.step)})"
        for row in last.itertuples()
    )
    claim = (
        f"{most['label']}'s images still moved by {number(most['change'])} grey levels at the end"
    )
    if len(last) > 1:
        claim += f", {least['label']}'s by {number(least['change'])}"
    text = (
        f"Mean absolute change of the same 64 latents' images from the last grid but one to the "
        f"last, of 256 grey levels, seed {seed}: {each}. Generators whose scores have settled go "
        "on exchanging one image for another, so this is no score."
    )
    return Reading(claim, text + missing)


def read_interpolations(frames: pd.DataFrame, runs: Runs, seed: int) -> Reading:
    """Who changes most along the same way between latents, and who jumps."""
    lost = [arm for arm in runs.arms if arm not in set(frames["arm"])]
    missing = (
        f" Without the generator's weights, as in published ablations: "
        f"{', '.join(runs.labels[arm] for arm in lost)}."
        if lost
        else ""
    )
    if frames.empty:
        return Reading("Nothing lies between the latents without weights", missing.strip())
    own = frames.groupby("arm", sort=False)["change"].agg(["mean", "max"])
    jump = own["max"] / own["mean"]
    each = "; ".join(f"{runs.labels[arm]} {number(jump[arm])}" for arm in own.index)
    text = (
        f"Every film is a round trip through the same fixed latents, on arcs, in "
        f"{count(frames['frame'].max() + 1)} frames. Largest change from frame to frame over the "
        f"mean one, seed {seed}: {each}; 1 is an even motion, an image that is replaced by "
        "another in one frame a high number."
    )
    mean = own["mean"]
    claim = (
        f"{runs.labels[mean.idxmax()]} changes most between two latents, by "
        f"{number(mean.max())} grey levels a frame"
    )
    return Reading(claim, text + missing)
