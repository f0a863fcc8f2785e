"""What is predicted: tasks by name or spelled out, and their targets as records have them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings
from omnimat.leaderboard.metrics import METRICS, Metric, MetricName
from omnimat.materials.targets import Targets, Threshold

Transform = Literal["none", "log10"]
Share = Annotated[float, Field(gt=0, allow_inf_nan=False)]
CATALOGUE = "tasks.yaml"
LONGEST_NAME = 200
"""Characters of a name: it stands in tables, and a stranger's may have any length."""


class TaskSettings(Settings):
    """A property to predict, on the split that was fixed when the data set was ingested.

    Attributes:
        name: the name of the task on the leaderboard.
        target: the name of the property that is predicted.
        kind: whether that is a number or several (such as the lengths of a lattice), or a class
            (any value, as text). The error of several numbers is averaged over them.
        unit: the unit of the target, and unless ``scale`` is ``log10`` of the error
            (``error_unit``).
        scale: ``log10`` predicts and scores the logarithm of the property, as the tables of
            Matbench do; ``unit`` is nevertheless that of the property.
        transform: what is taken before standardising; the error is nevertheless in the unit of the
            target.
        minimum: smaller targets are left out, such as moduli below zero, which no stable crystal
            has.
        threshold: makes two classes of a number.
        counted_as: classes that count as another one (``{trigonal: hexagonal}``).
        expected_shares: how common each class is where the model will be used, if that is known
            and other than in the training split (``{cubic: 12, hexagonal: 8}``; only their ratios
            count). It must not be read off what judges. A network learns as ever, and its
            probabilities are shifted by it (Saerens et al., Neural Computation 14, 21, 2002).
        metric: how predictions are scored; by default ``mae`` or ``accuracy``.
        source: where the task was defined.
    """

    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    target: str = Field(min_length=1, max_length=LONGEST_NAME)
    kind: Literal["regression", "classification"] = "regression"
    unit: str = ""
    scale: Literal["linear", "log10"] = "linear"
    transform: Transform = "none"
    minimum: FiniteFloat | None = None
    threshold: Threshold | None = None
    counted_as: Mapping[str, str] = Field(default={}, exclude_if=lambda joined: not joined)
    expected_shares: Mapping[str, Share] = Field(default={}, exclude_if=lambda told: not told)
    metric: MetricName | None = None
    source: str = ""

    @model_validator(mode="after")
    def _belongs_together(self) -> TaskSettings:
        is_class = self.kind == "classification"
        if is_class and (self.transform != "none" or self.unit or self.scale != "linear"):
            raise ValueError("a classification task has no unit, scale and transform; remove them")
        if not is_class and self.threshold is not None:
            raise ValueError("threshold makes classes; set kind to classification")
        if self.counted_as and (not is_class or self.threshold is not None):
            raise ValueError("counted_as joins classes that the property names; remove it")
        if self.expected_shares and not is_class:
            raise ValueError("expected_shares are those of classes; remove them")
        if self.scale == "log10" and self.transform == "log10":
            raise ValueError("scale takes the logarithm already; remove transform")
        if not self.slug:
            raise ValueError(f"name {self.name!r} has no letter or digit")
        if self.scoring.is_of_classes != is_class:
            raise ValueError(f"metric {self.metric} is not one of a {self.kind} task")
        return self

    @property
    def slug(self) -> str:
        """The name in a form that a file may have."""
        return re.sub(r"\W+", "-", self.name.lower()).strip("-")

    @property
    def error_unit(self) -> str:
        """The unit of the error; that of a logarithm counts decades of the property."""
        return f"log10({self.unit})" if self.unit and self.scale == "log10" else self.unit

    @property
    def metric_name(self) -> MetricName:
        """The name of the metric that scores predictions."""
        return self.metric or ("accuracy" if self.kind == "classification" else "mae")

    @property
    def scoring(self) -> Metric:
        """The metric that scores predictions."""
        return METRICS[self.metric_name]


def _from_catalogue(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    known = catalogue()
    if value not in known:
        raise ValueError(f"no task {value!r} in the catalogue; choose one of {', '.join(known)}")
    return known[value]


Task = Annotated[TaskSettings, BeforeValidator(_from_catalogue)]
"""A task, or the name of one in the catalogue."""


@functools.cache
def catalogue() -> Mapping[str, TaskSettings]:
    """Give the tasks that a job file can name, in the order of ``tasks.yaml``."""
    return {task.name: task for task, _ in _entries()}


def note_of(task: str) -> str:
    """Give what the catalogue has to tell beside results of a task.

    Args:
        task: its name on the leaderboard, with its fold if it has one.

    Returns:
        The note; empty where there is none.
    """
    noted = {known.name: note for known, note in _entries()}
    named = [name for name in noted if task == name or task.startswith(f"{name}, ")]
    return noted[max(named, key=len)] if named else ""


@functools.cache
def _entries() -> Sequence[tuple[TaskSettings, str]]:
    """Read the catalogue: tasks with their notes, on which no result depends."""
    text = resources.files("omnimat.finetune").joinpath(CATALOGUE).read_text()
    entries = [(entry.pop("note", ""), entry) for entry in yaml.safe_load(text)]
    return [(TaskSettings.model_validate(entry), note) for note, entry in entries]


def check_shares(tasks: Iterable[TaskSettings], training: Iterable[Targets]) -> None:
    """Refuse expected shares of other classes than the training split has.

    Raises:
        UserError: if one is missing or too many.
    """
    for task, targets in zip(tasks, training, strict=True):
        labels = set(targets.known.tolist()) if task.expected_shares else set()
        if differing := labels ^ set(task.expected_shares):
            raise UserError(
                f"tasks: {task.name!r}: expected_shares differ in {', '.join(sorted(differing))} "
                f"from the classes of the training split, which are {', '.join(sorted(labels))}"
            )


def read_targets(properties: Iterable[str | None], task: TaskSettings) -> Targets:
    """Read the task's target from the properties, as JSON, of each record.

    A target is unknown if it is missing, NaN, too small or, under log10, not positive; so is one of
    several numbers if any of them is.

    Raises:
        UserError: if a regression target is no number, or no list of as many numbers as the others.
    """
    found = [json.loads(text or "{}").get(task.target) for text in properties]
    if task.kind == "classification":
        return _classes(found, task)
    values = _numbers(found, task)
    is_known = np.isfinite(values)
    if task.minimum is not None:
        is_known &= values >= task.minimum
    if "log10" in (task.scale, task.transform):
        is_known &= values > 0
    if task.scale == "log10":
        values = np.log10(values, where=is_known, out=np.full_like(values, np.nan))
    return Targets(values, np.all(is_known, axis=tuple(range(1, values.ndim))))


def _classes(found: Sequence[Any], task: TaskSettings) -> Targets:
    if task.threshold is None:
        is_known = pd.Series(found, dtype=object).notna().to_numpy()
        labels = [task.counted_as.get(str(value), str(value)) for value in found]
        return Targets(np.array(labels), is_known)
    values = _numbers(found, task)
    return Targets(np.array([task.threshold.label(v) for v in values]), np.isfinite(values))


def _numbers(found: Sequence[Any], task: TaskSettings) -> NDArray[np.float64]:
    """Read (N,) or (N, k) numbers, with NaN where there are none."""
    first = next((value for value in found if value is not None), None)
    shape = (len(first),) if isinstance(first, list) else ()
    return np.array([_number(value, shape, task) for value in found], dtype=np.float64)


def _number(value: Any, shape: tuple[int, ...], task: TaskSettings) -> NDArray[np.float64]:
    """Read one target, of the shape () or (k,)."""
    if value is None:
        return np.full(shape, np.nan)
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, bool) or not isinstance(part, int | float | None) for part in parts):
        raise UserError(
            f"tasks: {task.name!r}: {task.target!r} holds {value!r}, which is no number; "
            "set kind to classification or choose another target"
        )
    numbers = np.array(value, dtype=np.float64)  # null in a list becomes NaN
    if numbers.shape != shape or 0 in shape:
        raise UserError(
            f"tasks: {task.name!r}: {task.target!r} holds {value!r}, another number of numbers "
            "than the first record; choose a target of one length"
        )
    return numbers
