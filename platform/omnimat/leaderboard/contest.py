"""Results that are ranked together: those of one board, or means over the folds of several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omnimat.base.words import natural
from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.folds import FoldMean, fold_means
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore


@dataclass(frozen=True, slots=True)
class Contest:
    """Results that are ranked together.

    Attributes:
        board: what they share; of folds, without their number.
        ranked: the results, best first; a mean over fewer folds follows all that have more.
        means: the means over folds by their ids; empty for results of no fold.
    """

    board: Board
    ranked: Sequence[Summary]
    means: Mapping[str, FoldMean] = field(default_factory=dict)

    @property
    def folds(self) -> Sequence[Board]:
        """The boards of single folds in their order; none where results are of no fold."""
        members = (one.board for mean in self.means.values() for one in mean.members)
        return sorted(dict.fromkeys(members), key=lambda board: natural(board.task))

    @property
    def ranked_means(self) -> Sequence[FoldMean]:
        """The means over folds, best first."""
        ids = (one.group_id for one in self.ranked)
        return [self.means[name] for name in ids if name in self.means]

    @property
    def places(self) -> Mapping[str, int]:
        """The ranks of results by their ids, from 1; a mean over some of the folds has none."""
        ranked = enumerate(self.ranked, start=1)
        return {one.group_id: place for place, one in ranked if self.is_whole(one)}

    def members(self, one: Summary) -> Sequence[Summary]:
        """Give the results that a mean over folds is of; any other result stands for itself."""
        mean = self.means.get(one.group_id)
        return (one,) if mean is None else mean.members

    def rows(self, store: LeaderboardStore, result_id: str) -> list[Row]:
        """Read the rows of a result, of a mean those of all its folds."""
        if (mean := self.means.get(result_id)) is None:
            return store.rows(group_id=result_id)
        return [row for one in mean.members for row in store.rows(group_id=one.group_id)]

    def extent(self, one: Summary) -> str:
        """Say what a result is a mean of: ``3 seeds``, ``5 folds``."""
        if mean := self.means.get(one.group_id):
            return mean.extent
        return f"{one.n} seed{'s' * (one.n != 1)}"

    def is_of(self, task: str) -> bool:
        """Say whether this is a contest of a task, or of its folds."""
        return task == self.board.task or any(task == one.task for one in self.means.values())

    def is_whole(self, one: Summary) -> bool:
        """Say whether a result has every fold, so that it may be the best."""
        mean = self.means.get(one.group_id)
        return mean is None or len(mean.members) == mean.num_folds


def contests_of(
    summaries: Iterable[Summary], configs: Mapping[str, Mapping[str, Any]]
) -> list[Contest]:
    """Rank results, those of folds by their means.

    Args:
        summaries: results in the order of their boards, best first.
        configs: their configurations by hash, which tell of folds.
    """
    some = list(summaries)
    means = fold_means(some, configs)
    members = {one.group_id for mean in means for one in mean.members}
    single = [one for one in some if one.group_id not in members]
    return [*contests_of_folds(means), *contests_of_boards(single)]


def contests_of_boards(summaries: Iterable[Summary]) -> list[Contest]:
    """Rank results board by board; they must come in the order of their boards, best first."""
    boards: dict[Board, list[Summary]] = {}
    for one in summaries:
        boards.setdefault(one.board, []).append(one)
    return [Contest(board, ranked) for board, ranked in boards.items()]


def contests_of_folds(means: Iterable[FoldMean]) -> list[Contest]:
    """Rank means over folds, those of one task, metric and split together."""
    found: dict[Board, list[FoldMean]] = {}
    for mean in sorted(means, key=lambda one: one.order):
        found.setdefault(mean.summary.board, []).append(mean)
    return [
        Contest(board, [one.summary for one in of_board], {one.mean_id: one for one in of_board})
        for board, of_board in found.items()
    ]
