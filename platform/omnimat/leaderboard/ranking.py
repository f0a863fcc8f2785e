"""Rankings for the terminal: a table for each metric, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from omnimat.leaderboard.board import Board, Summary, untold_variant
from omnimat.leaderboard.contest import Contest
from omnimat.leaderboard.report import ID_LENGTH, as_text
from omnimat.leaderboard.scale import Scale

if TYPE_CHECKING:
    from omnimat.leaderboard.marks import Marks

SIGNS = {"best": "*", "tied": "=", "unknown": "?"}
CHECKS = {"recomputed": "✓", "reproduced": "✓✓"}
CHECKS_NOTE = "✓ recomputed from its files, ✓✓ made again by its checkpoints too"
_STYLES = {"best": "bold green", "tied": "green", "unknown": "yellow"}


@dataclass(frozen=True, slots=True)
class _Line:
    place: int
    one: Summary
    extent: str
    is_whole: bool
    kind: str


def is_variation(board: Board) -> bool:
    """Tell whether a metric is another one counted in a different way, as ``top-1, merged`` is."""
    return ", " in board.metric


def ranking_tables(
    contests: Sequence[Contest], wanted: Collection[str], marked: Mapping[Board, Marks]
) -> Group:
    """Lay out rankings: a table for each metric of a data set, with its tasks one after another.

    Args:
        contests: the rankings.
        wanted: the ids of the results that are shown; each keeps its place among all.
        marked: the marks of boards, whose signs follow the scores.
    """
    tables: dict[tuple[str, ...], list[Contest]] = {}
    for contest in contests:
        if any(one.group_id in wanted for one in contest.ranked):
            tables.setdefault(_shared(contest.board), []).append(contest)
    return Group(*(_table(of_metric, wanted, marked) for of_metric in tables.values()))


def _shared(board: Board) -> tuple[str, ...]:
    split = (board.dataset, board.dataset_fingerprint, board.split_sha256)
    return (*split, board.metric, board.unit, str(board.higher_is_better))


def _table(
    contests: Sequence[Contest], wanted: Collection[str], marked: Mapping[Board, Marks]
) -> Table:
    first = contests[0].board
    scale = Scale.of(first)
    table = Table(title=_title(first, scale), title_justify="left", title_style="", box=None)
    table.add_column("#", justify="right", style="dim")
    table.add_column("Model", overflow="fold", ratio=1)
    table.add_column(f"{scale.metric} {scale.arrow}", justify="right", no_wrap=True)
    for heading in ("", "Mean of", "✓", "Id"):
        table.add_column(heading, no_wrap=True)
    for contest in contests:
        table.add_row("", Text.assemble(as_text(contest.board.task), style="bold"))
        for line in _lines(contest, wanted, marked.get(contest.board)):
            table.add_row(*_cells(line, scale))
    table.add_row()
    return table


def _title(board: Board, scale: Scale) -> Text:
    return Text.assemble(as_text(f"{board.dataset}: {scale.label}", "bold"), f", {scale.direction}")


def _lines(contest: Contest, wanted: Collection[str], marks: Marks | None) -> list[_Line]:
    of = {} if marks is None else marks.of
    return [
        _Line(
            place=place,
            one=one,
            extent=contest.extent(one),
            is_whole=contest.is_whole(one),
            kind=of[one.group_id].kind if one.group_id in of else "",
        )
        for place, one in enumerate(contest.ranked, start=1)
        if one.group_id in wanted
    ]


def _cells(line: _Line, scale: Scale) -> list[Text]:
    one, style = line.one, _STYLES.get(line.kind, "")
    variant = untold_variant(one.model, one.variant)
    return [
        Text(str(line.place) if line.is_whole else "-"),
        Text.assemble(as_text(one.model, style), as_text(f", {variant}" if variant else "", "dim")),
        as_text(scale.of_summary(one), style),
        Text(SIGNS.get(line.kind, ""), style=style),
        Text(line.extent, style="" if line.is_whole else "yellow"),
        Text(CHECKS.get(one.status, ""), style="green"),
        Text(one.group_id[:ID_LENGTH], style="dim"),
    ]
