"""python -m fagan: what the Makefile, the Snakefile and a cluster's shell call.

A user's mistake ends with one line on stderr and exit code 2; a failed run with exit code 1.
"""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fagan.config import UserError
from fagan.records import RESULTS

app = typer.Typer(
    help=__doc__.splitlines()[0],
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Ablation = Annotated[str, typer.Argument(help="a table of notebooks/ablations, such as laptop")]
Results = Annotated[Path, typer.Option(help="folder of all results")]
Seeds = Annotated[str, typer.Option(help="a count (3) or a list (0,1,5)")]
Steps = Annotated[int | None, typer.Option(help="generator steps of every run")]
Data = Annotated[str, typer.Option(help="folder or zip of images, or the root of a data set")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="name=value for every run; may be repeated")
]
Download = Annotated[bool, typer.Option(help="fetch CIFAR-10 or CelebA through torchvision")]


def _chosen(ablation, seeds, steps, data, settings, gpus=None) -> tuple:
    """(table, its runs with the user's overrides), checked; gpus as in `ablations.configs`."""
    from fagan import ablations

    table = ablations.load_table(ablation)
    chosen = dict(map(ablations.parse_setting, settings or []))
    if steps is not None:
        chosen["steps"] = steps
    runs = ablations.configs(
        table, ablations.parse_seeds(seeds) if seeds else None, chosen, data or None, gpus
    )
    if gpus is not None and ablations.asks_for_auto_precision(table, chosen):
        took = " and ".join(sorted({run.precision for run in runs}))
        print(
            f"precision: {took}; on a cluster a run with a GPU takes bf16, one on CPUs fp32 "
            '(SET="precision=..." chooses)'
        )
    return table, runs


@app.command()
def plan(
    ablation: Ablation,
    seeds: Seeds = "",
    steps: Steps = None,
    data: Data = "",
    settings: Settings = None,
    results: Results = RESULTS,
) -> None:
    """Check a table with its overrides and write results/ABLATION/plan.json."""
    from fagan import ablations, workflow

    table, runs = _chosen(ablation, seeds, steps, data, settings)
    with workflow.alone(ablation, results):
        ablations.plan(table, runs, results)
    for run in runs:
        print(f"{run.run_id:<28} {run.hash}  {run.architecture}  {run.loss}  {run.steps} steps")


@app.command("ablations")
def run_ablation(
    ablation: Annotated[str, typer.Argument(help="a table; chosen by the machine if empty")] = "",
    seeds: Seeds = "",
    steps: Steps = None,
    data: Data = "",
    settings: Settings = None,
    download: Download = False,
    cores: Annotated[int | None, typer.Option(min=1, help="CPU cores to use; default all")] = None,
    profile: Annotated[
        str, typer.Option(help="where the jobs run: one of workflow/profiles, or a folder like it")
    ] = "default",
    gpus: Annotated[str, typer.Option(help="devices, such as 0,2; default all visible")] = "",
    results: Results = RESULTS,
) -> None:
    """Do whatever is left of an ablation: runs, analysis, report.

    Exit code 0: every run has ended (done or diverged) and every page is written. 1: a run failed
    or is left. 2: a mistake, nothing was done. 130: stopped by Ctrl-C or a signal.
    """
    import os

    from fagan import ablations, clusters, devices, workflow

    where = clusters.reachable(clusters.load_profile(profile))
    if gpus and not where.is_local:
        raise UserError(
            f"GPUS={gpus} names devices of this machine; on a cluster `config: {{gpus: 1}}` of the "
            f"profile says how many a run gets ({where.folder / 'config.yaml'})"
        )
    if gpus:
        os.environ[devices.GPUS] = gpus
    if not ablation and not where.is_local:
        raise UserError(
            "ABLATION is chosen by this machine's hardware, which says nothing about a cluster's: "
            "name it, as in ABLATION=celeba64"
        )
    if not ablation:
        ablation, why = workflow.choose_ablation(data or None)
        print(f"{ablation}: {why}")
    a_run_gets = None if where.is_local else where.gpus
    table, runs = _chosen(ablation, seeds, steps, data, settings, a_run_gets)
    with workflow.alone(ablation, results) as me:
        ablations.plan(table, runs, results)
        if workflow.is_complete(ablation, results):
            report = results / ablation / "report" / "index.html"
            print(f"{ablation}: all {len(runs)} runs are done, nothing to do; look at {report}")
            return
        workflow.prepare(ablation, results, download, cores)
        raise typer.Exit(workflow.run_graph(me, ablation, results, cores, profile=where))


@app.command()
def prepare(ablation: Ablation, download: Download = False, results: Results = RESULTS) -> None:
    """Decode the data of a planned ablation once and score real images against real ones."""
    from fagan import workflow

    workflow.prepare(ablation, results, download)


@app.command()
def run(ablation: Ablation, run_id: str, results: Results = RESULTS) -> None:
    """Execute notebooks/train.ipynb for one planned run; continue it where it was interrupted."""
    from fagan.ablations import planned_run
    from fagan.runner import execute

    raise typer.Exit(execute(ablation, planned_run(ablation, run_id, results), results))


@app.command()
def status(
    ablation: Annotated[str, typer.Argument(help="a planned table; every one if empty")] = "",
    once: Annotated[bool, typer.Option("--once", help="print the table and end")] = False,
    every_run: Annotated[
        bool, typer.Option("--all", help="print all runs and end, however many there are")
    ] = False,
    results: Results = RESULTS,
) -> None:
    """What every run is doing; on a terminal until all have ended or Ctrl-C, which stops no run."""
    from fagan import dashboard

    names = [ablation] if ablation else dashboard.planned_ablations(results)
    dashboard.show(names, results, once, every_run)


@app.command()
def analyse(ablation: Ablation, notebook: str, results: Results = RESULTS) -> None:
    """Execute one notebook of notebooks/analysis and render it to HTML."""
    from fagan.report import analyse

    analyse(ablation, notebook, results)


@app.command()
def report(ablation: Ablation, results: Results = RESULTS) -> None:
    """Write results/ABLATION/report/index.html from what is there."""
    from fagan.report import report

    print(report(ablation, results))


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

    config = planned_run(ablation, run_id, results)
    weights = run_folder(ablation, run_id, results) / "generator.safetensors"
    if not weights.exists():
        raise UserError(f"{run_id} has no weights yet: {weights} is written when it is done")
    generator = load_generator(config, weights)
    save_grid(evaluate.sample(generator, n, config.latent_size, seed), out)
    print(out)


@app.command()
def evaluate(
    scored: Annotated[str, typer.Argument(help="ABLATION/RUN_ID, or a folder or zip of images")],
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
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="of latents and subsets")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file; a run's default is its own")] = None,
    results: Results = RESULTS,
) -> None:
    """Every score of a finished run or of a folder of images against real images."""
    from rich.console import Console
    from rich.table import Table

    from fagan import scorecard
    from fagan.files import given_path
    from fagan.records import run_folder, write_json

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
            seed=seed,
        )
    else:
        ablation, _, run_id = scored.partition("/")
        if not run_id:
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
        out = out or run_folder(ablation, run_id, results) / "scores.json"
    for row in rows:
        table = Table("score", "value", title=f"{row['scored']} against {row['reference']}")
        for name, value in row.items():
            table.add_row(name, f"{value:.5g}" if isinstance(value, float) else str(value))
        Console().print(table)
    if out:
        write_json(out, rows)
        print(out)


@app.command()
def publish(
    ablation: Ablation,
    weights: Annotated[
        list[str] | None, typer.Option(help="run whose networks go along; may be repeated")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Copy a finished ablation to results/published/, after checks, and update the README."""
    from fagan import readme
    from fagan.publish import publish

    print(publish(ablation, results, tuple(weights or ())))
    for name in readme.update(results):
        print(f"README.md: results of {name} rewritten")


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
        readme.update(results)


def _rich(table):
    from rich.table import Table

    shown = Table(*table.columns)
    for row in table.itertuples(index=False):
        shown.add_row(*row)
    return shown


@app.command()
def stale(ablation: Ablation, results: Results = RESULTS) -> None:
    """List the runs that other code than this made (by the source fingerprint of their records)."""
    from fagan.environment import source_fingerprint
    from fagan.records import load_runs

    now = source_fingerprint()
    old = load_runs(ablation, results).runs.query("source_fingerprint != @now")
    for _, row in old.iterrows():
        print(f"{row['run_id']:<28} {row['source_fingerprint']}  commit {row['commit']}")
    print(f"{len(old)} runs were made by other code than this ({now})")


@app.command("parameters")
def list_parameters() -> None:
    """Every parameter of a run, its default and meaning."""
    from dataclasses import fields

    from fagan.config import RunConfig

    for f in fields(RunConfig):
        choices = f.metadata.get("choices")
        known = f" ({', '.join(choices)})" if choices else ""
        print(f"{f.name:<26} {f.default!r:<12} {f.metadata['doc']}{known}")


def main() -> None:
    """The entry point: turns a user's mistake into one line and exit code 2."""
    from fagan.supervision import follow

    follow()
    try:
        app()
    except UserError as error:
        _refuse(str(error))
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        name = error.filename or "a file"
        _refuse(f"{name}: {error.strerror.lower()}; {_REFUSALS[error.errno]}")


def _refuse(line: str) -> None:
    print(f"fagan: {line}", file=sys.stderr)
    sys.exit(2)


# what the system refuses, and what a user can do about it
_REFUSALS = {
    errno.ENOSPC: "free some space and run again, what is finished stays",
    errno.EDQUOT: "free some space and run again, what is finished stays",
    errno.EROFS: "name a folder that can be written to with --results",
    errno.EACCES: "name a folder that you may write to with --results, or mend its permissions",
    errno.EPERM: "name a folder that you may write to with --results, or mend its permissions",
    errno.ENOTDIR: "a file is where a folder should be; move it away",
}
