"""Records made from documents of the Materials Project; nothing is read or asked here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from omnimat.materials.crystals import crystal_system
from omnimat.materials.record import Record, Structure
from omnimat.sources.materials_project.arrays import charge_density_of, dos_of, structure_of
from omnimat.sources.materials_project.catalogue import NON_COMMERCIAL
from omnimat.sources.materials_project.parts import Document

SOURCE_NAME = "Materials Project"
_LICENCES = {"BY-C": "CC-BY-4.0", NON_COMMERCIAL: "CC-BY-NC-4.0", None: "not stated"}
_NUMBERS = {
    "formation_energy_per_atom": "formation_energy_ev_per_atom",
    "energy_above_hull": "energy_above_hull_ev_per_atom",
    "energy_per_atom": "energy_ev_per_atom",
    "band_gap": "band_gap_ev",
    "density": "density_g_per_cm3",
    "total_magnetization": "total_magnetization_bohr_magneton",
    "n": "refractive_index",
}
_CONVERTERS: Mapping[str, Callable[[Document, Structure], Any]] = {
    "dos": dos_of,
    "charge_density": charge_density_of,
}
_FLAGS = ("is_gap_direct", "is_metal", "is_stable", "theoretical")
_MODULI = {"bulk_modulus": "bulk_modulus_gpa", "shear_modulus": "shear_modulus_gpa"}


def to_record(
    material_id: str, documents: Mapping[str, Document]
) -> tuple[Record, tuple[str, ...]]:
    """Make a record.

    Args:
        material_id: the id of the record.
        documents: ``summary``, and what there is of ``text``, ``elasticity``, ``dos`` and
            ``charge_density``.

    Returns:
        The record, and for each document that does not fit it the reason.

    Raises:
        ValueError: the summary holds no structure that a record can hold.
    """
    summary = documents["summary"]
    structure = structure_of(summary.values.get("structure"))
    provenance = _provenance(documents)
    reasons: list[str] = []
    arrays: dict[str, Any] = {}
    for name, convert in _CONVERTERS.items():
        if name in documents:
            try:
                arrays[name] = convert(documents[name], structure)
            except ValueError as error:
                provenance[name] = f"left out: {error}"
                reasons.append(f"{name}: {error}")
    text = documents.get("text")
    if text is not None and (description := text.values.get("description")) is not None:
        arrays["text"] = description
    record = Record(
        material_id=material_id,
        parts={"structure": structure, **arrays},
        properties=_properties(summary.values) | _elastic(documents.get("elasticity")),
        provenance=provenance,
    )
    return record, tuple(reasons)


def _properties(summary: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = _finite(
        {name: summary.get(field) for field, name in _NUMBERS.items()}
    )
    properties |= {name: summary[name] for name in _FLAGS if summary.get(name) is not None}
    properties |= _moduli(summary)
    if number := summary.get("symmetry.number"):
        properties |= {"space_group_number": number, "crystal_system": crystal_system(number)}
    return properties


def _elastic(document: Document | None) -> dict[str, Any]:
    """Give the moduli (Voigt-Reuss-Hill) and the tensor in the IEEE orientation, in GPa.

    ``elastic_lower_6x6_gpa`` is the lower triangle of the Voigt matrix, row by row;
    ``elastic_lower_5x5_gpa`` is its first 15 numbers, which MultiMat predicts.
    """
    if document is None:
        return {}
    properties = _moduli(document.values)
    tensor = document.values.get("elastic_tensor.ieee_format")
    if tensor is not None:
        lower = [float(tensor[row][column]) for row in range(6) for column in range(row + 1)]
        if all(map(math.isfinite, lower)):
            properties |= {"elastic_lower_6x6_gpa": lower, "elastic_lower_5x5_gpa": lower[:15]}
    return properties


def _moduli(values: Mapping[str, Any]) -> dict[str, Any]:
    return _finite({name: (values.get(field) or {}).get("vrh") for field, name in _MODULI.items()})


def _finite(values: Mapping[str, float | None]) -> dict[str, Any]:
    return {
        name: float(value)
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    }


def _provenance(documents: Mapping[str, Document]) -> dict[str, str]:
    summary = documents["summary"]
    licence = summary.values.get("builder_meta.license")
    provenance = {
        "source": SOURCE_NAME,
        "database_version": summary.database_version,
        "licence": _LICENCES.get(licence, str(licence)),
    }
    if (dos := documents.get("dos")) is not None:
        provenance["dos"] = f"task {dos.values['task_id']}"
        if "spin_down_densities" not in dos.arrays:
            provenance["dos"] += ", not spin-polarized: halved into two channels"
    if (density := documents.get("charge_density")) is not None:
        shape = "x".join(map(str, density.values["shape"]))
        provenance["charge_density"] = f"task {density.values['task_id']}, CHGCAR of {shape}"
    if (text := documents.get("text")) is not None:
        version = text.values.get("robocrys_version", "of an unknown version")
        provenance["text"] = f"robocrystallographer {version}"
    for name in ("text", "elasticity"):
        document = documents.get(name)
        if document is not None and document.database_version != summary.database_version:
            provenance[f"{name}_database_version"] = document.database_version
    return provenance
