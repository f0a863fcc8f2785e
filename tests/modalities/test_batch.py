import json

import numpy as np
import pyarrow as pa
import pytest
from pymatgen.core import Lattice, Structure

from omnimat.modalities.batch import Quarantined, collate, feature_table
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.layout import feature_schema
from omnimat.modalities.registry import MODALITIES, default_featurizer
from omnimat.modalities.text.embedding import TextEmbedding

# Of properties somebody has to say which, and a force field is not installed everywhere.
WITH_DEFAULTS = [
    name for name in MODALITIES.names if name not in {"properties", "elastic_response"}
]


@pytest.fixture(scope="module")
def featurizers():
    # Reversed, because columns follow the order of the mapping, not that of the registry.
    return {modality: default_featurizer(modality) for modality in reversed(WITH_DEFAULTS)}


@pytest.fixture(scope="module")
def records(record_of, nacl, triclinic):
    rng = np.random.default_rng(0)
    energies = np.linspace(-9, 9, 301, dtype=np.float32)
    dos = DensityOfStates(energies, rng.random(301, dtype=np.float32))
    return [
        record_of(
            triclinic,
            material_id="all",
            dos=dos,
            charge_density=rng.random((20, 24, 28)),
            text="a perovskite",
            text_embedding=rng.random(768),
            properties={"band_gap_ev": 1.5, "crystal_system": "triclinic"},
        ),
        record_of(nacl, material_id="structure-only"),
        Quarantined("unreadable", "structure: truncated"),
        record_of(nacl, material_id="structure-and-dos", dos=dos),
        record_of(
            Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0]]),
            material_id="coinciding",
            text_embedding=rng.random(768),
        ),
    ]


def expected_arrays(records, featurizer):
    """Return the row and the arrays of each record that has them."""
    found = []
    for row, record in enumerate(records):
        if isinstance(record, Quarantined):
            continue
        try:
            arrays = featurizer(record)
        except ValueError:
            continue
        if arrays is not None:
            found.append((row, arrays))
    return found


def check_batch(batch, records, featurizers):
    assert batch.material_ids.to_pylist() == [record.material_id for record in records]
    for modality, featurizer in featurizers.items():
        got = batch.modalities[modality]
        expected = expected_arrays(records, featurizer)
        assert got.rows.tolist() == [row for row, _ in expected]
        firsts = 0
        begin = {field.name: 0 for field in featurizer.fields}
        for position, (_, arrays) in enumerate(expected):
            for field in featurizer.fields:
                values = arrays[field.name]
                length = 1 if field.axis == "material" else len(values)
                end = begin[field.name] + length
                part = got.arrays[field.name][begin[field.name] : end]
                if field.axis == "material":
                    part = part[0]
                else:
                    assert got.arrays[f"num_{field.axis}s"][position] == length
                shift = firsts if field.counted_from else 0
                np.testing.assert_array_equal(part, values + shift)
                assert part.dtype == field.dtype
                begin[field.name] = end
            firsts += len(arrays.get("atomic_numbers", ()))
        for field in featurizer.fields:
            assert len(got.arrays[field.name]) == begin[field.name]


def test_table_has_the_schema_and_every_row(records, featurizers):
    table = feature_table(records, featurizers)
    table.validate(full=True)
    assert table.schema == feature_schema(featurizers)
    assert table["material_id"].to_pylist() == [record.material_id for record in records]
    assert json.loads(table["properties"][0].as_py()) == records[0].properties
    assert json.loads(table["properties"][2].as_py()) == {}


def test_failures_are_reasons_not_lost_rows(records, featurizers):
    table = feature_table(records, featurizers)
    reasons = table["quarantine_reason"].to_pylist()
    coinciding = "geometry: two atoms coincide; structure: two atoms coincide"
    assert reasons == [None, None, "structure: truncated", None, coinciding]
    assert table["structure.atomic_numbers"].is_valid().to_pylist() == [1, 1, 0, 1, 0]
    assert table["text.embedding"].is_valid().to_pylist() == [1, 0, 0, 0, 1]
    assert all(column.null_count >= 1 for column in table.columns[3:])


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, np.linalg.LinAlgError])
def test_any_numerical_error_is_a_reason(records, error):
    class Failing(TextEmbedding):
        def __call__(self, record):
            raise error("why")

    table = feature_table(records[:1], {"text": Failing()})
    assert table["quarantine_reason"].to_pylist() == ["text: why"]


def test_values_that_are_not_finite_are_a_reason(record_of, nacl):
    record = record_of(nacl, text_embedding=np.full(768, np.nan))
    table = feature_table([record], {"text": TextEmbedding()})
    assert table["quarantine_reason"].to_pylist() == ["text: embedding is not finite"]
    assert table["text.embedding"].null_count == 1


def test_collate_equals_the_arrays_of_each_record(records, featurizers):
    check_batch(collate(feature_table(records, featurizers), featurizers), records, featurizers)


def test_collate_of_slices_chunks_and_any_order(records, featurizers):
    table = feature_table(records, featurizers)
    check_batch(collate(table.slice(1, 3), featurizers), records[1:4], featurizers)
    chunked = pa.concat_tables([table.slice(3), table.slice(0, 0), table.slice(0, 2)])
    check_batch(collate(chunked, featurizers), records[3:] + records[:2], featurizers)
    order = [4, 0, 3, 1, 2, 0]
    check_batch(collate(table.take(order), featurizers), [records[i] for i in order], featurizers)


def test_null_lists_that_still_hold_values_are_skipped(records, featurizers):
    """Arrow may keep values where a list is null, but they are not part of the batch."""
    structure = {"structure": featurizers["structure"]}
    table = feature_table(records[:2], structure)
    masked = table
    for place, column in enumerate(table.columns[3:], start=3):
        column = column.combine_chunks()
        hidden = pa.LargeListArray.from_arrays(
            column.offsets, column.values, type=column.type, mask=pa.array([True, False])
        )
        masked = masked.set_column(place, table.schema.field(place), hidden)
    batch = collate(masked, structure)
    assert batch.modalities["structure"].rows.tolist() == [1]
    assert batch.modalities["structure"].arrays["num_atoms"].tolist() == [8]
    assert batch.modalities["structure"].arrays["edge_sources"].max() == 7


def test_nothing_present(records, featurizers):
    for none in ([], [Quarantined("a", "why"), Quarantined("b", "why")]):
        batch = collate(feature_table(none, featurizers), featurizers)
        check_batch(batch, none, featurizers)
        structure = batch.modalities["structure"].arrays
        assert structure["edge_vectors_angstrom"].shape == (0, 3)
        assert structure["num_atoms"].shape == (0,)
        assert batch.modalities["charge_density"].arrays["density"].shape == (0, 32, 32, 32)
    empty = feature_schema(featurizers).empty_table()
    check_batch(collate(empty, featurizers), [], featurizers)


def test_arrays_may_be_written_to(records, featurizers):
    table = feature_table(records, featurizers)
    before = table.slice(0)
    batch = collate(table, featurizers)
    for modality in batch.modalities.values():
        for values in modality.arrays.values():
            values += 1
    assert table.equals(before)
    check_batch(collate(table, featurizers), records, featurizers)


def test_survives_arrow_files(records, featurizers, tmp_path):
    table = feature_table(records, featurizers)
    path = tmp_path / "features.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    with pa.memory_map(str(path)) as source:
        check_batch(collate(pa.ipc.open_file(source).read_all(), featurizers), records, featurizers)


def test_rows_that_do_not_fit_are_refused(featurizers):
    table = feature_schema({"text": TextEmbedding()}).empty_table()
    row = {"material_id": ["a"], "quarantine_reason": [None], "properties": ["{}"]}
    table = pa.table({**row, "text.embedding": [[0.0] * 767]}, schema=table.schema)
    with pytest.raises(ValueError, match="whole items"):
        collate(table, {"text": TextEmbedding()})


def test_defaults_know_their_modality():
    for modality in WITH_DEFAULTS:
        featurizer = default_featurizer(modality)
        assert featurizer.modality == modality
        assert all(field.dtype in {"float32", "int32"} for field in featurizer.fields)
