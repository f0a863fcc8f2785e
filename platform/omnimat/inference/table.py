"""Predictions as a table: a row for each material, whether or not it could be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.finetune.averaging import Mean
from omnimat.inference.card import Predicted
from omnimat.inference.columns import DISTANCE, NAME, column_name, columns_of

Rows = NDArray[np.int64]


def table_of(
    names: Sequence[str],
    rows: Rows,
    predicted: Sequence[Predicted],
    means: Sequence[Mean],
    distances: NDArray[np.float64],
) -> pd.DataFrame:
    """Lay out the predictions for n of N materials.

    Args:
        names: what each of the N materials was given as.
        rows: (n,) which of them could be predicted.
        predicted: the quantities.
        means: the predictions of each quantity for the n materials.
        distances: (n,) distances from the training materials.

    Returns:
        N rows, whose columns depend on the quantities alone. What is not finite is left out.
    """
    table = pd.DataFrame({NAME: list(names)})
    for one, mean in zip(predicted, means, strict=True):
        for name, values in _columns(one, mean).items():
            table[name] = _series(values, rows)
    table[DISTANCE] = _series(distances, rows)
    return table


def not_finite(predicted: Sequence[Predicted], means: Sequence[Mean], place: int) -> list[str]:
    """Name the quantities of the material at a place for which no finite number was predicted."""
    return [
        f"{column_name(one.task)} would not be finite"
        for one, mean in zip(predicted, means, strict=True)
        if not mean.is_finite[place]
    ]


def _columns(predicted: Predicted, mean: Mean) -> dict[str, NDArray[Any]]:
    names = columns_of(predicted.task, has_interval=predicted.calibration is not None)
    if predicted.task.kind == "classification":
        values = mean.values.astype(object)
        values[~mean.is_finite] = None
        return dict(zip(names, (values, 1 - mean.spreads), strict=True))
    numbers = [mean.values]
    if predicted.calibration is not None:
        half = predicted.calibration.half_widths(mean.spreads)
        numbers += [mean.values - half, mean.values + half]
    shown = [np.where(np.isfinite(one), one, np.nan) for one in numbers]
    return dict(zip(names, shown, strict=True))


def _series(values: NDArray[Any], rows: Rows) -> pd.Series[Any]:
    """Make a column of values at some rows; several numbers of one row become one cell."""
    is_plain = values.ndim == 1 and values.dtype != object
    return pd.Series(list(values), index=rows, dtype=float if is_plain else object)
