"""Angles between the edges of a graph, at a cost that grows with the number of edges."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omnimat.modalities.structure.crystal_network import sum_at


def legendre_sums(
    parts: Tensor, directions: Tensor, index: Tensor, num_atoms: int, max_degree: int
) -> Tensor:
    """Sum Legendre polynomials of the angles between each edge and the edges at both of its ends.

    For an edge from i to j it gives sum_k p_ik P_l(cos kij) and sum_k p_jk P_l(cos kji), with the
    edge itself among them, by the addition theorem: the parts times harmonics are summed at each
    atom, so that the cost grows with the number of edges and not with that of their pairs.

    Args:
        parts: what each edge adds to the densities at its source, shape (edges, C).
        directions: unit vectors from source to target, shape (edges, 3).
        index: source and target of each edge, shape (2, edges).
        num_atoms: number of atoms.
        max_degree: highest degree L.

    Returns:
        The sums at source and target, shape (edges, 2 * C * (L + 1)).
    """
    values = harmonics(directions, max_degree)
    moments = sum_at((parts[:, :, None] * values[:, None]).flatten(1), index[0], num_atoms)
    degrees = [2 * degree + 1 for degree in range(max_degree + 1)]
    # Seen from the target, the edge points the other way, which turns the sign of odd degrees.
    parities = torch.cat([values.new_full((n,), (-1.0) ** (n // 2)) for n in degrees])
    sums = []
    for end, seen in zip(index, (values, values * parities), strict=True):
        at_end = moments.index_select(0, end).view(*parts.shape, values.shape[1]) * seen[:, None]
        sums += [part.sum(-1) for part in torch.split(at_end, degrees, dim=-1)]
    return torch.cat(sums, dim=-1)


def harmonics(directions: Tensor, max_degree: int) -> Tensor:
    """Compute real spherical harmonics, of which each degree has a sum of squares of one.

    Args:
        directions: unit vectors, shape (n, 3); a zero vector gives values that must not be used.
        max_degree: highest degree L, from 1 to 3.

    Returns:
        Shape (n, (L + 1)^2), in the order of degrees.
    """
    x, y, z = directions.unbind(-1)
    values = [torch.ones_like(x), x, y, z]
    if max_degree >= 2:
        values += [math.sqrt(3) * product for product in (x * y, y * z, x * z)]
        values += [math.sqrt(3) / 2 * (x * x - y * y), (3 * z * z - 1) / 2]
    if max_degree >= 3:
        values += [math.sqrt(3 / 8) * one * (5 * z * z - 1) for one in (x, y)]
        values += [math.sqrt(15) * x * y * z, math.sqrt(15) / 2 * z * (x * x - y * y)]
        values += [math.sqrt(5 / 8) * x * (x * x - 3 * y * y), z * (5 * z * z - 3) / 2]
        values += [math.sqrt(5 / 8) * y * (3 * x * x - y * y)]
    return torch.stack(values, dim=-1)
