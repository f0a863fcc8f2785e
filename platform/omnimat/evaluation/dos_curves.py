"""Densities of states of a data set on one grid, and how far apart they are.

They are curves of ``modalities.dos.features`` on a common grid of 0.1 eV over [-5, 5] eV: of spin
up alone and per cell, as MultiMat compares them. Where a calculation does not reach, a curve is
zero; MultiMat prolongs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from upath import UPath

from omnimat.modalities.batch import collate
from omnimat.modalities.dos.features import DosCurve
from omnimat.stream.source import Source
from omnimat.stream.unit import take

if TYPE_CHECKING:
    from torch import Tensor

CURVE = DosCurve(num_points=101, grid="common", window_ev=(-5.0, 5.0))

_RECORDS_A_READ = 1024
_NUM_RANDOM_DRAWS = 20

Float = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Curves:
    """Materials with an embedding and a density of states.

    Attributes:
        ids: the (n,) ids of the materials.
        values: (n, d) float32 unit rows, the embeddings.
        densities: (n, 101) states per eV on the grid of ``CURVE``.
    """

    ids: NDArray[np.str_]
    values: Tensor
    densities: Float

    @property
    def areas(self) -> Float:
        """The (n,) numbers of states in the window."""
        return _integral(self.densities)

    @property
    def scorable(self) -> Curves:
        """Those that have states in the window, without which no nMAE is defined."""
        return self.chosen(np.flatnonzero(self.areas > 0))

    def chosen(self, rows: Index) -> Curves:
        """Give some of the materials, in this order."""
        import torch

        return Curves(self.ids[rows], self.values[torch.from_numpy(rows)], self.densities[rows])


def normalized_errors(wishes: Curves, known: Curves, chosen: Index) -> Float:
    """Give the (n, k) nMAE of the chosen candidates of n targets, all of positive area."""
    columns = [
        _integral(np.abs(wishes.densities - known.densities[column])) / wishes.areas
        for column in chosen.T
    ]
    return np.stack(columns, axis=1)


def best_of(errors: Float) -> list[float]:
    """Average the least error among the first n over the targets, for n = 1 to k.

    Args:
        errors: (targets, k).
    """
    means: list[float] = np.minimum.accumulate(errors, axis=1).mean(axis=0).tolist()
    return means


def best_of_random(wishes: Curves, known: Curves, num_neighbors: int, seed: int = 0) -> Float:
    """Score candidates drawn at random, as ``best_of`` does: (draws, num_neighbors)."""
    generator = np.random.default_rng(seed)
    shape = (len(wishes.ids), num_neighbors)
    draws = (generator.integers(len(known.ids), size=shape) for _ in range(_NUM_RANDOM_DRAWS))
    return np.array([best_of(normalized_errors(wishes, known, draw)) for draw in draws])


def read_densities(dataset: UPath, records: pd.DataFrame) -> tuple[Index, Float]:
    """Read densities of states from the shards.

    Args:
        dataset: the folder of the data set.
        records: lines of its index.

    Returns:
        The places among ``records`` of the n that have one, and their (n, 101) states per eV on the
        grid of ``CURVE``.
    """
    likely = np.flatnonzero(records["has_dos"].to_numpy(dtype=bool))
    source = Source(dataset, None, {"dos": CURVE})
    rows, densities = [likely[:0]], [np.empty((0, CURVE.num_points))]
    for start in range(0, len(likely), _RECORDS_A_READ):
        some = likely[start : start + _RECORDS_A_READ]
        read = collate(source.features(take(records, some)), source.featurizers).modalities["dos"]
        rows.append(some[read.rows])
        densities.append(read.arrays["dos_per_ev"].astype(np.float64))
    return np.concatenate(rows), np.concatenate(densities)


def _integral(densities: Float) -> Float:
    energies = np.linspace(*CURVE.window_ev, CURVE.num_points)
    return np.asarray(np.trapezoid(densities, energies, axis=1))
