"""Rows as files: JSON, which can be read back without loss, and CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, ValidationError

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings
from omnimat.leaderboard.row import Row

# A spreadsheet takes a text that begins with one of these for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Export(Settings):
    """The content of the JSON file, in which each configuration is stored only once.

    Attributes:
        format: text that identifies such a file.
        version: version of this layout.
        configs: maps each hash to its configuration.
        rows: fields of each ``Row`` except ``config``.
    """

    format: Literal["omnimat leaderboard"] = "omnimat leaderboard"
    version: Literal[1] = 1
    configs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    rows: tuple[dict[str, Any], ...] = ()


def to_json(rows: Iterable[Row]) -> str:
    """Write rows so that ``from_json`` returns the same rows."""
    written = list(rows)
    export = Export(
        configs={row.config_hash: row.config for row in written},
        rows=tuple(row.model_dump(mode="json", exclude={"config"}) for row in written),
    )
    return f"{export.model_dump_json(indent=1)}\n"


def from_json(text: str | bytes, name: str) -> list[Row]:
    """Read rows that ``to_json`` wrote; all become self-reported, since none is verified here.

    Args:
        text: content of the file.
        name: name of the file, for error messages.

    Raises:
        UserError: it is not such a file, a row is not valid, or a row occurs twice.
    """
    try:
        export = Export.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{name} is no export of a leaderboard: {_first(error)}") from error
    rows = [_row(place, values, export, name) for place, values in enumerate(export.rows)]
    ids = [row.row_id for row in rows]
    if len(set(ids)) < len(ids):
        twice = next(row for row in rows if ids.count(row.row_id) > 1)
        raise UserError(f"{name}: {twice.label!r} is there twice; keep one of them")
    return rows


def to_csv(rows: Iterable[Row]) -> str:
    """Write rows for a spreadsheet, one column per field; nested values become JSON."""
    names = list(Row.model_fields)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["row_id", "group_id", *names])
    for row in rows:
        values = row.model_dump(mode="json")
        cells = [_cell(values[name]) for name in names]
        writer.writerow([row.row_id, row.group_id, *cells])
    return buffer.getvalue()


def _row(place: int, values: dict[str, Any], export: Export, name: str) -> Row:
    claimed = values.get("config_hash")
    if "config" in values or claimed not in export.configs:
        raise UserError(f"{name}: rows.{place}: there is no config {claimed!r} among configs")
    unverified = {"status": "self_reported", "verified_at": None, "verified_with": ""}
    whole = values | unverified | {"config": export.configs[claimed]}
    try:
        return Row.model_validate_json(json.dumps(whole), strict=True)
    except ValidationError as error:
        raise UserError(f"{name}: rows.{place}.{_first(error)}") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    is_formula = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if is_formula else value
