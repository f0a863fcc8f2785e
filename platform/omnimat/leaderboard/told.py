"""What the rows of results tell under keys of their details."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection

from omnimat.leaderboard import queries
from omnimat.leaderboard.overlap import (
    OVERLAP,
    TRAINING_OVERLAP,
    AnyOverlap,
    overlap_in,
    training_overlap_in,
)
from omnimat.leaderboard.parts import parts

T = TypeVar("T")

_OVERLAPS: Mapping[str, Callable[[Any], AnyOverlap | None]] = {
    OVERLAP: overlap_in,
    TRAINING_OVERLAP: training_overlap_in,
}


def told(
    connection: Connection, key: str, read: Callable[[Any], T | None], group_ids: Iterable[str]
) -> dict[str, list[T]]:
    """Give the different things that the rows of results tell under a key of their details.

    Returns:
        What ``read`` makes of them by the ids of results; nothing for one that tells nothing.
    """
    found: dict[str, list[T]] = {}
    for part in parts(sorted(set(group_ids))):
        for line in connection.execute(queries.details(key, part)):
            one, known = read({key: line.told}), found.get(line.group_id, [])
            if one is not None and one not in known:
                found[line.group_id] = [*known, one]
    return found


def told_overlaps(connection: Connection, group_ids: Iterable[str]) -> dict[str, list[AnyOverlap]]:
    """Give what models have seen before of the materials that judge the results of these ids."""
    ids = list(group_ids)
    found: dict[str, list[AnyOverlap]] = {}
    for key, read in _OVERLAPS.items():
        of_key: dict[str, list[AnyOverlap]] = told(connection, key, read, ids)
        for group_id, overlaps in of_key.items():
            found.setdefault(group_id, []).extend(overlaps)
    return found
