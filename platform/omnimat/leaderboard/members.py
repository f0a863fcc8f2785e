"""What a row tells of the networks whose mean it is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from omnimat.base.settings import Settings
from omnimat.leaderboard.row import Row

ENSEMBLE = "ensemble"
"""The section of such rows, and the key of their ``config`` that lists the seeds."""
MEMBERS = "members"
"""The key of their ``details`` that tells of each network."""
BEST_EPOCH = "best_epoch"
"""The key of the ``hyperparameters`` of a network's own row."""


class Member(Settings):
    """One of the networks, with what its own row says of it.

    Attributes:
        seed: its seed.
        checkpoint_uri: its weights.
        checkpoint_sha256: their hash.
        best_epoch: the epoch that validation chose.
        samples_seen: how many training samples it has seen, repeats counted.
    """

    seed: int
    checkpoint_uri: str
    checkpoint_sha256: str
    best_epoch: int
    samples_seen: int

    @classmethod
    def of(cls, row: Row) -> Member:
        """Read it from the row of one network."""
        return cls(
            seed=row.seed,
            checkpoint_uri=row.checkpoint_uri,
            checkpoint_sha256=row.checkpoint_sha256,
            best_epoch=row.hyperparameters[BEST_EPOCH],
            samples_seen=row.samples_seen,
        )

    def row(self, whole: Row) -> Row:
        """Give as much of its own row as tells of its training, from the row of the mean."""
        chosen = whole.hyperparameters | {BEST_EPOCH: self.best_epoch}
        told = self.model_dump(exclude={"best_epoch"}) | {"hyperparameters": chosen}
        return whole.model_copy(update=told)


_Members = TypeAdapter(tuple[Member, ...])


def members_in(details: Any) -> tuple[Member, ...]:
    """Read them from a row's ``details``; there are none where they cannot be read."""
    told = details.get(MEMBERS, ()) if isinstance(details, Mapping) else ()
    try:
        return _Members.validate_python(told)
    except ValidationError:
        return ()


def single_networks(row: Row) -> list[Row]:
    """Give a row of each network of a mean, or the row itself where it is of one network."""
    return [one.row(row) for one in members_in(row.details)] or [row]
