"""All results of one board as a page, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from omnimat.finetune.tasks import note_of
from omnimat.leaderboard.board import Board, BoardCount, Summary
from omnimat.leaderboard.exchange import as_cell
from omnimat.leaderboard.imported import Published
from omnimat.leaderboard.marks import Marks
from omnimat.leaderboard.overlap import AnyOverlap
from omnimat.leaderboard.row import Row
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.figures import Figure, dots
from omnimat_dashboard.links import Links
from omnimat_dashboard.papers import Paper, PaperTask, printed
from omnimat_dashboard.query import PAGE_LENGTH, Query
from omnimat_dashboard.text import Scale

T = TypeVar("T")

MAX_DOTS = 40  # how many lines the plot has; the table has all


@dataclass(frozen=True, slots=True)
class Line:
    """A result in the table.

    Attributes:
        place: its rank on the whole board, from 1.
        summary: the result.
        is_hidden: whether the query leaves it out, though the page contains it.
    """

    place: int
    summary: Summary
    is_hidden: bool


@dataclass(frozen=True, slots=True)
class BoardPage:
    """One board.

    Attributes:
        board: the board.
        scale: how its values are written.
        lines: the lines of the table.
        num_results: how many results the board has.
        num_found: how many of them the query asks for.
        is_complete: whether the page contains every result, so that it can sort and filter itself.
        num_pages: how many pages the found results fill.
        query: what was asked for.
        variants: the variants to choose among.
        figure: a plot of the best results that were found.
        papers: the papers that print numbers for this task.
        tested: how many materials were tested, according to the rows of the best result.
        seen: what pretraining has seen of the tested materials, by the results on this page.
        published: where imported results on this page come from.
        note: what the catalogue of tasks tells beside these results; empty if nothing.
        marks: which results differ from the best.
    """

    board: Board
    scale: Scale
    lines: Sequence[Line]
    num_results: int
    num_found: int
    is_complete: bool
    num_pages: int
    query: Query
    variants: Sequence[str]
    figure: Figure
    papers: Sequence[tuple[Paper, PaperTask]]
    tested: Sequence[int]
    seen: Sequence[tuple[Summary, AnyOverlap]]
    published: Sequence[tuple[Summary, Published]]
    note: str
    marks: Marks


def board_page(
    catalogue: Catalogue, marks: Marks, board: Board, query: Query, links: Links
) -> BoardPage:
    """Lay out a board."""
    everything = catalogue.of_board(board)
    found = query.chosen(everything)
    is_complete = len(everything) <= PAGE_LENGTH or links.is_static
    wanted = {one.group_id for one in found}
    if is_complete:
        rest = [one for one in everything if one.group_id not in wanted]
        shown, num_pages = [*found, *rest], 1
    else:
        num_pages = max(1, -(-len(found) // PAGE_LENGTH))
        start = (min(query.page, num_pages) - 1) * PAGE_LENGTH
        shown = found[start : start + PAGE_LENGTH]
    places = {one.group_id: place for place, one in enumerate(everything, start=1)}
    best = sorted(found, key=lambda one: places[one.group_id])[:MAX_DOTS]
    return BoardPage(
        board=board,
        scale=Scale.of(board),
        lines=[Line(places[o.group_id], o, o.group_id not in wanted) for o in shown],
        num_results=len(everything),
        num_found=len(found),
        is_complete=is_complete,
        num_pages=num_pages,
        query=query,
        variants=sorted({one.variant for one in everything}),
        figure=dots(board, best, links),
        papers=printed(board),
        tested=_tested(catalogue, everything),
        seen=_told(catalogue.store.overlaps, shown),
        published=_told(catalogue.store.published, shown),
        note=note_of(board.task),
        marks=marks,
    )


def as_csv(summaries: Sequence[Summary]) -> str:
    """Write a line for each result; values are as stored, in the unit of their board."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _FIELDS)
    writer.writeheader()
    for line in as_json(summaries):
        cells = {name: as_cell(value) for name, value in line.items()}
        writer.writerow(cells | {"seeds": " ".join(map(str, line["seeds"]))})
    return buffer.getvalue()


def as_json(found: Sequence[Summary | BoardCount]) -> list[dict[str, Any]]:
    """Give a record for each result or board; values are as stored, in the unit of their board."""
    records = []
    for one in found:
        record = asdict(one)
        board = record.pop("board")
        records.append(record | board | {"newest": one.newest.isoformat()})
    return records


def row_record(row: Row) -> dict[str, Any]:
    """Give a row with its ids, as the JSON interface shows it."""
    return {"row_id": row.row_id, "group_id": row.group_id} | row.model_dump(mode="json")


_FIELDS = [one.name for kind in (Summary, Board) for one in fields(kind) if one.name != "board"]


def _tested(catalogue: Catalogue, summaries: Sequence[Summary]) -> list[int]:
    if not summaries:
        return []
    rows = catalogue.store.rows(group_id=summaries[0].group_id)
    return sorted({row.num_test for row in rows})


def _told(
    read: Callable[[Iterable[str]], Mapping[str, Sequence[T]]], summaries: Sequence[Summary]
) -> list[tuple[Summary, T]]:
    """Read something of results, and lay it out in their order."""
    told = read(one.group_id for one in summaries)
    return [(one, what) for one in summaries for what in told.get(one.group_id, ())]
