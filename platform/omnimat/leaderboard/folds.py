"""The mean over folds: the results of one method on the folds of one data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from omnimat.base.settings import fingerprint
from omnimat.leaderboard.board import Summary
from omnimat.leaderboard.row import STATUSES

FOLD = "fold"
"""The key of a row's ``config`` that says of which fold it is."""


@dataclass(frozen=True, slots=True)
class FoldMean:
    """The results of one method on folds of a data set, which are boards of their own.

    Attributes:
        task: the name of the task without that of a fold.
        fold_property: the property that names the folds.
        num_folds: how many folds the data set has.
        members: the result of each fold, averaged over its seeds.
        mean_id: a hash of all that these results have in common.
    """

    task: str
    fold_property: str
    num_folds: int
    members: tuple[Summary, ...]
    mean_id: str

    @property
    def summary(self) -> Summary:
        """The mean as a result of its own.

        Its task says how many folds there are, so that it is ranked among such means alone. Its
        deviation is that over folds (n - 1) if there are several, ``n`` counts the rows of all
        folds, and ``seeds`` are those that all folds have.
        """
        first, means = self.members[0], [one.mean for one in self.members]
        return replace(
            first,
            board=replace(first.board, task=f"{self.task}, {self.num_folds} folds"),
            group_id=self.mean_id,
            mean=fmean(means),
            std=stdev(means) if len(means) > 1 else first.std,
            n=sum(one.n for one in self.members),
            num_test=sum(one.num_test for one in self.members),
            seeds=tuple(sorted(set.intersection(*(set(one.seeds) for one in self.members)))),
            status=least_status(one.status for one in self.members),
            newest=max(one.newest for one in self.members),
        )

    @property
    def extent(self) -> str:
        """What the mean is over: ``5 folds``, or ``1/5 folds`` if others are missing."""
        num, is_whole = len(self.members), len(self.members) == self.num_folds
        return f"{num} folds" if is_whole else f"{num}/{self.num_folds} folds"

    @property
    def order(self) -> tuple[Any, ...]:
        """A sort key that orders by data set, task and metric, the best method first."""
        board = self.members[0].board
        mean = fmean([one.mean for one in self.members])
        worse_is_more = -mean if board.higher_is_better else mean
        return board.dataset, self.task, board.metric, -len(self.members), worse_is_more


def least_status(statuses: Iterable[str]) -> str:
    """Give the status that is proven least: ``self-reported`` before ``recomputed``."""
    return min(statuses, key=lambda one: STATUSES.index(one.replace("-", "_")))


def fold_label(name: str, fold: str, num_folds: int) -> str:
    """Return what the name of a task says about its fold: ``fold 2 of 5``.

    Args:
        name: the name of the property that names the folds, which is usually ``fold``.
        fold: the name of the fold.
        num_folds: how many folds the data set has.
    """
    return f"{name} {fold} of {num_folds}"


def may_be_of_fold(task: str) -> bool:
    """Tell by the name of a task whether it may be one of a fold; its configuration knows."""
    return re.search(r", .+ of \d+$", task) is not None


def fold_means(
    summaries: Iterable[Summary], configs: Mapping[str, Mapping[str, Any]]
) -> list[FoldMean]:
    """Find the results that differ only in their fold.

    Args:
        summaries: results, of folds or not.
        configs: their configurations by hash.

    Returns:
        A mean for each method on each task and data set, though some folds may be missing.
    """
    found: dict[str, list[Summary]] = {}
    told: dict[str, tuple[str, str, int]] = {}
    for one in summaries:
        config = configs.get(one.config_hash, {})
        if (task := task_without_fold(one.board.task, config)) is None:
            continue
        fold = {key: value for key, value in config[FOLD].items() if key != "test"}
        board = one.board
        shared = replace(board, task=task).board_id, one.model, one.variant
        method = fingerprint([*shared, {**config, FOLD: fold}])
        found.setdefault(method, []).append(one)
        told[method] = task, fold["property"], fold["num_folds"]
    means = [FoldMean(*told[method], tuple(its), method) for method, its in found.items()]
    return sorted(means, key=lambda mean: mean.order)


def task_without_fold(task: str, config: Mapping[str, Any]) -> str | None:
    """Return the name of a task without that of its fold; None for the result of no fold."""
    fold = config.get(FOLD) if isinstance(config, Mapping) else None
    if not isinstance(fold, Mapping) or not {"property", "test", "num_folds"} <= fold.keys():
        return None
    ending = f", {fold_label(fold['property'], fold['test'], fold['num_folds'])}"
    return task.removesuffix(ending) if task.endswith(ending) else None
