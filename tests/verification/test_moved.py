"""A storage is copied elsewhere: all of it holds there, and the old place is not read."""

import shutil
from functools import partial

from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.cli.recomputation import recomputation, rerun
from omnimat.leaderboard.comparison import compare
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.verification.rerun import Sample
from omnimat.verification.verify import verify
from omnimat_dashboard.artifacts import Artifacts


def spoil(root):
    """Leave other content in every file of a storage."""
    for path in root.rglob("*"):
        if path.is_file():
            path.write_bytes(b"another storage")


def all_rows(bench):
    return [row for rows in bench.rows.values() for row in rows]


def moved(bench, tmp_path):
    new = tmp_path / "elsewhere" / "storage"
    shutil.copytree(bench.workspace.root, new)
    spoil(bench.workspace.root)
    return Workspace(UPath(new))


def test_a_moved_storage_is_reproduced_whole(bench, tmp_path):
    bench.store.upsert(all_rows(bench))
    workspace = moved(bench, tmp_path)
    store = LeaderboardStore(workspace.leaderboard_url)
    outcomes = verify(store, workspace.files, recomputation, reruns=partial(rerun, sample=Sample()))
    assert len(outcomes) == len(all_rows(bench))
    assert [one.sentences for one in outcomes if one.sentences] == []
    verdicts = {
        row.section: {one.verdict for one in outcomes if one.row_id == row.row_id}
        for row in store.rows()
    }
    assert {name for name, found in verdicts.items() if found == {"reproduced"}} == {
        "finetune",
        "ensemble",
        "zero_shot",
        "retrieval",
        "clusters",
    }


def test_a_moved_storage_is_compared_and_shown(bench, tmp_path):
    structure, dos = bench.rows["structure"], bench.rows["dos"]
    bench.store.upsert([*structure, *dos])
    workspace = moved(bench, tmp_path)
    store = LeaderboardStore(workspace.leaderboard_url)
    of_task = [store.rows(group_id=one.group_id) for one in store.summaries(task="lattice lengths")]
    assert compare(*of_task, workspace.files).paired.num_materials == 10
    artifacts = Artifacts(workspace)
    for row in store.rows():
        assert len(artifacts.predictions(row).value) == row.num_test
        assert artifacts.trial(row).value["settings"]["seed"] == row.seed


def test_nothing_that_is_stored_names_the_place(honest):
    root = honest[0].root
    texts = {path: path.read_text() for path in root.rglob("*.json")}
    assert len(texts) > 10
    assert [path for path, text in texts.items() if str(root) in text] == []


def test_rows_of_before_are_understood_where_the_storage_is_still_in_its_place(bench):
    root = bench.workspace.root
    uris = ("dataset_uri", "checkpoint_uri", "predictions_uri")
    rows = [
        row.model_copy(update={name: str(root / getattr(row, name)) for name in uris})
        for row in bench.rows["structure"]
    ]
    bench.store.upsert(rows)
    assert {one.verdict for one in bench.verify()} == {"recomputed"}
