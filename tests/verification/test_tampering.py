"""Whatever is tampered with is caught, and named; also by forgers who know every hash.

Each tampering gets the bench and the row it is about, after all rows were verified.
"""

import json
import re
import shutil
import sqlite3

import numpy as np
import pandas as pd
import pytest

from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.leaderboard.metrics import mean_absolute_error
from omnimat.shards.manifest import RECORDS_NAME, Manifest

TAMPERED = 0  # the row that is tampered with: lattice lengths, seed 0


def edit_row(bench, row, **columns):
    assignments = ", ".join(f"{name} = ?" for name in columns)
    execute(
        bench, f"UPDATE leaderboard_rows SET {assignments} WHERE row_id = ?",
        *columns.values(), row.row_id,
    )  # fmt: skip


def execute(bench, statement, *values):
    connection = sqlite3.connect(bench.workspace.root / "leaderboard.sqlite")
    with connection:
        connection.execute(statement, values)
    connection.close()


def edit_predictions(bench, row, edit, refit=True):
    """Change the table of predictions and, of a better forger, its hash, count and value."""
    table = edit(pd.read_parquet(bench.file(row.predictions_uri)))
    table.to_parquet(bench.file(row.predictions_uri))
    if refit:
        value = mean_absolute_error(table["target"].tolist(), table["prediction"].tolist())
        sha256 = sha256_of(bench.file(row.predictions_uri))
        edit_row(bench, row, predictions_sha256=sha256, value=value, num_test=len(table))


def edit_cell(table, column, change, place=3):
    cells = table[column].tolist()
    cells[place] = change(cells[place])
    return table.assign(**{column: cells})


def tamper_value(bench, row):
    edit_row(bench, row, value=row.value * (1 - 1e-6))


def tamper_prediction(bench, row):
    edit_predictions(bench, row, lambda t: edit_cell(t, "prediction", lambda v: v * 0.99), False)


def replace_predictions(bench, row):
    other = bench.store.rows(task=row.task)[1].predictions_uri
    shutil.copy(bench.file(other), bench.file(row.predictions_uri))


def tamper_target(bench, row):
    """Targets moved to the predictions: a perfect score with every hash in order."""
    edit_predictions(bench, row, lambda t: edit_cell(t, "target", lambda v: v + 0.05))


def move_a_targets_last_bit(bench, row):
    edit_predictions(
        bench, row, lambda t: edit_cell(t, "target", lambda v: np.nextafter(v, np.inf))
    )


def relabel_a_split(bench, row):
    edit_predictions(bench, row, lambda t: edit_cell(t, "split", lambda _: "validation"))


def drop_a_material(bench, row):
    edit_predictions(bench, row, lambda t: t.drop(index=5).reset_index(drop=True))


def duplicate_a_material(bench, row):
    edit_predictions(bench, row, lambda t: pd.concat([t, t.iloc[[2]]], ignore_index=True))


def smuggle(material_id):
    def tamper(bench, row):
        """A material that is easy: it was trained on, or does not exist."""

        def add(table):
            extra = table.iloc[[0]].assign(material_id=material_id)
            extra["prediction"] = extra["target"]
            return pd.concat([table, extra], ignore_index=True)

        edit_predictions(bench, row, add)

    return tamper


def drop_a_column(bench, row):
    edit_predictions(bench, row, lambda t: t.drop(columns="split"))


def make_a_prediction_nan(bench, row):
    table = pd.read_parquet(bench.file(row.predictions_uri))
    edit_cell(table, "prediction", lambda v: v * np.nan).to_parquet(bench.file(row.predictions_uri))
    edit_row(bench, row, predictions_sha256=sha256_of(bench.file(row.predictions_uri)))


def edit_config(bench, row):
    config = row.config | {"epochs": 3}
    execute(bench, "UPDATE leaderboard_configs SET config = ?", json.dumps(config))


def remove_config(bench, row):
    execute(bench, "DELETE FROM leaderboard_configs")


def flip_a_byte_of_a_shard(bench, row):
    path = bench.dataset / "shard-00001.tar"
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(bytes(data))


def move_to_training(index):
    return edit_cell(index, "split", lambda _: "train", place=4)


def edit_index(bench, row):
    path = bench.dataset / RECORDS_NAME
    move_to_training(pd.read_parquet(path)).to_parquet(path)


def rewrite_index(edit):
    """The index changed, and all hashes of the data set with it."""
    return lambda bench, row: bench.rewrite_index(edit)


def move_out_of_the_shards(bench, row):
    """A record replaced by one in a file that the manifest does not know."""
    shutil.copy(bench.dataset / "shard-00000.tar", bench.dataset / "shard-00007.tar")
    rewrite_index(lambda t: edit_cell(t, "shard", lambda _: 7, place=4))(bench, row)


def edit_manifest(bench, row):
    manifest = Manifest.load(bench.dataset)
    shards = (manifest.shards[0].model_copy(update={"sha256": "0" * 64}), *manifest.shards[1:])
    manifest.model_copy(update={"shards": shards}).save(bench.dataset)


def swap_checkpoint(bench, row):
    other = row.checkpoint_uri.replace("seed0", "seed1")
    shutil.copy(bench.file(other), bench.file(row.checkpoint_uri))


def edit_seed(bench, row):
    edit_row(bench, row, seed=17)


def forge_another_seed(bench, row):
    """One result told as two, under an id that fits."""
    forged = row.model_copy(update={"seed": 17, "status": "self_reported"})
    bench.store.upsert([forged])


def edit_board(column, value):
    def tamper(bench, row):
        execute(
            bench, f"UPDATE leaderboard_boards SET {column} = ? WHERE task = ?", value, row.task
        )

    return tamper


def edit_group(column, value):
    def tamper(bench, row):
        execute(
            bench,
            f"UPDATE leaderboard_groups SET {column} = ? WHERE group_id = ?", value, row.group_id,
        )  # fmt: skip

    return tamper


def forge(**changes):
    """Write the row anew under the ids that fit the changes, as if it had always been so."""

    def tamper(bench, row):
        forged = row.model_copy(update=changes)
        for one in (row, forged):
            execute(bench, "DELETE FROM leaderboard_rows WHERE row_id = ?", one.row_id)
        bench.store.upsert([forged])

    return tamper


def forge_details(bench, row):
    [row, *_] = bench.store.rows(task="crystal system")
    edit_row(bench, row, details=json.dumps({"per_class_accuracy": {"cubic": 1.0}}))


def edit_json(column, **changes):
    def tamper(bench, row):
        edit_row(bench, row, **{column: json.dumps(getattr(row, column) | changes)})

    return tamper


def forge_part_of_training(bench, row):
    """All of training told as a tenth of it."""
    config = row.config | {"train_fraction": 0.1}
    forge(config=config, config_hash=fingerprint(config))(bench, row)


TAMPERINGS = {
    "value": (tamper_value, "value is"),
    "a prediction": (tamper_prediction, "predictions_sha256 is"),
    "predictions of another seed": (replace_predictions, "predictions_sha256 is"),
    "a target": (tamper_target, "target of material mat-019 is not that of the data set"),
    "a target's last bit": (move_a_targets_last_bit, "target of material mat-019"),
    "a split in the predictions": (relabel_a_split, "column split of material mat-019"),
    "a dropped material": (drop_a_material, "material mat-029 of the split is left out"),
    "a duplicated material": (duplicate_a_material, "material mat-014 is there more than once"),
    "a training material": (smuggle("mat-000"), "material mat-000 is of the train split"),
    "a validation material": (smuggle("mat-008"), "mat-008 is of the validation split"),
    "an unknown material": (smuggle("mat-999"), "material mat-999 is not in the data set"),
    "a dropped column": (drop_a_column, "has no column split"),
    "a prediction that is no number": (make_a_prediction_nan, "not finite"),
    "config": (edit_config, "config was edited"),
    "config removed": (remove_config, "config: "),
    "a byte of a shard": (flip_a_byte_of_a_shard, "shard-00001.tar: sha256 is"),
    "the index": (edit_index, "records.parquet: sha256 is"),
    "the index and the manifest": (rewrite_index(move_to_training), "split_sha256 is"),
    "the index's modalities": (
        rewrite_index(lambda t: edit_cell(t, "has_dos", lambda _: False, place=4)),
        "records.parquet: has_dos of material mat-004 is wrong",
    ),
    "the index's numbers of atoms": (
        rewrite_index(lambda t: edit_cell(t, "num_atoms", lambda _: 3, place=4)),
        "records.parquet: num_atoms of material mat-004 is wrong",
    ),
    "the index's formulas": (
        rewrite_index(
            lambda t: edit_cell(t, "reduced_formula", lambda _: t.at[9, "reduced_formula"], 4)
        ),
        "records.parquet: reduced_formula of material .*mat-004.* is not that of its atoms",
    ),
    "the index's places": (
        rewrite_index(lambda t: edit_cell(t, "offset_bytes", lambda v: v + 512, place=4)),
        "shard-00000.tar: material mat-004 is not where .*records.parquet says",
    ),
    "the index's shards": (
        move_out_of_the_shards,
        "material mat-004 is in no shard of the manifest",
    ),
    "the manifest": (edit_manifest, "manifest.json: fingerprint of its shards and split"),
    "checkpoint": (swap_checkpoint, "checkpoint_sha256 is"),
    "seed": (edit_seed, "trial.json: seed is 0, the row says 17"),
    "a seed told twice": (forge_another_seed, "rows that are averaged as seeds"),
    "unit": (edit_board("unit", "pm"), "unit is 'pm', by .*parquet 'angstrom'"),
    "direction": (edit_board("higher_is_better", True), "higher_is_better is True"),
    "metric": (edit_board("metric", "rmse"), "metric is 'rmse', but .* scored by mae"),
    "metric of an unknown name": (edit_board("metric", "best"), "metric is 'best'"),
    "task": (edit_board("task", "mean number"), "task is 'mean number'|unit is 'angstrom'"),
    "task of no configuration": (edit_board("task", "gap"), "task is 'gap', but config predicts"),
    "data set": (edit_board("dataset", "other"), "dataset is cubes, the row says other"),
    "model": (edit_group("model", "ours"), "row_id .* one of them was edited"),
    "variant": (edit_group("variant", "finetuned"), "variant is frozen, the row says finetuned"),
    "section": (lambda b, r: edit_row(b, r, section="retrieval"), "config is of the None split"),
    "section without rows": (lambda b, r: edit_row(b, r, section="maps"), "which scores nothing"),
    "number of materials": (lambda b, r: edit_row(b, r, num_test=99), "num_test is 99, by"),
    "a value that is none": (lambda b, r: edit_row(b, r, num_test=0), "changed by hand"),
    "accuracies of classes": (forge_details, "details: per_class_accuracy is .* by .*parquet"),
    "unit, forged": (forge(unit="pm"), "unit is 'pm', by .*parquet 'angstrom'"),
    "variant, forged": (forge(variant="linear_probe"), "variant is frozen, the row says linear"),
    "task, forged": (forge(task="mean number", unit="e"), "target.* shape|is not that of"),
    "part of training": (forge_part_of_training, "train_fraction is 1.0, the row says 0.1"),
    "the point": (
        edit_json("hyperparameters", lr=1e-2),
        "hyperparameters is .* the row says {'lr': 0.01",
    ),
    "the best epoch": (
        edit_json("hyperparameters", best_epoch=9),
        "the row says {.*best_epoch': 9",
    ),
    "samples seen": (lambda b, r: edit_row(b, r, samples_seen=9), "samples_seen is 126, the row"),
    "materials that taught": (edit_json("details", num_train=9), "num_train is 42, the row says 9"),
    "fingerprint, forged": (forge(dataset_fingerprint="0" * 16), "dataset_fingerprint is"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_caught_and_named(bench, name):
    tamper, message = TAMPERINGS[name]
    rows = bench.rows["structure"]
    bench.store.upsert(rows)
    assert {one.verdict for one in bench.verify()} == {"recomputed"}
    tamper(bench, rows[TAMPERED])
    before = bench.store.stored()
    caught = [one for one in bench.verify() if one.sentences]
    told = "\n".join(sentence for one in caught for sentence in one.sentences)
    assert re.search(message, told), told
    statuses = {stored.row_id: stored.values["status"] for stored in before}
    for one in caught:  # a row that was forged anew had not been verified
        assert one.verdict == ("tampered" if statuses[one.row_id] == "recomputed" else "failed")
    assert bench.store.stored() == before


@pytest.mark.parametrize("name", ["value", "a training material", "config", "the index"])
def test_what_was_never_verified_fails(bench, name):
    tamper, message = TAMPERINGS[name]
    rows = bench.rows["structure"]
    bench.store.upsert(rows)
    tamper(bench, rows[TAMPERED])
    outcome = next(one for one in bench.verify() if one.row_id == rows[TAMPERED].row_id)
    assert outcome.verdict == "failed"
    assert re.search(message, "\n".join(outcome.sentences))
    assert bench.store.row(outcome.row_id).status == "self_reported"
