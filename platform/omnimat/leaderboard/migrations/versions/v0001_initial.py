"""Rows under groups, boards and configurations."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    state = op.create_table(
        "leaderboard_state",
        sa.Column("database_id", sa.String, primary_key=True),
        sa.Column("num_writes", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(state, [{"database_id": secrets.token_hex(8), "num_writes": 0}])
    op.create_table(
        "leaderboard_configs",
        sa.Column("config_hash", sa.String, primary_key=True),
        sa.Column("config", sa.JSON, nullable=False),
    )
    op.create_table(
        "leaderboard_boards",
        sa.Column("board_id", sa.String, primary_key=True),
        *(_text(name) for name in ("task", "metric", "unit")),
        sa.Column("higher_is_better", sa.Boolean, nullable=False),
        *(_text(name) for name in ("dataset", "dataset_fingerprint", "split_sha256")),
    )
    op.create_table(
        "leaderboard_groups",
        sa.Column("group_id", sa.String, primary_key=True),
        _reference("board_id", "leaderboard_boards"),
        *(_text(name) for name in ("model", "variant")),
        _reference("config_hash", "leaderboard_configs"),
    )
    op.create_index("ix_leaderboard_groups_board_id", "leaderboard_groups", ["board_id"])
    _create_rows()


def _create_rows() -> None:
    json = ("hyperparameters", "details", "hardware")
    files = ("checkpoint_uri", "checkpoint_sha256", "predictions_uri", "predictions_sha256")
    op.create_table(
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


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False)


def _reference(name: str, table: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, sa.ForeignKey(f"{table}.{name}"), nullable=False)
