"""What the intervals of packed models are to hold, and how many true values of a result they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from omnimat.inference.card import Predicted
from omnimat.inference.conformal import Calibration
from omnimat.leaderboard.origins import Origin
from omnimat.leaderboard.row import Row
from omnimat_dashboard.packages import Packages


@dataclass(frozen=True, slots=True)
class Intervals:
    """The intervals of a package that holds the weights of a result.

    Attributes:
        package: name of the package.
        calibration: how wide they are.
        seeds: the seeds of its members.
        told: how many true values they are to hold, and how many they hold, in a sentence.
    """

    package: str
    calibration: Calibration
    seeds: tuple[int, ...]
    told: str


def intervals_of(packages: Packages, row: Row) -> list[Intervals]:
    """Give those of each package that holds the weights of a row's run.

    Raises:
        RunError: the storage is out of reach.
    """
    return [
        Intervals(
            package=packed.name,
            calibration=one.calibration,
            seeds=predictor.network.seeds,
            told=f"The intervals of {packed.name} are to hold {one.calibration.coverage:.0%} of "
            f"true values. They hold {one.score.coverage:.1%} of these {one.score.num_test:,}, as "
            "its card says.",
        )
        for packed in packages.of([Origin.of(row)])
        if (predictor := packed.card.predictor) is not None
        for one in _scored_alike(predictor.predicted, row)
        if one.calibration is not None
    ]


def _scored_alike(quantities: tuple[Predicted, ...], row: Row) -> Iterator[Predicted]:
    """Give those with intervals that were scored as the row was."""
    for one in quantities:
        is_same = (one.task.name, one.score.num_test) == (row.task, row.num_test)
        if is_same and one.score.coverage is not None:
            yield one
