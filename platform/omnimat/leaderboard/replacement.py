"""Which rows do not replace others of the same id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omnimat.base.errors import UserError
from omnimat.leaderboard.row import Row

_SHOWN_OF_A_HASH = 16  # characters


def refuse_twice(rows: Sequence[Row]) -> None:
    """Refuse two results of one id.

    Raises:
        UserError: if there are such.
    """
    known: dict[str, Row] = {}
    for row in rows:
        first = known.setdefault(row.row_id, row)
        if first is not row and first.content != row.content:
            raise UserError(
                f"row {row.row_id} ({row.label}) is there twice, with other numbers or proof; keep "
                "one of them"
            )


def refuse_other_result(stored: Row, result: Mapping[str, Any]) -> None:
    """Refuse to replace a checked row by another result.

    Args:
        stored: the row that was checked.
        result: of the new row, as much as is known of ``Row.result``.

    Raises:
        UserError: if they differ; the sentence says in what, and what to do.
    """
    there = stored.result
    if differ := [name for name, value in result.items() if there[name] != value]:
        told = ", ".join(
            f"{name} is {_shown(there[name])}, not {_shown(result[name])}" for name in differ
        )
        raise UserError(
            f"row {stored.row_id} ({stored.label}) is {stored.status} and not replaced by another "
            f"result ({told}); take it off the board first with `omnimat leaderboard remove "
            f"{stored.row_id}`, or write to another leaderboard_url"
        )


def _shown(value: Any) -> str:
    return f"{value:.{_SHOWN_OF_A_HASH}}" if isinstance(value, str) else str(value)
