"""The mean over folds of one method: what it is a mean of, and how it stands to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.contest import Contest
from omnimat.leaderboard.folds import FoldMean
from omnimat.leaderboard.marks import Mark
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.standing import Standing
from omnimat_dashboard.text import Scale

MAX_RIVALS = 200


@dataclass(frozen=True, slots=True)
class FoldLine:
    """One fold.

    Attributes:
        name: what it is called: ``fold 2 of 5``.
        board: where results of this fold are ranked.
        one: the result of the method; None if it is still to come.
    """

    name: str
    board: Board
    one: Summary | None


@dataclass(frozen=True, slots=True)
class FoldMeanPage:
    """The mean over folds of one method.

    Attributes:
        contest: the means that it is ranked with.
        mean: its folds.
        summary: the mean as a result.
        scale: how its values are written.
        place: its rank, from 1; None if folds are missing.
        mark: how it stands to the best; None if that cannot be said.
        lines: the folds that anybody has results of.
        rivals: the other means, best first.
    """

    contest: Contest
    mean: FoldMean
    summary: Summary
    scale: Scale
    place: int | None
    mark: Mark | None
    lines: Sequence[FoldLine]
    rivals: Sequence[Summary]

    @property
    def num_missing(self) -> int:
        """How many folds have no result of this method."""
        return self.mean.num_folds - len(self.mean.members)


def fold_mean_page(catalogue: Catalogue, standing: Standing, mean_id: str) -> FoldMeanPage | None:
    """Collect what is known of a mean over folds; None if no mean has this id."""
    contest = next((one for one in catalogue.of_folds() if mean_id in one.means), None)
    if contest is None:
        return None
    mean = contest.means[mean_id]
    return FoldMeanPage(
        contest=contest,
        mean=mean,
        summary=mean.summary,
        scale=Scale.of(contest.board),
        place=contest.places.get(mean_id),
        mark=standing.of(contest).of.get(mean_id),
        lines=_lines(contest, mean),
        rivals=[one for one in contest.ranked if one.group_id != mean_id][:MAX_RIVALS],
    )


def _lines(contest: Contest, mean: FoldMean) -> list[FoldLine]:
    known = {one.board: one for one in mean.members}
    return [
        FoldLine(board.task.rpartition(", ")[2], board, known.get(board)) for board in contest.folds
    ]
