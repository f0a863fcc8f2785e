"""Reads the sites that a CIF lists: what stands there, how much of it, and where."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from gemmi import cif
from numpy.typing import NDArray

from omnimat.formats.cif.document import Block, is_known
from omnimat.formats.cif.species import Species, species_of, species_of_label
from omnimat.formats.crystals import OCCUPANCY_TOLERANCE

_FRACTIONAL = tuple(f"_atom_site_fract_{axis}" for axis in "xyz")
_CARTESIAN = tuple(f"_atom_site_cartn_{axis}" for axis in "xyz")
_MULTIPLICITY = ("_atom_site_symmetry_multiplicity", "_atom_site_site_symmetry_multiplicity")
MAX_ATOMS = 20_000
# A coordinate whose ratio to 1/3 or 2/3 is this near to 1 is taken as that third. This is what
# pymatgen does, and published figures stand on structures read by it.
_THIRD_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Site:
    """A site of the asymmetric unit.

    Attributes:
        label: its name in the file.
        symbol: symbol of its element.
        occupancy: above 0; at most 1 within rounding.
        position: fractional coordinates, shape (3,).
        texts: the coordinates as they are written.
        multiplicity: how many such sites a cell has, if the file says so.
        disorder: its assembly and its group of those that are occupied at the same time, if any.
    """

    label: str
    symbol: str
    occupancy: float
    position: NDArray[np.float64]
    texts: tuple[str, ...]
    multiplicity: int | None
    disorder: tuple[str, str] | None

    @property
    def rounding(self) -> float:
        """Half a unit of the last digit of the coordinate that is written with most digits."""
        digits = max(len(text.partition("(")[0].partition(".")[2]) for text in self.texts)
        return float(0.5 * 10.0**-digits)


@dataclass(slots=True)
class Sites:
    """All sites of the asymmetric unit, and what was found beside them.

    Attributes:
        listed: the sites that hold atoms.
        has_isotopes: whether hydrogens are written as deuterium or tritium.
        missing_hydrogens: what says that there are hydrogens without coordinates.
        notes: what was passed over or assumed.
    """

    listed: list[Site] = field(default_factory=list)
    has_isotopes: bool = False
    missing_hydrogens: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def has_sites(block: Block) -> bool:
    """Say whether a block lists atoms."""
    return bool(block.column("_atom_site_label", "_atom_site_type_symbol", *_FRACTIONAL))


def read_sites(
    block: Block, formula_elements: frozenset[str], lattice_angstrom: NDArray[np.float64]
) -> Sites:
    """Read the sites of a block.

    Args:
        block: a data block.
        formula_elements: the elements of the file's formula, empty where it is not known.
        lattice_angstrom: cell with rows a, b and c, for coordinates in angstrom; shape (3, 3).

    Raises:
        ValueError: a site has no coordinates, an impossible occupancy, or no element.
    """
    positions, texts = _positions(block, lattice_angstrom)
    count = len(positions)
    if count > MAX_ATOMS:
        raise ValueError(f"too many atoms: {count} sites, and at most {MAX_ATOMS} atoms are read")
    table = _Table(block, count)
    found = Sites()
    known = np.asarray(np.isfinite(positions).all(axis=1)).tolist()
    for row in range(count):
        position = positions[row] if known[row] else None
        _read_site(table, row, position, texts[row], formula_elements, found)
    if not found.listed:
        raise ValueError("no atoms: no site of the crystal holds any")
    return found


class _Table:
    """The columns of the loop of sites."""

    def __init__(self, block: Block, count: int) -> None:
        self._count = count
        self.labels = self._column(block, "_atom_site_label")
        self.types = self._column(block, "_atom_site_type_symbol")
        self.occupancies = self._column(block, "_atom_site_occupancy")
        self.flags = self._column(block, "_atom_site_calc_flag")
        self.hydrogens = self._column(block, "_atom_site_attached_hydrogens")
        self.groups = self._column(block, "_atom_site_disorder_group")
        self.assemblies = self._column(block, "_atom_site_disorder_assembly")
        self.multiplicities = self._column(block, *_MULTIPLICITY)

    def _column(self, block: Block, *names: str) -> list[str] | None:
        column = block.column(*names)
        if column is not None and len(column) != self._count:
            raise ValueError(
                f"broken CIF: {names[0]} has {len(column)} values for {self._count} sites"
            )
        return column

    def name(self, row: int) -> str:
        """Return what to call a site."""
        return (self.labels or self.types or [""] * self._count)[row][:40] or f"number {row + 1}"

    def disorder(self, row: int) -> tuple[str, str] | None:
        """Return the assembly and the group of a site; None if it belongs to no group."""
        group = "." if self.groups is None else self.groups[row]
        if not is_known(group) or group == "0":
            return None
        return "." if self.assemblies is None else self.assemblies[row], group

    def species(self, row: int, formula_elements: frozenset[str]) -> Species:
        """Return what stands on a site."""
        if self.types is not None and is_known(self.types[row]):
            return species_of(self.types[row], formula_elements)
        if self.labels is not None and is_known(self.labels[row]):
            return species_of_label(self.labels[row], formula_elements)
        raise ValueError(f"unknown species: site {row + 1} has neither a type symbol nor a label")


def _read_site(
    table: _Table,
    row: int,
    position: NDArray[np.float64] | None,
    texts: tuple[str, ...],
    formula_elements: frozenset[str],
    found: Sites,
) -> None:
    name = table.name(row)
    if table.flags is not None and table.flags[row] == "dum":
        found.notes.append(f"the dummy site {name} is left out")
        return
    species = table.species(row, formula_elements)
    occupancy = _occupancy(table, row, name, found)
    if occupancy == 0:
        found.notes.append(f"the site {name} is empty and left out")
        return
    found.has_isotopes |= species.is_isotope
    if position is None:
        if species.symbol != "H":
            raise ValueError(f"unknown coordinates: those of {name} are {' '.join(texts)[:60]!r}")
        found.missing_hydrogens.append(f"{name} has no coordinates")
        return
    if species.num_hydrogens:
        found.missing_hydrogens.append(f"{name} stands for oxygen with hydrogens")
    if table.hydrogens is not None and table.hydrogens[row] not in {"0", ".", "?"}:
        found.missing_hydrogens.append(f"{table.hydrogens[row][:8]} are attached to {name}")
    multiplicity = None
    if table.multiplicities is not None and table.multiplicities[row].isdecimal():
        multiplicity = int(table.multiplicities[row])
    found.listed.append(
        Site(name, species.symbol, occupancy, position, texts, multiplicity, table.disorder(row))
    )


def _occupancy(table: _Table, row: int, name: str, found: Sites) -> float:
    """Return an occupancy, which is 1 unless the file says otherwise, as the dictionary has it."""
    text = "." if table.occupancies is None else table.occupancies[row]
    if not is_known(text):
        if table.disorder(row) is not None:
            raise ValueError(f"partial occupancy: {name} is disordered, by how much is not said")
        if text == "?":
            found.notes.append(f"the unknown occupancy of {name} is taken as 1")
        return 1.0
    value = cif.as_number(text)
    if not 0 <= value < np.inf:
        raise ValueError(f"impossible occupancy: that of {name} is {text[:40]!r}")
    if value > 1 + OCCUPANCY_TOLERANCE:
        raise ValueError(f"occupancy above 1: that of {name} is {text[:40]}")
    return 1.0 if abs(value - 1) <= OCCUPANCY_TOLERANCE else value


def _positions(
    block: Block, lattice_angstrom: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[tuple[str, ...]]]:
    """Return fractional coordinates, NaN where unknown, shape (n, 3), and how they are written."""
    names = _FRACTIONAL if block.column(_FRACTIONAL[0]) else _CARTESIAN
    columns = [block.column(name) for name in names]
    if any(column is None for column in columns):
        raise ValueError("no coordinates: the sites have none, neither fractional nor Cartesian")
    texts = list(zip(*(column or () for column in columns), strict=False))
    numbers = [[cif.as_number(text) for text in row] for row in texts]
    values = np.array(numbers, dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    if names is _CARTESIAN:
        values = _fractional(block, values, lattice_angstrom)
    for third in (1 / 3, 2 / 3):
        values[np.abs(values / third - 1) <= _THIRD_TOLERANCE] = third
    return values, texts


def _fractional(
    block: Block, cartesian: NDArray[np.float64], lattice_angstrom: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Convert coordinates in angstrom by the transformation that the file gives.

    Raises:
        ValueError: it gives none, or one that does not belong to the cell.
    """
    matrix, shift = _transformation(block, "_atom_sites_fract_tran")
    if matrix is None:
        to_cartesian, shift = _transformation(block, "_atom_sites_cartn_tran")
        if to_cartesian is None or abs(np.linalg.det(to_cartesian)) < 1e-9:
            raise ValueError(
                "Cartesian coordinates: the file does not say how its axes lie in the cell "
                "(_atom_sites_Cartn_tran_matrix_11 and so on)"
            )
        matrix = np.asarray(np.linalg.inv(to_cartesian), dtype=np.float64)
        shift = np.asarray(-matrix @ shift, dtype=np.float64)
    # The metric of the axes that the file means has to be the cell's.
    axes = np.linalg.inv(matrix).T
    if not np.allclose(axes @ axes.T, lattice_angstrom @ lattice_angstrom.T, rtol=0.01, atol=0.1):
        raise ValueError("Cartesian coordinates: their transformation does not belong to the cell")
    return np.asarray(cartesian @ matrix.T + shift, dtype=np.float64)


def _transformation(
    block: Block, prefix: str
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    matrix = [[block.number(f"{prefix}_matrix_{i}{j}") for j in (1, 2, 3)] for i in (1, 2, 3)]
    shift = np.array([block.number(f"{prefix}_vector_{i}") or 0.0 for i in (1, 2, 3)])
    if any(value is None for row in matrix for value in row):
        return None, shift
    return np.array(matrix, dtype=np.float64), shift
