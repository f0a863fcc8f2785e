"""Predictions that others have published become rows that are computed again from their file."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.provenance import sha256_of
from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.cli.recomputation import recomputation, rerun
from omnimat.finetune.imported.imports import import_predictions
from omnimat.finetune.imported.settings import ImportSettings
from omnimat.finetune.imported.table import read_table
from omnimat.finetune.imported.tasks import find_task
from omnimat.finetune.tasks import TaskSettings, catalogue
from omnimat.leaderboard.comparison import compare
from omnimat.leaderboard.folds import fold_means
from omnimat.leaderboard.imported import published_in
from omnimat.leaderboard.overlap import overlap_in
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.verification.rerun import Sample
from omnimat.verification.verify import verify

from .conftest import NUM_RECORDS, record

TASK = TaskSettings(name="mean atomic number", target="mean_atomic_number", unit="e")
RECORDS = [record(index) for index in range(NUM_RECORDS)]


@pytest.fixture
def storage(workspace, tmp_path):
    """A copy of the data set alone, with a leaderboard of its own."""
    copy = Workspace(UPath(tmp_path / "storage"))
    shutil.copytree(str(workspace.dataset("cubes")), str(copy.dataset("cubes")))
    return copy


@pytest.fixture
def board(storage):
    return LeaderboardStore(storage.leaderboard_url)


@pytest.fixture
def table():
    """What two models predict in a file that has another task, too."""
    frame = pd.DataFrame(
        {
            "code": [one.material_id for one in RECORDS],
            "what": "mean",
            "truth": [one.properties["mean_atomic_number"] for one in RECORDS],
            "group": [one.properties.get("fold") for one in RECORDS],
        }
    )
    noise = np.random.default_rng(0).normal(size=(2, NUM_RECORDS))
    truth = frame["truth"].fillna(0)
    frame = frame.assign(good=truth + noise[0], bad=truth + 3 * noise[1])
    return pd.concat([frame, frame.assign(what="other", good=0.0, truth=-1.0)], ignore_index=True)


@pytest.fixture
def settings(tmp_path):
    return ImportSettings(
        path=str(tmp_path / "theirs.csv"),
        dataset="cubes",
        task=TASK,
        models={"good": "GoodNet", "bad": "BadNet"},
        id_column="code",
        where={"what": "mean"},
        target_column="truth",
        fold_column="group",
        fold_property="fold",
        citations={"good": "Good et al. (2024)"},
        licence="MIT",
        source_url="https://example.org/theirs",
    )


@pytest.fixture
def imported(settings, storage, board, table):
    """Write the table, or one that was changed, and import it."""

    def run(changed=table, **changes):
        changed.to_csv(settings.path, index=False)
        told = ImportSettings.told(**(dict(settings) | changes))
        return import_predictions(told, storage, board)

    return run


def outcomes(storage, board, **options):
    return verify(board, storage.files, recomputation, **options)


def judged(fold):
    """The indices of the materials that judge a fold: those with a target."""
    return [
        index
        for index, one in enumerate(RECORDS)
        if one.properties.get("fold") == fold and one.properties["mean_atomic_number"] is not None
    ]


def test_each_fold_is_scored_on_its_own_materials(imported, board, storage, table):
    imported()
    rows = board.rows()
    assert len(rows) == 6
    for row in rows:
        fold = int(row.config["fold"]["test"])
        own = table.iloc[judged(fold)]
        column = {"GoodNet": "good", "BadNet": "bad"}[row.model]
        assert row.task == f"mean atomic number, fold {fold} of 3"
        assert row.value == pytest.approx((own[column] - own["truth"]).abs().mean(), rel=1e-12)
        stored = pd.read_parquet(storage.root / row.predictions_uri)
        assert sorted(stored["material_id"]) == sorted(own["code"])
        assert row.num_test == len(own)
        assert (row.variant, row.section, row.config["source"]) == ("imported",) * 3
        assert (row.hardware, row.wall_time_s, row.checkpoint_uri) == ({}, 0.0, "")
        assert "not known" in overlap_in(row.details).sentence


def test_folds_of_a_model_have_a_mean_and_models_are_compared_in_pairs(imported, board, storage):
    imported()
    summaries = board.summaries()
    good, bad = fold_means(summaries, board.configs(one.config_hash for one in summaries))
    assert [one.members[0].model for one in (good, bad)] == ["GoodNet", "BadNet"]
    assert (good.task, len(good.members), good.num_folds) == ("mean atomic number", 3, 3)
    first, second = (board.rows(group_id=one.members[0].group_id) for one in (good, bad))
    comparison = compare(first, second, storage.files)
    assert comparison.paired.mean_a == pytest.approx(first[0].value)
    assert (comparison.paired.num_materials, comparison.num_not_shared) == (len(judged(0)), 0)


def test_a_row_tells_where_its_predictions_come_from(imported, board, storage, settings):
    imported()
    row = next(row for row in board.rows() if row.model == "GoodNet")
    source = published_in(row.details)
    assert source.file_sha256 == sha256_of(UPath(settings.path))
    assert sha256_of(storage.root / source.file_uri) == source.file_sha256
    for words in ("theirs.csv", "column good", "MIT", "Good et al. (2024)", "example.org"):
        assert words in source.sentence
    other = next(row for row in board.rows() if row.model == "BadNet")
    assert "cite not told" in published_in(other.details).sentence


def test_what_is_left_out_is_counted_and_named(imported, board, table):
    table.loc[0, "code"] = None
    table.loc[6, "code"] = "elsewhere"
    table.loc[[9, 12], "good"] = np.nan
    told = "\n".join(imported(table))
    assert "120 rows, 60 of them not asked for, 1 without an id" in told
    assert "1 material (elsewhere) not in data set cubes" in told
    # Record 1 has no target, and record 5 no fold.
    assert "2 materials (mat-001, ...) of data set cubes in no fold, or without a target" in told
    assert f"GoodNet, column good: 3 rows over {NUM_RECORDS - 6} materials; 4 have a target" in told
    assert f"BadNet, column bad: 3 rows over {NUM_RECORDS - 4} materials; 2 have a target" in told
    lacking = {
        (row.model, row.config["fold"]["test"]): published_in(row.details).num_without_prediction
        for row in board.rows()
    }
    assert lacking["GoodNet", "0"] == 4
    assert lacking["BadNet", "0"] == 2
    assert sum(lacking.values()) == 6


def test_the_test_split_judges_where_no_folds_are_named(imported, board):
    told = "\n".join(imported(fold_column=None, fold_property=None))
    assert "GoodNet, column good: 1 row over 6 materials" in told
    assert {row.task for row in board.rows()} == {"mean atomic number"}
    assert all("fold" not in row.config for row in board.rows())


def shifted(column, place, value):
    return lambda table: table.assign(
        **{column: table[column].astype(object).where(table.index != place, value)}
    )


REFUSED = {
    "another target": (shifted("truth", 3, 1e3), {}, "the target of mat-003 is 1000.0 in column"),
    "another fold": (shifted("group", 3, 1.0), {}, "mat-003 is in fold 1.0 by column 'group'"),
    "no fold": (shifted("group", 3, None), {}, "mat-003 is in fold None"),
    "a material twice": (
        shifted("code", 3, "mat-004"),
        {},
        "rows 4 and 5 both have the id mat-004",
    ),
    "text": (shifted("good", 3, "n/a"), {}, "column 'good' of mat-003: 'n/a' is not a number"),
    "infinity": (shifted("good", 3, "inf"), {}, "column 'good' of mat-003: inf is not finite"),
    "no column": (
        None,
        {"models": {"god": "GoodNet"}, "citations": {}},
        "no column 'god'; did you mean 'good'",
    ),
    "no rows": (
        None,
        {"where": {"what": "mine"}},
        "where what is 'mine'; what has 'mean', 'other'",
    ),
    "other ids": (None, {"id_column": "good"}, "no id of column 'good', such as"),
    "no prediction": (lambda table: table.assign(good=None, bad=None), {}, "predicts no material"),
    "one name": (None, {"models": {"good": "N", "bad": "N"}}, "two columns are the predictions"),
    "a hidden name": (
        None,
        {"models": {"good": "N\n2"}, "citations": {}},
        "a model or of the file",
    ),
    "a stranger": (None, {"citations": {"x": "X"}}, "citation: x is no column of predictions"),
    "a password": (None, {"source_url": "https://me:secret@x.org"}, "source_url: String should"),
    "no property": (None, {"fold_property": "fald"}, "has 'fald'; did you mean 'fold'"),
    "no data set": (None, {"dataset": "cubs"}, "ingest the data set first"),
    "no file": (None, {"path": "nowhere.csv"}, "FILE: .*nowhere.csv does not exist"),
}


@pytest.mark.parametrize(("edit", "changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    imported, board, storage, table, edit, changes, message
):
    with pytest.raises(UserError, match=message) as caught:
        imported(edit(table) if edit else table, **changes)
    assert "\n" not in str(caught.value)
    assert board.rows() == []
    assert not (storage.root / "imported").exists()


def test_a_file_that_changes_while_it_is_read_is_refused(
    imported, board, settings, table, monkeypatch
):
    def read_and_change(*arguments):
        found = read_table(*arguments)
        table.assign(good=0.0).to_csv(settings.path, index=False)
        return found

    monkeypatch.setattr("omnimat.finetune.imported.imports.read_table", read_and_change)
    with pytest.raises(UserError, match=r"theirs\.csv changed while it was read"):
        imported()
    assert not board.rows()


def test_rounded_targets_are_the_same_and_ours_alone_judge(imported, board, table):
    imported()
    exact = {row.row_id: row.value for row in board.rows()}
    table["truth"] += 4e-5
    imported(table)
    assert {row.row_id: row.value for row in board.rows()} == exact


def test_the_same_again_is_the_same_row_and_another_file_is_refused(
    imported, board, storage, table
):
    imported()
    assert [one.verdict for one in outcomes(storage, board)] == ["recomputed"] * 6
    before = board.rows()
    assert "6 of them were checked before and stay as they are" in imported()[-1]
    assert board.rows() == before
    table.loc[3, "good"] += 1
    with pytest.raises(UserError, match="recomputed and not replaced by another result"):
        imported(table)
    assert board.rows() == before
    assert [one.verdict for one in outcomes(storage, board)] == ["recomputed"] * 6


def test_no_checkpoint_is_run_again(imported, board, storage):
    imported()
    found = outcomes(storage, board, reruns=lambda section: rerun(section, Sample(4)))
    assert {(one.verdict, one.is_not_rerun) for one in found} == {("recomputed", True)}
    assert all("imported, without a checkpoint" in "".join(one.notes) for one in found)


def test_what_has_no_prediction_is_told_by_verify(imported, board, storage, table):
    table.loc[[9, 12], "good"] = np.nan
    imported(table)
    notes = [note for one in outcomes(storage, board) for note in one.notes]
    assert notes == ["2 materials of the split have the target and no published prediction"]


def forged_source(**changes):
    def forge(row, _storage):
        details = row.details | {"imported": row.details["imported"] | changes}
        return row.model_copy(update={"details": details})

    return forge


def better(row, storage):
    """Predictions nearer to the truth, with value and hash in order."""
    table = pd.read_parquet(storage.root / row.predictions_uri)
    table["prediction"] = (table["prediction"] + table["target"]) / 2
    path = storage.root / "imported" / "better.parquet"
    table.to_parquet(str(path))
    value = (table["prediction"] - table["target"]).abs().mean()
    changes = {"value": value, "predictions_sha256": sha256_of(path)}
    return row.model_copy(update=changes | {"predictions_uri": "imported/better.parquet"})


def fewer(row, storage):
    """The hardest materials left out, with value, number and hash in order."""
    table = pd.read_parquet(storage.root / row.predictions_uri)
    error = (table["prediction"] - table["target"]).abs()
    table = table[error < error.median()]
    path = storage.root / "imported" / "fewer.parquet"
    table.to_parquet(str(path))
    changes = {"value": error[table.index].mean(), "num_test": len(table)}
    changes |= {"predictions_uri": "imported/fewer.parquet", "predictions_sha256": sha256_of(path)}
    return row.model_copy(update=changes)


def edited_file(row, storage):
    path = storage.root / row.details["imported"]["file_uri"]
    path.write_bytes(path.read_bytes() + b"\n")
    return row


def lost_file(row, storage):
    (storage.root / row.details["imported"]["file_uri"]).unlink()
    return row


FORGED = {
    "better predictions": (better, "failed", "column good of mat-000"),
    "fewer materials": (fewer, "failed", "is not what was scored"),
    "another column": (forged_source(column="bad"), "failed", "column bad of mat-000"),
    "no column": (forged_source(column="none"), "failed", "has no column 'none'"),
    "a wrong count": (forged_source(num_without_prediction=3), "failed", "the row says 3"),
    "an edited file": (edited_file, "failed", "source.csv: sha256 is"),
    "a lost file": (lost_file, "unverifiable", "source.csv"),
    "a file outside": (forged_source(file_uri="../x.csv"), "unverifiable", "no plain path"),
    "no source": (
        lambda row, _storage: row.model_copy(update={"details": {}}),
        "failed",
        "does not say where",
    ),
}


@pytest.mark.parametrize(("forge", "verdict", "told"), FORGED.values(), ids=FORGED)
def test_a_row_that_was_changed_is_caught(imported, board, storage, forge, verdict, told):
    imported(models={"good": "GoodNet"})
    row = forge(board.rows()[0], storage)
    board.upsert([row])
    found = {one.row_id: one for one in outcomes(storage, board)}
    assert found[row.row_id].verdict == verdict
    assert told in "\n".join(found[row.row_id].sentences)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_classes_and_several_numbers(storage, board, tmp_path, ending):
    frame = pd.DataFrame(
        {
            "material_id": [one.material_id for one in RECORDS],
            "heavy": [one.properties["is_heavy"] for one in RECORDS],
            "numbers": [[n + 1.5 for n in one.properties["atomic_numbers"]] for one in RECORDS],
        }
    )
    path = tmp_path / f"theirs{ending}"
    if ending == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    heavy = {"name": "heavy", "target": "is_heavy", "kind": "classification"}
    numbers = {"name": "numbers", "target": "atomic_numbers"}
    for task, column in ((heavy, "heavy"), (numbers, "numbers")):
        told = ImportSettings(path=str(path), dataset="cubes", task=task, models={column: "Net"})
        import_predictions(told, storage, board)
    values = {row.task: row.value for row in board.rows()}
    # Classes that are booleans are told as text, whoever writes them.
    assert values == {"heavy": 1.0, "numbers": 1.5}
    assert [one.verdict for one in outcomes(storage, board)] == ["recomputed"] * 2


def test_a_task_is_one_of_the_catalogue_or_of_results(imported, board):
    assert find_task("formation energy", "cubes", board) == catalogue()["formation energy"]
    with pytest.raises(UserError, match="no task 'mean atomic number' in the catalogue or among"):
        find_task("mean atomic number", "cubes", board)
    imported()
    assert find_task("mean atomic number", "cubes", board) == TASK
    with pytest.raises(UserError, match="did you mean 'mean atomic number'"):
        find_task("mean atom number", "cubes", board)
    imported(task=TASK.model_copy(update={"unit": ""}))
    with pytest.raises(UserError, match="have two tasks 'mean atomic number', which differ"):
        find_task("mean atomic number", "cubes", board)


def test_the_command_line(imported, storage, board, settings, monkeypatch):
    imported(models={"bad": "BadNet"}, citations={})
    monkeypatch.setenv("OMNIMAT_STORAGE", str(storage.root))
    monkeypatch.delenv("OMNIMAT_LEADERBOARD", raising=False)

    def run(*arguments):
        return CliRunner().invoke(main, ["leaderboard", *arguments])

    told = ["import-predictions", settings.path, "--dataset", "cubes", "--id-column", "code"]
    told += ["--task", TASK.name, "--column", "good=GoodNet", "--where", "what=mean"]
    added = run(*told, "--fold-column", "group", "--fold-property", "fold")
    assert added.exit_code == 0, added.output
    assert "targets are not compared" in added.output
    assert "wrote 3 rows; verify with: omnimat leaderboard verify --run imported-theirs.csv" in (
        added.output
    )
    shown = run("show", "--no-compare").output
    assert "nobody here has trained these models" in shown
    summaries = board.summaries()
    means = fold_means(summaries, board.configs(one.config_hash for one in summaries))
    assert all(one.mean_id[:8] in shown for one in means)
    compared = run("compare", *(one.mean_id[:8] for one in means))
    assert compared.exit_code == 0, compared.output
    assert f"fold 0 of 3 and 2 more, mae on {NUM_RECORDS - 2} materials" in compared.output
    again = run("verify", "--rerun", "--run", "imported-theirs.csv")
    assert again.exit_code == 0, again.output
    assert "6 rows: 6 recomputed" in again.output
    for wrong in (["--column", "good"], ["--column", "good=a", "--column", "good=b"]):
        refused = run(*told[:-4], *wrong)
        assert refused.exit_code == 2, refused.output
        assert "--column" in refused.output
    assert json.loads(json.dumps(board.rows()[0].config))["source"] == "imported"
