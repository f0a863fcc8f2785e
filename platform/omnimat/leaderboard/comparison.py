"""Two results of one board side by side, material by material."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.base.files import parquet_frame
from omnimat.leaderboard.board import Board
from omnimat.leaderboard.bootstrap import NUM_RESAMPLES, PairedDifference, paired_bootstrap
from omnimat.leaderboard.metrics import METRICS
from omnimat.leaderboard.predictions import read_predictions
from omnimat.leaderboard.row import Row


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results, and whether they differ on the materials that both predict.

    Attributes:
        a: the rows of the first result, one for each seed.
        b: the rows of the second.
        paired: their difference, once the scores of each are averaged over its seeds.
        num_not_shared: how many materials were left out, because only some rows predict them.
    """

    a: Sequence[Row]
    b: Sequence[Row]
    paired: PairedDifference
    num_not_shared: int

    @property
    def verdict(self) -> str:
        """Say in one sentence which is better, if either is."""
        first, paired = self.a[0], self.paired
        unit = f" {first.unit}" if first.unit else ""
        interval = f"95 % interval {paired.low:.4g} to {paired.high:.4g}{unit}"
        told = f"A - B = {paired.difference:.4g}{unit} ({interval}, p = {paired.p_value:.2g})"
        if not paired.is_significant:
            return f"no difference is shown: {told}"
        better = "A" if (paired.difference > 0) == first.higher_is_better else "B"
        return f"{better} is better: {told}"


def compare(
    a: Sequence[Row], b: Sequence[Row], storage: Confined, num_resamples: int = NUM_RESAMPLES
) -> Comparison:
    """Compare two groups of rows by the paired bootstrap over the test materials.

    Args:
        a: the rows of one group.
        b: the rows of another group of the same board.
        storage: where the files are that rows name.
        num_resamples: how often the bootstrap draws the materials.

    Raises:
        UserError: if they are not on one board, their metric is no mean over materials, or their
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
    scores = [material_scores(row, storage) for row in (*a, *b)]
    table = pd.concat(scores, axis=1, join="inner")
    if table.empty:
        raise UserError(f"{first.label!r} and {second.label!r} predict no material in common")
    num_all = len(set().union(*(one.index for one in scores)))
    values = table.to_numpy(dtype=np.float64)
    means = values[:, : len(a)].mean(axis=1), values[:, len(a) :].mean(axis=1)
    return Comparison(a, b, paired_bootstrap(*means, num_resamples), num_all - len(table))


def material_scores(row: Row, storage: Confined) -> pd.Series[float]:
    """Give what each material adds to a row's value, which is the mean of these.

    Args:
        row: the row.
        storage: where its predictions are.

    Returns:
        By material id, the absolute error (a mean over components where there are several), or
        whether the class is right.

    Raises:
        UserError: if the row's metric is no mean over materials, or its predictions are not there,
            cannot be scored or were changed.
    """
    comparable = {name: metric.of_each for name, metric in METRICS.items() if metric.of_each}
    of_each = next((each for name, each in comparable.items() if name == row.metric), None)
    if of_each is None or not row.predictions_uri.endswith(".parquet"):
        raise UserError(
            f"{row.label!r} cannot be compared material by material; "
            f"that takes predictions and one of the metrics {', '.join(comparable)}"
        )
    table = parquet_frame(read_predictions(row, storage))
    try:
        scores = of_each(table["target"].tolist(), table["prediction"].tolist())
    except ValueError as error:
        raise UserError(f"{row.predictions_uri} of {row.label!r} has no score: {error}") from error
    return pd.Series(scores, index=table["material_id"].astype(str))
