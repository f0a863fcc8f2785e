import numpy as np
import torch
from scipy import special

from omnimat.modalities.structure.spherical_basis import (
    angular_parts,
    bessel_roots,
    envelope,
    legendre,
    radial_parts,
    spherical_bessel,
)


def test_bessel_functions_equal_scipys() -> None:
    # From half an angstrom at a cutoff of 7 angstrom; below, the recurrence loses digits.
    x = np.linspace(0.5 / 7 * np.pi, 40, 500)
    for order in range(7):
        given = spherical_bessel(order, torch.from_numpy(x[x > 0.15 * order]))
        expected = special.spherical_jn(order, x[x > 0.15 * order])
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-9)


def test_roots_are_the_first_of_each_order() -> None:
    roots = bessel_roots(7, 6)
    orders = np.arange(7)[:, None]
    np.testing.assert_allclose(special.spherical_jn(orders, roots), 0, atol=1e-12)
    # No root is missed: j_l is positive before the first root and changes its sign at each.
    between = np.concatenate([roots[:, :1] / 2, (roots[:, 1:] + roots[:, :-1]) / 2], axis=1)
    signs = np.sign(special.spherical_jn(orders, between))
    np.testing.assert_array_equal(signs, np.broadcast_to((-1.0) ** np.arange(6), (7, 6)))


def test_legendre_polynomials_equal_scipys() -> None:
    x = np.linspace(-1, 1, 101)
    expected = np.stack([special.eval_legendre(order, x) for order in range(7)], axis=1)
    np.testing.assert_allclose(legendre(7, torch.from_numpy(x)), expected, atol=1e-14)
    assert legendre(1, torch.from_numpy(x)).shape == (101, 1)


def test_the_radial_and_angular_functions_are_orthonormal() -> None:
    """Without the envelope, they are orthonormal over the unit ball and the sphere."""
    x, weights = np.polynomial.legendre.leggauss(200)
    r = torch.from_numpy(0.5 * (x + 1))
    parts = (radial_parts(r, 4, 3, 5) / envelope(r, 5)[:, None, None]).numpy()
    measure = 0.5 * weights * (0.5 * (x + 1)) ** 2
    for order in range(4):
        overlap = np.einsum("r,rn,rm->nm", measure, parts[:, order], parts[:, order])
        # The recurrence loses digits at the innermost points, but these have little weight.
        np.testing.assert_allclose(overlap, np.eye(3), atol=1e-6)
    harmonics = angular_parts(torch.from_numpy(x), 4).numpy()
    overlap = 2 * np.pi * np.einsum("x,xl,xk->lk", weights, harmonics, harmonics)
    np.testing.assert_allclose(overlap, np.eye(4), atol=1e-12)


def test_single_precision_is_good_to_its_last_digits() -> None:
    x = torch.linspace(0.1, 0.99, 200, dtype=torch.float64)
    exact, single = radial_parts(x, 7, 6, 5), radial_parts(x.float(), 7, 6, 5)
    assert single.dtype == torch.float32
    # The error is the rounding of x times the largest slope of a function, about 30.
    error = (single.double() - exact).abs().amax() / exact.abs().amax()
    assert float(error) < 3e-6


def test_the_envelope_ends_smoothly() -> None:
    x = torch.tensor([0.999, 1.0, 1.2], dtype=torch.float64, requires_grad=True)
    value = envelope(x, 5)
    slope = torch.autograd.grad(value.sum(), x)[0].abs().tolist()
    size = value.detach().abs().tolist()
    assert size[1:] == slope[1:] == [0, 0]
    # The third derivative at 1 is -336, so at a distance h before the end the value is 56 h^3 and
    # the slope 168 h^2.
    assert 0 < size[0] < 60 * 1e-9
    assert 0 < slope[0] < 180 * 1e-6
