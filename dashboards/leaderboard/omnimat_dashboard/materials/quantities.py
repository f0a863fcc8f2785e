"""Properties as people read them: the unit with which a stored name ends stands apart."""

from __future__ import annotations

from typing import Any

from omnimat.search.cells import cell
from omnimat_dashboard.text import unit

# Endings of names, the longest first where one ends as another does.
_UNITS = {
    "_ev_per_atom": "eV/atom",
    "_ev_per_angstrom": "eV/angstrom",
    "_angstrom3_per_atom": "angstrom^3/atom",
    "_angstrom3": "angstrom^3",
    "_g_per_cm3": "g/cm^3",
    "_mev": "meV",
    "_ev": "eV",
    "_gpa": "GPa",
    "_angstrom": "angstrom",
    "_degree": "degree",
    "_kelvin": "K",
    "_percent": "%",
}


def parted(name: str) -> tuple[str, str]:
    """Part a stored name: ``band_gap_ev`` becomes ``band gap`` and ``eV``; no unit is empty."""
    for ending, written in _UNITS.items():
        if name.endswith(ending) and len(name) > len(ending):
            return name.removesuffix(ending).replace("_", " "), unit(written)
    return name.replace("_", " "), ""


def value(told: Any) -> str:
    """Write a value as the terminal does, with four digits; a list of numbers with commas."""
    return ", ".join(map(value, told)) if isinstance(told, list | tuple) else cell(told)
