"""Crystals that people give: files in the CIF format."""

from __future__ import annotations

from pathlib import Path

from omnimat.materials.crystals import from_pymatgen, parse_cif
from omnimat.materials.record import Structure
from omnimat.materials.validation import validate
from omnimat.modalities.modality import Query


def read_cif(path: Path) -> Structure:
    """Read and check the one structure of a CIF.

    Raises:
        ValueError: the file holds no structure that could be stored.
    """
    structure = from_pymatgen(parse_cif(path.read_text()))
    validate(structure)
    return structure


QUERY = Query("structure", {".cif": read_cif})
