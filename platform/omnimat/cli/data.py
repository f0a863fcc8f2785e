"""The commands by which a user's own files become a data set, and a data set its first jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimat.base.errors import UserError
from omnimat.cli.terminal import say, width

if TYPE_CHECKING:
    from omnimat.job.drafts.holdings import Holdings
    from omnimat.job.drafts.ingest import Disorder, SplitDraft
    from omnimat.job.drafts.look import LabelsLook, Look

_OPTIONS = (
    click.option(
        "--labels", metavar="FILE", help="Table of labels: CSV, TSV, Parquet or JSON lines."
    ),
    click.option(
        "--id",
        "id_column",
        metavar="COLUMN",
        show_default="the column that names most materials",
        help="Column of FILE, or of the materials' table, that names the materials.",
    ),
    click.option(
        "--name", metavar="NAME", show_default="that of the path", help="Name of the data set."
    ),
    click.option(
        "--split",
        "split_column",
        metavar="COLUMN",
        show_default="drawn by a hash of the formula",
        help="Column of either table that says train, validation or test.",
    ),
    click.option(
        "--disorder",
        type=click.Choice(["refuse", "nearest_ordered"]),
        default="refuse",
        show_default=True,
        help="What becomes of crystals with partially occupied sites.",
    ),
)


def of_materials(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say how files become a data set."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


# \b keeps click from joining the lines of examples.
_INGEST_EXAMPLES = """\b
Examples:
  omnimat ingest crystals/ --labels measured.csv
  omnimat ingest 'calculations/**/CONTCAR' --name relaxed
  omnimat ingest oxides.csv --id mp_id --split fold
"""


@click.command(epilog=_INGEST_EXAMPLES)
@click.argument("path")
@of_materials
@click.option(
    "--job-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="NAME.yaml",
    help="Where to write the job file that does the same.",
)
def ingest(
    path: str,
    labels: str | None,
    id_column: str | None,
    name: str | None,
    split_column: str | None,
    disorder: Disorder,
    job_file: Path | None,
) -> None:
    """Make a data set of the crystals in PATH: a folder, a file, a pattern or a table.

    Says what it finds there, writes a job file of it and runs that. It asks nothing.
    """
    asked = Asked(path, labels, id_column, split_column, name, disorder, job_file)
    _say_next(ingested(asked, looked(asked)))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user says of the materials that become a data set; ``ingest`` explains it."""

    path: str
    labels: str | None
    id_column: str | None
    split_column: str | None
    name: str | None
    disorder: Disorder
    job_file: Path | None = None


def ingested(asked: Asked, looks: tuple[Look, LabelsLook | None]) -> Holdings:
    """Write the job file of what was found, run it, and say what came of it."""
    from omnimat.job.drafts.ingest import ingest_draft, sample, settings_of, told_sample
    from omnimat.job.drafts.look import default_name
    from omnimat.job.drafts.text import check_free, write_job_file

    column = asked.split_column
    split = None if column is None else _split(column, asked.path, asked.labels)
    name = checked_name(asked.name or default_name(asked.path))
    job_file = asked.job_file or Path(f"{name}.yaml")
    text = ingest_draft(name, *looks, split, asked.disorder)
    check_free(job_file, text, "name another with --job-file or --name, or remove it")
    say("\n".join(told_sample(sample(settings_of(text)))))
    write_job_file(job_file, text)
    say(f"wrote {job_file}, which does the same: omnimat run {job_file}")
    return _run(job_file, name)


_INIT_EXAMPLES = """\b
Examples:
  omnimat init crystals
  omnimat init crystals --target density_g_per_cm3 --to jobs/crystals
"""


@click.command(epilog=_INIT_EXAMPLES)
@click.argument("dataset")
@click.option(
    "--target",
    metavar="LABEL",
    show_default="the label that most records have",
    help="What to predict.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    show_default="this folder",
    help="Where to write the files.",
)
def init(dataset: str, target: str | None, folder: Path) -> None:
    """Write the first job files for a data set: ingest.yaml, pretrain.yaml and finetune.yaml.

    They are filled in for what the data set holds. A comment beside each choice says what it is and
    when to change it.
    """
    from omnimat.base.workspace import Workspace
    from omnimat.job.drafts.files import first_jobs
    from omnimat.job.drafts.text import check_free, write_job_file

    files = first_jobs(Workspace.open(), dataset, target)
    for name, text in files.items():
        check_free(folder / name, text, "choose another folder with --to, or remove it")
    for name, text in files.items():
        write_job_file(folder / name, text)
        say(f"wrote {folder / name}")
    if "ingest.yaml" not in files:
        say(f"no ingest.yaml: data set {dataset} does not tell all settings it was made with")
    say(f"Next: omnimat run {folder / 'finetune.yaml'}, and then omnimat leaderboard show")


def looked(asked: Asked) -> tuple[Look, LabelsLook | None]:
    """Look at the materials and their labels, and say what is there."""
    from omnimat.job.drafts.ingest import told_labels, told_look
    from omnimat.job.drafts.look import look_at, look_at_labels

    look = look_at(asked.path, None if asked.labels else asked.id_column)
    say("\n".join(told_look(look)))
    if asked.labels is None:
        if look.table is None and (asked.id_column or asked.split_column):
            raise UserError("--id and --split name columns of a table; give one with --labels FILE")
        return look, None
    labels_look = look_at_labels(asked.labels, look, asked.id_column, asked.split_column)
    say("\n".join(told_labels(labels_look, look)))
    return look, labels_look


def _split(column: str, path: str, labels: str | None) -> SplitDraft:
    from omnimat.job.drafts.ingest import split_draft
    from omnimat.job.drafts.look import split_values

    return split_draft(column, split_values(labels or path, column), labels is not None)


def checked_name(name: str) -> str:
    """Refuse a name that no data set and no run may have.

    Raises:
        UserError: it may not.
    """
    from pydantic import ValidationError

    from omnimat.job.header import JobHeader

    try:
        return JobHeader(name=name).name
    except ValidationError:
        raise UserError(
            f"--name {name!r}: a name has letters, digits, '_', '.' and '-', and begins with a "
            "letter or digit"
        ) from None


def _run(job_file: Path, name: str) -> Holdings:
    """Run the job file, and say what came of it."""
    from rich.console import Console

    from omnimat.base.workspace import Workspace
    from omnimat.job.drafts.holdings import holdings
    from omnimat.job.drafts.kept import keep
    from omnimat.job.drafts.overview import overview
    from omnimat.job.run import run
    from omnimat.shards.manifest import Manifest

    run(job_file)
    workspace = Workspace.open()
    keep(job_file, workspace, name)
    held = holdings(workspace, name)
    num_failures = Manifest.load(workspace.dataset(name)).num_failures
    Console(width=width()).print(overview(held, num_failures))
    return held


def _say_next(held: Holdings) -> None:
    from omnimat.job.drafts.pretrain import run_name

    name = held.name
    steps = {
        f"omnimat init {name}": "writes pretrain.yaml and finetune.yaml",
        "omnimat run finetune.yaml": "and before it pretrain.yaml",
    }
    if "structure" in held.views:
        steps[f"omnimat search {run_name(name)} FILE"] = "materials nearest to a crystal of yours"
    say("Next:")
    for command, remark in steps.items():
        say(f"  {command:<44}  # {remark}")
