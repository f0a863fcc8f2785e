"""An honest leaderboard passes and is marked; what cannot be checked is said to be so."""

from pathlib import Path

import pytest

from omnimat.materials.settings import fingerprint
from omnimat.verification.verify import verify


def verdicts(outcomes):
    return {outcome.row_id: outcome.verdict for outcome in outcomes}


def said(outcome):
    return "\n".join(outcome.sentences)


def test_an_honest_board_passes_and_is_marked(bench):
    rows = [*bench.properties(["structure"]), *bench.properties(["dos"]), *bench.retrieval()]
    rows += [*bench.clusters(), *bench.zero_shot(), *bench.discovery()]
    bench.store.upsert(rows)
    outcomes = verify(bench.store, bench.workspace)
    assert [(one.sentences, one.verdict) for one in outcomes] == [((), "verified")] * len(rows)
    assert {row.status for row in bench.store.rows()} == {"verified"}
    assert all(row.verified_with.startswith("omnimat 0") for row in bench.store.rows())


def test_verifying_again_changes_nothing(bench):
    bench.store.upsert(bench.properties(["structure"]))
    verify(bench.store, bench.workspace)
    before = bench.store.rows()
    assert set(verdicts(verify(bench.store, bench.workspace)).values()) == {"verified"}
    assert bench.store.rows() == before


def test_materials_left_out_for_want_of_a_modality_are_counted(bench):
    bench.store.upsert(bench.properties(["dos"]))
    notes = {note for one in verify(bench.store, bench.workspace) for note in one.notes}
    lacking = sum(record.dos is None for record in bench.test_records())
    assert lacking > 0
    assert f"{lacking} materials of the split have the target and lack dos" in notes


def test_only_what_is_asked_for_is_verified(bench):
    bench.store.upsert(bench.properties(["structure"]))
    outcomes = verify(bench.store, bench.workspace, task="crystal system", run_name="fit-structure")
    assert len(outcomes) == 2
    verified = {row.task for row in bench.store.rows() if row.status == "verified"}
    assert verified == {"crystal system"}


def test_a_data_set_that_no_row_locates_is_that_of_the_workspace(bench):
    [row, *_] = bench.properties(["structure"])
    bench.store.upsert([row.model_copy(update={"dataset_uri": ""})])
    assert [one.verdict for one in verify(bench.store, bench.workspace)] == ["verified"]


def test_old_rows_of_one_task_are_understood(bench):
    [row, *_] = bench.properties(["structure"])
    config = {key: value for key, value in row.config.items() if key != "tasks"}
    config["task"] = row.config["tasks"][0]
    changes = {"config": config, "config_hash": fingerprint(config)}
    bench.store.upsert([row.model_copy(update=changes)])
    assert [one.verdict for one in verify(bench.store, bench.workspace)] == ["verified"]


@pytest.mark.parametrize("missing", ["predictions", "checkpoint", "trial", "shard", "manifest"])
def test_a_missing_file_proves_nothing_either_way(bench, missing):
    [row, *_] = bench.properties(["structure"])
    bench.store.upsert([row])
    path = {
        "predictions": row.predictions_uri,
        "checkpoint": row.checkpoint_uri,
        "trial": row.checkpoint_uri.replace("model.safetensors", "trial.json"),
        "shard": bench.dataset / "shard-00001.tar",
        "manifest": bench.dataset / "manifest.json",
    }[missing]
    Path(str(path)).unlink()
    [outcome] = verify(bench.store, bench.workspace)
    assert outcome.verdict == "unverifiable"
    assert str(path) in said(outcome)
    assert bench.store.rows()[0].status == "self_reported"


def test_a_row_of_an_unknown_kind_is_unverifiable(bench):
    [row, *_] = bench.properties(["structure"])
    changes = {"config": {"a": 1}, "config_hash": fingerprint({"a": 1})}
    bench.store.upsert([row.model_copy(update=changes)])
    [outcome] = verify(bench.store, bench.workspace)
    assert (outcome.verdict, len(outcome.sentences)) == ("unverifiable", 1)
    assert "no check is known" in outcome.sentences[0]


def test_a_result_written_while_it_is_checked_is_not_marked(bench):
    [row, *_] = bench.properties(["structure"])
    store = bench.store
    store.upsert([row])

    def meanwhile(stored):
        yield from stored
        store.upsert([row.model_copy(update={"value": 9.0})])

    [outcome] = verify(store, bench.workspace, track=meanwhile)
    assert (outcome.verdict, store.rows()[0].status) == ("unverifiable", "self_reported")
    assert "written under this id meanwhile" in said(outcome)
