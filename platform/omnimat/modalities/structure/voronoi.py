"""Neighbours that share a face with the Voronoi cell of an atom.

The cell of an atom at the origin is the set of points x that are no nearer to any other atom p:
x . q <= 1 with q = 2 p / |p|^2. So it is the polar dual of the convex hull of all q. A vertex of
the hull stands for a face of the cell, and a facet n . q = d of the hull for the corner n / d.

It is enough to know the atoms within a radius R if no corner of the cell that they make is farther
than R / 2: the plane halfway to an atom beyond R is farther than R / 2 everywhere, and cuts nothing
off. Images of the atom itself along each lattice vector always take part, so no cell is open.

A face lies in the plane halfway between two atoms, which mirrors one into the other. So both see it
under the same solid angle, and what is large enough for one is large enough for the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Structure
from omnimat.modalities.structure.neighbors import Float, Int, Neighbors, within

# Corners of a simplex, and for each the two sides of the simplex that end there.
_CORNERS, _SIDES = [0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]
# A first radius within which most solids have all that cuts their cells.
_FIRST_RADIUS_ANGSTROM = 5.0
_RADIUS_GROWTH = 2.0


def sharing_faces(structure: Structure, min_fraction: float) -> Neighbors:
    """Find the images with which each atom shares a face of its Voronoi cell that is large enough.

    Args:
        structure: a crystal of at least one atom.
        min_fraction: smallest solid angle of a face, as a fraction of the full one, 4 pi.

    Raises:
        ValueError: atoms coincide, or a cell reaches so far that too many atoms are near.
    """
    radius = _FIRST_RADIUS_ANGSTROM
    while True:
        near = _surroundings(structure, radius)
        vectors = near.vectors_angstrom(structure)
        fractions, reach = solid_angles(vectors, np.bincount(near.centers))
        if 2 * reach <= radius:
            return near.where(fractions >= min_fraction)
        radius = min(2 * reach, _RADIUS_GROWTH * radius)


def _surroundings(structure: Structure, radius: float) -> Neighbors:
    """Find all neighbours within the radius, and farther images of each atom that enclose it."""
    found = within(structure, radius)
    shifts = np.concatenate([np.eye(3, dtype=np.int64), -np.eye(3, dtype=np.int64)])
    lengths = np.linalg.norm(shifts @ structure.lattice_angstrom, axis=1)
    shifts, lengths = shifts[lengths > radius], lengths[lengths > radius]
    num_atoms = len(structure.atomic_numbers)
    own = np.repeat(np.arange(num_atoms), len(shifts))
    joined = Neighbors(
        np.concatenate([found.centers, own]),
        np.concatenate([found.neighbors, own]),
        np.concatenate([found.images, np.tile(shifts, (num_atoms, 1))]),
        np.concatenate([found.distances, np.tile(lengths, num_atoms)]),
    )
    return joined.where(np.argsort(joined.centers, kind="stable"))


def solid_angles(vectors_angstrom: Float, counts: Int) -> tuple[Float, float]:
    """Compute how large the faces of Voronoi cells are.

    Args:
        vectors_angstrom: from atoms to points around each of them, those of one atom after those of
            another, shape (n, 3).
        counts: how many points belong to each atom, shape (atoms,).

    Returns:
        The solid angle of the face towards each point as a fraction of 4 pi, 0 where there is none,
        shape (n,); and how far the farthest corner of a cell is from its atom in angstrom.

    Raises:
        ValueError: an atom is not enclosed by its points, so that its cell is open.
    """
    corners, faces, sides = _cells(vectors_angstrom, counts)
    ends = faces.ravel()
    middles = np.zeros_like(vectors_angstrom)
    np.add.at(middles, ends, corners.repeat(3, axis=0))
    middles /= np.bincount(ends, minlength=len(middles))[:, None].clip(min=1)
    # A face is made of triangles between its middle and two corners. Each is met from both corners.
    owners = faces[:, _CORNERS].ravel()
    angles = _of_triangles(
        middles[owners], corners.repeat(len(_SIDES), axis=0), corners[sides[:, _SIDES].ravel()]
    )
    totals = np.bincount(owners, weights=angles, minlength=len(middles))
    return totals / (2 * 4 * np.pi), float(np.linalg.norm(corners, axis=1).max())


def _cells(vectors_angstrom: Float, counts: Int) -> tuple[Float, Int, Int]:
    """Find all corners of the cells.

    Returns:
        Where they are, (corners, 3); the points to whose faces each belongs, (corners, 3); and the
        corners to which its edges lead, each opposite to a face, (corners, 3). Where more than
        three faces meet there are several corners at one place.
    """
    from scipy.spatial import ConvexHull, QhullError  # trainers need no hulls

    squared = (vectors_angstrom**2).sum(axis=1, keepdims=True)
    corners, faces, sides = [], [], []
    num_points = num_corners = 0
    for duals in np.split(2 * vectors_angstrom / squared, np.cumsum(counts)[:-1]):
        try:
            hull = ConvexHull(duals)
        except QhullError as error:
            raise ValueError("the Voronoi cell of an atom is open or flat") from error
        if hull.equations[:, 3].max() >= 0:
            raise ValueError("the Voronoi cell of an atom is open")
        corners.append(hull.equations[:, :3] / -hull.equations[:, 3:])
        faces.append(hull.simplices + num_points)
        sides.append(hull.neighbors + num_corners)
        num_points += len(duals)
        num_corners += len(hull.simplices)
    return np.concatenate(corners), np.concatenate(faces), np.concatenate(sides)


def _of_triangles(a: Float, b: Float, c: Float) -> Float:
    """Return the solid angles of triangles (Van Oosterom and Strackee, IEEE BME-30, 125, 1983)."""
    volumes = np.abs((a * np.cross(b, c)).sum(axis=1))
    lengths = [np.linalg.norm(one, axis=1) for one in (a, b, c)]
    products = [(b * c).sum(axis=1), (c * a).sum(axis=1), (a * b).sum(axis=1)]
    cosines = lengths[0] * lengths[1] * lengths[2]
    cosines += sum(x * y for x, y in zip(lengths, products, strict=True))
    angles: NDArray[np.float64] = 2 * np.arctan2(volumes, cosines)
    return angles
