"""A row as values of the tables: its own columns, and what it shares with other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Table

from omnimat.base.errors import UserError
from omnimat.base.settings import fingerprint
from omnimat.leaderboard.board import Board
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.schema import boards, configs, groups, rows


def check(row: Row) -> None:
    """Refuse a row that cannot be what it says it is.

    Raises:
        UserError: if ``config_hash`` is not the hash of ``config``.
        ValueError: if the row says that it was checked, which no writer of results may do.
    """
    if row.status != "self_reported":
        raise ValueError(f"row {row.row_id} ({row.label}) calls itself {row.status}")
    if row.config_hash != fingerprint(row.config):
        raise UserError(
            f"row {row.row_id} ({row.label}): config_hash {row.config_hash} is not the hash of its "
            f"config, which is {fingerprint(row.config)}"
        )


def board_of(row: Row) -> Board:
    """Give the board that the row is ranked on."""
    return Board(**{field.name: getattr(row, field.name) for field in fields(Board)})


def of_shared(all_rows: Sequence[Row]) -> list[tuple[Table, list[dict[str, Any]]]]:
    """Give what rows share, each once, a table before those that refer to it."""
    found: dict[Table, dict[str, dict[str, Any]]] = {configs: {}, boards: {}, groups: {}}
    for row in {row.group_id: row for row in all_rows}.values():
        board = board_of(row)
        found[configs][row.config_hash] = {"config_hash": row.config_hash, "config": row.config}
        found[boards][board.board_id] = {"board_id": board.board_id, **asdict(board)}
        found[groups][row.group_id] = {
            "group_id": row.group_id,
            "board_id": board.board_id,
            "model": row.model,
            "variant": row.variant,
            "config_hash": row.config_hash,
        }
    return [(table, list(values.values())) for table, values in found.items()]


def of_row(row: Row) -> dict[str, Any]:
    """Return the values of the row's own table."""
    values = {column.name: getattr(row, column.name) for column in rows.columns}
    return values | {name: instant(values[name]) for name in ("created_at", "checked_at")}


def instant(moment: datetime | None) -> str | None:
    """Write a moment in UTC so that sorting the text sorts by time."""
    return None if moment is None else moment.isoformat(timespec="microseconds")
