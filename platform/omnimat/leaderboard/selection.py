"""What `leaderboard show` prints of a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnimat.leaderboard.board import Summary
from omnimat.leaderboard.contest import (
    Contest,
    contests_of,
    contests_of_boards,
)
from omnimat.leaderboard.ranking import is_variation
from omnimat.leaderboard.store import LeaderboardStore


@dataclass(frozen=True, slots=True)
class Selection:
    """Rankings, and which of their results are wanted.

    Attributes:
        contests: the rankings, each with all of its results.
        results: the results that are wanted.
        members: the same, with the results of single folds in place of their mean.
        num_folds: how many results of single folds are in wanted means.
        num_variations: how many results are left out, as they are variations of metrics.
    """

    contests: Sequence[Contest]
    results: Sequence[Summary]
    members: Sequence[Summary]
    num_folds: int
    num_variations: int

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the wanted results."""
        return frozenset(one.group_id for one in self.results)


def selected(
    store: LeaderboardStore, task: str | None, run_name: str | None, *, with_folds: bool
) -> Selection:
    """Choose what to print.

    Args:
        store: the leaderboard.
        task: only results of this task, or means over its folds.
        run_name: only results in which this run has a row.
        with_folds: whether single folds are printed in place of their means.
    """
    everything = store.summaries()
    of_run = {one.group_id for one in store.summaries(run_name=run_name)} if run_name else None
    is_fold = task is not None and any(one.board.task == task for one in everything)
    if with_folds or is_fold:
        every = contests_of_boards(everything)
    else:
        every = contests_of(everything, store.configs(one.config_hash for one in everything))
    contests = [c for c in every if (c.is_of(task) if task else not is_variation(c.board))]
    results, members = _wanted(contests, of_run)
    hidden = [one for c in every if not task and is_variation(c.board) for one in c.ranked]
    return Selection(
        contests=contests,
        results=results,
        members=members,
        num_folds=len(set(members) - set(results)),
        num_variations=sum(of_run is None or one.group_id in of_run for one in hidden),
    )


def _wanted(
    contests: Sequence[Contest], of_run: set[str] | None
) -> tuple[list[Summary], list[Summary]]:
    """Give the wanted results of contests, and the results that these are means of."""
    results: list[Summary] = []
    members: list[Summary] = []
    for contest in contests:
        for one in contest.ranked:
            its = contest.members(one)
            if of_run is None or any(member.group_id in of_run for member in its):
                results.append(one)
                members += its
    return results, members
