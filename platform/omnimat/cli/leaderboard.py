"""The commands of ``omnimat leaderboard``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimat.base.characters import escaped
from omnimat.base.errors import UserError
from omnimat.cli.import_predictions import import_predictions
from omnimat.cli.store import open_store, places_of, url_option
from omnimat.cli.terminal import say, width

if TYPE_CHECKING:
    from rich.console import Console

    from omnimat.leaderboard.row import Row
    from omnimat.leaderboard.store import LeaderboardStore, StoredRow

EXIT_CHECK_FAILED = 1
MAX_FILES = 300  # of predictions, which `show` reads to compare results
NO_RESULTS = "no results yet; make some with: omnimat run jobs/demo.yaml"


@click.group()
def leaderboard() -> None:
    """Show, verify, compare and exchange results."""


leaderboard.add_command(import_predictions)

_task = click.option("--task", metavar="NAME", help="Only results of this task.")
_run = click.option("--run", "run_name", metavar="NAME", help="Only results of this run.")


@leaderboard.command()
@url_option
@_task
@_run
@click.option("--no-compare", is_flag=True, help="Read no predictions, so give no signs.")
def show(url: str | None, task: str | None, run_name: str | None, no_compare: bool) -> None:
    """Print the leaderboard, with mean and standard deviation over seeds.

    Metrics that are variations of another, as "top-1, merged" is of "top-1", are printed only with
    --task. Signs say which results differ from the best of their board, by their predictions.
    """
    from rich.text import Text

    from omnimat.base.workspace import Workspace
    from omnimat.finetune.tasks import note_of
    from omnimat.leaderboard.comparison import material_scores
    from omnimat.leaderboard.folds import fold_means
    from omnimat.leaderboard.marks import marks_of_boards
    from omnimat.leaderboard.report import (
        folds_table,
        is_variation,
        marks_text,
        notes_text,
        overlaps_table,
        published_table,
        terminal_table,
    )

    store = open_store(url)
    found = store.summaries(task=task, run_name=run_name)
    if not found:
        _say_why_empty(store)
        return
    shown = [one for one in found if task or not is_variation(one)]
    boards = dict.fromkeys(one.board for one in shown)
    scores_of = partial(material_scores, storage=Workspace.open().files)
    compared = () if no_compare else boards
    marked, left_out = marks_of_boards(store, compared, scores_of, MAX_FILES)
    given = {group_id: mark for marks in marked.values() for group_id, mark in marks.of.items()}
    _console().print(terminal_table(shown, given))
    if told := marks_text(shown, marked):
        _console().print(Text(escaped(told)))
    if left_out:
        which = "1 board is" if len(left_out) == 1 else f"{len(left_out)} boards are"
        say(
            f"{which} not compared, which would take more than {MAX_FILES} files; name one with "
            "--task"
        )
    if means := fold_means(shown, store.configs(one.config_hash for one in shown)):
        _console().print(folds_table(means))
    ids = [one.group_id for one in shown]
    for table in (
        overlaps_table(shown, store.overlaps(ids)),
        published_table(shown, store.published(ids)),
    ):
        if table:
            _console().print(table)
    if note := notes_text((one.board.task for one in shown), note_of):
        _console().print(Text(escaped(note)))
    if len(shown) < len(found):
        num_left = len(found) - len(shown)
        say(f"{num_left} more are of variations of these metrics; show them with --task")


def _sample_size(_context: click.Context, _option: click.Parameter, value: str) -> int | None:
    if value == "all":
        return None
    if not value.isdecimal() or not int(value):
        raise click.BadParameter(f"{value!r} is no number of materials; write one, or all")
    return int(value)


@leaderboard.command()
@url_option
@_task
@_run
@click.option("--all", "show_all", is_flag=True, help="Print the rows that hold as well.")
@click.option(
    "--rerun", is_flag=True, help="Also run the checkpoints again, and mark what they reproduce."
)
@click.option(
    "--sample",
    metavar="N|all",
    default="64",
    show_default=True,
    callback=_sample_size,
    help="How many materials of each row --rerun runs, drawn anew each time.",
)
@click.option(
    "--allow-missing", is_flag=True, help="End with 0 although files of some rows are missing."
)
def verify(
    url: str | None,
    task: str | None,
    run_name: str | None,
    show_all: bool,
    rerun: bool,
    sample: int | None,
    allow_missing: bool,
) -> None:
    """Compute every value again from the predictions, the split and the data set.

    Rows that hold are marked as recomputed, or with --rerun as reproduced. The exit code is 1 if a
    check fails, or cannot be made because something is missing.
    """
    from tqdm import tqdm

    from omnimat.base.workspace import Workspace
    from omnimat.cli.recomputation import recomputation
    from omnimat.cli.recomputation import rerun as rerun_of
    from omnimat.verification.report import outcome_table, tally
    from omnimat.verification.rerun import Sample
    from omnimat.verification.verify import verify as verify_rows

    def shown(rows: Sequence[StoredRow]) -> Iterable[StoredRow]:
        return tqdm(rows, "verifying", leave=False, disable=None)  # shown in a terminal alone

    store = open_store(url)
    store.check_writable()
    outcomes = verify_rows(
        store,
        Workspace.open().files,
        recomputation,
        reruns=(lambda section: rerun_of(section, Sample(sample))) if rerun else None,
        task=task,
        run_name=run_name,
        track=shown,
    )
    if not outcomes:
        _say_why_empty(store)
        return
    wanted = [one for one in outcomes if show_all or one.sentences or one.is_not_rerun]
    if wanted:
        _console().print(outcome_table(wanted))
    say(tally(outcomes))
    bad = {"failed", "tampered"} | (set() if allow_missing else {"unverifiable"})
    if any(one.verdict in bad for one in outcomes):
        sys.exit(EXIT_CHECK_FAILED)


@leaderboard.command()
@url_option
@click.argument("group_a")
@click.argument("group_b")
def compare(url: str | None, group_a: str, group_b: str) -> None:
    """Say whether two results differ by more than their test materials and seeds explain.

    GROUP_A and GROUP_B are ids that `show` prints, of results or of means over folds, or beginnings
    of ids that no other has. Of means, the materials of all folds are compared.
    """
    from omnimat.base.workspace import Workspace
    from omnimat.leaderboard.comparison import compare as compare_rows
    from omnimat.leaderboard.report import comparison_text

    store = open_store(url)
    comparison = compare_rows(
        _group(store, group_a), _group(store, group_b), Workspace.open().files
    )
    say(comparison_text(comparison))


@leaderboard.command()
@url_option
@click.argument("ids", nargs=-1, required=True)
def remove(url: str | None, ids: tuple[str, ...]) -> None:
    """Take results off the leaderboard, so that others may be written in their place.

    IDS are ids of results, which `show` prints, or of single rows, or beginnings of ids that no
    other has. The files of the runs remain.
    """
    store = open_store(url)
    for one in ids:
        say(f"removed {_rows(store.remove(one))} of {one}")


@leaderboard.command()
@url_option
@click.argument("path", type=click.Path(path_type=Path))
def export(url: str | None, path: Path) -> None:
    """Write all rows to PATH.json or PATH.csv, or the pages of the dashboard to the folder PATH.

    The JSON file is complete and can be imported elsewhere. The folder can be put on any web
    server.
    """
    from upath import UPath

    from omnimat.base.files import write_atomically
    from omnimat.leaderboard.exchange import to_csv, to_json

    written = {".json": to_json, ".csv": to_csv}
    if path.suffix in written:
        text = written[path.suffix](open_store(url).rows())
        write_atomically(UPath(path.absolute()), text.encode())
    else:
        from omnimat_dashboard import write_site

        write_site(*places_of(url), path)
    say(str(path.resolve()))


@leaderboard.command(name="import")
@url_option
@click.argument("path", type=click.Path(path_type=Path))
def import_(url: str | None, path: Path) -> None:
    """Add the rows of an exported JSON file, none of which counts as checked yet."""
    from omnimat.leaderboard.exchange import from_json

    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    rows = from_json(text, str(path))
    open_store(url).upsert(rows)
    say(f"added {_rows(len(rows))}; verify with: omnimat leaderboard verify")


@leaderboard.command()
@url_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8600,
    show_default=True,
    help="Port to listen on; 0 for any that is free.",
)
@click.option(
    "--token",
    envvar="OMNIMAT_LEADERBOARD_TOKEN",
    help="Whoever sends this token may write. Better set it as $OMNIMAT_LEADERBOARD_TOKEN, where "
    "other users of the machine cannot see it.",
)
def serve(url: str | None, host: str, port: int, token: str | None) -> None:
    """Serve the dashboard; without a token, nobody can write to it."""
    from omnimat_dashboard import serve as serve_pages

    serve_pages(*places_of(url), host, port, token)


def _rows(number: int) -> str:
    return f"{number} row{'s' * (number != 1)}"


def _group(store: LeaderboardStore, prefix: str) -> list[Row]:
    """Give the rows of a result, or those of all folds of a mean."""
    from omnimat.leaderboard.folds import fold_means

    summaries = store.summaries()
    means = fold_means(summaries, store.configs(one.config_hash for one in summaries))
    found = [[group_id] for group_id in store.group_ids(prefix)] + [
        [one.group_id for one in mean.members] for mean in means if mean.mean_id.startswith(prefix)
    ]
    if len(found) != 1:
        which = f"begins the ids of {len(found)} results" if found else "begins the id of no result"
        raise UserError(f"{prefix!r} {which}; `omnimat leaderboard show` prints the ids")
    return [row for group_id in found[0] for row in store.rows(group_id=group_id)]


def _say_why_empty(store: LeaderboardStore) -> None:
    tasks = sorted({count.board.task for count in store.boards()})
    say(f"no such results; the tasks are: {', '.join(tasks)}" if tasks else NO_RESULTS)


def _console() -> Console:
    from rich.console import Console

    return Console(width=width())
