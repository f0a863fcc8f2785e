"""Rows of retrieval: every number is found again, and what was changed is named."""

import hashlib
import io
import re

import numpy as np
import pytest

from omnimat.base.settings import fingerprint
from omnimat.evaluation.retrieval_scores import MERGED


@pytest.fixture
def rows(bench):
    return {(row.task, row.metric): row for row in bench.rows["retrieval"]}


def rewritten(path, **arrays):
    """Change the embeddings and, as a forger would, their hash."""
    with np.load(path) as stored:
        new = dict(stored) | arrays
    new = {name: array for name, array in new.items() if array is not None}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **new)
    path.write_bytes(buffer.getvalue())
    return {"predictions_sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}


def arrays_of(path):
    with np.load(path) as stored:
        return dict(stored)


def nothing(path):
    return {}


def drop_a_material(path):
    return rewritten(path, **{name: array[1:] for name, array in arrays_of(path).items()})


def repeat_a_material(path):
    arrays = arrays_of(path)
    return rewritten(
        path, **{name: np.concatenate([array, array[:1]]) for name, array in arrays.items()}
    )


def rename_a_material(path):
    ids = arrays_of(path)["material_id"]
    ids[0] = "mat-000"
    return rewritten(path, material_id=ids)


def hide_an_embedding(path):
    """A hard material declared to have no curve."""
    present = arrays_of(path)["dos_present"]
    present[np.flatnonzero(present)[0]] = False
    return rewritten(path, dos_present=present)


def improve_embeddings(path):
    """Every query made equal to its key and unlike the others, with the value left alone."""
    perfect = np.eye(*arrays_of(path)["dos"].shape, dtype=np.float32)
    return rewritten(path, structure=perfect, dos=perfect)


def merge_duplicates(path):
    """All materials declared to be the same, so that any is a hit."""
    return rewritten(path, duplicate_group=np.zeros(len(arrays_of(path)["material_id"]), np.int64))


def spoil(path):
    path.write_bytes(b"PK")
    return {"predictions_sha256": hashlib.sha256(b"PK").hexdigest()}


TOP, DUPLICATES = "top-1", f"top-1{MERGED}"


@pytest.mark.parametrize(
    ("metric", "tamper", "changes", "message"),
    [
        (TOP, nothing, {"value": 0.99}, r"value is 0.99, top-1 by .*embeddings.npz is"),
        ("mean rank", nothing, {"value": 2.0}, "value is 2.0, mean rank by"),
        ("top-1 of 10", nothing, {"value": 0.99}, "value is 0.99"),
        ("1 of 4", nothing, {"value": 0.99}, "value is 0.99"),
        (TOP, nothing, {"num_test": 3}, "num_test is 3, by .*embeddings.npz"),
        (TOP, nothing, {"higher_is_better": False}, "higher_is_better is False, by"),
        (TOP, nothing, {"unit": "%"}, "unit is '%', by"),
        (TOP, nothing, {"metric": "best"}, "metric is 'best', but 'retrieval"),
        (TOP, nothing, {"task": "retrieval dos -> heat"}, "names no two modalities"),
        (
            TOP,
            nothing,
            {"task": "retrieval dos -> structure (train split)"},
            "config is of the test",
        ),
        (TOP, nothing, {"task": "retrieval dos -> xrd"}, "dos -> xrd' cannot be ranked"),
        (TOP, nothing, {"details": {"chance": 0.5}}, "details: chance is 0.5, by"),
        (TOP, nothing, {"seed": 6}, "result.json: seed is 5, the row says 6"),
        (TOP, drop_a_material, {}, "material mat-004 of the test split is left out"),
        (TOP, repeat_a_material, {}, "material mat-004 is there more than once"),
        (TOP, rename_a_material, {}, "material mat-000 is not of the test split"),
        (TOP, hide_an_embedding, {}, "material mat-004 has dos, but no embedding of it"),
        (TOP, improve_embeddings, {}, "value is"),
        (DUPLICATES, merge_duplicates, {}, "duplicate_group is not what the rule 'symmetry' finds"),
        (TOP, spoil, {}, "holds no embeddings"),
    ],
)
def test_tampering_is_caught_and_named(bench, rows, metric, tamper, changes, message):
    row = rows["retrieval structure -> dos", metric]
    bench.store.upsert([row.model_copy(update=tamper(bench.file(row.predictions_uri)) | changes)])
    [outcome] = bench.verify()
    assert outcome.verdict == "failed"
    assert re.search(message, "\n".join(outcome.sentences)), outcome.sentences


@pytest.mark.parametrize(
    ("metric", "changes", "message"),
    [
        (DUPLICATES, {"duplicates": None}, "config has no rule of duplicates"),
        (TOP, {"pool_seed": "x"}, "pool_seed does not fit retrieval"),
    ],
)
def test_a_configuration_of_no_retrieval_is_a_fault(bench, rows, metric, changes, message):
    row = rows["retrieval structure -> dos", metric]
    config = {name: value for name, value in (row.config | changes).items() if value is not None}
    changes = {"config": config, "config_hash": fingerprint(config)}
    bench.store.upsert([row.model_copy(update=changes)])
    [outcome] = bench.verify()
    assert outcome.verdict == "failed"
    assert message in outcome.sentences[0]


def test_a_rule_of_duplicates_that_is_not_known_is_unverifiable(bench, rows):
    row = rows["retrieval structure -> dos", DUPLICATES]
    config = row.config | {"duplicates": "smell"}
    changes = {"config": config, "config_hash": fingerprint(config)}
    bench.store.upsert([row.model_copy(update=changes)])
    [outcome] = bench.verify()
    assert outcome.verdict == "unverifiable"
    assert "smell" in outcome.sentences[0]
