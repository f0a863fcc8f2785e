"""Rows of the mean of several networks, computed again and made again."""

from __future__ import annotations

from collections.abc import Iterator

from omnimat.finetune.recompute import check_predictions, check_trial
from omnimat.finetune.rerun import check_made_again
from omnimat.leaderboard.members import ENSEMBLE, MEMBERS, members_in
from omnimat.leaderboard.row import Row
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import FaultError, Remark
from omnimat.verification.rerun import Sample
from omnimat.verification.row_checks import check_checkpoint


def recompute(row: Row, evidence: Evidence) -> Iterator[Remark]:
    """Score the predictions again, and check each network: its weights and its trial.

    That the predictions are the mean of these networks' is up to ``rerun``.

    Raises:
        FaultError: if the configuration has no such task, the file holds no predictions, or the
            networks are not those of the configuration.
        UnreachableError: if a file is missing or was written by another version.
    """
    yield from check_predictions(row, evidence)
    for member in _members(row):
        yield from check_checkpoint(member, evidence)
        yield from check_trial(member, evidence)


def rerun(row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
    """Predict a sample again with all networks, and compare their mean with the predictions.

    Raises:
        FaultError: if a trial's targets are not those of the data set.
        UnreachableError: if a network cannot be built by this omnimat.
    """
    yield from check_made_again(row, _members(row), evidence, sample)


def _members(row: Row) -> list[Row]:
    """Give a row of each network.

    Raises:
        FaultError: if they are not those of the configuration, or two have the same weights.
    """
    members = members_in(row.details)
    seeds = [one.seed for one in members]
    if seeds != row.config.get(ENSEMBLE):
        raise FaultError(
            f"details.{MEMBERS} has networks of seeds {seeds}, config says "
            f"{row.config.get(ENSEMBLE)}"
        )
    if len({one.checkpoint_sha256 for one in members}) < len(members):
        raise FaultError(f"two networks of details.{MEMBERS} have the same weights")
    return [one.row(row) for one in members]
