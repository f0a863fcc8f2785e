"""Predictions and embeddings made again by the checkpoint that a row names, on some materials.

How much they may differ: float32 rounds to 1.2e-7, and other materials in a batch add up numbers in
another order, which grows to some 1e-6 of a deviation over the layers of an encoder. GPUs round the
factors of convolutions to 10 bits (TF32) and bf16 rounds everything to 8, that is to 1e-3 and 4e-3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnimat.leaderboard.row import Row
from omnimat.materials.record import Record
from omnimat.verification.dataset import CheckedDataset
from omnimat.verification.outcome import Note, Remark, UnreachableError, named

TOLERANCE = 1e-5
GPU_TOLERANCE = 5e-3
BF16_TOLERANCE = 5e-2


@dataclass(frozen=True, slots=True)
class Sample:
    """How many materials are run again.

    Attributes:
        size: how many; None for all.
    """

    size: int | None = None

    def of(self, num_materials: int) -> NDArray[np.int64]:
        """Draw places in ascending order, each time others, so that nobody can prepare for them."""
        if self.size is None or self.size >= num_materials:
            return np.arange(num_materials)
        drawn = np.random.default_rng().choice(num_materials, self.size, replace=False)
        return np.sort(drawn)


def checkpoint_of(row: Row) -> str:
    """Name the checkpoint, which was held against the row's hash before.

    Raises:
        UnreachableError: if the row has none.
    """
    if not row.checkpoint_uri:
        raise UnreachableError("the row names no checkpoint")
    return row.checkpoint_uri


def tolerance_of(row: Row, *, is_bf16: bool = False) -> float:
    """Give the tolerance for numbers of order 1 that a row's machine and this one compute."""
    import torch

    if is_bf16:
        return BF16_TOLERANCE
    is_on_gpu = torch.cuda.is_available() or bool(row.hardware.get("gpus"))
    return GPU_TOLERANCE if is_on_gpu else TOLERANCE


def records_in_order(dataset: CheckedDataset, material_ids: Sequence[str]) -> list[Record]:
    """Read records from the shards, in the order of the ids.

    Raises:
        UnreachableError: if a record cannot be read.
    """
    found = {record.material_id: record for record in dataset.records_of(material_ids)}
    return [found[one] for one in material_ids]


def check_again(
    uri: str, material_ids: NDArray[np.str_], off: NDArray[np.floating], tolerance: float, of: int
) -> Iterator[Remark]:
    """Say which materials come out differently.

    Args:
        uri: where what was stored lies.
        material_ids: the (n,) materials that were run again.
        off: (n,) how far each has come out from what was stored, in numbers of order 1.
        tolerance: how far is allowed.
        of: how many materials the file has.
    """
    wrong = ~(off <= tolerance)  # what is no number is wrong, too
    if wrong.any():
        yield (
            f"{uri}: material {named(material_ids[wrong])} comes out differently when the "
            f"checkpoint is run again, by up to {off[wrong].max():.2g}; {tolerance:g} is rounding"
        )
    else:
        most = off.max(initial=0.0)
        yield Note(f"{len(off)} of {of} materials run again, the largest difference is {most:.2g}")
