"""Does a model know how sure it may be? Shares that it says against shares that come true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.inference.conformal import Calibration
from omnimat_dashboard.figures import Figure, curves, share_against_share
from omnimat_dashboard.text import count, unit

Float = NDArray[np.float64]

PROBABILITY = "probability"  # of the predicted class, a column of predictions
NUM_BINS = 10
MIN_IN_BIN = 10  # materials; fewer say nothing of a mean


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One look at how sure a model may be.

    Attributes:
        title: what is compared.
        told: what comes out, in a sentence.
        figure: the comparison.
        label: the figure in words, for those who cannot see it.
        columns: the headings of its numbers.
        lines: its numbers.
    """

    title: str
    told: str
    figure: Figure
    label: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]


def of_probabilities(tables: Sequence[pd.DataFrame]) -> Calibrated | None:
    """Compare the probabilities of predicted classes with how often these are right.

    The expected calibration error is that of Guo et al. (2017), over ten bins of equal width.

    Args:
        tables: predictions of classes of each seed.

    Returns:
        The reliability diagram of all seeds together; None without probabilities.
    """
    if not all(PROBABILITY in table for table in tables):
        return None
    said = np.concatenate([table[PROBABILITY].to_numpy(dtype=np.float64) for table in tables])
    is_right = np.concatenate([_is_right(table) for table in tables])
    said, is_right = said[np.isfinite(said)], is_right[np.isfinite(said)]
    if not len(said):
        return None
    places = np.clip((said * NUM_BINS).astype(int), 0, NUM_BINS - 1)
    bins = [(place, places == place) for place in np.unique(places)]
    sizes = np.array([here.sum() for _, here in bins])
    means = np.array([(said[here].mean(), is_right[here].mean()) for _, here in bins])
    error = float(sizes @ np.abs(means[:, 0] - means[:, 1]) / len(said))
    lines = [
        (f"{place / NUM_BINS:.0%} to {(place + 1) / NUM_BINS:.0%}", f"{size:,}", *_percents(pair))
        for (place, _), size, pair in zip(bins, sizes, means, strict=True)
    ]
    points = [
        (*pair, f"{line[1]} predictions: {line[2]} % said, {line[3]} % right")
        for pair, line in zip(means.tolist(), lines, strict=True)
    ]
    return Calibrated(
        title="Are its probabilities right?",
        told=f"Expected calibration error {100 * error:.1f} points: the model says "
        f"{said.mean():.1%} on average and is right in {is_right.mean():.1%}"
        f"{_sure(said, is_right)}.",
        figure=share_against_share(
            ("probability said (%)", "right (%)"), points, _spans(means[:, 1], sizes)
        ),
        label="How often classes are right against the probability that is said",
        columns=("Probability", "Predictions", "Said (%)", "Right (%)"),
        lines=lines,
    )


def _sure(said: Float, is_right: NDArray[np.bool_]) -> str:
    """Say whether a model is too sure, if that is more than chance."""
    more, share = said.mean() - is_right.mean(), is_right.mean()
    if abs(more) <= 2 * np.sqrt(share * (1 - share) / len(said)):
        return ""
    return ", so it is surer than it may be" if more > 0 else ", so it may be surer"


def of_intervals(
    tables: Sequence[pd.DataFrame], calibration: Calibration, name: str
) -> Calibrated | None:
    """Compare the shares that a package's intervals are to hold with those that they hold.

    Args:
        tables: predictions of a number of each of its members.
        calibration: how wide its intervals are.
        name: name of the package.
    """
    members = _Members.of(tables)
    if members.targets.ndim != 1:
        return None
    held = calibration.held(members.targets, members.means, members.spreads)
    number = len(members.targets)
    off = max(held, key=lambda one: abs(held[one] - one))
    return Calibrated(
        title=f"Do the intervals of {name} hold what they are to hold?",
        told=f"Farthest off: {held[off]:.1%} held for {off:.0%} wanted, of "
        f"{count(number, 'test material')}.",
        figure=share_against_share(
            ("wanted (%)", "held (%)"),
            [(one, it, f"{one:.0%} wanted, {it:.1%} held") for one, it in held.items()],
            _spans(np.array([*held.values()]), np.full(len(held), number)),
        ),
        label="Share of true values that intervals hold against the share that is wanted",
        columns=("Wanted (%)", "Held (%)"),
        lines=[_percents(pair) for pair in held.items()],
    )


def of_seeds(tables: Sequence[pd.DataFrame], unit_of_errors: str) -> Calibrated | None:
    """Compare the error of the mean over seeds with how far the seeds are apart.

    Args:
        tables: predictions of numbers of each seed.
        unit_of_errors: unit of the target.

    Returns:
        The error by tenths of the materials, or larger parts; None of one seed, of too few
        materials, or where all seeds agree.
    """
    if len(tables) < 2:
        return None
    members = _Members.of(tables)
    errors, spreads = members.mean_errors(), members.mean_spreads()
    num_bins = min(NUM_BINS, len(errors) // MIN_IN_BIN)
    if num_bins < 2 or not spreads.any():
        return None
    parts = np.array_split(np.argsort(spreads, kind="stable"), num_bins)
    x, y = ([float(values[part].mean()) for part in parts] for values in (spreads, errors))
    order = float(pd.Series(spreads).rank().corr(pd.Series(errors).rank()))  # Spearman's
    of = f" ({unit(unit_of_errors)})" if unit_of_errors else ""
    return Calibrated(
        title="Do the seeds know where they err?",
        told=f"Rank correlation of spread and error {order:.2f}: 1 if the seeds differ most where "
        "they err most, 0 if their spread says nothing.",
        figure=curves(
            f"standard deviation of {len(tables)} seeds{of}",
            f"mean |error|{of}",
            [{"name": "mean of the seeds", "x": x, "y": y, "points": True}],
            scale="from zero",
        ),
        label="Mean error against the spread of the seeds",
        columns=("Materials", f"Spread{of}", f"Mean |error|{of}"),
        lines=[
            (f"{len(part):,}", f"{spread:.3g}", f"{error:.3g}")
            for part, spread, error in zip(parts, x, y, strict=True)
        ],
    )


@dataclass(frozen=True, slots=True)
class _Members:
    """Predictions of several seeds for the same N materials.

    Attributes:
        targets: (N,) or (N, k) true values.
        means: means over the seeds, of the same shape.
        spreads: their standard deviations, as ``inference.network.averaged`` takes them.
    """

    targets: Float
    means: Float
    spreads: Float

    @classmethod
    def of(cls, tables: Sequence[pd.DataFrame]) -> _Members:
        named = [table.set_index(table["material_id"].astype(str)) for table in tables]
        common = named[0].index
        for table in named[1:]:
            common = common.intersection(table.index)
        each = np.stack([_numbers(table["prediction"].reindex(common)) for table in named])
        targets = _numbers(named[0]["target"].reindex(common))
        return cls(targets, each.mean(axis=0), each.std(axis=0))

    def mean_errors(self) -> Float:
        """Give the (N,) errors; of several numbers their means."""
        return _over_components(np.abs(self.means - self.targets))

    def mean_spreads(self) -> Float:
        return _over_components(self.spreads)


def _over_components(values: Float) -> Float:
    means: Float = values.reshape(len(values), -1).mean(axis=1)
    return means


def _numbers(column: pd.Series[Any]) -> Float:
    return np.array(column.tolist(), dtype=np.float64)


def _is_right(table: pd.DataFrame) -> NDArray[np.bool_]:
    return np.asarray(table["target"].astype(str) == table["prediction"].astype(str))


def _percents(shares: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{100 * share:.1f}" for share in shares)


def _spans(shares: Float, sizes: NDArray[Any]) -> Float:
    """Give the standard errors of shares that were counted on so many materials."""
    spans: Float = np.sqrt(shares * (1 - shares) / sizes)
    return spans
