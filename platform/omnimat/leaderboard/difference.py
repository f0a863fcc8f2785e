"""Do two methods differ, or only the materials and seeds that they happened to be tested with?

Two questions are asked of the scores, and a difference is shown only if both answers are yes.

- Do the trained models differ on more than these materials? The sign-flip test (Fisher, 1935)
  averages the scores over seeds and takes the difference of each material. If either model might
  have scored either way, each difference might as well have had the other sign.
- Do the methods differ by more than their seeds do? The mean difference varies with the materials
  and, if each side has several seeds, with the seeds. Both variances are added, and the quantiles
  of Student's t for both degrees of freedom are averaged (Cochran and Cox, Experimental Designs,
  1957, section 4.14). Degrees of freedom joined as by Satterthwaite would call equal methods
  different up to 14 % of the time, where few seeds of one side vary much.

The p-value is the larger of the two. The interval reaches from the lower of two ends to the higher:
those of Cochran and Cox, and those of the BCa bootstrap over materials (Efron, 1987), which alone
would exclude zero too often where errors have heavy tails. How often equal methods are called
different is measured by ``jobs/benchmarks/comparison_errors.py``.

Materials count as independent. Where the errors of two models have equal means but unlike shapes,
the tests hold for many materials only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_MATERIALS = 20
"""Fewer materials give no verdict."""
SIGNIFICANCE = 0.05

NUM_FLIPS = 9_999
NUM_RESAMPLES = 1_999
_SEED = 0
_MAX_EXACT = 13  # differences; all 2^13 patterns of signs are fewer than NUM_FLIPS
_MAX_BLOCKS = 2_500
_VALUES_AT_A_TIME = 2_000_000  # 16 MB

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far apart the mean scores of two results are.

    Attributes:
        num_materials: N, on how many materials they were compared.
        num_seeds: how many seeds the first and the second result have.
        mean_a: the mean score of the first.
        mean_b: the mean score of the second.
        low: the lower end of the 95 % interval of ``difference``; minus infinity for one material.
        high: its upper end.
        p_value: how likely a difference at least as large is where there is none.
    """

    num_materials: int
    num_seeds: tuple[int, int]
    mean_a: float
    mean_b: float
    low: float
    high: float
    p_value: float

    @property
    def difference(self) -> float:
        """The mean of the first minus the mean of the second."""
        return self.mean_a - self.mean_b

    @property
    def covers_seeds(self) -> bool:
        """Whether the interval says what other seeds would give, not only other materials."""
        return min(self.num_seeds) > 1

    @property
    def has_enough(self) -> bool:
        """Whether the materials are enough for a verdict."""
        return self.num_materials >= MIN_MATERIALS

    @property
    def is_shown(self) -> bool:
        """Whether the two differ."""
        excludes_zero = self.low > 0 or self.high < 0
        return self.has_enough and self.p_value < SIGNIFICANCE and excludes_zero


def difference(scores_a: ArrayLike, scores_b: ArrayLike) -> Difference:
    """Compare two results by their scores on the same materials; the same scores give the same.

    Args:
        scores_a: (S, N) scores of the first with S seeds: absolute errors, or 1 where a class is
            right and 0 where it is wrong.
        scores_b: (T, N) scores of the second, with the materials in the same order.

    Raises:
        ValueError: if these are not the shapes, one of S, T and N is 0, or a score is not finite.
    """
    a, b = np.asarray(scores_a, np.float64), np.asarray(scores_b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not (a.size and b.size):
        raise ValueError(f"scores {a.shape} and {b.shape} are not of the same materials")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a score is not finite")
    each = a.mean(axis=0) - b.mean(axis=0)
    spread = Spread.of(a, b)
    low, high = _outer(spread.interval(each.mean()), bca_interval(each))
    return Difference(
        num_materials=a.shape[1],
        num_seeds=(len(a), len(b)),
        mean_a=float(a.mean()),
        mean_b=float(b.mean()),
        low=low,
        high=high,
        p_value=max(sign_flip_p_value(each), spread.p_value(each.mean())),
    )


def sign_flip_p_value(differences: Numbers) -> float:
    """Give the two-sided p-value of (N,) differences whose signs might as well be others.

    All patterns of signs are tried if at most 13 differences are not zero, else 9,999 random ones,
    to which the observed one is added. More than 2,500 differences flip in 2,500 blocks, which is
    as valid a test.
    """
    sums = _in_blocks(differences[differences != 0])
    if not sums.size:
        return 1.0
    least = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()  # sums of another order round differently
    if len(sums) <= _MAX_EXACT:
        patterns = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1
        return float(_reached(patterns, sums, least) / len(patterns))
    generator, count = np.random.default_rng(_SEED), 1
    for num in _parts(NUM_FLIPS, len(sums)):
        patterns = generator.integers(0, 2, size=(num, len(sums)), dtype=np.int8)
        count += _reached(patterns, sums, least)
    return count / (NUM_FLIPS + 1)


def bca_interval(differences: Numbers) -> tuple[float, float]:
    """Give the 95 % interval of the mean of (N,) differences; NaN where BCa has none.

    More than 2,500 differences are drawn in blocks.
    """
    from scipy import stats

    mean = float(differences.mean())
    centred = differences - mean
    if np.ptp(centred) <= 1e-12 * abs(mean):
        return (mean, mean) if len(centred) > 1 else (math.nan, math.nan)
    sums = _in_blocks(centred)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # it says NaN
        found = stats.bootstrap(
            (sums,),
            np.sum,
            n_resamples=NUM_RESAMPLES,
            batch=max(1, _VALUES_AT_A_TIME // len(sums)),
            confidence_level=1 - SIGNIFICANCE,
            method="BCa",
            rng=np.random.default_rng(_SEED),
        ).confidence_interval
    low, high = (mean + float(end) / len(differences) for end in found)
    return low, high


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance of a mean difference: over materials and, if they are covered, over seeds.

    Attributes:
        variances: (1,) or (2,) parts of the variance.
        degrees: the degrees of freedom by which each part is known.
    """

    variances: Numbers
    degrees: Numbers

    @classmethod
    def of(cls, a: Numbers, b: Numbers) -> Spread:
        """Find the variance over materials and, if both sides have several, over seeds."""
        num_materials = a.shape[1]
        if num_materials < 2:
            return cls(np.array([np.inf]), np.array([1.0]))
        each = a.mean(axis=0) - b.mean(axis=0)
        parts = [(each.var(ddof=1) / num_materials, num_materials - 1)]
        if min(len(a), len(b)) > 1:
            parts.append(_over_seeds(a, b))
        return cls(*np.array(parts, np.float64).T)

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.variances.sum())

    def interval(self, mean: Any) -> tuple[float, float]:
        """Give the 95 % interval around a mean."""
        reach = self.error and self.error * self._quantile(SIGNIFICANCE)
        return float(mean - reach), float(mean + reach)

    def p_value(self, mean: Any) -> float:
        """Find the probability whose quantile is the mean in units of its error."""
        from scipy import optimize

        if not self.error:
            return float(mean == 0)
        t = abs(mean) / self.error
        least = 1e-12  # no more is known of the tails
        if self._quantile(least) <= t:
            return least
        return float(optimize.brentq(lambda p: self._quantile(p) - t, least, 1.0))

    def _quantile(self, p_value: float) -> float:
        """Average the two-sided quantiles of Student's t, weighted by the parts."""
        from scipy import special

        quantiles = -special.stdtrit(self.degrees, p_value / 2)
        if not np.isfinite(self.variances).all():
            return float(quantiles[0])
        return float(np.average(quantiles, weights=self.variances))


def _over_seeds(a: Numbers, b: Numbers) -> tuple[float, float]:
    """Give the variance of a mean difference over seeds, and Welch's degrees of freedom."""
    of_each = np.array([_of_seeds(side) for side in (a, b)])
    degrees = np.array([len(a) - 1, len(b) - 1])
    total = float(of_each.sum())
    if not total:
        return 0.0, float(degrees.sum())
    return total, float(total**2 / (of_each**2 / degrees).sum())


def _of_seeds(scores: Numbers) -> float:
    """Estimate which variance the seeds of (S, N) scores add to the mean.

    The means of seeds also vary since each seed has its luck with each material. This is left out,
    since the variance over materials has it already.
    """
    num_seeds, num_materials = scores.shape
    of_seeds, of_materials = scores.mean(axis=1, keepdims=True), scores.mean(axis=0)
    luck = scores - of_seeds - of_materials + scores.mean()
    of_luck = (luck**2).sum() / ((num_seeds - 1) * (num_materials - 1) * num_materials)
    return float(max(0.0, of_seeds.var(ddof=1) - of_luck) / num_seeds)


def _outer(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Join two intervals, where the ends of the second may be NaN."""
    return float(np.fmin(first[0], second[0])), float(np.fmax(first[1], second[1]))


def _in_blocks(values: Numbers) -> Numbers:
    """Add up (N,) values in at most 2,500 blocks."""
    sums = np.bincount(np.arange(len(values)) % _MAX_BLOCKS, weights=values)
    return sums.astype(np.float64)


def _reached(patterns: NDArray[Any], sums: Numbers, least: float) -> int:
    """Count the patterns of 0 and 1, meaning minus and plus, that reach a sum of any sign."""
    flipped = 2 * (patterns.astype(np.float64) @ sums) - sums.sum()
    return int((np.abs(flipped) >= least).sum())


def _parts(num: int, length: int) -> list[int]:
    """Divide ``num`` draws of this length so that each part fits into memory."""
    at_a_time = max(1, _VALUES_AT_A_TIME // length)
    return [min(at_a_time, num - start) for start in range(0, num, at_a_time)]
