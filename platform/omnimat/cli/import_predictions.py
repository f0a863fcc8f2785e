"""The command ``omnimat leaderboard import-predictions``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from omnimat.cli.store import open_store, url_option
from omnimat.cli.terminal import say

# \b keeps click from joining the lines of examples.
_EXAMPLE = """\b
Example:
  omnimat leaderboard import-predictions theirs.csv --dataset mine --task hardness \\
      --column predicted="Their model" --citation predicted="They et al. (2024)" \\
      --target-column true --licence CC-BY-4.0 --source-url https://example.org/theirs
"""


def _pairs(
    _context: click.Context, option: click.Parameter, values: Sequence[str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        name, sign, told = value.partition("=")
        if not (name and sign and told):
            raise click.BadParameter(f"{value!r} is not {option.metavar}")
        if name in found:
            raise click.BadParameter(f"{name} is given twice")
        found[name] = told
    return found


_repeated = partial(click.option, multiple=True, callback=_pairs)


@click.command(epilog=_EXAMPLE)
@url_option
@click.argument("path", metavar="FILE")
@click.option("--dataset", required=True, metavar="NAME", help="Data set whose targets judge.")
@click.option(
    "--task",
    "task_name",
    required=True,
    metavar="NAME",
    help="Task of the catalogue, or one that results of the data set have.",
)
@_repeated(
    "--column",
    "models",
    required=True,
    metavar="COLUMN=MODEL",
    help="Column of predictions, and the name of the model. Repeat it for more models.",
)
@click.option(
    "--id-column", default="material_id", show_default=True, metavar="COLUMN", help="Material ids."
)
@_repeated(
    "--where",
    metavar="COLUMN=VALUE",
    help="Take only rows with this value, where a file holds several tasks.",
)
@click.option(
    "--target-column",
    metavar="COLUMN",
    help="Targets, to be held against those of the data set, which alone judge.",
)
@click.option(
    "--target-tolerance",
    type=click.FloatRange(min=0),
    default=1e-4,
    show_default=True,
    help="By how much targets may differ, in the unit of the task.",
)
@click.option(
    "--fold-column",
    metavar="COLUMN",
    help="The fold in whose test part a material was predicted; gives a row for each fold. Without "
    "it, the test split judges.",
)
@click.option(
    "--fold-property",
    metavar="NAME",
    help="Property of the data set that names the folds, if named unlike the column.",
)
@_repeated("--citation", "citations", metavar="COLUMN=TEXT", help="Whom to cite for a model.")
@click.option("--licence", default="", metavar="NAME", help="Licence of the file.")
@click.option("--source-url", default="", metavar="URL", help="Where the file comes from.")
def import_predictions(url: str | None, task_name: str, **told: Any) -> None:
    """Add predictions that others have published, material by material, as rows.

    FILE is CSV, TSV, JSON lines or Parquet. The score of each model is computed here, against the
    targets of the data set; a copy of FILE is kept in the storage, and `verify` computes the rows
    again from it. A row says where its predictions come from, and that nobody here has trained the
    model. What has no prediction, no target or no partner in the data set is counted and told.
    """
    from omnimat.base.workspace import Workspace
    from omnimat.finetune.imported.imports import import_predictions as imported
    from omnimat.finetune.imported.settings import ImportSettings
    from omnimat.finetune.imported.tasks import find_task

    store = open_store(url)
    task = find_task(task_name, told["dataset"], store)
    for line in imported(ImportSettings.told(task=task, **told), Workspace.open(), store):
        say(line)
