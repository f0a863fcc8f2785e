"""All results of one board, as a page, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.row import Row
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.figures import Figure, dots
from omnimat_dashboard.links import Links
from omnimat_dashboard.papers import Paper, PaperTask, printed
from omnimat_dashboard.query import PAGE_LENGTH, Query
from omnimat_dashboard.text import Scale

MAX_DOTS = 40  # lines of the plot; the table has all


@dataclass(frozen=True, slots=True)
class Line:
    """A result in the table.

    Attributes:
        place: on the whole board, from 1.
        summary: the result.
        is_hidden: in the page, but not among what was asked for.
    """

    place: int
    summary: Summary
    is_hidden: bool


@dataclass(frozen=True, slots=True)
class BoardPage:
    """One board.

    Attributes:
        board: which.
        scale: of its values.
        lines: of the table.
        num_results: on the board.
        num_found: of these, what the query asks for.
        is_complete: whether every result is in the page, so that it sorts and filters by itself.
        num_pages: of what was found.
        query: what was asked for.
        variants: to choose among.
        figure: of the best that were found.
        papers: that print numbers for this task.
        tested: materials, by the rows of the best result.
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


def board_page(catalogue: Catalogue, board: Board, query: Query, links: Links) -> BoardPage:
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
    )


def as_csv(board: Board, summaries: Sequence[Summary]) -> str:
    """Write a line a result, values as stored, in the board's unit."""
    buffer = io.StringIO()
    lines = as_json(board, summaries)
    writer = csv.DictWriter(buffer, _FIELDS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in line.items()} for line in lines)
    return buffer.getvalue()


def as_json(board: Board, summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """Give a record a result, values as stored, in the board's unit."""
    common = {
        "task": board.task,
        "metric": board.metric,
        "unit": board.unit,
        "higher_is_better": board.higher_is_better,
        "dataset": board.dataset,
        "dataset_fingerprint": board.dataset_fingerprint,
        "split_sha256": board.split_sha256,
    }
    return [
        {
            "model": one.model,
            "variant": one.variant,
            "mean": one.mean,
            "std": one.std,
            "n": one.n,
            "seeds": list(one.seeds),
            "status": one.status,
            "newest": one.newest.isoformat(),
            "config_hash": one.config_hash,
            "group_id": one.group_id,
        }
        | common
        for one in summaries
    ]


def row_record(row: Row) -> dict[str, Any]:
    """Give a row with its ids, as the JSON interface shows it."""
    return {"row_id": row.row_id, "group_id": row.group_id} | row.model_dump(mode="json")


_FIELDS = (
    "model",
    "variant",
    "mean",
    "std",
    "n",
    "seeds",
    "status",
    "newest",
    "task",
    "metric",
    "unit",
    "higher_is_better",
    "dataset",
    "dataset_fingerprint",
    "split_sha256",
    "config_hash",
    "group_id",
)


def _cell(value: Any) -> Any:
    """Write a list as words; keep a spreadsheet from reading a name as a formula."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def _tested(catalogue: Catalogue, summaries: Sequence[Summary]) -> list[int]:
    if not summaries:
        return []
    rows = catalogue.store.rows(group_id=summaries[0].group_id)
    return sorted({row.num_test for row in rows})
