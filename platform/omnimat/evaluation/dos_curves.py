"""Densities of states of a data set on one grid, and how far they are from each other.

Curves are those of ``features.dos`` on a common grid of 0.1 eV over [-5, 5] eV: spin up alone and
per cell, as MultiMat compares them. Unlike there, a curve is zero where its calculation does not
reach, not constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from upath import UPath

from omnimat.modalities.batch import collate
from omnimat.modalities.dos.features import DosCurve
from omnimat.stream.source import Source
from omnimat.stream.unit import take

CURVE = DosCurve(num_points=101, grid="common", window_ev=(-5.0, 5.0))

_RECORDS_A_READ = 1024

Float = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Curves:
    """Materials with an embedding and a density of states.

    Attributes:
        ids: (n,) of the materials.
        values: (n, d) float32 unit rows.
        densities: (n, 101) states per eV on the grid of ``CURVE``.
    """

    ids: NDArray[np.str_]
    values: Tensor
    densities: Float

    @property
    def areas(self) -> Float:
        """(n,) states in the window."""
        return _integral(self.densities)

    def chosen(self, flags: NDArray[np.bool_]) -> Curves:
        """Give those flagged."""
        return Curves(self.ids[flags], self.values[torch.from_numpy(flags)], self.densities[flags])


def normalized_errors(wishes: Curves, known: Curves, chosen: Index) -> Float:
    """Give the nMAE of chosen candidates, (n, k), for each of n targets of positive area."""
    columns = [
        _integral(np.abs(wishes.densities - known.densities[column])) / wishes.areas
        for column in chosen.T
    ]
    return np.stack(columns, axis=1)


def best_of(errors: Float) -> list[float]:
    """Give the mean over targets of the least error among the first n, for n = 1 to k.

    Args:
        errors: (targets, k).
    """
    means: list[float] = np.minimum.accumulate(errors, axis=1).mean(axis=0).tolist()
    return means


def read_densities(dataset: UPath, records: pd.DataFrame) -> tuple[Index, Float]:
    """Read densities of states from the shards.

    Args:
        dataset: folder of the data set.
        records: rows of its index.

    Returns:
        Places among ``records`` of the n that have one, and the (n, 101) states per eV on the grid
        of ``CURVE``.
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
