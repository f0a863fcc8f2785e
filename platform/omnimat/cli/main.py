"""The command line: thin, every command one call into a room."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from omnimat import __version__
from omnimat.base.errors import RunError, UserError
from omnimat.cli.leaderboard import leaderboard
from omnimat.cli.terminal import width

EXIT_RUN_ERROR, EXIT_USER_ERROR = 1, 2


class _Group(click.Group):
    """Turns an error that is explained into one sentence and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (UserError, RunError) as error:
            click.echo(f"omnimat: {error}", err=True)
            sys.exit(EXIT_USER_ERROR if isinstance(error, UserError) else EXIT_RUN_ERROR)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Pretrain and compare multimodal foundation models of crystalline materials."""


_job_file = click.argument("job_file", type=click.Path(path_type=Path))
_overrides = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace one key of the file."
)


_fresh = click.option(
    "--fresh", is_flag=True, help="Begin anew, beside what a run of this name has left."
)


@main.command()
@_job_file
@_overrides
@_fresh
def run(job_file: Path, overrides: tuple[str, ...], fresh: bool) -> None:
    """Run a job file, and first the jobs it needs whose output is missing.

    Inside `ray job submit` it runs on that cluster; elsewhere on the cluster of RAY_ADDRESS, or on
    a Ray of its own. A run that was stopped goes on; one that has finished says so.
    """
    if not os.environ.get("RAY_ADDRESS"):
        # A Ray of its own answers on loopback alone; read when ray is imported.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    from omnimat.job.run import run as run_job

    run_job(job_file, overrides, fresh=fresh)


@main.command()
@_job_file
@_overrides
@_fresh
@click.option(
    "--launcher",
    type=click.Choice(["ray", "torchrun"]),
    default="ray",
    show_default=True,
    help="What starts the workers; torchrun needs no Ray, and what the job needs must be there.",
)
@click.pass_context
def train(
    context: click.Context, job_file: Path, overrides: tuple[str, ...], fresh: bool, launcher: str
) -> None:
    """Run a pretrain job; under torchrun on this machine alone.

    With torchrun, start it on several machines as usual:
    torchrun --nnodes 2 --nproc-per-node 8 ... -m omnimat.cli train JOB_FILE --launcher torchrun
    """
    if launcher == "ray":
        context.invoke(run, job_file=job_file, overrides=overrides, fresh=fresh)
        return
    from omnimat.job.train import train as train_job

    train_job(job_file, overrides, fresh=fresh)


@main.command()
@click.argument("job_files", nargs=-1, required=True, type=click.Path(path_type=Path))
@_overrides
def check(job_files: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Say whether job files, and all they need, are right; runs nothing."""
    from omnimat.job.load import load_tree
    from omnimat.job.run import check_static

    for path in job_files:
        for loaded in load_tree(path, overrides):
            check_static(loaded.job)
        click.echo(f"{path}: ok")


_POSITIVE = click.FloatRange(min=0, min_open=True)
_PRICE = click.FloatRange(min=0)


@main.command()
@_job_file
@_overrides
@click.option("--gpus", "num_gpus", type=click.IntRange(min=1), help="One worker on each.")
@click.option(
    "--cores", "num_cores", type=_POSITIVE, metavar="N", help="CPU cores that all processes share."
)
@click.option(
    "--gpu-speedup",
    type=_POSITIVE,
    metavar="X",
    help="Of a GPU against this CPU, where none is here.",
)
@click.option(
    "--interconnect", type=_POSITIVE, default=10.0, show_default=True, metavar="GBIT_PER_S"
)
@click.option("--gpu-hour", type=_PRICE, default=0.0, metavar="PRICE", help="Of one GPU.")
@click.option("--core-hour", type=_PRICE, default=0.0, metavar="PRICE", help="Of one CPU core.")
@click.option("--measure-again", is_flag=True, help="Although the rates of such a run are known.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def plan(
    job_file: Path,
    overrides: tuple[str, ...],
    num_gpus: int | None,
    num_cores: float | None,
    gpu_speedup: float | None,
    interconnect: float,
    gpu_hour: float,
    core_hour: float,
    measure_again: bool,
    is_json: bool,
) -> None:
    """Predict time, cost and bottleneck of a pretrain job on more and more workers.

    Featurizes and trains on a few batches here, once, and keeps the rates in the storage. Plan on a
    machine with a GPU to measure one: there `use_gpu: auto` is planned on GPUs, elsewhere on CPUs
    unless --gpus says how many. The data set must be there: run the job's needs first.
    """
    from omnimat.job.plan import forecast_job
    from omnimat.training.forecast.forecast import Prices, as_json, table

    rows, assumptions = forecast_job(
        job_file,
        overrides,
        num_gpus=num_gpus,
        num_cores=num_cores,
        gpu_speedup=gpu_speedup,
        interconnect_gbit_per_s=interconnect,
        prices=Prices(gpu_hour, core_hour),
        measures_again=measure_again,
    )
    if is_json:
        content = {"forecasts": [as_json(row) for row in rows], "assumptions": assumptions}
        click.echo(json.dumps(content, indent=1))
        return
    from rich.console import Console

    Console(width=width()).print(table(rows))
    click.echo("\n".join(f"- {line}" for line in assumptions))


@main.command()
def schema() -> None:
    """Print the JSON Schema of job files, for editors."""
    from omnimat.job.spec import JOB

    click.echo(json.dumps(JOB.json_schema(), indent=1))


# \b keeps click from joining the lines.
_SEARCH_EXAMPLES = """\b
Examples:
  omnimat search mp20-anchored quartz.cif --top 5
  omnimat search mp20-anchored sample.xy --against structure
  omnimat search mp20-anchored Li0.5CoO2 --against composition --split test
  omnimat search clac "a layered oxide with a wide band gap" --json
"""


@main.command(epilog=_SEARCH_EXAMPLES)
@click.argument("run_name", metavar="RUN")
@click.argument("queries", metavar="QUERY...", nargs=-1, required=True)
@click.option("--dataset", metavar="NAME", help="To search; default: what RUN was pretrained on.")
@click.option("--split", metavar="SPLIT", help="Whose materials alone are compared.")
@click.option("--modality", metavar="NAME", help="Whose encoder reads QUERY, where several could.")
@click.option(
    "--against", metavar="NAME", default="structure", show_default=True, help="What is compared."
)
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def search(
    run_name: str,
    queries: tuple[str, ...],
    dataset: str | None,
    split: str | None,
    modality: str | None,
    against: str,
    top: int,
    is_json: bool,
) -> None:
    """Find the materials nearest to each QUERY in the embedding space of a pretraining RUN.

    A QUERY is a structure (.cif), a density of states (.csv or .npz with energies_ev, from the
    Fermi level, and dos), a diffraction pattern (.xy: two theta in degrees, intensity), a formula,
    or a sentence between quotes. The set is indexed once by run and modality; Ray is not needed.
    """
    from omnimat.base.workspace import Workspace
    from omnimat.search.search import search as find
    from omnimat.search.show import as_json, print_tables

    answers = find(
        run_name,
        queries,
        Workspace.open(),
        dataset=dataset,
        split=split,
        modality=modality,
        against=against,
        top=top,
    )
    if is_json:
        click.echo(as_json(answers))
    else:
        print_tables(answers, width=width())


main.add_command(leaderboard)
