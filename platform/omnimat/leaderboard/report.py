"""The leaderboard in the terminal: averages over seeds, best first."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from omnimat.leaderboard.board import Board, Summary

MODEL_WIDTH = 32  # width of the column; longer names are wrapped
MAX_METRICS = 6  # number of metrics in a table; further ones get another table
ID_LENGTH = 8  # enough to distinguish the results of a table


def is_variation(summary: Summary) -> bool:
    """Return whether a metric is a variation of another one, such as ``top-1, merged``."""
    return ", " in summary.board.metric


def terminal_table(summaries: Sequence[Summary]) -> Table:
    """Lay out summaries for the terminal: one column per metric, one table per set of metrics."""
    page = Table.grid(padding=(0, 0, 1, 0))
    for boards, lines in _by_metrics(summaries).items():
        # Everything is Text, because rich would read a name in brackets as markup.
        table = Table(title=Text(boards[0].dataset), title_justify="left")
        table.add_column("Task", overflow="fold", no_wrap=True)
        table.add_column("Model", overflow="fold", min_width=MODEL_WIDTH)
        # A line with several metrics shows several results, so it has no single id.
        last = ("Seeds", "Status", "Id") if len(boards) == 1 else ("Seeds", "Status")
        for heading in ("Variant", *(_heading(board) for board in boards), *last):
            table.add_column(heading, no_wrap=True)
        for members in lines:
            first = members[0]
            scores = (summary.score for summary in members)
            verified = all(summary.status == "verified" for summary in members)
            told = (str(first.n), "verified" if verified else "self-reported")
            cells = (first.board.task, first.model, first.variant, *scores, *told)
            ids = (first.group_id[:ID_LENGTH],) if "Id" in last else ()
            table.add_row(*(Text(cell) for cell in (*cells, *ids)))
        page.add_row(table)
    return page


def _heading(board: Board) -> str:
    unit = f" ({board.unit})" if board.unit else ""
    return f"{board.metric}{unit} {'↑' if board.higher_is_better else '↓'}"


def _by_metrics(summaries: Sequence[Summary]) -> dict[tuple[Board, ...], list[list[Summary]]]:
    """Put the metrics of one task, model, variant and configuration on one line.

    Returns:
        The lines for each set of metrics; the key lists the boards of the first such line.
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
    """Return a sort key that orders metrics as people do: top-5 before top-10.

    Metrics of which higher values are better come first.
    """
    parts = re.split(r"(\d+)", summary.board.metric)
    numbers = [(int(part), "") if part.isdigit() else (0, part) for part in parts]
    return not summary.board.higher_is_better, numbers
