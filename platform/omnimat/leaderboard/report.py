"""The leaderboard for people: seeds averaged, best first, in the terminal or as one HTML page."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs
from rich.table import Table
from rich.text import Text

from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.columns import board_of
from omnimat.leaderboard.row import Row

MODEL_WIDTH = 32  # of the terminal's column; a longer name takes more lines
ID_LENGTH = 8  # enough to tell apart what one table shows


def terminal_table(summaries: Sequence[Summary]) -> Table:
    """Lay summaries out for the terminal: a column a metric, a table for tasks measured alike."""
    page = Table.grid(padding=(0, 0, 1, 0))
    for boards, lines in _by_metrics(summaries).items():
        # Text everywhere, for a name in brackets would be read as markup.
        table = Table(title=Text(boards[0].dataset), title_justify="left")
        table.add_column("Task", overflow="fold", no_wrap=True)
        table.add_column("Model", overflow="fold", min_width=MODEL_WIDTH)
        for heading in ("Variant", *(_heading(board) for board in boards), "Seeds", "Status", "Id"):
            table.add_column(heading, no_wrap=True)
        for members in lines:
            first = members[0]
            scores = (summary.score for summary in members)
            verified = all(summary.status == "verified" for summary in members)
            # Results of several metrics are several results, and the line has no id of its own.
            group = first.group_id[:ID_LENGTH] if len(members) == 1 else ""
            status = "verified" if verified else "self-reported"
            cells = (first.board.task, first.model, first.variant, *scores, str(first.n))
            table.add_row(*(Text(cell) for cell in (*cells, status, group)))
        page.add_row(table)
    return page


def _heading(board: Board) -> str:
    unit = f" ({board.unit})" if board.unit else ""
    return f"{board.metric}{unit} {'↑' if board.higher_is_better else '↓'}"


def _by_metrics(summaries: Sequence[Summary]) -> dict[tuple[Board, ...], list[list[Summary]]]:
    """Put the metrics of one task, model, variant and configuration on one line.

    Returns:
        Lines by the metrics they have, written as the boards of the first task that has them.
    """
    lines: dict[tuple[str, ...], list[Summary]] = defaultdict(list)
    for one in sorted(summaries, key=_natural_metric):
        board = one.board
        split = (board.dataset, board.dataset_fingerprint, board.split_sha256)
        lines[(*split, board.task, one.model, one.variant, one.config_hash)].append(one)
    tables: dict[tuple[tuple[str, ...], ...], list[list[Summary]]] = defaultdict(list)
    places = {summary: place for place, summary in enumerate(summaries)}
    for key, members in sorted(lines.items(), key=lambda item: places[item[1][0]]):
        tables[(key[:3], tuple(_heading(one.board) for one in members))].append(members)
    return {tuple(one.board for one in table[0]): table for table in tables.values()}


def _natural_metric(summary: Summary) -> tuple[bool, list[tuple[int, str]]]:
    """Order metrics as people do: scores before ranks, top-5 before top-10."""
    parts = re.split(r"(\d+)", summary.board.metric)
    numbers = [(int(part), "") if part.isdigit() else (0, part) for part in parts]
    return not summary.board.higher_is_better, numbers


@dataclass(frozen=True, slots=True, eq=False)
class _Listed(Summary):
    """A summary with its rows."""

    rows: tuple[Row, ...]

    @property
    def values(self) -> list[float]:
        return [row.value for row in self.rows]


def _summarize(rows: Iterable[Row]) -> list[_Listed]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group_id].append(row)
    return sorted((_listed(members) for members in groups.values()), key=_order)


def _listed(members: list[Row]) -> _Listed:
    seeds = tuple(sorted(members, key=lambda row: row.seed))
    first, values = seeds[0], [row.value for row in seeds]
    return _Listed(
        board=board_of(first),
        group_id=first.group_id,
        model=first.model,
        variant=first.variant,
        config_hash=first.config_hash,
        mean=fmean(values),
        std=stdev(values) if len(values) > 1 else None,
        n=len(values),
        seeds=tuple(row.seed for row in seeds),
        status="verified" if all(row.status == "verified" for row in seeds) else "self-reported",
        newest=max(row.created_at for row in seeds),
        rows=seeds,
    )


def html_page(rows: Iterable[Row]) -> str:
    """Render one self-contained page: no file beside it and no network needed."""
    boards = _by_board(_summarize(rows))
    environment = Environment(
        loader=PackageLoader("omnimat.leaderboard", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "json": _json}
    return environment.get_template("page.html.j2").render(
        boards=boards,
        plots=[_plot_data(board, members) for board, members in boards.items()],
        plotly=get_plotlyjs() if boards else "",
    )


def duration(seconds: float) -> str:
    """Write seconds as people do: ``12.5 s``, ``3 min 20 s``, ``5 h 02 min``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False)


def _order(summary: Summary) -> tuple[Any, ...]:
    board = summary.board
    place = -summary.mean if board.higher_is_better else summary.mean
    split = (board.dataset_fingerprint, board.split_sha256, board.unit)
    who = (summary.model, summary.variant, summary.config_hash)
    return (board.task, board.dataset, board.metric, *split, place, *who)


def _by_board(summaries: Iterable[_Listed]) -> dict[Board, list[_Listed]]:
    boards: dict[Board, list[_Listed]] = defaultdict(list)
    for summary in summaries:
        boards[summary.board].append(summary)
    return dict(boards)


def _plot_data(board: Board, summaries: Sequence[_Listed]) -> dict[str, Any]:
    """Give what the page's script draws."""
    return {
        "scale": board.scale,
        "entries": [
            {
                "model": summary.model,
                "variant": summary.variant,
                "config": summary.config_hash[:8],
                "score": summary.score,
                "mean": summary.mean,
                "std": summary.std,
                "seeds": [row.seed for row in summary.rows],
                "values": summary.values,
            }
            for summary in summaries
        ],
    }
