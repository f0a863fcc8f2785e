"""Two results of one board side by side, material by material."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.base.files import parquet_frame
from omnimat.leaderboard.board import Board
from omnimat.leaderboard.columns import board_of
from omnimat.leaderboard.difference import MIN_MATERIALS, Difference, difference
from omnimat.leaderboard.metrics import METRICS
from omnimat.leaderboard.predictions import read_predictions
from omnimat.leaderboard.row import Row

Scores: TypeAlias = "pd.Series[float]"
"""The score of each material, by its id."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results, and whether they differ on the materials that both predict.

    Attributes:
        a: the rows of the first result, one for each seed and board.
        b: the rows of the second.
        paired: their difference.
        num_not_shared: how many materials were left out, because only some rows predict them.
    """

    a: Sequence[Row]
    b: Sequence[Row]
    paired: Difference
    num_not_shared: int

    @property
    def better(self) -> str:
        """``A`` or ``B``, whichever is better; empty if no difference is shown."""
        if not self.paired.is_shown:
            return ""
        return "A" if (self.paired.difference > 0) == self.a[0].higher_is_better else "B"

    @property
    def verdict(self) -> str:
        """Say in one sentence which is better, if either is."""
        paired, unit = self.paired, f" {self.a[0].unit}".rstrip()
        told = f"A - B = {paired.difference:.4g}{unit}"
        if math.isfinite(paired.low):
            told += f" (95 % interval {paired.low:.4g} to {paired.high:.4g}{unit}"
            told += f", p = {paired.p_value:.2g})"
        if not paired.has_enough:
            number = paired.num_materials
            there = f"there {'is' if number == 1 else 'are'} {number}"
            return f"no verdict, since it takes {MIN_MATERIALS} materials, and {there}: {told}"
        return (
            f"{self.better} is better: {told}" if self.better else f"no difference is shown: {told}"
        )

    @property
    def scope(self) -> str:
        """Say what the verdict covers, and what it does not."""
        return scope(self.paired)


def scope(paired: Difference) -> str:
    """Say what a difference is about: the methods, or these trained models alone."""
    if paired.covers_seeds:
        return "it covers other test materials and other seeds"
    which = " and ".join(name for name, num in zip("AB", paired.num_seeds, strict=True) if num == 1)
    return (
        f"it covers other test materials, but not other seeds, since {which} "
        f"{'have' if ' ' in which else 'has'} only one: it is about these trained models, and not "
        "about how they were trained"
    )


def compare(a: Sequence[Row], b: Sequence[Row], storage: Confined) -> Comparison:
    """Compare two results by their scores on the test materials.

    Args:
        a: the rows of a group, or those of one method on several folds, which are boards of their
            own. The scores of all folds are then pooled, seed by seed.
        b: the rows of another result on the same board or boards.
        storage: where the files are that rows name.

    Raises:
        UserError: if they are not on the same boards, not every fold has every seed, their metric
            is no mean over materials, or their predictions cannot be read, were changed, or share
            no material.
    """
    labels = f"{a[0].label!r} and {b[0].label!r}"
    first, second = _boards(a), _boards(b)
    if len(first) != len(second):
        raise UserError(f"{labels} are results of {len(first)} and of {len(second)} boards")
    if apart := _apart(first, second):
        raise UserError(f"{labels} are not on one board: {', '.join(apart)} differ")
    scores = [scores_by_seed(rows, lambda row: material_scores(row, storage)) for rows in (a, b)]
    try:
        return Comparison(a, b, *paired_difference(*scores))
    except ValueError as error:
        raise UserError(f"{labels}: {error}") from error


def scores_by_seed(rows: Sequence[Row], scores_of: Callable[[Row], Scores]) -> list[Scores]:
    """Give the scores of each seed of a result; those of its folds are pooled.

    Raises:
        UserError: if not every fold has every seed, or ``scores_of`` raises it.
    """
    return [pd.concat([scores_of(row) for row in members]) for members in _by_seed(rows)]


def _by_seed(rows: Sequence[Row]) -> list[list[Row]]:
    """Put the rows of one result together that have a seed: one of each of its boards.

    Raises:
        UserError: a board lacks a seed that another has.
    """
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.seed, []).append(row)
    if any(len(members) < len(_boards(rows)) for members in found.values()):
        raise UserError(f"{rows[0].label!r}: not every fold has every seed; run the missing ones")
    return list(found.values())


def _boards(rows: Sequence[Row]) -> list[Board]:
    return sorted({board_of(row) for row in rows}, key=lambda board: board.task)


def _apart(first: Sequence[Board], second: Sequence[Board]) -> list[str]:
    """Name what differs between boards of one task after another."""
    return [
        field.name
        for field in fields(Board)
        if any(
            getattr(one, field.name) != getattr(other, field.name)
            for one, other in zip(first, second, strict=True)
        )
    ]


def paired_difference(a: Sequence[Scores], b: Sequence[Scores]) -> tuple[Difference, int]:
    """Compare the scores of two results, one series for each seed, on the materials of all.

    Returns:
        The difference, and how many materials were left out.

    Raises:
        ValueError: if no material is in all series, or one is in a series twice.
    """
    if not all(one.index.is_unique for one in (*a, *b)):
        raise ValueError("a material is predicted twice")
    # Whichever comes first, the same materials are drawn and flipped.
    table = pd.concat([*a, *b], axis=1, join="inner").sort_index()
    if table.empty:
        raise ValueError("they predict no material in common")
    num_all = len(set().union(*(one.index for one in (*a, *b))))
    values = table.to_numpy(dtype=np.float64).T
    return difference(values[: len(a)], values[len(a) :]), num_all - len(table)


def material_scores(row: Row, storage: Confined) -> Scores:
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
    _of_each(row)
    data = read_predictions(row, storage)
    try:
        table = parquet_frame(data)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{row.predictions_uri} of {row.label!r} is no Parquet file that can be read: {error}"
        ) from error
    return scores_in(table, row)


def scores_in(table: pd.DataFrame, row: Row) -> Scores:
    """Score a row's table of predictions as ``material_scores`` does.

    Raises:
        UserError: if the row's metric is no mean over materials, or the table cannot be scored.
    """
    of_each = _of_each(row)
    try:
        scores = of_each(table["target"].tolist(), table["prediction"].tolist())
        return pd.Series(scores, index=table["material_id"].astype(str))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{row.predictions_uri} of {row.label!r} has no score: {error}") from error


def _of_each(row: Row) -> Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]:
    comparable = {name: metric.of_each for name, metric in METRICS.items() if metric.of_each}
    of_each = next((each for name, each in comparable.items() if name == row.metric), None)
    if of_each is None or not row.predictions_uri.endswith(".parquet"):
        raise UserError(
            f"{row.label!r} cannot be compared material by material; "
            f"that takes predictions and one of the metrics {', '.join(comparable)}"
        )
    return of_each
