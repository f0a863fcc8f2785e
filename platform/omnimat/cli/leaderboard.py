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

    from omnimat.leaderboard.board import Summary
    from omnimat.leaderboard.row import Row
    from omnimat.leaderboard.store import LeaderboardStore
    from omnimat.leaderboard.stored_row import StoredRow

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
@click.option("--folds", "with_folds", is_flag=True, help="Print single folds, not their means.")
@click.option("--no-compare", is_flag=True, help="Read no predictions, so give no signs.")
def show(
    url: str | None, task: str | None, run_name: str | None, with_folds: bool, no_compare: bool
) -> None:
    """Print the leaderboard, with mean and standard deviation over seeds, or over folds.

    Metrics that are variations of another, as "top-1, merged" is of "top-1", are printed only with
    --task. Signs say which results differ from the best of their board, by their predictions.
    """
    from omnimat.base.workspace import Workspace
    from omnimat.leaderboard.comparison import material_scores
    from omnimat.leaderboard.marks import marks_of_contests
    from omnimat.leaderboard.ranking import CHECKS_NOTE, ranking_tables
    from omnimat.leaderboard.report import marks_text
    from omnimat.leaderboard.selection import selected

    store = open_store(url)
    chosen = selected(store, task, run_name, with_folds=with_folds)
    if not chosen.results:
        _say_why_empty(store)
        return
    scores_of = partial(material_scores, storage=Workspace.open().files)
    compared = () if no_compare else chosen.contests
    marked, left_out = marks_of_contests(store, compared, scores_of, MAX_FILES)
    _console().print(ranking_tables(chosen.contests, chosen.ids, marked))
    _print(marks_text(chosen.results, marked))
    if any(one.status != "self-reported" for one in chosen.results):
        _print(CHECKS_NOTE)
    if left_out:
        which = "1 board is" if len(left_out) == 1 else f"{len(left_out)} boards are"
        say(
            f"{which} not compared, which would take more than {MAX_FILES} files; name one with "
            "--task"
        )
    _print_accounts(store, chosen.members)
    if chosen.num_folds:
        say(f"{chosen.num_folds} results of single folds are in these means; see them with --folds")
    if chosen.num_variations:
        num = chosen.num_variations
        say(f"{num} more are of variations of these metrics; show them with --task")


def _print(text: str) -> None:
    """Print lines that a terminal folds at its width."""
    from rich.text import Text

    if text:
        _console().print(Text(escaped(text)))


def _print_accounts(store: LeaderboardStore, results: Sequence[Summary]) -> None:
    """Print what the rows tell of their pretraining and origin, and the notes of their tasks."""
    from omnimat.finetune.tasks import note_of
    from omnimat.leaderboard.report import notes_text, overlaps_text, published_text

    ids = [one.group_id for one in results]
    _print(overlaps_text(results, store.overlaps(ids)))
    _print(published_text(results, store.published(ids)))
    _print(notes_text((one.board.task for one in results), note_of))


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
