"""What is predicted: targets out of records, numbers a network learns, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from omnimat.evaluation.metrics import METRICS, Metric, MetricName
from omnimat.materials.errors import UserError
from omnimat.materials.settings import Settings

Transform = Literal["none", "log10"]


class TaskSettings(Settings):
    """A property to predict.

    Attributes:
        name: of the task on the leaderboard.
        target: key of the records' properties.
        kind: a number or several (the lengths of a lattice), or a class (any value, as text).
            The error of several numbers is averaged over them.
        unit: of the target and of the error.
        transform: taken before standardising; the error is in the target's unit all the same.
    """

    name: str = Field(min_length=1)
    target: str = Field(min_length=1)
    kind: Literal["regression", "classification"] = "regression"
    unit: str = ""
    transform: Transform = "none"

    @model_validator(mode="after")
    def _classes_are_plain(self) -> Self:
        if self.kind == "classification" and (self.transform != "none" or self.unit):
            raise ValueError("a classification task has no unit and no transform; remove them")
        return self

    @property
    def metric_name(self) -> MetricName:
        """How predictions are scored."""
        return "mae" if self.kind == "regression" else "accuracy"

    @property
    def metric(self) -> Metric:
        """How predictions are scored."""
        return METRICS[self.metric_name]


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets of N records.

    Attributes:
        values: (N,) float64, (N, k) where a target is k numbers, or (N,) str for a classification
            task; arbitrary where unknown.
        is_known: (N,) bool. Missing, NaN and, under log10, not positive targets are unknown, and
            so are k numbers with one of these.
    """

    values: NDArray[Any]
    is_known: NDArray[np.bool_]


def read_targets(properties: Iterable[str | None], task: TaskSettings) -> Targets:
    """Read the task's target from the JSON of each record's properties.

    Raises:
        UserError: if a regression target is no number, or no list of as many as the others.
    """
    found = [json.loads(text or "{}").get(task.target) for text in properties]
    if task.kind == "classification":
        labels = np.array([str(value) for value in found])
        return Targets(labels, pd.Series(found, dtype=object).notna().to_numpy())
    first = next((value for value in found if value is not None), None)
    shape = (len(first),) if isinstance(first, list) else ()
    values = np.array([_numbers(value, shape, task) for value in found], dtype=np.float64)
    is_known = np.isfinite(values) & ((values > 0) | (task.transform != "log10"))
    components = tuple(range(1, values.ndim))
    return Targets(values, np.all(is_known, axis=components))


def _numbers(value: Any, shape: tuple[int, ...], task: TaskSettings) -> NDArray[np.float64]:
    """Read one target of this shape: () or (k,)."""
    if value is None:
        return np.full(shape, np.nan)
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, bool) or not isinstance(part, int | float | None) for part in parts):
        raise UserError(
            f"task.target: {task.target!r} holds {value!r}, which is no number; "
            "set task.kind to classification or choose another target"
        )
    numbers = np.array(value, dtype=np.float64)  # null in a list becomes NaN
    if numbers.shape != shape or 0 in shape:
        raise UserError(
            f"task.target: {task.target!r} holds {value!r}, another number of numbers than the "
            "first record; choose a target of one length"
        )
    return numbers


class Standardiser(Settings):
    """Numbers of mean 0 and standard deviation 1 over the training split.

    Attributes:
        mean: of the transformed numbers, each by itself where a target is several.
        std: likewise.
        transform: taken first.
    """

    type: Literal["standardiser"] = "standardiser"
    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    transform: Transform

    @classmethod
    def fit(cls, values: NDArray[np.float64], transform: Transform) -> Self:
        """Measure (N,) or (N, k) training targets; equal targets are only shifted."""
        numbers = _transformed(values, transform)
        std = numbers.std(axis=0)
        return cls(
            mean=numbers.mean(axis=0).tolist(),
            std=np.where(std == 0, 1.0, std).tolist(),
            transform=transform,
        )

    @property
    def num_outputs(self) -> int:
        """Numbers the network gives a record."""
        return np.size(self.mean)

    def encode(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Map (N,) or (N, k) targets to the (N, 1 or k) float32 that are learned."""
        standard = (_transformed(values, self.transform) - self.mean) / self.std
        return standard.astype(np.float32).reshape(len(values), self.num_outputs)

    def decode(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map (N, 1 or k) outputs to (N,) or (N, k) predictions in the target's unit.

        A power of ten beyond float64 is infinite.
        """
        standard = outputs.astype(np.float64).reshape(len(outputs), *np.shape(self.mean))
        numbers = standard * self.std + self.mean
        with np.errstate(over="ignore"):
            predictions: NDArray[np.float64] = (
                np.power(10.0, numbers) if self.transform == "log10" else numbers
            )
        return predictions


class ClassIndex(Settings):
    """Classes by their place among the sorted labels of the training split."""

    type: Literal["class_index"] = "class_index"
    labels: tuple[str, ...]

    @classmethod
    def fit(cls, values: NDArray[np.str_]) -> Self:
        """Collect the labels of (N,) training targets."""
        return cls(labels=tuple(np.unique(values).tolist()))

    @property
    def num_outputs(self) -> int:
        """Numbers the network gives a record."""
        return len(self.labels)

    def encode(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Map (N,) labels to (N,) int64; a label not seen in training is -1."""
        place = {label: index for index, label in enumerate(self.labels)}
        return np.array([place.get(label, -1) for label in values.tolist()], dtype=np.int64)

    def decode(self, outputs: NDArray[np.float32]) -> NDArray[np.str_]:
        """Map (N, labels) outputs to the (N,) likeliest labels."""
        labels: NDArray[np.str_] = np.array(self.labels)[outputs.argmax(axis=1)]
        return labels


TargetCodec = Annotated[Standardiser | ClassIndex, Field(discriminator="type")]


def fit_codec(task: TaskSettings, train_values: NDArray[Any]) -> Standardiser | ClassIndex:
    """Fit the map between targets and what is learned, on training targets alone."""
    if task.kind == "classification":
        return ClassIndex.fit(train_values)
    return Standardiser.fit(train_values, task.transform)


def count_unseen(codec: Standardiser | ClassIndex, values: NDArray[Any]) -> int:
    """Count targets whose class training never saw; they are always predicted wrong."""
    if isinstance(codec, Standardiser):
        return 0
    return int((codec.encode(values) < 0).sum())


def _transformed(values: NDArray[Any], transform: Transform) -> NDArray[np.float64]:
    numbers = values.astype(np.float64)
    return np.log10(numbers) if transform == "log10" else numbers
