"""Finds out, before anything runs, whether a data set has what the tasks of a job predict."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from omnimat.base.errors import UserError
from omnimat.base.words import suggestion
from omnimat.finetune.tasks import TaskSettings
from omnimat.materials.split import SPLITS
from omnimat.shards.manifest import Manifest


def check_targets(tasks: Sequence[TaskSettings], manifest: Manifest) -> None:
    """Insist that every split of a data set has records that know the target of every task.

    A data set that was ingested before properties were counted passes.

    Raises:
        UserError: a split has none.
    """
    counts = manifest.property_counts
    if counts is None:
        return
    check_names(tasks, counts, f"no record of data set {manifest.name} has")
    for place, task in enumerate(tasks):
        for split in SPLITS:
            if not counts[task.target].get(split):
                raise UserError(
                    f"tasks.{place}.target: {task.name!r}: no {split} record of data set "
                    f"{manifest.name} has the property {task.target!r}; ingest one whose {split} "
                    "split has it, or choose another target"
                )


def check_names(tasks: Sequence[TaskSettings], known: Collection[str], complaint: str) -> None:
    """Insist that every target is among the names of properties.

    Args:
        tasks: the tasks.
        known: names of properties.
        complaint: what to say before the name of a property that is not among them.

    Raises:
        UserError: one is not.
    """
    for place, task in enumerate(tasks):
        if task.target not in known:
            raise UserError(
                f"tasks.{place}.target: {task.name!r}: {complaint} the property "
                f"{task.target!r}{suggestion(task.target, known)}"
            )
