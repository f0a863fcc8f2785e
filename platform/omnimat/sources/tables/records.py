"""Makes the record of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omnimat.materials.crystals import (
    lattice_properties,
    niggli_reduced,
    symmetry_properties,
    to_pymatgen,
)
from omnimat.materials.record import Failure, Record, Structure, safe_id
from omnimat.materials.split import PUBLISHED_SPLIT
from omnimat.materials.validation import check_arrays, validate
from omnimat.materials.values import shown
from omnimat.sources.tables.mapping import TableMapping
from omnimat.sources.tables.parts import (
    array_from,
    dos_from,
    formula_from,
    properties_from,
    text_from,
    xrd_from,
)
from omnimat.sources.tables.structures import Row, structure_from
from omnimat.sources.tables.values import Kind


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What all rows of a file have in common.

    Attributes:
        stem: name of the file without its ending.
        kinds: what its columns hold whose type the file does not say.
        metadata: its metadata.
        published_split: the published split of its rows, if it is that of the file.
        source_name: name of the source.
    """

    stem: str
    kinds: Mapping[str, Kind]
    metadata: Mapping[str, str]
    published_split: str | None
    source_name: str


def to_record(
    row: Row | ValueError, number: int, mapping: TableMapping, file: FileFacts
) -> Record | Failure:
    """Make the record of a row, or say why there is none.

    Args:
        row: the values by column, or why they could not be read.
        number: number of the row in its file, from 1.
        mapping: which column holds what.
        file: what is known of the file.
    """
    material_id = safe_id(f"{file.stem}-{number}")
    try:
        if isinstance(row, ValueError):
            raise row
        if mapping.id is not None:
            given = row.get(mapping.id)
            if given is None or not str(given):
                raise ValueError(f"row {number} of {file.stem} has no id")
            material_id = safe_id(str(given))
        return _record(row, material_id, mapping, file)
    except ValueError as error:
        return Failure(material_id, str(error))


def _record(row: Row, material_id: str, mapping: TableMapping, file: FileFacts) -> Record:
    provenance = _provenance(row, material_id, mapping, file)
    properties, notes = properties_from(row, mapping.properties, file.kinds)
    provenance |= notes
    parts = _structure(row, mapping, file, properties, provenance)
    parts |= other_parts(row, mapping, provenance)
    return Record(material_id, parts, properties, provenance)


def _provenance(
    row: Row, material_id: str, mapping: TableMapping, file: FileFacts
) -> dict[str, str]:
    provenance = {
        "source": file.source_name,
        "licence": mapping.licence,
        "database_version": mapping.database_version,
    }
    if mapping.id is not None and str(row[mapping.id]) != material_id:
        provenance["id_in_source"] = str(row[mapping.id])
    split = file.published_split
    if mapping.split is not None and mapping.split.column is not None:
        value = row.get(mapping.split.column)
        split = None if value is None else mapping.split.values.get(str(value))
        if split is None and value is not None:
            known = ", ".join(mapping.split.values)
            raise ValueError(f"split: {shown(value)} is none of {known}")
    return provenance if split is None else provenance | {PUBLISHED_SPLIT: split}


def _structure(
    row: Row,
    mapping: TableMapping,
    file: FileFacts,
    properties: dict[str, Any],
    provenance: dict[str, str],
) -> dict[str, Any]:
    """Return the structure, if there is one, and add to properties and provenance what it tells."""
    if mapping.structure is None:
        return {}
    found = structure_from(row, mapping.structure, mapping.reading, file.metadata)
    if found is None:
        return {}
    structure, notes = found
    provenance |= notes
    if mapping.niggli_reduce:
        structure = niggli_reduced(structure)
        check_arrays(structure)
        if mapping.lattice_properties:
            properties |= lattice_properties(structure)
    if "space_group_number" not in mapping.properties:
        properties |= _symmetry(structure)
    return {"structure": structure}


def _symmetry(structure: Structure) -> dict[str, Any]:
    try:
        return symmetry_properties(to_pymatgen(structure))
    except ValueError:
        validate(structure)  # atoms that overlap are the better reason
        raise


def other_parts(row: Row, mapping: TableMapping, provenance: dict[str, str]) -> dict[str, Any]:
    """Make the parts of a row besides its structure.

    Args:
        row: the values by column.
        mapping: which column holds what.
        provenance: what is known of the row's, to which is added what was given or left out.

    Raises:
        ValueError: a part cannot be read.
    """
    parts: dict[str, Any] = {}
    if mapping.text is not None:
        parts["text"] = text_from(row, mapping.text)
    for name in ("text_embedding", "charge_density"):
        if (array := getattr(mapping, name)) is not None:
            parts[name] = array_from(row, array, name)
    if mapping.dos is not None:
        try:
            parts["dos"] = dos_from(row, mapping.dos)
        except ValueError as error:
            provenance["dos"] = f"left out: {error}"
    if mapping.xrd is not None:
        parts["xrd"] = xrd_from(row, mapping.xrd)
    if mapping.formula is not None:
        parts["composition"] = formula_from(row, mapping.formula)
    parts = {name: part for name, part in parts.items() if part is not None}
    given = {"xrd", "composition"} & parts.keys()
    provenance |= dict.fromkeys(given, "given in the table")
    return parts
