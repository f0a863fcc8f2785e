"""The database behind the leaderboard: its connection, transactions and schema version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Executable,
    NullPool,
    create_engine,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
)

from omnimat.base.errors import RunError, UserError
from omnimat.base.words import shortened
from omnimat.leaderboard.schema import HEAD, VERSION_TABLE
from omnimat.leaderboard.sqlite_file import (
    RESTORE,
    cause,
    check_ours,
    leave_transactions_to_us,
    url_to_read,
    use_write_ahead_log,
)
from omnimat.leaderboard.unusable import UnusableError

# The URL and the error may hold a password, so the message repeats neither.
_NO_URL = (
    "leaderboard_url is no database URL; write sqlite:////path/leaderboard.sqlite or "
    "postgresql://user@host/database"
)
# A random number, by which alone PostgreSQL knows a lock.
_POSTGRESQL_MIGRATION_LOCK = 6_311_407_052_218_339
_INSUFFICIENT_PRIVILEGE = "42501"  # SQLSTATE of PostgreSQL
_UNREACHABLE = (OperationalError, InterfaceError)
# What a value that is no value of its column raises on its way to Python.
_UNREADABLE = (ValueError, TypeError, LookupError)


class _TakenBackError(Exception):
    """Ends a transaction without a trace."""


class Database:
    """Transactions on an SQLite file or a PostgreSQL database, which has the newest schema.

    Attributes:
        dialect: ``sqlite`` or ``postgresql``.
        name: what messages call the database.
        is_read_only: whether it is a file where nothing can be written, which can only be read.
    """

    def __init__(self, url: str) -> None:
        """Open the database, or make it, and bring its schema up to date.

        Raises:
            UserError: if the URL cannot be used, the database cannot be opened, is of another
                program, or was written by a version of omnimat that this one does not understand.
            RunError: if another program has locked it.
        """
        made = _url(url)
        # A query may hold a password too.
        self.name = made.set(query={}).render_as_string(hide_password=True)
        self.dialect = made.get_backend_name()
        is_sqlite = self.dialect == "sqlite"
        # A transaction of SQLite sees a single state anyway.
        self._snapshot = {} if is_sqlite else {"isolation_level": "REPEATABLE READ"}
        to_read = url_to_read(made) if is_sqlite else None
        self.is_read_only = to_read is not None
        self._engine = _engine(to_read or made)
        try:
            if is_sqlite:
                with self._engine.begin() as connection:
                    check_ours(connection, self.name)
            if is_sqlite and not self.is_read_only:
                use_write_ahead_log(self._engine)
            self._migrate()
        except UserError:
            raise
        except (DBAPIError, sqlite3.Error, *_UNREADABLE) as error:
            kind, _, remedy = cause(_origin(error)) or (UserError, "", "")
            raise kind(_sentence(self.name, "cannot be opened", error, remedy)) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read a single state of the database, whoever writes meanwhile.

        Raises:
            RunError: if the database does not answer any more.
            UserError: if it is damaged.
        """
        with self._transaction(self._snapshot) as connection:
            yield connection

    def check_writable(self) -> None:
        """Say at once that nothing can be written, before work is done that would be lost.

        Raises:
            UnusableError: it is a file that can only be read.
        """
        if self.is_read_only:
            raise UnusableError(
                f"the leaderboard {self.name} lies where nothing can be written; copy it to a "
                "folder that can be written, and name that in leaderboard_url"
            )

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Write everything or nothing.

        Raises:
            RunError: if the database does not answer any more, or its disk is full.
            UnusableError: if it is damaged, or can only be read.
        """
        self.check_writable()
        # Otherwise, when two have read and both want to write, SQLite refuses one of them at once.
        with self._transaction({"sqlite_kind": "IMMEDIATE"}) as connection:
            yield connection

    def try_writing(self, *statements: Executable) -> None:
        """Execute statements and take them back.

        Raises:
            UnusableError: the database refuses.
            RunError: it does not answer, or its disk is full.
        """
        with suppress(_TakenBackError), self.writing() as connection:
            for statement in statements:
                connection.execute(statement)
            raise _TakenBackError

    @contextmanager
    def _transaction(self, options: Mapping[str, str]) -> Iterator[Connection]:
        try:
            with self._engine.execution_options(**options).begin() as connection:
                yield connection
        except UserError:
            raise
        except _UNREADABLE as error:
            sentence = _sentence(self.name, "is damaged", error, RESTORE)
            raise UnusableError(sentence) from error
        except DBAPIError as error:
            if told := cause(error.orig):
                kind, what, remedy = told
                raise kind(_sentence(self.name, what, error, remedy)) from error
            if isinstance(error, _UNREACHABLE):
                sentence = _sentence(self.name, "does not answer", error, "try again")
                raise RunError(sentence) from error
            if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
                raise
            raise UnusableError(_sentence(self.name, "refuses this user", error)) from error

    def _migrate(self) -> None:
        with self._engine.begin() as connection:
            version = self._version(connection)
            if version == HEAD:
                return
        if self.is_read_only:
            raise UserError(
                f"the leaderboard {self.name} has schema {version}, not {HEAD}, and lies where "
                "nothing can be written; copy it to a folder that can be written"
            )
        # Imported here because it takes time, and most databases are up to date.
        from omnimat.leaderboard.migrations.upgrade import upgrade

        with self._engine.execution_options(sqlite_kind="IMMEDIATE").begin() as connection:
            if self.dialect == "postgresql":
                lock = text("SELECT pg_advisory_xact_lock(:number)")
                connection.execute(lock, {"number": _POSTGRESQL_MIGRATION_LOCK})
            upgrade(connection, self._version(connection), self.name)

    def _version(self, connection: Connection) -> str | None:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
        return version


def _url(url: str) -> URL:
    """Read a URL, with psycopg 3 for PostgreSQL, where SQLAlchemy would choose psycopg2."""
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        raise UserError(_NO_URL) from None
    if made.get_backend_name() not in {"sqlite", "postgresql"}:
        raise UserError(
            f"leaderboard_url names {made.get_backend_name()}; use one of sqlite, postgresql"
        )
    return made.set(drivername="postgresql+psycopg") if made.drivername == "postgresql" else made


def _engine(url: URL) -> Engine:
    try:
        engine = create_engine(url, poolclass=NullPool)
    except (ArgumentError, ValueError):
        raise UserError(_NO_URL) from None
    except ModuleNotFoundError as error:
        raise UserError(
            f"leaderboard_url needs a database driver that is not installed ({error.name}); "
            "for PostgreSQL install psycopg and write postgresql://user@host/database"
        ) from error
    if engine.dialect.name == "sqlite":
        if not url.query:
            _make_folder(Path(url.database or "").parent)
        leave_transactions_to_us(engine)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"leaderboard_url: the folder {folder} cannot be made: {error.strerror}"
        ) from error


def _sentence(name: str, what: str, error: Exception, remedy: str = "") -> str:
    """Put the answer of the database on one line."""
    answer = shortened(str(_origin(error)), 200)
    return f"the leaderboard {name} {what}: {answer}{'; ' if remedy else ''}{remedy}"


def _origin(error: Exception) -> BaseException:
    """Give the driver's own error."""
    return getattr(error, "orig", None) or error
