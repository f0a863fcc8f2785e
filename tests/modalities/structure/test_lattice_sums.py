import numpy as np
import pytest
from pymatgen.core import Structure

from omnimat.modalities.structure.lattice_sums import lattice_sums

COULOMB, LONDON, PAULI = 0, 1, 2
GEC_ANGSTROM = 4.3868 / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
GEC_FRACTIONAL = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
POTNET_WEIGHTS = np.array([-0.801, -0.074, 0.145])
# Looser than the largest error seen (4e-11), and far tighter than the effect of a wrong constant.
EXACT = 1e-9


def square(sums: np.ndarray, num_atoms: int) -> np.ndarray:
    full = np.empty((num_atoms, num_atoms, 3))
    i, j = np.triu_indices(num_atoms)
    full[i, j] = full[j, i] = sums
    return full


def direct_sums(crystal: Structure, radius: float, decay: float) -> np.ndarray:
    """Return the London and Pauli sums, added term by term over a sphere, shape (pairs, 2)."""
    extent = np.ceil(radius / np.array(crystal.lattice.abc) * 3).astype(int)
    images = np.indices(2 * extent + 1).reshape(3, -1).T - extent
    i, j = np.triu_indices(len(crystal))
    steps = crystal.frac_coords[i] - crystal.frac_coords[j]
    sums = []
    for step in steps:
        r = np.linalg.norm((images + step) @ crystal.lattice.matrix, axis=1)
        r = r[r < radius]
        sums.append((np.sum(r[r > 1e-9] ** -6.0), np.sum(np.exp(-decay * r))))
    return np.array(sums)


@pytest.mark.parametrize(
    ("scaling", "self_pauli", "cross_pauli"),
    [("exact", 1.0011, 0.0084), ("reference", 1.0484, 0.1267)],
)
def test_published_features_of_gec(scaling, self_pauli, cross_pauli):
    sums = lattice_sums(GEC_ANGSTROM, GEC_FRACTIONAL, pauli_scaling=scaling)
    printed = np.array([[-1.0451, 0.0162, self_pauli], [-0.2484, 0.0592, cross_pauli]])
    np.testing.assert_allclose(sums[:2], printed, atol=6e-5)  # published to four digits
    np.testing.assert_allclose(sums[:2] @ POTNET_WEIGHTS, printed @ POTNET_WEIGHTS, atol=1e-4)
    np.testing.assert_allclose(sums[2], sums[0], atol=EXACT)


def test_madelung_constant_of_rock_salt():
    sums = lattice_sums(GEC_ANGSTROM, GEC_FRACTIONAL)
    madelung = (sums[1, COULOMB] - sums[0, COULOMB]) * 4.3868 / 2
    assert madelung == pytest.approx(1.747564594633182, abs=1e-8)


def test_sixth_power_sums_of_gec():
    sums = lattice_sums(GEC_ANGSTROM, GEC_FRACTIONAL)
    # These were published to seven digits.
    assert sums[:2, LONDON] == pytest.approx([0.0162252, 0.0592270], abs=1e-7)


def test_equals_direct_summation(triclinic):
    sums = lattice_sums(triclinic.lattice.matrix, triclinic.frac_coords)
    radius = 60.0
    direct = direct_sums(triclinic, radius, decay=3.0)
    # Beyond the sphere add the integral of r^-6, exact up to the roughness of the sphere's surface.
    direct[:, 0] += 4 * np.pi / (3 * radius**3 * triclinic.volume)
    np.testing.assert_allclose(sums[:, LONDON], direct[:, 0], atol=1e-8)
    np.testing.assert_allclose(sums[:, PAULI], direct[:, 1], atol=EXACT)


@pytest.mark.parametrize("decay", [0.3, 1.0, 10.0])
def test_any_decay(triclinic, decay):
    sums = lattice_sums(
        triclinic.lattice.matrix, triclinic.frac_coords, pauli_decay_per_angstrom=decay
    )
    direct = direct_sums(triclinic, 90.0 if decay < 1 else 30.0, decay)
    # The sum beyond the sphere is exp(-0.3 * 90) * 90^2 / 100, or about 1e-9.
    np.testing.assert_allclose(sums[:, PAULI], direct[:, 1], atol=1e-8)


@pytest.mark.parametrize("copies", [(2, 1, 1), (2, 2, 2), (1, 1, 8)])
def test_supercell_sums_fold_to_those_of_the_cell(triclinic, copies):
    """Adding the sums over the copies of j in a supercell gives the sum of the cell.

    The integral is split at another point in a supercell, so this also checks every constant of
    both parts.
    """
    big = triclinic.make_supercell(copies, in_place=False)
    num_copies = int(np.prod(copies))
    num_atoms = len(triclinic)
    cell = square(lattice_sums(triclinic.lattice.matrix, triclinic.frac_coords), num_atoms)
    sums = square(lattice_sums(big.lattice.matrix, big.frac_coords), len(big))
    # The copies of an atom follow one another.
    folded = sums[::num_copies].reshape(num_atoms, num_atoms, num_copies, 3).sum(axis=2)
    np.testing.assert_allclose(folded, cell, atol=EXACT * num_copies)


def test_skewed_cell_equals_its_reduced_cell(triclinic):
    skew = np.array([[1, 0, 0], [9, 1, 0], [-7, 11, 1]])
    lattice = skew @ triclinic.lattice.matrix
    fractional = triclinic.cart_coords @ np.linalg.inv(lattice)
    np.testing.assert_allclose(
        lattice_sums(lattice, fractional),
        lattice_sums(triclinic.lattice.matrix, triclinic.frac_coords),
        atol=EXACT,
    )


@pytest.mark.parametrize("lengths", [(2.5, 2.5, 2.5), (3, 3, 30), (2.5, 2.5, 40), (20, 20, 20)])
def test_tolerance_is_kept(lengths):
    lattice = np.diag(np.array(lengths, dtype=float))
    fractional = np.array([[0, 0, 0], [0.31, 0.47, 0.11]])
    exact = lattice_sums(lattice, fractional, tolerance=1e-14)
    for tolerance in (1e-4, 1e-8, 1e-10):
        sums = lattice_sums(lattice, fractional, tolerance=tolerance)
        assert np.abs(sums - exact).max() < tolerance


def test_translation_and_image_do_not_matter(triclinic):
    shifted = triclinic.frac_coords + np.array([0.3, -0.2, 0.9])
    shifted[2] += [3, -5, 7]
    np.testing.assert_allclose(
        lattice_sums(triclinic.lattice.matrix, shifted),
        lattice_sums(triclinic.lattice.matrix, triclinic.frac_coords),
        atol=EXACT,
    )


def test_left_handed_cell(triclinic):
    swapped = triclinic.lattice.matrix[[1, 0, 2]]
    np.testing.assert_allclose(
        lattice_sums(swapped, triclinic.frac_coords[:, [1, 0, 2]]),
        lattice_sums(triclinic.lattice.matrix, triclinic.frac_coords),
        atol=EXACT,
    )


def test_blocks_do_not_change_the_sums(triclinic, monkeypatch):
    whole = lattice_sums(triclinic.lattice.matrix, triclinic.frac_coords)
    monkeypatch.setattr("omnimat.modalities.structure.lattice_sums._PAIRS_PER_BLOCK", 4)
    parts = lattice_sums(triclinic.lattice.matrix, triclinic.frac_coords)
    np.testing.assert_allclose(parts, whole, atol=1e-14)


def test_refuses_what_has_no_sum():
    with pytest.raises(ValueError, match="coincide"):
        lattice_sums(np.eye(3) * 4, np.array([[0, 0, 0], [1.0, 0, 0]]))
