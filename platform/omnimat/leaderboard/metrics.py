"""The metrics that rows of predictions are scored by, in NumPy and float64."""

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
    """Take the root of the mean squared error over all entries, in the targets' unit.

    Arguments and errors are those of ``mean_absolute_error``.
    """
    return float(np.sqrt(np.mean(_errors(targets, predictions) ** 2)))


def accuracy(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Give the fraction of (N,) predicted classes that are right.

    Raises:
        ValueError: if the shapes differ or there is no entry.
    """
    return float(np.mean(_is_right(targets, predictions)))


def per_class_accuracy(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """Give the fraction of each class's members that are recognised, by sorted label.

    Raises:
        ValueError: if the shapes differ or there is no entry.
    """
    truth, guess = _paired(targets, predictions)
    return {
        str(label): float(np.mean(guess[truth == label] == label)) for label in np.unique(truth)
    }


def balanced_accuracy(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Average ``per_class_accuracy`` over the classes, so that a rare one counts as much."""
    return float(np.mean(list(per_class_accuracy(targets, predictions).values())))


@dataclass(frozen=True, slots=True)
class Metric:
    """How predictions are scored.

    Attributes:
        function: maps targets and predictions to the score.
        higher_is_better: whether a higher score is better.
        is_of_classes: whether it takes classes rather than numbers.
        of_each: maps the same to the (N,) scores of the materials, where the score is their mean.
    """

    function: Callable[[ArrayLike, ArrayLike], float]
    higher_is_better: bool
    is_of_classes: bool
    of_each: Callable[[ArrayLike, ArrayLike], NDArray[np.float64]] | None = None

    def error(self, targets: ArrayLike, predictions: ArrayLike) -> float:
        """Turn the score into an error: 0 is perfect."""
        score = self.function(targets, predictions)
        return 1 - score if self.higher_is_better else score


def _absolute_errors(targets: ArrayLike, predictions: ArrayLike) -> NDArray[np.float64]:
    """Give the (N,) absolute errors; of a target of several numbers, the mean over these."""
    errors = np.abs(_errors(targets, predictions))
    each: NDArray[np.float64] = errors.reshape(len(errors), -1).mean(axis=1)
    return each


def _is_right(targets: ArrayLike, predictions: ArrayLike) -> NDArray[np.float64]:
    truth, guess = _paired(targets, predictions)
    return np.asarray(truth == guess, dtype=np.float64)


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


METRICS: Mapping[MetricName, Metric] = MappingProxyType(
    {
        "mae": Metric(mean_absolute_error, False, False, _absolute_errors),
        "rmse": Metric(root_mean_square_error, False, False),
        "accuracy": Metric(accuracy, True, True, _is_right),
        "balanced_accuracy": Metric(balanced_accuracy, True, True),
    }
)
