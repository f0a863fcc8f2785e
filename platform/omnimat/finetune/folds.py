"""k-fold tasks: each fold is another split of the same data set, whose own split stays as it is.

A property of the records, such as a label, says to which fold each belongs; or so many folds are
made here of the formulas. For each fold, its records are the test part. A hash divides the others
into training and validation and keeps polymorphs together. Whether polymorphs share a fold is up to
whoever made the folds; those that are made of formulas keep them together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator
from upath import UPath

from omnimat.base.settings import Settings
from omnimat.finetune.tasks import TaskSettings
from omnimat.leaderboard.folds import fold_label
from omnimat.materials.split import Split, hashed_draw
from omnimat.materials.values import class_of
from omnimat.shards.codec import PROPERTIES
from omnimat.shards.manifest import Manifest
from omnimat.shards.reader import read_records

_RECORDS_AT_A_TIME = 512  # a record may hold megabytes


def _name(value: Any) -> Any:
    """Name a fold as a property has it: 2, 2.0 and "2" are the same fold."""
    return class_of(value) if isinstance(value, str | int | float) else value


FoldName = Annotated[
    str, BeforeValidator(_name, json_schema_input_type=int | float | str), Field(min_length=1)
]


OF_FORMULAS = "formula fold"
"""What rows call folds that are made of formulas."""


class FoldRule(Settings):
    """What the folds of a job have in common.

    Attributes:
        property: the property of the records that names their fold.
        of_formulas: how many folds are made of the formulas, instead of ``property``.
        validation_fraction: the fraction of the formulas of all other folds that is for validation.
        seed: decides which these are, and how folds are made of formulas.
    """

    property: str = Field(default="", min_length=1)  # one of the two is given, or it is refused
    of_formulas: int | None = Field(default=None, ge=2, le=100)
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _has_one_rule(cls, values: Any) -> Any:
        """Name folds that are made of formulas, which no property does."""
        if not isinstance(values, Mapping) or values.get("of_formulas") is None:
            return values
        if values.get("property", OF_FORMULAS) != OF_FORMULAS:
            raise ValueError("give property or of_formulas, and not both")
        return {**values, "property": OF_FORMULAS}

    @model_validator(mode="after")
    def _has_a_rule(self) -> Self:
        if not self.property:
            raise ValueError("give property or of_formulas")
        return self


class Fold(FoldRule):
    """One fold, whose records are the test part of the data set.

    Attributes:
        test: the name of the fold.
    """

    test: FoldName

    @property
    def slug(self) -> str:
        """The name in a form that a file may have."""
        return re.sub(r"\W+", "-", self.test)

    def counted(self, num_folds: int) -> CountedFold:
        """Return the same fold as one of so many."""
        return CountedFold(**self.model_dump(), num_folds=num_folds)


class CountedFold(Fold):
    """One fold of a data set whose folds were counted, as rows of the leaderboard have it.

    Attributes:
        num_folds: how many folds the data set has.
    """

    num_folds: int = Field(ge=1)

    @property
    def fold(self) -> Fold:
        """The same fold, as settings of a trial have it."""
        return Fold(**self.model_dump(exclude={"num_folds"}))

    def task(self, task: TaskSettings) -> TaskSettings:
        """Return a task under the name that it has on the leaderboard for this fold."""
        label = fold_label(self.property, self.test, self.num_folds)
        return task.model_copy(update={"name": f"{task.name}, {label}"})


class FoldSettings(FoldRule):
    """The folds of a job.

    Attributes:
        test: the names of the folds that are the test part in turn. These may be some of the data
            set's folds; those that are not named are among the others all the same. Folds that are
            made of formulas are named 1, 2 and so on, and all of them where this is left out.
    """

    test: tuple[FoldName, ...] = Field(default=(), min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _all_are_tested(cls, values: Any) -> Any:
        number = values.get("of_formulas") if isinstance(values, Mapping) else None
        if not isinstance(number, int) or "test" in values:
            return values
        return {**values, "test": fold_names(number)}

    @model_validator(mode="after")
    def _some_are_tested(self) -> Self:
        if not self.test:
            raise ValueError("give test, the names of the folds that are the test part in turn")
        return self

    @model_validator(mode="after")
    def _folds_are_made(self) -> Self:
        if self.of_formulas is not None:
            known = fold_names(self.of_formulas)
            if unknown := [name for name in self.test if name not in known]:
                raise ValueError(f"test: {unknown[0]!r} is none of the folds {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({fold.slug for fold in self.each()}) < len(self.test):
            raise ValueError(
                "test: a fold is named twice, or two names differ only in signs, which file names "
                "do not keep"
            )
        return self

    def each(self) -> tuple[Fold, ...]:
        """Return each fold on its own."""
        shared = self.model_dump(exclude={"test"})
        return tuple(Fold(**shared, test=name) for name in self.test)


def fold_names(number: int) -> tuple[str, ...]:
    """Name so many folds that are made of formulas."""
    return tuple(str(place) for place in range(1, number + 1))


def dealt(keys: Iterable[str], number: int, seed: int) -> dict[str, str]:
    """Deal formulas to folds of equal size, in the order of a hash.

    Args:
        keys: the reduced formulas, in any order; of several equal ones, one counts.
        number: how many folds there are.
        seed: decides the order.

    Returns:
        The name of each formula's fold.
    """
    # Another hash than the one by which a fold's own split is drawn.
    ordered = sorted(set(keys), key=lambda key: (hashed_draw(f"fold of {key}", seed), key))
    names = fold_names(number)
    return {key: names[place % number] for place, key in enumerate(ordered)}


def fold_of(properties: Mapping[str, Any], name: str) -> str | None:
    """Return the fold that a property of a record names.

    Args:
        properties: the properties of the record.
        name: the name of the property.

    Returns:
        The name of the fold, or None where the property is missing, empty, NaN or no single value.
    """
    value = properties.get(name)
    is_nan = isinstance(value, float) and np.isnan(value)
    if is_nan or not isinstance(value, str | int | float):
        return None
    return class_of(value) or None


def fold_split(name: str | None, key: str, fold: Fold) -> Split | None:
    """Return the part of a record when a fold is the test part.

    Args:
        name: the fold of the record; None if it has none.
        key: the reduced formula of the record, or its id where no formula is known.
        fold: the fold that is the test part.

    Returns:
        The part, or None for a record without a fold, which takes no part.
    """
    if name is None:
        return None
    if name == fold.test:
        return "test"
    is_train = hashed_draw(key, fold.seed) < 1 - fold.validation_fraction
    return "train" if is_train else "validation"


@dataclass(frozen=True, slots=True)
class Folds:
    """The folds of the N records of a data set.

    Attributes:
        names: the (N,) names of their folds; None for a record without one.
        keys: their (N,) reduced formulas, or ids where no formula is known.
    """

    names: Sequence[str | None]
    keys: Sequence[str]

    @classmethod
    def of(cls, index: pd.DataFrame, properties: Iterable[str | None], rule: FoldRule) -> Self:
        """Find the folds of records.

        Args:
            index: the (N,) rows of the record index.
            properties: the (N,) properties of the records as JSON, in the order of the index; not
                looked at where folds are made of formulas.
            rule: which property names the folds, or how many are made of formulas.
        """
        keys = index["reduced_formula"].fillna(index["material_id"]).tolist()
        if rule.of_formulas is not None:
            fold = dealt(keys, rule.of_formulas, rule.seed)
            return cls([fold[key] for key in keys], keys)
        names = [fold_of(json.loads(text or "{}"), rule.property) for text in properties]
        return cls(names, keys)

    @property
    def known(self) -> list[str]:
        """The names of all folds that a record has."""
        return sorted({name for name in self.names if name is not None})

    def split(self, fold: Fold) -> NDArray[np.object_]:
        """Return the (N,) parts of the records when a fold is the test part; None for no part."""
        pairs = zip(self.names, self.keys, strict=True)
        parts = [fold_split(name, key, fold) for name, key in pairs]
        return np.array(parts, dtype=object)


def judging_records(dataset: UPath, settings: FoldSettings) -> pd.DataFrame:
    """Give the index rows of the records that validate or test with any of the folds."""
    index, properties = read_properties(dataset)
    folds = Folds.of(index, properties, settings)
    judge = [np.isin(folds.split(fold), ("validation", "test")) for fold in settings.each()]
    return index[np.any(judge, axis=0)]


def read_properties(dataset: UPath) -> tuple[pd.DataFrame, list[str | None]]:
    """Read the index of a data set and, from the shards, the properties of its records.

    This reads all records. A feature store has the properties too, and gives them faster.

    Returns:
        The index with N rows, and the N properties as JSON; None for a record that cannot be read.
    """
    index = Manifest.load(dataset).records(dataset)
    found: list[str | None] = []
    for start in range(0, len(index), _RECORDS_AT_A_TIME):
        for raw in read_records(dataset, index.iloc[start : start + _RECORDS_AT_A_TIME]):
            text = raw.members.get(PROPERTIES)
            found.append(None if text is None else text.decode())
    return index, found
