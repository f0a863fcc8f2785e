"""Metrics of predictions against targets, in NumPy and float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

MetricName = Literal["mae", "rmse", "accuracy", "balanced_accuracy"]


def mean_absolute_error(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Average |prediction - target| over all entries, in the targets' unit.

    Args:
        targets: (N,) or (N, k) numbers.
        predictions: of the same shape.

    Raises:
        ValueError: if the shapes differ, there is no entry, or one is not finite.
    """
    return float(np.mean(np.abs(_errors(targets, predictions))))


def root_mean_square_error(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Root of the mean square of prediction - target over all entries, in the targets' unit.

    Args and errors as of ``mean_absolute_error``.
    """
    return float(np.sqrt(np.mean(_errors(targets, predictions) ** 2)))


def accuracy(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Fraction of (N,) predicted classes that are right.

    Raises:
        ValueError: if the shapes differ or there is no entry.
    """
    truth, guess = _paired(targets, predictions)
    return float(np.mean(truth == guess))


def per_class_accuracy(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """Fraction of each class's members that are recognised, by sorted label.

    Raises:
        ValueError: if the shapes differ or there is no entry.
    """
    truth, guess = _paired(targets, predictions)
    return {
        str(label): float(np.mean(guess[truth == label] == label)) for label in np.unique(truth)
    }


def balanced_accuracy(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Mean of ``per_class_accuracy`` over the classes, rare ones as heavy as frequent ones."""
    return float(np.mean(list(per_class_accuracy(targets, predictions).values())))


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, which way is better, and of what it is."""

    function: Callable[[ArrayLike, ArrayLike], float]
    higher_is_better: bool
    is_of_classes: bool

    def error(self, targets: ArrayLike, predictions: ArrayLike) -> float:
        """Give the score as an error, of which 0 is perfect."""
        score = self.function(targets, predictions)
        return 1 - score if self.higher_is_better else score


METRICS: Mapping[MetricName, Metric] = MappingProxyType(
    {
        "mae": Metric(mean_absolute_error, higher_is_better=False, is_of_classes=False),
        "rmse": Metric(root_mean_square_error, higher_is_better=False, is_of_classes=False),
        "accuracy": Metric(accuracy, higher_is_better=True, is_of_classes=True),
        "balanced_accuracy": Metric(balanced_accuracy, higher_is_better=True, is_of_classes=True),
    }
)


def _errors(targets: ArrayLike, predictions: ArrayLike) -> NDArray[np.float64]:
    truth, guess = _paired(targets, predictions)
    errors = guess.astype(np.float64) - truth.astype(np.float64)
    if not np.isfinite(errors).all():
        raise ValueError("a target or prediction is not finite")
    return errors


def _paired(targets: ArrayLike, predictions: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    truth, guess = np.asarray(targets), np.asarray(predictions)
    if truth.shape != guess.shape or truth.size == 0:
        raise ValueError(f"targets {truth.shape} and predictions {guess.shape} cannot be compared")
    return truth, guess
