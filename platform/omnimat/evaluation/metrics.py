"""Metrics of predictions against targets, in NumPy and float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

MetricName = Literal["mae", "accuracy"]


def mean_absolute_error(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Average |prediction - target| over all entries, in the targets' unit.

    Args:
        targets: (N,) or (N, k) numbers.
        predictions: of the same shape.

    Raises:
        ValueError: if the shapes differ, there is no entry, or one is not finite.
    """
    truth, guess = _paired(targets, predictions)
    errors = guess.astype(np.float64) - truth.astype(np.float64)
    if not np.isfinite(errors).all():
        raise ValueError("a target or prediction is not finite")
    return float(np.mean(np.abs(errors)))


def accuracy(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Fraction of (N,) predicted classes that are right.

    Raises:
        ValueError: if the shapes differ or there is no entry.
    """
    truth, guess = _paired(targets, predictions)
    return float(np.mean(truth == guess))


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and which way is better."""

    function: Callable[[ArrayLike, ArrayLike], float]
    higher_is_better: bool


METRICS: Mapping[MetricName, Metric] = MappingProxyType(
    {
        "mae": Metric(mean_absolute_error, higher_is_better=False),
        "accuracy": Metric(accuracy, higher_is_better=True),
    }
)


def _paired(targets: ArrayLike, predictions: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    truth, guess = np.asarray(targets), np.asarray(predictions)
    if truth.shape != guess.shape or truth.size == 0:
        raise ValueError(f"targets {truth.shape} and predictions {guess.shape} cannot be compared")
    return truth, guess
