"""Which results of a board differ from the best, so that a rank says no more than the data do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from omnimat.base.errors import RunError, UserError
from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.comparison import Scores, paired_difference, scores_by_seed
from omnimat.leaderboard.contest import Contest
from omnimat.leaderboard.difference import MIN_MATERIALS, SIGNIFICANCE, Difference
from omnimat.leaderboard.metrics import METRICS
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore

MAX_COMPARED = 20
"""How many of the best results are compared; with more, no p-value would survive the correction."""

RowsOf = Callable[[str], Sequence[Row]]
ScoresOf = Callable[[Row], Scores]
DifferenceOf = Callable[[Sequence[Row], Sequence[Row]], Difference]

Kind = Literal["best", "tied", "worse", "unknown"]


@dataclass(frozen=True, slots=True)
class Mark:
    """How a result stands to the best of its board.

    Attributes:
        kind: ``tied`` if it is not shown to be worse, ``unknown`` if it could not be compared.
        sentence: the same with the numbers, or why it is unknown; empty if there is no more to say.
    """

    kind: Kind
    sentence: str


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one board.

    Attributes:
        note: what they say of the board as a whole, or why there are none; empty for one result.
        of: the marks of the best results by their group ids.
    """

    note: str
    of: Mapping[str, Mark]


def is_mean_over_materials(metric: str) -> bool:
    """Tell whether results by this metric can be compared material by material."""
    return any(name == metric and one.of_each for name, one in METRICS.items())


def marks(ranked: Sequence[Summary], rows_of: RowsOf, difference_of: DifferenceOf) -> Marks:
    """Compare the best result of a board with those that follow it.

    Args:
        ranked: all results of the board, best first.
        rows_of: gives the rows of a group; it raises ``UserError`` if one is damaged.
        difference_of: compares two groups of rows; it raises ``UserError``, ``RunError`` or
            ``ValueError`` if it cannot.
    """
    if len(ranked) < 2:
        return Marks("", {})
    best, *others = ranked[:MAX_COMPARED]
    if not is_mean_over_materials(best.board.metric):
        why = f"{best.board.metric} is no mean over materials of which predictions are kept"
        return Marks(f"Results are not compared: {why}.", {})
    first: Sequence[Row] = ()
    found: dict[str, Difference] = {}
    given: dict[str, Mark] = {}
    for other in others:
        try:
            first = first or rows_of(best.group_id)
            one = difference_of(first, rows_of(other.group_id))
            if one.has_enough:
                found[other.group_id] = one
                continue
            why = f"fewer than {MIN_MATERIALS} materials in common"
        except (UserError, RunError, ValueError) as error:
            why = str(error)
        given[other.group_id] = Mark("unknown", f"not compared with the best: {why}")
    corrected = corrected_p_values([one.p_value for one in found.values()])
    for (group_id, one), p_value in zip(found.items(), corrected, strict=True):
        given[group_id] = _mark(one, p_value, best.board.higher_is_better)
    num_tied = sum(mark.kind == "tied" for mark in given.values())
    if found:
        given[best.group_id] = Mark("best", _best(num_tied, len(given) - len(found)))
    return Marks(_note(len(found), len(ranked)), given)


def corrected_p_values(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of comparisons with the best, as Holm (1979) does for many tests.

    The best was chosen by the same scores, so each pair among k results counts that might have
    been best and second best: a p-value is multiplied by k (k - 1) / 2 instead of k - 1. As with
    Holm, results that differ leave, the clearest first, and k falls.
    """
    values, corrected, so_far = np.asarray(p_values, np.float64), np.empty(len(p_values)), 0.0
    for place, index in enumerate(np.argsort(values, kind="stable")):
        k = len(values) + 1 - place
        so_far = max(so_far, min(1.0, float(values[index]) * k * (k - 1) / 2))
        corrected[index] = so_far
    return [float(one) for one in corrected]


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of several tests as Holm (1979) does, so that few are shown by chance.

    The smallest of n is multiplied by n, the next by n - 1, and none falls below one before it.
    """
    values, corrected, so_far = np.asarray(p_values, np.float64), np.empty(len(p_values)), 0.0
    for place, index in enumerate(np.argsort(values, kind="stable")):
        so_far = max(so_far, min(1.0, float(values[index]) * (len(values) - place)))
        corrected[index] = so_far
    return [float(one) for one in corrected]


def num_files(contest: Contest) -> int:
    """Count the files of predictions that it takes to compare the results of a contest."""
    is_read = len(contest.ranked) > 1 and is_mean_over_materials(contest.board.metric)
    return is_read * sum(one.n for one in contest.ranked[:MAX_COMPARED])


def marks_of_contests(
    store: LeaderboardStore, contests: Iterable[Contest], scores_of: ScoresOf, max_files: int
) -> tuple[dict[Board, Marks], list[Board]]:
    """Mark several contests, as long as that takes no more than so many files of predictions.

    Returns:
        The marks of each by its board, and the boards that were left out.
    """
    marked, left_out = {}, []
    for contest in contests:
        if num_files(contest) > max_files:
            left_out.append(contest.board)
            continue
        max_files -= num_files(contest)
        rows_of = partial(contest.rows, store)
        marked[contest.board] = marks(contest.ranked, rows_of, Comparer(scores_of))
    return marked, left_out


class Comparer:
    """Compares groups of rows, those of folds together.

    The scores of the group that it was asked for first are kept.
    """

    def __init__(self, scores_of: ScoresOf) -> None:
        """Read scores by this function."""
        self._scores_of = scores_of
        self._kept: tuple[Sequence[Row], Sequence[Scores]] = ((), ())

    def __call__(self, first: Sequence[Row], second: Sequence[Row]) -> Difference:
        """Compare two groups of one board.

        Raises:
            UserError: if predictions cannot be read or scored.
            ValueError: if no material is predicted by all rows, or one is predicted twice.
        """
        if self._kept[0] is not first:
            self._kept = first, scores_by_seed(first, self._scores_of)
        paired, _ = paired_difference(self._kept[1], scores_by_seed(second, self._scores_of))
        return paired


def _mark(one: Difference, p_value: float, higher_is_better: bool) -> Mark:
    numbers = f"p = {p_value:.2g} over {one.num_materials:,} materials, {_seeds(one)}"
    if not (one.is_shown and p_value < SIGNIFICANCE):
        return Mark("tied", f"does not differ from the best ({numbers})")
    if (one.difference > 0) == higher_is_better:
        return Mark("worse", f"worse than the best ({numbers})")
    return Mark("tied", f"better than the best on the materials that both predict ({numbers})")


def _seeds(one: Difference) -> str:
    counts = sorted(set(one.num_seeds))
    told = f"{' and '.join(map(str, counts))} seed{'s' if counts[-1] > 1 else ''}"
    return told if one.covers_seeds else f"{told}, so other seeds are not covered"


def _best(num_tied: int, num_unknown: int) -> str:
    if num_tied:
        return f"best, but {num_tied} of the others {'do' if num_tied > 1 else 'does'} not differ"
    return "best of those that could be compared" if num_unknown else ""


def _note(num_compared: int, num_results: int) -> str:
    if not num_compared:
        return "No result could be compared with the best."
    which = f"The first {MAX_COMPARED} results are" if num_results > MAX_COMPARED else "Results are"
    return (
        f"{which} compared with the best, material by material; p is corrected for the choice of "
        f"the best among {num_compared + 1} (Holm)."
    )
