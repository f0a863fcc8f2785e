"""What was called verified is recomputed, and files beside the database are named relative to it.

The root of a storage is known here only where it holds the database. Other names that begin with
the root of the storage are understood when they are read (``base.confined``).
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_URIS = ("dataset_uri", "checkpoint_uri", "predictions_uri")
_ROWS = sa.table("leaderboard_rows", *map(sa.column, ("status", *_URIS)))


def upgrade() -> None:
    """Rename the columns and the status, and take the folder of the database off names."""
    for old, new in (("verified_at", "checked_at"), ("verified_with", "checked_with")):
        op.execute(f"ALTER TABLE leaderboard_rows RENAME COLUMN {old} TO {new}")
    is_verified = _ROWS.c.status == "verified"
    op.execute(_ROWS.update().where(is_verified).values(status="recomputed"))
    if folder := _folder():
        for name in _URIS:
            column, length = _ROWS.c[name], len(folder)
            is_inside = sa.func.substr(column, 1, length) == folder
            rest = sa.func.substr(column, length + 1)
            op.execute(_ROWS.update().where(is_inside).values({name: rest}))


def _folder() -> str | None:
    """Give the folder of the database, as names begin with it; None if it is not in a file."""
    url = op.get_bind().engine.url
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return f"{str(Path(url.database).absolute().parent).rstrip('/')}/"
