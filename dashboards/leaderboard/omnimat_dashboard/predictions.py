"""Predictions for each material: against the truth, and how often classes are confused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.leaderboard.board import Board
from omnimat.materials.crystals import CRYSTAL_SYSTEMS
from omnimat_dashboard.figures import Figure, cloud
from omnimat_dashboard.text import unit

_COMPONENTS = {"lattice lengths": ("a", "b", "c"), "lattice angles": ("alpha", "beta", "gamma")}
MAX_CLASSES = 30
SHADES = 10


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each class is taken for each, over all seeds.

    Attributes:
        labels: the classes, of the rows as of the columns.
        counts: (true, predicted) how many materials.
        shares: (true, predicted) which share of the true class, 0 to 1.
        accuracies: (class, seed) the accuracy of each class in each seed.
        support: how many materials of each class one seed has.
    """

    labels: list[str]
    counts: list[list[int]]
    shares: list[list[float]]
    accuracies: list[list[float]]
    support: list[int]

    def shade(self, row: int, column: int) -> int:
        """Give the step on the colour scale."""
        return round(self.shares[row][column] * SHADES)

    def accuracy(self, row: int) -> str:
        """Give the mean over seeds in per cent, and the deviation if there are several."""
        values = 100 * np.array(self.accuracies[row])
        if len(values) < 2:
            return f"{values.mean():.1f}"
        return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


def is_classification(table: pd.DataFrame) -> bool:
    """Say whether targets are labels."""
    if not len(table):
        raise ValueError("the predictions are of no material")
    first = table["target"].iloc[0]
    return isinstance(first, str | bool)


def parity(table: pd.DataFrame, board: Board, formulas: Mapping[str, str]) -> Figure:
    """Draw predicted against true values.

    Args:
        table: the predictions.
        board: where they are scored.
        formulas: the formulas of materials by their ids, as far as they are known.
    """
    true, predicted = _numbers(table["target"]), _numbers(table["prediction"])
    of = f" ({unit(board.unit)})" if board.unit else ""
    components = next((c for name, c in _COMPONENTS.items() if board.task.startswith(name)), ())
    axes = (f"true{of}", f"predicted{of}")
    ids = table["material_id"].astype(str).tolist()
    labels = [f"{formulas[one]} ({one})" if one in formulas else one for one in ids]
    return cloud(true, predicted, labels, ids=ids, axes=axes, groups=components)


def statistics(table: pd.DataFrame) -> Mapping[str, float]:
    """Summarise the errors of a regression over all components, in the unit of the target."""
    true, predicted = _numbers(table["target"]), _numbers(table["prediction"])
    errors = predicted - true
    spread = float(((true - true.mean(axis=0)) ** 2).sum())
    return {
        "MAE": float(np.abs(errors).mean()),
        "RMSE": float(np.sqrt((errors**2).mean())),
        "median |error|": float(np.median(np.abs(errors))),
        "bias": float(errors.mean()),
        "R²": 1 - float((errors**2).sum()) / spread if spread else float("nan"),
    }


def confusion(tables: Sequence[pd.DataFrame]) -> Confusion | None:
    """Count classes over all seeds; None if there are too many to show."""
    truths = [table["target"].astype(str).to_numpy() for table in tables]
    guesses = [table["prediction"].astype(str).to_numpy() for table in tables]
    labels = _ordered({str(label) for part in (*truths, *guesses) for label in np.unique(part)})
    if len(labels) > MAX_CLASSES:
        return None
    matrices = np.array([_count(t, g, labels) for t, g in zip(truths, guesses, strict=True)])
    counts, support = matrices.sum(axis=0), matrices.sum(axis=2)
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    return Confusion(
        labels=labels,
        counts=counts.tolist(),
        shares=(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).tolist(),
        accuracies=(hits / np.maximum(support, 1)).T.tolist(),
        support=support[0].tolist(),
    )


def _numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    """Give (N,) or (N, k) numbers."""
    return np.array(column.tolist(), dtype=np.float64)


def _count(truth: NDArray[Any], guess: NDArray[Any], labels: list[str]) -> NDArray[np.int64]:
    places = {label: place for place, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    rows, columns = ([places[str(label)] for label in part] for part in (truth, guess))
    np.add.at(counts, (rows, columns), 1)
    return counts


def _ordered(labels: set[str]) -> list[str]:
    if labels <= set(CRYSTAL_SYSTEMS):
        return [label for label in CRYSTAL_SYSTEMS if label in labels]
    return sorted(labels)
