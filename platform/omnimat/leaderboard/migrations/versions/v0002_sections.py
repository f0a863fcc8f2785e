"""Every row names its section; those that are there get theirs by the rules of before."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ROWS = sa.table(
    "leaderboard_rows", *map(sa.column, ("row_id", "group_id", "predictions_uri", "section"))
)
_GROUPS = sa.table("leaderboard_groups", *map(sa.column, ("group_id", "board_id", "config_hash")))
_BOARDS = sa.table("leaderboard_boards", *map(sa.column, ("board_id", "task")))
_CONFIGS = sa.table("leaderboard_configs", sa.column("config_hash"), sa.column("config", sa.JSON))
_CLUSTERS = ("spread of ", "crystal systems in ", "alignment of ")


def upgrade() -> None:
    """Add the column and fill it."""
    column = sa.Column("section", sa.String, nullable=False, server_default="")
    op.add_column("leaderboard_rows", column)
    connection = op.get_bind()
    keys = {
        line.config_hash: set(line.config) if isinstance(line.config, dict) else set()
        for line in connection.execute(sa.select(_CONFIGS))
    }
    known = (
        sa.select(_ROWS.c.row_id, _ROWS.c.predictions_uri, _BOARDS.c.task, _GROUPS.c.config_hash)
        .join(_GROUPS, _ROWS.c.group_id == _GROUPS.c.group_id)
        .join(_BOARDS, _GROUPS.c.board_id == _BOARDS.c.board_id)
    )
    sections = [
        {
            "id": line.row_id,
            "name": section_of(line.task, keys.get(line.config_hash, ()), line.predictions_uri),
        }
        for line in connection.execute(known)
    ]
    if sections:
        one = _ROWS.update().where(_ROWS.c.row_id == sa.bindparam("id"))
        connection.execute(one.values(section=sa.bindparam("name")), sections)


def section_of(task: str, config: Collection[str], predictions_uri: str) -> str:
    """Tell the section of a row that does not name one; empty where there is none.

    Args:
        task: of the row.
        config: the keys of its configuration.
        predictions_uri: of the row.
    """
    if task.startswith("retrieval ") and predictions_uri.endswith("embeddings.npz"):
        return "retrieval"
    if task.startswith(_CLUSTERS):
        return "clusters"
    if "zero_shot" in config:
        return "zero_shot"
    if predictions_uri.endswith("discovery.parquet"):
        return "discovery"
    return "finetune" if {"tasks", "task"} & set(config) else ""
