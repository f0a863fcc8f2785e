"""Do two models differ, or only the materials they happened to be tested on?

The paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and
16) draws the test materials again, with replacement, and looks at how the difference of the two
means varies. Both models are scored on the same draw, so what is hard for both cancels out. It says
nothing of other seeds: scores are averaged over those at hand first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NUM_RESAMPLES = 10_000
CONFIDENCE = 0.95
_DRAWS_AT_A_TIME = 4_000_000  # 64 MB


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How far the mean scores of two models on N materials are apart.

    Attributes:
        num_materials: N.
        mean_a: mean score of the first.
        mean_b: of the second.
        low: lower end of the 95 % interval of ``difference``.
        high: its upper end.
        p_value: two-sided: twice the smaller part of the resamples on either side of zero, with the
            observed difference as one more, at most 1.
        num_resamples: drawn.
    """

    num_materials: int
    mean_a: float
    mean_b: float
    low: float
    high: float
    p_value: float
    num_resamples: int

    @property
    def difference(self) -> float:
        """Mean of the first minus mean of the second."""
        return self.mean_a - self.mean_b

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    scores_a: ArrayLike, scores_b: ArrayLike, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> PairedDifference:
    """Compare two models by their scores of the same materials.

    Args:
        scores_a: (N,) of the first: absolute errors, or 1 where a class is right and 0 where not,
            averaged over seeds.
        scores_b: (N,) of the second, in the same order of materials.
        num_resamples: draws of N materials with replacement.
        seed: of the draws.

    Raises:
        ValueError: the shapes differ or are not (N,), N is 0, or a score is not finite.
    """
    first, second = np.asarray(scores_a, np.float64), np.asarray(scores_b, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"scores {first.shape} and {second.shape} are not of the same materials")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a score is not finite")
    means = _resampled_means(first - second, num_resamples, np.random.default_rng(seed))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    smaller = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return PairedDifference(
        num_materials=len(first),
        mean_a=float(first.mean()),
        mean_b=float(second.mean()),
        low=float(low),
        high=float(high),
        p_value=min(1.0, 2 * (smaller + 1) / (num_resamples + 1)),
        num_resamples=num_resamples,
    )


def _resampled_means(
    values: NDArray[np.float64], num_resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Give the (num_resamples,) means of draws with replacement, a bounded number at a time."""
    at_a_time = max(1, _DRAWS_AT_A_TIME // len(values))
    means = np.empty(num_resamples)
    for start in range(0, num_resamples, at_a_time):
        num = min(at_a_time, num_resamples - start)
        drawn = generator.integers(0, len(values), size=(num, len(values)), dtype=np.int32)
        means[start : start + num] = values[drawn].mean(axis=1)
    return means
