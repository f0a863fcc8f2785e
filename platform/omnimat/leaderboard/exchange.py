"""Rows as files: JSON, which can be read back without loss, and CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, ValidationError

from omnimat.base import strict_json
from omnimat.base.characters import escaped
from omnimat.base.errors import UserError
from omnimat.base.settings import Settings, first_mistake
from omnimat.leaderboard.row import Row

# A spreadsheet takes text that begins like this for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

# What a row says of being checked counts only where it was checked.
_MARKS = frozenset({"status", "checked_at", "checked_with"})
_OLD_MARKS = frozenset({"status", "verified_at", "verified_with"})


class Export(Settings):
    """What the JSON file holds: each configuration once, and the rows without theirs.

    Attributes:
        format: what tells the file from others.
        version: the layout; in the first, rows did not name their section, and up to the second
            their marks were called ``verified``.
        configs: the configurations by their hash.
        rows: the fields of each ``Row`` except ``config``.
    """

    format: Literal["omnimat leaderboard"] = "omnimat leaderboard"
    version: Literal[1, 2, 3] = 3
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
    """Read what ``to_json`` wrote; all rows are self-reported, since nobody here has checked them.

    Args:
        text: the content of the file.
        name: what an error calls the file.

    Raises:
        UserError: if it is no such file, a row is not valid, or a row is there twice.
    """
    try:
        strict_json.check(text)
        export = Export.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{name} is no export of a leaderboard: {first_mistake(error)}") from error
    except ValueError as error:
        raise UserError(f"{name} is no export of a leaderboard: {error}") from error
    rows = [_row(place, values, export, name) for place, values in enumerate(export.rows)]
    if export.version == 1:
        rows = [_with_section(row) for row in rows]
    ids = [row.row_id for row in rows]
    if len(set(ids)) < len(ids):
        twice = next(row for row in rows if ids.count(row.row_id) > 1)
        raise UserError(f"{name}: {twice.label!r} is there twice; keep one of them")
    return rows


def to_csv(rows: Iterable[Row]) -> str:
    """Write rows for a spreadsheet: a column for each field, nested ones as JSON."""
    names = list(Row.model_fields)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["row_id", "group_id", *names])
    for row in rows:
        values = row.model_dump(mode="json")
        cells = [_cell(values[name]) for name in names]
        writer.writerow([row.row_id, row.group_id, *cells])
    return buffer.getvalue()


def as_cell(value: Any) -> Any:
    """Escape hidden characters of a text, and quote what a spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    quote = "'" if value.startswith(_FORMULA) else ""
    return f"{quote}{escaped(value, allowed='')}"


def _row(place: int, values: dict[str, Any], export: Export, name: str) -> Row:
    claimed = values.get("config_hash")
    if "config" in values or claimed not in export.configs:
        raise UserError(f"{name}: rows.{place}: there is no config {claimed!r} among configs")
    marks = _MARKS if export.version > 2 else _OLD_MARKS
    unmarked = {key: value for key, value in values.items() if key not in marks}
    whole = unmarked | {"config": export.configs[claimed]}
    try:
        return Row.model_validate_json(json.dumps(whole), strict=True)
    except ValidationError as error:
        raise UserError(f"{name}: rows.{place}.{first_mistake(error)}") from error


def _with_section(row: Row) -> Row:
    """Name the section as the migration of the database does."""
    from omnimat.leaderboard.migrations.versions.v0002_sections import section_of

    return row.model_copy(update={"section": section_of(row.task, row.config, row.predictions_uri)})


def _cell(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else as_cell(value)
