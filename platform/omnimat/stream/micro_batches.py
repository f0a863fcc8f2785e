"""Cutting global batches into micro-batches that hold so many edges at most.

What a step needs of memory follows from the edges of its graphs, of which batches of equally many
crystals have very different numbers. The cut depends on the batch alone, not on the number of
workers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CutBatch:
    """A global batch, and where it is cut.

    Attributes:
        positions: (B,) its records, those of each micro-batch from the largest to the smallest.
        ends: (k,) where each micro-batch ends.
    """

    positions: Positions
    ends: Positions

    def of_worker(self, rank: int, world_size: int) -> Positions:
        """Deal the records out in turn, and give those of one worker.

        Every worker has as many of a batch as without a cut. Since the largest come first, their
        edges in a micro-batch differ by those of one record at most.
        """
        return self.positions[rank::world_size]

    def sizes_of_worker(self, rank: int, world_size: int) -> list[int]:
        """Count the records of one worker in each micro-batch, which may be none."""
        firsts = np.concatenate([[0], self.ends])
        dealt = -(-(firsts - rank) // world_size)  # how many places before these are the worker's
        sizes: list[int] = np.diff(np.maximum(dealt, 0)).tolist()
        return sizes


def cut_batch(batch: Positions, num_edges: NDArray[np.integer], max_edges: int) -> CutBatch:
    """Cut a batch in its order; a record that is larger is a micro-batch of its own.

    Args:
        batch: (B,) positions of records, B at least 1.
        num_edges: edges of each record of the split.
        max_edges: how many edges a micro-batch may have.
    """
    edges = num_edges[batch]
    ends, used = [], 0
    for place, number in enumerate(edges.tolist()):
        if used and used + number > max_edges:
            ends.append(place)
            used = 0
        used += number
    ends.append(len(batch))
    micro_batch = np.searchsorted(ends, np.arange(len(batch)), side="right")
    order = np.lexsort((-edges.astype(np.int64), micro_batch))
    return CutBatch(batch[order], np.array(ends))
