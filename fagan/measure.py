"""The commands that measure: draw from a run, score it or a folder of images, time a step."""

import os
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.files import PUBLISHED, RESULTS, given_path, run_folder, write_json, write_text

Results = Annotated[Path, typer.Option(help="folder of all results")]


def bench(
    quick: Annotated[bool, typer.Option(help="the laptop table's networks alone")] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 for all cores")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    results: Results = RESULTS,
) -> None:
    """Time training steps against the released package: notebooks/speed.ipynb."""
    from fagan.pages import parameterized
    from fagan.runner import execute_all, from_root, private, render, scrub

    values = {"quick": quick, "threads": threads, "device": device, "results": from_root(results)}
    book = partial(parameterized, ROOT / "notebooks" / "speed.ipynb", values)
    page = results / "bench" / "speed.html"
    books, faults = execute_all({"speed": book}, 1)
    for why, log in faults.values():
        write_text(page.with_suffix(".log"), log)
        raise UserError(f"notebooks/speed.ipynb failed: {why}; see {page.with_suffix('.log')}")
    write_text(page, render(scrub(books["speed"], private(results, [])), "bench"))
    print(page)


def sample(
    ablation: Annotated[str, typer.Argument(help="a table that was run, or published/NAME")],
    run_id: str,
    out: Annotated[Path, typer.Option(help="PNG to write")] = Path("samples.png"),
    n: Annotated[int, typer.Option(min=1, max=10_000, help="images, 8 a row")] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="of the latents")] = 0,
    results: Results = RESULTS,
) -> None:
    """Draw images from a finished run's generator."""
    from fagan import evaluate
    from fagan.ablations import planned_run
    from fagan.train import load_generator, save_grid

    if out.is_dir():
        raise UserError(f"{out} is a folder; name a PNG with --out")
    config = planned_run(ablation, run_id, results)
    weights = run_folder(ablation, run_id, results) / "generator.safetensors"
    if not weights.exists():
        raise UserError(f"{run_id} has no weights: {weights} is written when a run is done")
    generator = load_generator(config, weights)
    save_grid(evaluate.sample(generator, n, config.latent_size, seed), out)
    print(out)


def evaluate(
    scored: Annotated[str, typer.Argument(help="[published/]ABLATION/RUN_ID, or a folder or zip")],
    reference: Annotated[
        str, typer.Argument(help="folder or zip, or faces, cifar10, celeba; a run's own if empty")
    ] = "",
    n_fake: Annotated[int, typer.Option(min=0, max=10**6, help="images; 0: the run's, or all")] = 0,
    n_real: Annotated[int, typer.Option(min=0, max=10**6, help="references; 0: the run's")] = 0,
    input_size: Annotated[int, typer.Option(min=32, max=1024, help="pixels that Lite0 sees")] = 128,
    resolution: Annotated[int, typer.Option(min=8, max=1024, help="of a folder's images")] = 64,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**62, help="of latents and subsets; the run's if none")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file; a run's default is its own")] = None,
    results: Results = RESULTS,
) -> None:
    """Every score of a finished run or of a folder of images against real images."""
    from rich.console import Console
    from rich.table import Table

    from fagan import scorecard

    ask = {"n_fake": n_fake, "input_size": input_size}
    if os.path.exists(given_path(scored)):
        if not reference:
            raise UserError(f"{scored} needs a reference: a folder or zip, or faces")
        ask |= {"n_real": n_real or 5_000, "seed": seed or 0, "resolution": resolution}
        rows = scorecard.score_images(scored, reference, **ask)
    else:
        ablation, _, run_id = scored.rpartition("/")
        if not ablation:
            raise UserError(f"{scored} is no folder or zip, and no run: write ABLATION/RUN_ID")
        ask |= {"n_real": n_real, "seed": seed, "results": results}
        rows = scorecard.score_run(ablation, run_id, reference, **ask)
        if out is None and not ablation.startswith(f"{PUBLISHED}/"):  # to those nothing is added
            out = run_folder(ablation, run_id, results) / "scores.json"
    for row in rows:
        table = Table("score", "value", title=f"{row['scored']} against {row['reference']}")
        for name, value in row.items():
            table.add_row(name, f"{value:.5g}" if isinstance(value, float) else str(value))
        Console().print(table)
    if out:
        write_json(out, rows)
        print(out)


def list_parameters() -> None:
    """Every parameter of a run, its default and meaning."""
    from fagan.config import RunConfig

    for f in fields(RunConfig):
        choices = f.metadata.get("choices")
        known = f" ({', '.join(choices)})" if choices else ""
        print(f"{f.name:<26} {f.default!r:<12} {f.metadata['doc']}{known}")
