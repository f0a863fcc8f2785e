"""How many atoms of a crystal are equivalent by symmetry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.crystals import SYMMETRY_TOLERANCE_ANGSTROM
from omnimat.materials.record import Structure
from omnimat.materials.validation import check_arrays


def site_multiplicity(structure: Structure) -> NDArray[np.float64]:
    """Return the fraction of the crystal's atoms that are equivalent to each, shape (atoms,).

    That is the number of equivalent atoms of a primitive cell by that of all its atoms. It is the
    same in every cell of the crystal: two atoms that only a rotation of the whole crystal takes to
    each other are equivalent also where the cell lacks this rotation.

    Raises:
        ValueError: the cell is of no crystal, or spglib finds no symmetry.
    """
    import spglib  # trainers look for no symmetry

    check_arrays(structure)  # spglib might not survive what is no crystal
    cell = (
        structure.lattice_angstrom.tolist(),
        structure.frac_coords.tolist(),
        structure.atomic_numbers.tolist(),
    )
    try:
        found = spglib.get_symmetry_dataset(cell, symprec=SYMMETRY_TOLERANCE_ANGSTROM)
    except spglib.SpglibError as error:
        raise ValueError(f"spglib finds no symmetry: {error}") from error
    if found is None:
        raise ValueError("spglib finds no symmetry")
    orbits = found.crystallographic_orbits
    shares: NDArray[np.float64] = np.bincount(orbits)[orbits] / len(orbits)
    return shares
