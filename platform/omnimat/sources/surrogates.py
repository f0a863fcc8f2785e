"""Surrogates of a computed charge density and density of states, for demonstrations only.

Both follow from the structure by a simple model, so a network can learn to match them, but no
physical conclusions may be drawn from them. Every record that carries one says so in its
provenance.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Structure
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.xrd.scattering import scattering_coefficients, scattering_table

if TYPE_CHECKING:
    from pymatgen.core import Element
    from pymatgen.core import Structure as PymatgenStructure

NUM_GRID_POINTS = 32
MIN_SMEARING_ANGSTROM = 0.3
# The Mott-Bethe relation of electron and X-ray form factors is f_x = Z - 41.78214 s^2 f_e, where s
# is in 1/angstrom.
_MOTT_BETHE = 41.78214

NUM_ENERGIES = 601
LOWEST_ENERGY_EV, HIGHEST_ENERGY_EV = -20.0, 10.0
LIFETIME_BROADENING_EV = 0.3
# Harrison's universal scaling of a hopping integral is eta hbar^2 / (m d^2), here with eta = 0.5.
_HOPPING_EV_ANGSTROM2 = 0.5 * 7.62
_HOPPING_CUTOFF_ANGSTROM = 6.0
_ANGULAR_MOMENTUM = {"s": 0, "p": 1, "d": 2, "f": 3}


def has_surrogates(atomic_numbers: NDArray[np.int32]) -> bool:
    """Return whether the tables contain all of these elements."""
    from pymatgen.core import Element

    elements = [Element.from_Z(int(number)) for number in np.unique(atomic_numbers)]
    return all(_is_tabulated(element) for element in elements)


def charge_density(structure: Structure) -> NDArray[np.float32]:
    """Superpose independent atoms on a 32^3 fractional grid.

    The density is summed in reciprocal space from tabulated all-electron form factors. It is
    smeared by a Gaussian that is no narrower than the grid spacing, so its mean is the number of
    electrons.

    Returns:
        The density times the cell volume, as in a CHGCAR file, shape (32, 32, 32).
    """
    spacing = np.linalg.norm(structure.lattice_angstrom, axis=1).max() / NUM_GRID_POINTS
    smearing = max(MIN_SMEARING_ANGSTROM, float(spacing))
    orders = np.fft.fftfreq(NUM_GRID_POINTS, 1 / NUM_GRID_POINTS)
    half_orders = np.fft.rfftfreq(NUM_GRID_POINTS, 1 / NUM_GRID_POINTS)
    indices = np.stack(np.meshgrid(orders, orders, half_orders, indexing="ij"), axis=-1)
    squared = ((indices @ np.linalg.inv(structure.lattice_angstrom).T) ** 2).sum(axis=-1)
    amplitudes = np.zeros(squared.shape, dtype=np.complex128)
    for number in np.unique(structure.atomic_numbers):
        coords = structure.frac_coords[structure.atomic_numbers == number]
        waves = [
            np.exp(-2j * np.pi * np.outer(coords[:, axis], orders_of_axis))
            for axis, orders_of_axis in enumerate((orders, orders, half_orders))
        ]
        structure_factor = np.einsum("nh,nk,nl->hkl", *waves, optimize=True)
        amplitudes += _form_factor(int(number), squared) * structure_factor
    amplitudes *= np.exp(-2 * np.pi**2 * smearing**2 * squared)
    grid = np.fft.irfftn(amplitudes, s=(NUM_GRID_POINTS,) * 3, axes=(0, 1, 2))
    return (grid * NUM_GRID_POINTS**3).astype(np.float32)


def density_of_states(structure: Structure) -> DensityOfStates:
    """Broaden free-atom levels by the hopping of each atom to its neighbours.

    Occupied levels are the LDA levels of the neutral atom (NIST). The second moment of an atom's
    levels is the sum of its squared hopping integrals (Cyrot-Lackmann), so closer neighbours make
    wider bands. Half of the electrons fill the spin-up states up to the Fermi level, which is zero.

    Returns:
        The spin-up density in states per eV and cell, at 601 points from -20 to 10 eV.
    """
    widths = _band_widths_ev(to_pymatgen(structure))
    levels, sigmas, states, num_electrons = [], [], [], 0
    for number, width in zip(structure.atomic_numbers, widths, strict=True):
        for energy, degeneracy, occupancy in _atomic_levels(int(number)):
            levels.append(energy)
            sigmas.append(np.hypot(width, LIFETIME_BROADENING_EV))
            states.append(degeneracy)
            num_electrons += occupancy
    bands = np.array(levels), np.array(sigmas), np.array(states, dtype=np.float64)
    grid = np.linspace(LOWEST_ENERGY_EV, HIGHEST_ENERGY_EV, NUM_ENERGIES)
    curve = _density(grid + _fermi_level_ev(*bands, num_electrons / 2), *bands)
    return DensityOfStates(grid.astype(np.float32), curve.astype(np.float32))


@functools.cache
def _is_tabulated(element: Element) -> bool:
    orbitals = element.data.get("Atomic orbitals")
    return element.symbol in scattering_table() and isinstance(orbitals, dict)


def _form_factor(number: int, squared_per_angstrom2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the X-ray form factor at ``|g|^2`` (without 2 pi) from electron form factors."""
    s_squared = squared_per_angstrom2 / 4
    electron = sum(a * np.exp(-b * s_squared) for a, b in scattering_coefficients(number).T)
    return np.asarray(number - _MOTT_BETHE * s_squared * electron)


def _band_widths_ev(structure: PymatgenStructure) -> NDArray[np.float64]:
    centers, _, _, distances = structure.get_neighbor_list(_HOPPING_CUTOFF_ANGSTROM)
    hopping_ev = _HOPPING_EV_ANGSTROM2 / distances**2
    return np.sqrt(np.bincount(centers, weights=hopping_ev**2, minlength=len(structure)))


@functools.cache
def _atomic_levels(number: int) -> tuple[tuple[float, int, int], ...]:
    """Return the energy in eV, the spin-up states and the electrons of each occupied level."""
    from pymatgen.core import Element

    element = Element.from_Z(number)
    occupancies = {f"{n}{shell}": count for n, shell, count in element.full_electronic_structure}
    return tuple(
        (energy, 2 * _ANGULAR_MOMENTUM[orbital[-1]] + 1, occupancies.get(orbital, 0))
        for orbital, energy in sorted(element.atomic_orbitals_eV.items())
    )


def _fermi_level_ev(
    levels: NDArray[np.float64],
    sigmas: NDArray[np.float64],
    states: NDArray[np.float64],
    num_filled: float,
) -> float:
    """Find by bisection the energy below which ``num_filled`` states lie."""
    from scipy.special import ndtr

    low, high = float((levels - 10 * sigmas).min()), float((levels + 10 * sigmas).max())
    for _ in range(60):
        middle = (low + high) / 2
        if (states * ndtr((middle - levels) / sigmas)).sum() < num_filled:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _density(
    energies_ev: NDArray[np.float64],
    levels: NDArray[np.float64],
    sigmas: NDArray[np.float64],
    states: NDArray[np.float64],
) -> NDArray[np.float64]:
    offsets = (energies_ev[:, None] - levels) / sigmas
    return np.asarray(np.exp(-(offsets**2) / 2) @ (states / (sigmas * np.sqrt(2 * np.pi))))
