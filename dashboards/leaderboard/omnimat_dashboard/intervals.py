"""How many true values the intervals of packed models hold, of the materials of a result."""

from __future__ import annotations

from collections.abc import Iterator

from omnimat.inference.card import Predicted
from omnimat.leaderboard.origins import Origin
from omnimat.leaderboard.row import Row
from omnimat_dashboard.packages import Packages


def told_intervals(packages: Packages, row: Row) -> list[str]:
    """Say it in a sentence for each package that holds the weights of a row's run.

    Raises:
        RunError: the storage is out of reach.
    """
    return [
        f"The intervals of {packed.name} are to hold {one.calibration.coverage:.0%} of true "
        f"values. They hold {one.score.coverage:.1%} of these {one.score.num_test:,}, as its card "
        "says."
        for packed in packages.of([Origin.of(row)])
        for one in _predicted(packed.card.predictor.predicted if packed.card.predictor else (), row)
        if one.calibration is not None
    ]


def _predicted(quantities: tuple[Predicted, ...], row: Row) -> Iterator[Predicted]:
    """Give those with intervals that were scored as the row was."""
    for one in quantities:
        is_same = (one.task.name, one.score.num_test) == (row.task, row.num_test)
        if is_same and one.score.coverage is not None:
            yield one
