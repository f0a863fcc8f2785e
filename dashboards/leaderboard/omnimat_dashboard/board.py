"""All results of one board as a page, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from omnimat.finetune.tasks import note_of
from omnimat.leaderboard.board import Board, BoardCount, Summary
from omnimat.leaderboard.contest import Contest
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

MAX_DOTS = 40  # how many lines the plot has; the table has all


@dataclass(frozen=True, slots=True)
class Line:
    """A result in the table.

    Attributes:
        place: its rank on the whole board, from 1; None for a mean over some of the folds.
        summary: the result.
        extent: what its score is a mean of: ``3 seeds``, ``5 folds``.
        is_hidden: whether the query leaves it out, though the page contains it.
    """

    place: int | None
    summary: Summary
    extent: str
    is_hidden: bool


@dataclass(frozen=True, slots=True)
class BoardPage:
    """One board, which may be of means over folds.

    Attributes:
        contest: what is ranked on it.
        above: the board of the means over folds that this one is a fold of; None for any other.
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
        seen: what pretraining has seen of the tested materials, and the results that tell it.
        published: where imported results come from, and which these are.
        note: what the catalogue of tasks tells beside these results; empty if nothing.
        marks: which results differ from the best.
    """

    contest: Contest
    above: Board | None
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
    seen: Sequence[tuple[str, Sequence[Summary]]]
    published: Sequence[tuple[str, Sequence[Summary]]]
    note: str
    marks: Marks

    @property
    def board(self) -> Board:
        """What the results share."""
        return self.contest.board


def board_page(
    catalogue: Catalogue, marks: Marks, contest: Contest, query: Query, links: Links
) -> BoardPage:
    """Lay out a board."""
    board, everything = contest.board, contest.ranked
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
    best = [one for one in everything if one.group_id in wanted][:MAX_DOTS]
    above = catalogue.means_over(board)
    return BoardPage(
        contest=contest,
        above=None if above is None else above.board,
        scale=Scale.of(board),
        lines=_lines(contest, shown, wanted),
        num_results=len(everything),
        num_found=len(found),
        is_complete=is_complete,
        num_pages=num_pages,
        query=query,
        variants=sorted({one.variant for one in everything}),
        figure=_figure(contest, best, links),
        papers=printed(board),
        tested=_tested(catalogue, contest),
        seen=_told(catalogue.store.overlaps, contest, shown),
        published=_told(catalogue.store.published, contest, shown),
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


def _lines(contest: Contest, shown: Sequence[Summary], wanted: Collection[str]) -> list[Line]:
    places = contest.places
    return [
        Line(places.get(one.group_id), one, contest.extent(one), one.group_id not in wanted)
        for one in shown
    ]


def _figure(contest: Contest, best: Sequence[Summary], links: Links) -> Figure:
    figure = dots(contest.board, best, links)
    extents = [{"extent": contest.extent(one)} for one in best]
    entries = zip(figure["entries"], extents, strict=True)
    return figure | {"entries": [entry | extent for entry, extent in entries]}


def _tested(catalogue: Catalogue, contest: Contest) -> list[int]:
    """Give how many materials each seed of the best result was tested on, in all of its folds."""
    if not contest.ranked:
        return []
    best = contest.ranked[0]
    if best.group_id in contest.means:
        return [best.num_test]
    return sorted({row.num_test for row in catalogue.store.rows(group_id=best.group_id)})


def _told(
    read: Callable[[Iterable[str]], Mapping[str, Sequence[AnyOverlap | Published]]],
    contest: Contest,
    summaries: Sequence[Summary],
) -> list[tuple[str, Sequence[Summary]]]:
    """Read something of results, of means that of their folds, and who tells the same."""
    told = read(part.group_id for one in summaries for part in contest.members(one))
    found: dict[str, dict[str, Summary]] = {}
    for one in summaries:
        for part in contest.members(one):
            for what in told.get(part.group_id, ()):
                found.setdefault(what.sentence, {})[one.group_id] = one
    return [(sentence, list(its.values())) for sentence, its in found.items()]
