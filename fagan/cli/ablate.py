"""Ablations: plan, run, watch, analyse, report and publish them."""

import os
from typing import Annotated

import typer

from fagan.cli.app import Ablation, Data, Download, Results, Seeds, Settings, Steps, app
from fagan.config import UserError
from fagan.records import RESULTS


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
    from fagan import ablations, clusters, devices, workflow

    where = clusters.reachable(clusters.load_profile(profile))
    if gpus and not where.is_local:
        raise UserError(
            f"GPUS={gpus} names devices of this machine; on a cluster `config: {{gpus: 1}}` of the "
            f"profile says how many a run gets ({where.folder / 'config.yaml'})"
        )
    if gpus:
        os.environ[devices.GPUS] = gpus
        devices.slots()  # refuses what is not there, before anything is done
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
def publish(
    ablation: Ablation,
    weights: Annotated[
        list[str] | None, typer.Option(help="run whose networks go along; may be repeated")
    ] = None,
    notebooks: Annotated[
        bool | None,
        typer.Option(help="run pages with their notebooks; default where no photograph is in them"),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Copy a finished ablation to results/published/, after checks, and update what cites it."""
    from fagan import readme
    from fagan.publish import publish

    print(publish(ablation, results, tuple(weights or ()), notebooks))
    for name in readme.update(results, readme.cited_by(results)):
        print(f"{name} rewritten")


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
