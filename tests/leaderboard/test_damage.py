"""Files that are foreign, damaged, locked, full or read-only: one sentence, and nothing changed."""

import hashlib
import os
import random
import re
import sqlite3
import subprocess
from contextlib import closing, contextmanager

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from omnimat.base.errors import RunError, UserError
from omnimat.cli.main import main
from omnimat.leaderboard import sqlite_file
from omnimat.leaderboard.database import Database
from omnimat.leaderboard.exchange import to_csv
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard.app import create_app


@pytest.fixture
def rows(make_row):
    return [make_row(seed=seed, model=f"m{seed % 4}", config={"a": seed % 3}) for seed in range(40)]


@pytest.fixture
def file(tmp_path, rows):
    """The file of a leaderboard, to which nobody is connected."""
    path = tmp_path / "board" / "leaderboard.sqlite"
    LeaderboardStore(f"sqlite:///{path}").upsert(rows)
    return path


def leaderboard(*arguments, file):
    """Run a command, which ends in a sentence if it does not end well, never in a traceback."""
    url = f"sqlite:///{file}"
    result = CliRunner().invoke(main, ["leaderboard", *map(str, arguments), "--url", url])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    if result.exit_code:
        assert result.stderr.startswith("omnimat: "), result.stderr
        assert result.stderr.count("\n") == 1, result.stderr
        assert result.exit_code in {1, 2}
    return result


def content_of(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.iterdir()}


FOREIGN = [
    ["CREATE TABLE albums (x)", "INSERT INTO albums VALUES (1)"],
    ["CREATE VIEW songs AS SELECT 1"],
    ["PRAGMA application_id = 1196444487"],
    [f"CREATE TABLE t{number} (x)" for number in range(20)],
]


@pytest.mark.parametrize("statements", FOREIGN, ids=lambda statements: statements[0])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_the_file_of_another_program_is_left_as_it_is(tmp_path, statements, journal):
    file = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        for statement in (f"PRAGMA journal_mode = {journal}", *statements):
            connection.execute(statement)
        connection.commit()
    before = content_of(tmp_path)
    for command in (["show"], ["verify"], ["export", tmp_path / "x.json"]):
        result = leaderboard(*command, file=file)
        assert (result.exit_code, "of another program" in result.stderr) == (2, True)
    assert content_of(tmp_path) == before


PROGRAMS = [
    [
        "CREATE TRIGGER better AFTER INSERT ON Leaderboard_Rows BEGIN "
        "UPDATE leaderboard_rows SET value = 0; END"
    ],
    [
        "ALTER TABLE leaderboard_rows RENAME TO hidden",
        "CREATE VIEW Leaderboard_rows AS SELECT * FROM hidden",
    ],
    [
        "ALTER TABLE leaderboard_schema_version RENAME TO hidden",
        "CREATE VIEW leaderboard_schema_version AS SELECT * FROM hidden",
    ],
]


@pytest.mark.parametrize("statements", PROGRAMS, ids=["trigger", "view", "version"])
def test_a_leaderboard_that_brings_a_program_is_not_used(file, statements):
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    before = content_of(file.parent)
    for command in (["show"], ["verify"]):
        result = leaderboard(*command, file=file)
        assert (result.exit_code, "which omnimat does not make" in result.stderr) == (2, True)
    assert content_of(file.parent) == before


def test_a_view_of_ones_own_beside_the_tables_is_let_be(file):
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE VIEW mine AS SELECT value FROM leaderboard_rows")
        connection.commit()
    assert leaderboard("show", file=file).exit_code == 0


def test_the_schema_of_a_file_is_not_trusted(file):
    with Database(f"sqlite:///{file}").reading() as connection:
        assert connection.exec_driver_sql("PRAGMA trusted_schema").scalar_one() == 0


def _damaged(whole: bytes, draw: random.Random) -> bytes:
    data, kind = bytearray(whole), draw.randrange(4)
    if kind == 0:
        return bytes(data[: draw.randrange(len(data))])
    if kind == 1:
        start = 512 * draw.randrange(len(data) // 512)
        data[start : start + 512] = draw.randbytes(512)
    else:
        for _ in range(draw.randrange(1, 40)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_pages_end_in_a_sentence(file, make_row, seed):
    """Whatever was damaged, all is read or a sentence names the file or the row."""
    file.write_bytes(_damaged(file.read_bytes(), random.Random(seed)))

    def read_and_write():
        store = LeaderboardStore(f"sqlite:///{file}")
        store.boards(), store.summaries(), store.version(), store.stored(), to_csv(store.rows())
        store.upsert([make_row(seed=99)])

    sentence = f"{file}"
    try:
        read_and_write()
    except (UserError, RunError) as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert str(file) in sentence or "of the leaderboard was changed by hand" in sentence
    assert leaderboard("show", file=file).exit_code in {0, 1, 2}


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\x00", bytes(4096)])
def test_what_is_no_database_is_left_as_it_is(tmp_path, content):
    file = tmp_path / "leaderboard.sqlite"
    file.write_bytes(content)
    result = leaderboard("show", file=file)
    assert result.exit_code == 2
    assert "restore it from a copy" in result.stderr
    assert content_of(tmp_path) == {file.name: hashlib.sha256(content).digest()}


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/status", "/"])
def test_what_is_no_file_is_refused_at_once(path):
    assert leaderboard("show", file=path).exit_code == 2


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is no file" in leaderboard("show", file=tmp_path / "pipe").stderr


def test_a_locked_file_is_waited_for_and_then_named(file, monkeypatch, tmp_path):
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_MS", 200)
    leaderboard("export", tmp_path / "board.json", file=file)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        result = leaderboard("import", tmp_path / "board.json", file=file)
        assert result.exit_code == 1
        assert "is locked: database is locked; end the program that holds it" in result.stderr
        assert leaderboard("show", file=file).exit_code == 0
        other.execute("ROLLBACK")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        result = leaderboard("show", file=file)
        assert (result.exit_code, "database is locked" in result.stderr) == (1, True)


def test_a_full_file_is_named_and_keeps_what_it_has(file, rows, make_row):
    store = LeaderboardStore(f"sqlite:///{file}")

    def limited(connection, _record):
        connection.execute("PRAGMA max_page_count = 1")  # which SQLite raises to what there is

    sqlite_file.event.listen(store._database._engine, "connect", limited)
    more = [make_row(seed=seed, details={"text": "x" * 5_000}) for seed in range(100, 200)]
    with pytest.raises(RunError, match=r"cannot be written: .* is full; free some space"):
        store.upsert(more)
    assert len(LeaderboardStore(f"sqlite:///{file}").rows()) == len(rows)


@contextmanager
def mounted(*command, at):
    """Mount something, which takes root."""
    done = subprocess.run(["mount", *command, str(at)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("may not mount here")
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.fixture
def read_only(file):
    """The folder of a leaderboard as a read-only mount, or one that its user may not write to."""
    folder = file.parent
    if os.geteuid():
        folder.chmod(0o555)
        yield file
        folder.chmod(0o755)
        return
    with mounted("--bind", str(folder), at=folder):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield file


def test_a_read_only_leaderboard_is_shown_exported_and_served(read_only, tmp_path, rows):
    assert "m3" in leaderboard("show", file=read_only).output
    for name in ("board.json", "board.csv", "site"):
        assert leaderboard("export", tmp_path / name, file=read_only).exit_code == 0
    app = create_app(f"sqlite:///{read_only}", str(tmp_path), "token")
    with TestClient(app, "http://127.0.0.1") as client:
        assert "m3" in client.get("/").text
        headers = {"Authorization": "Bearer token"}
        answer = client.post("/api/rows", content=f"[{rows[0].model_dump_json()}]", headers=headers)
        assert (answer.status_code, "can be written" in answer.json()["error"]) == (503, True)
    for command in (["import", tmp_path / "board.json"], ["verify"]):
        result = leaderboard(*command, file=read_only)
        assert (result.exit_code, "nothing can be written" in result.stderr) == (2, True)
    assert sorted(path.name for path in read_only.parent.iterdir()) == [read_only.name]


def test_results_that_wait_beside_a_read_only_file_are_not_left_out(file, make_row, tmp_path):
    """A copy that was taken while somebody wrote: its newest rows are in a file of their own."""
    copied = tmp_path / "copied"
    with closing(sqlite3.connect(file)) as holds_it_open:
        holds_it_open.execute("SELECT count(*) FROM leaderboard_rows").fetchall()
        LeaderboardStore(f"sqlite:///{file}").upsert([make_row(seed=77)])
        copied.mkdir()
        for name in (file.name, f"{file.name}-wal"):
            (copied / name).write_bytes((file.parent / name).read_bytes())
    with mounted("--bind", str(copied), at=copied):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(copied)], check=True)
        result = leaderboard("show", file=copied / file.name)
        assert (result.exit_code, "holds results that it does not" in result.stderr) == (2, True)
    assert len(LeaderboardStore(f"sqlite:///{copied / file.name}").rows()) == 41


def test_an_export_to_where_nothing_can_be_written_is_a_sentence(file, read_only, tmp_path):
    for target in (file.parent / "board.json", file.parent / "board.csv", file.parent / "site"):
        result = leaderboard("export", target, file=file)
        assert (result.exit_code, str(file.parent) in result.stderr) == (2, True)
    (tmp_path / "taken").write_text("")
    for target in (tmp_path / "taken" / "board.json", tmp_path / "taken"):
        assert leaderboard("export", target, file=file).exit_code == 2


def test_an_export_to_a_full_disk_leaves_the_earlier_one(file, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=16k", "tmpfs", at=disk):
        (disk / "board.json").write_text("the earlier one")
        for target in (disk / "board.json", disk / "site"):
            result = leaderboard("export", target, file=file)
            assert result.exit_code == 1
            assert str(target) in result.stderr
            assert "No space left on device; free some space" in result.stderr
        assert (disk / "board.json").read_text() == "the earlier one"
        assert [path for path in disk.rglob("*") if path.name.endswith(".partial")] == []
        result = leaderboard("show", file=disk / "new" / "leaderboard.sqlite")
        assert result.exit_code == 1
        # SQLite itself calls it an I/O error where no byte at all was left.
        assert re.search("free some space|disk I/O error; check its disk", result.stderr)
