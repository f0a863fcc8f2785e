"""Turns crystals of other libraries into ours, and says what had to be changed on the way.

Each reason begins with a kind that is the same for all crystals that are refused for it, and goes
on after a colon.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from omnimat.formats.format import Reading
from omnimat.formats.sites import check_atoms, check_cell, check_periodic
from omnimat.materials.record import Structure

if TYPE_CHECKING:
    from pymatgen.core import Structure as PymatgenStructure

# An occupancy this near to 1 is 1 that was rounded (0.333 three times is 0.999).
OCCUPANCY_TOLERANCE = 1e-3 + 1e-9
MAX_SITES_TO_ORDER = 120
# How far the atoms of equal sites may be from a whole number: 0.17 six times is 1.02.
_WHOLE_ATOMS_TOLERANCE = 0.021
_NUM_ELEMENTS = 118
ISOTOPES = frozenset({"D", "T"})
ATOMIC_NUMBERS: dict[str, int] = {
    gemmi.Element(number).name: number for number in range(1, _NUM_ELEMENTS + 1)
}

REFUSING = Reading()
"""Refuses what may be refused, as readers do by default."""

Amounts = Mapping[str, float]
"""The occupancy of each element on a site, by its symbol."""


def to_structure(
    crystal: PymatgenStructure, reading: Reading = REFUSING
) -> tuple[Structure, dict[str, str]]:
    """Convert a crystal; coordinates are wrapped into the cell and oxidation states are dropped.

    A site holds one atom if the occupancies of one element there add up to 1 within 0.001.

    Returns:
        The structure, and a note for the provenance under ``structure`` if something was changed.

    Raises:
        ValueError: a site holds what is no element or, unless it may be ordered, several elements
            or less than an atom; or the crystal cannot be ordered.
    """
    amounts = [_amounts(site) for site in crystal]
    notes = isotope_notes(any(_has_isotope(site) for site in crystal))
    lattice = np.array(crystal.lattice.matrix, dtype=np.float64)
    coords = np.array(crystal.frac_coords, dtype=np.float64).reshape(-1, 3)
    structure, more = ordered_structure(lattice, amounts, coords, reading)
    return structure, as_provenance([*notes, *more])


def structure_of(crystal: Any) -> Structure:
    """Convert a crystal of another library: pymatgen's or ASE's.

    Raises:
        ValueError: see ``to_structure`` and ``from_positions``.
    """
    from ase import Atoms

    return from_ase(crystal) if isinstance(crystal, Atoms) else to_structure(crystal)[0]


def from_ase(atoms: Any) -> Structure:
    """Convert ASE's ``Atoms``; see ``from_positions``."""
    lattice, positions = np.array(atoms.cell, np.float64), np.array(atoms.positions, np.float64)
    return from_positions(lattice, np.array(atoms.numbers), positions, atoms.pbc)


def from_positions(
    lattice_angstrom: NDArray[np.float64],
    atomic_numbers: NDArray[Any],
    positions_angstrom: NDArray[np.float64],
    pbc: Iterable[Any],
) -> Structure:
    """Make a structure of what a file holds; coordinates are wrapped into the cell.

    Args:
        lattice_angstrom: cell with rows a, b and c, shape (3, 3).
        atomic_numbers: atomic number of each atom, shape (n,).
        positions_angstrom: Cartesian coordinates, shape (n, 3).
        pbc: whether the cell is repeated along each of its axes.

    Raises:
        ValueError: the cell is none of a crystal, or an atom is no element.
    """
    check_periodic(pbc)
    check_cell(lattice_angstrom)
    check_atoms(atomic_numbers, positions_angstrom)
    coords = np.asarray(np.linalg.solve(lattice_angstrom.T, positions_angstrom.T).T, np.float64)
    return _structure(lattice_angstrom, atomic_numbers.astype(np.int32), coords)


def ordered_structure(
    lattice_angstrom: NDArray[np.float64],
    amounts: Sequence[Amounts],
    frac_coords: NDArray[np.float64],
    reading: Reading,
) -> tuple[Structure, list[str]]:
    """Return the structure of some sites, and notes on it; see ``to_structure``.

    Args:
        lattice_angstrom: cell with rows a, b and c, shape (3, 3).
        amounts: what is on each site.
        frac_coords: fractional coordinates, shape (n, 3).
        reading: whether partial occupancy is refused.
    """
    if not (np.isfinite(lattice_angstrom).all() and np.isfinite(frac_coords).all()):
        raise ValueError("not finite: a cell vector or a coordinate is NaN or infinite")
    notes = []
    if disordered := [one for one in amounts if not is_full(one)]:
        for one in disordered:
            _refuse_overfull(one)
        text = described(disordered[0])
        if reading.disorder == "refuse":
            raise ValueError(f"partial occupancy: a site holds {text}")
        amounts, frac_coords = _nearest_ordered(lattice_angstrom, amounts, frac_coords)
        notes.append(
            f"ordered from {len(disordered)} partially occupied sites (the first held {text})"
        )
    numbers = np.array([_atomic_number(one) for one in amounts], dtype=np.int32)
    return _structure(lattice_angstrom, numbers, frac_coords), notes


def is_full(amounts: Amounts) -> bool:
    """Say whether a site holds one atom of one element."""
    return len(amounts) == 1 and abs(next(iter(amounts.values())) - 1) <= OCCUPANCY_TOLERANCE


def described(amounts: Amounts) -> str:
    """Write what a site holds, such as ``Fe0.5 Ni0.5``."""
    return " ".join(f"{symbol}{amount:.4g}" for symbol, amount in amounts.items())


def isotope_notes(has_isotopes: bool) -> list[str]:
    """Return the note on deuterium and tritium."""
    return ["deuterium or tritium is read as hydrogen"] if has_isotopes else []


def as_provenance(notes: Iterable[str]) -> dict[str, str]:
    """Return notes as an entry of a record's provenance; none if there are none."""
    text = "; ".join(notes)
    return {"structure": text} if text else {}


def _structure(
    lattice: NDArray[np.float64], numbers: NDArray[np.int32], coords: NDArray[np.float64]
) -> Structure:
    """Wrap the coordinates.

    A left-handed cell stays as it is: the axes of a charge density beside it are those of the file.
    """
    # Twice, since a tiny negative number is wrapped to 1.
    return Structure(lattice, numbers, np.mod(np.mod(coords.reshape(-1, 3), 1.0), 1.0))


def _amounts(site: Any) -> dict[str, float]:
    from pymatgen.core import DummySpecies

    amounts: dict[str, float] = {}
    for species, amount in site.species.items():
        if isinstance(species, DummySpecies):
            raise ValueError(f"unknown species: {species.symbol!r} is no element")
        amounts[species.symbol] = amounts.get(species.symbol, 0.0) + float(amount)
    return amounts


def _has_isotope(site: Any) -> bool:
    # pymatgen calls the symbol of deuterium H; only the name of its element tells it apart.
    return any(getattr(one, "element", one).name in ISOTOPES for one in site.species)


def _refuse_overfull(amounts: Amounts) -> None:
    if (total := sum(amounts.values())) > 1 + OCCUPANCY_TOLERANCE:
        raise ValueError(f"occupancy above 1: a site holds {described(amounts)}, in all {total:g}")


def _atomic_number(amounts: Amounts) -> int:
    (symbol,) = amounts
    return ATOMIC_NUMBERS[symbol]


def _nearest_ordered(
    lattice: NDArray[np.float64], amounts: Sequence[Amounts], coords: NDArray[np.float64]
) -> tuple[list[Amounts], NDArray[np.float64]]:
    """Distribute whole atoms over partially occupied sites, by pymatgen.

    The Ewald energy of guessed charges decides where each goes; without a guess, the order of the
    sites. The result is deterministic.

    Raises:
        ValueError: the cell is too large, or its atoms would not be whole numbers.
    """
    from pymatgen.core import Lattice
    from pymatgen.core import Structure as PymatgenStructure

    # Not at the top: its import takes over a second, and few crystals need it.
    from pymatgen.transformations.standard_transformations import (
        OrderDisorderedStructureTransformation,
    )

    if len(amounts) > MAX_SITES_TO_ORDER:
        raise ValueError(
            f"partial occupancy: a cell of {len(amounts)} sites is too large to be ordered "
            f"(at most {MAX_SITES_TO_ORDER})"
        )
    rounded = [_rounded(one) for one in amounts]
    _refuse_fractions_of_atoms(rounded)
    crystal = PymatgenStructure(Lattice(lattice), rounded, coords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on elements without known charges
        has_charges = _guess_charges(crystal)
        try:
            ordered = OrderDisorderedStructureTransformation(
                no_oxi_states=not has_charges
            ).apply_transformation(crystal)
        except (ValueError, IndexError) as error:  # an IndexError where there is no choice
            text = described(next(one for one in amounts if not is_full(one)))
            raise ValueError(
                f"partial occupancy: {text} cannot be ordered within one cell ({error})"
            ) from error
    return [_amounts(site) for site in ordered], np.array(ordered.frac_coords, dtype=np.float64)


def _refuse_fractions_of_atoms(amounts: Sequence[Amounts]) -> None:
    """Refuse sites that hold no whole number of atoms; pymatgen would round a quarter away."""
    sites = Counter(tuple(sorted(one.items())) for one in amounts if not is_full(one))
    for site, count in sites.items():
        for symbol, occupancy in site:
            total = occupancy * count
            if abs(total - round(total)) > _WHOLE_ATOMS_TOLERANCE:
                raise ValueError(
                    f"partial occupancy: {described(dict(site))} cannot be ordered within one "
                    f"cell, whose sites of this kind hold {total:.4g} {symbol}"
                )


def _rounded(amounts: Amounts) -> dict[str, float]:
    """Take an occupancy as 1 where it is 1 within rounding."""
    total = sum(amounts.values())
    if abs(total - 1) <= OCCUPANCY_TOLERANCE:
        return {symbol: amount / total for symbol, amount in amounts.items()}
    return dict(amounts)


def _guess_charges(crystal: PymatgenStructure) -> bool:
    """Decorate a crystal with the most likely charges, if its composition tells them."""
    try:
        crystal.add_oxidation_state_by_guess(max_sites=-1)
    except ValueError:
        return False
    return any(species.oxi_state for species in crystal.composition)
