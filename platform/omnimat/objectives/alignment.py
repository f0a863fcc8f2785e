"""The rows that several modalities share, on this worker and over the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omnimat.nn.precision import widened
from omnimat.objectives.embeddings import Column


@dataclass(frozen=True)
class Alignment:
    """M modalities side by side, and the rows where all of them are present, the valid ones.

    Attributes:
        local: M tensors (B, d), this worker's rows.
        everyone: M tensors (N, d), all workers' rows in rank order.
        local_rows: (n_local,) the valid rows of ``local``.
        rows: (n,) the valid rows of ``everyone``.
        places: (n_local,) where in ``rows`` the valid local rows stand.
        part: ``(first, end, whole)``: this worker has the rows from ``first`` to before ``end`` of
            the ``whole`` batch.
    """

    local: Sequence[Tensor]
    everyone: Sequence[Tensor]
    local_rows: Tensor
    rows: Tensor
    places: Tensor
    part: tuple[int, int, int]

    @property
    def count(self) -> int:
        """How many valid rows the whole batch has, n."""
        return len(self.rows)

    def unless_fewer_than(self, minimum: int) -> Alignment:
        """Count no row as valid if they are too few for the loss to be defined."""
        if self.count >= minimum:
            return self
        none = self.rows[:0]
        return Alignment(self.local, self.everyone, none, none, none, self.part)

    def local_values(self, modality: int) -> Tensor:
        """Give the valid local rows of a modality, (n_local, d) in float32 or better."""
        return widened(self.local[modality].index_select(0, self.local_rows))

    def values(self, modality: int) -> Tensor:
        """Give all valid rows of a modality, (n, d) in float32 or better."""
        return widened(self.everyone[modality].index_select(0, self.rows))


def align(local: Sequence[Column], everyone: Sequence[Column], row_offset: int) -> Alignment:
    """Find the rows where all modalities are present.

    Args:
        local: this worker's B rows of each modality.
        everyone: all workers' rows in rank order.
        row_offset: the position of this worker's first row in ``everyone``.
    """
    valid = torch.stack([column.present for column in everyone]).all(0)
    local_valid = torch.stack([column.present for column in local]).all(0)
    end = row_offset + len(local_valid)
    return Alignment(
        local=[column.values for column in local],
        everyone=[column.values for column in everyone],
        local_rows=local_valid.nonzero().squeeze(1),
        rows=valid.nonzero().squeeze(1),
        places=(valid.cumsum(0)[row_offset:end] - 1)[local_valid],
        part=(row_offset, end, len(valid)),
    )
