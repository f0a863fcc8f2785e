"""Tables of predictions against the data set that they claim to be made for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from omnimat.base.files import parquet_frame
from omnimat.leaderboard.row import Row
from omnimat.materials.split import Split
from omnimat.materials.targets import Targets
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import FaultError, Remark, named

COLUMNS = ("material_id", "target", "prediction", "split")


def read_table(row: Row, evidence: Evidence, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """Read the table of a row's predictions.

    Args:
        row: the row.
        evidence: where the table is read from.
        columns: the columns that it must have, ``material_id`` among them.

    Raises:
        FaultError: if it is no Parquet file with these columns, or has no rows.
        UnreachableError: if it cannot be read.
    """
    uri = row.predictions_uri
    try:
        table = parquet_frame(evidence.predictions(row).data)
    except (pa.ArrowException, OSError) as error:
        raise FaultError(f"{uri} is no Parquet file: {error}") from error
    if missing := [name for name in columns if name not in table.columns]:
        raise FaultError(f"{uri} has no column {', '.join(missing)}")
    if table.empty:
        raise FaultError(f"{uri} has no rows")
    return table.assign(material_id=table["material_id"].astype(str))


def check_materials(
    table: pd.DataFrame, splits: Mapping[str, str | None], split: Split, uri: str
) -> Iterator[Remark]:
    """Check that each material is in the data set and in the split, and that none repeats.

    Args:
        table: the predictions.
        splits: the split of every material of the data set; None where it has no fold.
        split: the split that is scored.
        uri: where the table lies.
    """
    ids = table["material_id"]
    if (twice := ids[ids.duplicated()].unique()).size:
        yield f"{uri}: material {named(twice)} is there more than once"
    if unknown := [one for one in ids if one not in splits]:
        yield f"{uri}: material {named(unknown)} is not in the data set"
    if without := [one for one in ids if one in splits and splits[one] is None]:
        yield f"{uri}: material {named(without)} has no fold"
    for other in sorted({one for one in splits.values() if one is not None} - {split}):
        if wrong := [one for one in ids if splits.get(one) == other]:
            yield f"{uri}: material {named(wrong)} is of the {other} split, not of {split}"
    if (mislabelled := ids[(table["split"] != split).to_numpy()]).size:
        yield f"{uri}: column split of material {named(mislabelled)} is not {split}"


def check_targets(
    table: pd.DataFrame, material_ids: Sequence[str], targets: Targets, uri: str
) -> Iterator[Remark]:
    """Compare targets, bit for bit, with those of the data set.

    Args:
        table: the predictions.
        material_ids: the (N,) materials of the split.
        targets: their (N,) or (N, k) targets, read from the shards.
        uri: where the table lies.
    """
    place = {material_id: i for i, material_id in enumerate(material_ids)}
    known = table[[one in place for one in table["material_id"]]]
    rows = np.array([place[one] for one in known["material_id"]], dtype=np.int64)
    ids = known["material_id"].to_numpy()
    if (without := ids[~targets.is_known[rows]]).size:
        yield f"{uri}: material {named(without)} has no target in the data set"
    if known.empty:
        return  # none of them is in this split, as check_materials says
    told, true = np.array(known["target"].tolist()), targets.values[rows]
    if told.shape != true.shape:
        yield f"{uri}: targets have shape {told.shape}, those of the data set {true.shape}"
        return
    unequal: NDArray[np.bool_] = np.asarray(told != true)
    differ = targets.is_known[rows] & unequal.reshape(len(rows), -1).any(axis=1)
    if differ.any():
        yield f"{uri}: target of material {named(ids[differ])} is not that of the data set"


def unscored(table: pd.DataFrame, material_ids: Sequence[str], targets: Targets) -> list[str]:
    """Give the materials of a split that have a target but no prediction."""
    scored = set(table["material_id"])
    known = zip(material_ids, targets.is_known, strict=True)
    return [one for one, is_known in known if is_known and one not in scored]
