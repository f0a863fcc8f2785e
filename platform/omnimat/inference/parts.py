"""Embeddings that were made before, in Parquet tables, as the contents of an index."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import read_file
from omnimat.inference.card import Predictor
from omnimat.inference.columns import DISTANCE, NAME, NOTES, columns_of
from omnimat.search.index import UNIT_TOLERANCE
from omnimat.search.materials import FACTS, FORMULA, KNOWN, PREDICTED, SPLIT, Chunk, facts_in

# What names the material, its embedding and the reason why it has none: the job ``predict`` writes
# the first of each, ``omnimat embed`` the second.
_NAMES = ("material_id", NAME)
_VECTORS = ("embedding", "vector")
_REASONS = ("reason", NOTES)
_ENCODER = b"omnimat.encoder"  # in the metadata of a table: what ``stamped`` was told


def stamped(table: pa.Table, encoder: str) -> pa.Table:
    """Write into the metadata of a table of embeddings by which encoder they were made.

    Args:
        table: the table.
        encoder: fingerprint of the encoder (``Encoders.fingerprint_of``).
    """
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _ENCODER: encoder})


def embedding_parts(inputs: Any) -> list[Path]:
    """Give the Parquet tables of embeddings that inputs name, or none if they name other things.

    Raises:
        UserError: they name both.
    """
    several: Sequence[Any] = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    if not isinstance(several, list | tuple):
        return []
    found = [_parts_of(one) for one in several]
    if any(found) and not all(found):
        raise UserError("inputs: give tables of embeddings or materials, and not both at once")
    return [file for files in found for file in files]


def chunk_of(file: Path | UPath, width: int, encoder: str, predicted: Collection[str]) -> Chunk:
    """Read a table of embeddings.

    Args:
        file: the table.
        width: width of the model's embeddings.
        encoder: fingerprint of the encoder that makes them, against which a table that is
            ``stamped`` is held.
        predicted: columns that hold what the model predicts; all others are known.

    Raises:
        UserError: the table cannot be read, or its embeddings are none of the model.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(read_file(UPath(file)))).read()
        _check_made_by(table, encoder)
        name, vector = _named(table, _NAMES), _named(table, _VECTORS)
        vectors = _vectors(table[vector].combine_chunks(), width)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise UserError(f"inputs: {file}: {' '.join(str(error).split())}") from error
    why = next((one for one in _REASONS if one in table.column_names), None)
    reasons = [None] * len(table) if why is None else table[why].to_pylist()
    told = facts_in(table[FACTS].to_pylist()) if FACTS in table.column_names else {}
    own = {name, vector, FACTS, *(set(_REASONS) - set(predicted))}
    others = [one for one in table.column_names if one not in own]
    cells = {_column(one, predicted): _cells(table[one]) for one in others}
    return Chunk(
        names=[str(one) for one in table[name].to_pylist()],
        vectors=vectors,
        reasons=[str(one or "it has no embedding") for one in reasons],
        columns=told | cells,
    )


def predicted_columns(predictor: Predictor | None) -> frozenset[str]:
    """Name the columns of a model's predictions."""
    if predictor is None:
        return frozenset()
    each = (
        columns_of(one.task, has_interval=one.calibration is not None)
        for one in predictor.predicted
    )
    return frozenset({DISTANCE, NOTES, *(name for names in each for name in names)})


def _parts_of(one: Any) -> list[Path]:
    if not isinstance(one, str | os.PathLike):
        return []
    path = Path(one)
    found = sorted(path.glob("*.parquet")) if path.is_dir() else sorted(map(Path, glob(str(one))))
    return [file for file in found if file.suffix == ".parquet" and _holds_embeddings(file)]


def _holds_embeddings(file: Path) -> bool:
    try:
        names = pq.read_schema(file).names
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"inputs: {file}: {' '.join(str(error).split())}") from error
    return any(one in names for one in _VECTORS)


def _named(table: pa.Table, names: Sequence[str]) -> str:
    found = next((one for one in names if one in table.column_names), None)
    if found is None:
        raise ValueError(f"it has no column {' or '.join(names)}")
    return found


def _check_made_by(table: pa.Table, encoder: str) -> None:
    if (table.schema.metadata or {}).get(_ENCODER, encoder.encode()) != encoder.encode():
        raise ValueError(
            "its embeddings were made by another model, or from another modality, and cannot be "
            "compared with those of this one: name the modality, or embed the materials again"
        )


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Give the cells of a column; an empty text says nothing."""
    return [None if cell == "" else cell for cell in column.to_pylist()]


def _column(name: str, predicted: Collection[str]) -> str:
    if name in {FORMULA, SPLIT}:
        return name
    return f"{PREDICTED if name in predicted else KNOWN}{name}"


def _vectors(column: pa.Array, width: int) -> NDArray[np.float32]:
    """Give (n, d) embeddings, NaN where there is none."""
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    is_vector = any(kind(column.type) for kind in kinds)
    if not is_vector or not pa.types.is_floating(column.type.value_type):
        raise ValueError(f"its embeddings are {column.type}, and not lists of numbers")
    known = column.drop_null()
    if not pc.all(pc.equal(pc.list_value_length(known), width)).as_py() and len(known):
        raise ValueError(f"its embeddings are not {width} wide, as those of the model are")
    values = known.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)
    lengths = np.linalg.norm(values, axis=1)
    if not (np.isnan(lengths) | (np.abs(lengths - 1) <= UNIT_TOLERANCE)).all():
        raise ValueError("its embeddings are not of unit length, as those of the model are")
    vectors = np.full((len(column), width), np.nan, np.float32)
    vectors[column.is_valid().to_numpy(zero_copy_only=False)] = values
    return vectors
