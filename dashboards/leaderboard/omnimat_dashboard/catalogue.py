"""What the store holds, remembered until somebody writes into it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, TypeVar

from omnimat.leaderboard.board import Board, BoardCount, Summary
from omnimat.leaderboard.store import LeaderboardStore

T = TypeVar("T")

BEST_OF_BOARD = 8  # how many results of a board the overview shows


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
        return self._remembered("boards", self.store.boards)

    def best(self) -> dict[Board, list[Summary]]:
        """Give the best few summaries of each board, best first."""
        return self._remembered(
            "best", lambda: _by_board(self.store.summaries(limit=BEST_OF_BOARD))
        )

    def everything(self) -> dict[Board, list[Summary]]:
        """Give all summaries of each board, best first."""
        return self._remembered("everything", lambda: _by_board(self.store.summaries()))

    def board(self, name: str) -> Board | None:
        """Find a board by its id."""
        return next((one.board for one in self.boards() if one.board.board_id == name), None)

    def of_board(self, board: Board) -> list[Summary]:
        """Give all summaries of a board, best first."""
        return self._remembered(board.board_id, lambda: self.store.summaries(board))

    def _remembered(self, key: str, read: Callable[[], T]) -> T:
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


def _by_board(summaries: Sequence[Summary]) -> dict[Board, list[Summary]]:
    boards: dict[Board, list[Summary]] = defaultdict(list)
    for summary in summaries:
        boards[summary.board].append(summary)
    return dict(boards)
