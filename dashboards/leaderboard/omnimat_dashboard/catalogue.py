"""What the store holds, remembered until somebody writes into it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from omnimat.leaderboard.board import Board, BoardCount, Summary
from omnimat.leaderboard.contest import Contest, contests_of
from omnimat.leaderboard.folds import may_be_of_fold
from omnimat.leaderboard.origins import Origin
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard.links import model_slug

T = TypeVar("T")
K = TypeVar("K")

BEST_OF_BOARD = 8  # how many results of a board the overview shows


@dataclass(frozen=True, slots=True)
class Placed:
    """A result and where it stands.

    Attributes:
        summary: the result.
        place: its rank on its board, from 1.
        num_results: how many results the board has.
    """

    summary: Summary
    place: int
    num_results: int


class Catalogue:
    """Boards and summaries of a store, each read only once as long as the store stays the same."""

    def __init__(self, store: LeaderboardStore) -> None:
        """Read from a store."""
        self.store = store
        self._lock = Lock()
        self._version = ""
        self._known: dict[str, Any] = {}
        self._reading: dict[str, Lock] = {}

    @property
    def version(self) -> str:
        """A text that changes with every write."""
        return self.store.version()

    def boards(self) -> list[BoardCount]:
        """Give every board with its counts."""
        return self.remembered("boards", self.store.boards)

    def best(self) -> dict[Board, list[Summary]]:
        """Give the best few summaries of each board, best first."""
        return self.remembered("best", lambda: _by_board(self.store.summaries(limit=BEST_OF_BOARD)))

    def everything(self) -> dict[Board, list[Summary]]:
        """Give all summaries of each board, best first."""
        return self.remembered("everything", lambda: _by_board(self.store.summaries()))

    def contests(self) -> list[Contest]:
        """Give the best of each board, and all means over folds in place of single folds."""
        return self.remembered("contests", self._contests)

    def contests_among(self, summaries: Iterable[Summary]) -> list[Contest]:
        """Rank some results, which come board by board; means over folds replace single folds."""
        some = list(summaries)
        of_folds = (one.config_hash for one in some if may_be_of_fold(one.board.task))
        return contests_of(some, self.store.configs(of_folds))

    def whole(self, contest: Contest) -> Contest:
        """Give a contest with all of its results, of which it may have only the best."""
        return contest if contest.means else Contest(contest.board, self.of_board(contest.board))

    def board(self, name: str) -> Board | None:
        """Find a board by its id."""
        return next((one.board for one in self.boards() if one.board.board_id == name), None)

    def of_board(self, board: Board) -> list[Summary]:
        """Give all summaries of a board, best first."""
        return self.remembered(board.board_id, lambda: self.store.summaries(board))

    def models(self) -> dict[str, list[Placed]]:
        """Give the results of each model by its name, in the order of the boards."""
        return self.remembered("models", lambda: _by_model(self.everything()))

    def model_names(self) -> dict[str, str]:
        """Give the names of all models by the ends of their addresses."""
        return self.remembered(
            "model names", lambda: {model_slug(name): name for name in self.models()}
        )

    def origins(self) -> dict[str, list[Origin]]:
        """Give the runs that each model's results come from by its name, the newest first."""
        return self.remembered(
            "origins", lambda: _grouped(self.store.origins(), lambda one: one.model)
        )

    def descendants(self) -> dict[str, list[Origin]]:
        """Give what has started from each pretraining run by that run's name."""
        return self.remembered(
            "descendants",
            lambda: _grouped(
                (one for some in self.origins().values() for one in some),
                lambda one: one.parent_run,
            ),
        )

    def remembered(self, key: str, read: Callable[[], T]) -> T:
        """Give what was read under a key since the last write, or read it."""
        version = self.store.version()
        with self._lock:
            if version != self._version:
                self._version, self._known, self._reading = version, {}, {}
            known, reading = self._known, self._reading.setdefault(key, Lock())
        # After a write, all browsers wait for one reading of what they all want.
        with reading:
            if key not in known:
                known[key] = read()
            value: T = known[key]
            return value

    def _contests(self) -> list[Contest]:
        some = (
            self.of_board(board) if may_be_of_fold(board.task) else best
            for board, best in self.best().items()
        )
        return self.contests_among(one for of_board in some for one in of_board)


def _by_board(summaries: Iterable[Summary]) -> dict[Board, list[Summary]]:
    return _grouped(summaries, lambda one: one.board)


def _by_model(boards: Mapping[Board, Sequence[Summary]]) -> dict[str, list[Placed]]:
    placed = (
        Placed(one, place, len(ranked))
        for ranked in boards.values()
        for place, one in enumerate(ranked, start=1)
    )
    return _grouped(placed, lambda one: one.summary.model)


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)
