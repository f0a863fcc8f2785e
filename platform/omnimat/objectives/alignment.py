"""The rows that several modalities share, on this worker and over the whole batch.

Which rows these are is told by masks, and nothing is cut out by them: how many rows remain would
have to be fetched from a GPU, which would have to finish all it was given before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        valid: (N,) booleans, which rows of ``everyone`` are valid.
        part: ``(first, end, whole)``: this worker has the rows from ``first`` to before ``end`` of
            the ``whole`` batch.
    """

    local: Sequence[Tensor]
    everyone: Sequence[Tensor]
    valid: Tensor
    part: tuple[int, int, int]

    @property
    def local_valid(self) -> Tensor:
        """(B,) booleans, which rows of ``local`` are valid."""
        first, end, _ = self.part
        return self.valid[first:end]

    @property
    def count(self) -> Tensor:
        """(), how many valid rows the whole batch has, n."""
        return self.valid.sum()

    @property
    def divisor(self) -> Tensor:
        """(), n, or 1 where no row is valid."""
        return self.count.clamp(min=1)

    def unless_fewer_than(self, minimum: int) -> Alignment:
        """Count no row as valid if they are too few for the loss to be defined."""
        return replace(self, valid=self.valid & (self.count >= minimum))

    def local_values(self, modality: int) -> Tensor:
        """Give the local rows of a modality, (B, d) in float32 or better; zero if not valid."""
        return _only(self.local_valid, widened(self.local[modality]))

    def values(self, modality: int) -> Tensor:
        """Give all rows of a modality, (N, d) in float32 or better; zero if not valid."""
        return _only(self.valid, widened(self.everyone[modality]))

    def total(self, of_rows: Tensor) -> Tensor:
        """Sum what belongs to each local row, (B,), over the valid ones."""
        return _only(self.local_valid, of_rows).sum()


def align(local: Sequence[Column], everyone: Sequence[Column], row_offset: int) -> Alignment:
    """Find the rows where all modalities are present.

    Args:
        local: this worker's B rows of each modality.
        everyone: all workers' rows in rank order.
        row_offset: the position of this worker's first row in ``everyone``.
    """
    valid = torch.stack([column.present for column in everyone]).all(0)
    return Alignment(
        local=[column.values for column in local],
        everyone=[column.values for column in everyone],
        valid=valid,
        part=(row_offset, row_offset + len(local[0].present), len(valid)),
    )


def _only(rows: Tensor, values: Tensor) -> Tensor:
    """Replace all rows but these by zero, whatever they hold."""
    chosen = rows.view(-1, *[1] * (values.dim() - 1))
    return torch.where(chosen, values, torch.zeros((), dtype=values.dtype, device=values.device))
