"""How features travel: flat Arrow lists, one column a field, so a batch is a concatenation.

A feature table has the columns ``material_id``, ``quarantine_reason``, ``properties`` (JSON) and,
for each modality, ``<modality>.<field>`` of type ``large_list<number>``. A missing modality is a
null in all its columns. Ragged values (atoms, edges, pairs) are flattened: their number follows
from the list length and the item shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnimat.materials.record import Modality, Record

Arrays = dict[str, NDArray[np.generic]]

Extractor = Callable[[Record], Arrays | None]
"""What gives one modality's arrays of a record: a featurizer, or a random view by one."""

ID_COLUMN = "material_id"
QUARANTINE_COLUMN = "quarantine_reason"
PROPERTIES_COLUMN = "properties"


@dataclass(frozen=True, slots=True)
class Field:
    """One array of a modality.

    Attributes:
        name: with its unit (``edge_vectors_angstrom``).
        dtype: of the stored and collated array.
        item_shape: shape of one item; with ``axis="material"`` the shape of the whole array.
        axis: what the leading axis counts. ``material``: one item a material; any other name
            (``atom``, ``edge``, ``pair``) is ragged, and the batch gets its ``num_<axis>s``.
        counted_from: the ragged axis this field indexes; collating shifts it to batch positions.
    """

    name: str
    dtype: Literal["float32", "float64", "int32"]
    item_shape: tuple[int, ...] = ()
    axis: str = "material"
    counted_from: str | None = None

    @property
    def arrow_type(self) -> pa.DataType:
        """The column type."""
        return pa.large_list(pa.from_numpy_dtype(np.dtype(self.dtype)))

    @property
    def item_size(self) -> int:
        """Numbers in one item."""
        return int(np.prod(self.item_shape, dtype=np.int64))


class Featurizer(Protocol):
    """Turns a record into the arrays of one modality; deterministic and picklable."""

    @property
    def modality(self) -> Modality:
        """The modality it fills."""

    @property
    def index_columns(self) -> tuple[str, ...]:
        """Columns of the record index, any of which says that a record has what it needs.

        None where the structure, which every record has, is enough.
        """

    @property
    def fields(self) -> tuple[Field, ...]:
        """The arrays it gives, in column order."""

    def model_dump(self, *, mode: str = ...) -> dict[str, Any]:
        """Give its settings: a featurizer is its settings."""

    def __call__(self, record: Record) -> Arrays | None:
        """Give every field's array, or None where the record lacks what is needed."""


def feature_schema(featurizers: Mapping[Modality, Featurizer]) -> pa.Schema:
    """Give the schema of the feature table these featurizers fill."""
    columns = [
        pa.field(ID_COLUMN, pa.string()),
        pa.field(QUARANTINE_COLUMN, pa.string()),
        pa.field(PROPERTIES_COLUMN, pa.string()),
    ]
    for modality, featurizer in featurizers.items():
        columns += [pa.field(f"{modality}.{f.name}", f.arrow_type) for f in featurizer.fields]
    return pa.schema(columns)
