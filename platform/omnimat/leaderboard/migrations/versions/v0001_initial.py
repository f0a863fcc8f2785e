"""Rows under groups, boards and configurations; rows of the one table of before are moved there."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import context, op

from omnimat.base.errors import UserError
from omnimat.base.settings import fingerprint

revision = "0001"
down_revision = None

_BOARD = (
    "task",
    "metric",
    "unit",
    "higher_is_better",
    "dataset",
    "dataset_fingerprint",
    "split_sha256",
)
_GROUP = (*_BOARD, "model", "variant", "config_hash")
_OLD = "leaderboard_rows"
_SET_ASIDE = "leaderboard_rows_without_version"
_OLD_COLUMNS = {
    *_GROUP,
    "row_id",
    "seed",
    "value",
    "num_test",
    "config",
    "code_commit",
    "code_dirty",
    "checkpoint_uri",
    "checkpoint_sha256",
    "predictions_uri",
    "predictions_sha256",
    "parent_run",
    "run_name",
    "hyperparameters",
    "hardware",
    "wall_time_s",
    "samples_seen",
    "created_at",
    "status",
}
_BATCH = 1000


def upgrade() -> None:
    """Make the tables, and move rows of before the first version into them."""
    connection = op.get_bind()
    old = _set_aside(connection)
    tables = _create()
    connection.execute(
        tables["state"].insert(), {"database_id": secrets.token_hex(8), "num_writes": 0}
    )
    if old is not None:
        _move(connection, old, tables)
        op.drop_table(_SET_ASIDE)


def _set_aside(connection: sa.Connection) -> sa.TableClause | None:
    """Rename the table of before the first version, where there is one."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(_OLD):
        return None
    if {column["name"] for column in inspector.get_columns(_OLD)} != _OLD_COLUMNS:
        raise UserError(
            f"the leaderboard {context.config.attributes['name']} was written by another version "
            "of omnimat, which this one cannot read; name a new one in leaderboard_url"
        )
    op.rename_table(_OLD, _SET_ASIDE)
    if connection.dialect.name == "postgresql":  # else the new table's has no name left
        op.execute(f"ALTER INDEX {_OLD}_pkey RENAME TO {_SET_ASIDE}_pkey")
    typed = {"config": sa.JSON, "hyperparameters": sa.JSON, "hardware": sa.JSON}
    booleans = dict.fromkeys(("higher_is_better", "code_dirty"), sa.Boolean)
    types = typed | booleans
    return sa.table(
        _SET_ASIDE, *(sa.column(name, types.get(name)) for name in sorted(_OLD_COLUMNS))
    )


def _create() -> dict[str, sa.Table]:
    state = op.create_table(
        "leaderboard_state",
        sa.Column("database_id", sa.String, primary_key=True),
        sa.Column("num_writes", sa.BigInteger, nullable=False),
    )
    configs = op.create_table(
        "leaderboard_configs",
        sa.Column("config_hash", sa.String, primary_key=True),
        sa.Column("config", sa.JSON, nullable=False),
    )
    boards = op.create_table(
        "leaderboard_boards",
        sa.Column("board_id", sa.String, primary_key=True),
        *(_text(name) for name in ("task", "metric", "unit")),
        sa.Column("higher_is_better", sa.Boolean, nullable=False),
        *(_text(name) for name in ("dataset", "dataset_fingerprint", "split_sha256")),
    )
    groups = op.create_table(
        "leaderboard_groups",
        sa.Column("group_id", sa.String, primary_key=True),
        _reference("board_id", "leaderboard_boards"),
        *(_text(name) for name in ("model", "variant")),
        _reference("config_hash", "leaderboard_configs"),
    )
    op.create_index("ix_leaderboard_groups_board_id", "leaderboard_groups", ["board_id"])
    return {
        "state": state,
        "configs": configs,
        "boards": boards,
        "groups": groups,
        "rows": _create_rows(),
    }


def _create_rows() -> sa.Table:
    json = ("hyperparameters", "details", "hardware")
    files = ("checkpoint_uri", "checkpoint_sha256", "predictions_uri", "predictions_sha256")
    table = op.create_table(
        "leaderboard_rows",
        sa.Column("row_id", sa.String, primary_key=True),
        _reference("group_id", "leaderboard_groups"),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("num_test", sa.BigInteger, nullable=False),
        *(_text(name) for name in ("dataset_uri", "code_commit")),
        sa.Column("code_dirty", sa.Boolean, nullable=False),
        *(_text(name) for name in (*files, "parent_run", "run_name")),
        *(sa.Column(name, sa.JSON, nullable=False) for name in json),
        sa.Column("wall_time_s", sa.Double, nullable=False),
        sa.Column("samples_seen", sa.BigInteger, nullable=False),
        *(_text(name) for name in ("created_at", "status")),
        sa.Column("verified_at", sa.String, nullable=True),
        _text("verified_with"),
        sa.CheckConstraint(
            "value BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308",
            name="ck_leaderboard_rows_value_is_finite",
        ),
    )
    covering = ["group_id", "value", "status", "created_at", "seed"]
    op.create_index("ix_leaderboard_rows_summary", "leaderboard_rows", covering)
    op.create_index("ix_leaderboard_rows_run_name", "leaderboard_rows", ["run_name"])
    return table


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False)


def _reference(name: str, table: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, sa.ForeignKey(f"{table}.{name}"), nullable=False)


def _move(connection: sa.Connection, old: sa.TableClause, tables: Mapping[str, sa.Table]) -> None:
    """Copy the rows of before, a batch at a time; what they have in common once."""
    seen: dict[str, dict[str, str]] = {"configs": {}, "boards": {}, "groups": {}}
    keys = {"configs": "config_hash", "boards": "board_id", "groups": "group_id"}
    result = connection.execute(sa.select(old))
    while batch := result.mappings().fetchmany(_BATCH):
        moved = [_moved(row) for row in batch]
        for name, key in keys.items():
            new = _unseen(seen[name], [(one[name][key], one[name]) for one in moved])
            if new:
                connection.execute(tables[name].insert(), new)
        connection.execute(tables["rows"].insert(), [one["rows"] for one in moved])


def _unseen(seen: dict[str, str], found: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Give those of a key not seen before.

    Raises:
        UserError: if one key has two contents.
    """
    new = []
    for key, content in found:
        told = fingerprint(content)
        if key not in seen:
            seen[key] = told
            new.append(content)
        elif seen[key] != told:
            raise UserError(
                f"the leaderboard {context.config.attributes['name']} has two configurations under "
                f"config_hash {key}; name a new one in leaderboard_url"
            )
    return new


def _moved(row: Mapping[Any, Any]) -> dict[str, dict[str, Any]]:
    """Split a row of before among the tables."""
    board_id = fingerprint([row[name] for name in _BOARD])
    group_id = fingerprint({name: row[name] for name in _GROUP})
    written = datetime.fromisoformat(row["created_at"]).astimezone(UTC)
    is_chance = set(row["hyperparameters"]) == {"chance"}  # as evaluations wrote it
    nothing: dict[str, Any] = {}
    return {
        "configs": {"config_hash": row["config_hash"], "config": row["config"]},
        "boards": {"board_id": board_id, **{name: row[name] for name in _BOARD}},
        "groups": {
            "group_id": group_id,
            "board_id": board_id,
            **{name: row[name] for name in ("model", "variant", "config_hash")},
        },
        "rows": {name: row[name] for name in _OLD_COLUMNS - {*_GROUP, "config"}}
        | {
            "group_id": group_id,
            "dataset_uri": "",
            "hyperparameters": nothing if is_chance else row["hyperparameters"],
            "details": row["hyperparameters"] if is_chance else nothing,
            "created_at": written.isoformat(timespec="microseconds"),
            "verified_at": None,
            "verified_with": "",
        },
    }
