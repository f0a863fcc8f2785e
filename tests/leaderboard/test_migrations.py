"""A database of before loses nothing, one of later is left alone, and none is half changed."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from omnimat.base.errors import UserError
from omnimat.leaderboard import schema
from omnimat.leaderboard.store import LeaderboardStore

# Task, keys of the configuration, file: and the section that rows of before belong to.
SECTIONS = [
    ("retrieval a -> b (train split)", {"split": 1}, "/r/embeddings.npz", "retrieval"),
    ("retrieval a -> b", {"tasks": []}, "/r/p.parquet", "finetune"),
    ("alignment of a and b", {"split": 1}, "/r/embeddings.npz", "clusters"),
    ("crystal systems in a", {"clusters": {}}, "/r/embeddings.npz", "clusters"),
    ("spread of a", {}, "/r/embeddings.npz", "clusters"),
    ("zero-shot metal of a", {"zero_shot": {}}, "/r/zero_shot-metal.parquet", "zero_shot"),
    ("discovery dos -> a", {"discovery": {}}, "/r/discovery.parquet", "discovery"),
    ("gap", {"tasks": [], "cards": {}}, "/r/predictions/gap/p.parquet", "finetune"),
    ("old gap", {"task": {}}, "/r/predictions/gap/p.parquet", "finetune"),
    ("by hand", {"a": {"zero_shot": 1, "tasks": 2}}, "", ""),
]


# Statements that make the newest schema the first one again.
FIRST = (
    "DROP INDEX ix_leaderboard_groups_last_write",
    "DROP INDEX ix_leaderboard_groups_model",
    "DROP INDEX ix_leaderboard_rows_parent_run",
    "ALTER TABLE leaderboard_groups DROP COLUMN last_write",
    "ALTER TABLE leaderboard_rows RENAME COLUMN checked_at TO verified_at",
    "ALTER TABLE leaderboard_rows RENAME COLUMN checked_with TO verified_with",
    "UPDATE leaderboard_rows SET status = 'verified' WHERE status = 'recomputed'",
    "ALTER TABLE leaderboard_rows DROP COLUMN section",
    f"UPDATE {schema.VERSION_TABLE} SET version_num = '0001'",
)


@pytest.fixture
def rows(make_row):
    return [
        make_row(task=task, config=config, predictions_uri=uri, section=section)
        for task, config, uri, section in SECTIONS
    ]


@pytest.fixture
def url(url, tmp_path):
    (tmp_path / "new folder").mkdir(exist_ok=True)
    return url


def test_rows_of_before_are_told_their_section_and_are_otherwise_the_same(url, rows, execute):
    store = LeaderboardStore(url)
    store.upsert(rows)
    store.mark(rows[:3], "recomputed", "omnimat")
    before = store.rows()
    execute(url, *FIRST)
    assert LeaderboardStore(url).rows() == before
    assert [row.status for row in before].count("recomputed") == 3
    assert {row.row_id for row in before} == {row.row_id for row in rows}


def test_a_row_without_its_configuration_is_no_hindrance(url, rows, execute):
    LeaderboardStore(url).upsert(rows)
    execute(
        url,
        "UPDATE leaderboard_configs SET config = '[1]'",
        *FIRST,
    )
    found = {one.values["task"]: one.values["section"] for one in LeaderboardStore(url).stored()}
    assert found["alignment of a and b"] == "clusters"
    assert found["gap"] == ""


def test_files_beside_the_database_are_named_relative_to_it(tmp_path, make_row, execute):
    """So that an old storage can be moved; files elsewhere keep their names."""
    url = f"sqlite:///{tmp_path}/leaderboard.sqlite"
    names = [
        f"{tmp_path}/runs/a/p.parquet",
        "/else/runs/a/p.parquet",
        f"{tmp_path}-2/p",
        "s3://b/p",
    ]
    uris = [{"predictions_uri": one, "checkpoint_uri": one, "dataset_uri": one} for one in names]
    rows = [make_row(seed=seed, **one) for seed, one in enumerate(uris)]
    LeaderboardStore(url).upsert(rows)
    execute(url, *FIRST)
    found = LeaderboardStore(url).rows()
    now = ["runs/a/p.parquet", *names[1:]]
    for name in ("predictions_uri", "checkpoint_uri", "dataset_uri"):
        assert [getattr(row, name) for row in found] == now


@pytest.mark.parametrize("table", ["leaderboard_rows", "leaderboard_state"])
def test_a_migration_that_fails_changes_nothing(url, table, connected, execute):
    """A table of this name is there already, and is not ours."""
    execute(url, f"CREATE TABLE {table} (x VARCHAR)", f"INSERT INTO {table} VALUES ('1')")
    with pytest.raises(UserError, match=rf"{table}.* already exists|another program .*{table}"):
        LeaderboardStore(url)
    with connected(url) as connection:
        assert inspect(connection).get_table_names() == [table]
    assert execute(url, f"SELECT * FROM {table}") == [("1",)]


def test_a_database_of_a_newer_omnimat_is_refused_and_left_alone(url, make_row, execute):
    LeaderboardStore(url).upsert([make_row()])
    execute(url, f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(UserError, match=r"newer omnimat \(its schema is 9999\)"):
        LeaderboardStore(url)
    assert len(execute(url, "SELECT * FROM leaderboard_rows")) == 1


def test_migrated_tables_are_those_of_the_code(url, connected):
    LeaderboardStore(url)
    with connected(url) as connection:
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, schema.metadata) == []


def test_the_newest_version_is_the_one_that_the_code_expects():
    config = Config()
    config.set_main_option("script_location", "omnimat.leaderboard:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]
