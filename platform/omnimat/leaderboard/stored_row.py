"""Rows as they lie in the database, where anybody may have changed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from omnimat.base.settings import first_mistake
from omnimat.leaderboard import queries, schema
from omnimat.leaderboard.legible import AS_STORED
from omnimat.leaderboard.parts import parts
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.unusable import UnusableError


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as it lies in the database, where anybody may have changed it.

    Attributes:
        row_id: the id that it is stored under.
        group_id: the id of the group that it is stored under.
        board_id: the id of its group's board; None where the group or the board is missing.
        values: what the database has for the fields of ``Row``.
    """

    row_id: str
    group_id: str
    board_id: str | None
    values: dict[str, Any]

    def row(self) -> Row:
        """Read the row.

        Raises:
            UnusableError: if it is not a row any more, since something else wrote to the database.
        """
        try:
            return Row.model_validate(self.values, context=AS_STORED)
        except ValidationError as error:
            raise UnusableError(
                f"row {self.row_id} of the leaderboard was changed by hand "
                f"({first_mistake(error)}); restore the database from a copy"
            ) from error


def stored_rows(
    connection: Connection, row_ids: Sequence[str] | None = None, **wanted: Any
) -> list[StoredRow]:
    """Read rows in the order of ``queries.stored_rows``.

    Args:
        connection: to the database.
        row_ids: the ids of the rows, as many as a statement may have; None for any.
        wanted: what columns must be; None for any value.
    """
    query = queries.stored_rows(**wanted)
    if row_ids is not None:
        query = query.where(schema.rows.c.row_id.in_(row_ids))
    keys = ("row_id", "group_id", "board_id")
    return [
        StoredRow(
            line["row_id"],
            line["group_id"],
            line["board_id"],
            {name: value for name, value in line.items() if name not in keys},
        )
        for line in connection.execute(query).mappings()
    ]


def rows_by_id(connection: Connection, row_ids: Sequence[str]) -> dict[str, Row]:
    """Read the rows of these ids that are there."""
    found = (stored_rows(connection, part) for part in parts(row_ids))
    return {stored.row_id: stored.row() for part in found for stored in part}
