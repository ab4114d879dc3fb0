"""What a sheet of samples shows, and what it leaves out."""

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
