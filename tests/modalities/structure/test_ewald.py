import numpy as np
import pytest
from pymatgen.core import Lattice
from scipy.integrate import quad

from omnimat.modalities.structure.ewald import (
    SummationPlan,
    compact_cells,
    pauli_decay,
    real_terms,
    reciprocal_weights,
    self_terms,
)
from omnimat.modalities.structure.lattice_sums import NUMPY

TRICLINIC = np.array([[4.1, 0.3, -0.2], [-1.2, 5.0, 0.4], [0.7, 1.1, 6.2]])
SKEWS = {
    "none": np.eye(3),
    "two axes": np.array([[1, 0, 0], [9, 1, 0], [-7, 11, 1]]),
    "extreme": np.array([[1, 0, 0], [1000, 1, 0], [-777, 431, 1]]),
    "left-handed": np.array([[0, 1, 0], [1, 0, 0], [3, -4, 1]]),
}


@pytest.mark.parametrize("decay", [0.5, 3.0])
@pytest.mark.parametrize("s", [0.2, 1.0])
def test_closed_forms_equal_their_integrals(decay, s):
    """Compare each part with its integral over t, below or above s, by quadrature."""
    r, g = 1.7, 0.4
    densities = (
        lambda t: t**-0.5 / np.sqrt(np.pi),
        lambda t: t**2 / 2,
        lambda t: decay / (2 * np.sqrt(np.pi)) * t**-1.5 * np.exp(-(decay**2) / (4 * t)),
    )

    def above(t, density):
        return density(t) * np.exp(-(r**2) * t)

    def below(t, density):
        return density(t) * (np.pi / t) ** 1.5 * np.exp(-((np.pi * g) ** 2) / t)

    real = real_terms(r**2, s, decay, NUMPY)
    reciprocal = reciprocal_weights(g**2, s, decay, 1.0, NUMPY)
    for column, density in enumerate(densities):
        integral = quad(above, s, np.inf, args=(density,), epsabs=1e-13)[0]
        assert real[column] == pytest.approx(integral, abs=1e-11)
        integral = quad(below, 0, s, args=(density,), epsabs=1e-13)[0]
        assert reciprocal[column] == pytest.approx(integral, abs=1e-11)


def test_the_self_terms_are_the_limit_of_no_distance():
    """As the distance goes to zero, compare the real part minus the bare potential.

    The Pauli potential is finite and is not subtracted.
    """
    s, decay, r = 0.7, 2.0, 1e-3
    coulomb, _, pauli = real_terms(r**2, s, decay, NUMPY)
    own = self_terms(s, decay, NUMPY)
    # The next terms are of order r.
    assert coulomb - 1 / r == pytest.approx(own[0], abs=2e-3)
    assert pauli == pytest.approx(own[2], abs=3e-3)
    # The limit of London needs a larger r, because 1/r^6 would drown it out.
    london = real_terms(0.1**2, s, decay, NUMPY)[1]
    assert london - 0.1**-6 == pytest.approx(own[1], rel=1e-2)


def test_incomplete_bessel_and_gamma_values():
    """K_1/2(0.3, 2), K_-2(0.7, 0) and Gamma(-3/2, 0.7) are known to ten digits."""
    decay = 2 * np.sqrt(2.0)
    real = real_terms(0.3, 1.0, decay, NUMPY)[2]
    assert real * 2 * np.sqrt(np.pi) / decay == pytest.approx(0.2205813854, abs=1e-10)
    pauli = reciprocal_weights(0.45 / np.pi**2, 1.0, 1.0, 1.0, NUMPY)[2]
    assert pauli * 2 / np.pi == pytest.approx(1.7228469723, abs=1e-10)
    london = reciprocal_weights(0.7 / np.pi**2, 1.0, 1.0, 1.0, NUMPY)[1]
    assert london * 2 / (np.pi * 0.7) ** 1.5 == pytest.approx(0.3333343441, abs=1e-10)


def test_the_reference_decay_falls_with_the_cell():
    assert pauli_decay(3.0, "exact", 50.0) == 3.0
    assert pauli_decay(3.0, "reference", 64.0) == pytest.approx(1.5)


@pytest.mark.parametrize("skew", SKEWS.values(), ids=SKEWS)
def test_compact_cells_span_the_same_lattice_and_are_reduced(skew):
    # The first cell spans the lattice of TRICLINIC, the second another one.
    lattices = np.stack([skew @ TRICLINIC, TRICLINIC @ skew.T / 10])
    plan = SummationPlan.of(lattices, np.array([1, 5]), 1e-8)
    cells = plan.cells_angstrom
    np.testing.assert_allclose(np.abs(np.linalg.det(plan.transforms)), 1, rtol=1e-6)
    # Multiples of 1000 cost three of sixteen digits.
    np.testing.assert_allclose(plan.transforms @ cells, lattices, rtol=0, atol=1e-9)
    lengths = np.linalg.norm(cells, axis=2)
    assert (np.diff(lengths) > -1e-9).all()
    for a, b, c in cells:
        across = b - (a @ b) / (a @ a) * a
        for vector, other in ((b, a), (c, a), (c, across)):
            assert abs(vector @ other) <= (0.5 + 2e-6) * other @ other


def test_vectors_of_equal_length_do_not_take_turns(monkeypatch):
    """In primitive cells of cubic F and I, rounding decides which of two vectors is shorter."""
    lattices = np.stack(
        [
            Lattice.from_parameters(*3 * [length], *3 * [angle]).matrix
            for length in np.arange(2.5, 9, 0.1)
            for angle in (60, np.degrees(np.arccos(-1 / 3)))
        ]
    )
    reduced = []
    for most_rounds in (5, 6, 7, 8):
        monkeypatch.setattr("omnimat.modalities.structure.ewald._MOST_ROUNDS", most_rounds)
        reduced.append(compact_cells(lattices))
    for cells in reduced[1:]:
        np.testing.assert_array_equal(cells, reduced[0])


def test_a_compact_cell_stays_as_it_is():
    np.testing.assert_array_equal(compact_cells(TRICLINIC[None])[0], TRICLINIC)


@pytest.mark.parametrize("lengths", [(1, 1, 1), (1, 1, 12), (0.3, 3, 3)])
def test_the_extents_hold_every_term_within_the_cutoffs(lengths):
    """Compare with all terms in a much larger box."""
    lattice = TRICLINIC * np.array(lengths)[:, None]
    plan = SummationPlan.of(lattice[None], np.array([4]), 1e-8)
    triples = np.indices((41, 41, 41)).reshape(3, -1).T - 20
    corners = np.array([[-0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0.2, -0.5, 0.4], [0, 0, 0]])
    for corner in corners:
        lengths_angstrom = np.linalg.norm((triples + corner) @ plan.cells_angstrom[0], axis=1)
        needed = triples[lengths_angstrom <= plan.cutoffs_angstrom[0]]
        assert (np.abs(needed).max(axis=0, initial=0) <= plan.real_extents[0]).all()
        longest = np.linalg.norm(needed @ plan.cells_angstrom[0], axis=1).max(initial=0)
        assert longest <= plan.image_radii_angstrom[0]
    waves = np.linalg.norm(triples @ plan.inverses[0].T, axis=1)
    needed = triples[waves <= plan.cutoffs_per_angstrom[0]]
    assert (np.abs(needed).max(axis=0, initial=0) <= plan.reciprocal_extents[0]).all()


@pytest.mark.parametrize("broken", [np.zeros((3, 3)), np.diag([1, 1, np.nan])])
def test_refuses_a_cell_without_volume(broken):
    with pytest.raises(ValueError, match="no volume"):
        SummationPlan.of(np.stack([TRICLINIC, broken]), np.array([1, 1]), 1e-8)
