"""Rows come back as they went in, once each, whoever else is writing, on either database."""

import secrets
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import TypeAdapter
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from omnimat.base.errors import RunError, UserError
from omnimat.base.settings import fingerprint
from omnimat.leaderboard import queries, schema
from omnimat.leaderboard.columns import board_of, of_row
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore

VERIFIER = "omnimat 0, commit c"


def test_every_field_of_a_row_has_a_column():
    assert set(schema.ROW_COLUMNS) == set(Row.model_fields)


def test_rows_survive_reopening_exactly(url, make_row):
    rows = [make_row(seed=seed, value=0.1 + seed / 3) for seed in range(3)]
    rows.append(make_row(model="µ", details={"classes": {"a": 0.1}}, dataset_uri="s3://b/d"))
    LeaderboardStore(url).upsert(reversed(rows))
    assert LeaderboardStore(url).rows() == rows


def test_rows_can_be_asked_for(url, make_row):
    store = LeaderboardStore(url)
    rows = [
        make_row(task="a", run_name="one"),
        make_row(task="a", run_name="two", seed=1),
        make_row(task="b", run_name="two"),
    ]
    store.upsert(rows)
    assert store.rows(task="a") == rows[:2]
    assert store.rows(run_name="two") == rows[1:]
    assert store.rows(group_id=rows[0].group_id) == rows[:2]
    assert store.rows(task="a", run_name="two") == [rows[1]]
    assert store.row(rows[2].row_id) == rows[2]
    assert store.row("0") is None


def test_writing_again_replaces(url, make_row):
    store = LeaderboardStore(url)
    store.upsert([])
    assert store.rows() == []
    store.upsert([make_row(), make_row(seed=1)])
    store.upsert([make_row(), make_row(seed=1, value=0.5, unit="meV")])
    assert [(row.seed, row.value, row.unit) for row in store.rows()] == [
        (0, 0.1, "eV/atom"),
        (1, 0.5, "meV"),
    ]


def test_a_batch_is_written_whole_or_not_at_all(url, make_row):
    store = LeaderboardStore(url)
    store.upsert([make_row(value=0.3)])
    broken = make_row(seed=2).model_copy(update={"num_test": None})  # the column refuses a null
    version = store.version()
    with pytest.raises(SQLAlchemyError):
        store.upsert([make_row(value=0.9), make_row(seed=1), broken])
    assert [row.value for row in store.rows()] == [0.3]
    assert store.version() == version


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_the_database_itself_refuses_what_is_no_number(url, make_row, value):
    store = LeaderboardStore(url)
    with pytest.raises(SQLAlchemyError):
        store.upsert([make_row().model_copy(update={"value": value})])
    assert store.rows() == []


def test_a_configuration_is_stored_once(url, make_row, execute):
    store = LeaderboardStore(url)
    store.upsert([make_row(seed=seed) for seed in range(5)])
    store.upsert([make_row(task="other"), make_row(config={"lr": 1})])
    [[count]] = execute(url, "SELECT count(*) FROM leaderboard_configs")
    assert count == 2
    assert store.rows(task="other")[0].config == make_row().config


def test_a_wrong_config_hash_is_refused(url, make_row):
    with pytest.raises(UserError, match=r"config_hash 0123 is not the hash of its config"):
        LeaderboardStore(url).upsert([make_row(config_hash="0123")])


def test_version_changes_with_every_write_and_is_of_one_database(url, make_row, tmp_path):
    store = LeaderboardStore(url)
    seen = [store.version(), LeaderboardStore(f"sqlite:///{tmp_path / 'other'}").version()]
    store.upsert([make_row()])
    seen.append(store.version())
    store.upsert([make_row(value=2.0)])
    seen.append(LeaderboardStore(url).version())
    store.mark(store.rows(), "recomputed", VERIFIER)
    seen.append(store.version())
    assert len(set(seen)) == len(seen)
    assert store.version() == seen[-1]


class TestCheckedRows:
    @pytest.fixture
    def store(self, url, make_row):
        store = LeaderboardStore(url)
        store.upsert([make_row(), make_row(seed=1)])
        assert store.mark([make_row()], "recomputed", VERIFIER) == [make_row()]
        return store

    def test_they_say_so(self, store):
        first, second = store.rows()
        assert (first.status, first.checked_with) == ("recomputed", VERIFIER)
        assert timedelta(0) <= datetime.now(UTC) - first.checked_at < timedelta(minutes=1)
        assert (second.status, second.checked_at) == ("self_reported", None)

    def test_the_same_result_changes_nothing(self, store, make_row):
        """Whenever and wherever it was made again."""
        before = store.rows()
        elsewhere = {
            "created_at": datetime(2027, 1, 1, tzinfo=UTC),
            "wall_time_s": 99.0,
            "hardware": {},
            "code_commit": "e" * 40,
            "predictions_uri": "runs/finetune-demo@2/predictions.parquet",
            "details": {"num_train": 3},
        }
        store.upsert([make_row(**elsewhere), make_row(seed=1)])
        assert store.rows() == before

    @pytest.mark.parametrize(
        "change",
        [{"value": 0.2}, {"unit": "meV"}, {"checkpoint_sha256": "0"}, {"predictions_sha256": "0"}],
    )
    def test_another_result_is_refused_with_all_that_comes_with_it(self, store, make_row, change):
        before = store.rows()
        with pytest.raises(
            UserError, match=f"{make_row().row_id}.*is recomputed.*{next(iter(change))}"
        ):
            store.upsert([make_row(seed=1, value=7.0), make_row(**change)])
        assert store.rows() == before

    def test_the_statement_itself_leaves_them_alone(self, store, make_row, url):
        """Two writers that have both looked: the second must not win."""
        with store._database.writing() as connection:
            statement = queries.upsert(store._database.dialect)
            connection.execute(statement, [of_row(make_row(value=9.0, seed=s)) for s in (0, 1)])
        assert [row.value for row in store.rows()] == [0.1, 9.0]

    def test_a_row_that_was_replaced_while_it_was_checked_is_not_marked(self, store, make_row):
        checked = make_row(seed=1)
        store.upsert([make_row(seed=1, value=0.7)])
        assert store.mark([checked], "recomputed", VERIFIER) == []
        assert [row.status for row in store.rows()] == ["recomputed", "self_reported"]

    def test_a_row_that_was_proven_further_meanwhile_keeps_its_mark(self, store, make_row):
        both = [make_row(), make_row(seed=1)]
        store.mark([make_row()], "reproduced", "another omnimat")
        assert len(store.mark(both, "recomputed", VERIFIER)) == 2  # both hold
        marks = [(row.status, row.checked_with) for row in store.rows()]
        assert marks == [("reproduced", "another omnimat"), ("recomputed", VERIFIER)]

    def test_nobody_writes_a_row_that_calls_itself_checked(self, store, make_row):
        with pytest.raises(ValueError, match="calls itself recomputed"):
            store.upsert([make_row(seed=3, status="recomputed")])


def board_rows(make_row, generator):
    """Two boards, the second the better the higher; results of one to four seeds."""
    rows = []
    for task, higher in (("gap", False), ("system", True)):
        for model in "abcde":
            num_seeds = int(generator.integers(1, 5))
            for seed in range(num_seeds):
                value = 1 + 1e-6 * generator.random()
                rows.append(
                    make_row(
                        task=task, model=model, seed=seed, value=value, higher_is_better=higher
                    )
                )
    return rows


def test_summaries_agree_with_numpy(url, make_row):
    store = LeaderboardStore(url)
    rows = board_rows(make_row, np.random.default_rng(0))
    store.upsert(rows)
    store.mark([row for row in rows if row.model == "a"], "recomputed", VERIFIER)
    groups = {}
    for row in rows:
        groups.setdefault(row.group_id, []).append(row)
    found = store.summaries()
    assert {one.group_id for one in found} == set(groups)
    for one in found:
        values = [row.value for row in groups[one.group_id]]
        assert one.board == board_of(groups[one.group_id][0])
        assert one.mean == pytest.approx(np.mean(values), rel=1e-14)
        if len(values) == 1:
            assert one.std is None
        else:  # a mean of 1 and a deviation of 1e-6 leave six digits of the sixteen
            assert one.std == pytest.approx(np.std(values, ddof=1), rel=1e-9)
        assert one.n == len(values)
        assert one.seeds == tuple(range(len(values)))
        assert one.status == ("recomputed" if one.model == "a" else "self-reported")
        assert one.newest == groups[one.group_id][0].created_at


def test_the_best_of_each_board_comes_first(url, make_row):
    store = LeaderboardStore(url)
    store.upsert(board_rows(make_row, np.random.default_rng(1)))
    every = store.summaries()
    gap = [one for one in every if one.board.task == "gap"]
    system = [one for one in every if one.board.task == "system"]
    assert every == gap + system
    assert [one.mean for one in gap] == sorted(one.mean for one in gap)
    assert [one.mean for one in system] == sorted((one.mean for one in system), reverse=True)
    assert store.summaries(limit=2) == gap[:2] + system[:2]
    assert store.summaries(gap[0].board) == gap
    assert store.summaries(task="system", limit=1) == system[:1]


def test_checked_only_if_every_seed_is(url, make_row):
    store = LeaderboardStore(url)
    store.upsert([make_row(), make_row(seed=1)])
    store.mark([make_row()], "recomputed", VERIFIER)
    assert [one.status for one in store.summaries()] == ["self-reported"]
    store.mark([make_row(seed=1)], "recomputed", VERIFIER)
    assert [one.status for one in store.summaries()] == ["recomputed"]


def test_summaries_of_a_run_have_all_their_seeds(url, make_row):
    store = LeaderboardStore(url)
    store.upsert(
        [make_row(run_name="x"), make_row(seed=1, run_name="y"), make_row(model="m", run_name="z")]
    )
    [one] = store.summaries(run_name="y")
    assert one.seeds == (0, 1)
    assert store.summaries(run_name="none") == []


def test_boards_are_counted(url, make_row):
    store = LeaderboardStore(url)
    late = datetime(2026, 5, 1, 1, 2, 3, tzinfo=UTC)
    rows = [make_row(task="b", seed=seed) for seed in range(3)]
    rows += [make_row(task="b", model="m", created_at=late), make_row(task="a")]
    store.upsert(rows)
    store.mark(rows[:2], "recomputed", VERIFIER)
    one, two = store.boards()
    assert (one.board.task, one.num_results, one.num_rows, one.num_recomputed) == ("a", 1, 1, 0)
    assert (two.board.task, two.num_results, two.num_rows, two.num_recomputed) == ("b", 2, 4, 2)
    assert two.newest == late
    assert LeaderboardStore(url).boards() == [one, two]


def test_newest_is_in_the_order_of_time(url, make_row):
    """Text without a fraction of a second sorts after text with one."""
    whole = datetime(2026, 5, 1, 1, 2, 3, tzinfo=UTC)
    later = whole + timedelta(microseconds=500_000)
    store = LeaderboardStore(url)
    store.upsert([make_row(created_at=later), make_row(seed=1, created_at=whole)])
    assert store.boards()[0].newest == later


def test_groups_are_found_by_how_they_begin(url, make_row):
    store = LeaderboardStore(url)
    store.upsert([make_row(seed=0), make_row(seed=1), make_row(task="b")])
    ids = sorted({make_row().group_id, make_row(task="b").group_id})
    assert store.group_ids("") == ids
    assert store.group_ids(ids[0][:12]) == ids[:1]
    assert store.group_ids("%") == []


WRITERS = """
import multiprocessing, sys
from pydantic import TypeAdapter
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore

def write(start, rows):
    start.wait()
    store = LeaderboardStore(sys.argv[1])
    for row in rows:
        store.upsert([row])

# Forked once everything is imported, so that they write at the same time and not one by one.
processes = multiprocessing.get_context("fork")
batches = TypeAdapter(list[list[Row]]).validate_json(sys.stdin.read())
start = processes.Barrier(len(batches))
writers = [processes.Process(target=write, args=(start, rows)) for rows in batches]
for writer in writers:
    writer.start()
for writer in writers:
    writer.join()
sys.exit(any(writer.exitcode for writer in writers))
"""


def test_concurrent_writers_lose_nothing(url, make_row):
    """They also make the tables at the same time, and all begin with the same row."""
    num_writers = 16 if url.startswith("postgresql") else 4
    num_each = 15
    batches = [
        [make_row(seed=-1), *(make_row(seed=writer * num_each + i) for i in range(num_each))]
        for writer in range(num_writers)
    ]
    written = subprocess.run(
        [sys.executable, "-c", WRITERS, url],
        input=TypeAdapter(list[list[Row]]).dump_json(batches),
        capture_output=True,
    )
    assert written.returncode == 0, written.stderr.decode()
    store = LeaderboardStore(url)
    assert [row.seed for row in store.rows()] == [-1, *range(num_writers * num_each)]
    # One write for each call, none of them uncounted.
    assert store.version().endswith(f"-{num_writers * (num_each + 1)}")


def test_importing_the_store_loads_no_engine():
    program = "import sys, omnimat.leaderboard.store, omnimat.leaderboard.exchange;"
    program += "from omnimat.leaderboard.store import LeaderboardStore as S;"
    program += "S('sqlite://'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    assert not {"torch", "ray", "pymatgen", "plotly"} & set(loaded.stdout.split())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no url at all: secret", "no database URL"),
        ("oracle9://user:secret@host/db", "use one of sqlite, postgresql"),
        ("mssql+pyodbc://user:secret@host/db", "use one of sqlite, postgresql"),
        ("postgresql+pg8000://user:secret@host/db", "driver"),
        ("postgresql://user:secret@127.0.0.1:1/db", "cannot be opened"),
        ("postgresql://127.0.0.1:1/db?user=u&password=secret", "127.0.0.1:1/db cannot be opened"),
        ("postgresql://user:a/secret@host:x/db", "no database URL"),
        ("postgresql+secret://host/db", "no database URL"),
    ],
)
def test_unusable_urls_are_the_users_error_and_keep_the_password(url, message):
    with pytest.raises(UserError, match=message) as caught:
        LeaderboardStore(url)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_folder_is_no_database(tmp_path):
    with pytest.raises(UserError, match="cannot be opened: unable to open"):
        LeaderboardStore(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_database_is_the_users_error(tmp_path):
    path = tmp_path / "board.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="cannot be opened: file is not a database"):
        LeaderboardStore(f"sqlite:///{path}")
    with pytest.raises(UserError, match=r"the folder .*board.sqlite cannot be made"):
        LeaderboardStore(f"sqlite:///{path}/board.sqlite")


def test_a_missing_privilege_is_the_users_error(new_postgresql, make_row, execute):
    store = LeaderboardStore(new_postgresql)
    name = f"u{secrets.token_hex(4)}"
    options = make_url(new_postgresql).query["options"]
    schema_name = options.partition("=")[2]
    execute(new_postgresql, f"CREATE ROLE {name}", f"GRANT USAGE ON SCHEMA {schema_name} TO {name}")
    url = make_url(new_postgresql).update_query_dict({"options": f"{options} -crole={name}"})
    with pytest.raises(UserError, match="cannot be opened: permission denied"):
        LeaderboardStore(url.render_as_string(hide_password=False))
    execute(new_postgresql, f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema_name} TO {name}")
    reader = LeaderboardStore(url.render_as_string(hide_password=False))
    assert reader.rows() == store.rows() == []
    with pytest.raises(UserError, match="refuses this user: permission denied"):
        reader.check_writable()
    with pytest.raises(UserError, match="refuses this user: permission denied"):
        reader.upsert([make_row()])


def test_whether_rows_can_be_written_is_found_out_without_writing(url, make_row):
    store = LeaderboardStore(url)
    store.upsert([make_row()])
    before = store.version()
    store.check_writable()
    assert store.version() == before
    assert store.rows() == [make_row()]
    if url.startswith("sqlite"):
        read_only = f"{url.replace('///', '///file:')}?mode=ro&uri=true"
        with pytest.raises(UserError, match=r"nothing can be written|readonly"):
            LeaderboardStore(read_only).check_writable()


def test_a_row_twice_in_one_call_is_refused_and_not_lost(url, make_row):
    store = LeaderboardStore(url)
    with pytest.raises(UserError, match=f"row {make_row().row_id} .* is there twice"):
        store.upsert([make_row(value=0.1), make_row(seed=1), make_row(value=0.2)])
    assert store.rows() == []
    store.upsert([make_row(), make_row()])  # nothing is lost
    assert store.rows() == [make_row()]


@pytest.mark.parametrize("largest", [1e160, 1e300])
def test_values_whose_squares_overflow_are_averaged(url, make_row, largest):
    store = LeaderboardStore(url)
    store.upsert([make_row(seed=0, value=1.0), make_row(seed=1, value=largest)])
    store.upsert([make_row(model="m", seed=seed, value=largest) for seed in range(4)])
    first, second = store.summaries()
    assert (first.mean, first.std) == pytest.approx((largest / 2, largest / 2**0.5))
    assert (second.mean, second.std) == (
        pytest.approx(largest),
        pytest.approx(0, abs=largest / 1e9),
    )


def test_a_database_that_goes_away_is_said_in_a_sentence(tmp_path, make_row):
    store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")
    for path in tmp_path.iterdir():
        path.unlink()
    tmp_path.joinpath("board.sqlite").mkdir()
    with pytest.raises(RunError, match="does not answer"):
        store.upsert([make_row()])


def test_a_row_changed_by_hand_is_the_users_error(url, make_row, execute):
    store = LeaderboardStore(url)
    store.upsert([make_row()])
    execute(url, "UPDATE leaderboard_configs SET config = 'null'")
    with pytest.raises(UserError, match=f"{make_row().row_id}.*changed by hand.*config"):
        store.rows()
    assert [stored.row_id for stored in store.stored()] == [make_row().row_id]


def test_groups_are_named_by_what_they_hold(make_row):
    row = make_row()
    names = ("task", "metric", "unit", "higher_is_better", "dataset", "dataset_fingerprint")
    names += ("split_sha256", "model", "variant", "config_hash")
    assert row.group_id == fingerprint({name: getattr(row, name) for name in names})
