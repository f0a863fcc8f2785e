"""Alembic's entry: runs versions on the connection that ``upgrade`` hands it."""

from alembic import context

from omnimat.leaderboard.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
