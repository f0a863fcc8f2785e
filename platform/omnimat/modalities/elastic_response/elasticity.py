"""The stiffness of a crystal from its stresses under small strains, and its averages.

Strains and stresses are written after Kelvin, in an orthonormal basis of the symmetric matrices, so
that a stiffness is a symmetric 6 x 6 matrix whose eigenvalues do not depend on the axes. The first
matrix of the basis is hydrostatic, the others change no volume. With C for the stiffness and S for
its inverse,

    3 K = C_11,        tr C = 3 K + 10 G               if all grains share their strain (Voigt),
    1 / (3 K) = S_11,  tr S = 1 / (3 K) + 5 / (2 G)    if they share their stress (Reuss).

Hill, "The elastic behaviour of a crystalline aggregate", Proceedings of the Physical Society A 65
(1952), takes the mean of the two, which are bounds of a polycrystal's moduli.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_DIAGONALS = ((1, 1, 1), (1, -1, 0), (1, 1, -2))
_SHEARS = ((1, 2), (0, 2), (0, 1))


class Moduli(NamedTuple):
    """Moduli of a polycrystal in GPa."""

    bulk: float
    shear: float


def kelvin_basis() -> Float:
    """Return the six unit strains, (6, 3, 3), of which the first is hydrostatic."""
    basis = np.zeros((6, 3, 3))
    basis[:3] = [np.diag(diagonal) for diagonal in _DIAGONALS]
    for place, (row, column) in enumerate(_SHEARS, 3):
        basis[place, row, column] = basis[place, column, row] = 1
    unit: Float = basis / np.linalg.norm(basis, axis=(1, 2), keepdims=True)
    return unit


def strains(size: float) -> Float:
    """Return the strains under which stresses are wanted, (12, 3, 3): the six of both signs."""
    return size * np.concatenate([kelvin_basis(), -kelvin_basis()])


def derivatives(values: Float, size: float) -> Float:
    """Return central differences by the six unit strains, (6, ...).

    Args:
        values: what was found under ``strains(size)``, (12, ...).
        size: size of the strains.
    """
    difference: Float = (values[:6] - values[6:]) / (2 * size)
    return difference


def stiffness(stresses_gpa: Float, size: float) -> Float:
    """Return the stiffness in GPa, (6, 6).

    Its antisymmetric part is left out. It comes from the stress at rest and from rounding.

    Args:
        stresses_gpa: stress under ``strains(size)``, positive under tension, (12, 3, 3).
        size: size of the strains.
    """
    columns = np.einsum("bij,aij->ab", kelvin_basis(), derivatives(stresses_gpa, size))
    symmetric: Float = (columns + columns.T) / 2
    return symmetric


def voigt(stiffness_gpa: Float) -> Moduli:
    """Return the averages at uniform strain."""
    bulk = float(stiffness_gpa[0, 0]) / 3
    return Moduli(bulk, (float(np.trace(stiffness_gpa)) - 3 * bulk) / 10)


def reuss(stiffness_gpa: Float) -> Moduli | None:
    """Return the averages at uniform stress, or None if the crystal gives way under a strain."""
    if np.linalg.eigvalsh(stiffness_gpa)[0] <= 0:
        return None
    compliance = np.linalg.inv(stiffness_gpa)
    hydrostatic = float(compliance[0, 0])
    return Moduli(1 / (3 * hydrostatic), 2.5 / (float(np.trace(compliance)) - hydrostatic))
