"""The parts of a record other than its structure, made from the columns of a row.

A function returns None where the row does not have the part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.crystals import crystal_system
from omnimat.materials.values import shown
from omnimat.modalities.composition import Formula
from omnimat.modalities.composition.query import parse_formula
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.sources.tables.columns import ArrayColumn, DosColumns, PropertyColumn, XrdColumns
from omnimat.sources.tables.structures import Row
from omnimat.sources.tables.values import Kind, joined, numbers, property_value


def text_from(row: Row, column: str) -> str | None:
    """Return a text.

    Raises:
        ValueError: the value is no text.
    """
    value = row.get(column)
    if not isinstance(value, str | None):
        raise ValueError(f"text: {shown(value)} is no text")
    return value


def formula_from(row: Row, column: str) -> Formula | None:
    """Return a composition.

    Raises:
        ValueError: the value is no formula, or names an element that does not exist.
    """
    value = row.get(column)
    if value is None:
        return None
    formula = parse_formula(value) if isinstance(value, str) else None
    if formula is None:
        raise ValueError(f"formula: {shown(value)} is no chemical formula")
    return formula


def array_from(row: Row, array: ArrayColumn, what: str) -> NDArray[Any] | None:
    """Return an array, from lists or from bytes.

    Raises:
        ValueError: it holds something else, or does not have the shape that is asked for.
    """
    value = row.get(array.column)
    if value is None:
        return None
    try:
        if isinstance(value, bytes):
            found = np.frombuffer(value, dtype=array.dtype)
        else:
            found = numbers(value, what).astype(array.dtype)
        return found if array.shape is None else found.reshape(array.shape)
    except ValueError as error:
        raise ValueError(f"{what}: {str(error).removeprefix(f'{what}: ')}") from error


def dos_from(row: Row, columns: DosColumns) -> DensityOfStates | None:
    """Return a density of states.

    Raises:
        ValueError: its energies do not increase, lengths differ, or a number is not finite.
    """
    values = [row.get(columns.energies_ev), row.get(columns.spin_up_per_ev)]
    if any(value is None for value in values):
        return None
    if columns.spin_down_per_ev is not None and row.get(columns.spin_down_per_ev) is not None:
        values.append(row[columns.spin_down_per_ev])
    curves = [numbers(value, "dos").ravel() for value in values]
    if len({curve.size for curve in curves}) != 1:
        raise ValueError("its energies and densities differ in length")
    if not (np.diff(curves[0]) > 0).all():
        raise ValueError("its energies do not increase")
    return DensityOfStates(*(curve.astype(np.float32) for curve in curves))


def xrd_from(row: Row, columns: XrdColumns) -> MeasuredPattern | None:
    """Return a diffraction pattern.

    Raises:
        ValueError: a column holds no finite numbers.
    """
    if row.get(columns.intensity) is None:
        return None
    intensity = numbers(row[columns.intensity], "xrd intensity").ravel()
    if columns.two_theta_degree is not None:
        if row.get(columns.two_theta_degree) is None:
            return None
        angles = numbers(row[columns.two_theta_degree], "xrd two theta").ravel()
    else:
        grid = (columns.start_degree, columns.step_degree)
        start, step = joined([row.get(str(column)) for column in grid], "xrd start and step", 2)
        angles = start + step * np.arange(intensity.size)
    wavelength = columns.wavelength_angstrom
    if isinstance(wavelength, str):
        given = row.get(wavelength)
        wavelength = None if given is None else float(joined([given], "xrd wavelength", 1)[0])
    return MeasuredPattern(angles.astype(np.float32), intensity.astype(np.float32), wavelength)


def properties_from(
    row: Row, columns: Mapping[str, PropertyColumn], kinds: Mapping[str, Kind]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the properties of a row; the crystal system follows from the space group.

    Args:
        row: the values by column.
        columns: where each property stands, by its name.
        kinds: what the columns hold of which the mapping does not say it.

    Returns:
        The properties that are known, and for each that was left out the reason.
    """
    found: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for name, column in columns.items():
        is_group = name == "space_group_number"
        kind = "integer" if is_group else column.type or kinds.get(column.column)
        try:
            value = property_value(row.get(column.column), kind)
            if value is None:
                continue
            system = crystal_system(value) if is_group else None
        except ValueError as error:
            notes[name] = f"left out: {error}"
        else:
            found[name] = float(value) if column.type == "number" and not is_group else value
            if system is not None and "crystal_system" not in columns:
                found["crystal_system"] = system
    return found, notes
