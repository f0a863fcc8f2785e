"""Converts pymatgen's structures to ours and back, and derives properties from a structure."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Structure
from omnimat.materials.validation import check_arrays, validate

if TYPE_CHECKING:
    from pymatgen.core import Structure as PymatgenStructure

# The tolerance with which the Materials Project assigns space groups.
SYMMETRY_TOLERANCE_ANGSTROM = 0.1
CRYSTAL_SYSTEMS = (  # from the least to the most symmetric
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "trigonal",
    "hexagonal",
    "cubic",
)
_LAST_SPACE_GROUPS = (2, 15, 74, 142, 167, 194, 230)  # of each crystal system


def from_pymatgen(structure: PymatgenStructure) -> Structure:
    """Convert a structure; coordinates are wrapped into the cell.

    Raises:
        ValueError: a site is partially occupied, which a record cannot express.
    """
    if not structure.is_ordered:
        site = next(site for site in structure if not site.is_ordered)
        raise ValueError(f"partial occupancy: a site holds {site.species_string}")
    return Structure(
        lattice_angstrom=np.array(structure.lattice.matrix, dtype=np.float64),
        atomic_numbers=np.array(structure.atomic_numbers, dtype=np.int32),
        frac_coords=np.mod(np.array(structure.frac_coords, dtype=np.float64).reshape(-1, 3), 1.0),
    )


def to_pymatgen(structure: Structure) -> PymatgenStructure:
    """Convert a structure; it shares no memory with ours."""
    from pymatgen.core import Lattice
    from pymatgen.core import Structure as PymatgenStructure

    return PymatgenStructure(
        Lattice(structure.lattice_angstrom.copy()),
        structure.atomic_numbers.tolist(),
        structure.frac_coords.copy(),
    )


def lattice_from_parameters(parameters: Sequence[float]) -> NDArray[np.float64]:
    """Return the lattice in pymatgen's orientation, with rows a, b and c, shape (3, 3).

    ``parameters`` are a, b, c in angstrom and alpha, beta, gamma in degrees.
    """
    from pymatgen.core import Lattice

    lattice = Lattice.from_parameters(*map(float, parameters))
    return np.array(lattice.matrix, dtype=np.float64)


def reduced_formula(
    atomic_numbers: NDArray[np.int32], amounts: NDArray[np.float64] | None = None
) -> str:
    """Return the reduced formula with the elements in pymatgen's order.

    Args:
        atomic_numbers: atomic number of each atom or, if there are amounts, of each element, shape
            (n,).
        amounts: amount of each element, shape (n,).
    """
    from pymatgen.core import Composition

    if amounts is None:
        atomic_numbers, counts = np.unique(atomic_numbers, return_counts=True)
        amounts = counts.astype(np.float64)
    composition = dict(zip(atomic_numbers.tolist(), amounts.tolist(), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some noble gases lack the electronegativity to sort by
        return str(Composition(composition).reduced_formula)


def symmetry_properties(structure: PymatgenStructure) -> dict[str, Any]:
    """Return ``space_group_number`` and ``crystal_system`` as found by spglib.

    Both are left out where spglib finds none although the crystal is sound.

    Raises:
        ValueError: the cell or the coordinates are of no crystal, which spglib might not survive,
            or atoms overlap, so that there is no symmetry to find.
    """
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

    ours = from_pymatgen(structure)
    check_arrays(ours)
    try:
        analyzer = SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_ANGSTROM)
        number = int(analyzer.get_space_group_number())
    except SymmetryUndeterminedError:
        validate(ours)
        return {}
    return {"space_group_number": number, "crystal_system": crystal_system(number)}


def crystal_system(space_group_number: int) -> str:
    """Return one of the seven crystal systems in lower case.

    Raises:
        ValueError: the number is not in 1..230.
    """
    if not 1 <= space_group_number <= _LAST_SPACE_GROUPS[-1]:
        raise ValueError(f"{space_group_number} is no space group: they are numbered 1 to 230")
    return CRYSTAL_SYSTEMS[bisect_left(_LAST_SPACE_GROUPS, space_group_number)]


def space_group_symbol(space_group_number: int) -> str:
    """Return the Hermann-Mauguin symbol of a space group, such as ``Fm-3m``."""
    from pymatgen.symmetry.groups import sg_symbol_from_int_number

    return str(sg_symbol_from_int_number(space_group_number))


def lattice_properties(niggli: Structure) -> dict[str, list[float]]:
    """Return the lattice parameters of a Niggli-reduced cell as regression targets.

    The cell is not made primitive. So its volume, and with it the lengths, depend on how many
    formula units the source put into it. ``lattice_lengths_scaled_angstrom`` removes most of this
    dependence; it is the length that CDVAE predicts and, most likely, that UniMat reports.

    Returns:
        ``lattice_lengths_angstrom`` (a <= b <= c), ``lattice_lengths_scaled_angstrom`` (the same
        divided by the cube root of the number of atoms) and ``lattice_angles_degree`` (alpha, beta,
        gamma), each a list of three numbers.
    """
    from pymatgen.core import Lattice

    lattice = Lattice(niggli.lattice_angstrom)
    lengths = np.array(lattice.abc)
    return {
        "lattice_lengths_angstrom": lengths.tolist(),
        "lattice_lengths_scaled_angstrom": (lengths / np.cbrt(len(niggli.frac_coords))).tolist(),
        "lattice_angles_degree": np.array(lattice.angles).tolist(),
    }


def niggli_reduced(structure: Structure) -> Structure:
    """Niggli-reduce the cell and turn it into pymatgen's standard orientation, as CDVAE does.

    It does what pymatgen's ``Structure.get_reduced_structure`` does, to the last digit, without
    an object for each site.
    """
    from pymatgen.core import Lattice

    given = Lattice(structure.lattice_angstrom)
    reduced, places = given.get_niggli_reduced_lattice(), structure.frac_coords
    if reduced != given:
        # Atom by atom, as pymatgen multiplies them: together, the last digits would be others.
        places = np.array(
            [reduced.get_fractional_coords(given.get_cartesian_coords(one)) for one in places]
        )
    return Structure(
        lattice_angstrom=np.array(Lattice.from_parameters(*reduced.parameters).matrix),
        atomic_numbers=structure.atomic_numbers,
        frac_coords=np.mod(np.mod(places, 1.0), 1.0),  # of -1e-17, one is 1.0
    )
