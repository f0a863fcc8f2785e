"""Retrieval at a glance: one heat map a model, of queries by what they are to find."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.contest import Contest
from omnimat_dashboard.text import Scale

METRIC = "top-10"
MERGED = "top-10, merged"
MAX_MAPS = 6
SHADES = 10
_TASK = re.compile(r"retrieval (?P<query>.+?) -> (?P<target>.+?)(?P<rest> \(.*\))?")


@dataclass(frozen=True, slots=True)
class Heat:
    """How often a query finds its target among the first ten.

    Attributes:
        one: the result.
        score: the share with its deviation, as it is written.
        shade: the step on the colour scale.
        chance: the share that guessing finds, as it is written; empty if it is not known.
    """

    one: Summary
    score: str
    shade: int
    chance: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """All retrieval of one model by one metric.

    Attributes:
        first: one of its results, which tells the model, the data set and the split.
        metric: by what it is scored.
        rest: what the names of its tasks say besides, such as another split.
        queries: the modalities that ask, a line each.
        targets: the modalities that are found, a column each.
        heats: (query, target) what is known.
        chance: what guessing finds at least and at most, as it is written.
    """

    first: Summary
    metric: str
    rest: str
    queries: Sequence[str]
    targets: Sequence[str]
    heats: Mapping[tuple[str, str], Heat]
    chance: str


def is_retrieval(board: Board) -> bool:
    """Say whether a board is one of retrieval."""
    return _TASK.fullmatch(board.task) is not None


def heat_maps(
    contests: Iterable[Contest], chances: Mapping[str, Sequence[float]], metric: str
) -> list[HeatMap]:
    """Draw the best result of each model for each pair of modalities.

    Args:
        contests: results of any boards.
        chances: what guessing finds, by the ids of results.
        metric: the metric that is drawn.

    Returns:
        A map for each model, data set and split, at most ``MAX_MAPS``.
    """
    found: dict[tuple[str, ...], dict[tuple[str, str], Summary]] = {}
    for contest in contests:
        match = _TASK.fullmatch(contest.board.task)
        if match is None or contest.board.metric != metric:
            continue
        pair = match["query"].replace("_", " "), match["target"].replace("_", " ")
        for one in contest.ranked:
            board = one.board
            key = (board.dataset, board.split_sha256, match["rest"] or "", one.model, one.variant)
            found.setdefault(key, {}).setdefault(pair, one)
    maps = [_heat_map(key[2].strip(), pairs, chances) for key, pairs in found.items()]
    return maps[:MAX_MAPS]


def gain_of_merging(plain: Iterable[HeatMap], merged: Iterable[HeatMap]) -> str:
    """Say what the largest share gains where duplicates count, in per cent points."""

    def shares(maps: Iterable[HeatMap]) -> dict[tuple[str, ...], float]:
        found = (heat.one for one in maps for heat in one.heats.values())
        return {(o.board.task, o.board.split_sha256, o.model, o.variant): o.mean for o in found}

    before = shares(plain)
    gains = [mean - before[key] for key, mean in shares(merged).items() if key in before]
    return f"{100 * max(gains):.1f}" if gains else ""


def _heat_map(
    rest: str,
    pairs: Mapping[tuple[str, str], Summary],
    chances: Mapping[str, Sequence[float]],
) -> HeatMap:
    heats = {pair: _heat(one, chances.get(one.group_id, ())) for pair, one in pairs.items()}
    known = [chance for one in pairs.values() for chance in chances.get(one.group_id, ())]
    first = next(iter(pairs.values()))
    scale = Scale.of(first.board)
    ends = dict.fromkeys(_share(scale, end) for end in (min(known), max(known))) if known else ()
    return HeatMap(
        first=first,
        metric=first.board.metric,
        rest=rest,
        queries=sorted({query for query, _ in pairs}),
        targets=sorted({target for _, target in pairs}),
        heats=heats,
        chance=" to ".join(ends),
    )


def _heat(one: Summary, chances: Sequence[float]) -> Heat:
    scale = Scale.of(one.board)
    return Heat(
        one=one,
        score=scale.of_summary(one),
        shade=round(min(max(one.mean, 0.0), 1.0) * SHADES),
        chance=_share(scale, chances[0]) if chances else "",
    )


def _share(scale: Scale, value: float) -> str:
    return f"{value * scale.factor:.2g}"
