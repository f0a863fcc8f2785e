"""A database of before loses nothing, one of later is left alone, and none is half changed."""

import json
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, make_url

from omnimat.base.errors import UserError
from omnimat.leaderboard import schema
from omnimat.leaderboard.store import LeaderboardStore

# What omnimat wrote before its leaderboard had versions.
OLD = """
CREATE TABLE leaderboard_rows (
	row_id VARCHAR NOT NULL, task VARCHAR NOT NULL, metric VARCHAR NOT NULL,
	unit VARCHAR NOT NULL, higher_is_better BOOLEAN NOT NULL, model VARCHAR NOT NULL,
	variant VARCHAR NOT NULL, seed BIGINT NOT NULL, value FLOAT NOT NULL, num_test BIGINT NOT NULL,
	dataset VARCHAR NOT NULL, dataset_fingerprint VARCHAR NOT NULL, split_sha256 VARCHAR NOT NULL,
	config_hash VARCHAR NOT NULL, config JSON NOT NULL, code_commit VARCHAR NOT NULL,
	code_dirty BOOLEAN NOT NULL, checkpoint_uri VARCHAR NOT NULL,
	checkpoint_sha256 VARCHAR NOT NULL, predictions_uri VARCHAR NOT NULL,
	predictions_sha256 VARCHAR NOT NULL, parent_run VARCHAR NOT NULL, run_name VARCHAR NOT NULL,
	hyperparameters JSON NOT NULL, hardware JSON NOT NULL, wall_time_s FLOAT NOT NULL,
	samples_seen BIGINT NOT NULL, created_at VARCHAR NOT NULL, status VARCHAR NOT NULL,
	PRIMARY KEY (row_id)
)"""
NEW_FIELDS = {"details", "dataset_uri", "verified_at", "verified_with"}


def write_old(url, rows, execute):
    """Make the table of before and fill it as its code did."""
    statements = [OLD]
    for row in rows:
        values = {"row_id": row.row_id, **row.model_dump(mode="json", exclude=NEW_FIELDS)}
        cells = [json.dumps(v) if isinstance(v, dict) else v for v in values.values()]
        literals = ", ".join(literal(cell) for cell in cells)
        statements.append(f"INSERT INTO leaderboard_rows ({', '.join(values)}) VALUES ({literals})")
    execute(url, *statements)


def literal(cell):
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return repr(cell) if isinstance(cell, int | float) else "'" + cell.replace("'", "''") + "'"


@pytest.fixture
def url(url, tmp_path):
    (tmp_path / "new folder").mkdir(exist_ok=True)
    return url


def names_of(url):
    made = make_url(url)
    if made.get_backend_name() == "postgresql":
        made = made.set(drivername="postgresql+psycopg")
    engine = create_engine(made)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def test_rows_of_before_are_all_there(url, make_row, execute):
    rows = [
        make_row(),
        make_row(seed=1, created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        make_row(model="it's [µ]", config={"other": [1, {"a": None}]}),
        make_row(task="retrieval a -> b", hyperparameters={"chance": 0.25}, higher_is_better=True),
        make_row(task="z", hyperparameters={}, status="verified"),
    ]
    write_old(url, rows, execute)
    moved = LeaderboardStore(url).rows()
    # Where an evaluation kept the level of chance, there are now details.
    chance = rows[3].model_copy(update={"hyperparameters": {}, "details": {"chance": 0.25}})
    expected = [*rows[:3], chance, rows[4]]
    assert sorted(moved, key=lambda row: row.row_id) == sorted(expected, key=lambda r: r.row_id)
    store = LeaderboardStore(url)
    store.upsert([make_row(value=0.7), make_row(seed=9)])  # it is as good as any other
    assert store.row(make_row().row_id).value == 0.7
    assert len(store.summaries()) == 4
    assert names_of(url) == {*schema.metadata.tables, schema.VERSION_TABLE}


def test_an_empty_table_of_before_is_no_hindrance(url, execute):
    write_old(url, [], execute)
    assert LeaderboardStore(url).rows() == []


def test_a_table_of_another_kind_is_refused_and_left_alone(url, execute):
    execute(
        url,
        "CREATE TABLE leaderboard_rows (row_id VARCHAR PRIMARY KEY, task VARCHAR)",
        "INSERT INTO leaderboard_rows VALUES ('1', 'x')",
    )
    with pytest.raises(UserError, match="another version of omnimat"):
        LeaderboardStore(url)
    assert names_of(url) == {"leaderboard_rows"}
    assert execute(url, "SELECT * FROM leaderboard_rows") == [("1", "x")]


def test_a_migration_that_fails_changes_nothing(url, make_row, execute):
    """Two configurations under one hash cannot both be kept."""
    rows = [make_row(), make_row(seed=1, config={"a": 1}, config_hash=make_row().config_hash)]
    write_old(url, rows, execute)
    with pytest.raises(UserError, match=f"two configurations under.*{make_row().config_hash}"):
        LeaderboardStore(url)
    assert names_of(url) == {"leaderboard_rows"}
    assert len(execute(url, "SELECT * FROM leaderboard_rows")) == 2


def test_a_database_of_a_newer_omnimat_is_refused_and_left_alone(url, make_row, execute):
    LeaderboardStore(url).upsert([make_row()])
    execute(url, f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(UserError, match=r"newer omnimat \(its schema is 9999\)"):
        LeaderboardStore(url)
    assert len(execute(url, "SELECT * FROM leaderboard_rows")) == 1


def test_migrated_tables_are_those_of_the_code(url):
    LeaderboardStore(url)
    made = make_url(url)
    if made.get_backend_name() == "postgresql":
        made = made.set(drivername="postgresql+psycopg")
    engine = create_engine(made)
    with engine.connect() as connection:
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_the_newest_version_is_the_one_that_the_code_expects():
    config = Config()
    config.set_main_option("script_location", "omnimat.leaderboard:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]
