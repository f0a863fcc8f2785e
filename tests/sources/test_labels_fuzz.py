"""Damaged tables of labels: a label is what the table says of the material, or there is none."""

import csv
import gzip
import io
import json
import math
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnimat.materials.record import Record
from omnimat.sources.labels.reader import read_labels
from omnimat.sources.labels.settings import LabelsSettings
from omnimat.testing.damage import damaged_files, watched

ROWS = [
    {"name": "salt", "gap": 5.5, "phase": "cubic"},
    {"name": "mp-1/a", "gap": 1.25, "phase": "rutile"},
    {"name": "å.cif", "gap": -3.0, "phase": "true"},
    {"name": "007", "gap": 1e-3, "phase": "3"},
]
COLUMNS = {"gap": {}, "phase": {"kind": "class"}}
RECORDS = [
    Record("salt"),
    Record("mp-1_a"),
    Record("_", provenance={"file": "å.cif"}),
    Record("007"),
]


def csv_of(separator):
    lines = [separator.join(ROWS[0]), *(separator.join(map(str, row.values())) for row in ROWS)]
    return ("\n".join(lines) + "\n").encode()


def parquet():
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


TABLES = {
    "labels.csv": csv_of(","),
    "labels.csv.gz": gzip.compress(csv_of(","), mtime=0),
    "labels.tsv": csv_of("\t"),
    "labels.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "labels.parquet": parquet(),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_of_labels(tmp_path, name):
    path, count, wrong = tmp_path / name, 0, []
    path.write_bytes(TABLES[name])
    assert [one.properties for one in joined(path)] == [
        {"gap": row["gap"], "phase": row["phase"]} for row in ROWS
    ]
    for what, changed in damaged_files(TABLES[name], [zlib.crc32(name.encode())]):
        path.write_bytes(changed)
        count += 1
        records = []
        with watched() as told:
            records = joined(path)
        for record in records:
            told += [f"{record.material_id}: {one}" for one in unsaid(record, path)]
        wrong += [f"{what}: {one}" for one in told]
    assert not wrong, "\n".join(wrong)
    assert count >= 7


def joined(path):
    settings = LabelsSettings.model_validate(
        {"path": str(path), "id": "name", "columns": COLUMNS}
    ).located()
    return list(read_labels(settings).joined(RECORDS))


def unsaid(record, path):
    """Give the labels of a record that no cell of a row of its id holds."""
    label_id = record.provenance.get("label_id")
    rows = [row for row in rows_of(path) if str(row.get("name")).strip() == label_id]
    for label, value in record.properties.items():
        cells = [row.get(label) for row in rows]
        if not any(means(cell, value) for cell in cells):
            yield f"{label} is {value!r}, the table says {cells}"
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{label} is {value}"


def means(cell, value):
    try:
        return float(cell) == float(value)
    except (TypeError, ValueError):
        return isinstance(value, str) and str(cell).strip().lower() == value.lower()


def rows_of(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    separator = "\t" if path.suffix == ".tsv" else ","
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    return [{(key or "").strip(): cell for key, cell in row.items()} for row in rows]
