"""Infinite lattice sums of pair potentials in closed form: the long-range edges of PotNet.

For atoms i, j of a crystal with lattice L and v = r_i - r_j, the sums over all images k are

* Coulomb: sum' 1/|kL+v|, analytically continued (neutralising background),
* London: sum' 1/|kL+v|^6,
* Pauli: sum exp(-alpha |kL+v|),

where the prime leaves out the zero vector. Each potential is an integral of Gaussians
exp(-r^2 t) over t. Splitting that integral at t = s gives one part that converges fast in real
space and, by Poisson summation, one that converges fast in reciprocal space (Ewald's method for any
such potential). Every incomplete gamma and Bessel function is elementary here: only exp, erf, erfc
and erfcx are needed. Reference: Lin et al., "Efficient approximations of complete interatomic
potentials for crystal property prediction", ICML 2023 (PotNet), which evaluates the same sums by
quadrature and recursion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice
from scipy.special import erf, erfc, erfcx

Float = NDArray[np.floating[Any]]
PauliScaling = Literal["exact", "reference"]

# Measured cost of one real-space term, one phase factor and one reciprocal weight, in units of one
# entry of the reciprocal matrix product. They only decide where the integral is split, never the
# result.
_REAL_COST, _PHASE_COST, _WEIGHT_COST = 200.0, 60.0, 250.0
_COINCIDENT_ANGSTROM = 1e-3
_PAIRS_PER_BLOCK = 20_000


def lattice_sums(
    lattice_angstrom: Float,
    frac_coords: Float,
    pauli_decay_per_angstrom: float = 3.0,
    pauli_scaling: PauliScaling = "exact",
    tolerance: float = 1e-8,
) -> Float:
    """Sum three pair potentials over all periodic images of every pair of atoms.

    Args:
        lattice_angstrom: (3, 3) rows a, b, c; any cell of the lattice gives the same sums.
        frac_coords: (N, 3).
        pauli_decay_per_angstrom: alpha of the Pauli term.
        pauli_scaling: ``exact`` decays with alpha; ``reference`` with alpha / V^(1/6), as the
            published features do (their alpha is scaled by the root of the length unit).
        tolerance: absolute error allowed in each sum, in its own unit.

    Returns:
        (N(N+1)/2, 3) float64 for pairs i <= j, row-major upper triangle. Columns: Coulomb in 1/A,
        London in 1/A^6, Pauli (no unit).

    Raises:
        ValueError: the cell has no volume, or two atoms coincide.
    """
    lattice, positions = _reduce(lattice_angstrom, frac_coords)
    volume = abs(float(np.linalg.det(lattice)))
    decay = pauli_decay_per_angstrom
    if pauli_scaling == "reference":
        decay /= volume ** (1 / 6)
    split = _Split.balanced(volume, len(positions), tolerance, decay)
    sums = _reciprocal_part(lattice, positions, split)
    _add_real_part(sums, lattice, positions, split)
    return sums


@dataclass(frozen=True, slots=True)
class _Split:
    """Where the Gaussian integrals are split, and where both of their series are cut.

    Attributes:
        s: split point t = s, 1/A^2.
        reach: both series are cut where their Gaussian is exp(-reach^2).
        volume: of the cell, A^3.
        decay: of the Pauli term, 1/A.
    """

    s: float
    reach: float
    volume: float
    decay: float

    @classmethod
    def balanced(cls, volume: float, num_atoms: int, tolerance: float, decay: float) -> _Split:
        """Split so that both series cost the same.

        With R the reach, a pair has 4/3 pi R^3 / (V s^(3/2)) real terms and half as many as
        4/3 V s^(3/2) R^3 / pi^2 reciprocal ones, so their product is fixed and s decides the ratio.
        The largest tail is that of the reciprocal London series, s^3 exp(-R^2) / (R sqrt(pi)) by
        integration; e^3 stands above it for lattices whose shells are not yet dense.
        """
        reach = np.sqrt(3.0 - np.log(tolerance))
        per_term = 1.0 + 2 * _PHASE_COST / num_atoms + 2 * _WEIGHT_COST / num_atoms**2
        scaled_volume = np.sqrt(2 * np.pi**3 * _REAL_COST / per_term)  # V s^(3/2)
        s = (scaled_volume / volume) ** (2 / 3)
        return cls(s, float(np.sqrt(reach**2 + np.log1p(s**3))), volume, decay)

    @property
    def cutoff_angstrom(self) -> float:
        """Radius of the real-space series."""
        return float(self.reach / np.sqrt(self.s))

    @property
    def cutoff_per_angstrom(self) -> float:
        """Radius of the reciprocal series (vectors without 2 pi)."""
        return float(self.reach * np.sqrt(self.s) / np.pi)

    def real_terms(self, r_squared: Float) -> Float:
        """Real-space parts of the three potentials at squared distances > 0: (3, n)."""
        r = np.sqrt(r_squared)
        x = self.s * r_squared
        root = np.sqrt(x)
        gauss = np.exp(-x)
        shift = self.decay / (2 * np.sqrt(self.s))
        terms = np.empty((3, len(r)))
        terms[0] = erfc(root) / r
        terms[1] = gauss * (0.5 * x * x + x + 1) / r_squared**3
        terms[2] = 0.5 * np.exp(-self.decay * r) * erfc(root - shift)
        terms[2] -= 0.5 * np.exp(-(shift**2)) * gauss * erfcx(root + shift)
        return terms

    def self_terms(self) -> Float:
        """What the zero vector leaves in real space: (3,)."""
        pauli = erf(self.decay / (2 * np.sqrt(self.s)))
        return np.array([-2 * np.sqrt(self.s / np.pi), -(self.s**3) / 6, pauli])

    def reciprocal_weights(self, g_squared: Float) -> Float:
        """Weights of cos(2 pi g.v) in the three sums for g != 0: (3, n)."""
        k = np.pi**2 * g_squared
        y = k / self.s
        gauss = np.exp(-y)
        # Gamma(-3/2, y), two steps down from Gamma(1/2, y) = sqrt(pi) erfc(sqrt y)
        gamma = np.sqrt(np.pi) * erfc(np.sqrt(y))
        gamma = (gamma - gauss / np.sqrt(y)) / -0.5
        gamma = (gamma - gauss / y**1.5) / -1.5
        weights = np.empty((3, len(k)))
        weights[0] = np.pi * gauss / k
        weights[1] = 0.5 * np.pi**1.5 * k**1.5 * gamma
        weights[2] = self._pauli_weight(k)
        return weights / self.volume

    def background_terms(self) -> Float:
        """Weights of g = 0; for Coulomb what the neutralising background leaves: (3,)."""
        london = (np.pi * self.s) ** 1.5 / 3
        return np.array([-np.pi / self.s, london, self._pauli_weight(0.0)]) / self.volume

    def _pauli_weight(self, k: Float | float) -> Float | float:
        x = self.decay**2 / 4 + k
        return 0.5 * np.pi * self.decay * np.exp(-x / self.s) * (x / self.s + 1) / x**2


def _reduce(lattice_angstrom: Float, frac_coords: Float) -> tuple[Float, Float]:
    """Give a compact cell of the same lattice and Cartesian positions in the same frame."""
    lattice = np.asarray(lattice_angstrom, dtype=np.float64)
    if not np.isfinite(lattice).all() or abs(np.linalg.det(lattice)) < 1e-6:
        raise ValueError("the cell has no volume")
    compact: Float = Lattice(lattice).get_lll_reduced_lattice().matrix
    return compact, np.asarray(frac_coords) @ lattice


def _lattice_points(lattice: Float, inverse: Float, radius: float) -> Float:
    """All integer triples n with |n @ lattice| <= radius: (m, 3)."""
    extent = np.floor(radius * np.linalg.norm(inverse, axis=0)).astype(int)
    grid = np.indices(2 * extent + 1).reshape(3, -1).T - extent
    inside = np.square(grid @ lattice).sum(axis=1) <= radius**2
    points: Float = grid[inside].astype(np.float64)
    return points


def _reciprocal_part(lattice: Float, positions: Float, split: _Split) -> Float:
    """Sum over g as a matrix product: cos(2 pi g.(r_i - r_j)) = Re(S_gi conj(S_gj))."""
    inverse = np.linalg.inv(lattice)
    points = _lattice_points(inverse.T, lattice.T, split.cutoff_per_angstrom)
    half = points[len(points) // 2 + 1 :]  # g and -g mirror each other about the middle, g = 0
    weights = 2 * split.reciprocal_weights(np.square(half @ inverse.T).sum(axis=1))
    phase = (2 * np.pi) * (positions @ inverse) @ half.T
    waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    upper = np.triu_indices(len(positions))
    background = split.background_terms()
    sums = np.empty((len(upper[0]), 3))
    for column, weight in enumerate(weights):
        product = (waves * np.concatenate([weight, weight])) @ waves.T
        sums[:, column] = product[upper] + background[column]
    return sums


def _add_real_part(sums: Float, lattice: Float, positions: Float, split: _Split) -> None:
    """Add the real-space series to ``sums``, block by block to bound memory."""
    first, second = np.triu_indices(len(positions))
    inverse = np.linalg.inv(lattice)
    fractional = positions @ inverse
    fractional = fractional[first] - fractional[second]
    separations = (fractional - np.round(fractional)) @ lattice
    longest = float(np.sqrt(np.square(separations).sum(axis=1).max()))
    images = _lattice_points(lattice, inverse, split.cutoff_angstrom + longest) @ lattice
    for start in range(0, len(first), _PAIRS_PER_BLOCK):
        block = slice(start, start + _PAIRS_PER_BLOCK)
        is_self = first[block] == second[block]
        sums[block] += _real_block(separations[block], is_self, images, split)


def _real_block(
    separations: Float, is_self: NDArray[np.bool_], images: Float, split: _Split
) -> Float:
    """Sum the real-space series of some pairs: (pairs, 3)."""
    r_squared = separations @ (2 * images.T)
    r_squared += np.square(separations).sum(axis=1)[:, None]
    r_squared += np.square(images).sum(axis=1)
    r_squared[is_self, len(images) // 2] = np.inf  # the zero vector is the middle one
    pair, image = np.nonzero(r_squared <= split.cutoff_angstrom**2)
    found = r_squared[pair, image]
    if found.size and found.min() < _COINCIDENT_ANGSTROM**2:
        raise ValueError("two atoms coincide")
    terms = split.real_terms(found)
    sums: Float = np.empty((len(separations), 3))
    for column, term in enumerate(terms):
        sums[:, column] = np.bincount(pair, term, len(separations))
    sums[is_self] += split.self_terms()
    return sums
