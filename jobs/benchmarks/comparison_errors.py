"""How often equal methods are called different, and how often a real difference is seen.

    python jobs/benchmarks/comparison_errors.py [--simulations 2000] [--only TITLE]

Equal methods are simulated: what is hard for one is hard for the other, errors are normal or have
heavy tails, classes are right or wrong, and seeds may shift a whole model. ``rate`` is the share of
simulations that call the methods different (nominal 5 %), ``bootstrap`` that of the percentile
bootstrap over materials, which has no least number of materials. What no verdict can promise
follows: one seed cannot tell how far others shift a model, and only many materials tell equal means
of unlike shapes from unequal ones. Then come real differences, whose rate is the power, and boards
of equal results, where ``over pairs`` is how boards are marked.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from measure import report
from numpy.typing import NDArray

from omnimat.leaderboard.difference import (
    MIN_MATERIALS,
    SIGNIFICANCE,
    Spread,
    bca_interval,
    difference,
    sign_flip_p_value,
)
from omnimat.leaderboard.marks import corrected_p_values

Numbers = NDArray[np.float64]
NUM_MATERIALS = (2, 5, 20, 100, 1000)
NUM_CHECKED = 5  # simulations of each line, of which the whole comparison is made as well
NUM_RESAMPLES = 1_000
MAX_RATE = 0.06
NUM_ON_BOARD = (2, 5, 10, 20)


@dataclass(frozen=True)
class Null:
    """Two methods that are equally good.

    Attributes:
        name: what the errors are like.
        score: makes (S, N) scores of one side (0 or 1) from what is hard for both (N,), for the
            method (N,), for one training (S, N), and from the shift of each training (S, 1).
    """

    name: str
    score: Callable[[int, Numbers, Numbers, Numbers, Numbers], Numbers]


def normal(side: int, hard: Numbers, own: Numbers, luck: Numbers, shift: Numbers) -> Numbers:
    """Give absolute values of normal errors."""
    return np.abs(0.7 * hard + 0.5 * own + 0.5 * luck) * np.exp(shift)


def heavy(side: int, hard: Numbers, own: Numbers, luck: Numbers, shift: Numbers) -> Numbers:
    """Give log-normal errors."""
    return np.exp(0.7 * hard + 0.7 * own + 0.5 * luck + shift)


def classes(side: int, hard: Numbers, own: Numbers, luck: Numbers, shift: Numbers) -> Numbers:
    """Give 1 where a class is right."""
    return (2.0 + 1.5 * hard + 0.3 * own + 0.5 * luck + 3 * shift > 0).astype(np.float64)


def rarely(side: int, hard: Numbers, own: Numbers, luck: Numbers, shift: Numbers) -> Numbers:
    """Give 1 where a class is right, about which two trainings seldom disagree."""
    return (2.5 + 3 * hard + 0.1 * own + 0.15 * luck + 3 * shift > 0).astype(np.float64)


def unlike(side: int, hard: Numbers, own: Numbers, luck: Numbers, shift: Numbers) -> Numbers:
    """Give log-normal errors of equal means, whose tails are heavy on one side only."""
    tail = (1.0, 0.4)[side]
    return np.exp(0.5 * hard + tail * own - tail**2 / 2 + 0.5 * luck + shift)


NULLS = (
    Null("absolute normal", normal),
    Null("log-normal", heavy),
    Null("right or wrong", classes),
    Null("right or wrong, rarely apart", rarely),
)
UNLIKE = Null("equal means, unlike shapes", unlike)
SEEDS = ((1, 0.0), (2, 0.1), (3, 0.0), (3, 0.1), (5, 0.1))
"""How many seeds each side has, and the deviation by which they shift the logarithm of errors."""


def main() -> None:
    """Simulate part by part and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--only", help="the beginning of the title of a part")
    arguments = parser.parse_args()
    num = arguments.simulations
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        **{f"equal methods, {null.name}": partial(equal_methods, null, num) for null in NULLS},
        "not promised": partial(not_promised, num // 4),
        "real differences": partial(real_differences, num // 10),
        "boards of equal results": partial(boards, num),
        "one comparison": lambda: [{"materials": 10_000, "seeds": 5, "ms": comparison_ms()}],
    }
    for title, simulate in parts.items():
        if title.startswith(arguments.only or ""):
            start_s = time.perf_counter()
            rows = simulate()
            report(title, rows, seconds=time.perf_counter() - start_s)


def equal_methods(null: Null, num: int) -> list[dict[str, Any]]:
    """Compare methods that do not differ; the budget allows for the luck of the simulations."""
    rows = [rates(null, *seeds, materials, num) for seeds in SEEDS for materials in NUM_MATERIALS]
    allowed = MAX_RATE + 3 * (MAX_RATE * (1 - MAX_RATE) / num) ** 0.5
    return [{**row, "within budget": row["rate"] <= allowed} for row in rows]


def not_promised(num: int) -> list[dict[str, Any]]:
    """Compare what no test can tell from a difference."""
    return [
        rates(null, *seeds, materials, num)
        for null, seeds in ((NULLS[0], (1, 0.1)), (UNLIKE, (1, 0.0)), (UNLIKE, (3, 0.1)))
        for materials in NUM_MATERIALS
    ]


def real_differences(num: int) -> list[dict[str, Any]]:
    """Compare methods whose errors differ by a factor."""
    return [
        {**rates(null, *seeds, materials, num, factor), "factor": factor}
        for null in NULLS[:2]
        for seeds in ((1, 0.0), (3, 0.0), (3, 0.1), (5, 0.1))
        for materials, factor in ((20, 1.5), (100, 1.2), (1000, 1.1))
    ]


def boards(num: int) -> list[dict[str, Any]]:
    """Compare the best of equal results with the others."""
    return [board(size, num_seeds, num) for size in NUM_ON_BOARD for num_seeds in (1, 3)]


def rates(
    null: Null, num_seeds: int, shift: float, materials: int, num: int, factor: float = 1.0
) -> dict[str, Any]:
    """Compare ``num`` pairs, the errors of one of which are multiplied by a factor."""
    generator = np.random.default_rng(0)
    calls, each = 0, np.empty((num, materials))
    for index in range(num):
        a, b = made(null, num_seeds, shift, materials, generator)
        a = a * factor
        each[index] = a.mean(axis=0) - b.mean(axis=0)
        called = differs(a, b)
        if index < NUM_CHECKED and called != difference(a, b).is_shown:
            raise AssertionError("the quick way to a verdict gave another one")
        calls += called
    return {
        "errors": null.name,
        "seeds": num_seeds,
        "shift": shift,
        "materials": materials,
        "simulations": num,
        "rate": calls / num,
        "bootstrap": float(percentile(each).mean()),
    }


def made(
    null: Null, num_seeds: int, shift: float, materials: int, generator: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """Make the (S, N) scores of both sides."""
    hard = generator.normal(size=materials)
    a, b = (
        null.score(
            side,
            hard,
            generator.normal(size=materials),
            generator.normal(size=(num_seeds, materials)),
            shift * generator.normal(size=(num_seeds, 1)),
        )
        for side in range(2)
    )
    return a, b


def differs(a: Numbers, b: Numbers, p_value: float = SIGNIFICANCE) -> bool:
    """Give the verdict of ``difference``; what is slow is asked only while all others agree."""
    each = a.mean(axis=0) - b.mean(axis=0)
    if len(each) < MIN_MATERIALS or not each.any():
        return False
    low, high = Spread.of(a, b).interval(each.mean())
    if low <= 0 <= high or sign_flip_p_value(each) >= p_value:
        return False
    low, high = bca_interval(each)
    return not low <= 0 <= high


def percentile(each: Numbers) -> NDArray[np.bool_]:
    """Say of (simulations, N) differences whether the percentile bootstrap excludes zero."""
    num = each.shape[1]
    drawn = np.random.default_rng(1).multinomial(num, np.full(num, 1 / num), NUM_RESAMPLES)
    low, high = np.quantile(each @ drawn.T / num, [0.025, 0.975], axis=1)
    apart: NDArray[np.bool_] = (low > 0) | (high < 0)
    return apart


def board(size: int, num_seeds: int, num: int) -> dict[str, Any]:
    """Rank equal results, and see on which share of boards one is called worse than the best."""
    generator, called = np.random.default_rng(0), {"uncorrected": 0, "Holm": 0, "over pairs": 0}
    for _ in range(num):
        hard = generator.normal(size=100)
        scores = [
            heavy(
                0,
                hard,
                generator.normal(size=100),
                generator.normal(size=(num_seeds, 100)),
                0.1 * (num_seeds > 1) * generator.normal(size=(num_seeds, 1)),
            )
            for _ in range(size)
        ]
        best, *others = sorted(scores, key=lambda one: float(one.mean()))
        p_values = [p_value_of(best, other) for other in others]
        called["uncorrected"] += min(p_values) < SIGNIFICANCE
        called["Holm"] += min(p_values) * len(others) < SIGNIFICANCE
        called["over pairs"] += min(corrected_p_values(p_values)) < SIGNIFICANCE
    shares = {name: count / num for name, count in called.items()}
    return {"results": size, "seeds": num_seeds, "simulations": num, **shares}


def p_value_of(a: Numbers, b: Numbers) -> float:
    """Give the p-value of ``difference``, or one as little that is not significant either way."""
    each = a.mean(axis=0) - b.mean(axis=0)
    p_value = Spread.of(a, b).p_value(each.mean())
    return p_value if p_value >= SIGNIFICANCE else max(p_value, sign_flip_p_value(each))


def comparison_ms() -> float:
    """Time the comparison of 10,000 materials with 5 seeds on each side."""
    a, b = np.random.default_rng(0).lognormal(size=(2, 5, 10_000))
    start_s = time.perf_counter()
    difference(a, b)
    return 1000 * (time.perf_counter() - start_s)


if __name__ == "__main__":
    main()
