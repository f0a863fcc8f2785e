"""What an import of published predictions is told: which file, and which column holds what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from upath import UPath

from omnimat.base.characters import hidden_in
from omnimat.base.errors import UserError
from omnimat.base.settings import first_mistake
from omnimat.finetune.tasks import TaskSettings
from omnimat.leaderboard.legible import LegibleSettings


class ImportSettings(LegibleSettings):
    """An import of one file for one task of one data set.

    Attributes:
        path: the file: CSV, TSV, JSON lines or Parquet.
        dataset: the name of the data set whose targets judge.
        task: what is predicted.
        models: the name of the model by the column of its predictions.
        id_column: the column of the materials' ids.
        where: what other columns must say in a row, for it to be taken.
        target_column: the column of the targets, which are held against those of the data set; None
            if they are not.
        target_tolerance: by how much targets may differ, in the unit of the task.
        fold_column: the column of the fold in whose test part a material was predicted; None if the
            test split of the data set judges.
        fold_property: the property of the data set that names the same folds.
        citations: who is to be cited, by column.
        licence: the licence of the file.
        source_url: where it comes from.
    """

    path: str
    dataset: str
    task: TaskSettings
    models: Mapping[str, str] = Field(min_length=1)
    id_column: str = "material_id"
    where: Mapping[str, str] = {}
    target_column: str | None = None
    target_tolerance: float = Field(1e-4, ge=0)
    fold_column: str | None = None
    fold_property: str | None = None
    citations: Mapping[str, str] = {}
    licence: str = ""
    source_url: str = Field("", pattern=r"^(https?://[^\s@]+)?$")

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if len(set(self.models.values())) < len(self.models):
            raise ValueError("column: two columns are the predictions of one model; rename one")
        if others := self.citations.keys() - self.models.keys():
            raise ValueError(f"citation: {min(others)} is no column of predictions; name it there")
        if found := hidden_in([*self.models.values(), UPath(self.path).name], allowed=""):
            raise ValueError(f"the name of a model or of the file holds the character {found}")
        if self.fold_property is not None and self.fold_column is None:
            raise ValueError("fold_column: name the column of the folds, not their property alone")
        return self

    @classmethod
    def told(cls, **values: Any) -> Self:
        """Check what a user has told.

        Raises:
            UserError: it cannot be; the message names the option.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise UserError(f"import-predictions: {first_mistake(error)}") from error

    @property
    def folds(self) -> str | None:
        """The property of the data set that names the folds; None for its test split."""
        return self.fold_property or self.fold_column

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the file must have."""
        told = (self.id_column, *self.where, *self.models, self.target_column, self.fold_column)
        return tuple(one for one in dict.fromkeys(told) if one is not None)
