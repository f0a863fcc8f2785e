"""The first page: each task with its best results, and tables of tasks that are measured alike."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.marks import Marks
from omnimat_dashboard.catalogue import BEST_OF_BOARD, Catalogue
from omnimat_dashboard.figures import Figure, dots
from omnimat_dashboard.links import Links
from omnimat_dashboard.papers import Paper, PaperTask, printed
from omnimat_dashboard.query import Query
from omnimat_dashboard.standing import MAX_FILES, Standing
from omnimat_dashboard.text import Scale, count


@dataclass(frozen=True, slots=True)
class Card:
    """One board on the overview.

    Attributes:
        board: the board.
        scale: how its values are written.
        best: its best results.
        num_results: how many it has.
        figure: a plot of the best.
        papers: the papers that print numbers for this task.
        marks: which results differ from the best; None if that was not found out yet.
    """

    board: Board
    scale: Scale
    best: Sequence[Summary]
    num_results: int
    figure: Figure
    papers: Sequence[tuple[Paper, PaperTask]]
    marks: Marks | None


@dataclass(frozen=True, slots=True)
class Best:
    """The best result of one task by one metric."""

    board: Board
    scale: Scale
    summary: Summary


@dataclass(frozen=True, slots=True)
class Family:
    """Tasks of one data set that are measured by the same several metrics: a line a task."""

    dataset: str
    split_sha256: str
    scales: Sequence[Scale]
    lines: Mapping[str, Sequence[Best]]

    @property
    def title(self) -> str:
        """What the tasks have in common, and how many there are."""
        kinds = {task.partition(" ")[0] for task in self.lines}
        kind = kinds.pop() if len(kinds) == 1 else "tasks"
        return f"{kind} on {self.dataset}, {count(len(self.lines), 'task')}"


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the first page shows.

    Attributes:
        cards: a card for each task that stands alone.
        families: a table for each group of the other tasks.
        query: what was searched for.
        num_found: how many results were found; None if nothing was searched for.
        num_results: how many results the store has, however many are shown.
        num_rows: how many rows the store has.
        num_recomputed: how many of the rows were computed again.
        variants: the variants to choose among.
    """

    cards: Sequence[Card]
    families: Sequence[Family]
    query: Query
    num_found: int | None
    num_results: int
    num_rows: int
    num_recomputed: int
    variants: Sequence[str]


def overview(catalogue: Catalogue, standing: Standing, query: Query, links: Links) -> Overview:
    """Choose what to show; the whole store is read only for a search."""
    counts = catalogue.boards()
    best = catalogue.best()
    shown, num_found = best, None
    if query.is_search:
        found = {b: query.chosen(all_) for b, all_ in catalogue.everything().items()}
        shown = {board: some[:BEST_OF_BOARD] for board, some in found.items() if some}
        num_found = sum(map(len, found.values()))
    families, alone = _grouped([one.board for one in counts if one.board in shown])
    totals = {one.board: one.num_results for one in counts}
    marked = standing.of_some(alone, None if links.is_static else MAX_FILES)
    return Overview(
        cards=[
            _card(board, shown[board], totals[board], marked.get(board), links) for board in alone
        ],
        families=[_family(boards, shown) for boards in families],
        query=query,
        num_found=num_found,
        num_results=sum(totals.values()),
        num_rows=sum(one.num_rows for one in counts),
        num_recomputed=sum(one.num_recomputed for one in counts),
        variants=sorted({one.variant for some in best.values() for one in some}),
    )


def _card(
    board: Board, best: Sequence[Summary], num_results: int, marks: Marks | None, links: Links
) -> Card:
    figure = dots(board, best, links)
    return Card(board, Scale.of(board), best, num_results, figure, printed(board), marks)


def _family(boards: Sequence[Board], shown: Mapping[Board, Sequence[Summary]]) -> Family:
    lines: dict[str, list[Best]] = defaultdict(list)
    for board in sorted(boards, key=_natural):
        lines[board.task].append(Best(board, Scale.of(board), shown[board][0]))
    first = next(iter(lines.values()))
    return Family(
        dataset=first[0].board.dataset,
        split_sha256=first[0].board.split_sha256,
        scales=[one.scale for one in first],
        lines=lines,
    )


def _grouped(boards: Sequence[Board]) -> tuple[list[list[Board]], list[Board]]:
    """Separate the boards of tasks that share several metrics from those that stand alone."""
    by_task: dict[tuple[str, ...], list[Board]] = defaultdict(list)
    for board in boards:
        key = (board.dataset, board.dataset_fingerprint, board.split_sha256, board.task)
        by_task[key].append(board)
    alike: dict[tuple[tuple[str, ...], ...], list[list[Board]]] = defaultdict(list)
    for (*split, _), members in by_task.items():
        metrics = tuple(sorted(f"{board.metric} {board.unit}" for board in members))
        alike[(tuple(split), metrics)].append(members)
    families, alone = [], []
    for (_, metrics), tasks in alike.items():
        flat = [board for members in tasks for board in members]
        if len(tasks) > 1 and len(metrics) > 1:
            families.append(flat)
        else:
            alone += flat
    return families, sorted(alone, key=lambda board: (board.task, board.dataset, board.metric))


def _natural(board: Board) -> tuple[str, bool, list[tuple[int, str]]]:
    """Order metrics as people do: scores before ranks, top-5 before top-10."""
    parts = re.split(r"(\d+)", board.metric)
    numbers = [(int(part), "") if part.isdigit() else (0, part) for part in parts]
    return board.task, not board.higher_is_better, numbers
