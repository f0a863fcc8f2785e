"""Read units: the records that are read, featurized and handed on at once."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.shards.reader import LOCATION_COLUMNS

ReadUnit: TypeAlias = pd.DataFrame
"""Rows of the record index, in the order of delivery, which say where each record lies; the column
``epoch`` says for which epoch it is read, since random views differ from one to the next."""


def take(records: pd.DataFrame, positions: NDArray[np.int64], epoch: int = 0) -> ReadUnit:
    """Make the unit of the records at these positions, in this order."""
    rows = records.take(positions)[["row", *LOCATION_COLUMNS]]
    return rows.assign(epoch=epoch).reset_index(drop=True)
