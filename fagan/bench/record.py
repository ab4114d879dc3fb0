"""What the bench leaves behind: two tables, the targets, a figure, and their Markdown."""

from pathlib import Path

import pandas as pd

from fagan import environment
from fagan.bench.goals import targets
from fagan.bench.machine import Machine
from fagan.bench.projection import OF
from fagan.bench.steps import IMPLEMENTATIONS
from fagan.records import read_json, write_json, write_text
from fagan.tables import markdown as markdown_table


def write(
    folder: Path,
    machine: Machine,
    steps: pd.DataFrame,
    parts: pd.DataFrame,
    projected: pd.DataFrame | None = None,
) -> Path:
    """<device>.csv (steps), -parts.csv, -projection.csv, .json (machine, targets) and .svg."""
    from fagan import plots

    path = folder / machine.slug
    write_text(path.with_suffix(".csv"), steps.to_csv(index=False, float_format="%.6g"))
    write_text(
        path.with_name(f"{path.name}-parts.csv"), parts.to_csv(index=False, float_format="%.6g")
    )
    if projected is not None:
        text = projected.to_csv(index=False, float_format="%.6g")
        write_text(path.with_name(f"{path.name}-projection.csv"), text)
    reached = [target.describe() for target in targets(machine.device, steps, parts)]
    write_json(
        path.with_suffix(".json"),
        {"machine": machine.describe(), "environment": environment.describe(), "targets": reached},
    )
    with plots.style():
        plots.save(
            plots.step_times(steps),
            path.with_suffix(".svg"),
            f"Milliseconds a training step on {machine.name}, by implementation",
        )
    return path.with_suffix(".csv")


def read(folder: Path, slug: str) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """(machine, environment and targets), steps, parts."""
    steps, parts = (pd.read_csv(folder / f"{slug}{tail}.csv") for tail in ("", "-parts"))
    return read_json(folder / f"{slug}.json"), steps, parts


def steps_table(steps: pd.DataFrame) -> pd.DataFrame:
    """One row per case: milliseconds of each implementation, ratios, memory; as text."""
    rows = []
    for (architecture, resolution, loss), case in steps.groupby(
        ["architecture", "resolution", "loss"], sort=False
    ):
        by = case.set_index("implementation")
        row = {"network": architecture, "pixels": str(resolution), "loss": loss}
        for name in IMPLEMENTATIONS:
            row[f"{name}, ms"] = f"{by.loc[name, 'ms']:,.0f}" if name in by.index else "–"
        for name in ("fp32", "bf16"):
            row[f"{name}, ratio"] = _text(by, name, "speedup", "{:.1f}×")
            row[f"{name}, of peak"] = _text(by, name, "share_of_peak", "{:.0%}")
        row["memory, ratio"] = _text(by, "fp32", "memory_share", "{:.2f}")
        rows.append(row)
    return pd.DataFrame(rows)


def parts_table(parts: pd.DataFrame) -> pd.DataFrame:
    """Every part with its unit and spread, as text."""
    spread = [
        f"{_short(row.low)} to {_short(row.high)}" if row.n > 1 else "–"
        for row in parts.itertuples()
    ]
    values = parts["value"].map(_short) + " " + parts["unit"]
    return pd.DataFrame({"part": parts["part"], "median": values, "least to most": spread})


def projection_table(projected: pd.DataFrame) -> pd.DataFrame:
    """The tables for a GPU: arithmetic and projected hours, as text."""
    return pd.DataFrame(
        {
            "table": projected["ablation"],
            "runs": projected["runs"].astype(str),
            "steps a run": [f"{n:,}" for n in projected["steps"]],
            "PFLOP": projected["pflop"].map(_short),
            "hours here": projected["hours"].map(_short),
            f"hours at {OF}": projected["hours_sustained"].map(_short),
        }
    )


def targets_table(reached: list[dict]) -> pd.DataFrame:
    """Every target, what was measured and whether it is met, as text."""
    words = {True: "met", False: "not met", None: "not measured"}
    return pd.DataFrame(
        {
            "target": [t["target"] for t in reached],
            "limit": [t["limit"] for t in reached],
            "measured": ["–" if t["measured"] is None else _short(t["measured"]) for t in reached],
            "": [words[t["met"]] for t in reached],
        }
    )


def markdown(folder: Path, slug: str, shown_as: str) -> str:
    """The README's block about one machine: figure, tables, what was measured and how."""
    about, steps, parts = read(folder, slug)
    machine, made = about["machine"], about["environment"]
    reached = about["targets"]
    missed = [t["target"] for t in reached if t["met"] is False]
    on = f"{machine['threads']} threads of an {machine['name']}"
    verdict = (
        f"Of this project's {len(reached)} targets ([{slug}.json]({shown_as}/{slug}.json)) "
        f"{sum(t['met'] is True for t in reached)} are met"
        + (f"; missed: {'; '.join(missed)}" if missed else "")
        + "."
    )
    rounds = f"{steps['rounds'].min()} to {steps['rounds'].max()}"
    return "\n\n".join(
        [
            f"![Milliseconds a training step, by implementation]({shown_as}/{slug}.svg)",
            f"On {on if machine['device'] == 'cpu' else machine['name']} "
            f"({machine['peak_fp32']:,.0f} GFLOP/s in a float32 matrix product, "
            f"{machine['peak_bf16']:,.0f} in bfloat16; PyTorch {made['versions']['torch']}). One "
            f"step is one discriminator and one generator update at batch "
            f"{steps['batch_size'].iloc[0]}, width 1; medians of {rounds} interleaved rounds, "
            "ratios within rounds. "
            "`released` is attn-gan-pytorch 1.2.3, `plain` this module with `exact=true`; a ratio "
            "is how many times as fast as `released`, of memory its share of the other's peak.",
            markdown_table(steps_table(steps)),
            verdict,
            markdown_table(parts_table(parts)),
        ]
    )


def _text(by: pd.DataFrame, name: str, column: str, form: str) -> str:
    if name not in by.index or column not in by or pd.isna(by.loc[name, column]):
        return "–"
    return form.format(by.loc[name, column])


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
