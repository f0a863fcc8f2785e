"""The settings of labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import ConfigDict, Field, model_validator
from upath import UPath

from omnimat.base.paths import absolute_path
from omnimat.base.settings import Settings
from omnimat.materials.values import LabelKind
from omnimat.sources.labels.names import unit_in_names


class LabelColumn(Settings):
    """A column of labels.

    Attributes:
        column: name of the column in the table, where the label has another one; the key of a job
            file is ``from``.
        kind: whether the labels are numbers or classes. As classes, booleans become ``true`` and
            ``false``, and whole numbers their digits.
        unit: unit of the numbers, with which the label's name must end (``hardness_gpa``).
    """

    model_config = ConfigDict(populate_by_name=True)

    column: str | None = Field(None, alias="from")
    kind: LabelKind = "number"
    unit: str = ""


class LabelsSettings(Settings):
    """Labels of one's own.

    Attributes:
        path: path of the table, or of several: CSV, TSV, Parquet or JSON lines, plain or ``.gz``.
        id: column with the ids of the materials or the names of their files.
        columns: the labels by their names; None takes every other column, as numbers or classes.
    """

    path: str | tuple[str, ...]
    id: str = "material_id"
    columns: Mapping[str, LabelColumn] | None = Field(None, min_length=1)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all tables."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @model_validator(mode="after")
    def _names_end_with_units(self) -> Self:
        if not self.paths:
            raise ValueError("path: name at least one table")
        for name, column in (self.columns or {}).items():
            ending = unit_in_names(column.unit)
            if column.unit and column.kind == "class":
                raise ValueError(f"columns.{name}: a class has no unit; remove it")
            if ending and not f"_{name.lower()}".endswith(f"_{ending}"):
                raise ValueError(
                    f"columns.{name}: a name ends with its unit; call the label {name}_{ending}"
                )
        return self

    def located(self) -> Self:
        """Return the same labels with absolute paths.

        Raises:
            UserError: a table is missing.
        """
        located = tuple(absolute_path(path, "labels.path") for path in self.paths)
        path = located[0] if isinstance(self.path, str) else located
        return self.model_copy(update={"path": path})

    def inputs(self) -> dict[str, UPath]:
        """Return the tables by names that stay the same wherever they lie."""
        return {f"labels.path.{i}": UPath(path) for i, path in enumerate(self.paths)}
