"""Distances and angles as Bessel functions and Legendre polynomials (DimeNet, ICLR 2020, eq. 7-11).

The functions are elementary recurrences in the dtype of their arguments, so modules that use them
can be pickled and compiled, and autocast computes none of them in half precision.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import spherical_jn
from torch import Tensor


def envelope(x: Tensor, exponent: int) -> Tensor:
    """Return 1/x + a x^(p-1) + b x^p + c x^(p+1) with p = exponent + 1 for x < 1, and 0 beyond.

    At x = 1 the value and the first two derivatives are zero.
    """
    p = exponent + 1
    a, b, c = -(p + 1) * (p + 2) / 2, p * (p + 2), -p * (p + 1) / 2
    power = x**exponent
    return (1 / x + power * (a + x * (b + x * c))) * (x < 1)


def spherical_bessel(order: int, x: Tensor) -> Tensor:
    """Return j_order(x) for x > 0 by upward recurrence.

    Where x < order, rounding errors grow by (2 order - 1)!! / x^order, so pass float64.
    """
    below, value = torch.cos(x) / x, torch.sin(x) / x
    for lower in range(order):
        below, value = value, (2 * lower + 1) / x * value - below
    return value


def legendre(num_orders: int, x: Tensor) -> Tensor:
    """Return P_0(x), P_1(x), ... by recurrence.

    Args:
        num_orders: number of polynomials.
        x: values in [-1, 1], shape (...,).

    Returns:
        The polynomials, shape (..., num_orders).
    """
    values = [torch.ones_like(x), x]
    for order in range(1, num_orders - 1):
        values.append(((2 * order + 1) * x * values[-1] - order * values[-2]) / (order + 1))
    return torch.stack(values[:num_orders], dim=-1)


@functools.cache
def bessel_roots(num_orders: int, num_roots: int) -> NDArray[np.float64]:
    """Find the first positive roots of j_0, j_1, ..., shape (num_orders, num_roots).

    The roots of one order lie between those of the order below.
    """
    from scipy.optimize import brentq  # takes 0.4 s to import, and only this encoder needs it

    roots = np.pi * np.arange(1, num_roots + num_orders)
    rows = [roots[:num_roots]]
    for order in range(1, num_orders):
        function = functools.partial(spherical_jn, order)
        roots = np.array([brentq(function, *ends) for ends in itertools.pairwise(roots)])
        rows.append(roots[:num_roots])
    return np.stack(rows)


def radial_parts(x: Tensor, num_orders: int, num_roots: int, exponent: int) -> Tensor:
    """Return u(x) j_l(z_ln x) / norm for every order l and root z_ln, where u is the envelope.

    Args:
        x: distances divided by the cutoff, shape (edges,).
        num_orders: number of orders l, counted from 0.
        num_roots: number of roots n of each order.
        exponent: exponent of the envelope.

    Returns:
        The functions, computed in float64 and rounded to the dtype of ``x``, shape
        (edges, num_orders, num_roots).
    """
    wide = x.double()[:, None]
    roots, scales = _roots_and_scales(num_orders, num_roots, x.device)
    parts = [
        spherical_bessel(order, wide * roots[order]) * scales[order] for order in range(num_orders)
    ]
    return (torch.stack(parts, dim=1) * envelope(wide, exponent)[..., None]).to(x.dtype)


@functools.cache
def _roots_and_scales(
    num_orders: int, num_roots: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Give the roots and what normalises their functions, each (num_orders, num_roots) in float64.

    They stay on the device: to copy them there for each batch would make the host wait for it.
    """
    roots = bessel_roots(num_orders, num_roots)
    orders = np.arange(num_orders)[:, None]
    scales = np.sqrt(2) / np.abs(spherical_jn(orders + 1, roots))
    return torch.from_numpy(roots).to(device), torch.from_numpy(scales).to(device)


def angular_parts(cosines: Tensor, num_orders: int) -> Tensor:
    """Return the spherical harmonics Y_l0 of m cosines of angles, shape (m, num_orders)."""
    orders = torch.arange(num_orders, device=cosines.device, dtype=cosines.dtype)
    return legendre(num_orders, cosines) * torch.sqrt((2 * orders + 1) / (4 * torch.pi))
