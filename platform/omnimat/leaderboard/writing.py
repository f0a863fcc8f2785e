"""What changes a database: each function is one write, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, select, update

from omnimat.base.errors import UserError
from omnimat.leaderboard import columns, queries, schema
from omnimat.leaderboard.parts import parts
from omnimat.leaderboard.replacement import refuse_other_result
from omnimat.leaderboard.row import STATUSES, Row, Status
from omnimat.leaderboard.stored_row import rows_by_id


def write_rows(connection: Connection, new: Sequence[Row]) -> None:
    """Write rows; one of the same id is replaced unless it was checked.

    Raises:
        UserError: if a checked row would be replaced by another result.
    """
    _count(connection)
    dialect = connection.dialect.name
    for table, values in columns.of_shared(new):
        connection.execute(queries.insert_new(dialect, table), values)
    connection.execute(queries.upsert(dialect), [columns.of_row(row) for row in new])
    _note_in(connection, (row.group_id for row in new))
    _refuse_other_content(connection, new)


def mark_rows(
    connection: Connection, checked: Mapping[str, Row], status: Status, checked_with: str
) -> list[Row]:
    """Mark rows, by their ids, that are still as they were when they were checked.

    Returns:
        The rows that are proven at least so far now.
    """
    _count(connection)
    same = {
        row_id: row
        for row_id, row in rows_by_id(connection, list(checked)).items()
        if row.content == checked[row_id].content
    }
    marks = {
        "status": status,
        "checked_at": columns.instant(datetime.now(UTC)),
        "checked_with": checked_with,
    }
    wanted = STATUSES.index(status)
    less = [one for one, row in same.items() if STATUSES.index(row.status) < wanted]
    for ids in parts(less):
        chosen = schema.rows.c.row_id.in_(ids)
        connection.execute(update(schema.rows).where(chosen).values(marks))
    _note_in(connection, (same[row_id].group_id for row_id in less))
    return list(same.values())


def remove_rows(connection: Connection, prefix: str) -> int:
    """Remove the rows of a result, or one row, whose id begins like this.

    Returns:
        How many rows there were.

    Raises:
        UserError: if no id begins like this, or several do.
    """
    rows = schema.rows.c
    found = {
        (name, one)
        for name in ("group_id", "row_id")
        for one in connection.scalars(
            select(rows[name]).where(rows[name].startswith(prefix, autoescape=True))
        )
    }
    if len(found) != 1:
        which = f"{len(found)} results and rows" if found else "no result or row"
        raise UserError(
            f"{prefix!r} begins the id of {which}; `omnimat leaderboard show` prints the "
            "ids of results, and `omnimat leaderboard verify --all` those of rows"
        )
    _count(connection)
    [(name, one)] = found
    its = rows[name] == one
    _note_in(connection, connection.scalars(select(rows.group_id).where(its)).all())
    return connection.execute(delete(schema.rows).where(its)).rowcount


def _count(connection: Connection) -> None:
    """Take the turn to write; on PostgreSQL the next writer waits here."""
    num_writes = schema.state.c.num_writes
    connection.execute(update(schema.state).values(num_writes=num_writes + 1))


def _note_in(connection: Connection, group_ids: Iterable[str]) -> None:
    """Note in groups that this write has changed them."""
    groups, this = schema.groups, select(schema.state.c.num_writes).scalar_subquery()
    for part in parts(sorted(set(group_ids))):
        changed = update(groups).where(groups.c.group_id.in_(part))
        connection.execute(changed.values(last_write=this))


def _refuse_other_content(connection: Connection, rows: Sequence[Row]) -> None:
    wanted = {row.row_id: row for row in rows}
    for stored in rows_by_id(connection, list(wanted)).values():
        if stored.status != "self_reported":
            refuse_other_result(stored, wanted[stored.row_id].result)
