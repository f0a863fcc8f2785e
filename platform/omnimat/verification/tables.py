"""Predictions of materials against the data set they claim to be of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from omnimat.base.files import parquet_frame
from omnimat.evaluation.metrics import Metric, per_class_accuracy
from omnimat.finetune.tasks import Targets
from omnimat.leaderboard.row import Row
from omnimat.materials.split import Split
from omnimat.verification.outcome import FaultError, Finding, named

COLUMNS = ("material_id", "target", "prediction", "split")
_CLASSES = "per_class_accuracy"
RELATIVE_TOLERANCE = 1e-9  # the same numbers, added up in another order


def read_table(data: bytes, uri: str, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """Read predictions.

    Args:
        data: of the file.
        uri: of it.
        columns: that it must have; ``material_id`` among them.

    Raises:
        FaultError: it is no Parquet file of these columns, or has no rows.
    """
    try:
        table = parquet_frame(data)
    except (pa.ArrowException, OSError) as error:
        raise FaultError(f"{uri} is no Parquet file: {error}") from error
    if missing := [name for name in columns if name not in table.columns]:
        raise FaultError(f"{uri} has no column {', '.join(missing)}")
    if table.empty:
        raise FaultError(f"{uri} has no rows")
    return table.assign(material_id=table["material_id"].astype(str))


def check_materials(
    table: pd.DataFrame, splits: Mapping[str, str], split: Split, uri: str
) -> Iterator[Finding]:
    """See that each material is of the data set and of the split, and there once.

    Args:
        table: predictions.
        splits: of every material of the data set.
        split: that is scored.
        uri: of the table.
    """
    ids = table["material_id"]
    if (twice := ids[ids.duplicated()].unique()).size:
        yield f"{uri}: material {named(twice)} is there more than once"
    if unknown := [one for one in ids if one not in splits]:
        yield f"{uri}: material {named(unknown)} is not in the data set"
    for other in sorted(set(splits.values()) - {split}):
        if wrong := [one for one in ids if splits.get(one) == other]:
            yield f"{uri}: material {named(wrong)} is of the {other} split, not of {split}"
    if (mislabelled := ids[(table["split"] != split).to_numpy()]).size:
        yield f"{uri}: column split of material {named(mislabelled)} is not {split}"


def check_targets(
    table: pd.DataFrame, material_ids: Sequence[str], targets: Targets, uri: str
) -> Iterator[Finding]:
    """Compare targets, bit for bit, with those of the data set.

    Args:
        table: predictions.
        material_ids: (N,) of the split.
        targets: (N,) or (N, k) of the same, read from the shards.
        uri: of the table.
    """
    place = {material_id: i for i, material_id in enumerate(material_ids)}
    known = table[[one in place for one in table["material_id"]]]
    rows = np.array([place[one] for one in known["material_id"]], dtype=np.int64)
    ids = known["material_id"].to_numpy()
    if (without := ids[~targets.is_known[rows]]).size:
        yield f"{uri}: material {named(without)} has no target in the data set"
    if known.empty:
        return  # none of them is of this split, which check_materials says
    told, true = np.array(known["target"].tolist()), targets.values[rows]
    if told.shape != true.shape:
        yield f"{uri}: targets have shape {told.shape}, those of the data set {true.shape}"
        return
    unequal: NDArray[np.bool_] = np.asarray(told != true)
    differ = targets.is_known[rows] & unequal.reshape(len(rows), -1).any(axis=1)
    if differ.any():
        yield f"{uri}: target of material {named(ids[differ])} is not that of the data set"


def unscored(table: pd.DataFrame, material_ids: Sequence[str], targets: Targets) -> list[str]:
    """Give the materials of a split that have a target and no prediction."""
    scored = set(table["material_id"])
    known = zip(material_ids, targets.is_known, strict=True)
    return [one for one, is_known in known if is_known and one not in scored]


def check_numbers(row: Row, table: pd.DataFrame, metric: Metric) -> Iterator[Finding]:
    """Compute the value again, and what else the row says of its predictions.

    Args:
        row: of the leaderboard.
        table: its predictions.
        metric: that the row has to be scored by.

    Raises:
        FaultError: a number is not finite, or targets and predictions are not of one shape.
    """
    uri, columns = row.predictions_uri, (table["target"].tolist(), table["prediction"].tolist())
    if row.num_test != len(table):
        yield f"{uri}: {len(table)} predictions, num_test says {row.num_test}"
    try:
        value = metric.function(*columns)
    except (ValueError, TypeError) as error:
        raise FaultError(f"{uri}: no metric of its predictions: {error}") from error
    if not is_same(value, row.value):
        yield f"value is {row.value!r}, {row.metric} of the predictions in {uri} is {value!r}"
    if _CLASSES in row.details and row.details[_CLASSES] != per_class_accuracy(*columns):
        yield f"details: {_CLASSES} is not that of {uri}"


def is_same(value: float, said: float, tolerance: float = RELATIVE_TOLERANCE) -> bool:
    """Compare a number computed again with what a row says."""
    return math.isclose(value, said, rel_tol=tolerance)
