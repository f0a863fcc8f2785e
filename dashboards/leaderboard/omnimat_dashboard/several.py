"""Three to six results of one board: every pair of them, and how their configurations differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from omnimat.base.errors import RunError, UserError
from omnimat.leaderboard.difference import SIGNIFICANCE, Difference
from omnimat.leaderboard.marks import DifferenceOf, holm
from omnimat_dashboard.artifacts import Found
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.compare import Side, circumstances_of, side_of
from omnimat_dashboard.standing import Standing
from omnimat_dashboard.text import Scale
from omnimat_dashboard.varied import Varied, varied, varied_configs

MAX_RESULTS = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the result of a line stands to that of a column.

    Attributes:
        kind: ``better``, ``worse``, ``tied`` if no difference is shown, or ``unknown``.
        told: the numbers, or why it is unknown.
    """

    kind: str
    told: str


@dataclass(frozen=True, slots=True)
class SeveralPage:
    """Several results.

    Attributes:
        sides: the results, best first.
        is_comparable: whether all are on one board; if not, their numbers say nothing.
        verdicts: how each stands to each, by their places in ``sides``.
        differences: what differs in their configurations.
        num_equal: how many keys of the configurations are equal.
        circumstances: what else differs: code, machine, cost.
    """

    sides: Sequence[Side]
    is_comparable: bool
    verdicts: Mapping[tuple[int, int], Verdict]
    differences: Sequence[Varied]
    num_equal: int
    circumstances: Sequence[Varied]


def several_page(
    catalogue: Catalogue, standing: Standing, group_ids: Sequence[str]
) -> SeveralPage | None:
    """Compare results with each other; None if one is unknown, or they are fewer or more."""
    wanted = list(dict.fromkeys(group_ids))
    if not 2 < len(wanted) <= MAX_RESULTS:
        return None
    sides = [side for name in wanted if (side := side_of(catalogue, name)) is not None]
    if len(sides) < len(wanted):
        return None
    is_comparable = len({side.board for side in sides}) == 1
    if is_comparable:
        ids = [one.group_id for one in sides[0].contest.ranked]
        sides.sort(key=lambda side: ids.index(side.summary.group_id))
    differences, num_equal = varied_configs([side.config for side in sides])
    return SeveralPage(
        sides=sides,
        is_comparable=is_comparable,
        verdicts=_verdicts(sides, standing.comparer()) if is_comparable else {},
        differences=differences,
        num_equal=num_equal,
        circumstances=varied([circumstances_of(side) for side in sides])[0],
    )


def _verdicts(sides: Sequence[Side], compare: DifferenceOf) -> dict[tuple[int, int], Verdict]:
    """Compare every pair; p-values are corrected for their number."""
    pairs = list(combinations(range(len(sides)), 2))
    found = {(a, b): _between(sides[a], sides[b], compare) for a, b in pairs}
    known = {pair: one.value for pair, one in found.items() if one.value and one.value.has_enough}
    p_values = dict(zip(known, holm([one.p_value for one in known.values()]), strict=True))
    verdicts = {}
    for (a, b), one in found.items():
        if (a, b) in known:
            first, second = _told(known[a, b], p_values[a, b], sides[a].scale)
        else:
            first = second = Verdict("unknown", one.reason or "too few materials in common")
        verdicts[a, b], verdicts[b, a] = first, second
    return verdicts


def _between(a: Side, b: Side, compare: DifferenceOf) -> Found[Difference]:
    try:
        return Found(compare(a.rows, b.rows))
    except (UserError, RunError, ValueError) as error:
        return Found(None, str(error))


def _told(one: Difference, p_value: float, scale: Scale) -> tuple[Verdict, Verdict]:
    told = f"p = {p_value:.2g} over {one.num_materials:,} materials"
    if not (one.is_shown and p_value < SIGNIFICANCE):
        return Verdict("tied", told), Verdict("tied", told)
    by = f"by {scale.rounded(abs(one.difference), one.high - one.low)} {scale.unit}".rstrip()
    better, worse = Verdict("better", f"{by}, {told}"), Verdict("worse", f"{by}, {told}")
    is_first = (one.difference > 0) == scale.higher_is_better
    return (better, worse) if is_first else (worse, better)
