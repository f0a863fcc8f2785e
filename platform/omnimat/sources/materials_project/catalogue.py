"""What is asked of the Materials Project, and where it lies there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BUILD_BUCKET = "materialsproject-build"
PARSED_BUCKET = "materialsproject-parsed"
DOS_TABLE = "core/electronic-structure/total-dos/"
# The calculations of which mp-api serves the charge density.
STATIC_CALCULATIONS = ("GGA Static", "GGA+U Static")
NON_COMMERCIAL = "BY-NC"


@dataclass(frozen=True, slots=True)
class Collection:
    """One kind of document, of which a material has at most one.

    Attributes:
        name: its name in the snapshot and in reasons of failure.
        table: the prefix of its Delta table in ``BUILD_BUCKET``.
        fields: what is kept of a document; a dot leads into a nested document.
    """

    name: str
    table: str
    fields: tuple[str, ...]

    @property
    def rest_fields(self) -> list[str]:
        """The outermost fields, since the REST routes know no others."""
        return ["material_id", *dict.fromkeys(field.split(".")[0] for field in self.fields)]

    def flat(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Give the values of ``fields`` by name, leaving out those that are null."""
        values = {field: _inside(document, field) for field in self.fields}
        return {field: value for field, value in values.items() if value is not None}


SUMMARY = Collection(
    "summary",
    "collections/summary/",
    (
        "structure",
        "builder_meta.license",
        "symmetry.number",
        "formation_energy_per_atom",
        "energy_above_hull",
        "energy_per_atom",
        "band_gap",
        "is_gap_direct",
        "is_metal",
        "is_stable",
        "theoretical",
        "density",
        "total_magnetization",
        "n",
        "bulk_modulus",
        "shear_modulus",
        "has_props",
    ),
)
TEXT = Collection("text", "collections/robocrys/", ("description", "robocrys_version"))
ELASTICITY = Collection(
    "elasticity",
    "collections/elasticity/",
    ("elastic_tensor.ieee_format", "bulk_modulus", "shear_modulus", "warnings"),
)
ELECTRONIC_STRUCTURE = Collection(
    "electronic_structure", "collections/electronic-structure/", ("dos.task_id",)
)
CALCULATIONS = Collection("calculations", "collections/materials/", ("calc_types",))


def _inside(document: Mapping[str, Any], field: str) -> Any:
    if field in document:  # a column of a table, which was already taken out
        return document[field]
    value: Any = document
    for key in field.split("."):
        value = None if value is None else value.get(key)
    return value


def canonical_id(identifier: str) -> str:
    """Give the spelling of an identifier that records use, like ``mp-149`` for ``mp-aaaaaaft``.

    Raises:
        ValueError: it is no identifier of the Materials Project.
    """
    from emmet.core.mpid import AlphaID

    return str(AlphaID(identifier).string)


def batches_of(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    """Cut ids into batches, in order."""
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def id_order(identifier: str) -> tuple[int, str]:
    """Order identifiers by their number."""
    from emmet.core.mpid import AlphaID

    return int(AlphaID(identifier)), identifier


def dos_key(task_id: str) -> str:
    """Spell a task id as the table of densities of states does, where order follows the number."""
    from emmet.core.mpid import AlphaID

    return str(AlphaID(task_id.split("-")[-1], padlen=8))


def charge_density_key(task_id: str) -> str:
    """Give the key of the object that holds a task's charge density."""
    from emmet.core.mpid import AlphaID

    identifier = AlphaID(canonical_id(task_id).split("-")[-1], prefix="mp")
    return f"chgcars/{identifier.string}.json.gz"
