"""What the terminal says beside the rankings: notes, comparisons, and what was seen before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from omnimat.base.characters import escaped
from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.imported import Published
from omnimat.leaderboard.members import ENSEMBLE
from omnimat.leaderboard.overlap import AnyOverlap

if TYPE_CHECKING:
    from omnimat.leaderboard.comparison import Comparison
    from omnimat.leaderboard.marks import Marks

ID_LENGTH = 8  # characters, enough to tell apart what one table shows


def overlaps_text(
    summaries: Sequence[Summary], overlaps: Mapping[str, Sequence[AnyOverlap]]
) -> str:
    """Write what was seen before, a line for all results that tell the same.

    Args:
        summaries: results.
        overlaps: what is known of them, by their ids.

    Returns:
        The lines below their heading; nothing where no result tells anything.
    """
    title = "Seen before, by the account of the rows (verify does not check it):"
    return _accounts(title, summaries, overlaps)


def published_text(
    summaries: Sequence[Summary], published: Mapping[str, Sequence[Published]]
) -> str:
    """Write where imported results come from, as ``overlaps_text`` does."""
    title = "Imported predictions; nobody here has trained these models:"
    return _accounts(title, summaries, published)


def _accounts(
    title: str,
    summaries: Sequence[Summary],
    told: Mapping[str, Sequence[AnyOverlap | Published]],
) -> str:
    about: dict[tuple[str, str], list[Summary]] = {}
    for one in summaries:
        for what in told.get(one.group_id, ()):
            about.setdefault((one.board.dataset, what.sentence), []).append(one)
    lines = [
        f"- {dataset}, {_some(one.board.task for one in its)}, "
        f"{'; '.join(dict.fromkeys(one.model for one in its))}: {sentence}"
        for (dataset, sentence), its in about.items()
    ]
    return "\n".join([title, *(escaped(line, allowed="") for line in lines)]) if lines else ""


def _some(names: Iterable[str]) -> str:
    first, *others = dict.fromkeys(names)
    return f"{first} and {len(others)} more" if others else first


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
    """Explain the signs of ``ranking_tables``: what each stands for, and the numbers behind it."""
    lines = []
    for one in summaries:
        mark = marked[one.board].of.get(one.group_id) if one.board in marked else None
        if mark is not None and mark.kind in {"tied", "unknown"}:
            who = f"{one.model}, {one.variant} ({one.group_id[:ID_LENGTH]})"
            lines.append(f"{one.board.task}, {one.board.metric}: {who} {mark.sentence}")
    if any(marks.of for marks in marked.values()):
        lines.insert(0, "* best, = does not differ from the best, ? not compared with the best")
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
        extent = f"{num_seeds} seed{'s' if num_seeds > 1 else ''}"
        if first.section == ENSEMBLE:
            extent = "one such mean"
        lines.append(f"{name}: {first.model}, {first.variant} ({extent}): {mean:.4g} {first.unit}")
    left_out = f", {comparison.num_not_shared} not in both" if comparison.num_not_shared else ""
    tasks = sorted({row.task for row in comparison.a})
    task = tasks[0] if len(tasks) == 1 else f"{tasks[0]} and {len(tasks) - 1} more"
    lines.append(
        f"{task}, {comparison.a[0].metric} on {paired.num_materials:,} materials{left_out}; "
        "sign-flip test, t test and BCa bootstrap"
    )
    return "\n".join([*lines, comparison.verdict, comparison.scope])


def as_text(name: str, style: str = "") -> Text:
    """Show a name as it is: rich would read brackets as markup, and a terminal obey an escape."""
    return Text(escaped(name, allowed=""), style=style)
