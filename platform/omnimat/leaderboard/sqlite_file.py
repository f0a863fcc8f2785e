"""What is particular to SQLite: a file that may be foreign, damaged, full or read-only."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, event

from omnimat.base.errors import RunError, UserError
from omnimat.base.words import shortened
from omnimat.leaderboard.schema import VERSION_TABLE, metadata
from omnimat.leaderboard.unusable import UnusableError

BUSY_TIMEOUT_MS = 60_000
_RETRY_S = 0.02
_SHOWN_TABLES = 3
RESTORE = "restore it from a copy, or name another in leaderboard_url"

# By SQLite's result code: who can mend it, what is wrong, and the remedy.
_CAUSES: dict[int, tuple[type[UserError | RunError], str, str]] = {
    sqlite3.SQLITE_BUSY: (RunError, "is locked", "end the program that holds it, or try again"),
    sqlite3.SQLITE_FULL: (RunError, "cannot be written", "free some space on its disk"),
    sqlite3.SQLITE_IOERR: (RunError, "cannot be read or written", "check its disk"),
    sqlite3.SQLITE_READONLY: (UnusableError, "cannot be written", "make its folder writable"),
    sqlite3.SQLITE_CORRUPT: (UnusableError, "is damaged", RESTORE),
    sqlite3.SQLITE_NOTADB: (UnusableError, "is damaged", RESTORE),
    sqlite3.SQLITE_ERROR: (UnusableError, "is damaged", RESTORE),
}


def cause(error: BaseException | None) -> tuple[type[UserError | RunError], str, str] | None:
    """Say of an error of SQLite what class ours is of, what is wrong, and what helps."""
    if not isinstance(error, sqlite3.DatabaseError):
        return None
    # Text that is no text has no code. The low byte is the kind of error, the others are details.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return _CAUSES.get(code & 0xFF)


def url_to_read(url: URL) -> URL | None:
    """Give the URL by which a file is read that cannot be written; None where it can be.

    SQLite writes two files beside the one that it reads. Without them it can only read a file that
    nobody changes, and nothing of what was not yet moved into that file.

    Raises:
        UserError: the file is no file, or writes wait beside it that cannot be read here.
    """
    path = Path(url.database or "")
    if url.query or not url.database or url.database == ":memory:" or not path.exists():
        return None
    if not path.is_file() and not path.is_dir():
        raise UserError(f"leaderboard_url: {path} is no file; name one")
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return None
    waiting, index = (Path(f"{path}-{ending}") for ending in ("wal", "shm"))
    are_waiting = waiting.is_file() and waiting.stat().st_size > 0
    if are_waiting and not index.is_file():
        raise UserError(
            f"the leaderboard {path} cannot be written, and {waiting.name} beside it holds results "
            "that it does not have yet; copy both files to a folder that can be written"
        )
    query = {"mode": "ro", "uri": "true"} | ({} if are_waiting else {"immutable": "1"})
    return url.set(database=f"file:{quote(str(path.absolute()))}", query=query)


def leave_transactions_to_us(engine: Engine) -> None:
    """Let a second writer wait for the first, and begin transactions before tables are made too."""
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _begin)


def check_ours(connection: Connection, name: str) -> None:
    """Refuse the file of another program, before anything is written into it.

    Raises:
        UserError: it has tables, and none of them is of a leaderboard, or it would run a program of
            its own in place of reading or writing its tables.
    """
    _refuse_programs(connection, name)
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
    names = [one for (one,) in connection.exec_driver_sql(query)]
    application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    if VERSION_TABLE in names or not (names or application):
        return
    more = ", ..." if len(names) > _SHOWN_TABLES else ""
    holds = f"it holds {', '.join(names[:_SHOWN_TABLES])}{more}" if names else "its header says so"
    raise UserError(
        f"the leaderboard {name} is a file of another program ({holds}), which is left as it is; "
        "name another file in leaderboard_url"
    )


def _refuse_programs(connection: Connection, name: str) -> None:
    """Refuse triggers on our tables, and views in their place; SQLite ignores the case of names."""
    query = "SELECT type, name, tbl_name FROM sqlite_master WHERE type IN ('trigger', 'view')"
    for kind, own, table in connection.exec_driver_sql(query):
        if str(table).lower() in {VERSION_TABLE, *metadata.tables}:
            told = shortened(f"{kind} {own}")
            raise UserError(
                f"the leaderboard {name} has a {told!r} in its tables, which omnimat does not "
                f"make, so it is not used; {RESTORE}"
            )


def use_write_ahead_log(engine: Engine) -> None:
    """Let readers read while a writer writes; the file remembers this setting.

    SQLite does not wait for the lock that the change needs, so processes that make the file at the
    same time wait here.
    """
    deadline_s = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    with closing(engine.raw_connection()) as connection:
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline_s:
                    raise
                time.sleep(_RETRY_S)


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA trusted_schema=OFF")  # the file may come from a stranger


def _begin(connection: Connection) -> None:
    """Begin a transaction; by itself, sqlite3 begins one only when rows are written."""
    kind = connection.get_execution_options().get("sqlite_kind", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")
