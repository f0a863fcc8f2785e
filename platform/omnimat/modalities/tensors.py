"""The collated arrays of one modality as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnimat.modalities.batch import ModalityArrays


@dataclass(frozen=True, slots=True)
class ModalityTensors:
    """One modality of a batch.

    Attributes:
        rows: rows of the batch that have the modality, int64 of shape (n,); n may be 0.
        arrays: arrays that the modality's encoder takes, for these n materials only.
    """

    rows: Tensor
    arrays: Mapping[str, Tensor]

    @classmethod
    def from_numpy(cls, collated: ModalityArrays) -> Self:
        """Wrap collated arrays, sharing their memory if it is writable and contiguous."""
        arrays = {name: _tensor(array) for name, array in collated.arrays.items()}
        return cls(_tensor(collated.rows), arrays)

    def tensors(self) -> Iterator[Tensor]:
        """Give every tensor."""
        yield self.rows
        yield from self.arrays.values()

    def pinned(self) -> Self:
        """Give the same in memory from which a GPU can copy while the CPU goes on."""
        arrays = {name: array.pin_memory() for name, array in self.arrays.items()}
        return type(self)(self.rows.pin_memory(), arrays)

    def to(self, device: torch.device | str) -> Self:
        """Move every tensor to ``device``."""
        arrays = {k: v.to(device, non_blocking=True) for k, v in self.arrays.items()}
        return type(self)(self.rows.to(device, non_blocking=True), arrays)


def _tensor(array: NDArray[Any]) -> Tensor:
    # torch warns about read-only memory, such as Arrow's, so those arrays are copied.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
