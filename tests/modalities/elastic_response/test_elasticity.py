"""Stiffness and its averages against crystals whose answers are known in closed form."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from omnimat.modalities.elastic_response.elasticity import (
    Moduli,
    derivatives,
    kelvin_basis,
    reuss,
    stiffness,
    strains,
    voigt,
)

# Copper's elastic constants in GPa.
C11, C12, C44 = 168.4, 121.4, 75.4


def cubic(c11=C11, c12=C12, c44=C44):
    """Give a cubic stiffness, which is diagonal in this basis; shear counts twice."""
    return np.diag([c11 + 2 * c12] + [c11 - c12] * 2 + [2 * c44] * 3)


def stresses_of(stiffness_gpa, applied):
    """Give the stresses of a linear crystal."""
    basis = kelvin_basis()
    components = np.einsum("aij,mij->ma", basis, applied)
    return np.einsum("ma,ab,bij->mij", components, stiffness_gpa, basis)


def test_the_basis_is_orthonormal():
    basis = kelvin_basis()
    np.testing.assert_allclose(np.einsum("aij,bij->ab", basis, basis), np.eye(6), atol=1e-15)


def test_a_cubic_stiffness_gives_the_stresses_of_voigts_constants():
    along_x = stresses_of(cubic(), np.diag([1.0, 0, 0])[None])[0]
    np.testing.assert_allclose(along_x, np.diag([C11, C12, C12]), atol=1e-12)
    shear = np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(stresses_of(cubic(), shear[None])[0], 2 * C44 * shear, atol=1e-12)


def test_a_linear_crystal_gives_its_stiffness_whatever_its_stress_at_rest():
    at_rest = np.diag([1.0, -2.0, 3.0])
    stresses = at_rest + stresses_of(cubic(), strains(0.01))
    np.testing.assert_allclose(stiffness(stresses, 0.01), cubic(), atol=1e-10)
    np.testing.assert_allclose(derivatives(strains(0.01), 0.01), kelvin_basis(), atol=1e-14)


def test_averages_of_a_cubic_crystal_are_those_of_hill():
    bulk = (C11 + 2 * C12) / 3
    shear = (C11 - C12) / 2
    assert voigt(cubic()) == pytest.approx(Moduli(bulk, (2 * shear + 3 * C44) / 5))
    assert reuss(cubic()) == pytest.approx(Moduli(bulk, 5 / (2 / shear + 3 / C44)))


def test_averages_of_an_isotropic_crystal_agree():
    isotropic = cubic(c44=(C11 - C12) / 2)
    assert voigt(isotropic) == pytest.approx(reuss(isotropic))


def test_axes_do_not_matter():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    given = root @ root.T + np.eye(6)  # triclinic
    turn = Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    turned = turn.T @ strains(0.01) @ turn
    stresses = turn @ stresses_of(given, turned) @ turn.T
    rotated = stiffness(stresses, 0.01)
    assert np.abs(rotated - given).max() > 0.1
    np.testing.assert_allclose(np.linalg.eigvalsh(rotated), np.linalg.eigvalsh(given), atol=1e-9)
    assert voigt(rotated) == pytest.approx(voigt(given))
    assert reuss(rotated) == pytest.approx(reuss(given))


def test_what_gives_way_has_no_average_at_uniform_stress():
    soft = cubic(c44=-1.0)
    assert reuss(soft) is None
    assert voigt(soft).shear < voigt(cubic()).shear
