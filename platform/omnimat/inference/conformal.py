"""Prediction intervals that hold a stated share of new materials, whatever the model's errors are.

Split conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005) with errors
that are normalised by the spread of an ensemble (Papadopoulos et al. 2008), so that an interval is
wider where the members disagree. The guarantee is one on average over materials that are drawn as
the calibration split was, and holds for no other material. It also asks that the model was made
without the calibration split. Ours has chosen the point and the epoch by that split, so the stated
share is approximate, and an interval may be somewhat too narrow: go by the share of the test split
that the intervals held, which is measured on materials that chose nothing.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from omnimat.base.settings import Settings

Float = NDArray[np.float64]
COVERAGE = 0.9
# At each of these shares, whether intervals hold what they are to hold can be seen.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


class Level(Settings):
    """How wide the intervals are that hold another share of materials.

    Attributes:
        coverage: the share of materials that the interval is to hold, approximately.
        factor: half the width of the interval, in units of spread plus floor.
    """

    coverage: float = Field(gt=0, lt=1)
    factor: float = Field(ge=0)


class Calibration(Settings):
    """How wide the interval of one quantity is.

    Attributes:
        floor: added to the spread, so that an interval has a width where all members agree; the
            median error on the calibration split.
        factor: half the width of the interval, in units of spread plus floor.
        coverage: the share of materials that the interval is to hold, approximately.
        num_calibration: how many materials it was measured on.
        levels: the factors of other shares, the least first; empty where an older omnimat has
            measured.
    """

    floor: float = Field(gt=0)
    factor: float = Field(ge=0)
    coverage: float = Field(gt=0, lt=1)
    num_calibration: int = Field(ge=1)
    levels: tuple[Level, ...] = ()

    @classmethod
    def fit(
        cls, targets: Float, means: Float, spreads: Float, coverage: float = COVERAGE
    ) -> Self | None:
        """Measure on N materials that the model has not learned from.

        Args:
            targets: (N,) true values.
            means: (N,) predictions.
            spreads: (N,) standard deviations over the members; zero of a single one.
            coverage: the share of materials that the interval is to hold.

        Returns:
            The calibration; None where N is too small for this coverage, so that no finite
            interval holds it (fewer than nine materials for 90 %).
        """
        if _place(len(targets), coverage) > len(targets):
            return None
        errors = np.abs(targets - means)
        floor = float(np.median(errors)) or float(np.finfo(np.float64).tiny)
        scores = np.sort(errors / (spreads + floor))
        told = [one for one in LEVELS if _place(len(scores), one) <= len(scores)]
        return cls(
            floor=floor,
            factor=_factor(scores, coverage),
            coverage=coverage,
            num_calibration=len(targets),
            levels=tuple(Level(coverage=one, factor=_factor(scores, one)) for one in told),
        )

    def half_widths(self, spreads: Float) -> Float:
        """Give half the width of each interval, in the unit of the target: (N,) -> (N,)."""
        return self.factor * (spreads + self.floor)

    def held(self, targets: Float, means: Float, spreads: Float) -> dict[float, float]:
        """Give the share of N materials whose intervals hold the true value, by the wanted share.

        Arguments are those of ``fit``, for materials that the calibration was not measured on.
        """
        scores = np.abs(targets - means) / (spreads + self.floor)
        levels = self.levels or (Level(coverage=self.coverage, factor=self.factor),)
        return {one.coverage: float(np.mean(scores <= one.factor)) for one in levels}


def _place(num_materials: int, coverage: float) -> int:
    """Give the place of the error, in order and from 1, which the share of new ones stays below."""
    return math.ceil((num_materials + 1) * coverage)


def _factor(scores: Float, coverage: float) -> float:
    """Give the factor of a share from the sorted (N,) errors in units of spread plus floor."""
    return float(scores[_place(len(scores), coverage) - 1])


def covered(targets: Float, means: Float, half_widths: Float) -> float:
    """Give the share of N materials whose (N,) targets lie in their intervals."""
    return float(np.mean(np.abs(targets - means) <= half_widths))
