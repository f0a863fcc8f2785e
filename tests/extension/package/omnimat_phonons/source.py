"""Prototypes with a phonon density of states of Debye's model."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pymatgen.core import Element

from omnimat.materials.record import Failure, Record
from omnimat.sources.prototypes import Prototypes
from omnimat_phonons import NUM_FREQUENCIES


class PhononPrototypes(Prototypes):
    """The same crystals; every fourth has no phonon density of states."""

    type: Literal["phonon_prototypes"] = "phonon_prototypes"

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Read the crystals of a slice."""
        for place, item in enumerate(super().read(start, stop), start):
            known = isinstance(item, Record) and place % 4 != 3
            yield item.with_part("phonon_dos", debye(item)) if known else item


def debye(record: Record) -> np.ndarray:
    """Rise as the square of the frequency up to a cut-off that heavy atoms lower."""
    masses = [Element.from_Z(int(z)).atomic_mass for z in record.structure.atomic_numbers]
    cutoff_ev = 0.25 / np.sqrt(np.mean(masses))
    energies_ev = np.linspace(0, 0.05, NUM_FREQUENCIES)
    return np.where(energies_ev < cutoff_ev, 3 * energies_ev**2 / cutoff_ev**3, 0.0)
