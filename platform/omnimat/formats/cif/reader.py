"""Reads crystals from CIF files and texts, and refuses those that do not say clearly what they are.

Each reason begins with a kind that is the same for all such files, and goes on after a colon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np
from upath import UPath

from omnimat.formats.cif.cell import cell_parameters, metric
from omnimat.formats.cif.checks import (
    check_composition,
    check_density,
    check_volume,
    formula_of,
    missing_hydrogens,
)
from omnimat.formats.cif.document import MAX_BYTES, Block, blocks_of
from omnimat.formats.cif.expansion import Place, expanded
from omnimat.formats.cif.site_checks import check_sites
from omnimat.formats.cif.sites import has_sites, read_sites
from omnimat.formats.cif.symmetry import operations_of
from omnimat.formats.crystals import REFUSING, as_provenance, isotope_notes, ordered_structure
from omnimat.formats.format import Reading
from omnimat.formats.unpacked import whole
from omnimat.materials.crystals import lattice_from_parameters
from omnimat.materials.record import Failure, Record, Structure


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read some crystals of a CIF file; see ``omnimat.formats.format.Read``.

    Each data block with atoms is an entry, named after the block; an only one has no name.
    """
    blocks = _crystals(whole(path, MAX_BYTES))
    names = _names(blocks)
    for block, name in islice(zip(blocks, names, strict=True), start, stop):
        try:
            structure, notes = _crystal(block, reading)
        except ValueError as error:
            yield Failure(name, str(error))
        else:
            yield Record(name, parts={"structure": structure}, provenance=notes)


def crystal_of(text: str | bytes, reading: Reading = REFUSING) -> tuple[Structure, dict[str, str]]:
    """Read the only crystal of a CIF.

    The lattice has pymatgen's orientation. Atoms are ordered by electronegativity, as pymatgen
    orders them, those of one element as in the file, and the images of each as the operations.

    Args:
        text: the CIF.
        reading: whether disorder and missing hydrogens are refused.

    Returns:
        The structure, and a note for its provenance, under ``structure``, if it is not exactly what
        the file says.

    Raises:
        ValueError: the text does not hold exactly one crystal, or it cannot be read for certain.
    """
    blocks = _crystals(text)
    if len(blocks) != 1:
        raise ValueError(f"several crystals: the CIF holds {len(blocks)} instead of one")
    return _crystal(blocks[0], reading)


def _crystals(text: str | bytes) -> list[Block]:
    """Return the blocks with atoms; a formula that stands elsewhere belongs to an only one."""
    blocks = blocks_of(text)
    crystals = [block for block in blocks if has_sites(block)]
    if not crystals:
        raise ValueError("no crystal: no data block lists atoms")
    if len(crystals) == 1:
        for block in blocks:
            formula = block.items.get("_chemical_formula_sum")
            if formula and crystals[0].value("_chemical_formula_sum") is None:
                crystals[0].items["_chemical_formula_sum"] = formula
    return crystals


def _names(blocks: list[Block]) -> list[str]:
    """Name each block, by a number too where its name is empty or taken."""
    if len(blocks) == 1:
        return [""]
    counts = Counter(block.name for block in blocks)
    return [
        block.name if block.name and counts[block.name] == 1 else f"{block.name}_{number}"
        for number, block in enumerate(blocks, start=1)
    ]


def _crystal(block: Block, reading: Reading) -> tuple[Structure, dict[str, str]]:
    parameters = cell_parameters(block)
    lattice = lattice_from_parameters(parameters)
    volume = abs(float(np.linalg.det(lattice)))
    check_volume(block, volume)
    operations = operations_of(block, metric(parameters))
    formula = formula_of(block.value("_chemical_formula_sum"))
    sites = read_sites(block, frozenset(formula), lattice)
    check_sites(sites.listed)
    places = expanded(sites.listed, operations)
    cell = _content(places)
    missing = list(sites.missing_hydrogens)
    if more := missing_hydrogens(formula, cell):
        missing.append(more)
    if missing and reading.missing_hydrogens == "refuse":
        raise ValueError(f"missing hydrogens: {missing[0]}")
    notes = [*isotope_notes(sites.has_isotopes), *sites.notes]
    notes += [f"hydrogens are missing ({missing[0]})"] if missing else []
    notes += check_composition(block, formula, cell)
    if not missing:
        check_density(block, cell, volume)
    amounts = [place.amounts for place in places for _ in place.images]
    coords = np.concatenate([place.images for place in places])
    structure, more_notes = ordered_structure(lattice, amounts, coords, reading)
    return structure, as_provenance([*notes, *more_notes])


def _content(places: list[Place]) -> dict[str, float]:
    """Return the amounts of the elements in a cell."""
    cell: dict[str, float] = {}
    for place in places:
        for symbol, amount in place.amounts.items():
            cell[symbol] = cell.get(symbol, 0.0) + amount * len(place.images)
    return cell
