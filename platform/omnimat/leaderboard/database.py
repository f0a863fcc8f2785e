"""The database behind the leaderboard: its connection, transactions and schema version."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Executable,
    NullPool,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)

from omnimat.base.errors import RunError, UserError
from omnimat.leaderboard.schema import HEAD, VERSION_TABLE

_SQLITE_BUSY_TIMEOUT_MS = 60_000
_SQLITE_RETRY_S = 0.02
# A random number, by which alone PostgreSQL knows a lock.
_POSTGRESQL_MIGRATION_LOCK = 6_311_407_052_218_339
_INSUFFICIENT_PRIVILEGE = "42501"  # SQLSTATE of PostgreSQL
_UNREACHABLE = (OperationalError, InterfaceError)


class Database:
    """Transactions on an SQLite file or a PostgreSQL database, which has the newest schema."""

    def __init__(self, url: str) -> None:
        """Open the database, or make it, and bring its schema up to date.

        Raises:
            UserError: if the URL cannot be used, the database cannot be opened, or it was written
                by a version of omnimat that this one does not understand.
        """
        self._engine = _engine(url)
        self.dialect = self._engine.dialect.name
        # A transaction of SQLite sees a single state anyway.
        is_sqlite = self.dialect == "sqlite"
        self._snapshot = {} if is_sqlite else {"isolation_level": "REPEATABLE READ"}
        # A query may hold a password too.
        self._name = self._engine.url.set(query={}).render_as_string(hide_password=True)
        try:
            if self.dialect == "sqlite":
                _use_write_ahead_log(self._engine)
            self._migrate()
        except (DBAPIError, sqlite3.Error) as error:
            raise UserError(
                f"the leaderboard {self._name} cannot be opened: {_cause(error)}"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read a single state of the database, whoever writes meanwhile.

        Raises:
            RunError: if the database does not answer any more.
        """
        with self._transaction(self._snapshot) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Write everything or nothing.

        Raises:
            RunError: if the database does not answer any more.
        """
        # Otherwise, when two have read and both want to write, SQLite refuses one of them at once.
        with self._transaction({"sqlite_kind": "IMMEDIATE"}) as connection:
            yield connection

    def try_writing(self, *statements: Executable) -> None:
        """Execute statements and take them back.

        Raises:
            UserError: the database refuses, or does not answer.
        """
        try:
            with self._engine.execution_options(sqlite_kind="IMMEDIATE").connect() as connection:
                for statement in statements:
                    connection.execute(statement)
                connection.rollback()
        except (DBAPIError, sqlite3.Error) as error:
            raise UserError(
                f"the leaderboard {self._name} cannot be written to ({_cause(error)}): set "
                "leaderboard_url to one that can"
            ) from error

    @contextmanager
    def _transaction(self, options: Mapping[str, str]) -> Iterator[Connection]:
        try:
            with self._engine.execution_options(**options).begin() as connection:
                yield connection
        except _UNREACHABLE as error:
            raise RunError(
                f"the leaderboard {self._name} does not answer: {_cause(error)}; try again"
            ) from error
        except ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
                raise
            raise UserError(
                f"the leaderboard {self._name} refuses this user: {_cause(error)}"
            ) from error

    def _migrate(self) -> None:
        with self._engine.begin() as connection:
            if self._version(connection) == HEAD:
                return
        # Imported here because it takes time, and most databases are up to date.
        from omnimat.leaderboard.migrations.upgrade import upgrade

        with self._engine.execution_options(sqlite_kind="IMMEDIATE").begin() as connection:
            if self.dialect == "postgresql":
                lock = text("SELECT pg_advisory_xact_lock(:number)")
                connection.execute(lock, {"number": _POSTGRESQL_MIGRATION_LOCK})
            upgrade(connection, self._version(connection), self._name)

    def _version(self, connection: Connection) -> str | None:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
        return version


def _engine(url: str) -> Engine:
    try:
        engine = create_engine(_with_driver(make_url(url)), poolclass=NullPool)
    except UserError:
        raise
    except (ArgumentError, ValueError):
        # The URL and the error may hold a password, so the message repeats neither.
        raise UserError(
            "leaderboard_url is no database URL; write sqlite:////path/leaderboard.sqlite or "
            "postgresql://user@host/database"
        ) from None
    except ModuleNotFoundError as error:
        raise UserError(
            f"leaderboard_url needs a database driver that is not installed ({error.name}); "
            "for PostgreSQL install psycopg and write postgresql://user@host/database"
        ) from error
    if engine.dialect.name == "sqlite":
        _make_folder(Path(engine.url.database or "").parent)
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin)
    return engine


def _with_driver(url: URL) -> URL:
    """Choose psycopg 3 for PostgreSQL, where SQLAlchemy would choose psycopg2."""
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise UserError(
            f"leaderboard_url names {url.get_backend_name()}; use one of sqlite, postgresql"
        )
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"leaderboard_url: the folder {folder} cannot be made: {error.strerror}"
        ) from error


def _cause(error: Exception) -> str:
    """Give the answer of the database on one line."""
    return " ".join(str(getattr(error, "orig", error)).split())


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    """Make a second writer wait for the first, and leave starting transactions to ``_begin``."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_SQLITE_BUSY_TIMEOUT_MS}")


def _begin(connection: Connection) -> None:
    """Begin a transaction before tables are made too; by itself, sqlite3 begins one later."""
    kind = connection.get_execution_options().get("sqlite_kind", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")


def _use_write_ahead_log(engine: Engine) -> None:
    """Let readers read while a writer writes; the file remembers this setting.

    SQLite does not wait for the lock that the change needs, so processes that make the file at the
    same time wait here.
    """
    deadline_s = time.monotonic() + _SQLITE_BUSY_TIMEOUT_MS / 1000
    with closing(engine.raw_connection()) as connection:
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                # The low byte is the kind of error; the other bytes give details.
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline_s:
                    raise
                time.sleep(_SQLITE_RETRY_S)
