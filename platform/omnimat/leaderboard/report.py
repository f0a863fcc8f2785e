"""The leaderboard for people: seeds averaged, best first, in the terminal or as one HTML page."""

from __future__ import annotations

import json
import math
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

from omnimat.leaderboard.row import Row

_GROUP = (
    "task",
    "metric",
    "unit",
    "higher_is_better",
    "dataset",
    "dataset_fingerprint",
    "split_sha256",
    "model",
    "variant",
    "config_hash",
)


MODEL_WIDTH = 32  # of the terminal's column; a longer name takes more lines


@dataclass(frozen=True, slots=True)
class Board:
    """What can be ranked together: one task, metric, data set and split."""

    task: str
    metric: str
    unit: str
    higher_is_better: bool
    dataset: str
    dataset_fingerprint: str
    split_sha256: str

    @property
    def title(self) -> str:
        """Task and data set in words."""
        return f"{self.task} on {self.dataset}"

    @property
    def scale(self) -> str:
        """Metric, unit and direction in words."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.metric}{unit}, {'higher' if self.higher_is_better else 'lower'} is better"


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """One model, variant and configuration on one board, over its seeds.

    Attributes:
        board: what it is ranked in.
        model: label.
        variant: how it was trained.
        config_hash: of the configuration.
        rows: one a seed, by seed.
    """

    board: Board
    model: str
    variant: str
    config_hash: str
    rows: tuple[Row, ...]

    @property
    def values(self) -> list[float]:
        """The score of each seed."""
        return [row.value for row in self.rows]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return fmean(self.values)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds (n - 1); None of a single seed."""
        return stdev(self.values) if len(self.rows) > 1 else None

    @property
    def status(self) -> str:
        """``verified`` only if every seed is, else ``self-reported``."""
        verified = all(row.status == "verified" for row in self.rows)
        return "verified" if verified else "self-reported"

    @property
    def score(self) -> str:
        """Mean and deviation, rounded to the two leading digits of the deviation."""
        if not self.std:
            return f"{self.mean:.4g}"
        decimals = max(0, 1 - math.floor(math.log10(self.std)))
        return f"{self.mean:.{decimals}f} ± {self.std:.{decimals}f}"


def summarize(rows: Iterable[Row]) -> list[Summary]:
    """Average over seeds.

    Returns:
        Summaries board after board (by task, data set and metric), best mean first in each.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(getattr(row, name) for name in _GROUP)].append(row)
    summaries = []
    for (*board, model, variant, config_hash), members in groups.items():
        seeds = tuple(sorted(members, key=lambda row: row.seed))
        summaries.append(Summary(Board(*board), model, variant, config_hash, seeds))
    return sorted(summaries, key=_order)


def terminal_table(summaries: Sequence[Summary]) -> Table:
    """Lay summaries out for the terminal: a column a metric, a table for tasks measured alike."""
    page = Table.grid(padding=(0, 0, 1, 0))
    for boards, lines in _by_metrics(summaries).items():
        # Text everywhere, for a name in brackets would be read as markup.
        table = Table(title=Text(boards[0].dataset), title_justify="left")
        table.add_column("Task", overflow="fold", no_wrap=True)
        table.add_column("Model", overflow="fold", min_width=MODEL_WIDTH)
        for heading in ("Variant", *(_heading(board) for board in boards), "Seeds"):
            table.add_column(heading, no_wrap=True)
        for members in lines:
            first = members[0]
            scores = (summary.score for summary in members)
            seeds = str(len(first.rows))
            cells = (first.board.task, first.model, first.variant, *scores, seeds)
            table.add_row(*(Text(cell) for cell in cells))
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


def html_page(rows: Iterable[Row]) -> str:
    """Render one self-contained page: no file beside it and no network needed."""
    boards = _by_board(summarize(rows))
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


def _by_board(summaries: Iterable[Summary]) -> dict[Board, list[Summary]]:
    boards: dict[Board, list[Summary]] = defaultdict(list)
    for summary in summaries:
        boards[summary.board].append(summary)
    return dict(boards)


def _plot_data(board: Board, summaries: Sequence[Summary]) -> dict[str, Any]:
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
