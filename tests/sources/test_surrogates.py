import numpy as np
import pytest

from omnimat.materials.record import Structure
from omnimat.sources.surrogates import charge_density, density_of_states, has_surrogates


def make(numbers, coords, edge_angstrom=5.64):
    return Structure(
        edge_angstrom * np.eye(3), np.array(numbers, dtype=np.int32), np.array(coords, dtype=float)
    )


CESIUM_CHLORIDE = make([55, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], 4.12)


def test_the_mean_density_is_the_electron_count():
    # In CHGCAR units, the mean is the number of electrons; it is a float32 sum of 32,768 numbers.
    assert charge_density(CESIUM_CHLORIDE).mean(dtype=np.float64) == pytest.approx(72, rel=1e-5)


def test_density_peaks_on_the_heaviest_atom_and_moves_with_it():
    grid = charge_density(CESIUM_CHLORIDE)
    assert np.unravel_index(grid.argmax(), grid.shape) == (0, 0, 0)
    moved = make([55, 17], [[0.25, 0.5, 0.75], [0.75, 0, 0.25]], 4.12)
    np.testing.assert_allclose(
        charge_density(moved), np.roll(grid, (8, 16, 24), (0, 1, 2)), atol=1e-3 * grid.max()
    )


def test_density_has_the_symmetry_of_the_cell():
    grid = charge_density(CESIUM_CHLORIDE)
    np.testing.assert_allclose(grid, grid.transpose(1, 2, 0), atol=1e-5 * grid.max())


def test_density_decays_as_a_gaussian_smeared_atom():
    """Far from its images, hydrogen has the 1s density, convolved with the smearing."""
    edge = 9.6  # the spacing is 0.3 angstrom, equal to the narrowest smearing
    grid = charge_density(make([1], [[0, 0, 0]], edge)) / edge**3
    distances = np.arange(1, 8) * edge / 32
    bohr = 0.529177
    axis = np.linspace(-6, 6, 121)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    exact = np.exp(-2 * np.linalg.norm(points, axis=-1) / bohr) / (np.pi * bohr**3)
    kernel_norm = (2 * np.pi * 0.3**2) ** -1.5
    smeared = [
        (exact * kernel_norm * np.exp(-((points - [d, 0, 0]) ** 2).sum(-1) / (2 * 0.3**2))).sum()
        * 0.1**3
        for d in distances
    ]
    # The tabulated form factor is a fit of four Gaussians with an error below 3 % of the peak.
    np.testing.assert_allclose(grid[1:8, 0, 0], smeared, atol=0.03 * grid.max())


def test_half_of_the_electrons_are_below_the_fermi_level():
    dos = density_of_states(make([11], [[0, 0, 0]], 4.0))
    below = dos.energies_ev <= 0
    occupied = np.trapezoid(dos.spin_up_per_ev[below], dos.energies_ev[below])
    # In this window sodium has only 3s, with half an electron per spin. The trapezoidal rule has
    # steps of 0.05 eV at the Fermi level.
    assert occupied == pytest.approx(0.5, abs=0.01)
    assert dos.energies_ev.shape == (601,)


def test_closer_neighbours_make_wider_bands():
    narrow = density_of_states(make([11], [[0, 0, 0]], 5.0)).spin_up_per_ev.max()
    wide = density_of_states(make([11], [[0, 0, 0]], 3.0)).spin_up_per_ev.max()
    assert narrow > 1.5 * wide


def test_elements_without_tables_are_said_to_have_none():
    assert has_surrogates(np.array([1, 92], dtype=np.int32))
    assert not has_surrogates(np.array([1, 95], dtype=np.int32))
