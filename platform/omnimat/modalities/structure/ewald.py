"""Ewald summation of three pair potentials: its closed forms and its cutoffs.

For atoms i, j of a crystal with lattice L and v = r_i - r_j, the sums over all images k are

* Coulomb: sum' 1/|kL+v|, analytically continued (neutralising background),
* London: sum' 1/|kL+v|^6,
* Pauli: sum exp(-alpha |kL+v|),

where the prime leaves out the zero vector. Each potential is an integral of Gaussians
exp(-r^2 t) over t. Splitting that integral at t = s gives one part that converges fast in real
space and, by Poisson summation, one that converges fast in reciprocal space (Ewald's method for any
such potential). All incomplete gamma and Bessel functions that occur are elementary: only exp, erf,
erfc and erfcx are needed. Reference: Lin et al., "Efficient approximations of complete interatomic
potentials for crystal property prediction", ICML 2023 (PotNet), which evaluates the same sums by
quadrature and recursion.

The formulas work on the arrays of any library and get its ``Functions`` as an argument.
``lattice_sums.py`` uses NumPy for one crystal at a time, ``batched_sums.py`` uses torch for many at
a time on any device. Both follow the same ``SummationPlan``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating[Any]]
PauliScaling = Literal["exact", "reference"]
Numbers = Any
"""A number, or an array of NumPy or torch; the arguments of a call broadcast together."""

TOLERANCE = 1e-8
"""Default of the absolute error that is allowed in each sum, in the unit of that sum."""

# Measured costs of one real-space term, one phase factor and one reciprocal weight, relative to one
# entry of the reciprocal matrix product. They decide only where the integral is split and do not
# affect the result.
_REAL_COST, _PHASE_COST, _WEIGHT_COST = 200.0, 60.0, 250.0
_SMALLEST_VOLUME_ANGSTROM3 = 1e-6
# Larger than 1/2 by more than rounding errors: in cubic and hexagonal cells a vector and its
# shortened form are often equally long and would replace each other forever.
_LARGEST_MULTIPLE = 0.5 + 1e-6
# None of 6,000 cells of the Materials Project takes more than 4 rounds, and a cell with a skew of
# 1e9 took 8. A cell that is still not compact after all rounds costs time, not accuracy.
_MOST_ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Functions:
    """The elementwise functions of an array library that the closed forms need."""

    sqrt: Callable[[Numbers], Numbers]
    exp: Callable[[Numbers], Numbers]
    erf: Callable[[Numbers], Numbers]
    erfc: Callable[[Numbers], Numbers]
    erfcx: Callable[[Numbers], Numbers]


@dataclass(frozen=True)
class SummationPlan:
    """The terms that the sums of n crystals need: those within two radii, in compact cells.

    The compact cell of a crystal spans the same lattice as the cell in which it is given.

    Attributes:
        cells_angstrom: compact cells with rows a, b, c, shape (n, 3, 3).
        inverses: inverse matrices of the compact cells, shape (n, 3, 3).
        transforms: integer matrices, shape (n, 3, 3); ``frac_coords @ transform`` are coordinates
            in the compact cell.
        volumes: volume of each cell in angstrom^3, shape (n,).
        splits: point t = s where the Gaussian integrals are split, in 1/angstrom^2, shape (n,).
        cutoffs_angstrom: radius of each real-space series, shape (n,).
        cutoffs_per_angstrom: radius of each reciprocal series (vectors without 2 pi), shape (n,).
    """

    cells_angstrom: Float
    inverses: Float
    transforms: Float
    volumes: Float
    splits: Float
    cutoffs_angstrom: Float
    cutoffs_per_angstrom: Float

    @classmethod
    def of(cls, lattices_angstrom: Float, num_atoms: Float, tolerance: float) -> SummationPlan:
        """Split the integrals so that both series cost the same.

        Let R be the reach, so that the Gaussian of the last terms is exp(-R^2). A pair then has
        4/3 pi R^3 / (V s^(3/2)) real-space terms and half of 4/3 V s^(3/2) R^3 / pi^2 reciprocal
        terms. The product of the two is fixed, and s decides their ratio. The largest tail is that
        of the reciprocal London series, s^3 exp(-R^2) / (R sqrt(pi)) by integration; a factor e^3
        is added for lattices whose shells are not dense yet.

        Args:
            lattices_angstrom: cells with rows a, b, c, shape (n, 3, 3).
            num_atoms: number of atoms of each crystal, shape (n,).
            tolerance: absolute error allowed in each sum, in the unit of that sum.

        Raises:
            ValueError: a cell has no volume.
        """
        volumes = _volumes(lattices_angstrom)
        cells = compact_cells(lattices_angstrom)
        inverses = np.linalg.inv(cells)
        per_term = 1.0 + 2 * _PHASE_COST / num_atoms + 2 * _WEIGHT_COST / num_atoms**2
        splits = (np.sqrt(2 * np.pi**3 * _REAL_COST / per_term) / volumes) ** (2 / 3)
        reaches = np.sqrt(3.0 - np.log(tolerance) + np.log1p(splits**3))
        return cls(
            cells,
            inverses,
            np.rint(lattices_angstrom @ inverses),
            volumes,
            splits,
            cutoffs_angstrom=reaches / np.sqrt(splits),
            cutoffs_per_angstrom=reaches * np.sqrt(splits) / np.pi,
        )

    @cached_property
    def real_extents(self) -> NDArray[np.int64]:
        """Largest multiples of a, b and c in the real-space series, shape (n, 3).

        The series runs over all images of separations whose coordinates lie in [-1/2, 1/2].
        """
        planes_per_angstrom = np.linalg.norm(self.inverses, axis=1)
        return _floor(self.cutoffs_angstrom[:, None] * planes_per_angstrom + 0.5)

    @cached_property
    def reciprocal_extents(self) -> NDArray[np.int64]:
        """Largest multiples of the reciprocal vectors in the reciprocal series, shape (n, 3)."""
        lengths_angstrom = np.linalg.norm(self.cells_angstrom, axis=2)
        return _floor(self.cutoffs_per_angstrom[:, None] * lengths_angstrom)

    @cached_property
    def image_radii_angstrom(self) -> Float:
        """Length beyond which no image is needed for any separation, shape (n,)."""
        signs = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [1, -1, -1]])
        diagonals: Float = np.linalg.norm(signs @ self.cells_angstrom, axis=2).max(axis=1)
        return self.cutoffs_angstrom + diagonals / 2


def compact_cells(lattices_angstrom: Float) -> Float:
    """Reduce cells to short, nearly orthogonal vectors of the same lattices, shape (n, 3, 3).

    The vectors are sorted by length, and each is shortened by the ones before it until nothing
    changes. The result then meets the conditions of Lenstra, Lenstra and Lovasz.
    """
    cells = np.array(lattices_angstrom, dtype=np.float64)
    for _ in range(_MOST_ROUNDS):
        order = np.square(cells).sum(axis=2).argsort(axis=1, kind="stable")
        cells = np.take_along_axis(cells, order[:, :, None], axis=1)
        a, b, c = cells[:, 0], cells[:, 1], cells[:, 2]
        shortened = _shorten(b, a, a)
        along = _dot(a, b) / _dot(a, a)
        shortened |= _shorten(c, b, b - along[:, None] * a)
        shortened |= _shorten(c, a, a)
        if not shortened:
            break
    return cells


def pauli_decay(decay_per_angstrom: float, scaling: PauliScaling, volume_angstrom3: float) -> float:
    """Return the decay of the Pauli term in a cell.

    Args:
        decay_per_angstrom: the decay constant alpha.
        scaling: ``exact`` uses alpha itself, and ``reference`` uses alpha / V^(1/6), as the
            published features do (they scale alpha by the square root of the length unit).
        volume_angstrom3: volume of the cell as it is given.
    """
    if scaling == "exact":
        return decay_per_angstrom
    return float(decay_per_angstrom / volume_angstrom3 ** (1 / 6))


def real_terms(
    r_squared: Numbers, s: Numbers, decay: Numbers, f: Functions
) -> tuple[Numbers, Numbers, Numbers]:
    """Return the real-space terms of Coulomb, London and Pauli at squared distances > 0."""
    r, x = f.sqrt(r_squared), s * r_squared
    root, gauss = f.sqrt(s) * r, f.exp(-x)
    shift = decay / (2 * f.sqrt(s))
    coulomb = f.erfc(root) / r
    london = gauss * (0.5 * x * x + x + 1) / r_squared**3
    pauli = 0.5 * f.exp(-decay * r) * f.erfc(root - shift)
    pauli = pauli - 0.5 * f.exp(-shift * shift) * gauss * f.erfcx(root + shift)
    return coulomb, london, pauli


def self_terms(s: Numbers, decay: Numbers, f: Functions) -> tuple[Numbers, Numbers, Numbers]:
    """Return what the zero vector contributes to the three potentials in real space."""
    return -2 * f.sqrt(s / np.pi), -(s**3) / 6, f.erf(decay / (2 * f.sqrt(s)))


def reciprocal_weights(
    g_squared: Numbers, s: Numbers, decay: Numbers, volume: Numbers, f: Functions
) -> tuple[Numbers, Numbers, Numbers]:
    """Return the weights of cos(2 pi g.v) in the three sums for g != 0."""
    k = np.pi**2 * g_squared
    y = k / s
    root, gauss = f.sqrt(y), f.exp(-y)
    # Gamma(-3/2, y) follows in two steps down from Gamma(1/2, y) = sqrt(pi) erfc(sqrt y).
    gamma = np.sqrt(np.pi) * f.erfc(root)
    gamma = (gamma - gauss / root) / -0.5
    gamma = (gamma - gauss / (y * root)) / -1.5
    coulomb = np.pi * gauss / k
    london = 0.5 * np.pi**1.5 * k * f.sqrt(k) * gamma
    return coulomb / volume, london / volume, _pauli_weight(k, s, decay, f) / volume


def background_terms(
    s: Numbers, decay: Numbers, volume: Numbers, f: Functions
) -> tuple[Numbers, Numbers, Numbers]:
    """Return the weights of g = 0; that of Coulomb includes the neutralising background."""
    london = (np.pi * s) ** 1.5 / 3
    return -np.pi / s / volume, london / volume, _pauli_weight(0.0, s, decay, f) / volume


def _pauli_weight(k: Numbers, s: Numbers, decay: Numbers, f: Functions) -> Numbers:
    x = decay**2 / 4 + k
    return 0.5 * np.pi * decay * f.exp(-x / s) * (x / s + 1) / (x * x)


def _shorten(vectors: Float, other: Float, direction: Float) -> bool:
    """Subtract multiples of other vectors, in place, to shorten vectors along given directions.

    All arguments have shape (n, 3).

    Returns:
        Whether any vector changed.
    """
    multiples = _dot(vectors, direction) / _dot(direction, direction)
    multiples = np.where(np.abs(multiples) > _LARGEST_MULTIPLE, np.rint(multiples), 0)
    vectors -= multiples[:, None] * other
    return bool(multiples.any())


def _volumes(lattices: Float) -> Float:
    if np.isfinite(lattices).all():
        volumes: Float = np.abs(np.linalg.det(lattices))
        if (volumes > _SMALLEST_VOLUME_ANGSTROM3).all():
            return volumes
    raise ValueError("the cell has no volume")


def _floor(values: Float) -> NDArray[np.int64]:
    whole: NDArray[np.int64] = np.floor(values).astype(np.int64)
    return whole


def _dot(one: Float, other: Float) -> Float:
    product: Float = (one * other).sum(axis=1)
    return product
