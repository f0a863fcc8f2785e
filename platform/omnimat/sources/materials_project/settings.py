"""What is wanted of the Materials Project, and how it is asked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from omnimat.base.settings import Settings
from omnimat.sources.base import SourceSettings
from omnimat.sources.materials_project.catalogue import canonical_id
from omnimat.sources.materials_project.patience import Patience

_Range = tuple[float, float]
_Property = Literal[
    "materials",
    "thermo",
    "xas",
    "grain_boundaries",
    "electronic_structure",
    "bandstructure",
    "dos",
    "magnetism",
    "elasticity",
    "dielectric",
    "piezoelectric",
    "surface_properties",
    "oxi_states",
    "provenance",
    "charge_density",
    "eos",
    "phonon",
    "absorption",
    "insertion_electrodes",
    "substrates",
    "chemenv",
]


class Filters(Settings):
    """Which materials are wanted; deprecated ones never are.

    Names are those of mp-api's summary search, with units. A range is given by its lowest and its
    highest value, both of which belong to it.

    Attributes:
        material_ids: the only materials to look at.
        chemsys: chemical systems, like ``Li-Fe-O`` or ``Si-*``.
        formula: formulas, like ``Fe2O3`` or ``ABO3``.
        elements: elements that must be in the material.
        exclude_elements: elements that must not be in it.
        num_elements: the range of the number of elements.
        num_sites: the range of the number of sites in the primitive cell.
        energy_above_hull_ev_per_atom: the range of the energy above the convex hull.
        band_gap_ev: the range of the band gap.
        is_stable: whether it must be on the convex hull, or must not.
        theoretical: whether it must be unknown from experiment, or must be known.
        has_props: what must have been calculated, like ``dos`` or ``charge_density``.
        include_non_commercial: whether to take the GNoME data too (CC-BY-NC), if the key's owner
            has accepted their terms.
    """

    material_ids: tuple[str, ...] = ()
    chemsys: tuple[str, ...] = ()
    formula: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    exclude_elements: tuple[str, ...] = ()
    num_elements: tuple[int, int] | None = None
    num_sites: tuple[int, int] | None = None
    energy_above_hull_ev_per_atom: _Range | None = None
    band_gap_ev: _Range | None = None
    is_stable: bool | None = None
    theoretical: bool | None = None
    has_props: tuple[_Property, ...] = ()
    include_non_commercial: bool = False

    @field_validator("material_ids")
    @classmethod
    def _spell(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical_id(identifier) for identifier in ids)

    def criteria(self) -> dict[str, Any]:
        """Give the arguments of mp-api's search, except ``material_ids``."""
        lists = ("chemsys", "formula", "elements", "exclude_elements", "has_props")
        values: dict[str, Any] = {name: list(getattr(self, name)) or None for name in lists}
        values |= {
            "num_elements": self.num_elements,
            "num_sites": self.num_sites,
            "energy_above_hull": self.energy_above_hull_ev_per_atom,
            "band_gap": self.band_gap_ev,
            "is_stable": self.is_stable,
            "theoretical": self.theoretical,
        }
        given = {name: value for name, value in values.items() if value is not None}
        return {**given, "include_gnome": self.include_non_commercial, "deprecated": False}


class Access(Settings):
    """How the Materials Project is asked, which does not change what is got.

    Attributes:
        patience: how long each request is repeated.
        max_parallel_requests: how many requests the REST routes get at a time; mp-api itself makes
            no more than 4.
    """

    patience: Patience = Patience()
    max_parallel_requests: int = Field(4, ge=1, le=4)


class Request(SourceSettings):
    """What a harvest is to fetch.

    Attributes:
        filters: which materials are wanted.
        max_records: how many at most; those of the lowest ids are kept.
        modalities: what to fetch besides structures and properties.
        charge_density_points: how many points the stored grid has along each axis.
        access: how the Materials Project is asked.
    """

    filters: Filters = Filters()
    max_records: int | None = Field(None, ge=1)
    modalities: tuple[Literal["text", "elasticity", "dos", "charge_density"], ...] = (
        "text",
        "elasticity",
        "dos",
        "charge_density",
    )
    charge_density_points: int = Field(32, ge=4, le=128)
    access: Access = Access()

    @property
    def is_whole(self) -> bool:
        """Whether all of the database is wanted."""
        everything = Filters(include_non_commercial=self.filters.include_non_commercial)
        return self.filters == everything and self.max_records is None
