"""Expands the sites of a CIF by its symmetry to the atoms of a cell."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnimat.formats.cif.sites import MAX_ATOMS, Site
from omnimat.formats.cif.symmetry import Operations
from omnimat.formats.crystals import ATOMIC_NUMBERS, OCCUPANCY_TOLERANCE, described, is_full

# Images of one site count as one atom where all their coordinates differ by less than six times
# the rounding of the coordinates: a rotation changes a coordinate by up to three others, of which
# each may be cut off and not rounded. It is at least pymatgen's tolerance, since computed positions
# are less exact than they are written, and at most what coordinates of three digits need.
_IMAGES_PER_ROUNDING = 6
_MIN_TOLERANCE, _MAX_TOLERANCE = 1e-4, 3e-3
_SAME = 1e-6


@dataclass(slots=True)
class Place:
    """A position and all that are equivalent to it.

    Attributes:
        labels: the sites of the file that are there.
        amounts: occupancy by symbol.
        images: fractional coordinates in [0, 1], shape (n, 3).
        site: the first of those sites.
    """

    labels: list[str]
    amounts: dict[str, float]
    images: NDArray[np.float64]
    site: Site


def expanded(sites: list[Site], operations: Operations) -> list[Place]:
    """Return the places of a cell, ordered by electronegativity and symbol, as pymatgen does.

    Places of one element stay in the order of the file, and images in that of the operations.
    Partial occupancies on the same place are added up. Different sites are never merged.

    Raises:
        ValueError: there are too many atoms, sites lie upon each other, or a position is neither
            special nor general.
    """
    places: list[Place] = []
    count, is_ordered = 0, all(site.occupancy == 1 for site in sites)
    for site in sites:
        place = _place(site, operations)
        count += len(place.images)
        if count > MAX_ATOMS:
            raise ValueError(f"too many atoms: more than {MAX_ATOMS} in a cell")
        if is_ordered or not _joins(place, places):
            places.append(place)
    _refuse_coincidence(places)
    return sorted(places, key=_rank)


def _place(site: Site, operations: Operations) -> Place:
    images = site.position[np.newaxis]
    if len(operations) > 1:
        images = _distinct(site, operations)
    return Place([site.label], {site.symbol: site.occupancy}, images - np.floor(images), site)


def _tolerance(site: Site) -> float:
    return min(max(_IMAGES_PER_ROUNDING * site.rounding, _MIN_TOLERANCE), _MAX_TOLERANCE)


def _distinct(site: Site, operations: Operations) -> NDArray[np.float64]:
    """Move a site onto the special position next to it, and return its distinct images.

    The special position is the mean of the images that lie next to the site. Those of the
    operations that lead there form a group, whose order divides that of the whole. What a file
    gives as multiplicity is this order in many that SHELX-97 wrote.
    """
    images = operations.rotations @ site.position + operations.translations
    shifts = np.round(site.position - images)
    near = np.abs(site.position - images - shifts).max(axis=1) < _tolerance(site)
    num_near = int(near.sum())
    if num_near > 1:
        special = (images[near] + shifts[near]).mean(axis=0)
        images = operations.rotations @ special + operations.translations
        images = images[_first_of_each(images)]
    if len(images) * num_near != len(operations):
        raise ValueError(
            f"unclear position: {site.label} lies next to a special position, but not on it"
        )
    if site.multiplicity not in {None, len(images), num_near}:
        raise ValueError(
            f"contradicting multiplicity: {site.label} has {len(images)} equivalent positions in "
            f"the cell, the file says {site.multiplicity}"
        )
    return images


def _first_of_each(images: NDArray[np.float64]) -> list[int]:
    """Return the indices of images that are not the same as one before."""
    kept: list[int] = []
    for index, image in enumerate(images):
        difference = images[kept] - image
        if not (np.abs(difference - np.round(difference)).max(axis=1) < _SAME).any():
            kept.append(index)
    return kept


def _joins(place: Place, places: list[Place]) -> bool:
    """Add what a place holds to an earlier one at the same position, if there is one."""
    position = place.images[0]
    for other in places:
        difference = other.images - position
        tolerance = max(_tolerance(place.site), _tolerance(other.site))
        if (np.abs(difference - np.round(difference)).max(axis=1) < tolerance).any():
            break
    else:
        return False
    labels = [*other.labels, *place.labels]
    if len(other.images) != len(place.images):
        raise ValueError(f"unclear position: {' and '.join(labels)} nearly share a place")
    for symbol, amount in place.amounts.items():
        other.amounts[symbol] = other.amounts.get(symbol, 0.0) + amount
    other.labels = labels
    if (total := sum(other.amounts.values())) > 1 + OCCUPANCY_TOLERANCE:
        kind = "overlapping atoms" if is_full(place.amounts) else "occupancy above 1"
        raise ValueError(
            f"{kind}: {', '.join(labels)} share a place that holds {described(other.amounts)}, "
            f"in all {total:g}"
        )
    return True


def _refuse_coincidence(places: list[Place]) -> None:
    images = np.mod(np.round(np.concatenate([place.images for place in places]), 5), 1.0).tolist()
    if len(set(map(tuple, images))) == len(images):
        return
    labels = [place.labels[0] for place in places for _ in place.images]
    seen: dict[tuple[float, ...], str] = {}
    for image, label in zip(images, labels, strict=True):
        other = seen.setdefault(tuple(image), label)
        if other != label:
            raise ValueError(f"overlapping atoms: {other} and {label} share a place")


def _rank(place: Place) -> tuple[float, list[str]]:
    total = sum(place.amounts.values())
    known = _electronegativities()
    mean = sum(known[one] * amount for one, amount in place.amounts.items()) / total
    return mean, list(place.amounts)


@functools.cache
def _electronegativities() -> dict[str, float]:
    """Return what pymatgen knows; elements without one come first."""
    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns where it knows none
        known = {symbol: float(Element(symbol).X) for symbol in ATOMIC_NUMBERS}
    return {symbol: value if value == value else -np.inf for symbol, value in known.items()}
