"""How features travel: flat Arrow lists, one column a field, so a batch is a concatenation.

A feature table has the columns ``material_id``, ``quarantine_reason``, ``properties`` (JSON) and,
for each modality, ``<modality>.<field>`` of type ``large_list<number>``. A missing modality is a
null in all its columns. Ragged values (atoms, edges, pairs) are flattened: their number follows
from the list length and the item shape.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnimat.base.settings import Settings
from omnimat.base.workspace import Workspace
from omnimat.materials.record import Record

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


TrainingRecords = Callable[[Collection[str]], Iterator[Record]]
"""Reads the records of a data set's training split, each with its properties and these parts."""


class Featurizer(Protocol):
    """Turns a record into the arrays of one modality; deterministic and picklable.

    ``FeaturizerSettings`` has all that is the same for most.
    """

    @property
    def modality(self) -> str:
        """The modality whose arrays it gives."""

    @property
    def type(self) -> str:
        """The name it has in a job file."""

    @property
    def index_columns(self) -> tuple[str, ...]:
        """Columns ``has_<part>`` of the record index, any of which says that it has an input."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """The arrays it gives, in column order."""

    @property
    def properties_shown(self) -> tuple[str, ...]:
        """Properties of the record that its arrays tell; nothing may be judged by these."""

    def model_dump(self, *, mode: str = ...) -> dict[str, Any]:
        """Give its settings: a featurizer is its settings."""

    def located(self, workspace: Workspace, training: TrainingRecords) -> Self:
        """Give the same featurizer, complete in itself: files read in, statistics measured.

        Args:
            workspace: where fitted tokenizers and the like lie.
            training: the records that statistics are measured on.

        Raises:
            UserError: a file is not to be had, or no training record has what is asked for.
        """

    def __call__(self, record: Record) -> Arrays | None:
        """Give every field's array, or None where the record lacks what is needed."""


class FeaturizerSettings(Settings):
    """The base of featurizers."""

    @property
    def properties_shown(self) -> tuple[str, ...]:
        """None of them, as of most featurizers."""
        return ()

    def located(self, workspace: Workspace, training: TrainingRecords) -> Self:
        """Give the same featurizer: most are complete as they are."""
        del workspace, training
        return self


def feature_schema(featurizers: Mapping[str, Featurizer]) -> pa.Schema:
    """Give the schema of the feature table these featurizers fill."""
    columns = [
        pa.field(ID_COLUMN, pa.string()),
        pa.field(QUARANTINE_COLUMN, pa.string()),
        pa.field(PROPERTIES_COLUMN, pa.string()),
    ]
    for modality, featurizer in featurizers.items():
        columns += [pa.field(f"{modality}.{f.name}", f.arrow_type) for f in featurizer.fields]
    return pa.schema(columns)
