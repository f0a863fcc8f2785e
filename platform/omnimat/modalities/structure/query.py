"""Reads crystals that users give as CIF files."""

from __future__ import annotations

from pathlib import Path

from omnimat.materials.crystals import from_pymatgen, parse_cif
from omnimat.materials.record import Structure
from omnimat.materials.validation import validate
from omnimat.modalities.modality import Query


def read_cif(path: Path) -> Structure:
    """Read and check the only structure of a CIF file.

    Raises:
        ValueError: the file does not hold exactly one structure, or it could not be stored.
    """
    structure = from_pymatgen(parse_cif(path.read_text()))
    validate(structure)
    return structure


QUERY = Query("structure", {".cif": read_cif})
