"""The neighbours of targets in the embedding space, and how far their curves are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.evaluation.dos_curves import Curves, Float, normalized_errors
from omnimat.verification.outcome import FaultError

COLUMNS = ("material_id", "neighbor_id", "rank", "similarity", "nmae")

_TARGETS_A_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The k nearest of m candidates for each of n targets.

    Attributes:
        target_ids: (n,).
        neighbor_ids: (n, k), the nearest first.
        similarities: (n, k) cosines.
        errors: (n, k) nMAE.
    """

    target_ids: NDArray[np.str_]
    neighbor_ids: NDArray[np.str_]
    similarities: Float
    errors: Float

    @classmethod
    def among(cls, wishes: Curves, known: Curves, num_neighbors: int) -> Self:
        """Find and score the neighbours of n targets of positive area."""
        import torch

        blocks = [
            (wishes.values[first : first + _TARGETS_A_BLOCK] @ known.values.T).topk(num_neighbors)
            for first in range(0, len(wishes.ids), _TARGETS_A_BLOCK)
        ]
        neighbors = torch.cat([block.indices for block in blocks]).numpy()
        similarities = torch.cat([block.values for block in blocks]).double().numpy()
        errors = normalized_errors(wishes, known, neighbors)
        return cls(wishes.ids, known.ids[neighbors], similarities, errors)

    @property
    def num_neighbors(self) -> int:
        """How many neighbours a target has, k."""
        return int(self.errors.shape[1])

    def table(self) -> pd.DataFrame:
        """Lay them out in n * k lines with ``COLUMNS``."""
        num, k = self.errors.shape
        columns = (
            np.repeat(self.target_ids, k),
            self.neighbor_ids.ravel(),
            np.tile(np.arange(1, k + 1), num),
            self.similarities.ravel(),
            self.errors.ravel(),
        )
        return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))

    @classmethod
    def of_table(cls, table: pd.DataFrame, uri: str) -> Self:
        """Read what ``table`` gave.

        Args:
            table: n * k lines with ``COLUMNS``.
            uri: where the table lies.

        Raises:
            FaultError: if the lines are not those of k neighbours in order for each target.
        """
        k = int(table["rank"].max())
        ranks = table["rank"].to_numpy()
        if len(table) % k or (ranks.reshape(-1, k) != np.arange(1, k + 1)).any():
            raise FaultError(f"{uri}: rank does not go from 1 to {k} for every target")
        ids = table["material_id"].to_numpy(dtype=np.str_).reshape(-1, k)
        if (ids != ids[:, :1]).any():
            raise FaultError(f"{uri}: material_id changes among the neighbours of a target")
        similarities = table["similarity"].to_numpy().reshape(-1, k)
        if (np.diff(similarities, axis=1) > 0).any():
            raise FaultError(f"{uri}: similarity does not fall with the rank")
        neighbors = table["neighbor_id"].to_numpy(dtype=np.str_).reshape(-1, k)
        errors = table["nmae"].to_numpy(dtype=np.float64).reshape(-1, k)
        return cls(ids[:, 0], neighbors, similarities, errors)
