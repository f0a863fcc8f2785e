"""How features are passed on: as flat Arrow lists, one column per field.

A feature table has the columns ``material_id``, ``quarantine_reason``, ``properties`` (JSON) and,
for each modality, ``<modality>.<field>`` of type ``large_list<number>``. A missing modality is null
in all its columns. Ragged values (atoms, edges, pairs) are flattened; their number follows from the
length of the list and the shape of an item. A batch is a concatenation of such lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings
from omnimat.base.workspace import Workspace
from omnimat.materials.record import Record

Arrays = dict[str, NDArray[np.generic]]
Counts = NDArray[np.int64]

Extractor = Callable[[Record], Arrays | None]
"""Returns one modality's arrays of a record: a featurizer, or a random view made with one."""

ID_COLUMN = "material_id"
QUARANTINE_COLUMN = "quarantine_reason"
PROPERTIES_COLUMN = "properties"

# A charge density on a grid of 128 points along each axis has an eighth of this.
_MAX_ITEM_SIZE = 2**24


@dataclass(frozen=True, slots=True)
class Field:
    """One array of a modality.

    Attributes:
        name: name with its unit (``edge_vectors_angstrom``).
        dtype: type of the stored and of the collated array.
        item_shape: shape of one item; with ``axis="material"``, the shape of the whole array.
        axis: what the leading axis counts. With ``material`` there is one item per material; any
            other axis (``atom``, ``edge``, ``pair``) is ragged, and the batch gets ``num_<axis>s``.
        counted_from: ragged axis that this field indexes; collating shifts it to batch positions.
        is_padded: whether collating lays the items of each material in a row of their own, as long
            as the longest and filled up by zeros, instead of those of all one after another. Only
            the host knows that length without waiting for a GPU.
        joins: field along the same axis. Collating also tells how many pairs of items there are of
            which one has here what the other has there: by the length of ``joined_<axis>s``, an
            array of shape (pairs, 0), since only the host knows it without waiting for a GPU.
    """

    name: str
    dtype: Literal["float32", "float64", "int32"]
    item_shape: tuple[int, ...] = ()
    axis: str = "material"
    counted_from: str | None = None
    is_padded: bool = False
    joins: str | None = None

    @property
    def arrow_type(self) -> pa.DataType:
        """Type of the column."""
        return pa.large_list(pa.from_numpy_dtype(np.dtype(self.dtype)))

    @property
    def item_size(self) -> int:
        """How many numbers one item has."""
        return int(np.prod(self.item_shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Vector:
    """What a modality tells as one vector per material, which other modalities can predict.

    Attributes:
        name: field that holds the numbers; an array of several axes counts as flattened.
        size: how many numbers it has.
        mask: field that is zero where numbers are not known; None if all are.
        widths: how many adjacent numbers each entry of the mask covers.
        is_standard: whether the numbers have mean 0 and standard deviation 1 by themselves.
    """

    name: str
    size: int
    mask: str | None = None
    widths: tuple[int, ...] = ()
    is_standard: bool = False


TrainingRecords = Callable[[Collection[str]], Iterator[Record]]
"""Reads the records of the training split, each with its properties and the named parts."""


class Featurizer(Protocol):
    """Turns a record into the arrays of one modality; it is deterministic and can be pickled.

    ``FeaturizerSettings`` implements what most featurizers share.
    """

    @property
    def modality(self) -> str:
        """The modality whose arrays it returns."""

    @property
    def type(self) -> str:
        """Its name in a job file."""

    @property
    def index_columns(self) -> tuple[str, ...]:
        """Columns ``has_<part>`` of the record index, any of which shows that there is an input."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """The arrays that it returns, in the order of the columns."""

    @property
    def properties_shown(self) -> tuple[str, ...]:
        """Properties of the record that its arrays show.

        Nothing may be judged by these, or by what they reveal (``materials.quantities``).
        """

    @property
    def vector(self) -> Vector | None:
        """What of its arrays can be predicted; None if they make no single vector of one kind."""

    @property
    def outside(self) -> str | None:
        """What it reads besides the record and its settings, such as a model; None for most."""

    def num_edges(self, num_atoms: Counts) -> Counts:
        """Say about how many edges the graphs of crystals of so many atoms have, shape (n,)."""

    def model_dump(self, *, mode: str = ...) -> dict[str, Any]:
        """Return its settings; a featurizer consists only of them."""

    def located(self, workspace: Workspace, training: TrainingRecords) -> Self:
        """Return the same featurizer with all files read and all statistics measured.

        Args:
            workspace: workspace that holds fitted tokenizers and the like.
            training: records from which statistics are measured.

        Raises:
            UserError: a file is not available, or no training record has what is needed.
        """

    def __call__(self, record: Record) -> Arrays | None:
        """Return every field's array, or None where the record lacks what is needed."""


class FeaturizerSettings(Settings):
    """Base class of featurizers."""

    if TYPE_CHECKING:  # a property in some, a class variable in others

        @property
        def fields(self) -> tuple[Field, ...]:
            """The arrays that it returns."""

    @property
    def properties_shown(self) -> tuple[str, ...]:
        """No property, as for most featurizers."""
        return ()

    @property
    def vector(self) -> Vector | None:
        """The only field, if it holds equally many floats for each material."""
        first, *others = self.fields
        if others or first.axis != "material" or first.dtype == "int32":
            return None
        return Vector(first.name, first.item_size)

    @property
    def outside(self) -> str | None:
        """Nothing, as for most featurizers."""
        return None

    def num_edges(self, num_atoms: Counts) -> Counts:
        """No edges, as for most featurizers."""
        return np.zeros_like(num_atoms)

    def located(self, workspace: Workspace, training: TrainingRecords) -> Self:
        """Return the featurizer itself, since most need no files and no statistics."""
        del workspace, training
        return self


def self_contained(featurizers: Mapping[str, Featurizer]) -> Mapping[str, Featurizer]:
    """Return featurizers that somebody else chose, if they are safe to use.

    Raises:
        UserError: one names a file or a model, which is not opened, or makes of every material more
            numbers than the memory should be filled with.
    """
    for modality, featurizer in featurizers.items():
        if featurizer.outside is not None:
            raise UserError(
                f"{modality}: the featurizer {featurizer.type} reads {featurizer.outside!r}, and "
                "what somebody else names is not opened"
            )
        size = max((math.prod(one.item_shape) for one in featurizer.fields), default=0)
        if size > _MAX_ITEM_SIZE:
            raise UserError(
                f"{modality}: the featurizer {featurizer.type} makes {size} numbers of a material; "
                f"at most {_MAX_ITEM_SIZE} are made where somebody else chose it"
            )
    return featurizers


def feature_schema(featurizers: Mapping[str, Featurizer]) -> pa.Schema:
    """Return the schema of the feature table that these featurizers fill."""
    columns = [
        pa.field(ID_COLUMN, pa.string()),
        pa.field(QUARANTINE_COLUMN, pa.string()),
        pa.field(PROPERTIES_COLUMN, pa.string()),
    ]
    for modality, featurizer in featurizers.items():
        columns += [pa.field(f"{modality}.{f.name}", f.arrow_type) for f in featurizer.fields]
    return pa.schema(columns)
