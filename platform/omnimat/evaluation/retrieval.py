"""Cross-modal retrieval: find a material by another of its modalities (MultiMat, Fig. 3a)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from omnimat.materials.record import Modality

TOP_K = (1, 5, 10, 25)


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """How well queries of one modality find their own material among the keys of another.

    Attributes:
        num_candidates: Size N of the pool, which is also the number of queries.
        hit_rates: For each k the fraction of queries whose material is among the k nearest.
        mean_rank: From 1 (always found first) to N.
        median_rank: From 1 to N.
    """

    num_candidates: int
    hit_rates: Mapping[int, float]
    mean_rank: float
    median_rank: float

    @classmethod
    def from_ranks(cls, ranks: Tensor) -> RetrievalScores:
        """Summarise the (N,) ranks of N queries among N candidates.

        Raises:
            ValueError: if there are no ranks.
        """
        if len(ranks) == 0:
            raise ValueError("no ranks to summarise")
        values = ranks.cpu().numpy()
        return cls(
            num_candidates=len(values),
            hit_rates={k: float(np.mean(values <= k)) for k in TOP_K},
            mean_rank=float(np.mean(values)),
            median_rank=float(np.median(values)),
        )

    @property
    def chance_hit_rates(self) -> dict[int, float]:
        """Expected hit rates of guessing."""
        return {k: min(k / self.num_candidates, 1.0) for k in self.hit_rates}

    @property
    def chance_rank(self) -> float:
        """Expected mean rank of guessing; the median's too."""
        return (self.num_candidates + 1) / 2


def retrieval_ranks(queries: Tensor, keys: Tensor, block_rows: int = 1024) -> Tensor:
    """Rank every query's own key among all keys by cosine similarity, exactly.

    The rank is 1 + (keys nearer than its own) + half of the other keys exactly as near. So it is
    the expected rank under random breaking of ties: an encoder that gives every material the same
    embedding scores as chance, not as perfect, and duplicates are neither favoured nor punished.

    Args:
        queries: (N, d), any positive length.
        keys: (N, d); row i is the key of query i.
        block_rows: Queries compared at a time; memory is ``block_rows * N`` float32.

    Returns:
        (N,) float64 ranks from 1 to N.

    Raises:
        ValueError: if the shapes differ or a value is not finite.
    """
    if queries.shape != keys.shape:
        raise ValueError(f"queries {tuple(queries.shape)} and keys {tuple(keys.shape)} differ")
    if not (queries.isfinite().all() and keys.isfinite().all()):
        raise ValueError("an embedding is not finite")
    queries, keys = (functional.normalize(x.detach().float(), dim=1) for x in (queries, keys))
    ranks = torch.empty(len(queries), dtype=torch.float64, device=queries.device)
    for start in range(0, len(queries), block_rows):
        similarities = queries[start : start + block_rows] @ keys.T
        own = similarities.diagonal(offset=start).unsqueeze(1)
        nearer = (similarities > own).sum(1)
        as_near = (similarities == own).sum(1) - 1
        ranks[start : start + block_rows] = 1 + nearer + as_near / 2
    return ranks


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
