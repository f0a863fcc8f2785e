"""Reads densities of states that users give as tables of energies and densities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from omnimat.materials.record import Record
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.modality import Query

_COLUMNS = ("energies_ev", "dos")


def read_csv(path: Path) -> DensityOfStates:
    """Read the columns ``energies_ev`` (relative to the Fermi level) and ``dos`` of a table.

    Raises:
        ValueError: a column is missing, or the columns are not a curve.
    """
    return _states(pd.read_csv(path, comment="#", skipinitialspace=True))


def read_npz(path: Path) -> DensityOfStates:
    """Read arrays that have the names of the columns in ``read_csv``, with the same errors."""
    with np.load(path, allow_pickle=False) as arrays:
        return _states(arrays)


def _states(columns: Mapping[str, Any] | pd.DataFrame) -> DensityOfStates:
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise ValueError(
            f"it has no {' and no '.join(missing)}: a density of states needs the columns (or "
            "arrays) energies_ev, relative to the Fermi level, and dos"
        )
    energies, density = (np.asarray(columns[name], dtype=np.float64) for name in _COLUMNS)
    if energies.ndim != 1 or energies.shape != density.shape or len(energies) < 2:
        raise ValueError("a curve needs two columns of the same length with at least two points")
    if not (np.isfinite(energies).all() and (np.diff(energies) > 0).all()):
        raise ValueError("energies_ev must increase from point to point")
    # The file holds one channel, which is taken to be the one that the encoder was trained on.
    channel = density.astype(np.float32)
    return DensityOfStates(energies.astype(np.float32), channel, np.zeros_like(channel))


def notes(record: Record, featurizer: Featurizer) -> list[str]:
    """Return a sentence about the channel that the encoder was trained on."""
    del record
    spin = cast(DosCurve, featurizer).spin
    channel = "of spin up" if spin == "up" else "of both spins together"
    return [f"The curve is taken to be the density {channel}, like those of the training."]


QUERY = Query("dos", {".csv": read_csv, ".npz": read_npz}, notes=notes)
