"""The commands of ``omnimat leaderboard``, as a user types them."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from omnimat.base.provenance import sha256_of
from omnimat.cli.main import main
from omnimat.leaderboard.store import LeaderboardStore


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMAT_STORAGE", str(tmp_path / "storage"))
    monkeypatch.delenv("OMNIMAT_LEADERBOARD", raising=False)
    return tmp_path / "storage"


@pytest.fixture
def store(storage, make_row):
    store = LeaderboardStore(f"sqlite:///{storage / 'leaderboard.sqlite'}")
    rows = [make_row(seed=seed, value=0.1 + 0.01 * seed) for seed in range(3)]
    store.upsert([*rows, make_row(task="band gap", unit="eV", run_name="gaps")])
    return store


def leaderboard(*arguments):
    return CliRunner().invoke(main, ["leaderboard", *map(str, arguments)])


def test_an_empty_board_says_what_to_run(storage):
    for command in ("show", "verify"):
        result = leaderboard(command)
        assert result.exit_code == 0, result.output
        assert "omnimat run jobs/demo.yaml" in result.output


def test_show_averages_and_names_results(store, make_row):
    result = leaderboard("show")
    assert "0.110 ± 0.010" in result.output
    assert make_row().group_id[:8] in result.output


def test_show_one_task_or_run(store):
    only = leaderboard("show", "--task", "band gap").output
    assert "band gap" in only
    assert "formation_energy" not in only
    assert leaderboard("show", "--run", "gaps").output == only
    nothing = leaderboard("show", "--task", "heat").output
    assert "band gap, formation_energy_per_atom" in nothing


def test_rows_whose_files_are_out_of_reach_are_unverifiable(storage, make_row):
    store = LeaderboardStore(f"sqlite:///{storage / 'leaderboard.sqlite'}")
    store.upsert([make_row(predictions_uri="/nowhere/p.parquet", checkpoint_uri="/nowhere/c")])
    assert leaderboard("verify").exit_code == 1
    result = leaderboard("verify", "--allow-missing")
    assert result.exit_code == 0, result.output
    assert "1 rows: 1 unverifiable" in result.output
    assert "/nowhere/p.parquet" in result.output


def test_a_failed_check_ends_with_exit_code_1(storage, make_row):
    store = LeaderboardStore(f"sqlite:///{storage / 'leaderboard.sqlite'}")
    store.upsert([make_row(predictions_uri="", checkpoint_uri="", checkpoint_sha256="")])
    result = leaderboard("verify")
    assert result.exit_code == 1
    assert "1 rows: 1 failed" in result.output
    assert "predictions_uri" in result.output


def test_remove_takes_off_a_result_or_a_row(store, make_row):
    rows = store.rows()
    removed = leaderboard("remove", make_row().group_id[:8], rows[0].row_id)
    assert removed.exit_code == 0, removed.output
    assert removed.output.splitlines() == [
        f"removed 3 rows of {make_row().group_id[:8]}",
        f"removed 1 row of {rows[0].row_id}",
    ]
    assert store.rows() == []
    assert store.boards() == []
    store.upsert(rows)
    assert store.rows() == rows


@pytest.mark.parametrize(("prefix", "message"), [("", "results and rows"), ("xyz", "no result")])
def test_remove_wants_one_each(store, prefix, message):
    before = store.rows()
    refused = leaderboard("remove", prefix)
    assert refused.exit_code == 2
    assert message in refused.output
    assert store.rows() == before


def test_export_and_import_give_the_same_board(store, storage, tmp_path):
    exported = leaderboard("export", tmp_path / "new" / "board.json")
    assert exported.exit_code == 0, exported.output
    url = f"sqlite:///{tmp_path / 'other.sqlite'}"
    for _ in range(2):
        imported = leaderboard("import", "--url", url, tmp_path / "new" / "board.json")
        assert imported.exit_code == 0, imported.output
    assert "4 rows" in imported.output
    assert "omnimat leaderboard verify" in imported.output
    assert LeaderboardStore(url).rows() == store.rows()


def test_export_of_csv(store, tmp_path):
    assert leaderboard("export", tmp_path / "board.csv").exit_code == 0
    table = pd.read_csv(tmp_path / "board.csv", float_precision="round_trip")
    assert table["value"].tolist() == [row.value for row in store.rows()]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), ("{}x", "export of a leaderboard")]
)
def test_import_of_what_is_no_export_is_the_users_error(storage, tmp_path, content, message):
    if content is not None:
        (tmp_path / "board.json").write_text(content)
    result = leaderboard("import", tmp_path / "board.json")
    assert result.exit_code == 2
    assert "board.json" in result.output
    assert message in result.output


@pytest.fixture
def two_groups(storage, make_row):
    rows = []
    for model, noise in (("good", 0.1), ("bad", 0.4)):
        for seed in range(2):
            generator = np.random.default_rng(seed)
            target = generator.normal(size=200)
            table = pd.DataFrame(
                {
                    "material_id": [f"m{i}" for i in range(200)],
                    "target": target,
                    "prediction": target + noise * generator.normal(size=200),
                }
            )
            path = storage / f"{model}-{seed}.parquet"
            path.parent.mkdir(exist_ok=True)
            table.to_parquet(path)
            files = {"predictions_uri": path.name, "predictions_sha256": sha256_of(path)}
            rows.append(make_row(model=model, seed=seed, value=noise, **files))
    LeaderboardStore(f"sqlite:///{storage / 'leaderboard.sqlite'}").upsert(rows)
    return rows[0].group_id, rows[2].group_id


def test_compare_says_which_is_better_and_on_what(two_groups):
    good, bad = two_groups
    result = leaderboard("compare", good[:6], bad)
    assert result.exit_code == 0, result.output
    assert "A is better: A - B = -0.2" in result.output
    assert "200 materials" in result.output
    assert "p = 0.0" in result.output
    assert "covers other test materials and other seeds" in result.output


def test_show_marks_what_does_not_differ_from_the_best(two_groups, storage, tmp_path, make_row):
    """A third result predicts what the best predicts, and a fourth has no predictions here."""
    store = LeaderboardStore(f"sqlite:///{storage / 'leaderboard.sqlite'}")
    best = [row for row in store.rows() if row.model == "good"]
    store.upsert(row.model_copy(update={"model": "same", "value": 0.11}) for row in best)
    store.upsert([make_row(model="gone", value=0.9)])
    result = leaderboard("show")
    assert re.search(r"good.* \* ", result.output)
    assert re.search(r"same.* = ", result.output)
    assert re.search(r"gone.* \? ", result.output)
    told = " ".join(result.output.split())
    assert "does not differ from the best (p = 1 over 200 materials, 2 seeds)" in told
    assert "not compared with the best: " in told
    plain = leaderboard("show", "--no-compare").output
    assert "good" in plain
    assert not any(sign in plain for sign in (" * ", " = ", " ? ", "the best"))


def test_show_says_which_boards_it_does_not_compare(two_groups, monkeypatch):
    monkeypatch.setattr("omnimat.cli.leaderboard.MAX_FILES", 3)
    assert "1 board is not compared" in leaderboard("show").output


@pytest.mark.parametrize(("prefix", "message"), [("", "of 2 results"), ("xyz", "of no result")])
def test_compare_wants_one_result_each(two_groups, prefix, message):
    result = leaderboard("compare", prefix, two_groups[1])
    assert result.exit_code == 2
    assert message in result.output


def test_exported_json_is_plain(store, tmp_path):
    leaderboard("export", tmp_path / "board.json")
    document = json.loads((tmp_path / "board.json").read_text())
    assert document["format"] == "omnimat leaderboard"
    assert len(document["rows"]) == 4
