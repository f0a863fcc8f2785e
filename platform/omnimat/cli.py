"""The command line: thin, every command one call into a room."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from omnimat import __version__
from omnimat.materials.errors import RunError, UserError

EXIT_RUN_ERROR, EXIT_USER_ERROR = 1, 2
LOG_WIDTH = 180


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


@main.command()
def schema() -> None:
    """Print the JSON Schema of job files, for editors."""
    from omnimat.job.spec import JOB

    click.echo(json.dumps(JOB.json_schema(), indent=1))


@main.group()
def leaderboard() -> None:
    """Show or export results."""


_url = click.option(
    "--url", metavar="URL", help="SQLAlchemy URL; default: leaderboard.sqlite in the storage."
)


@leaderboard.command()
@_url
def show(url: str | None) -> None:
    """Print the leaderboard: mean and standard deviation over seeds."""
    from rich.console import Console

    from omnimat.leaderboard.report import summarize, terminal_table

    rows = _rows(url)
    if not rows:
        click.echo("no results yet; make some with: omnimat run jobs/demo.yaml")
        return
    # Piped into a file or a job's log there is no width to ask for.
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    console.print(terminal_table(summarize(rows)))


@leaderboard.command()
@_url
@click.argument("page", type=click.Path(path_type=Path))
def export(url: str | None, page: Path) -> None:
    """Write the leaderboard as one self-contained HTML PAGE."""
    from omnimat.leaderboard.report import html_page

    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html_page(_rows(url)))
    click.echo(page.resolve())


def _rows(url: str | None) -> list[Any]:
    from omnimat.leaderboard.store import LeaderboardStore
    from omnimat.materials.workspace import Workspace

    return LeaderboardStore(url or Workspace.open().leaderboard_url).rows()


if __name__ == "__main__":  # torchrun starts modules
    main()
