"""The record, which holds what is known about a material; what is not known is absent, not zero."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

# Ids are limited to these characters: a dot would split a WebDataset key, and a slash a path.
_MAX_ID_LENGTH = 128
MATERIAL_ID = re.compile(rf"[A-Za-z0-9_\-]{{1,{_MAX_ID_LENGTH}}}")


def safe_id(name: str) -> str:
    """Make a material id of a name: other characters become underscores, and its end is cut off."""
    return re.sub(r"[^A-Za-z0-9_\-]", "_", name)[:_MAX_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Structure:
    """A periodic crystal.

    Attributes:
        lattice_angstrom: cell with rows a, b and c, float64 of shape (3, 3).
        atomic_numbers: atomic number of each atom, int32 of shape (n,).
        frac_coords: fractional coordinates of each atom, float64 of shape (n, 3).
    """

    lattice_angstrom: NDArray[np.float64]
    atomic_numbers: NDArray[np.int32]
    frac_coords: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Record:
    """One material, for which no part is mandatory, not even the structure.

    Attributes:
        material_id: stable id that matches ``MATERIAL_ID``.
        parts: what is known, by the name under which a modality stores it (``structure``, ``dos``,
            ``text_embedding``); each is an object of a class that the modality's folder defines.
        properties: values by name, which contains the unit (``formation_energy_ev_per_atom``).
        provenance: ``source``, ``database_version``, ``licence`` and whatever else the source says;
            under the name of a part, it says where that part comes from.
    """

    material_id: str
    parts: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def structure(self) -> Structure | None:
        """The crystal structure, or None where it is not known."""
        return cast(Structure | None, self.parts.get("structure"))

    def with_part(self, name: str, value: Any) -> Self:
        """Return the same record with one part replaced or added."""
        return replace(self, parts={**self.parts, name: value})


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that could not become a record, or whose record lacks something."""

    material_id: str
    reason: str
