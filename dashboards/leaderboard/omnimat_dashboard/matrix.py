"""Models against tasks: who is best at what, and by whom that is disputed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.contest import Contest
from omnimat.leaderboard.marks import Marks
from omnimat_dashboard.papers import printed
from omnimat_dashboard.text import Scale

MAX_COLUMNS = 6  # as many as a page of 1280 pixels shows beside the names of models
MAX_LINES = 15

Key = tuple[str, str]
"""The name of a model, and how it was trained."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The best result of a model on a task.

    Attributes:
        one: the result.
        kind: how it stands to the best: ``best``, ``tied``, ``worse``, ``unknown``, or empty.
        told: the same in words, with how many results of the model there are.
        extent: what the score is a mean of: ``3 seeds``, ``5 folds``.
        is_whole: whether it has every fold, so that it is ranked.
    """

    one: Summary
    kind: str
    told: str
    extent: str
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Column:
    """A task by one metric.

    Attributes:
        contest: its results.
        scale: how they are written.
        marks: how they stand to the best; None if that was not found out yet.
        num_results: how many results the leaderboard has, however many are known here.
        chance: what guessing scores; None if that is not known.
        papers: what papers print, by paper and model.
    """

    contest: Contest
    scale: Scale
    marks: Marks | None
    num_results: int
    chance: float | None
    papers: Mapping[str, float]

    @property
    def board(self) -> Board:
        """What its results share."""
        return self.contest.board

    def cells(self) -> dict[Key, Cell]:
        """Give the best result of each model, the best model first."""
        found: dict[Key, list[Summary]] = defaultdict(list)
        for one in self.contest.ranked:
            found[one.model, one.variant].append(one)
        return {key: self._cell(results) for key, results in found.items()}

    def _cell(self, results: Sequence[Summary]) -> Cell:
        one = results[0]
        mark = None if self.marks is None else self.marks.of.get(one.group_id)
        told = [mark.sentence] if mark and mark.sentence else []
        if len(results) > 1:
            told.append(f"the best of {len(results)} configurations")
        return Cell(
            one=one,
            kind=mark.kind if mark else "",
            told="; ".join(told),
            extent=self.contest.extent(one),
            is_whole=self.contest.is_whole(one),
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A model, with a cell for each column; None where nothing is known of it."""

    model: str
    variant: str
    cells: Sequence[Cell | None]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Tasks of one data set and split.

    Attributes:
        columns: the tasks.
        lines: the models, those first that are nearest to the top of their columns.
        num_left_out: how many models are left out.
        references: the name of each paper and model, with its value in each column.
        notes: what the marks of the columns say as a whole.
    """

    columns: Sequence[Column]
    lines: Sequence[Line]
    num_left_out: int
    references: Sequence[tuple[str, Sequence[float | None]]]
    notes: Sequence[str]

    @property
    def board(self) -> Board:
        """The board of its first column, whose data set and split all share."""
        return self.columns[0].board


def matrices(columns: Iterable[Column]) -> list[Matrix]:
    """Put columns of one data set and split side by side, a few in each matrix."""
    splits: dict[tuple[str, ...], list[Column]] = defaultdict(list)
    for column in columns:
        board = column.board
        splits[board.dataset, board.dataset_fingerprint, board.split_sha256].append(column)
    return [
        _matrix(together[start : start + MAX_COLUMNS])
        for together in splits.values()
        for start in range(0, len(together), MAX_COLUMNS)
    ]


def papers_of(board: Board) -> dict[str, float]:
    """Give what papers print for a board, by paper and model."""
    return {
        f"{paper.title}: {one.model}": one.value
        for paper, task in printed(board)
        for one in task.values
    }


def _matrix(columns: Sequence[Column]) -> Matrix:
    cells = [column.cells() for column in columns]
    places: dict[Key, list[int]] = defaultdict(list)
    for of_column in cells:
        for place, (key, cell) in enumerate(of_column.items()):
            places[key].append(place if cell.is_whole else place + len(of_column))
    keys = sorted(places, key=lambda key: (fmean(places[key]), -len(places[key]), key))
    named = dict.fromkeys(name for column in columns for name in column.papers)
    return Matrix(
        columns=columns,
        lines=[Line(*key, [one.get(key) for one in cells]) for key in keys[:MAX_LINES]],
        num_left_out=max(0, len(keys) - MAX_LINES),
        references=[(name, [column.papers.get(name) for column in columns]) for name in named],
        notes=list(dict.fromkeys(c.marks.note for c in columns if c.marks and c.marks.note)),
    )
