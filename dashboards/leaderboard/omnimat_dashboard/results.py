"""All results of a store, kept up to date by what was written since they were read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from omnimat.leaderboard.board import Board, BoardCount, Summary
from omnimat.leaderboard.changes import Changes, Version
from omnimat.leaderboard.queries import board_order

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Placed:
    """A result and where it stands.

    Attributes:
        summary: the result.
        place: its rank on its board, from 1.
        num_results: how many results the board has.
    """

    summary: Summary
    place: int
    num_results: int


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a store at one version.

    Attributes:
        version: the version; None before anything was read.
        by_id: each result by its id.
        boards: the results of each board, best first; boards by task, data set and metric.
        counts: what is on each board.
        models: the results of each model by its name, in no order.
    """

    version: Version | None = None
    by_id: Mapping[str, Summary] = field(default_factory=dict)
    boards: Mapping[Board, list[Summary]] = field(default_factory=dict)
    counts: Mapping[Board, BoardCount] = field(default_factory=dict)
    models: Mapping[str, list[Summary]] = field(default_factory=dict)

    def after(self, changes: Changes) -> Results:
        """Give the results as they are after changes; whatever has not changed is shared."""
        before = Results() if changes.is_all else self
        return before._with(changes)

    def placed(self, model: str) -> list[Placed]:
        """Give the results of a model with their places, in the order of the boards."""
        its = {one.board for one in self.models[model]}
        return [
            Placed(one, place, len(ranked))
            for board, ranked in self.boards.items()
            if board in its
            for place, one in enumerate(ranked, start=1)
            if one.model == model
        ]

    def num_best(self) -> Mapping[str, int]:
        """Count for each model on how many boards, of several results, it is the best."""
        return Counter(ranked[0].model for ranked in self.boards.values() if len(ranked) > 1)

    def _with(self, changes: Changes) -> Results:
        new = {one.group_id: one for one in changes.results}
        gone = new.keys() | changes.removed
        old = [self.by_id[name] for name in gone if name in self.by_id]
        boards = _regrouped(self.boards, lambda one: one.board, old, new)
        for board in {one.board for one in (*old, *new.values())} & boards.keys():
            boards[board].sort(key=_rank)
        counts = {**self.counts, **{one.board: one for one in changes.counts}}
        order = sorted(boards, key=board_order)
        return Results(
            version=changes.version,
            by_id={name: one for name, one in self.by_id.items() if name not in gone} | new,
            boards={board: boards[board] for board in order},
            counts={board: counts[board] for board in order},
            models=_regrouped(self.models, lambda one: one.model, old, new),
        )


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Put items of one key together."""
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def _regrouped(
    groups: Mapping[K, list[Summary]],
    key: Callable[[Summary], K],
    old: Collection[Summary],
    new: Mapping[str, Summary],
) -> dict[K, list[Summary]]:
    """Take results out of their groups and put others in; a group without results goes."""
    gone, coming = {one.group_id for one in old}, grouped(new.values(), key)
    found = dict(groups)
    for name in {*map(key, old), *coming}:
        stay = [one for one in groups.get(name, ()) if one.group_id not in gone]
        if some := [*stay, *coming.get(name, ())]:
            found[name] = some
        else:
            del found[name]
    return found


def _rank(one: Summary) -> tuple[float, str]:
    """Order as the store does."""
    return -one.mean if one.board.higher_is_better else one.mean, one.group_id
