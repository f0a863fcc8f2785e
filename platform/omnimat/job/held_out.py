"""Whether the data sets are there whose materials a job keeps from training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.job.job import Job
from omnimat.shards.manifest import MANIFEST_NAME
from omnimat.training.held_out import HeldOut


def is_ingested(workspace: Workspace, dataset: str) -> bool:
    """Say whether a data set is there and complete."""
    return (workspace.dataset(dataset) / MANIFEST_NAME).exists()


def refuse_missing(
    held_out: Iterable[HeldOut], workspace: Workspace, needed: Sequence[Job[Any]]
) -> None:
    """Refuse to hold out what is not there and what no job before ingests.

    Args:
        held_out: what a job holds out.
        workspace: where it reads.
        needed: the jobs that run before it.

    Raises:
        UserError: a data set is missing.
    """
    made = [job.workspace.dataset(job.name) for job in needed if job.kind == "ingest"]
    for one in held_out:
        folder = workspace.dataset(one.dataset)
        if not is_ingested(workspace, one.dataset) and folder not in made:
            raise UserError(
                f"held_out: data set {one.dataset!r} is not in {folder.parent}; ingest it, or add "
                "the job file that does to needs"
            )
