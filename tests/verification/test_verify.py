"""An honest leaderboard passes and is marked; what cannot be checked is said to be so."""

import re
import shutil
import weakref
from collections import Counter
from pathlib import Path

import pytest
from upath import UPath

from omnimat.base.confined import Confined
from omnimat.base.settings import fingerprint
from omnimat.evaluation import stored as stored_embeddings
from omnimat.evaluation.stored import StoredEmbeddings
from omnimat.finetune.tasks import TaskSettings
from omnimat.verification.evidence import Evidence


def verdicts(outcomes):
    return {outcome.row_id: outcome.verdict for outcome in outcomes}


def said(outcome):
    return "\n".join(outcome.sentences)


def test_an_honest_board_passes_and_is_marked(bench):
    rows = [*bench.rows["structure"], *bench.rows["dos"], *bench.rows["retrieval"]]
    rows += [*bench.rows["clusters"], *bench.rows["zero_shot"], *bench.rows["discovery"]]
    bench.store.upsert(rows)
    outcomes = bench.verify()
    assert [(one.sentences, one.verdict) for one in outcomes] == [((), "recomputed")] * len(rows)
    assert {row.status for row in bench.store.rows()} == {"recomputed"}
    assert all(row.checked_with.startswith("omnimat 0") for row in bench.store.rows())


def test_verifying_again_changes_nothing(bench):
    bench.store.upsert(bench.rows["structure"])
    bench.verify()
    before = bench.store.rows()
    assert set(verdicts(bench.verify()).values()) == {"recomputed"}
    assert bench.store.rows() == before


def test_materials_left_out_for_want_of_a_modality_are_counted(bench):
    bench.store.upsert(bench.rows["dos"])
    notes = {note for one in bench.verify() for note in one.notes}
    lacking = sum("dos" not in record.parts for record in bench.test_records())
    assert lacking > 0
    assert f"{lacking} materials of the split have the target and lack dos" in notes


def test_only_what_is_asked_for_is_verified(bench):
    bench.store.upsert(bench.rows["structure"])
    outcomes = bench.verify(task="crystal system", run_name="fit-structure")
    assert len(outcomes) == 2
    verified = {row.task for row in bench.store.rows() if row.status == "recomputed"}
    assert verified == {"crystal system"}


def test_a_data_set_that_no_row_locates_is_that_of_the_workspace(bench):
    [row, *_] = bench.rows["structure"]
    bench.store.upsert([row.model_copy(update={"dataset_uri": ""})])
    assert [one.verdict for one in bench.verify()] == ["recomputed"]


def test_old_rows_of_one_task_are_understood(bench):
    [row, *_] = bench.rows["structure"]
    config = {key: value for key, value in row.config.items() if key != "tasks"}
    config["task"] = row.config["tasks"][0]
    changes = {"config": config, "config_hash": fingerprint(config)}
    bench.store.upsert([row.model_copy(update=changes)])
    assert [one.verdict for one in bench.verify()] == ["recomputed"]


@pytest.mark.parametrize("missing", ["predictions", "checkpoint", "trial", "shard", "manifest"])
def test_a_missing_file_proves_nothing_either_way(bench, missing):
    [row, *_] = bench.rows["structure"]
    bench.store.upsert([row])
    name = {
        "predictions": row.predictions_uri,
        "checkpoint": row.checkpoint_uri,
        "trial": row.checkpoint_uri.replace("model.safetensors", "trial.json"),
        "shard": "datasets/cubes/shard-00001.tar",
        "manifest": "datasets/cubes/manifest.json",
    }[missing]
    bench.file(name).unlink()
    [outcome] = bench.verify()
    assert outcome.verdict == "unverifiable"
    assert f"{name} is not in this storage" in said(outcome)
    assert bench.store.rows()[0].status == "self_reported"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("", "names no section"),
        ("smell", "section is 'smell', which is not known here"),
        ("my_package.phonons", "install the package my_package"),
        ("omnimat.retrieval", "install the package omnimat"),  # ours have no package before them
    ],
)
def test_a_row_of_an_unknown_section_is_unverifiable(bench, section, message):
    [row, *_] = bench.rows["structure"]
    bench.store.upsert([row.model_copy(update={"section": section})])
    [outcome] = bench.verify()
    assert (outcome.verdict, len(outcome.sentences)) == ("unverifiable", 1)
    assert message in outcome.sentences[0]


def test_a_result_written_while_it_is_checked_is_not_marked(bench):
    [row, *_] = bench.rows["structure"]
    store = bench.store
    store.upsert([row])

    def meanwhile(all_stored):
        for stored in all_stored:
            store.upsert([row.model_copy(update={"value": 9.0})])
            yield stored

    [outcome] = bench.verify(track=meanwhile)
    assert (outcome.verdict, store.rows()[0].status) == ("unverifiable", "self_reported")
    assert "written under this id meanwhile" in said(outcome)


def odd(row, **changes):
    config = row.config | changes.pop("config", {})
    return row.model_copy(
        update=changes | {"config": config, "config_hash": fingerprint(config), "model": "odd"}
    )


WORDS = TaskSettings(name="lattice lengths", target="crystal_system", unit="angstrom").model_dump(
    mode="json"
)


@pytest.mark.parametrize(
    ("task", "changes", "verdict", "message"),
    [
        (
            "crystal system", {"config": {"tasks": []}},
            "unverifiable", "config has tasks that this omnimat cannot read",
        ),
        (
            "lattice lengths", {"config": {"tasks": [WORDS]}},
            "failed", "config does not fit the data set: .* which is no number",
        ),
        (
            "crystal system", {"checkpoint_uri": "wandb://x", "checkpoint_sha256": "0"},
            "unverifiable", "checkpoint_uri: 'wandb://x' lies outside the storage",
        ),
        (
            "retrieval structure -> dos", {"config": {"pool_seed": 0.5}, "metric": "top-1"},
            "failed", "pool_seed does not fit retrieval",
        ),
        (
            "retrieval structure -> dos",
            {"checkpoint_uri": "wandb://x", "checkpoint_sha256": "0", "metric": "top-1"},
            "unverifiable", "checkpoint_uri: 'wandb://x' lies outside the storage",
        ),
        (
            "discovery dos -> structure", {"config": {"discovery": [1]}},
            "unverifiable", "cannot be checked by this omnimat: AttributeError: 'list' object",
        ),
    ],
)  # fmt: skip
def test_an_odd_row_does_not_keep_others_from_being_proven(bench, task, changes, verdict, message):
    honest = [*bench.rows["structure"], *bench.rows["discovery"], *bench.rows["retrieval"]]
    row = odd(next(one for one in honest if one.task == task), **changes)
    bench.store.upsert([row, *honest])
    outcomes = {one.row_id: one for one in bench.verify()}
    outcome = outcomes.pop(row.row_id)
    assert outcome.verdict == verdict, outcome.sentences
    assert re.search(message, said(outcome)), outcome.sentences
    assert {one.verdict for one in outcomes.values()} == {"recomputed"}


def test_what_was_proven_is_marked_whatever_ends_it_after(bench):
    rows = bench.rows["structure"]
    bench.store.upsert(rows)

    def killed(all_stored):
        yield from list(all_stored)[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.verify(track=killed)
    assert [row.status for row in bench.store.rows()].count("recomputed") == 2


def test_a_seed_that_another_run_has_is_found_from_either_run(bench):
    rows = bench.rows["structure"]
    [first, second, *_] = rows
    again = second.model_copy(
        update={"seed": 17, "predictions_uri": first.predictions_uri, "run_name": "other"}
    )
    bench.store.upsert([*rows, again])
    outcomes = bench.verify(run_name=first.run_name)
    told = {one.row_id: said(one) for one in outcomes}
    assert again.row_id not in told
    assert "rows that are averaged as seeds" in told[first.row_id]


@pytest.mark.parametrize("kind", ["retrieval", "discovery"])
@pytest.mark.parametrize("model", ["a", "z"])  # it is checked before the honest ones, or after
def test_one_file_under_several_rows_is_judged_for_each(bench, kind, model):
    """By another data set, or the encoders of another run, it may be wrong."""
    rows = bench.rows[kind]
    other = rows[0].model_copy(update={"model": model, "checkpoint_uri": "wandb://x"})
    moved = bench.with_another_split(rows[0].model_copy(update={"model": f"{model} moved"}))
    bench.store.upsert([other, moved, *rows])
    outcomes = {one.row_id: one for one in bench.verify()}
    assert {outcomes[row.row_id].verdict for row in rows} == {"recomputed"}
    assert outcomes[other.row_id].verdict == "unverifiable"
    assert "mat-004 is not of the test split" in said(outcomes[moved.row_id])


def test_a_file_of_many_rows_is_read_once_and_let_go(bench, monkeypatch):
    """Of two evaluations only the last one's embeddings are held."""
    read, held = Counter(), []

    def counted(self, name, *arguments):
        read[Path(name).name] += 1
        return read_as_ever(self, name, *arguments)

    read_as_ever = Confined.read

    class Watched(StoredEmbeddings):
        def __init__(self, *values):
            super().__init__(*values)
            held.append(weakref.ref(self))
            assert sum(one() is not None for one in held) == 1

    monkeypatch.setattr(Confined, "read", counted)
    monkeypatch.setattr(stored_embeddings, "StoredEmbeddings", Watched)
    rows = bench.rows["retrieval"]
    file = bench.file(rows[0].predictions_uri)
    copy = file.with_name("other") / file.name
    copy.parent.mkdir()
    copy.write_bytes(file.read_bytes())
    name = bench.workspace.files.name_of(UPath(copy))
    other = [r.model_copy(update={"predictions_uri": name, "model": "other"}) for r in rows]
    bench.store.upsert([row for pair in zip(rows, other, strict=True) for row in pair])
    outcomes = bench.verify()
    assert {one.verdict for one in outcomes} == {"recomputed"}
    assert (read[file.name], len(held)) == (2, 2)
    assert [one.row_id for one in outcomes] == [row.row_id for row in bench.store.rows()]


@pytest.mark.parametrize(
    "spelled",
    ["{root}/{name}", "file://{root}/{name}", "{name}/", "{name} twice"],
    ids=["absolute", "uri", "slash", "copy"],
)
def test_the_predictions_of_another_seed_are_found_however_they_are_spelled(bench, spelled):
    [first, *_] = bench.rows["structure"]
    name = spelled.format(root=bench.workspace.root, name=first.predictions_uri)
    if name.endswith("twice"):
        shutil.copy(bench.file(first.predictions_uri), bench.file(name))
    again = first.model_copy(update={"seed": 17, "predictions_uri": name})
    bench.store.upsert([first, again])
    outcomes = bench.verify()
    assert {one.verdict for one in outcomes} == {"failed"}
    assert all("rows that are averaged as seeds" in said(one) for one in outcomes)


def test_a_file_is_hashed_once_however_it_is_spelled(bench, monkeypatch):
    [row, *_] = bench.rows["structure"]
    evidence = Evidence(bench.workspace.files)
    there = evidence.sha256(row.checkpoint_uri, "checkpoint_uri")
    monkeypatch.setattr(Confined, "sha256", None)
    for name in (f"{bench.workspace.root}/{row.checkpoint_uri}", f"{row.checkpoint_uri}/"):
        assert evidence.sha256(name, "checkpoint_uri") == there
