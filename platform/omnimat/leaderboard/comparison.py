"""Two results of one board side by side, material by material."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.base.errors import UserError
from omnimat.base.files import parquet_frame, read_file
from omnimat.base.filesystem import location
from omnimat.leaderboard.board import Board
from omnimat.leaderboard.bootstrap import NUM_RESAMPLES, PairedDifference, paired_bootstrap
from omnimat.leaderboard.row import Row

# Of a metric that is a mean over materials, each material's part is known.
COMPARABLE = ("mae", "accuracy")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results, the materials that both predict, and whether they differ there.

    Attributes:
        a: rows of the first, one a seed.
        b: rows of the second.
        paired: of scores averaged over the seeds of each.
        num_not_shared: materials that only some of the rows predict, left out.
    """

    a: Sequence[Row]
    b: Sequence[Row]
    paired: PairedDifference
    num_not_shared: int

    @property
    def verdict(self) -> str:
        """One sentence."""
        first, paired = self.a[0], self.paired
        unit = f" {first.unit}" if first.unit else ""
        interval = f"95 % interval {paired.low:.4g} to {paired.high:.4g}{unit}"
        told = f"A - B = {paired.difference:.4g}{unit} ({interval}, p = {paired.p_value:.2g})"
        if not paired.is_significant:
            return f"no difference is shown: {told}"
        better = "A" if (paired.difference > 0) == first.higher_is_better else "B"
        return f"{better} is better: {told}"


def compare(a: Sequence[Row], b: Sequence[Row], num_resamples: int = NUM_RESAMPLES) -> Comparison:
    """Compare two groups of rows by the paired bootstrap over the test materials.

    Args:
        a: rows of one group.
        b: rows of another of the same board.
        num_resamples: of the bootstrap.

    Raises:
        UserError: they are not of one board, their metric is no mean over materials, or their
            predictions cannot be read, were changed, or share no material.
    """
    first, second = a[0], b[0]
    apart = [
        field.name
        for field in fields(Board)
        if getattr(first, field.name) != getattr(second, field.name)
    ]
    if apart:
        raise UserError(
            f"{first.label!r} and {second.label!r} are not on one board: {', '.join(apart)} differ"
        )
    scores = [material_scores(row) for row in (*a, *b)]
    table = pd.concat(scores, axis=1, join="inner")
    if table.empty:
        raise UserError(f"{first.label!r} and {second.label!r} predict no material in common")
    num_all = len(set().union(*(one.index for one in scores)))
    values = table.to_numpy(dtype=np.float64)
    means = values[:, : len(a)].mean(axis=1), values[:, len(a) :].mean(axis=1)
    return Comparison(a, b, paired_bootstrap(*means, num_resamples), num_all - len(table))


def material_scores(row: Row) -> pd.Series[float]:
    """Give what each material adds to a row's value, which is their mean.

    Returns:
        By material id: the absolute error, a mean over components, or whether the class is right.

    Raises:
        UserError: the row has no predictions of materials, they cannot be read or were changed, or
            its metric is no mean over materials.
    """
    if row.metric not in COMPARABLE or not row.predictions_uri.endswith(".parquet"):
        raise UserError(
            f"{row.label!r} cannot be compared material by material; "
            f"that takes predictions and one of the metrics {', '.join(COMPARABLE)}"
        )
    table = parquet_frame(_unchanged(row))
    truth, guess = (np.array(table[name].tolist()) for name in ("target", "prediction"))
    is_class = row.metric == "accuracy"
    scores = (truth == guess).astype(np.float64) if is_class else _absolute_errors(truth, guess)
    return pd.Series(scores, index=table["material_id"].astype(str))


def _absolute_errors(truth: NDArray[np.float64], guess: NDArray[np.float64]) -> NDArray[np.float64]:
    errors: NDArray[np.float64] = np.abs(guess - truth).reshape(len(truth), -1).mean(axis=1)
    return errors


def _unchanged(row: Row) -> bytes:
    path = location(row.predictions_uri, "predictions_uri")
    try:
        data = read_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} of {row.label!r} is not there") from None
    if hashlib.sha256(data).hexdigest() != row.predictions_sha256:
        raise UserError(f"{path} of {row.label!r} was changed after the row was written")
    return data
