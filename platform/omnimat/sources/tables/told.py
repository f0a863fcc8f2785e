"""What the columns of a table hold, told from their names and from the values of its first rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from omnimat.base.errors import UserError
from omnimat.materials.record import safe_id
from omnimat.materials.values import LabelKind
from omnimat.sources.labels.cells import likely_kind, read_cell
from omnimat.sources.labels.names import label_name
from omnimat.sources.tables.columns import PropertyColumn
from omnimat.sources.tables.mapping import TableMapping
from omnimat.sources.tables.values import Kind

Cells = Mapping[str, Sequence[Any]]
"""The values of each column in some rows; None where there is none."""
StructureKey = Literal["cif", "pymatgen", "poscar"]

_IDS = ("material_id", "id", "mp_id", "jid", "entry_id", "auid", "name", "sample", "label")
_FORMULA_NAME = re.compile(r"(^|_)(formula|composition)(_|$)", re.IGNORECASE)
_FORMULA = re.compile(r"([A-Z][a-z]?\d*\.?\d*|[()\[\]]\d*\.?\d*)+")
_TWO_THETA_NAME = re.compile(r"(two|2)_?theta", re.IGNORECASE)
_INTENSITY_NAME = re.compile(r"intensit", re.IGNORECASE)
_LEAST_WORDS = 5
_LEAST_SHARE = 0.9  # of the values of a column that must be what the column is taken for
_MOST_CLASSES = 100
_ROWS_PER_CLASS = 2


@dataclass(frozen=True, slots=True)
class Labelled:
    """A column that may be a label.

    Attributes:
        column: its name in the table.
        kind: number or class.
        num_known: in how many rows it has a value that can be used.
        name: name of the label, which ends with the unit.
        unit: unit, if the column's name says one in brackets.
    """

    column: str
    kind: LabelKind
    num_known: int
    name: str
    unit: str = ""

    def as_property(self) -> PropertyColumn:
        """Give the property that the column becomes."""
        kind: Kind = "number" if self.kind == "number" else "text"
        return PropertyColumn(column=self.column, type=kind)


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Which column of a table holds what; None where none does.

    Attributes:
        id: names of the materials.
        structure: how the structure is written, and the column.
        formula: formulas; None where there are structures, which say the same.
        text: descriptions.
        two_theta_degree: lists of scattering angles.
        intensity: lists of intensities.
        labels: all other columns that can be predicted.
    """

    id: str | None = None
    structure: tuple[StructureKey, str] | None = None
    formula: str | None = None
    text: str | None = None
    two_theta_degree: str | None = None
    intensity: str | None = None
    labels: tuple[Labelled, ...] = ()

    def mapping(self) -> TableMapping:
        """Give the mapping of the table's materials, whose properties are the labels.

        Raises:
            ValueError: it has none.
            UserError: two columns would be one label.
        """
        pattern = {"two_theta_degree": self.two_theta_degree, "intensity": self.intensity}
        keys = {
            "id": self.id,
            "structure": None if self.structure is None else dict([self.structure]),
            "formula": self.formula,
            "text": self.text,
            "xrd": None if self.two_theta_degree is None else pattern,
            "properties": {n: one.as_property() for n, one in by_name(self.labels).items()},
        }
        return TableMapping.model_validate({k: v for k, v in keys.items() if v is not None})

    @property
    def holds_materials(self) -> bool:
        """Whether a row says anything that a modality can be made of."""
        return any((self.structure, self.formula, self.text, self.two_theta_degree))


def told_columns(cells: Cells, id_column: str | None = None) -> TableColumns:
    """Tell what the columns of a table hold.

    Args:
        cells: values of the first rows.
        id_column: column of the ids, if the user names one.
    """
    known = {name: [one for one in values if _is_known(one)] for name, values in cells.items()}
    known = {name: values for name, values in known.items() if values}
    structure = _structure(known)
    formula = _formula(known)
    text = _text(known, {structure[1]} if structure else set())
    angles, intensity = _pattern(known)
    taken = {structure[1] if structure else None, formula, text, angles, intensity}
    others = {name: values for name, values in known.items() if name not in taken}
    id_column = id_column or _id(others, cells)
    left = {name: cells[name] for name in others if name != id_column}
    labels = told_labels(left, max((len(one) for one in cells.values()), default=0))
    needed = None if structure else formula
    return TableColumns(id_column, structure, needed, text, angles, intensity, labels)


def told_labels(cells: Cells, num_rows: int) -> tuple[Labelled, ...]:
    """Tell which columns can be predicted: numbers, and classes that occur more than once."""
    told = (_label(column, values, num_rows) for column, values in cells.items())
    return tuple(label for label in told if label is not None)


def by_name(labels: Iterable[Labelled]) -> dict[str, Labelled]:
    """Give labels by their names.

    Raises:
        UserError: two columns would be one label.
    """
    found: dict[str, Labelled] = {}
    for label in labels:
        if (other := found.setdefault(label.name, label)) is not label:
            raise UserError(
                f"columns {other.column!r} and {label.column!r} of the table would both be the "
                f"label {label.name!r}; rename one of them, or take it out"
            )
    return found


def best_id_column(cells: Cells, names: frozenset[str]) -> tuple[str, int] | None:
    """Find the column that names most materials.

    Args:
        cells: all rows of the table.
        names: ids of the materials and names of their files, as ``safe_id`` makes them.

    Returns:
        The column and how many of its different values are among the names; None if no column has
        any.
    """
    counts = {name: len(_safe_ids(values) & names) for name, values in cells.items()}
    best = max(counts, key=lambda name: counts[name], default=None)
    return None if best is None or counts[best] == 0 else (best, counts[best])


def _label(column: str, values: Sequence[Any], num_rows: int) -> Labelled | None:
    kind = likely_kind(values)
    cells = [read_cell(one, kind) for one in values]
    known = [one for one in cells if isinstance(one, float if kind == "number" else str)]
    if not known or (kind == "class" and not _are_classes(known, num_rows)):
        return None
    name, unit = label_name(column, kind)
    return Labelled(column, kind, len(known), name, unit)


def _are_classes(known: Sequence[Any], num_rows: int) -> bool:
    num_classes = len(set(known))
    return 2 <= num_classes <= min(_MOST_CLASSES, max(len(known), num_rows) / _ROWS_PER_CLASS)


def _is_known(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return True
    return value is not None and value != "" and bool(value == value)  # NaN is not itself


def _mostly(values: Sequence[Any], is_such: Callable[[Any], bool]) -> bool:
    return sum(map(is_such, values)) >= _LEAST_SHARE * len(values)


def _structure(known: Cells) -> tuple[StructureKey, str] | None:
    """Find the column of structures, and how they are written."""
    looks: dict[StructureKey, Callable[[Any], bool]] = {
        "cif": lambda one: isinstance(one, str) and "_cell_length_a" in one,
        "pymatgen": _is_document,
        "poscar": _is_poscar,
    }
    for key, look in looks.items():
        for name, values in known.items():
            if _mostly(values, look):
                return key, name
    return None


def _is_document(value: Any) -> bool:
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    return isinstance(value, Mapping) and {"lattice", "sites"} <= value.keys()


def _is_poscar(value: Any) -> bool:
    lines = value.splitlines() if isinstance(value, str) else []
    try:
        return len(lines) > 7 and all(
            len([*map(float, one.split()[:3])]) == 3 for one in lines[2:5]
        )
    except ValueError:
        return False


def _formula(known: Cells) -> str | None:
    named = [name for name in known if _FORMULA_NAME.search(name)]
    return next((name for name in named if _mostly(known[name], _is_formula)), None)


def _is_formula(value: Any) -> bool:
    return isinstance(value, str) and _FORMULA.fullmatch(value.replace(" ", "")) is not None


def _text(known: Cells, taken: set[str]) -> str | None:
    """Find the column of the longest descriptions."""

    def is_long(value: Any) -> bool:
        return isinstance(value, str) and len(value.split()) >= _LEAST_WORDS

    others = {name: values for name, values in known.items() if name not in taken}
    texts = {
        name: sum(len(str(one)) for one in values) / len(values)
        for name, values in others.items()
        if _mostly(values, is_long) and not _mostly(values, _is_list)
    }
    return max(texts, key=lambda name: texts[name], default=None)


def _pattern(known: Cells) -> tuple[str | None, str | None]:
    """Find the columns of angles and intensities, which only count together."""
    lists = [name for name, values in known.items() if _mostly(values, _is_list)]
    angles = next((name for name in lists if _TWO_THETA_NAME.search(name)), None)
    intensity = next((name for name in lists if _INTENSITY_NAME.search(name)), None)
    return (angles, intensity) if angles and intensity else (None, None)


def _is_list(value: Any) -> bool:
    if isinstance(value, str):
        return value.lstrip().startswith("[")
    return isinstance(value, list | np.ndarray)


def _id(known: Cells, cells: Cells) -> str | None:
    """Find the column of ids: by its name, or the first one whose texts are all different."""
    by_name = {name.lower(): name for name in known}
    named = [by_name[name] for name in _IDS if name in by_name]
    texts = [name for name, values in known.items() if _mostly(values, lambda v: type(v) is str)]
    words = [name for name in texts if likely_kind(known[name]) == "class"]
    for name in (*named, *words):
        if len(_safe_ids(known[name])) == len(known[name]) == len(cells[name]):
            return name
    return None


def _safe_ids(values: Sequence[Any]) -> set[str]:
    return {safe_id(str(one).strip()) for one in values if _is_known(one)}
