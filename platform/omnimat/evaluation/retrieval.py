"""Cross-modal retrieval: find a material by another of its modalities (MultiMat, Fig. 3a)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from omnimat.materials.record import Modality

TOP_K = (1, 5, 10, 25)

# Float32 rounds a similarity by 1e-7, and not alike in batches of other sizes.
_AS_NEAR = 1e-6


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where N queries find their own key among N keys, ties left open.

    Equal keys are usual: polymorphs have one composition. Broken at random, ties neither favour nor
    punish duplicates, and an encoder that gives every material the same embedding scores as chance,
    not as perfect.

    Attributes:
        nearer: (N,) int64, keys nearer than its own.
        as_near: (N,) int64, other keys as near as its own.
    """

    nearer: NDArray[np.int64]
    as_near: NDArray[np.int64]

    @property
    def expected(self) -> NDArray[np.float64]:
        """(N,) ranks from 1 to N, the mean over all ways to break ties."""
        ranks: NDArray[np.float64] = 1 + self.nearer + self.as_near / 2
        return ranks

    def hit_rate(self, k: int) -> float:
        """Chance that a query's own key is among the k nearest, the mean over queries."""
        return float(np.mean(np.clip((k - self.nearer) / (1 + self.as_near), 0, 1)))


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """How well queries of one modality find their own material among the keys of another.

    Attributes:
        num_candidates: Size N of the pool, which is also the number of queries.
        hit_rates: For each k the fraction of queries whose material is among the k nearest, ties
            broken at random.
        mean_rank: From 1 (always found first) to N.
        median_rank: From 1 to N.
    """

    num_candidates: int
    hit_rates: Mapping[int, float]
    mean_rank: float
    median_rank: float

    @classmethod
    def from_ranks(cls, ranks: Ranks) -> RetrievalScores:
        """Summarise the ranks of N queries.

        Raises:
            ValueError: if there are no ranks.
        """
        if len(ranks.nearer) == 0:
            raise ValueError("no ranks to summarise")
        return cls(
            num_candidates=len(ranks.nearer),
            hit_rates={k: ranks.hit_rate(k) for k in TOP_K},
            mean_rank=float(np.mean(ranks.expected)),
            median_rank=float(np.median(ranks.expected)),
        )

    @property
    def chance_hit_rates(self) -> dict[int, float]:
        """Expected hit rates of guessing."""
        return {k: min(k / self.num_candidates, 1.0) for k in self.hit_rates}

    @property
    def chance_rank(self) -> float:
        """Expected mean rank of guessing; the median's too."""
        return (self.num_candidates + 1) / 2


def retrieval_ranks(queries: Tensor, keys: Tensor, block_rows: int = 1024) -> Ranks:
    """Rank every query's own key among all keys by cosine similarity.

    Similarities within 1e-6 of each other are equal.

    Args:
        queries: (N, d), any positive length.
        keys: (N, d); row i is the key of query i.
        block_rows: Queries compared at a time; memory is ``block_rows * N`` float32.

    Returns:
        The ranks.

    Raises:
        ValueError: if the shapes differ or a value is not finite.
    """
    if queries.shape != keys.shape:
        raise ValueError(f"queries {tuple(queries.shape)} and keys {tuple(keys.shape)} differ")
    if not (queries.isfinite().all() and keys.isfinite().all()):
        raise ValueError("an embedding is not finite")
    queries, keys = (functional.normalize(x.detach().float(), dim=1) for x in (queries, keys))
    nearer, near = torch.zeros(2, len(queries), dtype=torch.int64, device=queries.device)
    for start in range(0, len(queries), block_rows):
        similarities = queries[start : start + block_rows] @ keys.T
        own = similarities.diagonal(offset=start).unsqueeze(1)
        nearer[start : start + block_rows] = (similarities > own + _AS_NEAR).sum(1)
        near[start : start + block_rows] = (similarities >= own - _AS_NEAR).sum(1)
    return Ranks(nearer.cpu().numpy(), (near - nearer - 1).cpu().numpy())


def score_all_pairs(
    embeddings: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]
) -> dict[tuple[Modality, Modality], RetrievalScores]:
    """Score every ordered pair of modalities over the materials that have both.

    Args:
        embeddings: For each modality (N, d).
        present: For each modality a boolean (N,).

    Returns:
        Scores by (query modality, key modality); a pair no material has in full is left out.
    """
    scores = {}
    for query, key in permutations(embeddings, 2):
        both = present[query] & present[key]
        if both.any():
            ranks = retrieval_ranks(embeddings[query][both], embeddings[key][both])
            scores[query, key] = RetrievalScores.from_ranks(ranks)
    return scores
