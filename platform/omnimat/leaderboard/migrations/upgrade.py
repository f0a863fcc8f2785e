"""Bring a database to the newest schema, inside the caller's transaction."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from omnimat.base.errors import UserError


def upgrade(connection: Connection, version: str | None, name: str) -> None:
    """Apply the versions that are missing.

    Args:
        connection: in a transaction that excludes other writers of the schema.
        version: the version of the database; None where it has none yet.
        name: what an error calls the database.

    Raises:
        UserError: if this omnimat does not know the version.
    """
    config = Config()
    config.set_main_option("script_location", "omnimat.leaderboard:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise UserError(
            f"the leaderboard {name} was written by a newer omnimat (its schema is {version}); "
            "install that, or name another in leaderboard_url"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
