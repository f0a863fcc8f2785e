"""Properties as standardised numbers and one-hot classes, with masks of those that are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings
from omnimat.base.workspace import Workspace
from omnimat.materials.record import Record
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field, TrainingRecords, Vector


class NumberStatistics(Settings):
    """Mean and standard deviation of a number over the training split.

    Attributes:
        mean: mean, in the unit of the number.
        standard_deviation: standard deviation, in the same unit.
    """

    mean: float
    standard_deviation: float


class Statistics(Settings):
    """Statistics of the properties in the training split.

    Attributes:
        numbers: mean and standard deviation of each number, by its name.
        classes: labels of each class, by its name; any other label counts as not known.
    """

    numbers: Mapping[str, NumberStatistics] = {}
    classes: Mapping[str, tuple[str, ...]] = {}


class PropertyValues(FeaturizerSettings):
    """Chosen properties of a record; those that it lacks are masked.

    Numbers are scaled to mean 0 and standard deviation 1 over the training split. Classes are
    one-hot over the labels that occur there. A record without any of the properties lacks the
    modality.

    Attributes:
        numbers: names of properties that are numbers.
        classes: names of properties that are classes.
        statistics: statistics of the training split, which are filled in when a job starts.
    """

    modality: ClassVar[str] = "properties"
    index_columns: ClassVar[tuple[str, ...]] = ()

    type: Literal["property_values"] = "property_values"
    numbers: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    statistics: Statistics | None = None

    @model_validator(mode="after")
    def _some_and_each_once(self) -> Self:
        names = (*self.numbers, *self.classes)
        if not names:
            raise ValueError("name at least one property under numbers or classes")
        if len(set(names)) < len(names):
            raise ValueError("numbers and classes must not name a property twice")
        return self

    @property
    def num_values(self) -> int:
        """How many numbers describe a record: one for each number and one for each label."""
        statistics = self._measured
        return len(self.numbers) + sum(map(len, statistics.classes.values()))

    @property
    def num_properties(self) -> int:
        """How many properties are used."""
        return len(self.numbers) + len(self.classes)

    @property
    def fields(self) -> tuple[Field, ...]:
        """Fields of the values, which are zero where not known, and of the known properties."""
        return (
            Field("values", "float32", (self.num_values,)),
            Field("is_known", "float32", (self.num_properties,)),
        )

    @property
    def properties_shown(self) -> tuple[str, ...]:
        """The chosen properties."""
        return (*self.numbers, *self.classes)

    @property
    def vector(self) -> Vector:
        """The values, of which a class has none before its labels are measured."""
        classes = {} if self.statistics is None else self.statistics.classes
        labels = (len(classes.get(name, ())) for name in self.classes)
        widths = (*(1 for _ in self.numbers), *labels)
        return Vector("values", sum(widths), "is_known", widths, is_standard=True)

    def located(self, workspace: Workspace, training: TrainingRecords) -> Self:
        """Return the same featurizer with the statistics of the training split.

        Raises:
            UserError: no training record has a property, or one that should be a number is not.
        """
        del workspace
        if self.statistics is not None:
            return self
        known = [record.properties for record in training(())]
        statistics = Statistics(
            numbers={name: _number_statistics(name, _known(name, known)) for name in self.numbers},
            classes={name: _labels(_known(name, known)) for name in self.classes},
        )
        return self.model_copy(update={"statistics": statistics})

    def __call__(self, record: Record) -> Arrays | None:
        """Return the values, or None where the record has none of the properties.

        Raises:
            ValueError: a property that should be a number is not a number.
        """
        known = {name: record.properties.get(name) for name in (*self.numbers, *self.classes)}
        values = [self._standard(name, known[name]) for name in self.numbers]
        is_known = [known[name] is not None for name in self.numbers]
        for name in self.classes:
            one_hot = [float(str(known[name]) == label) for label in self._measured.classes[name]]
            values += one_hot
            is_known.append(any(one_hot))
        if not any(is_known):
            return None
        return {
            "values": np.array(values, dtype=np.float32),
            "is_known": np.array(is_known, dtype=np.float32),
        }

    @property
    def _measured(self) -> Statistics:
        if self.statistics is None:
            raise UserError(
                "modalities.properties.featurizer.statistics: they are not measured yet; run the "
                "job that names these properties"
            )
        return self.statistics

    def _standard(self, name: str, value: Any) -> float:
        if value is None:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"property {name!r} is {value!r}, which is not a number")
        statistics = self._measured.numbers[name]
        return (value - statistics.mean) / statistics.standard_deviation


def _known(name: str, properties: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Return the known values of a property.

    Raises:
        UserError: no value is known.
    """
    values = [one[name] for one in properties if one.get(name) is not None]
    if not values:
        raise UserError(
            f"modalities.properties.featurizer: no training record has the property {name!r}; "
            "correct the name, or ingest a source that has it"
        )
    return values


def _number_statistics(name: str, values: list[Any]) -> NumberStatistics:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not numbers:
        raise UserError(
            f"modalities.properties.featurizer.numbers: property {name!r} is not a number but, for "
            f"example, {values[0]!r}; name it under classes"
        )
    deviation = float(np.std(numbers))
    return NumberStatistics(mean=float(np.mean(numbers)), standard_deviation=deviation or 1.0)


def _labels(values: list[Any]) -> tuple[str, ...]:
    return tuple(sorted({str(value) for value in values}))
