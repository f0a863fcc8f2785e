"""The record: one material and whatever is known of it. What is not known is absent, not zero."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

# A dot would split a WebDataset key, a slash a path: ids keep to this alphabet.
MATERIAL_ID = re.compile(r"[A-Za-z0-9_\-]{1,128}")


@dataclass(frozen=True, slots=True)
class Structure:
    """A periodic crystal.

    Attributes:
        lattice_angstrom: (3, 3) float64, rows a, b, c.
        atomic_numbers: (n,) int32.
        frac_coords: (n, 3) float64.
    """

    lattice_angstrom: NDArray[np.float64]
    atomic_numbers: NDArray[np.int32]
    frac_coords: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Record:
    """One material. No part is obligatory; the structure is one like the others.

    Attributes:
        material_id: stable id, of ``MATERIAL_ID``'s alphabet.
        parts: what is known, by the name under which a modality stores it (``structure``, ``dos``,
            ``text_embedding``): an object of the class that the modality's folder defines.
        properties: named values; the name carries the unit (``formation_energy_ev_per_atom``).
        provenance: ``source``, ``database_version``, ``licence`` and what else the source says;
            under the name of a part, where that part comes from.
    """

    material_id: str
    parts: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def structure(self) -> Structure | None:
        """The crystal structure, where it is known."""
        return cast(Structure | None, self.parts.get("structure"))

    def with_part(self, name: str, value: Any) -> Self:
        """Give the same record with one part replaced or added."""
        return replace(self, parts={**self.parts, name: value})
