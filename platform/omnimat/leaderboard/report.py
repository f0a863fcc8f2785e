"""Results and comparisons for the terminal."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from omnimat.base.characters import escaped
from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.folds import FoldMean
from omnimat.leaderboard.imported import Published
from omnimat.leaderboard.overlap import PretrainingOverlap
from omnimat.leaderboard.row import STATUSES

if TYPE_CHECKING:
    from omnimat.leaderboard.comparison import Comparison
    from omnimat.leaderboard.marks import Mark, Marks

MODEL_WIDTH = 32  # characters; a longer name takes more lines
MAX_METRICS = 6  # in one table; further metrics get a table of their own
ID_LENGTH = 8  # characters, enough to tell apart what one table shows
SIGNS = {"best": " *", "tied": " =", "unknown": " ?"}


def is_variation(summary: Summary) -> bool:
    """Tell whether a metric is another one counted in a different way, as ``top-1, merged`` is."""
    return ", " in summary.board.metric


def terminal_table(summaries: Sequence[Summary], given: Mapping[str, Mark]) -> Table:
    """Lay out summaries: a column for each metric, one table for tasks with the same metrics.

    Args:
        summaries: the results.
        given: marks by group id, whose signs follow the scores.
    """
    page = Table.grid(padding=(0, 0, 1, 0))
    for boards, lines in _by_metrics(summaries).items():
        table = Table(title=_text(boards[0].dataset), title_justify="left")
        table.add_column("Task", overflow="fold", no_wrap=True)
        table.add_column("Model", overflow="fold", min_width=MODEL_WIDTH)
        # A line with several metrics is several results, so it has no id of its own.
        last = ("Seeds", "Status", "Id") if len(boards) == 1 else ("Seeds", "Status")
        for heading in ("Variant", *(_heading(board) for board in boards), *last):
            table.add_column(_text(heading), no_wrap=True)
        for members in lines:
            first = members[0]
            scores = (one.score + _sign(given.get(one.group_id)) for one in members)
            told = (str(first.n), _least_status(members))
            cells = (first.board.task, first.model, first.variant, *scores, *told)
            ids = (first.group_id[:ID_LENGTH],) if "Id" in last else ()
            table.add_row(*(_text(cell) for cell in (*cells, *ids)))
        page.add_row(table)
    return page


def folds_table(means: Sequence[FoldMean]) -> Table:
    """Lay out means over folds; they are comparable where all folds are there."""
    table = Table(title=Text("Mean ± deviation over folds"), title_justify="left")
    table.add_column("Task", overflow="fold", no_wrap=True)
    table.add_column("Model", overflow="fold", min_width=MODEL_WIDTH)
    for heading in ("Data set", "Variant", "Metric", "Mean", "Folds", "Seeds", "Id"):
        table.add_column(heading, no_wrap=True)
    for mean in means:
        first = mean.members[0]
        folds = f"{len(mean.members)} of {mean.num_folds} ({mean.fold_property})"
        of_method = (mean.task, first.model, first.board.dataset, first.variant)
        ids = mean.mean_id[:ID_LENGTH]
        cells = (*of_method, _heading(first.board), mean.score, folds, mean.seeds, ids)
        table.add_row(*(_text(cell) for cell in cells))
    return table


def overlaps_table(
    summaries: Sequence[Summary], overlaps: Mapping[str, Sequence[PretrainingOverlap]]
) -> Table | None:
    """Lay out what was seen in pretraining, a line for all tasks of a model that tell the same.

    Args:
        summaries: results.
        overlaps: what is known of them, by their ids.

    Returns:
        The table; None where no result tells anything.
    """
    title = "Seen in pretraining, by the account of the rows (verify does not check it)"
    return _sentences_table(title, "Seen", summaries, overlaps)


def published_table(
    summaries: Sequence[Summary], published: Mapping[str, Sequence[Published]]
) -> Table | None:
    """Lay out where imported results come from, as ``overlaps_table`` does."""
    title = "Imported predictions; nobody here has trained these models"
    return _sentences_table(title, "From", summaries, published)


def _sentences_table(
    title: str,
    heading: str,
    summaries: Sequence[Summary],
    told: Mapping[str, Sequence[PretrainingOverlap | Published]],
) -> Table | None:
    tasks: dict[tuple[str, ...], list[str]] = {}
    for one in summaries:
        for what in told.get(one.group_id, ()):
            key = one.board.dataset, one.model, one.variant, what.sentence
            tasks.setdefault(key, []).append(one.board.task)
    table = Table(title=Text(title), title_justify="left")
    for name in ("Data set", "Model", "Variant", "Tasks", heading):
        table.add_column(name, overflow="fold")
    for (dataset, model, variant, sentence), named in tasks.items():
        first, *others = dict.fromkeys(named)
        of = f"{first} and {len(others)} more" if others else first
        table.add_row(*(_text(cell) for cell in (dataset, model, variant, of, sentence)))
    return table if tasks else None


def notes_text(tasks: Iterable[str], note_of: Callable[[str], str]) -> str:
    """Write the notes of tasks, each once, after the tasks that it is about.

    Args:
        tasks: their names on the leaderboard.
        note_of: gives the note of a task; empty where there is none.
    """
    about: dict[str, list[str]] = {}
    for task in dict.fromkeys(tasks):
        if note := note_of(task):
            about.setdefault(note, []).append(task)
    return "\n".join(
        f"{named[0]}{f' and {len(named) - 1} more' * (len(named) > 1)}: {note}"
        for note, named in about.items()
    )


def marks_text(summaries: Sequence[Summary], marked: Mapping[Board, Marks]) -> str:
    """Explain the signs of ``terminal_table``: what each stands for, and the numbers behind it."""
    lines = []
    for one in summaries:
        mark = marked[one.board].of.get(one.group_id) if one.board in marked else None
        if mark is not None and mark.kind in {"tied", "unknown"}:
            who = f"{one.model}, {one.variant} ({one.group_id[:ID_LENGTH]})"
            lines.append(f"{one.board.task}, {one.board.metric}: {who} {mark.sentence}")
    if any(marks.of for marks in marked.values()):
        lines.insert(0, "* best   = does not differ from the best   ? not compared with the best")
    notes: dict[str, list[str]] = defaultdict(list)
    for board, marks in marked.items():
        if marks.note:
            notes[marks.note].append(f"{board.task}, {board.metric}")
    for note, boards in notes.items():
        which = boards[0] if len(boards) == 1 else f"{len(boards)} boards"
        lines.append(f"{which}: {note}")
    return "\n".join(lines)


def comparison_text(comparison: Comparison) -> str:
    """Say what the two results are, how they were compared, and what came of it."""
    paired = comparison.paired
    lines = []
    for name, rows, num_seeds, mean in (
        ("A", comparison.a, paired.num_seeds[0], paired.mean_a),
        ("B", comparison.b, paired.num_seeds[1], paired.mean_b),
    ):
        first = rows[0]
        seeds = f"{num_seeds} seed{'s' if num_seeds > 1 else ''}"
        lines.append(f"{name}: {first.model}, {first.variant} ({seeds}): {mean:.4g} {first.unit}")
    left_out = f", {comparison.num_not_shared} not in both" if comparison.num_not_shared else ""
    tasks = sorted({row.task for row in comparison.a})
    task = tasks[0] if len(tasks) == 1 else f"{tasks[0]} and {len(tasks) - 1} more"
    lines.append(
        f"{task}, {comparison.a[0].metric} on {paired.num_materials:,} materials{left_out}; "
        "sign-flip test, t test and BCa bootstrap"
    )
    return "\n".join([*lines, comparison.verdict, comparison.scope])


def _sign(mark: Mark | None) -> str:
    return "" if mark is None else SIGNS.get(mark.kind, "")


def _least_status(members: Sequence[Summary]) -> str:
    return min((one.status for one in members), key=lambda s: STATUSES.index(s.replace("-", "_")))


def _text(name: str) -> Text:
    """Show a name as it is: rich would read brackets as markup, and a terminal obey an escape."""
    return Text(escaped(name, allowed=""))


def _heading(board: Board) -> str:
    unit = f" ({board.unit})" if board.unit else ""
    return f"{board.metric}{unit} {'↑' if board.higher_is_better else '↓'}"


def _by_metrics(summaries: Sequence[Summary]) -> dict[tuple[Board, ...], list[list[Summary]]]:
    """Put the metrics of one task, model, variant and configuration on one line.

    Returns:
        The lines by their metrics, which the boards of the first task stand for.
    """
    lines: dict[tuple[str, ...], list[Summary]] = defaultdict(list)
    for one in sorted(summaries, key=_natural_metric):
        board = one.board
        split = (board.dataset, board.dataset_fingerprint, board.split_sha256)
        lines[(*split, board.task, one.model, one.variant, one.config_hash)].append(one)
    tables: dict[tuple[tuple[str, ...], ...], list[list[Summary]]] = defaultdict(list)
    places = {summary: place for place, summary in enumerate(summaries)}
    for key, members in sorted(lines.items(), key=lambda item: places[item[1][0]]):
        for first in range(0, len(members), MAX_METRICS):
            part = members[first : first + MAX_METRICS]
            tables[(key[:3], tuple(_heading(one.board) for one in part))].append(part)
    return {tuple(one.board for one in table[0]): table for table in tables.values()}


def _natural_metric(summary: Summary) -> tuple[bool, list[tuple[int, str]]]:
    """Order metrics as people do: scores before ranks, and top-5 before top-10."""
    parts = re.split(r"(\d+)", summary.board.metric)
    numbers = [(int(part), "") if part.isdigit() else (0, part) for part in parts]
    return not summary.board.higher_is_better, numbers
