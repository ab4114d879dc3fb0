"""python -m fagan: what the Makefile, the Snakefile and a cluster's shell call.

A user's mistake ends with one line on stderr and exit code 2; a failed run with exit code 1.
"""

import errno
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fagan import environment, measure
from fagan.errors import UserError
from fagan.files import RESULTS, ablation_folder
from fagan.gpu_check import gpu_check
from fagan.measure import Results

app = typer.Typer(
    help="python -m fagan: what the Makefile, the Snakefile and a cluster's shell call.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Ablation = Annotated[str, typer.Argument(help="a table of notebooks/ablations, such as laptop")]
Seeds = Annotated[str, typer.Option(help="a count (3) or a list (0,1,5)")]
Steps = Annotated[int | None, typer.Option(help="generator steps of every run")]
Data = Annotated[str, typer.Option(help="folder or zip of images, or the root of a data set")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="name=value for every run; may be repeated")
]
Download = Annotated[bool, typer.Option(help="fetch CIFAR-10 or CelebA through torchvision")]
PerRun = Annotated[str, typer.Option(help="GPUs, and processes, that train one run; default 1")]
Cores = Annotated[int | None, typer.Option(min=1, help="CPU cores to use; default all")]


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
    cores: Cores = None,
    profile: Annotated[
        str, typer.Option(help="where the jobs run: one of workflow/profiles, or a folder like it")
    ] = "default",
    gpus: Annotated[str, typer.Option(help="devices, such as 0,2; default all visible")] = "",
    gpus_per_run: PerRun = "",
    results: Results = RESULTS,
) -> None:
    """Do whatever is left of an ablation: runs, then the analysis.

    Exit code 0: every run has ended (done or diverged) and every page is written. 1: a run failed
    or is left, or a page. 2: a mistake, nothing was done. 130: stopped by Ctrl-C or a signal.
    """
    from fagan import ablations, devices, status, workflow

    where = workflow.load_profile(profile)
    if (gpus or gpus_per_run) and not where.is_local:
        said = f"GPUS={gpus}" if gpus else f"GPUS_PER_RUN={gpus_per_run}"
        raise UserError(
            f"{said} names devices of this machine; on a cluster `config: {{gpus: 1}}` of the "
            f"profile says how many a run gets ({where.folder / 'config.yaml'})"
        )
    if gpus:
        os.environ[devices.GPUS] = gpus
    if gpus_per_run:
        os.environ[environment.PER_RUN] = gpus_per_run
    if gpus or environment.gpus_per_run() > 1:
        devices.enough(devices.slots())  # refuses what is not there, before anything is done
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
    for run in runs:
        if run.device != "cpu":
            run.refuse_uneven(environment.gpus_per_run() if where.is_local else where.gpus)
        elif where.is_local and environment.gpus_per_run() > 1:
            raise UserError(f"GPUS_PER_RUN: {run.run_id} has device=cpu, and is one process")
    with workflow.alone(ablation, results):
        ablations.plan(table, runs, results)
        code = 0
        if workflow.is_complete(ablation, results):
            print("nothing to do")
        else:
            workflow.prepare(ablation, results, download, cores)
            watch = partial(status.watch, ablation=ablation, results=results)
            code = workflow.run_graph(ablation, results, cores, profile=where, watch=watch)
        end = status.conclude(code, ablation, results)
    raise typer.Exit(code if code == workflow.INTERRUPTED else end)


@app.command()
def prepare(ablation: Ablation, download: Download = False, results: Results = RESULTS) -> None:
    """Decode the data of a planned ablation once and score real images against real ones."""
    from fagan import workflow

    workflow.prepare(ablation, results, download)


@app.command()
def run(
    ablation: Ablation, run_id: str, results: Results = RESULTS, gpus_per_run: PerRun = ""
) -> None:
    """Execute notebooks/train.ipynb for one planned run; continue it where it was interrupted."""
    from fagan.ablations import planned_run
    from fagan.runner import execute

    if gpus_per_run:
        os.environ[environment.PER_RUN] = gpus_per_run
    raise typer.Exit(execute(ablation, planned_run(ablation, run_id, results), results))


@app.command("status")
def show_status(
    ablation: Annotated[str, typer.Argument(help="a planned table; every one if empty")] = "",
    once: Annotated[bool, typer.Option("--once", help="print the table and end")] = False,
    every_run: Annotated[
        bool, typer.Option("--all", help="print all runs and end, however many there are")
    ] = False,
    results: Results = RESULTS,
) -> None:
    """What every run is doing; on a terminal until all have ended or Ctrl-C, which stops no run."""
    from fagan import status

    status.show(
        [ablation] if ablation else status.planned_ablations(results), results, once, every_run
    )


@app.command()
def analyse(
    ablation: Annotated[str, typer.Argument(help="one that was run, or published/NAME")],
    notebooks: Annotated[list[str] | None, typer.Argument(help="default all")] = None,
    cores: Cores = None,
    job: Annotated[bool, typer.Option("--job", help="end with 0: pages.json names faults")] = False,
    results: Results = RESULTS,
) -> None:
    """Execute the notebooks of notebooks/analysis and render them to HTML."""
    from fagan import pages

    pages.analyse(ablation, results, notebooks or (), cores or environment.available_cores())
    folder = ablation_folder(ablation, results)
    faults = pages.say_left_out(folder)
    for page in notebooks or [pages.FRONT]:
        if page not in faults or page == pages.FRONT:
            print(folder / "analysis" / f"{page}.html")
    raise typer.Exit(int(bool(faults) and not job))


@app.command()
def publish(
    ablation: Ablation,
    weights: Annotated[
        list[str] | None, typer.Option(help="run whose networks go along; may be repeated")
    ] = None,
    cores: Cores = None,
    results: Results = RESULTS,
) -> None:
    """Copy the records of a finished ablation to results/published/, and make their pages."""
    from fagan import pages

    print(pages.publish(ablation, results, weights or (), cores or environment.available_cores()))


@app.command()
def stale(ablation: Ablation, results: Results = RESULTS) -> None:
    """List the runs that other code than this made (by the source fingerprint of their records)."""
    from fagan.environment import source_fingerprint
    from fagan.records import makers

    now = source_fingerprint()
    old = makers(ablation, results).query("source_fingerprint != @now")
    for _, row in old.iterrows():
        print(f"{row['run_id']:<28} {row['source_fingerprint']}  commit {row['commit']}")
    print(f"{old['run_id'].nunique()} runs were made by other code than this ({now})")


@app.command("import")
def import_networks(
    generator: Annotated[Path, typer.Argument(help="the author's configuration, such as gen.conf")],
    discriminator: Annotated[Path, typer.Argument(help="and dis.conf")],
    name: Annotated[
        str, typer.Option(help="of the table; default the generator file's, or its folder's")
    ] = "",
    weights: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="GAN_GEN_12.pth GAN_DIS_12.pth: they become a finished run"),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Make a table, and a run, of the files of akanimax/fagan and attn_gan_pytorch."""
    from fagan import author

    print(*author.import_networks(generator, discriminator, name, weights, results), sep="\n")


for command in (measure.sample, measure.evaluate, measure.bench):
    app.command()(command)
app.command("parameters")(measure.list_parameters)
app.command("gpu-check")(gpu_check)


def main() -> None:
    """The entry point: turns a user's mistake into one line and exit code 2."""
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
_FULL = "free some space and run again, what is finished stays"
_CLOSED = "name a folder that you may write to with --results, or mend its permissions"
_REFUSALS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _CLOSED),
    errno.EISDIR: "a folder is where a file should be; name another, or move it away",
    errno.ENOTDIR: "a file is where a folder should be; move it away",
}
