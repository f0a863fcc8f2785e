"""Holds what a CIF says of a site in one column against what it says in another."""

from __future__ import annotations

import functools
import re

from omnimat.formats.cif.sites import Site
from omnimat.formats.crystals import ATOMIC_NUMBERS

# A label that is a symbol, numbered or not: C11, Fe, O2', but neither CA1 nor Ow1.
_LABEL = re.compile(r"([A-Z][a-z]?)(?![A-Za-z])")


def check_sites(sites: list[Site]) -> None:
    """Refuse sites whose columns contradict each other.

    Raises:
        ValueError: a site is full that is one of several alternatives, or its label is the symbol
            of another element of the crystal.
    """
    _check_alternatives(sites)
    _check_labels(sites)


def _check_alternatives(sites: list[Site]) -> None:
    """Groups of one assembly are not occupied together, nor is a group below 0 with its images."""
    groups: dict[str, set[str]] = {}
    for site in sites:
        if site.disorder is not None:
            groups.setdefault(site.disorder[0], set()).add(site.disorder[1])
    for site in sites:
        if site.disorder is None or site.occupancy < 1:
            continue
        assembly, group = site.disorder
        if len(groups[assembly]) > 1 or group.startswith("-"):
            raise ValueError(
                f"partial occupancy: {site.label} is one of several alternatives "
                "(_atom_site_disorder_group), but its occupancy is 1"
            )


def _check_labels(sites: list[Site]) -> None:
    """Labels are names of places too (B1), but not where the crystal has such an element."""
    elements = {site.symbol for site in sites}
    for site in sites:
        named = _symbol_of(site.label)
        if named != site.symbol and named in elements and site.occupancy == 1:
            raise ValueError(
                f"contradicting species: {site.label} is {site.symbol} by its type symbol"
            )


@functools.lru_cache(maxsize=65536)
def _symbol_of(label: str) -> str | None:
    parts = _LABEL.match(label)
    if parts is None:
        return None
    symbol = "H" if parts[1] == "D" else parts[1]
    return symbol if symbol in ATOMIC_NUMBERS else None
