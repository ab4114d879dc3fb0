"""Measure: draw from a run, score it or a folder of images, time the module, list parameters."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fagan.cli.app import Ablation, Results, app
from fagan.config import UserError
from fagan.files import given_path
from fagan.records import RESULTS


@app.command()
def sample(
    ablation: Ablation,
    run_id: str,
    out: Annotated[Path, typer.Option(help="PNG to write")] = Path("samples.png"),
    n: Annotated[int, typer.Option(min=1, max=10_000, help="images, 8 a row")] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="of the latents")] = 0,
    results: Results = RESULTS,
) -> None:
    """Draw images from a finished run's generator."""
    from fagan import evaluate
    from fagan.ablations import planned_run
    from fagan.records import run_folder
    from fagan.train import load_generator, save_grid

    if out.is_dir():
        raise UserError(f"{out} is a folder; name a PNG with --out")
    config = planned_run(ablation, run_id, results)
    weights = run_folder(ablation, run_id, results) / "generator.safetensors"
    if not weights.exists():
        raise UserError(f"{run_id} has no weights yet: {weights} is written when it is done")
    generator = load_generator(config, weights)
    save_grid(evaluate.sample(generator, n, config.latent_size, seed), out)
    print(out)


@app.command()
def evaluate(
    scored: Annotated[str, typer.Argument(help="[published/]ABLATION/RUN_ID, or a folder or zip")],
    reference: Annotated[
        str, typer.Argument(help="folder or zip, or faces, cifar10, celeba; a run's own if empty")
    ] = "",
    n_fake: Annotated[int, typer.Option(min=0, max=10**6, help="images; 0: the run's, or all")] = 0,
    n_real: Annotated[
        int, typer.Option(min=0, max=10**6, help="reference images; 0: the run's")
    ] = 0,
    input_size: Annotated[int, typer.Option(min=32, max=1024, help="pixels that Lite0 sees")] = 128,
    resolution: Annotated[
        int, typer.Option(min=8, max=1024, help="pixels of a folder's images")
    ] = 64,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**62, help="of latents and subsets; a run's own if none"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file; a run's default is its own")] = None,
    results: Results = RESULTS,
) -> None:
    """Every score of a finished run or of a folder of images against real images."""
    from rich.console import Console
    from rich.table import Table

    from fagan import scorecard
    from fagan.records import PUBLISHED, run_folder, write_json

    if os.path.exists(given_path(scored)):
        if not reference:
            raise UserError(f"{scored} needs a reference: a folder or zip, or faces")
        rows = scorecard.score_images(
            scored,
            reference,
            resolution=resolution,
            n_fake=n_fake,
            n_real=n_real or 5_000,
            input_size=input_size,
            seed=seed or 0,
        )
    else:
        ablation, _, run_id = scored.rpartition("/")
        if not ablation:
            raise UserError(f"{scored} is no folder or zip, and no run: write ABLATION/RUN_ID")
        rows = scorecard.score_run(
            ablation,
            run_id,
            reference,
            n_fake=n_fake,
            n_real=n_real,
            input_size=input_size,
            seed=seed,
            results=results,
        )
        # to what is published nothing is added
        if out is None and not ablation.startswith(f"{PUBLISHED}/"):
            out = run_folder(ablation, run_id, results) / "scores.json"
    for row in rows:
        table = Table("score", "value", title=f"{row['scored']} against {row['reference']}")
        for name, value in row.items():
            table.add_row(name, f"{value:.5g}" if isinstance(value, float) else str(value))
        Console().print(table)
    if out:
        write_json(out, rows)
        print(out)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option(help="32 pixels and small attention only")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default all")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    publish: Annotated[bool, typer.Option(help="into results/published/bench and README")] = False,
    results: Results = RESULTS,
) -> None:
    """Time training steps, start-up, evaluation and data against the released package."""
    from rich.console import Console

    from fagan import bench, readme, train
    from fagan.config import RunConfig
    from fagan.workflow import available_cores

    chosen = train.pick_device(RunConfig.from_params({"device": device}))
    folder = results / ("published/bench" if publish else "bench")
    path = bench.run(folder, chosen, threads or available_cores(), quick)
    about, steps, parts = bench.read(folder, path.stem)
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in (
        bench.steps_table(steps),
        bench.parts_table(parts),
        bench.targets_table(about["targets"]),
    ):
        console.print(_rich(table))
    print(path)
    if publish:
        readme.update(results, readme.cited_by(results))


def _rich(table):
    from rich.table import Table

    shown = Table(*table.columns)
    for row in table.itertuples(index=False):
        shown.add_row(*row)
    return shown


@app.command("parameters")
def list_parameters() -> None:
    """Every parameter of a run, its default and meaning."""
    from dataclasses import fields

    from fagan.config import RunConfig

    for f in fields(RunConfig):
        choices = f.metadata.get("choices")
        known = f" ({', '.join(choices)})" if choices else ""
        print(f"{f.name:<26} {f.default!r:<12} {f.metadata['doc']}{known}")
