"""Which task a name stands for: one of the catalogue, or one that results of a data set have."""

from __future__ import annotations

from omnimat.base.errors import UserError
from omnimat.base.settings import identity
from omnimat.base.words import suggestion
from omnimat.finetune.recompute import tasks_of
from omnimat.finetune.tasks import TaskSettings, catalogue
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.verification.outcome import UnreachableError


def find_task(name: str, dataset: str, board: LeaderboardStore) -> TaskSettings:
    """Find a task by its name.

    Args:
        name: its name, without a fold.
        dataset: the name of the data set, whose results may have tasks of their own.
        board: where these results are.

    Raises:
        UserError: there is none of this name, or results have two.
    """
    own = catalogue()
    if name in own:
        return own[name]
    hashes = {one.config_hash for one in board.summaries() if one.board.dataset == dataset}
    tasks = [task for config in board.configs(hashes).values() for task in _tasks_in(config)]
    found = [task for task in tasks if task.name == name]
    if not found:
        known = {*own, *(task.name for task in tasks)}
        raise UserError(
            f"--task: no task {name!r} in the catalogue or among the results of data set "
            f"{dataset}{suggestion(name, known)}"
        )
    if any(identity(one) != identity(found[0]) for one in found):
        raise UserError(
            f"--task: the results of data set {dataset} have two tasks {name!r}, which differ; "
            "rename one in its job file"
        )
    return found[0]


def _tasks_in(config: dict[str, object]) -> list[TaskSettings]:
    """Give the tasks of a configuration; none of an evaluation or of another version."""
    try:
        return list(tasks_of(config, None).values())
    except UnreachableError:
        return []
