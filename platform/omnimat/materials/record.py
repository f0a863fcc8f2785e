"""The record: one material and whatever is known of it. Absence is ``None``, never a filler."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Modality = Literal["structure", "dos", "charge_density", "text", "xrd", "composition"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)

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
class DensityOfStates:
    """Electronic density of states on the material's own energy grid.

    Attributes:
        energies_ev: (n,) float32, relative to the Fermi level, increasing.
        spin_up_per_ev: (n,) float32.
        spin_down_per_ev: (n,) float32, or None where only one channel is known.
    """

    energies_ev: NDArray[np.float32]
    spin_up_per_ev: NDArray[np.float32]
    spin_down_per_ev: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One material.

    Attributes:
        material_id: stable id, of ``MATERIAL_ID``'s alphabet.
        structure: required of every record that reaches a shard.
        dos: density of states.
        charge_density: (nx, ny, nz) on the fractional grid, CHGCAR units (density x cell volume).
        text: a description in English.
        text_embedding: (width,) stored sentence embedding of ``text``.
        properties: named values; the name carries the unit (``formation_energy_ev_per_atom``).
        provenance: ``source``, ``database_version``, ``licence`` and what else the source says.
    """

    material_id: str
    structure: Structure
    dos: DensityOfStates | None = None
    charge_density: NDArray[np.floating[Any]] | None = None
    text: str | None = None
    text_embedding: NDArray[np.floating[Any]] | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
