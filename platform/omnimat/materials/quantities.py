"""Which names of properties mean the same quantity, though tables write them in different ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

# What says how a quantity was measured or written down, and not which it is. A PBE value is what a
# name without a functional means; another functional makes another quantity.
_NOTATIONS = ("log", "log10", "ln", "per", "atom", "vrh", "hill", "pbe", "mp", "scaled")
_UNITS = ("ev", "mev", "gpa", "mpa", "k", "g", "kg", "cm3", "m3", "angstrom", "angstrom3", "degree")
_ASIDE = frozenset((*_NOTATIONS, *_UNITS))
_SHORT: Mapping[str, str] = MappingProxyType({"e": "energy", "form": "formation", "vol": "volume"})

# Quantities that follow from another one.
_IMPLIED: Mapping[frozenset[str], tuple[str, ...]] = MappingProxyType(
    {
        frozenset({"space", "group", "number"}): ("crystal_system",),
        frozenset({"elastic", "lower", "5x5"}): ("bulk_modulus", "shear_modulus"),
        frozenset({"elastic", "lower", "6x6"}): ("bulk_modulus", "shear_modulus"),
        frozenset({"volume"}): ("density",),
        frozenset({"density"}): ("volume",),
    }
)


def revealed(shown: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Find those properties that others reveal: by the same name, a synonym or an implication.

    Args:
        shown: names of properties that are shown.
        wanted: names of properties that should not be.

    Returns:
        For each wanted property that is revealed, a shown one that reveals it.
    """
    by_quantity: dict[frozenset[str], str] = {}
    for name in sorted(shown):
        own = _quantity(name)
        for one in (own, *map(_quantity, _IMPLIED.get(own, ()))):
            by_quantity.setdefault(one, name)
    found = {name: by_quantity.get(_quantity(name)) for name in sorted(wanted)}
    return {name: by for name, by in found.items() if by is not None}


def _quantity(name: str) -> frozenset[str]:
    """Give the words of a name that say which quantity it is."""
    words = name.lower().split("_")
    own = frozenset(_SHORT.get(word, word) for word in words if word not in _ASIDE)
    return own or frozenset({name})
