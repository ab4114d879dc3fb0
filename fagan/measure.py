"""The commands that measure: draw from a run, score it or a folder of images, time a step."""

import os
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fagan.environment import ROOT, read_environment
from fagan.errors import UserError, unknown
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
    class_name: Annotated[str, typer.Option("--class", help="of a run with class labels")] = "",
    results: Results = RESULTS,
) -> None:
    """Draw images from a finished run's generator."""
    from fagan import train
    from fagan.ablations import planned_run

    if out.is_dir():
        raise UserError(f"{out} is a folder; name a PNG with --out")
    config = planned_run(ablation, run_id, results)
    folder, chosen = run_folder(ablation, run_id, results), None
    weights = folder / "generator.safetensors"
    if class_name and not config.classes:
        raise UserError(f"{run_id} was trained without class labels: leave --class out")
    if class_name and weights.exists():
        known = read_environment(folder).get("classes") or []
        if class_name not in known:
            raise unknown("class", class_name, known)
        chosen = known.index(class_name)
    images = train.drawn(config, weights, n, seed, chosen)
    train.save_grid(images, out)
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
    faces: Annotated[bool, typer.Option("--faces", help="fd_face too: CelebA's faces")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**62, help="of latents and subsets; the run's if none")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file; a run's default is its own")] = None,
    results: Results = RESULTS,
) -> None:
    """Every score of a finished run or of a folder of images against real images."""
    from rich.console import Console
    from rich.table import Table

    from fagan.evaluate import inception_missing
    from fagan.evaluate.features import face_path

    if faces:
        face_path()  # a package that is missing is told before images are drawn
    if missing := inception_missing():
        print(f"{missing}; scored without it")
    ask = {"n_fake": n_fake, "n_real": n_real, "input_size": input_size}
    ask |= {"seed": seed, "faces": faces}
    if os.path.exists(given_path(scored)):
        if not reference:
            raise UserError(f"{scored} needs a reference: a folder or zip, or faces")
        rows = score_images(scored, reference, resolution, **ask)
    else:
        ablation, _, run_id = scored.rpartition("/")
        if not ablation:
            raise UserError(f"{scored} is no folder or zip, and no run: write ABLATION/RUN_ID")
        rows = score_run(ablation, run_id, reference, results, **ask)
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


def score_run(
    ablation: str, run_id: str, reference: str, results: Path, n_fake: int, n_real: int, seed, **ask
) -> list[dict]:
    """Scores of a finished run's generator, against its own held-out images unless told otherwise.

    n_fake, n_real: 0 takes the run's, as seed None does: at its input size, 64, these are then the
    scores of its metrics.json, on the same kind of machine to the last digit; a line says whether
    this is one. Memorisation is judged only against the run's own data.
    Raises UserError where the run is unknown or has no weights yet.
    """
    from fagan import data, train
    from fagan.ablations import planned_run
    from fagan.environment import same_kind
    from fagan.evaluate import scorecard

    config, folder = planned_run(ablation, run_id, results), run_folder(ablation, run_id, results)
    wanted = config.with_(n_real=n_real or config.n_real)
    ask["faces"] = config.crop if ask["faces"] else ""
    ask |= {"n_real": wanted.n_real, "device": str(train.pick_device(config))}
    ask["seed"] = train.EVALUATION_SEED if seed is None else seed
    with train.threads(config.threads):
        images = train.drawn(config, folder / "generator.safetensors", n_fake, ask["seed"])
        if reference:
            real, trained = _real(reference, wanted), None
        else:
            # with another n_real, others of a user's own images would be the held-out ones
            real = data.load(config if config.data == "folder" else wanted, "reference")
            trained = data.load(config, "train")
        rows = scorecard(images, real, trained, **ask)
        others = same_kind(read_environment(folder) | {"threads": config.threads})
    if others:
        print(f"another {', '.join(others)} than the record's: the last digits may differ")
    else:
        print("the same processor, threads and torch as the record's: so are the last digits")
    return [{"scored": f"{ablation}/{run_id}"} | row for row in rows]


def score_images(
    images: str, reference: str, resolution: int, n_fake: int, n_real: int, seed, **ask
) -> list[dict]:
    """Scores of a folder or zip of images, all of them or n_fake chosen at random.

    reference: a folder or zip too, or "faces", "cifar10", "celeba". Both sides are cropped to a
    centred square and resized to `resolution`.
    """
    from fagan import data, train
    from fagan.config import RunConfig
    from fagan.evaluate import scorecard

    config = RunConfig.from_params({"resolution": resolution, "n_real": n_real or 5_000})
    ask |= {"n_real": config.n_real, "device": str(train.pick_device(config)), "seed": seed or 0}
    ask["faces"] = config.crop if ask["faces"] else ""
    found = data.load_all(images, resolution, limit=n_fake)
    rows = scorecard(found.images, _real(reference, config), None, **ask)
    return [{"scored": found.name} | row for row in rows]


def _real(reference: str, config):
    """Real images by the name of a data set, or all that a folder or zip holds."""
    from fagan import data
    from fagan.config import DATA

    if reference in DATA and reference != "folder":
        return data.load(config.with_(data=reference, data_path=""), "reference")
    return data.load_all(reference, config.resolution, config.crop)


def list_parameters() -> None:
    """Every parameter of a run, its default and meaning."""
    from fagan.config import RunConfig

    for f in fields(RunConfig):
        choices = f.metadata.get("choices")
        known = f" ({', '.join(choices)})" if choices else ""
        print(f"{f.name:<26} {f.default!r:<12} {f.metadata['doc']}{known}")
