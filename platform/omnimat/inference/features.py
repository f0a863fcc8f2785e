"""Materials as a packed model takes them: what its networks read, and what its notes speak of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from omnimat.materials.record import Record
from omnimat.modalities.batch import Quarantined, feature_table
from omnimat.modalities.layout import ID_COLUMN, Featurizer

ATOMIC_NUMBERS, NUM_ATOMS = "atomic_numbers", "num_atoms"
MAX_ROWS = 64
ROWS_AT_A_TIME = 16 * MAX_ROWS
"""Materials that are read and featurized before networks see them."""
MAX_ITEMS = 100_000
"""Edges of a batch, or atoms or points, whatever its materials have most of. A convolution keeps
some kilobytes for each edge."""


def featurized(
    names: Sequence[str],
    records: Sequence[Record | Quarantined],
    featurizers: Mapping[str, Featurizer],
) -> pa.Table:
    """Featurize N materials.

    Args:
        names: what each is called in answers.
        records: what was read of each, or why it could not be.
        featurizers: one a modality.

    Returns:
        Their feature table (``modalities.layout``), with their names for ids, and more columns:
        ``atomic_numbers``, each once; and ``num_atoms`` in the cell, 0 where that is not known.
    """
    table = feature_table(records, featurizers)
    atoms = [atoms_of(one) for one in records]
    numbers = pa.array([one[0] for one in atoms], pa.list_(pa.int32()))
    counts = pa.array([one[1] for one in atoms], pa.int32())
    table = table.set_column(0, ID_COLUMN, pa.array(names, pa.string()))
    return table.append_column(ATOMIC_NUMBERS, numbers).append_column(NUM_ATOMS, counts)


def atoms_of(record: Record | Quarantined) -> tuple[list[int], int]:
    """Give the elements of a material as atomic numbers, in ascending order, and its cell's atoms.

    Returns:
        The numbers of structure and formula, and how many atoms the cell has: 0 if it has none.
    """
    if isinstance(record, Quarantined):
        return [], 0
    structure, formula = record.structure, record.parts.get("composition")
    numbers = {n for one in (structure, formula) if one for n in one.atomic_numbers.tolist()}
    return sorted(numbers), 0 if structure is None else len(structure.atomic_numbers)


def batches(table: pa.Table, featurizers: Mapping[str, Featurizer]) -> Iterator[NDArray[np.int64]]:
    """Cut the rows of a feature table into batches that a network can hold, in order.

    A batch has at most ``MAX_ROWS`` rows and ``MAX_ITEMS`` items, and at least one row.
    """
    sizes = _num_items(table, featurizers)
    first = used = 0
    for row, size in enumerate(sizes.tolist()):
        if row > first and (row - first == MAX_ROWS or used + size > MAX_ITEMS):
            yield np.arange(first, row)
            first, used = row, 0
        used += size
    if len(table):
        yield np.arange(first, len(table))


def _num_items(table: pa.Table, featurizers: Mapping[str, Featurizer]) -> NDArray[np.int64]:
    """Count, for each row, the items of the longest axis that it has."""
    longest = np.zeros(len(table), np.int64)
    for modality, featurizer in featurizers.items():
        for field in featurizer.fields:
            lengths = pc.fill_null(pc.list_value_length(table[f"{modality}.{field.name}"]), 0)
            np.maximum(longest, lengths.to_numpy() // field.item_size, out=longest)
    return longest
