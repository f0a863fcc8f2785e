"""What the store holds, remembered until somebody writes into it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from omnimat.leaderboard.board import Board, BoardCount, Summary
from omnimat.leaderboard.contest import Contest, contests_of
from omnimat.leaderboard.folds import may_be_of_fold
from omnimat.leaderboard.origins import Origin
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard.links import model_slug
from omnimat_dashboard.results import Results

T = TypeVar("T")

BEST_OF_BOARD = 8  # how many results of a board the overview shows


class Catalogue:
    """The results of a store, and what was made of them as long as nobody writes into it.

    After a write, only the results that it has changed are read.
    """

    def __init__(self, store: LeaderboardStore) -> None:
        """Read from a store."""
        self.store = store
        self._lock = Lock()
        self._version = ""
        self._known: dict[str, Any] = {}
        self._reading: dict[str, Lock] = {}
        self._results = Results()

    @property
    def version(self) -> str:
        """A text that changes with every write."""
        return self.store.version()

    def results(self) -> Results:
        """Give all results."""
        return self.remembered("results", self._read)

    def boards(self) -> list[BoardCount]:
        """Give every board with its counts."""
        return list(self.results().counts.values())

    def best(self) -> dict[Board, list[Summary]]:
        """Give the best few summaries of each board, best first."""
        boards = self.results().boards
        return {board: ranked[:BEST_OF_BOARD] for board, ranked in boards.items()}

    def contests(self) -> list[Contest]:
        """Give the best of each board, and all means over folds in place of single folds."""
        return self.remembered("contests", self._contests)

    def contest(self, board_id: str) -> Contest | None:
        """Find what is ranked under the id of a board, which may be one of means over folds."""
        board = self.board(board_id)
        if board is not None:
            return Contest(board, self.of_board(board))
        return next((one for one in self.of_folds() if one.board.board_id == board_id), None)

    def contest_of(self, result_id: str) -> Contest | None:
        """Find where a result, or a mean over folds, is ranked."""
        if of_folds := next((one for one in self.of_folds() if result_id in one.means), None):
            return of_folds
        one = self.results().by_id.get(result_id)
        return None if one is None else Contest(one.board, self.of_board(one.board))

    def of_folds(self) -> list[Contest]:
        """Give the rankings of means over folds."""
        return [one for one in self.contests() if one.means]

    def boards_of_means(self) -> list[BoardCount]:
        """Give the boards of means over folds; their rows are those of all folds."""
        counts = self.results().counts
        return [
            BoardCount(
                board=contest.board,
                num_results=len(contest.ranked),
                num_rows=sum(one.n for one in contest.ranked),
                num_recomputed=sum(counts[fold].num_recomputed for fold in contest.folds),
                num_reproduced=sum(counts[fold].num_reproduced for fold in contest.folds),
                newest=max(one.newest for one in contest.ranked),
            )
            for contest in self.of_folds()
        ]

    def averaged(self, result_id: str) -> list[str]:
        """Give the ids of the results that a mean over folds is of; another stands for itself."""
        means = (one.means[result_id] for one in self.of_folds() if result_id in one.means)
        return [one.group_id for mean in means for one in mean.members] or [result_id]

    def means_over(self, board: Board) -> Contest | None:
        """Give the ranking of the means that results of a board are part of, if it is of a fold."""
        return next((one for one in self.of_folds() if board in one.folds), None)

    def whole(self, contest: Contest) -> Contest:
        """Give a contest with all of its results, of which it may have only some."""
        return self.contest(contest.board.board_id) or contest

    def every_contest(self) -> list[Contest]:
        """Give all boards with all of their results, and the rankings of means over folds."""
        boards = self.results().boards.items()
        return [*(Contest(board, ranked) for board, ranked in boards), *self.of_folds()]

    def board(self, name: str) -> Board | None:
        """Find a board by its id."""
        return self.remembered("board ids", self._boards_by_id).get(name)

    def of_board(self, board: Board) -> list[Summary]:
        """Give all summaries of a board, best first."""
        return self.results().boards.get(board, [])

    def model_names(self) -> dict[str, str]:
        """Give the names of all models by the ends of their addresses."""
        return self.remembered(
            "model names", lambda: {model_slug(name): name for name in self.results().models}
        )

    def descendants(self, run: str) -> list[Origin]:
        """Give what has started from a pretraining run, the newest first."""
        return self.store.origins(parents=[run])

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

    def _read(self) -> Results:
        self._results = self._results.after(self.store.changes(self._results.version))
        return self._results

    def _boards_by_id(self) -> dict[str, Board]:
        return {board.board_id: board for board in self.results().boards}

    def _contests(self) -> list[Contest]:
        boards, some = self.results().boards, self.best()
        of_folds = {board: boards[board] for board in some if may_be_of_fold(board.task)}
        hashes = (one.config_hash for ranked in of_folds.values() for one in ranked)
        chosen = (one for ranked in (some | of_folds).values() for one in ranked)
        return contests_of(chosen, self.store.configs(hashes))
