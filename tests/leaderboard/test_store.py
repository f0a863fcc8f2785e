"""Rows come back as they went in, once each, whoever else is writing."""

import sqlite3
import subprocess
import sys
from contextlib import ExitStack

import pytest
from pydantic import TypeAdapter
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore, StoredRow, upsert_statement
from omnimat.materials.errors import UserError


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'new folder' / 'leaderboard.sqlite'}"


def test_columns_are_the_rows_fields():
    assert set(StoredRow.__table__.columns.keys()) == {"row_id", *Row.model_fields}


def test_rows_survive_reopening_exactly(url, make_row):
    rows = [make_row(seed=seed, value=0.1 + seed / 3) for seed in range(3)]
    LeaderboardStore(url).upsert(reversed(rows))
    assert LeaderboardStore(url).rows() == rows


def test_writing_again_replaces(url, make_row):
    store = LeaderboardStore(url)
    store.upsert([])
    assert store.rows() == []
    store.upsert([make_row(), make_row(seed=1)])
    store.upsert([make_row(), make_row(seed=1, value=0.5, status="verified")])
    assert [(row.seed, row.value, row.status) for row in store.rows()] == [
        (0, 0.1, "self_reported"),
        (1, 0.5, "verified"),
    ]


def test_a_batch_is_written_whole_or_not_at_all(url, make_row):
    store = LeaderboardStore(url)
    store.upsert([make_row(value=0.3)])
    broken = make_row(seed=2).model_copy(update={"num_test": None})  # the column refuses a null
    with pytest.raises(SQLAlchemyError):
        store.upsert([make_row(value=0.9), make_row(seed=1), broken])
    assert [row.value for row in store.rows()] == [0.3]


WRITER = """
import sys
from pydantic import TypeAdapter
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
print("ready", flush=True)
rows = TypeAdapter(list[Row]).validate_json(sys.stdin.readline())
store = LeaderboardStore(sys.argv[1])
for row in rows:
    store.upsert([row])
"""


def test_concurrent_writers_lose_nothing(url, make_row):
    num_writers, num_each = 4, 25
    # The first row of every writer is the same one.
    batches = [
        [make_row(seed=-1), *(make_row(seed=writer * num_each + i) for i in range(num_each))]
        for writer in range(num_writers)
    ]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, url],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in batches
        ]
        assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * num_writers
        for writer, batch in zip(writers, batches, strict=True):
            writer.stdin.write(TypeAdapter(list[Row]).dump_json(batch).decode() + "\n")
            writer.stdin.flush()
        assert [writer.wait(60) for writer in writers] == [0] * num_writers
    seeds = [row.seed for row in LeaderboardStore(url).rows()]
    assert seeds == [-1, *range(num_writers * num_each)]


def test_postgresql_upserts_by_row_id():
    compiled = str(upsert_statement("postgresql").compile(dialect=postgresql.dialect()))
    assert "ON CONFLICT (row_id) DO UPDATE SET task = excluded.task" in compiled


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no url at all: secret", "no database URL"),
        ("oracle9://user:secret@host/db", "no database URL"),
        ("mssql+pyodbc://user:secret@host/db", "driver"),
    ],
)
def test_unusable_urls_are_the_users_error_and_keep_the_password(url, message):
    with pytest.raises(UserError, match=message) as caught:
        LeaderboardStore(url)
    assert "secret" not in str(caught.value)


def test_a_folder_is_no_database(tmp_path):
    with pytest.raises(UserError, match="cannot be opened: unable to open"):
        LeaderboardStore(f"sqlite:///{tmp_path}")


def test_another_versions_table_is_refused(tmp_path):
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE leaderboard_rows (row_id TEXT PRIMARY KEY, task TEXT)")
    connection.close()
    with pytest.raises(UserError, match="another version"):
        LeaderboardStore(f"sqlite:///{path}")
