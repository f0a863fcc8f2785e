"""Crystals that do not exist, drawn at random from every space group.

A network that has only seen the crystals of a database takes the symmetry of another one from
what it is like, not from where its lines lie. Schopmans et al. (Digital Discovery 2, 1414, 2023)
trained on drawn crystals for that reason. Here atoms keep their distance and volumes are those of
real crystals, but neither bonds nor charges are thought of.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import MappingProxyType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from upath import UPath

from omnimat.materials.crystals import symmetry_properties, to_pymatgen
from omnimat.materials.record import Failure, Record, Structure
from omnimat.sources.base import SourceSettings
from omnimat.sources.space_groups import SpaceGroup, families, space_group

Float = NDArray[np.float64]

_PROPERTIES = frozenset({"num_atoms", "space_group_number", "crystal_system"})
# In how many of a thousand mineral species the commonest elements are, roughly; others less.
_FREQUENCIES = MappingProxyType(
    {8: 800, 14: 280, 20: 220, 16: 200, 13: 190, 11: 180, 26: 180, 29: 130, 12: 130, 25: 110}
    | {15: 110, 33: 110, 82: 100, 19: 90, 9: 75, 17: 75, 22: 65, 56: 45, 30: 50, 23: 45, 92: 50}
)
_OTHER_FREQUENCY = 12
_HEAVIEST = 83  # bismuth; of what is heavier, minerals hold thorium and uranium
_RADIOACTIVE = frozenset({43, 61})
_NOBLE = frozenset({10, 18, 36, 54})
_MOST_ELEMENTS = 6
_FEWEST_ATOMS = 4  # databases have all that is simpler
_NUM_TRIES = 200  # each takes about a millisecond
_TRIES_PER_SITE = 30
_LEAST_FILLED = 0.8  # of the number of atoms that was drawn
# Shifts to the cells around one, shape (27, 3).
_CELLS_AROUND = np.indices((3, 3, 3)).reshape(3, -1).T - 1.0


class Drawn(SourceSettings):
    """Random crystals: first the family is drawn, then one of its space groups, then the atoms.

    A crystal whose symmetry came out other than drawn, with the tolerance of all records, is drawn
    again. Properties are ``space_group_number``, ``crystal_system`` and ``num_atoms``.

    Attributes:
        num_materials: how many crystals there are.
        seed: another seed gives other crystals; item i is the same for any ``num_materials``.
        max_atoms: largest number of atoms of a primitive cell. Numbers are drawn so that each
            doubling is equally likely.
        volume_angstrom3_per_atom: smallest and largest volume of an atom.
        min_distance_angstrom: how far apart atoms are at least.
    """

    type: Literal["drawn"] = "drawn"
    num_materials: int = Field(10_000, ge=1)
    seed: int = Field(0, ge=0)
    max_atoms: int = Field(100, ge=16, le=400)
    volume_angstrom3_per_atom: tuple[float, float] = (8.0, 25.0)
    min_distance_angstrom: float = Field(1.4, ge=0.6, le=1.8)

    @model_validator(mode="after")
    def _volumes_rise(self) -> Self:
        smallest, largest = self.volume_angstrom3_per_atom
        if not 2 * self.min_distance_angstrom**3 <= smallest <= largest:
            raise ValueError(
                "volume_angstrom3_per_atom: give a smallest and a largest volume, of at least "
                f"{2 * self.min_distance_angstrom**3:.3g} to leave room for min_distance_angstrom"
            )
        return self

    def located(self) -> Self:
        """Return the source itself, because it reads nothing."""
        return self

    def inputs(self) -> dict[str, UPath]:
        """None: crystals follow from the settings."""
        return {}

    def property_names(self) -> frozenset[str]:
        """Return the names of the properties that every record has."""
        return _PROPERTIES

    def num_items(self) -> int:
        """Return the number of materials."""
        return self.num_materials

    def item_name(self, index: int) -> str:
        """Name a crystal by the seed and its number."""
        return f"drawn-{self.seed}-{index}"

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Draw the crystals of a slice, each from generators of its own."""
        for index in range(start, min(stop, self.num_materials)):
            yield self._material(index)

    def _material(self, index: int) -> Record | Failure:
        """Draw one crystal, again and again until it has the symmetry that was drawn first."""
        generator = np.random.default_rng([self.seed, index])
        group = _drawn_group(generator)
        for _ in range(_NUM_TRIES):
            structure = self._drawn(group, generator)
            if structure is None:
                continue
            symmetry = symmetry_properties(to_pymatgen(structure))
            if symmetry.get("space_group_number") == group.number:
                return self._record(index, structure, symmetry)
        reason = f"no crystal of space group {group.number} was found in {_NUM_TRIES} tries"
        return Failure(self.item_name(index), f"{reason}; a larger max_atoms may help")

    def _record(self, index: int, structure: Structure, symmetry: dict[str, int | str]) -> Record:
        return Record(
            material_id=self.item_name(index),
            parts={"structure": structure},
            properties={"num_atoms": structure.atomic_numbers.size, **symmetry},
            provenance={
                "source": "drawn at random: no such crystal is known to exist",
                "database_version": f"seed {self.seed}",
                "licence": "none needed",
            },
        )

    def _drawn(self, group: SpaceGroup, generator: np.random.Generator) -> Structure | None:
        """Draw a crystal of a space group; None where its atoms find no room."""
        num_atoms = round(np.exp(generator.uniform(*np.log([_FEWEST_ATOMS, self.max_atoms]))))
        volume = num_atoms * np.exp(generator.uniform(*np.log(self.volume_angstrom3_per_atom)))
        lattice = group.drawn_lattice(volume, generator)
        orbits = self._orbits(group, lattice, num_atoms, generator)
        coords = np.concatenate(orbits) if orbits else np.empty((0, 3))
        if len(coords) < _LEAST_FILLED * num_atoms:
            return None
        kinds = _drawn_elements(len(orbits), generator)
        return Structure(lattice, np.repeat(kinds, list(map(len, orbits))), coords)

    def _orbits(
        self, group: SpaceGroup, lattice: Float, num_atoms: int, generator: np.random.Generator
    ) -> list[Float]:
        """Draw orbits of at most so many points in all, which keep their distance, each (m, 3)."""
        places, orbits, misses = np.empty((0, 3)), [], 0
        while len(places) < num_atoms and misses < _TRIES_PER_SITE:
            orbit = group.orbit(group.drawn_point(generator))
            together = np.concatenate([orbit, places])
            if len(together) > num_atoms or self._is_too_near(together, lattice):
                misses += 1
                continue
            places, misses = together, 0
            orbits.append(orbit)
        return orbits

    def _is_too_near(self, coords: Float, lattice: Float) -> bool:
        """Say whether the first point is too near to another one or to its own image."""
        apart = coords - coords[0]
        apart = (apart - np.rint(apart))[:, None] + _CELLS_AROUND
        vectors = apart.reshape(-1, 3) @ lattice
        squared = np.einsum("ix,ix->i", vectors, vectors)
        squared[len(_CELLS_AROUND) // 2] = np.inf  # the point itself
        return bool(squared.min() < self.min_distance_angstrom**2)


def _drawn_group(generator: np.random.Generator) -> SpaceGroup:
    family = generator.choice(sorted(families()))
    return space_group(int(generator.choice(families()[family])))


def _drawn_elements(num_sites: int, generator: np.random.Generator) -> NDArray[np.int32]:
    """Draw an element for each site, of a few that the crystal has, shape (num_sites,)."""
    elements, chances = _elements()
    few = generator.choice(
        elements, generator.integers(1, _MOST_ELEMENTS + 1), replace=False, p=chances
    )
    shares = generator.exponential(size=len(few))
    return generator.choice(few, num_sites, p=shares / shares.sum())


@cache
def _elements() -> tuple[NDArray[np.int32], Float]:
    """Return the elements to draw from, and how likely each is.

    Hydrogen is none of them: an X-ray hardly sees it. Noble gases form no crystals to speak of.
    """
    refused = _RADIOACTIVE | _NOBLE
    elements = [z for z in range(3, _HEAVIEST + 1) if z not in refused] + [90, 92]
    weights = np.array([_FREQUENCIES.get(z, _OTHER_FREQUENCY) for z in elements], dtype=float)
    return np.array(elements, dtype=np.int32), weights / weights.sum()
