"""Infinite lattice sums of pair potentials in NumPy: the long-range edges of PotNet.

``ewald.py`` explains the mathematics; ``batched_sums.py`` sums the same series for many crystals at
once in torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, erfc, erfcx

from omnimat.modalities.structure.ewald import (
    TOLERANCE,
    Float,
    Functions,
    PauliScaling,
    SummationPlan,
    background_terms,
    pauli_decay,
    real_terms,
    reciprocal_weights,
    self_terms,
)

NUMPY = Functions(np.sqrt, np.exp, erf, erfc, erfcx)

_COINCIDENT_ANGSTROM = 1e-3
_PAIRS_PER_BLOCK = 20_000


def lattice_sums(
    lattice_angstrom: Float,
    frac_coords: Float,
    pauli_decay_per_angstrom: float = 3.0,
    pauli_scaling: PauliScaling = "exact",
    tolerance: float = TOLERANCE,
) -> Float:
    """Sum three pair potentials over all periodic images of every pair of atoms.

    Args:
        lattice_angstrom: cell with rows a, b, c, shape (3, 3); any cell of the lattice gives the
            same sums.
        frac_coords: fractional coordinates of the N atoms, shape (N, 3).
        pauli_decay_per_angstrom: decay constant alpha of the Pauli term.
        pauli_scaling: how this decay depends on the cell, see ``ewald.pauli_decay``.
        tolerance: absolute error allowed in each sum, in the unit of that sum.

    Returns:
        The sums of all pairs i <= j (row-major upper triangle), float64, shape (N(N+1)/2, 3). The
        columns are Coulomb in 1/A, London in 1/A^6 and Pauli (no unit).

    Raises:
        ValueError: the cell has no volume, or two atoms coincide.
    """
    lattice = np.asarray(lattice_angstrom, dtype=np.float64)
    plan = SummationPlan.of(lattice[None], np.array([len(frac_coords)]), tolerance)
    fractional = frac_coords @ plan.transforms[0]
    decay = pauli_decay(pauli_decay_per_angstrom, pauli_scaling, float(plan.volumes[0]))
    sums = _reciprocal_part(fractional, plan, decay)
    _add_real_part(sums, fractional, plan, decay)
    return sums


def _lattice_points(lattice: Float, extent: NDArray[np.int64], radius: float) -> Float:
    """List the integer triples n within the extent with |n @ lattice| <= radius, shape (m, 3)."""
    grid = np.indices(tuple(2 * extent + 1)).reshape(3, -1).T - extent
    inside = np.square(grid @ lattice).sum(axis=1) <= radius**2
    points: Float = grid[inside].astype(np.float64)
    return points


def _reciprocal_part(fractional: Float, plan: SummationPlan, decay: float) -> Float:
    """Sum over g by a matrix product, as cos(2 pi g.(r_i - r_j)) = Re(S_gi conj(S_gj))."""
    reciprocal, s, volume = plan.inverses[0].T, plan.splits[0], plan.volumes[0]
    cutoff = float(plan.cutoffs_per_angstrom[0])
    points = _lattice_points(reciprocal, plan.reciprocal_extents[0], cutoff)
    half = points[len(points) // 2 + 1 :]  # g and -g mirror each other about the middle, g = 0
    g_squared = np.square(half @ reciprocal).sum(axis=1)
    weights = reciprocal_weights(g_squared, s, decay, volume, NUMPY)
    phase = (2 * np.pi) * fractional @ half.T
    waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    upper = np.triu_indices(len(fractional))
    background = background_terms(s, decay, volume, NUMPY)
    sums = np.empty((len(upper[0]), 3))
    for column, weight in enumerate(weights):
        product = (waves * np.concatenate([2 * weight, 2 * weight])) @ waves.T
        sums[:, column] = product[upper] + background[column]
    return sums


def _add_real_part(sums: Float, fractional: Float, plan: SummationPlan, decay: float) -> None:
    """Add the real-space series to ``sums``, in blocks of pairs to limit memory."""
    first, second = np.triu_indices(len(fractional))
    steps = fractional[first] - fractional[second]
    cell, radius = plan.cells_angstrom[0], float(plan.image_radii_angstrom[0])
    separations = (steps - np.round(steps)) @ cell
    images = _lattice_points(cell, plan.real_extents[0], radius) @ cell
    for start in range(0, len(first), _PAIRS_PER_BLOCK):
        block = slice(start, start + _PAIRS_PER_BLOCK)
        is_self = first[block] == second[block]
        sums[block] += _real_block(separations[block], is_self, images, plan, decay)


def _real_block(
    separations: Float,
    is_self: NDArray[np.bool_],
    images: Float,
    plan: SummationPlan,
    decay: float,
) -> Float:
    """Sum the real-space series of some pairs, shape (pairs, 3)."""
    r_squared = separations @ (2 * images.T)
    r_squared += np.square(separations).sum(axis=1)[:, None]
    r_squared += np.square(images).sum(axis=1)
    r_squared[is_self, len(images) // 2] = np.inf  # the zero vector is the middle one
    pair, image = np.nonzero(r_squared <= plan.cutoffs_angstrom[0] ** 2)
    found = r_squared[pair, image]
    if found.size and found.min() < _COINCIDENT_ANGSTROM**2:
        raise ValueError("two atoms coincide")
    terms = real_terms(found, plan.splits[0], decay, NUMPY)
    sums: Float = np.empty((len(separations), 3))
    for column, term in enumerate(terms):
        sums[:, column] = np.bincount(pair, term, len(separations))
    sums[is_self] += self_terms(plan.splits[0], decay, NUMPY)
    return sums
