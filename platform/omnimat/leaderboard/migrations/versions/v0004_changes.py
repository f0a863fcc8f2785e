"""Each group says which write changed it last, so that readers ask for what is new to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_INDICES = {
    "ix_leaderboard_groups_last_write": ("leaderboard_groups", "last_write"),
    "ix_leaderboard_groups_model": ("leaderboard_groups", "model"),
    "ix_leaderboard_rows_parent_run": ("leaderboard_rows", "parent_run"),
}


def upgrade() -> None:
    """Add the column, and indices for what a page of one model or run asks for."""
    last_write = sa.Column("last_write", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("leaderboard_groups", last_write)
    for name, (table, column) in _INDICES.items():
        op.create_index(name, table, [column])
