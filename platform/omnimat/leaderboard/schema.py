"""The tables: rows under their groups, groups on their boards, each configuration once.

Changed only together with a new version in ``migrations/versions``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
)

VERSION_TABLE = "leaderboard_schema_version"
HEAD = "0004"

metadata = MetaData()

# Tells this database from another in its place, and says how often it was written.
state = Table(
    "leaderboard_state",
    metadata,
    Column("database_id", String, primary_key=True),
    Column("num_writes", BigInteger, nullable=False),
)

configs = Table(
    "leaderboard_configs",
    metadata,
    Column("config_hash", String, primary_key=True),
    Column("config", JSON, nullable=False),
)

boards = Table(
    "leaderboard_boards",
    metadata,
    Column("board_id", String, primary_key=True),
    Column("task", String, nullable=False),
    Column("metric", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("higher_is_better", Boolean, nullable=False),
    Column("dataset", String, nullable=False),
    Column("dataset_fingerprint", String, nullable=False),
    Column("split_sha256", String, nullable=False),
)

groups = Table(
    "leaderboard_groups",
    metadata,
    Column("group_id", String, primary_key=True),
    Column("board_id", ForeignKey(boards.c.board_id), nullable=False),
    Column("model", String, nullable=False),
    Column("variant", String, nullable=False),
    Column("config_hash", ForeignKey(configs.c.config_hash), nullable=False),
    # The number of the write that changed, added or removed one of its rows last.
    Column("last_write", BigInteger, nullable=False, server_default="0"),
    Index("ix_leaderboard_groups_board_id", "board_id"),
    Index("ix_leaderboard_groups_last_write", "last_write"),
    Index("ix_leaderboard_groups_model", "model"),
)

# Instants are ISO 8601 text in UTC, to the microsecond, so that their order is that of time.
rows = Table(
    "leaderboard_rows",
    metadata,
    Column("row_id", String, primary_key=True),
    Column("group_id", ForeignKey(groups.c.group_id), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("value", Double, nullable=False),
    Column("num_test", BigInteger, nullable=False),
    Column("dataset_uri", String, nullable=False),
    Column("code_commit", String, nullable=False),
    Column("code_dirty", Boolean, nullable=False),
    Column("checkpoint_uri", String, nullable=False),
    Column("checkpoint_sha256", String, nullable=False),
    Column("predictions_uri", String, nullable=False),
    Column("predictions_sha256", String, nullable=False),
    Column("parent_run", String, nullable=False),
    Column("run_name", String, nullable=False),
    Column("hyperparameters", JSON, nullable=False),
    Column("details", JSON, nullable=False),
    Column("hardware", JSON, nullable=False),
    Column("wall_time_s", Double, nullable=False),
    Column("samples_seen", BigInteger, nullable=False),
    Column("created_at", String, nullable=False),
    Column("status", String, nullable=False),
    Column("checked_at", String, nullable=True),
    Column("checked_with", String, nullable=False),
    Column("section", String, nullable=False, server_default=""),
    # PostgreSQL would accept infinity and NaN, which it sorts above all numbers.
    CheckConstraint(
        "value BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308",
        name="ck_leaderboard_rows_value_is_finite",
    ),
    # Holds everything that averages over seeds need, so that they need not read the rows.
    Index("ix_leaderboard_rows_summary", "group_id", "value", "status", "created_at", "seed"),
    Index("ix_leaderboard_rows_run_name", "run_name"),
    Index("ix_leaderboard_rows_parent_run", "parent_run"),
)

# The column of each field of ``Row``. Where two tables have a column of one name, as references do,
# it is that of the table nearer to the rows.
ROW_COLUMNS: dict[str, Column[Any]] = {
    column.name: column
    for table in (configs, boards, groups, rows)
    for column in table.columns
    if column.name not in {"row_id", "group_id", "board_id", "last_write"}
}
