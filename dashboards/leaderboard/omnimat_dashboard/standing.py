"""How results stand to the best of their board, found once from files of this storage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import inf
from threading import Lock
from time import monotonic

from omnimat.base.errors import UserError
from omnimat.leaderboard.board import Board
from omnimat.leaderboard.comparison import Scores, scores_in
from omnimat.leaderboard.contest import Contest
from omnimat.leaderboard.difference import Difference
from omnimat.leaderboard.marks import MAX_COMPARED, Comparer, DifferenceOf, Marks, marks, num_files
from omnimat.leaderboard.row import Row
from omnimat_dashboard.artifacts import Artifacts
from omnimat_dashboard.catalogue import Catalogue

MAX_FILES = 100  # of predictions, which a page of many boards reads for those not yet compared
RETRY_S = 60.0  # a result that could not be compared
_MAX_KEPT = 10_000  # differences, of 200 bytes each

Proof = tuple[tuple[str, str], ...]
"""The id of each row of a result, and the hash of its predictions."""


class Standing:
    """The marks of boards.

    Those of a board are remembered until somebody writes into the store, and for a minute if a
    result could not be compared, since its file may come. The difference of two results is
    remembered as long as their predictions are the same. One board is compared at a time.
    """

    def __init__(self, catalogue: Catalogue, artifacts: Artifacts) -> None:
        """Compare the results of a catalogue by the files of its storage."""
        self._catalogue = catalogue
        self._artifacts = artifacts
        self._lock = Lock()
        self._version = ""
        self._known: dict[str, Marks] = {}
        self._known_until_s: dict[str, float] = {}
        self._num_compared = 0
        self._differences: dict[tuple[Proof, Proof], Difference] = {}

    @property
    def version(self) -> str:
        """A text that changes with the marks, beside the version of the catalogue."""
        num_known = sum(self._is_kept(board_id) for board_id in list(self._known))
        return f"{self._num_compared}.{num_known}"

    def of(self, contest: Contest) -> Marks:
        """Give the marks of all results of a contest, of which it may have only the best."""
        board = contest.board
        with self._lock:
            version = self._catalogue.version
            if version != self._version:
                self._version, self._known = version, {}
            if not self._is_kept(board.board_id):
                self._keep(board.board_id, self._compared(self._catalogue.whole(contest)))
            return self._known[board.board_id]

    def of_some(self, contests: Iterable[Contest], max_files: int | None) -> dict[Board, Marks]:
        """Give the marks of contests that have some, and of others as long as files may be read.

        Args:
            contests: the contests.
            max_files: how many files may be read; None for any number.
        """
        found = {}
        for contest in contests:
            if max_files is not None and not self._is_known(contest.board):
                if (needed := self._num_files(contest)) > max_files:
                    continue
                max_files -= needed
            found[contest.board] = self.of(contest)
        return found

    def _num_files(self, contest: Contest) -> int:
        """Count the files that a comparison reads, by the results that are known without reading.

        Of a board these are its best; the others count as many files as these on average.
        """
        if not contest.ranked:
            return 0
        totals = {one.board: one.num_results for one in self._catalogue.boards()}
        known = contest.ranked[:MAX_COMPARED]
        num_compared = min(MAX_COMPARED, totals.get(contest.board, len(known)))
        return round(num_files(contest) * max(1.0, num_compared / len(known)))

    def comparer(self) -> DifferenceOf:
        """Give what compares two results of one board, one pair at a time.

        It raises ``UserError`` if predictions cannot be read or scored, and ``ValueError`` if two
        results share no material, or one is predicted twice.
        """
        compare = Comparer(self._scores)

        def between(first: Sequence[Row], second: Sequence[Row]) -> Difference:
            with self._lock:
                return self._difference(compare, first, second)

        return between

    def _keep(self, board_id: str, found: Marks) -> None:
        is_whole = all(mark.kind != "unknown" for mark in found.of.values())
        self._known_until_s[board_id] = inf if is_whole else monotonic() + RETRY_S
        self._known[board_id] = found
        self._num_compared += 1

    def _is_kept(self, board_id: str) -> bool:
        return board_id in self._known and monotonic() < self._known_until_s[board_id]

    def _is_known(self, board: Board) -> bool:
        return self._version == self._catalogue.version and self._is_kept(board.board_id)

    def _compared(self, contest: Contest) -> Marks:
        rows_of = partial(contest.rows, self._catalogue.store)
        return marks(contest.ranked, rows_of, partial(self._difference, Comparer(self._scores)))

    def _difference(
        self, compare: Comparer, first: Sequence[Row], second: Sequence[Row]
    ) -> Difference:
        key = _proof(first), _proof(second)
        if key not in self._differences:
            if len(self._differences) >= _MAX_KEPT:
                self._differences.clear()
            self._differences[key] = compare(first, second)
        return self._differences[key]

    def _scores(self, row: Row) -> Scores:
        found = self._artifacts.predictions(row)
        if found.value is None:
            raise UserError(found.reason)
        return scores_in(found.value, row)


def _proof(rows: Sequence[Row]) -> Proof:
    return tuple((row.row_id, row.predictions_sha256) for row in rows)
