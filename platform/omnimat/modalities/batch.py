"""From records to a feature table to a batch, without a Python object for each row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from omnimat.materials.record import Record
from omnimat.modalities.layout import (
    ID_COLUMN,
    Arrays,
    Counts,
    Extractor,
    Featurizer,
    Field,
    feature_schema,
)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A material whose record could not be read.

    Attributes:
        material_id: id of the material.
        reason: why its record could not be read, in one line.
    """

    material_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModalityArrays:
    """One modality of a batch.

    Attributes:
        rows: rows of the batch that have the modality, increasing, int64 of shape (n_present,).
        arrays: each field concatenated over these rows, or padded, and for each ragged axis the
            counts ``num_<axis>s``, int64 of shape (n_present,). Indices refer to positions in the
            batch. All arrays are writable copies.
    """

    rows: Counts
    arrays: Arrays


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of materials.

    Attributes:
        material_ids: id of each material, n Arrow strings.
        modalities: what is known about the materials.
    """

    material_ids: pa.Array
    modalities: dict[str, ModalityArrays]


def feature_table(
    records: Iterable[Record | Quarantined], featurizers: Mapping[str, Featurizer]
) -> pa.Table:
    """Featurize records into a table of ``feature_schema(featurizers)`` with one row per input.

    If a featurizer fails, its modality stays null and ``quarantine_reason`` says why
    (``xrd: two atoms coincide``), but the row is still delivered. A quarantined input becomes a row
    without any modality.
    """
    return table_of_views(((record, featurizers) for record in records), featurizers)


def table_of_views(
    views: Iterable[tuple[Record | Quarantined, Mapping[str, Extractor]]],
    featurizers: Mapping[str, Featurizer],
) -> pa.Table:
    """Make the same table from views of records, each of which has its own extractors.

    Args:
        views: for each row, the record and the extractor of each modality.
        featurizers: the featurizers whose fields the extractors fill.
    """
    ids, reasons, properties = [], [], []
    features: dict[str, list[Arrays | None]] = {modality: [] for modality in featurizers}
    for record, extractors in views:
        arrays, reason = _extract(record, extractors, featurizers)
        ids.append(record.material_id)
        reasons.append(reason)
        known = {} if isinstance(record, Quarantined) else dict(record.properties)
        properties.append(json.dumps(known, sort_keys=True))
        for modality, rows in features.items():
            rows.append(arrays.get(modality))
    columns = [pa.array(ids, pa.string()), pa.array(reasons, pa.string())]
    columns.append(pa.array(properties, pa.string()))
    for modality, featurizer in featurizers.items():
        columns += [_column(field, features[modality]) for field in featurizer.fields]
    return pa.Table.from_arrays(columns, schema=feature_schema(featurizers))


def collate(table: pa.Table, featurizers: Mapping[str, Featurizer]) -> Batch:
    """Concatenate the rows of a feature table into arrays.

    Raises:
        ValueError: the lists of a column do not hold whole items, or two fields of the same axis
            differ in length.
    """
    modalities = {
        modality: _collate_modality(table, modality, featurizer.fields)
        for modality, featurizer in featurizers.items()
    }
    return Batch(table[ID_COLUMN].combine_chunks(), modalities)


def _extract(
    record: Record | Quarantined,
    extractors: Mapping[str, Extractor],
    featurizers: Mapping[str, Featurizer],
) -> tuple[dict[str, Arrays | None], str | None]:
    if isinstance(record, Quarantined):
        return {}, record.reason
    found: dict[str, Arrays | None] = {}
    reasons = []
    for modality, featurizer in featurizers.items():
        try:
            found[modality] = _checked(extractors[modality](record), featurizer.fields)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            reasons.append(f"{modality}: {error}")
    return found, "; ".join(reasons) or None


def _checked(arrays: Arrays | None, fields: tuple[Field, ...]) -> Arrays | None:
    if arrays is not None:
        for field in fields:
            if not np.isfinite(arrays[field.name]).all():
                raise ValueError(f"{field.name} is not finite")
    return arrays


def _column(field: Field, rows: list[Arrays | None]) -> pa.Array:
    """Flatten one field of all rows into a list column, which is null where a row lacks it."""
    arrays = [None if row is None else row[field.name] for row in rows]
    lengths = [0 if array is None else array.size for array in arrays]
    flat = [array.astype(field.dtype, copy=False).ravel() for array in arrays if array is not None]
    values = np.concatenate([np.empty(0, field.dtype), *flat])
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    missing = pa.array([array is None for array in arrays], pa.bool_())
    return pa.LargeListArray.from_arrays(
        pa.array(offsets), pa.array(values), type=field.arrow_type, mask=missing
    )


def _collate_modality(table: pa.Table, modality: str, fields: tuple[Field, ...]) -> ModalityArrays:
    columns = {field: table[f"{modality}.{field.name}"] for field in fields}
    arrays: dict[str, NDArray[Any]] = {
        field.name: _values(field, column) for field, column in columns.items()
    }
    counts: dict[str, Counts] = {}
    for field, column in columns.items():
        count = _item_counts(field, column)
        if not np.array_equal(counts.setdefault(field.axis, count), count):
            raise ValueError(f"{modality}.{field.name} differs in length from its axis")
    for field in fields:
        if field.counted_from is not None:
            sizes = counts[field.counted_from]
            firsts = (np.cumsum(sizes) - sizes).astype(field.dtype)
            arrays[field.name] += np.repeat(firsts, counts[field.axis])
        if field.is_padded:
            arrays[field.name] = _padded(arrays[field.name], counts[field.axis])
    arrays |= {f"num_{axis}s": count for axis, count in counts.items() if axis != "material"}
    for axis, count in joined_counts(fields, arrays).items():
        arrays[f"joined_{axis}s"] = np.empty((count.sum(), 0), np.int32)
    return ModalityArrays(np.flatnonzero(columns[fields[0]].is_valid()), arrays)


def _padded(values: NDArray[Any], counts: Counts) -> NDArray[Any]:
    """Lay the items of n materials in rows, (total, ...) -> (n, longest, ...)."""
    longest = int(counts.max(initial=0))
    rows = np.zeros((len(counts), longest, *values.shape[1:]), values.dtype)
    rows[np.arange(longest) < counts[:, None]] = values
    return rows


def joined_counts(fields: Iterable[Field], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Counts]:
    """Count the pairs of items that a field joins, for each axis and material, shape (n_present,).

    Args:
        fields: fields of a modality.
        arrays: their collated arrays.
    """
    joined: dict[str, Counts] = {}
    for field in fields:
        if field.joins is not None:
            ends, starts = arrays[field.name], arrays[field.joins]
            counts = arrays[f"num_{field.axis}s"]
            num_ending = np.bincount(ends, minlength=int(starts.max(initial=-1)) + 1)
            before = np.concatenate([[0], np.cumsum(num_ending[starts])])
            lasts = np.cumsum(counts)
            joined[field.axis] = before[lasts] - before[lasts - counts]
    return joined


def _values(field: Field, column: pa.ChunkedArray) -> NDArray[Any]:
    """Concatenate the lists into a copy, since Arrow's memory may be a read-only mapped file."""
    chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
    flat = np.concatenate([np.empty(0, field.dtype), *chunks])
    if flat.size % field.item_size:
        raise ValueError(f"{field.name} does not hold whole items of shape {field.item_shape}")
    return flat.reshape(-1, *field.item_shape)


def _item_counts(field: Field, column: pa.ChunkedArray) -> Counts:
    """Count the items of each present row, shape (n_present,)."""
    lengths = pc.list_value_length(column).drop_null().to_numpy()
    counts, rest = np.divmod(lengths.astype(np.int64), field.item_size)
    if rest.any() or (field.axis == "material" and (counts != 1).any()):
        raise ValueError(f"{field.name} does not hold whole items of shape {field.item_shape}")
    result: Counts = counts
    return result
