"""Names of labels, which end with their unit."""

from __future__ import annotations

import re

from omnimat.materials.values import LabelKind, safe_name

_SIGNS = {"/": "_per_", "%": "percent", "Å": "angstrom", "°": "degree", "µ": "u", "^": ""}


def label_name(column: str, kind: LabelKind) -> tuple[str, str]:
    """Name the label of a column: ``Band gap (eV)`` becomes ``band_gap_ev``.

    Returns:
        The name and, if the column's name says it in brackets, the unit of the numbers.
    """
    bare, unit = _unit_of(column)
    ending = unit_in_names(unit)
    if kind == "class" or not ending or safe_name(ending) != ending:
        return safe_name(column), ""
    return f"{re.sub(r'[^a-z0-9]+', '_', bare.lower()).strip('_')}_{ending}".lstrip("_"), unit


def _unit_of(column: str) -> tuple[str, str]:
    """Split ``Band gap (eV)`` into the name and the unit, which is empty where there is none."""
    match = re.fullmatch(r"\s*(.*\S)\s*[(\[]([^()\[\]]+)[)\]]\s*", column)
    return (match[1], match[2].strip()) if match else (column, "")


def unit_in_names(unit: str) -> str:
    """Return a unit as names of properties end with it: eV/atom becomes ``ev_per_atom``."""
    for sign, word in _SIGNS.items():
        unit = unit.replace(sign, word)
    return re.sub(r"\W+", "_", unit.lower()).strip("_")
