"""Crystals read from the shards of a data set, and whether two of them are the same.

Two crystals are the same where pymatgen's ``StructureMatcher`` (Ong et al., Comput. Mater. Sci. 68,
314, 2013) maps one onto the other with its default tolerances: 0.2 in lengths, 0.3 of the free
length per atom in sites, 5 degrees. Both are reduced to primitive Niggli cells before, and scaled
to one volume. So neither the choice of the cell nor rotation, origin or small noise counts. A
supercell whose atoms are displaced by more than about 0.05 angstrom has no smaller cell, and so is
another crystal.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd
from upath import UPath

from omnimat.shards.codec import decode
from omnimat.shards.reader import RawRecord, read_records

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

_RECORDS_AT_A_TIME = 64  # a record may hold megabytes


def reduced_structures(dataset: UPath, records: pd.DataFrame) -> Iterator[Structure | None]:
    """Read crystals in primitive Niggli cells.

    Args:
        dataset: the folder of the data set.
        records: rows of its record index.

    Yields:
        A crystal for each row, in their order; None for a record that cannot be read or has no
        structure.

    Raises:
        RunError: the storage does not answer.
    """
    for start in range(0, len(records), _RECORDS_AT_A_TIME):
        yield from map(_reduced, read_records(dataset, records[start : start + _RECORDS_AT_A_TIME]))


def are_same(one: Structure, other: Structure) -> bool:
    """Tell whether two crystals that ``reduced_structures`` gave are the same."""
    return bool(_matcher().fit(one, other, skip_structure_reduction=True))


def _reduced(raw: RawRecord) -> Structure | None:
    from omnimat.materials.crystals import to_pymatgen

    try:
        ours = decode(raw.material_id, raw.members).structure if raw.members else None
    except ValueError:
        return None
    if ours is None:
        return None
    try:
        return to_pymatgen(ours).get_primitive_structure().get_reduced_structure()
    except Exception:  # noqa: BLE001 - of odd cells and sites pymatgen raises nearly anything
        return None


@functools.cache
def _matcher() -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher()
