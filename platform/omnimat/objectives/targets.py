"""What the materials of a batch should predict by regression."""

from __future__ import annotations

import functools
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
    """Return what of n materials is known, (n, m), and for each number its place among the m."""
    device = given.rows.device
    places = _places(vector, device)
    if vector.mask is None:
        shape = (len(given.rows), vector.size)
        return torch.ones(shape, dtype=torch.bool, device=device), places
    return given.arrays[vector.mask].bool(), places


@functools.cache
def _places(vector: Vector, device: torch.device) -> Tensor:
    """Number the entries of the mask; it stays on the device, as copies would be waited for."""
    widths = vector.widths or (1,) * vector.size
    numbered = [place for place, width in enumerate(widths) for _ in range(width)]
    return torch.tensor(numbered, device=device)
