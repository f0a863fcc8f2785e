"""The command line. It is thin: every command is one call into a room."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from omnimat import __version__
from omnimat.base.errors import RunError, UserError, own_error
from omnimat.base.storage_errors import told_of
from omnimat.cli.data import ingest, init
from omnimat.cli.finetune import finetune
from omnimat.cli.leaderboard import leaderboard
from omnimat.cli.models import embed, models, package, predict
from omnimat.cli.screen import screen
from omnimat.cli.search import index, search
from omnimat.cli.terminal import say, width

EXIT_RUN_ERROR, EXIT_USER_ERROR = 1, 2


class _Group(click.Group):
    """Prints an error that explains itself as one sentence, and exits with its code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (UserError, RunError) as error:
            _end(own_error(error))
        except OSError as error:
            told = told_of(error)
            if told is None:
                raise
            _end(told)


def _end(error: Exception) -> NoReturn:
    say(f"omnimat: {error}", to_stderr=True)
    sys.exit(EXIT_USER_ERROR if isinstance(error, UserError) else EXIT_RUN_ERROR)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Pretrain and compare multimodal foundation models of crystalline materials."""


_job_file = click.argument("job_file", type=click.Path(path_type=Path))
_overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace one key of the file, as in training.lr=3e-4; may be given several times.",
)
_fresh = click.option(
    "--fresh",
    is_flag=True,
    help="Begin the run anew, beside what an earlier run of this name has left.",
)
_json = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


@main.command()
@_job_file
@_overrides
@_fresh
def run(job_file: Path, overrides: tuple[str, ...], fresh: bool) -> None:
    """Run a job file, and before it the jobs it needs whose output is missing.

    Inside `ray job submit` this runs on that cluster. Elsewhere it runs on the cluster that
    RAY_ADDRESS names, or else on a Ray of its own. A run that was stopped goes on where it
    stopped; one that has finished says so.
    """
    from omnimat.job.run import run as run_job

    run_job(job_file, overrides, fresh=fresh)


# \b keeps click from joining the lines of examples.
_TORCHRUN_EXAMPLE = """\b
On several machines:
  torchrun --nnodes 2 --nproc-per-node 8 ... \\
    -m omnimat.cli train JOB_FILE --launcher torchrun
"""


@main.command(epilog=_TORCHRUN_EXAMPLE)
@_job_file
@_overrides
@_fresh
@click.option(
    "--launcher",
    type=click.Choice(["ray", "torchrun"]),
    default="ray",
    show_default=True,
    help="What starts the workers. With torchrun no Ray is needed, and whatever the job needs must "
    "be there already.",
)
def train(job_file: Path, overrides: tuple[str, ...], fresh: bool, launcher: str) -> None:
    """Run a pretrain job, on Ray or on torchrun.

    With --launcher torchrun the workers run on this machine. To use several machines, start
    torchrun yourself on each of them.
    """
    if launcher == "torchrun":
        from omnimat.job.train import train as train_job
    else:
        from omnimat.job.run import train as train_job

    train_job(job_file, overrides, fresh=fresh)


@main.command()
@click.argument("job_files", nargs=-1, required=True, type=click.Path(path_type=Path))
@_overrides
def check(job_files: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Check job files, and the files of all jobs they need, without running anything."""
    from omnimat.job.here import left_open
    from omnimat.job.run import checked

    for path in job_files:
        jobs = checked(path, overrides)
        for place, job in enumerate(jobs):
            for remark in [*job.remarks(jobs[:place]), *left_open(job)]:
                say(f"{job.name}: {remark}")
        say(f"{path}: ok")


_POSITIVE = click.FloatRange(min=0, min_open=True)
_PRICE = click.FloatRange(min=0)


@main.command()
@_job_file
@_overrides
@click.option(
    "--gpus",
    "num_gpus",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="the workers of the job",
    help="Plan for N workers, or models that predict, with a GPU each.",
)
@click.option(
    "--cores",
    "num_cores",
    type=_POSITIVE,
    metavar="N",
    show_default="a core for each",
    help="CPU cores that all processes share.",
)
@click.option(
    "--gpu-speedup",
    type=_POSITIVE,
    metavar="X",
    help="How many times as fast as a CPU core a GPU is, if none could be measured.",
)
@click.option(
    "--interconnect",
    "interconnect_gbit_per_s",
    type=_POSITIVE,
    default=10.0,
    show_default=True,
    metavar="GBIT_PER_S",
    help="Bandwidth between workers.",
)
@click.option("--gpu-hour", type=_PRICE, default=0.0, metavar="PRICE", help="Price of a GPU hour.")
@click.option(
    "--core-hour", type=_PRICE, default=0.0, metavar="PRICE", help="Price of a CPU core hour."
)
@click.option("--measure-again", is_flag=True, help="Measure even if the rates are known.")
@_json
def plan(job_file: Path, overrides: tuple[str, ...], is_json: bool, **asked: Any) -> None:
    """Forecast time, cost and bottleneck of a pretrain, predict or index job.

    Of a predict or index job, this reads, featurizes and predicts a few hundred rows here. Of a
    pretrain job, it featurizes and trains on a few batches here, once, keeps the measured rates in
    the storage, and forecasts more and more workers.

    To measure a GPU, run it on a machine that has one. There `use_gpu: auto` is taken to mean GPUs;
    elsewhere it means CPUs unless --gpus says how many GPUs there will be. The data set
    must be there: run the jobs that this one needs first.
    """
    from omnimat.job.forecast import forecast
    from omnimat.training.forecast.request import Request

    told = forecast(job_file, overrides, Request(**asked))
    if is_json:
        content = {"forecasts": told.content, "assumptions": told.assumptions}
        click.echo(json.dumps(content, indent=1))
        return
    from rich.console import Console

    Console(width=width()).print(told.table)
    say("\n".join(f"- {line}" for line in told.assumptions))


@main.command()
def schema() -> None:
    """Print the JSON Schema of job files, which editors use to complete and check them."""
    with _uncollected():
        from omnimat.job.schema import json_schema

        click.echo(json.dumps(json_schema(), indent=1))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Never look for garbage in what is imported meanwhile: there is none, and it takes a fifth."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # else it would be looked through at the exit
        if was_enabled:
            gc.enable()


_COMMANDS = (
    *(ingest, init, finetune, leaderboard),
    *(package, models, embed, predict, index, search, screen),
)
for command in _COMMANDS:
    main.add_command(command)
