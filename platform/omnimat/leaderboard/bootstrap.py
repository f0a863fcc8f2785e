"""Do two models differ, or only the materials they happened to be tested on?

The paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and
16) draws the test materials again, with replacement, and looks at how the difference of the two
means varies. Both models are scored on the same draw, so what is hard for both cancels out. It says
nothing about other seeds: scores are averaged over the available ones first.
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
    """How far apart the mean scores of two models on N materials are.

    Attributes:
        num_materials: N.
        mean_a: the mean score of the first model.
        mean_b: the mean score of the second.
        low: the lower end of the 95 % interval of ``difference``.
        high: its upper end.
        p_value: the two-sided p-value: twice the fraction of resamples on the rarer side of zero,
            at most 1, where the observed difference counts as one more resample.
        num_resamples: how many resamples were drawn.
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
        """The mean of the first minus the mean of the second."""
        return self.mean_a - self.mean_b

    @property
    def is_significant(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    scores_a: ArrayLike, scores_b: ArrayLike, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> PairedDifference:
    """Compare two models by their scores on the same materials.

    Args:
        scores_a: (N,) scores of the first model, averaged over seeds: absolute errors, or 1 where
            a class is right and 0 where it is wrong.
        scores_b: (N,) scores of the second, with the materials in the same order.
        num_resamples: how often N materials are drawn with replacement.
        seed: decides the draws.

    Raises:
        ValueError: if the shapes differ or are not (N,), N is 0, or a score is not finite.
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
    """Draw with replacement, a bounded number at a time: the (num_resamples,) means."""
    at_a_time = max(1, _DRAWS_AT_A_TIME // len(values))
    means = np.empty(num_resamples)
    for start in range(0, num_resamples, at_a_time):
        num = min(at_a_time, num_resamples - start)
        drawn = generator.integers(0, len(values), size=(num, len(values)), dtype=np.int32)
        means[start : start + num] = values[drawn].mean(axis=1)
    return means
