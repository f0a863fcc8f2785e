"""Rows of the other sections of an evaluation, tampered with: caught, and named."""

import re

import pandas as pd
import pytest

from omnimat.base.provenance import sha256_of


def refitted(path, edit):
    """Change the table of predictions and, as a forger would, its hash."""
    edit(pd.read_parquet(path)).to_parquet(path)
    return {"predictions_sha256": sha256_of(path)}


def cell(column, change, place=0):
    def edit(table):
        cells = table[column].tolist()
        cells[place] = change(cells[place])
        return table.assign(**{column: cells})

    return edit


def other(label):
    return "hexagonal" if label == "cubic" else "cubic"


def drop_first(table):
    return table.iloc[1:].reset_index(drop=True)


def drop_a_target(table):
    return table[table["material_id"] != table["material_id"].iloc[0]].reset_index(drop=True)


ACCURACY = ("zero_shot", "zero-shot crystal system of dos", "accuracy")
BEST = ("discovery", "discovery dos -> structure", "nMAE, best of 5")
SILHOUETTE = ("clusters", "crystal systems in structure", "silhouette")
SPREAD = ("clusters", "spread of mean of structure, dos, text", "uniformity")
ALIGNMENT = ("clusters", "alignment of structure and dos", "alignment")

TAMPERINGS = [
    (ACCURACY, None, {"value": 0.99}, "value is 0.99, accuracy by .*parquet"),
    (ACCURACY, None, {"metric": "mae"}, "metric is 'mae'"),
    (ACCURACY, None, {"higher_is_better": False}, "higher_is_better is False, by"),
    (
        ACCURACY,
        None,
        {"task": "zero-shot metal of dos"},
        "config has 'zero-shot crystal system of dos'",
    ),
    (ACCURACY, None, {"num_test": 99}, "num_test is 99, by"),
    (ACCURACY, None, {"details": {"per_class_accuracy": {}}}, "per_class_accuracy is {}, by"),
    (ACCURACY, None, {"details": {"chance": 0.1}}, "details: chance is 0.1, by .* 0.5"),
    (ACCURACY, None, {"details": {"majority": 0.1}}, "details: majority is 0.1, by"),
    (ACCURACY, None, {"details": {"num_per_class": {}}}, "details: num_per_class is {}, by"),
    (ACCURACY, None, {"details": {"num_left_out": 0}}, "details: num_left_out is 0, by"),
    (ACCURACY, None, {"seed": 1}, "result.json: seed is 5, the row says 1"),
    (ACCURACY, cell("target", other), {}, "target of material .* is not that of the data set"),
    (ACCURACY, cell("prediction", lambda _: "odd"), {}, "prediction odd is no label"),
    (ACCURACY, drop_first, {}, "material mat-.* is left out, but has the target and"),
    (ACCURACY, cell("material_id", lambda _: "mat-000"), {}, "mat-000 is of the train split"),
    (BEST, None, {"value": 0.01}, "value is 0.01, nMAE, best of 5 by .*discovery.parquet"),
    (BEST, None, {"metric": "nMAE, best of 99"}, "metric is 'nMAE, best of 99'"),
    (BEST, None, {"details": {"chance": 9.0}}, "details: chance is 9.0, of random candidates"),
    (BEST, None, {"details": {"chance": "high"}}, "details: chance is 'high'"),
    (BEST, None, {"details": {"num_targets": 3}}, "details: num_targets is 3, by"),
    (BEST, None, {"details": {"num_dropped": 3}}, "details: num_dropped is 3, in the data set"),
    (BEST, None, {"details": {"num_candidates": 99}}, "details: num_candidates is 99, in the"),
    (
        BEST,
        cell("nmae", lambda v: v + 0.01),
        {},
        "nmae of target mat-004 is not that of the curves",
    ),
    (BEST, cell("neighbor_id", lambda _: "mat-009"), {}, "mat-009 is not of the train split"),
    (BEST, cell("neighbor_id", lambda _: "mat-003"), {}, "mat-003 has no density of states"),
    (BEST, cell("rank", lambda _: 2), {}, "rank does not go from 1 to 5"),
    (BEST, cell("similarity", lambda _: -1.0), {}, "similarity does not fall"),
    (BEST, cell("material_id", lambda _: "mat-009"), {}, "material_id changes"),
    (BEST, drop_a_target, {}, "material mat-004 of the split is left out"),
    (SILHOUETTE, None, {"value": 0.9}, "value is 0.9, silhouette by .*embeddings.npz"),
    (SILHOUETTE, None, {"details": {"num_labelled": 3}}, "details: num_labelled is 3"),
    (SPREAD, None, {"value": -9.0}, "value is -9.0, uniformity by"),
    (SPREAD, None, {"task": "spread of heat"}, "'spread of heat' cannot be measured"),
    (ALIGNMENT, None, {"value": 0.1}, "value is 0.1, alignment by"),
    (ALIGNMENT, None, {"details": {"modality_gap": 0.0}}, "details: modality_gap is 0.0"),
    (ALIGNMENT, None, {"task": "alignment of dos and xrd"}, "cannot be measured"),
]


@pytest.mark.parametrize(("which", "edit", "changes", "message"), TAMPERINGS)
def test_tampering_is_caught_and_named(bench, which, edit, changes, message):
    kind, task, metric = which
    rows = {(row.task, row.metric): row for row in bench.rows[kind]}
    row = rows[task, metric]
    changes = changes | (refitted(bench.file(row.predictions_uri), edit) if edit else {})
    bench.store.upsert([row.model_copy(update=changes)])
    [outcome] = bench.verify()
    assert outcome.verdict == "failed", outcome.sentences
    assert re.search(message, "\n".join(outcome.sentences)), outcome.sentences


def test_what_discovery_cannot_prove_is_said(bench):
    bench.store.upsert(bench.rows["discovery"])
    outcomes = bench.verify()
    assert {one.verdict for one in outcomes} == {"recomputed"}
    assert all("that the neighbours are the nearest is taken" in one.notes[-1] for one in outcomes)


def test_materials_without_the_modality_are_counted(bench):
    bench.store.upsert(bench.rows["zero_shot"])
    notes = [note for one in bench.verify() for note in one.notes]
    lacking = sum(
        "dos" not in one.parts and one.properties["crystal_system"] in ("cubic", "hexagonal")
        for one in bench.test_records()
    )
    assert notes == 2 * [f"{lacking} materials of the split have the target and lack dos"]
