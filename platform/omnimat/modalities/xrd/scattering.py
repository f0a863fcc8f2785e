"""Reciprocal vectors of a crystal and what its atoms scatter, in blocks of limited memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Structure

Float = NDArray[np.floating[Any]]

WAVELENGTHS_ANGSTROM: Mapping[str, float] = {
    "CuKa": 1.54184,
    "CuKa2": 1.54439,
    "CuKa1": 1.54056,
    "CuKb1": 1.39222,
    "MoKa": 0.71073,
    "MoKa2": 0.71359,
    "MoKa1": 0.7093,
    "MoKb1": 0.63229,
    "CrKa": 2.291,
    "CrKa2": 2.29361,
    "CrKa1": 2.2897,
    "CrKb1": 2.08487,
    "FeKa": 1.93735,
    "FeKa2": 1.93998,
    "FeKa1": 1.93604,
    "FeKb1": 1.75661,
    "CoKa": 1.79026,
    "CoKa2": 1.79285,
    "CoKa1": 1.78896,
    "CoKb1": 1.63079,
    "AgKa": 0.560885,
    "AgKa2": 0.563813,
    "AgKa1": 0.559421,
    "AgKb1": 0.497082,
}
"""Wavelengths by name, those of pymatgen, whose import settings do not need."""

# An array of this many complex numbers has 4 MiB, and about six of its size are held at a time.
_NUMBERS_PER_BLOCK = 2**18


def blocks(num_rows: int, row_length: int) -> Iterator[slice]:
    """Cut rows into blocks that hold a limited count of numbers, or one row."""
    step = max(1, _NUMBERS_PER_BLOCK // row_length)
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def extent(lattice_angstrom: Float, radius: float) -> NDArray[np.int64]:
    """Return the largest Miller index of each axis within a radius, shape (3,)."""
    lengths = radius * np.linalg.norm(lattice_angstrom, axis=1)
    largest: NDArray[np.int64] = np.floor(lengths).astype(np.int64)
    return largest


def half_sphere(lattice_angstrom: Float, radius: float) -> tuple[Float, Float]:
    """Find the reciprocal vectors with |g| <= radius, one of each pair g and -g, without 0.

    Returns:
        Miller indices, shape (m, 3), and lengths, shape (m,).
    """
    largest = extent(lattice_angstrom, radius)
    shape = tuple(2 * largest + 1)
    first = int(np.prod(shape)) // 2 + 1  # g and -g are mirror images about the middle, which is 0
    reciprocal = np.linalg.inv(lattice_angstrom).T
    miller, lengths = [np.empty((0, 3), np.int64)], [np.empty(0)]
    for block in blocks(first - 1, 3):
        places = np.arange(first + block.start, first + block.stop)
        indices = np.stack(np.unravel_index(places, shape), axis=1) - largest
        g = np.linalg.norm(indices @ reciprocal, axis=1)
        inside = g <= radius
        miller.append(indices[inside])
        lengths.append(g[inside])
    return np.concatenate(miller), np.concatenate(lengths)


def structure_factors(structure: Structure, miller: Float, g: Float) -> NDArray[np.complex128]:
    """Sum f_e(g) exp(2 pi i g.r) over the atoms, shape (m,)."""
    elements, kind = np.unique(structure.atomic_numbers, return_inverse=True)
    amplitude, width = np.stack([scattering_coefficients(int(z)) for z in elements], axis=1)
    factors = np.empty(len(g), np.complex128)
    for block in blocks(len(g), max(len(kind), amplitude.size)):
        s_squared = (g[block] / 2) ** 2
        fitted = (amplitude * np.exp(-width * s_squared[:, None, None])).sum(axis=2)
        form_factors = elements - 41.78214 * s_squared[:, None] * fitted
        phase = np.exp((2j * np.pi) * (miller[block] @ structure.frac_coords.T))
        factors[block] = (form_factors[:, kind] * phase).sum(axis=1)
    return factors


@cache
def scattering_table() -> Mapping[str, Sequence[tuple[float, float]]]:
    """Read pymatgen's a and b by symbol; the module that holds them would import matplotlib too."""
    file = files("pymatgen.analysis.diffraction") / "atomic_scattering_params.json"
    table: Mapping[str, Sequence[tuple[float, float]]] = json.loads(file.read_text())
    return table


@cache
def scattering_coefficients(atomic_number: int) -> Float:
    """Return the fitted a and b of f(s) = Z - 41.78214 s^2 sum a exp(-b s^2), shape (2, terms).

    Raises:
        ValueError: the table lacks the element.
    """
    from pymatgen.core import Element  # 0.3 s of import

    symbol = Element.from_Z(atomic_number).symbol
    if symbol not in scattering_table():
        raise ValueError(f"no X-ray scattering factor is known for {symbol}")
    return np.array(scattering_table()[symbol], dtype=np.float64).T
