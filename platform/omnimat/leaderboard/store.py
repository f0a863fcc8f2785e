"""Where rows are kept: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Engine,
    Insert,
    NullPool,
    create_engine,
    event,
    inspect,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import CreateTable

from omnimat.leaderboard.row import Row
from omnimat.materials.errors import UserError

_DIALECTS = ("sqlite", "postgresql")
_SQLITE_BUSY_TIMEOUT_MS = 60_000
_SQLITE_RETRY_S = 0.02


class _Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, int: BigInteger}  # noqa: RUF012


class StoredRow(_Base):
    """The columns of ``Row`` under its id; instants are ISO 8601 text in UTC."""

    __tablename__ = "leaderboard_rows"

    row_id: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(index=True)
    metric: Mapped[str]
    unit: Mapped[str]
    higher_is_better: Mapped[bool]
    model: Mapped[str]
    variant: Mapped[str]
    seed: Mapped[int]
    value: Mapped[float]
    num_test: Mapped[int]
    dataset: Mapped[str]
    dataset_fingerprint: Mapped[str]
    split_sha256: Mapped[str]
    config_hash: Mapped[str]
    config: Mapped[dict[str, Any]]
    code_commit: Mapped[str]
    code_dirty: Mapped[bool]
    checkpoint_uri: Mapped[str]
    checkpoint_sha256: Mapped[str]
    predictions_uri: Mapped[str]
    predictions_sha256: Mapped[str]
    parent_run: Mapped[str]
    run_name: Mapped[str]
    hyperparameters: Mapped[dict[str, Any]]
    hardware: Mapped[dict[str, Any]]
    wall_time_s: Mapped[float]
    samples_seen: Mapped[int]
    created_at: Mapped[str]
    status: Mapped[str]


class LeaderboardStore:
    """Rows in a database that several processes may write at once."""

    def __init__(self, url: str) -> None:
        """Open the database, and make the file and the table where they are missing.

        Args:
            url: of SQLAlchemy: ``sqlite:////path/leaderboard.sqlite`` on a local disk, or
                ``postgresql+psycopg://user@host/database``.

        Raises:
            UserError: if the URL cannot be used, the database cannot be opened, or its table is of
                another version.
        """
        self._engine = _engine(url)
        table = StoredRow.metadata.tables[StoredRow.__tablename__]
        try:
            if self._engine.dialect.name == "sqlite":
                _use_write_ahead_log(self._engine)
            with self._engine.begin() as connection:
                connection.execute(CreateTable(table, if_not_exists=True))
        except OperationalError as error:
            raise UserError(
                f"the leaderboard {self._engine.url!r} cannot be opened: {error.orig}"
            ) from error
        columns = {c["name"] for c in inspect(self._engine).get_columns(table.name)}
        if columns != set(table.columns.keys()):
            raise UserError(
                f"the leaderboard {self._engine.url!r} was written by another version of omnimat; "
                "name a new one in leaderboard_url"
            )

    def upsert(self, rows: Iterable[Row]) -> None:
        """Write all rows or none, in one transaction; a row already there is replaced."""
        values = [{"row_id": row.row_id, **row.model_dump(mode="json")} for row in rows]
        if not values:
            return
        statement = upsert_statement(self._engine.dialect.name)
        with self._engine.begin() as connection:
            connection.execute(statement, values)

    def rows(self) -> list[Row]:
        """Give all rows, ordered by task, metric, model, variant and seed."""
        order = ("task", "metric", "model", "variant", "seed", "row_id")
        query = select(StoredRow).order_by(*(getattr(StoredRow, name) for name in order))
        with Session(self._engine) as session:
            return [
                Row.model_validate({name: getattr(stored, name) for name in Row.model_fields})
                for stored in session.scalars(query)
            ]


def upsert_statement(dialect: str) -> Insert:
    """Give the dialect's ``INSERT`` that replaces a row of the same id."""
    insert = sqlite.insert(StoredRow) if dialect == "sqlite" else postgresql.insert(StoredRow)
    replaced = {name: insert.excluded[name] for name in Row.model_fields}
    return insert.on_conflict_do_update(index_elements=["row_id"], set_=replaced)


def _engine(url: str) -> Engine:
    # The URL may carry a password, so no message repeats it.
    try:
        engine = create_engine(url, poolclass=NullPool)
    except ArgumentError as error:
        raise UserError(
            "leaderboard_url is no database URL; write sqlite:////path/leaderboard.sqlite or "
            "postgresql+psycopg://user@host/database"
        ) from error
    except ModuleNotFoundError as error:
        raise UserError(
            f"leaderboard_url needs a database driver that is not installed ({error.name}); "
            "for PostgreSQL install psycopg and write postgresql+psycopg://user@host/database"
        ) from error
    if engine.dialect.name not in _DIALECTS:
        raise UserError(
            f"leaderboard_url names {engine.dialect.name}; use one of {', '.join(_DIALECTS)}"
        )
    if engine.dialect.name == "sqlite":
        Path(engine.url.database or "").parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _let_writers_wait)
    return engine


def _let_writers_wait(connection: Any, _record: Any) -> None:
    """Make a second writer wait for the first."""
    connection.execute(f"PRAGMA busy_timeout={_SQLITE_BUSY_TIMEOUT_MS}")


def _use_write_ahead_log(engine: Engine) -> None:
    """Let readers read while a writer writes; the file remembers it.

    SQLite does not wait for the lock that this change takes, so processes that make the file at
    the same time wait here.
    """
    deadline_s = time.monotonic() + _SQLITE_BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except OperationalError as error:
            # The low byte is the kind of error, the rest its detail.
            busy = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline_s:
                raise
            time.sleep(_SQLITE_RETRY_S)
