"""Which column of a table holds what, and the mappings that come with omnimat."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import model_validator

from omnimat.base.settings import Settings
from omnimat.formats.format import Reading
from omnimat.sources.tables.columns import (
    Array,
    Column,
    ColumnGroup,
    DosColumns,
    Property,
    SplitColumn,
    StructureColumns,
    XrdColumns,
)

Shipped = Literal["multimodal", "cells", "mp20"]

_PARTS = ("structure", "formula", "text", "text_embedding", "xrd", "dos", "charge_density")


class TableMapping(Settings):
    """What the rows of a table become.

    Attributes:
        mapping: name of a mapping in ``sources/tables/mappings``; the other keys override its keys,
            and ``properties`` are added to its own.
        id: column of the material id. Without one, rows are numbered after the file's name.
        structure: where the structure stands. Where no property ``space_group_number`` is named,
            the space group is found from the structure.
        formula: column of formulas.
        text: column of descriptions.
        text_embedding: column of embeddings of such descriptions.
        xrd: where a diffraction pattern stands.
        dos: where a density of states stands; a wrong one is left out, and the provenance says so.
        charge_density: column of charge densities on a grid, density x cell volume.
        properties: column of each property, by the property's name, which contains the unit. A
            wrong value is left out, and the provenance says so.
        split: where the published split stands.
        optional: keys, with dots, whose columns the table may lack.
        reading: how crystals are read from texts.
        niggli_reduce: whether the cell is Niggli-reduced.
        lattice_properties: whether lengths and angles of the reduced cell become properties.
        source_name: name of the source, which is recorded in the provenance; None for the name of
            the file.
        licence: licence of the data, which is recorded in the provenance.
        database_version: version of the data, which is recorded in the provenance.
    """

    mapping: Shipped | None = None
    id: Column | None = None
    structure: StructureColumns | None = None
    formula: Column | None = None
    text: Column | None = None
    text_embedding: Array | None = None
    xrd: XrdColumns | None = None
    dos: DosColumns | None = None
    charge_density: Array | None = None
    properties: Mapping[str, Property] = {}
    split: SplitColumn | None = None
    optional: tuple[str, ...] = ()
    reading: Reading = Reading()
    niggli_reduce: bool = False
    lattice_properties: bool = False
    source_name: str | None = None
    licence: str = "unknown"
    database_version: str = "unknown"

    @model_validator(mode="before")
    @classmethod
    def _expand_mapping(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        name = values.get("mapping")
        return _expanded(shipped(name), values) if name in get_args(Shipped) else values

    @model_validator(mode="after")
    def _maps_something(self) -> Self:
        if not self.properties and all(getattr(self, part) is None for part in _PARTS):
            raise ValueError(
                f"say which column holds what: give mapping, properties, or one of "
                f"{', '.join(_PARTS)}"
            )
        if self.lattice_properties and not self.niggli_reduce:
            raise ValueError("lattice_properties are those of the reduced cell: set niggli_reduce")
        return self

    def columns(self) -> Iterator[tuple[str, str]]:
        """Yield each key that names a column, with dots, and the column."""
        for key in ("id", *_PARTS, "split"):
            value = getattr(self, key)
            if isinstance(value, str):
                yield key, value
            elif isinstance(value, ColumnGroup):
                yield from ((f"{key}.{inner}", column) for inner, column in value.columns())
        for name, one in self.properties.items():
            yield f"properties.{name}", one.column

    def is_optional(self, key: str) -> bool:
        """Say whether the table may lack the column of a key."""
        return any(key == one or key.startswith(f"{one}.") for one in self.optional)


@functools.cache
def shipped(name: Shipped) -> Mapping[str, Any]:
    """Return the keys of a mapping that comes with omnimat."""
    file = resources.files("omnimat.sources.tables").joinpath("mappings", f"{name}.yaml")
    values: Mapping[str, Any] = yaml.safe_load(file.read_text())
    return values


def _expanded(mapping: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Let keys override a mapping; columns that they name are no longer optional."""
    properties = values.get("properties") or {}
    told = {*values, *(f"properties.{name}" for name in properties)}
    optional = [key for key in mapping["optional"] if key not in told]
    own = {"properties": {**mapping.get("properties", {}), **properties}}
    return {**mapping, "optional": optional, **values, **own}
