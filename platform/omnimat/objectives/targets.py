"""What the materials of a batch should predict by regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omnimat.modalities.layout import Vector
from omnimat.modalities.tensors import ModalityTensors


@dataclass(frozen=True)
class Targets:
    """Numbers that should be predicted for B materials.

    Attributes:
        values: (B, k), standardised; anything finite where they are not known.
        is_known: (B, k) booleans.
        num_known: (), how many are known, where the labels of a class count as one.
    """

    values: Tensor
    is_known: Tensor
    num_known: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Targets]) -> Targets:
        """Join those of several micro-batches."""
        return cls(
            torch.cat([part.values for part in parts]),
            torch.cat([part.is_known for part in parts]),
            torch.stack([part.num_known for part in parts]).sum(),
        )


def known_of(vector: Vector, given: ModalityTensors) -> tuple[Tensor, Tensor]:
    """Return what of n materials is known, (n, m), and the m numbers of columns that this is."""
    widths = torch.tensor(vector.widths or (1,) * vector.size, device=given.rows.device)
    if vector.mask is None:
        shape = (len(given.rows), vector.size)
        return torch.ones(shape, dtype=torch.bool, device=given.rows.device), widths
    return given.arrays[vector.mask].bool(), widths
