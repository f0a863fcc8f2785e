"""What was written to a store since somebody has read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from omnimat.leaderboard import queries, schema
from omnimat.leaderboard.board import BoardCount, Summary
from omnimat.leaderboard.parts import parts

MAX_CHANGED = 5_000  # results; where more have changed, all are read, which is as quick


@dataclass(frozen=True, slots=True)
class Version:
    """A state of a store.

    Attributes:
        database_id: tells the database from another in its place.
        num_writes: how often it was written.
    """

    database_id: str
    num_writes: int

    def __str__(self) -> str:
        """Write a token that changes with every write."""
        return f"{self.database_id}-{self.num_writes}"


@dataclass(frozen=True, slots=True)
class Changes:
    """The results that were written since a version, as they are now.

    Attributes:
        version: the version that they lead to.
        is_all: whether these are all results, so that none that was known before counts any more.
        results: the results, in no order.
        removed: the ids of results that have no rows any more.
        counts: the counts of the boards that they are on; a board without results has none.
    """

    version: Version
    is_all: bool
    results: Sequence[Summary]
    removed: frozenset[str]
    counts: Sequence[BoardCount]


def read_version(connection: Connection) -> Version:
    """Give the present version."""
    found = connection.execute(select(schema.state)).one()
    return Version(found.database_id, found.num_writes)


def read_changes(connection: Connection, since: Version | None) -> Changes:
    """Give what has changed since a version of the same database, else everything."""
    version, groups = read_version(connection), schema.groups.c
    if since is not None and since.database_id == version.database_id:
        newer = select(groups.group_id, groups.board_id).where(groups.last_write > since.num_writes)
        changed = {line.group_id: line.board_id for line in connection.execute(newer)}
        if since.num_writes <= version.num_writes and len(changed) <= MAX_CHANGED:
            results = _results(connection, list(changed))
            removed = changed.keys() - {one.group_id for one in results}
            counts = _counts(connection, sorted(set(changed.values())))
            return Changes(version, False, results, frozenset(removed), counts)
    return Changes(
        version, True, _results(connection, None), frozenset(), _counts(connection, None)
    )


def _results(connection: Connection, group_ids: Sequence[str] | None) -> list[Summary]:
    found = []
    for part in parts(group_ids):
        lines = connection.execute(queries.results(part)).mappings().all()
        found += queries.averaged(lines, connection.execute(queries.repetitions(part)))
    return found


def _counts(connection: Connection, board_ids: Sequence[str] | None) -> list[BoardCount]:
    return [
        queries.as_count(line)
        for part in parts(board_ids)
        for line in connection.execute(queries.board_counts(part)).mappings()
    ]
