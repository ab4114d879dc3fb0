"""The commands that measure: draw from a run, score it or a folder of images, time a step."""

import os
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

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
    from fagan.train import save_grid

    if out.is_dir():
        raise UserError(f"{out} is a folder; name a PNG with --out")
    config, generator = _generator(ablation, run_id, results)
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

    if os.path.exists(given_path(scored)):
        if not reference:
            raise UserError(f"{scored} needs a reference: a folder or zip, or faces")
        rows = score_images(scored, reference, resolution, n_fake, n_real, input_size, seed or 0)
    else:
        ablation, _, run_id = scored.rpartition("/")
        if not ablation:
            raise UserError(f"{scored} is no folder or zip, and no run: write ABLATION/RUN_ID")
        rows = score_run(ablation, run_id, reference, n_fake, n_real, input_size, seed, results)
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


def score_run(
    ablation: str,
    run_id: str,
    reference: str = "",
    n_fake: int = 0,
    n_real: int = 0,
    input_size: int = 128,
    seed: int | None = None,
    results: Path = RESULTS,
) -> list[dict]:
    """Scores of a finished run's generator, against its own held-out images unless told otherwise.

    n_fake, n_real: 0 takes the run's, as seed None does: at its input size, 64, these are then the
    scores of its metrics.json, on the same kind of machine to the last digit. Memorisation is
    judged only against the run's own data. Raises UserError where the run is unknown or has no
    weights yet.
    """
    from fagan import data, train
    from fagan import evaluate as scores
    from fagan.environment import read_environment

    config, generator = _generator(ablation, run_id, results)
    seed = train.EVALUATION_SEED if seed is None else seed
    where, n_real = train.pick_device(config), n_real or config.n_real
    # drawn as the training draws what it scores: rounding alone would make another number
    generator = generator.to(device=where, memory_format=train.layout(config))
    with (
        train.threads(config.threads),
        train.fast_matmul(config, where),
        train.precision(config, where),
    ):
        print(
            scores.same_machine(
                read_environment(run_folder(ablation, run_id, results)), config.threads
            )
        )
        n = n_fake or config.n_fake
        images = scores.sample(generator, n, config.latent_size, seed, device=str(where))
    own = not reference
    config = config.with_(n_real=n_real)
    real = data.load(config, "reference") if own else _real(reference, config)
    trained = data.load(config, "train") if own else None
    ask = {"n_real": n_real, "input_size": input_size, "seed": seed, "device": str(where)}
    rows = scores.scorecard(images, real, trained, **ask)
    return [{"scored": f"{ablation}/{run_id}"} | row for row in rows]


def score_images(
    images: str,
    reference: str,
    resolution: int = 64,
    n_fake: int = 0,
    n_real: int = 0,
    input_size: int = 128,
    seed: int = 0,
) -> list[dict]:
    """Scores of a folder or zip of images, all of them or n_fake chosen at random.

    reference: a folder or zip too, or "faces", "cifar10", "celeba". Both sides are cropped to a
    centred square and resized to `resolution`.
    """
    from fagan import data, train
    from fagan import evaluate as scores
    from fagan.config import RunConfig

    config = RunConfig.from_params({"resolution": resolution, "n_real": n_real or 5_000})
    scored = data.load_all(images, resolution, limit=n_fake)
    ask = {"n_real": config.n_real, "input_size": input_size, "seed": seed}
    ask["device"] = str(train.pick_device(config))
    rows = scores.scorecard(scored.images, _real(reference, config), **ask)
    return [{"scored": scored.name} | row for row in rows]


def _real(reference: str, config: Any) -> Any:
    """Real images by the name of a data set, or all that a folder or zip holds."""
    from fagan import data
    from fagan.config import DATA

    if reference in DATA and reference != "folder":
        return data.load(config.with_(data=reference, data_path=""), "reference")
    return data.load_all(reference, config.resolution, config.crop)


def _generator(ablation: str, run_id: str, results: Path) -> tuple:
    """(configuration, generator) of a finished run."""
    from fagan.ablations import planned_run
    from fagan.train import load_generator

    config = planned_run(ablation, run_id, results)
    weights = run_folder(ablation, run_id, results) / "generator.safetensors"
    if not weights.exists():
        raise UserError(f"{run_id} has no weights: {weights} is written when a run is done")
    return config, load_generator(config, weights)
