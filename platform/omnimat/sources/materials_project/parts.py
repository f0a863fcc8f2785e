"""Documents as they were fetched, and Parquet files of documents."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from upath import UPath

from omnimat.base.files import write_atomically
from omnimat.modalities.storage import decode_npz

_PART_SCHEMA = pa.schema(
    [
        ("material_id", pa.string()),
        ("is_found", pa.bool_()),
        ("values", pa.string()),
        ("arrays", pa.binary()),
        ("database_version", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was fetched.

    Attributes:
        values: what is stored as JSON.
        arrays: numbers, which would take too much room in JSON.
        database_version: the version of the database; empty where that does not matter.
    """

    values: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    database_version: str = ""


def read_documents(directory: UPath, parts: Mapping[str, str]) -> Iterator[tuple[str, Document]]:
    """Read documents, each part once.

    Args:
        directory: the folder of the snapshot.
        parts: by material id, the part in which the document lies.
    """
    ids_of_part: dict[str, list[str]] = {}
    for material_id, part in parts.items():
        ids_of_part.setdefault(part, []).append(material_id)
    for part, ids in ids_of_part.items():
        table = read_table(directory / part, filters=[("material_id", "in", ids)])
        for row in table.to_pylist():
            arrays = {} if row["arrays"] is None else _arrays(row["arrays"])
            yield (
                row["material_id"],
                Document(json.loads(row["values"]), arrays, row["database_version"]),
            )


def to_table(documents: Mapping[str, Document | None]) -> pa.Table:
    """Give the rows of a part; None says that there is no such document."""
    rows = [_row(material_id, document) for material_id, document in documents.items()]
    return pa.Table.from_pylist(rows, schema=_PART_SCHEMA)


def write_table(path: UPath, table: pa.Table, rows_per_group: int | None = None) -> None:
    """Write a Parquet file atomically, with few rows a group where single rows will be read."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=rows_per_group, compression="zstd")
    write_atomically(path, buffer.getvalue())


def read_table(path: UPath, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
    """Read a Parquet file, or only some columns and rows of it."""
    with path.open("rb") as file:
        return pq.read_table(file, columns=columns, filters=filters)


def _row(material_id: str, document: Document | None) -> dict[str, Any]:
    if document is None:
        return {"material_id": material_id, "is_found": False}
    buffer = io.BytesIO()
    if document.arrays:
        np.savez(buffer, allow_pickle=False, **document.arrays)
    return {
        "material_id": material_id,
        "is_found": True,
        "values": json.dumps(document.values, default=str),
        "arrays": buffer.getvalue() or None,
        "database_version": document.database_version,
    }


def _arrays(data: bytes) -> dict[str, NDArray[Any]]:
    return decode_npz(data, "biuf")
