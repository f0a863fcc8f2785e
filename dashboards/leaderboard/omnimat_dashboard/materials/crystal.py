"""A picture of a crystal: the atoms of one cell, the bonds between them, and the cell's edges.

The server draws it as SVG, so that it is there without a script; ``static/crystal.js`` turns it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from markupsafe import Markup, escape
from numpy.typing import NDArray

from omnimat.materials.record import Structure

Float = NDArray[np.float64]
Whole = NDArray[np.int64]

MAX_ATOMS = 400  # with their images; the picture of more is a blot
_MAX_BONDED = 250  # atoms between which bonds are sought
_ON_FACE = 0.02  # as a fraction of an edge: such an atom is drawn on both faces
_BOND_REACH = 1.15  # times the sum of the covalent radii
_LEAST_BOND_ANGSTROM = 0.5
_BALL = 0.45  # of the covalent radius
# Where any of these is in a crystal, two metals beside each other are not drawn as bonded.
_NON_METALS = np.array(
    [1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 33, 34, 35, 36, 52, 53, 54, 85, 86]
)
_PIECES = 6  # of an edge
_CORNERS = np.array(list(product((0.0, 1.0), repeat=3)))
_EDGES = [
    (a, b)
    for a in range(8)
    for b in range(a + 1, 8)
    if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 1
]
# Somewhat from above and from the side, c upwards, so that no face hides another.
_AROUND_C_DEGREE, _AROUND_X_DEGREE = -24.0, -78.0


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn of a crystal, around the centre of its cell.

    Attributes:
        atoms_angstrom: (n, 3) places of the atoms and of their images on opposite faces.
        atomic_numbers: (n,) their elements.
        bonds: (m, 2) pairs of atoms that are near enough for a bond.
        corners_angstrom: (8, 3) corners of the cell.
    """

    atoms_angstrom: Float
    atomic_numbers: Whole
    bonds: Whole
    corners_angstrom: Float

    @property
    def radius_angstrom(self) -> float:
        """How far anything reaches from the centre, whichever way the crystal is turned."""
        reach = np.linalg.norm(self.atoms_angstrom, axis=1) + _radii(self.atomic_numbers)
        corners = np.linalg.norm(self.corners_angstrom, axis=1)
        return float(max(reach.max(initial=0.0), corners.max()))

    @property
    def elements(self) -> list[int]:
        """The atomic numbers of the elements, each once."""
        return sorted(set(self.atomic_numbers.tolist()))


def picture_of(structure: Structure) -> Picture | None:
    """Lay out one cell of a crystal; None if it has too many atoms for a picture."""
    if not 0 < len(structure.atomic_numbers) <= MAX_ATOMS:
        return None
    places, elements = _with_images(structure)
    if len(places) > MAX_ATOMS:
        places = structure.frac_coords % 1.0
        elements = structure.atomic_numbers.astype(np.int64)
    atoms = (places - 0.5) @ structure.lattice_angstrom
    return Picture(
        atoms_angstrom=atoms,
        atomic_numbers=elements,
        bonds=_bonds(atoms, elements),
        corners_angstrom=(_CORNERS - 0.5) @ structure.lattice_angstrom,
    )


def svg(picture: Picture, label: str, css_class: str = "crystal") -> Markup:
    """Draw a crystal as it is seen at first, what is behind before what is in front."""
    half = picture.radius_angstrom
    atoms, corners = _turned(picture.atoms_angstrom), _turned(picture.corners_angstrom)
    radii = _radii(picture.atomic_numbers)
    edges = [piece for a, b in _EDGES for piece in _pieces(corners[a], corners[b])]
    bonds = [_between(atoms[pair], radii[pair]) for pair in picture.bonds]
    lines = [(ends, "edge") for ends in edges] + [(ends, "bond") for ends in bonds]
    shapes = [(float(ends[:, 2].mean()), _line(ends, kind)) for ends, kind in lines]
    # What is nearer than the middle of an atom may still be within it.
    shapes += [
        (float(place[2] + radius), _ball(place, number))
        for place, radius, number in zip(atoms, radii, picture.atomic_numbers.tolist(), strict=True)
    ]
    drawn = "".join(shape for _, shape in sorted(shapes, key=lambda pair: pair[0]))
    return Markup(
        f'<svg class="{css_class}" role="img" aria-label="{escape(label)}" '
        f'viewBox="{-half:.2f} {-half:.2f} {2 * half:.2f} {2 * half:.2f}">{drawn}</svg>'
    )


def data(picture: Picture) -> dict[str, Any]:
    """Give what the page's script needs to draw the same crystal turned."""
    return {
        "atoms": picture.atoms_angstrom.round(3).tolist(),
        "elements": picture.atomic_numbers.tolist(),
        "bonds": picture.bonds.tolist(),
        "corners": picture.corners_angstrom.round(3).tolist(),
        "edges": _EDGES,
        "pieces": _PIECES,
        "looks": {number: look(number) for number in picture.elements},
        "turn": _rotation().round(6).tolist(),
    }


@cache
def look(atomic_number: int) -> dict[str, Any]:
    """Say how the atoms of an element are drawn; colours are those of Jmol."""
    colour = jmol_colors[min(atomic_number, len(jmol_colors) - 1)]
    red, green, blue = (round(255 * one) for one in colour)
    radius = round(float(_radii(np.array([atomic_number]))[0]), 3)
    symbol = chemical_symbols[atomic_number]
    return {"symbol": symbol, "colour": f"#{red:02x}{green:02x}{blue:02x}", "radius": radius}


def _radii(atomic_numbers: Whole) -> Float:
    """Give the drawn radius of each atom in angstrom, (n,)."""
    radii: Float = _BALL * covalent_radii[np.minimum(atomic_numbers, len(covalent_radii) - 1)]
    return radii


def _with_images(structure: Structure) -> tuple[Float, Whole]:
    """Give fractional places and elements, atoms on a face, edge or corner on each of them."""
    inside = structure.frac_coords - np.floor(structure.frac_coords)
    places, elements = [], []
    for place, number in zip(inside, structure.atomic_numbers, strict=True):
        for image in product(*(_repeats(float(one)) for one in place)):
            places.append(place + image)
            elements.append(number)
    return np.array(places), np.array(elements, dtype=np.int64)


def _repeats(fraction: float) -> tuple[float, ...]:
    if fraction < _ON_FACE:
        return (0.0, 1.0)
    return (0.0, -1.0) if fraction > 1 - _ON_FACE else (0.0,)


def _bonds(atoms: Float, elements: Whole) -> Whole:
    """Find the pairs of atoms that touch, (m, 2)."""
    if len(atoms) > _MAX_BONDED:
        return np.empty((0, 2), dtype=np.int64)
    distances = np.linalg.norm(atoms[:, None] - atoms[None], axis=2)
    radii = covalent_radii[elements]
    near = distances < _BOND_REACH * (radii[:, None] + radii[None])
    is_metal = ~np.isin(elements, _NON_METALS)
    if not is_metal.all():
        near &= ~(is_metal[:, None] & is_metal[None])
    return np.argwhere(np.triu(near & (distances > _LEAST_BOND_ANGSTROM), 1))


def _rotation() -> Float:
    """Give the matrix that turns rows of places as they are seen at first."""
    a, b = np.radians([_AROUND_C_DEGREE, _AROUND_X_DEGREE])
    around_c = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
    around_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    rotation: Float = around_c @ around_x
    return rotation


def _turned(places: Float) -> Float:
    """Turn places; the first two columns are those of the screen, x to the right and y down."""
    turned = places @ _rotation()
    seen: Float = turned * np.array([1.0, -1.0, 1.0])
    return seen


def _pieces(start: Float, end: Float) -> list[Float]:
    """Cut an edge of the cell up, since one end may be behind an atom and the other before it."""
    steps = np.linspace(start, end, _PIECES + 1)
    return [steps[place : place + 2] for place in range(_PIECES)]


def _between(ends: Float, radii: Float) -> Float:
    """Shorten the line between two atoms to what is seen outside both."""
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    outside: Float = ends + along * np.array([[radii[0]], [-radii[1]]])
    return outside


def _line(ends: Float, css_class: str) -> str:
    (x1, y1, _), (x2, y2, _) = ends
    return f'<path class="{css_class}" d="M{x1:.2f} {y1:.2f}L{x2:.2f} {y2:.2f}"/>'


def _ball(place: Float, atomic_number: int) -> str:
    drawn = look(atomic_number)
    return (
        f'<circle class="atom" cx="{place[0]:.2f}" cy="{place[1]:.2f}" r="{drawn["radius"]:.2f}" '
        f'fill="{drawn["colour"]}"/>'
    )
