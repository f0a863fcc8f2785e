"""The rank at which a query finds its own key among many; exact, with ties left open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Counts = NDArray[np.int64]

# Float32 rounds a similarity by 1e-7, and differently in batches of different sizes.
AS_NEAR = 1e-6


@dataclass(frozen=True, slots=True)
class Ranks:
    """The ranks at which N queries find a right key, with ties left open.

    Equal keys are common, since polymorphs share a composition. Ties count as broken at random, so
    they neither favour nor punish duplicates, and an encoder that gives all materials the same
    embedding scores like chance instead of being perfect.

    Attributes:
        nearer: (N,) numbers of wrong keys that are nearer than the nearest right one.
        as_near: (N,) numbers of wrong keys that are as near as it.
        right: (N,) numbers of right keys that are as near as it, counting itself.
        num_right: (N,) numbers of right keys.
        num_wrong: (N,) numbers of wrong keys.
    """

    nearer: Counts
    as_near: Counts
    right: Counts
    num_right: Counts
    num_wrong: Counts

    @classmethod
    def concatenated(cls, parts: Sequence[Ranks]) -> Ranks:
        """Join the ranks of several pools."""
        columns = [[getattr(part, name) for part in parts] for name in cls.__slots__]
        return cls(*map(np.concatenate, columns))

    @property
    def by_chance(self) -> Ranks:
        """The ranks of an encoder that gives all materials the same embedding."""
        nearer = np.zeros_like(self.nearer)
        return Ranks(nearer, self.num_wrong, self.num_right, self.num_right, self.num_wrong)

    @property
    def expected(self) -> NDArray[np.float64]:
        """The (N,) ranks of the first right key, from 1, averaged over all ways to break ties."""
        ranks: NDArray[np.float64] = 1 + self.nearer + self.as_near / (self.right + 1)
        return ranks

    def hit_rate(self, k: int) -> float:
        """Give the chance that a right key is among the k nearest, averaged over queries."""
        # Of the tied keys, ``places`` are among the k. Drawn one by one, all of them may be wrong.
        places = np.clip(k - self.nearer, 0, self.as_near + 1)
        missed = np.ones(len(places))
        for drawn in range(int(places.max(initial=0))):
            wrong = np.maximum(self.as_near - drawn, 0)
            missed *= np.where(drawn < places, wrong / (wrong + self.right), 1.0)
        return float(1 - missed.mean())

    def choice_rate(self, num_choices: int) -> float:
        """Give the chance that the right key is the nearest of T, averaged over queries.

        The others are wrong keys drawn at random without replacement. Nothing is sampled, since the
        chance over all draws is known: with h of n wrong keys ahead it is
        C(n - h, T - 1) / C(n, T - 1). It is averaged over all ways to break ties.

        Args:
            num_choices: T.

        Raises:
            ValueError: if a query has too few wrong keys, or several right ones that are as near.
        """
        if (self.right != 1).any() or self.num_wrong.min() < num_choices - 1:
            raise ValueError(f"not every query has one right and {num_choices - 1} wrong keys")
        ahead = np.arange(int(self.num_wrong.max()) + 1)
        rates = np.empty(len(self.nearer))
        for num_wrong in np.unique(self.num_wrong):
            rows = self.num_wrong == num_wrong
            wins = np.ones(num_wrong + 1)
            for drawn in range(num_choices - 1):
                left = num_wrong - ahead[: num_wrong + 1] - drawn
                wins *= np.maximum(left, 0) / (num_wrong - drawn)
            sums = np.concatenate([[0.0], np.cumsum(wins)])
            first, last = self.nearer[rows], self.nearer[rows] + self.as_near[rows] + 1
            rates[rows] = (sums[last] - sums[first]) / (last - first)
        return float(rates.mean())


@dataclass(frozen=True, slots=True)
class PairRanks:
    """The ranks of N queries under two notions of a right key.

    Attributes:
        own: only the query's own key is right.
        any_duplicate: the keys of its duplicates are right too.
        own_among_others: only its own key is right, and those of its duplicates are left out.
    """

    own: Ranks
    any_duplicate: Ranks
    own_among_others: Ranks


def rank_pairs(
    queries: Tensor, keys: Tensor, groups: Counts, tile: tuple[int, int] = (1024, 1024)
) -> PairRanks:
    """Rank every query's own key among all keys by cosine similarity.

    Similarities within 1e-6 of each other count as equal. Keys that are nearer are counted instead
    of sorted, so that only a tile of the N x N matrix is in memory at a time.

    Args:
        queries: (N, d), of any positive length.
        keys: (N, d); row i is the key of query i.
        groups: (N,) labels, which are equal for duplicates.
        tile: how many queries and keys are compared at a time.

    Returns:
        The ranks.

    Raises:
        ValueError: if the shapes differ or a value is not finite.
    """
    from torch.nn import functional

    from omnimat.nn.precision import exact_products

    if queries.shape != keys.shape or len(groups) != len(keys):
        shapes = f"queries {tuple(queries.shape)}, keys {tuple(keys.shape)}, {len(groups)} groups"
        raise ValueError(f"{shapes}: they differ")
    if not (queries.isfinite().all() and keys.isfinite().all()):
        raise ValueError("an embedding is not finite")
    queries, keys = (functional.normalize(x.detach().float(), dim=1) for x in (queries, keys))
    with exact_products():  # TF32 would round a similarity by a thousand times ``AS_NEAR``
        return _ranked(queries, keys, groups, tile)


def _ranked(queries: Tensor, keys: Tensor, groups: Counts, tile: tuple[int, int]) -> PairRanks:
    """Rank unit vectors."""
    own = (queries * keys).sum(1)
    nearer, near = _count(queries, keys, own, tile)
    group = _Duplicates.of(queries, keys, own, groups)
    first, first_near = nearer.copy(), near.copy()
    surpassed = np.flatnonzero((group.best > own).cpu().numpy())
    best = group.best[surpassed]
    first[surpassed], first_near[surpassed] = _count(queries[surpassed], keys, best, tile)
    one, wrong = np.ones(len(keys), dtype=np.int64), len(keys) - group.size
    others, others_near = nearer - group.nearer, near - group.near
    return PairRanks(
        own=_ranks(nearer, near, one, one, one * (len(keys) - 1)),
        any_duplicate=_ranks(first, first_near, group.right, group.size, wrong),
        own_among_others=_ranks(others, others_near, one, one, wrong),
    )


def _count(
    queries: Tensor, keys: Tensor, similarities: Tensor, tile: tuple[int, int]
) -> tuple[Counts, Counts]:
    """Count for each query the keys nearer than a similarity, and those at least as near."""
    import torch

    nearer, near = torch.zeros(2, len(queries), dtype=torch.int64, device=queries.device)
    for start in range(0, len(queries), tile[0]):
        rows = slice(start, start + tile[0])
        limits = similarities[rows].unsqueeze(1)
        for first in range(0, len(keys), tile[1]):
            found = queries[rows] @ keys[first : first + tile[1]].T
            nearer[rows] += (found > limits + AS_NEAR).sum(1)
            near[rows] += (found >= limits - AS_NEAR).sum(1)
    return nearer.cpu().numpy(), near.cpu().numpy()


@dataclass(frozen=True, slots=True)
class _Duplicates:
    """How near the keys of a query's group, its own key among them, are to each of N queries.

    Attributes:
        size: (N,) numbers of keys in the group.
        best: (N,) similarities of the nearest.
        right: (N,) numbers of keys that are as near as that.
        nearer: (N,) numbers of keys that are nearer than the query's own.
        near: (N,) numbers of other keys that are at least as near as its own.
    """

    size: Counts
    best: Tensor
    right: Counts
    nearer: Counts
    near: Counts

    @classmethod
    def of(cls, queries: Tensor, keys: Tensor, own: Tensor, groups: Counts) -> _Duplicates:
        size, right = np.ones((2, len(groups)), dtype=np.int64)
        nearer, near = np.zeros((2, len(groups)), dtype=np.int64)
        best = own.clone()
        for rows in _groups_of_several(groups):
            found, limits = queries[rows] @ keys[rows].T, own[rows].unsqueeze(1)
            best[rows] = found.amax(1)
            size[rows] = len(rows)
            right[rows] = _sums(found >= found.amax(1, keepdim=True) - AS_NEAR)
            nearer[rows] = _sums(found > limits + AS_NEAR)
            near[rows] = _sums(found >= limits - AS_NEAR) - 1
        return cls(size, best, right, nearer, near)


def _ranks(
    nearer: Counts, near: Counts, right: Counts, num_right: Counts, num_wrong: Counts
) -> Ranks:
    """Tell wrong keys from right ones, where ``near`` counts both.

    At the edge of a tie, rounding may count a key in one sum and not in the other, so differences
    are clipped to what is possible.
    """
    nearer = np.clip(nearer, 0, num_wrong)
    as_near = np.clip(near - nearer - right, 0, num_wrong - nearer)
    return Ranks(nearer, as_near, right, num_right, num_wrong)


def _groups_of_several(groups: Counts) -> list[Counts]:
    order = np.argsort(groups, kind="stable")
    firsts = np.flatnonzero(np.diff(groups[order])) + 1
    return [rows for rows in np.split(order, firsts) if len(rows) > 1]


def _sums(flags: Tensor) -> Counts:
    counts: Counts = flags.sum(1).cpu().numpy()
    return counts
