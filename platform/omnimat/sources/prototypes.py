"""The built-in data set: AFLOW crystal prototypes that ship with pymatgen, and decorations of them.

A decoration replaces elements of a prototype by neighbours in their group and scales the cell by
the atomic radii. It is hypothetical and may neither exist nor be stable.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field
from upath import UPath

from omnimat.materials.crystals import (
    from_pymatgen,
    reduced_formula,
    space_group_symbol,
    symmetry_properties,
    to_pymatgen,
)
from omnimat.materials.record import Failure, Record, Structure, safe_id
from omnimat.materials.validation import shortest_distance_angstrom, validate
from omnimat.sources.base import SourceSettings
from omnimat.sources.surrogates import charge_density, density_of_states, has_surrogates

if TYPE_CHECKING:
    from pymatgen.core import Element
    from pymatgen.core import Structure as PymatgenStructure

_LARGEST_DECORATION_ELEMENT = 83  # bismuth; heavier elements are radioactive
_MIN_VOLUME_ANGSTROM3_PER_ATOM = 5.0  # diamond, with the highest density of atoms, has 5.7
_PROPERTIES = frozenset(
    {
        "num_atoms",
        "density_g_per_cm3",
        "volume_angstrom3_per_atom",
        "mean_electronegativity",
        "space_group_number",
        "crystal_system",
    }
)
_PROVENANCE = {
    "source": "AFLOW prototypes of pymatgen",
    "database_version": "pymatgen aflow_prototypes.json.gz, 288 entries",
    "licence": "MIT (pymatgen)",
    "charge_density": "surrogate: superposition of independent atoms",
    "dos": "surrogate: broadened free-atom levels",
    "text": "template",
}


class Prototypes(SourceSettings):
    """Crystal prototypes, followed by isovalent decorations of them, one of each in turn.

    Attributes:
        num_materials: number of materials; there are fewer if the decorations run out.
        max_atoms: largest number of atoms in a cell; larger cells are left out.
    """

    type: Literal["prototypes"] = "prototypes"
    num_materials: int = Field(400, ge=1)
    max_atoms: int = Field(20, ge=1)

    def located(self) -> Self:
        """Return the source itself, because its data is part of pymatgen."""
        return self

    def inputs(self) -> dict[str, UPath]:
        """None: the data is inside pymatgen."""
        return {}

    def property_names(self) -> frozenset[str]:
        """Return the names of the properties that every record has."""
        return _PROPERTIES

    def num_items(self) -> int:
        """Return the number of materials, which is at most ``num_materials``."""
        return min(self.num_materials, len(_decorations(self.max_atoms)))

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Build the materials of a slice."""
        for decoration in _decorations(self.max_atoms)[start : min(stop, self.num_materials)]:
            yield _record(decoration)


@dataclass(frozen=True, slots=True)
class _Prototype:
    label: str
    name: str
    structure: Structure


@dataclass(frozen=True, slots=True)
class _Decoration:
    material_id: str
    prototype: _Prototype
    replacements: dict[int, int]


@functools.cache
def _prototypes(max_atoms: int) -> tuple[_Prototype, ...]:
    """Read the prototypes whose elements are tabulated, in the order of the file."""
    from pymatgen.core import Structure as PymatgenStructure

    # Importing the package ``prototypes`` would build its matcher, which takes seconds.
    file = resources.files("pymatgen.analysis") / "prototypes" / "aflow_prototypes.json.gz"
    found = []
    for entry in json.loads(gzip.decompress(file.read_bytes())):
        tags = entry["tags"]
        structure = from_pymatgen(PymatgenStructure.from_dict(entry["snl"]))
        if structure.atomic_numbers.size > max_atoms or not has_surrogates(
            structure.atomic_numbers
        ):
            continue
        validate(structure)
        found.append(_Prototype(tags["aflow"], tags["mineral"] or tags["aflow"], structure))
    return tuple(found)


@functools.cache
def _decorations(max_atoms: int) -> tuple[_Decoration, ...]:
    """List the prototypes as they are, then the first decoration of each, then the second, ..."""
    columns = [
        [(prototype, replacements) for replacements in _replacements(prototype)]
        for prototype in _prototypes(max_atoms)
    ]
    found: dict[str, _Decoration] = {}
    for candidate in itertools.chain.from_iterable(itertools.zip_longest(*columns)):
        if candidate is None:
            continue
        prototype, replacements = candidate
        structure = _replaced(prototype.structure, replacements)
        stem = f"{prototype.label}-{reduced_formula(structure.atomic_numbers)}"
        material_id = safe_id(stem)
        # The same substance on the same prototype is listed only once.
        if replacements and (material_id in found or _is_too_dense(structure)):
            continue
        while material_id in found:
            material_id += "_b"  # AFLOW lists some prototypes twice, with different parameters
        found[material_id] = _Decoration(material_id, prototype, replacements)
    return tuple(found.values())


def _replacements(prototype: _Prototype) -> list[dict[int, int]]:
    """List the possible replacements of elements: first none, then few of them, then more.

    A compound of hydrogen stays as it is, because its other atoms alone do not determine the size
    of the cell.
    """
    numbers = np.unique(prototype.structure.atomic_numbers).tolist()
    if 1 in numbers:
        return [{}]
    choices = itertools.product(*[(number, *_relatives(number)) for number in numbers])
    distinct = [
        {old: new for old, new in zip(numbers, choice, strict=True) if old != new}
        for choice in choices
        if len(set(choice)) == len(numbers)
    ]
    return sorted(distinct, key=lambda replacements: (len(replacements), str(replacements)))


def _is_too_dense(structure: Structure) -> bool:
    volume = np.linalg.det(structure.lattice_angstrom) / structure.atomic_numbers.size
    return bool(volume < _MIN_VOLUME_ANGSTROM3_PER_ATOM)


@functools.cache
def _relatives(number: int) -> tuple[int, ...]:
    """Return the elements that may replace this one: those of the same group, one period away.

    A lanthanoid may be replaced by another that is at most two places away.
    """
    from pymatgen.core import Element

    element = Element.from_Z(number)
    candidates = [Element.from_Z(z) for z in range(2, _LARGEST_DECORATION_ELEMENT + 1)]
    return tuple(
        other.Z
        for other in candidates
        if other.group == element.group < 18 and _are_neighbours(element, other)
    )


def _are_neighbours(element: Element, other: Element) -> bool:
    if element.is_lanthanoid or other.is_lanthanoid:
        both = element.is_lanthanoid and other.is_lanthanoid
        return bool(both and 0 < abs(element.Z - other.Z) <= 2)
    return bool(abs(element.row - other.row) == 1)


def _replaced(structure: Structure, replacements: dict[int, int]) -> Structure:
    """Replace elements and scale the cell by the ratio of the summed atomic radii."""
    old = structure.atomic_numbers
    if not replacements:
        return structure
    new = np.array([replacements.get(number, number) for number in old.tolist()], dtype=np.int32)
    scale = _sum_of_radii(new) / _sum_of_radii(old)
    return Structure(structure.lattice_angstrom * scale, new, structure.frac_coords)


def _sum_of_radii(numbers: np.ndarray[tuple[int], np.dtype[np.int32]]) -> float:
    from pymatgen.core import Element

    elements = [Element.from_Z(number) for number in numbers.tolist()]
    return sum(float(e.atomic_radius or e.atomic_radius_calculated) for e in elements)


def _record(decoration: _Decoration) -> Record:
    structure = _replaced(decoration.prototype.structure, decoration.replacements)
    crystal = to_pymatgen(structure)
    properties = {
        "num_atoms": len(crystal),
        "density_g_per_cm3": round(float(crystal.density), 6),
        "volume_angstrom3_per_atom": round(float(crystal.volume / len(crystal)), 6),
        "mean_electronegativity": round(float(crystal.composition.average_electroneg), 6),
        **symmetry_properties(crystal),
    }
    return Record(
        material_id=decoration.material_id,
        parts={
            "structure": structure,
            "dos": density_of_states(structure),
            "charge_density": charge_density(structure),
            "text": _text(decoration, crystal, structure, properties),
        },
        properties=properties,
        provenance={**_PROVENANCE, "prototype": decoration.prototype.label},
    )


def _text(
    decoration: _Decoration,
    crystal: PymatgenStructure,
    structure: Structure,
    properties: dict[str, int | float | str],
) -> str:
    kind = "is a hypothetical decoration of" if decoration.replacements else "is"
    names = [f"{e.long_name.lower()} ({e.symbol})" for e in sorted(crystal.composition.elements)]
    elements = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    nearest = shortest_distance_angstrom(structure)
    symbol = space_group_symbol(int(properties["space_group_number"]))
    return (
        f"{crystal.composition.reduced_formula} {kind} the {decoration.prototype.name} prototype "
        f"and crystallizes in the {properties['crystal_system']} {symbol} space group. "
        f"It is made of {elements}. "
        f"The cell holds {len(crystal)} atoms in {crystal.volume:.1f} cubic angstrom, "
        f"with a density of {properties['density_g_per_cm3']:.2f} g/cm3. "
        f"The shortest distance between atoms is {nearest:.2f} angstrom."
    )
